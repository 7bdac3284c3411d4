package inspect

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadEntrant enters namespaces on a thread of its own, and that thread never
// goes back to the run-time's pool: a goroutine that ends locked takes its
// thread with it (runtime.LockOSThread).
type threadEntrant struct {
	live bool
	work chan func()
}

func (t *fsTree) entrant() entrant {
	e := &threadEntrant{live: t.real, work: make(chan func())}
	if t.real {
		go onDisposableThread(func() {
			for do := range e.work {
				do()
			}
		})
	}
	return e
}

func (e *threadEntrant) close() { close(e.work) }

// onDisposableThread runs do on a thread that is destroyed afterwards. The main
// thread cannot be, and its namespaces are what /proc/self shows, so if the
// goroutine sits on that, it keeps it busy and has another one do the work.
func onDisposableThread(do func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		do()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		do()
	}()
	<-done
}

// in enters by setns(2), which takes CAP_SYS_ADMIN in the reader's user
// namespace and in the one that owns the cgroup namespace (cgroupns_install in
// kernel/cgroup/namespace.c).
func (e *threadEntrant) in(d dir, ns uint64, do func(lens) error) error {
	if !e.live {
		return errRecorded
	}
	result := make(chan error)
	e.work <- func() {
		err := enter(d.(fsDir), ns)
		if err == nil {
			err = do(threadLens{})
		}
		result <- err
	}
	return <-result
}

func enter(d fsDir, ns uint64) error {
	fd, err := d.file("ns/cgroup")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != ns {
		return errChanged
	}
	if err := unix.Setns(fd, unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return nil
}

// threadLens reads plainly: what the kernel shows depends on the thread that
// reads, when it reads, and not on who opened the process's directory.
type threadLens struct{}

func (threadLens) read(d dir, name string, buf []byte) ([]byte, error) { return d.read(name, buf) }

func (threadLens) open(d dir, name string) (io.ReadCloser, error) { return d.open(name) }
