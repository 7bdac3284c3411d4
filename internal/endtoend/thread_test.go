package endtoend

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
	lt "nsinspect/internal/livetest"
)

// threadIn makes a thread of the test's own process join a cgroup and give
// itself a cgroup and a mount namespace. It ends with the test.
func threadIn(t *testing.T, box *lt.Cgroup) (tid int) {
	t.Helper()
	made, done, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		inspect.Disposable(func() {
			tid = unix.Gettid()
			box.Write("tasks", strconv.Itoa(tid))
			err := unix.Unshare(unix.CLONE_NEWCGROUP | unix.CLONE_NEWNS)
			if err == nil {
				err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
			}
			made <- err
			<-done
		})
	}()
	t.Cleanup(func() { close(done); <-ended })
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	return tid
}

// A thread may have namespaces that its leader has not. It is told as that
// thread, and mended in its namespaces, not in the leader's.
func TestLiveThread(t *testing.T) {
	needs(t, "freezer")
	lt.HostUnchanged(t)
	pid := unix.Getpid()
	tid := threadIn(t, lt.NewCgroup(t, "freezer"))
	point := lt.MountOf(t, "freezer")
	if root := lt.InView(t, tid, tid).RootAt(t, point); root != "/.." {
		t.Fatalf("the mount's root is %s in the thread's view", root)
	}
	leader := lt.Run(t, "compare", strconv.Itoa(pid))
	if !strings.Contains(leader.Stdout, fmt.Sprintf("1 of its threads is in other cgroups or namespaces: see 'nsinspect compare %d'", tid)) {
		t.Errorf("compare %d does not tell of thread %d:\n%s", pid, tid, leader.Stdout)
	}
	f := doctor(t, pid).one(t, "stale-mount-root", "error", "freezer", pid)
	if !isTrue(f.Confirmed) || f.Evidence["thread"] != float64(tid) || f.CgroupNS != lt.Namespace(t, tid, "cgroup") {
		t.Errorf("%s", dump(f))
	}
	text := lt.Run(t, "doctor", strconv.Itoa(pid)).Stdout
	for _, want := range []string{fmt.Sprintf("as thread %d of %d ", tid, pid), fmt.Sprintf("confirmed: thread %d is not in ", tid)} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, step := range f.Remedy.Steps {
		words := strings.FieldsFunc(strings.Join(step, " "), func(r rune) bool { return r < '0' || r > '9' })
		if !slices.Contains(words, strconv.Itoa(tid)) || slices.Contains(words, strconv.Itoa(pid)) {
			t.Errorf("step %q is not about the thread", step)
		}
	}
	for _, f := range doctor(t, pid).of("stale-mount-root", "") {
		paste(t, jsonRemedy(f))
	}
	if root := lt.InView(t, tid, tid).RootAt(t, point); root != "/" {
		t.Errorf("after mending the mount's root is %s in the thread's view", root)
	}
	if list := doctor(t, pid).serious(); len(list) > 0 {
		t.Errorf("after mending: %s", dump(list))
	}
}

// Whoever enters a container with a PID namespace of its own to look around is a
// visitor there, though its parent cannot be seen; and PID 1 there is not the
// host's.
func TestLiveReaderInside(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := host.Fork().Join(box)
	first := s.Sleep("unshare", "-C", "-m", "-p", "-f", "--propagation", "private", "--mount-proc", "--")
	r := doctorBy(t, host.Execute("nsenter", "-t", strconv.Itoa(first), "-a", lt.CopyBinary(t, t.TempDir()), "doctor", "-J"))
	f := r.one(t, "stale-mount-root", "error", "freezer", 1)
	if !isTrue(f.Confirmed) || f.Remedy.Safe != nil || len(f.Remedy.Steps) > 0 || !slices.Equal(f.PIDs, []int{1}) {
		t.Errorf("%s", dump(f))
	}
	for _, f := range r.serious() {
		if f.Check != "stale-mount-root" {
			t.Errorf("beside the stale mount: %s", dump(f))
		}
	}
	if list := r.of("visitor", ""); len(list) != 1 || len(list[0].PIDs) != 1 {
		t.Errorf("visitors %s", dump(list))
	}
}

// One thread of another process in the mount namespace is enough for mending to
// hurt somebody.
func TestLiveThreadShares(t *testing.T) {
	needs(t, "freezer")
	s := boxed(t, lt.NewHost(t), lt.NewCgroup(t, "freezer"))
	mnt, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", s.PID))
	if err != nil {
		t.Fatal(err)
	}
	defer mnt.Close()
	inside, done, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		inspect.Disposable(func() {
			inside <- errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(mnt.Fd()), unix.CLONE_NEWNS))
			<-done
		})
	}()
	t.Cleanup(func() { close(done); <-ended })
	if err := <-inside; err != nil {
		t.Fatal(err)
	}
	f := doctor(t, s.PID).one(t, "stale-mount-root", "error", "freezer", s.PID)
	if f.Remedy.Safe == nil || *f.Remedy.Safe || len(f.Remedy.Steps) > 0 || !strings.Contains(strings.Join(f.Remedy.Notes, " "), strconv.Itoa(unix.Getpid())) {
		t.Errorf("%s", dump(f))
	}
}

// briefThreads is a program whose threads start and end all the time: of fifty,
// each lives for a millisecond.
func briefThreads() {
	for range 50 {
		go func() {
			for {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					runtime.LockOSThread() // and never unlocked: the thread ends
					_ = unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
				}()
				<-ended
			}
		}()
	}
	select {}
}

// A process whose threads come and go is no stranger to itself: a thread that
// ends while it is read uses nobody's mount namespace.
func TestLiveBriefThreads(t *testing.T) {
	needs(t, "freezer")
	s := boxed(t, lt.NewHost(t), lt.NewCgroup(t, "freezer"))
	freshOthers(t, s, "freezer")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "brief-threads")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	pid := s.Background("brief-threads", program)
	time.Sleep(2100 * time.Millisecond) // doctor waits for what has just been started
	for i := range runs(t, 40) {
		f := doctor(t, pid).one(t, "stale-mount-root", "error", "freezer", pid)
		if !isTrue(f.Remedy.Safe) || len(f.Remedy.Steps) == 0 {
			t.Errorf("doctor, run %d: %s", i, dump(f))
		}
		if r := lt.Run(t, "remount", strconv.Itoa(pid)); r.Status != 1 || !strings.HasPrefix(r.Stdout, "1 cgroup mount can be mended;") {
			t.Errorf("remount, run %d: exit status %d\n%s%s", i, r.Status, r.Stderr, r.Stdout)
		}
	}
}
