package inspect

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startThread runs a thread of the test's own with new namespaces of these
// kinds, and returns where it is. It ends with the test.
func startThread(t *testing.T, kinds int) (thread Task) {
	t.Helper()
	made, done, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		Disposable(func() {
			thread = Task{PID: os.Getpid(), TID: unix.Gettid()}
			made <- unix.Unshare(kinds)
			<-done
		})
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(done); <-ended })
	thread.MntNS, thread.CgroupNS = inode(t, thread, "mnt"), inode(t, thread, "cgroup")
	return thread
}

func inode(t *testing.T, of Task, kind string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/task/%d/ns/%s", of.PID, of.TID, kind), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestLiveThreadsIn finds a thread that alone is in a mount namespace, and one
// that is there with its leader but in another cgroup namespace; no other, and
// none of the reader's.
func TestLiveThreadsIn(t *testing.T) {
	liveTest(t)
	alone := startThread(t, unix.CLONE_NEWNS)
	beside := startThread(t, unix.CLONE_NEWCGROUP)
	f, err := Open("/proc", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		reader int
		mounts []uint64
		want   []Task
	}{
		{1, []uint64{alone.MntNS}, []Task{alone}},
		{1, []uint64{beside.MntNS}, []Task{beside}},
		{os.Getpid(), []uint64{alone.MntNS, beside.MntNS}, nil},
		{1, nil, nil},
	} {
		f.Reader.PID = c.reader
		a, err := f.Answer(t.Context(), Questions{Threads: c.mounts})
		if err != nil {
			t.Fatal(err)
		}
		var got []Task
		for _, found := range a.Threads {
			if found.PID == os.Getpid() {
				got = append(got, found)
			} else if found.MntNS == 0 && inodeReadable(found) {
				t.Errorf("%+v is told as not readable, and is", found)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("in %d for reader %d: %+v, want %+v", c.mounts, c.reader, got, c.want)
		}
	}
}

func inodeReadable(of Task) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/task/%d/ns/mnt", of.PID, of.TID))
	return err == nil
}

// briefly runs threads that live for a millisecond, many at a time, until the
// test ends.
func briefly(t *testing.T) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					Disposable(func() { time.Sleep(time.Millisecond) })
				}()
				<-ended
			}
		})
	}
	t.Cleanup(all.Wait)
	t.Cleanup(func() { close(stop) })
}

// TestBriefThreads: a thread that ends while it is read, also between two of its
// links, is nobody who is elsewhere.
func TestBriefThreads(t *testing.T) {
	f, err := Open("/proc", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	self := Task{PID: os.Getpid(), TID: os.Getpid()}
	mounts := []uint64{inode(t, self, "mnt")}
	briefly(t)
	seen := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if list := f.apart(self.PID, mounts); len(list) > 0 {
			t.Fatalf("after %d readings, told as elsewhere: %+v", seen, list)
		}
		seen++
	}
	t.Logf("%d readings", seen)
}
