package inspect

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// liveTest skips a test of the running kernel where it cannot be done: it
// needs root. With NSINSPECT_LIVE=require that is a failure instead.
func liveTest(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		cannot(t, "it needs root")
	}
}

// cannot ends a live test that this host does not allow, and says why.
func cannot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("NSINSPECT_LIVE") == "require" {
		t.Fatalf("a live test is required and cannot be done: %s", why)
	}
	t.Skipf("not done: %s", why)
}

// ownMounts runs do on a thread with a mount namespace, root directory and
// working directory of its own, from which nothing propagates to the host. The
// thread ends with do and takes its mounts along. do must report what goes
// wrong by returning it, or by t.Errorf: it is not on the test's goroutine.
func ownMounts(t *testing.T, do func() error) {
	t.Helper()
	liveTest(t)
	result := make(chan error)
	go Disposable(func() {
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = do()
		}
		result <- err
	})
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}
