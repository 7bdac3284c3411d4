package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestInTime: what comes in time is given, what comes later is dropped.
func TestInTime(t *testing.T) {
	dropped := make(chan int, 1)
	drop := func(n int) { dropped <- n }
	if n, err := inTime(t.Context(), func() (int, error) { return 3, nil }, drop); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := inTime(t.Context(), func() (int, error) { return 3, unix.EACCES }, drop); n != 3 || err != unix.EACCES {
		t.Errorf("%d, %v", n, err)
	}
	late := make(chan struct{})
	look := func() (int, error) { <-late; return 4, nil }
	if n, err := inTime(t.Context(), look, drop); n != 0 || err != errNoAnswer {
		t.Errorf("%d, %v", n, err)
	}
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	if n, err := inTime(interrupted, look, drop); n != 0 || err != errInterrupted {
		t.Errorf("%d, %v", n, err)
	}
	if len(dropped) > 0 {
		t.Error("something was dropped that was not there")
	}
	close(late)
	for range 2 {
		if n := <-dropped; n != 4 {
			t.Errorf("dropped %d", n)
		}
	}
}

// TestLiveHandlesInTime has a file system that never answers lie where the
// handles of a process are opened.
func TestLiveHandlesInTime(t *testing.T) {
	liveTest(t)
	proc := t.TempDir()
	silent := filepath.Join(proc, "5", "ns")
	if err := os.MkdirAll(silent, 0o755); err != nil {
		t.Fatal(err)
	}
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		cannot(t, "open /dev/fuse: "+err.Error())
	}
	ownMounts(t, func() error {
		err := unix.Mount("silent", silent, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse))
		if err != nil {
			return err
		}
		tree, err := openTree(proc)
		if err != nil {
			return err
		}
		tree.real = true
		f := &FS{tree: tree}
		began := time.Now()
		h, err := f.Handles(Process{Task: Task{PID: 5, TID: 5, CgroupNS: 1, MntNS: 2}})
		if took := time.Since(began); h != nil || !errors.Is(err, errNoAnswer) || took > 5*probeTime {
			t.Errorf("%v, %v after %v", h, err, took)
		}
		// Who still waits is freed.
		return errors.Join(unix.Close(fuse), tree.close())
	})
}
