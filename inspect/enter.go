package inspect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onDisposableThread runs do on a thread that never goes back to the run-time's
// pool: a goroutine that ends locked takes its thread with it
// (runtime.LockOSThread). The main thread cannot be destroyed, and its
// namespaces are what /proc/self shows, so if the goroutine sits on that, it
// keeps it busy and has another one do the work.
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

// errAstray says that a thread could not come back, so that whatever else was
// to be done on it was not.
var errAstray = errors.New("the thread that went into another cgroup namespace could not come back")

// entering runs do on a thread of its own, since the way there and back is far
// shorter than one to another thread.
func (t *fsTree) entering(do func(entrant)) {
	if !t.real {
		do(recordedEntrant{})
		return
	}
	Disposable(func() {
		home, err := ownNamespace(t)
		if err == nil {
			defer unix.Close(home)
			err = unix.Setns(home, unix.CLONE_NEWCGROUP)
		}
		if err != nil && CanEnter() {
			// As for root of a user namespace that does not own its cgroup
			// namespace: it can go into others and never come back.
			do(apartEntrant{})
			return
		}
		do(threadEntrant{home})
	})
}

// ownNamespace opens this thread's cgroup namespace.
func ownNamespace(t *fsTree) (int, error) { return t.own("thread-self/ns/cgroup") }

// witness is this process's cgroup file, opened once for all.
func (t *fsTree) witness() (held, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.real && t.self == nil {
		fd, err := t.own("self/cgroup")
		if err != nil {
			return nil, err
		}
		t.self = heldFile(fd)
	}
	return t.self, nil
}

// own opens a file of this process. A procfs of another PID namespace does not
// show it; the kernel's own one, under its usual name, does.
func (t *fsTree) own(name string) (int, error) {
	fd, err := fsDir(t.fd).file(name)
	if err != nil {
		fd, err = retry(func() (int, error) {
			return unix.Open("/proc/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		})
	}
	return fd, err
}

// threadEntrant enters namespaces on the thread that it is used on, and comes
// back after each.
type threadEntrant struct{ home int }

func (e threadEntrant) open(d dir, ns uint64) (gate, error) {
	fd, err := openNamespace(d, ns)
	return threadGate{fd: fd, home: e.home}, err
}

type threadGate struct{ fd, home int }

// in ends the goroutine, and with it the thread, if the way back fails: nothing
// more may be read there as if it were the reader's own view.
func (g threadGate) in(do func(lens) error) error {
	if err := enter(g.fd); err != nil {
		return err
	}
	err := do(threadLens{})
	if back := unix.Setns(g.home, unix.CLONE_NEWCGROUP); back != nil {
		runtime.Goexit()
	}
	return err
}

func (g threadGate) close() { unix.Close(g.fd) }

// apartEntrant enters each namespace on a thread of its own.
type apartEntrant struct{}

func (apartEntrant) open(d dir, ns uint64) (gate, error) {
	fd, err := openNamespace(d, ns)
	return apartGate(fd), err
}

type apartGate int

func (g apartGate) in(do func(lens) error) (err error) {
	Disposable(func() {
		if err = enter(int(g)); err == nil {
			err = do(threadLens{})
		}
	})
	return err
}

func (g apartGate) close() { unix.Close(int(g)) }

// recordedEntrant stays where it is.
type recordedEntrant struct{}

func (recordedEntrant) open(dir, uint64) (gate, error) { return nil, errRecorded }

func openNamespace(d dir, ns uint64) (int, error) {
	fd, err := d.(fsDir).namespace("ns/cgroup", ns)
	if err == ErrMoved {
		err = errChanged
	}
	return fd, err
}

// enter goes in by setns(2), which takes CAP_SYS_ADMIN in the reader's user
// namespace and in the one that owns the cgroup namespace (cgroupns_install in
// kernel/cgroup/namespace.c).
func enter(fd int) error {
	if err := unix.Setns(fd, unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return nil
}

// threadLens reads plainly: what the kernel shows depends on the thread that
// reads, when it reads, and not on who opened the file or its directory.
type threadLens struct{}

func (threadLens) again(file held, buf []byte) ([]byte, error) { return file.read(buf) }

func (threadLens) open(d dir, name string) (io.ReadCloser, error) { return d.open(name) }
