package inspect

import (
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// tree is where process directories are read from: a procfs, a copy of one, or
// a capture.
type tree interface {
	// pids and threads list the processes, and the threads of one.
	pids() ([]int, error)
	threads(pid int) ([]int, error)
	// eachPIDs gives the processes, and those that the procfs is known to hide,
	// in pieces as they are found, until give returns false.
	eachPIDs(give func([]int) bool) error
	// hides tells whether there is a process with this ID that the reader may
	// not know of (hidepid, proc(5)).
	hides(pid int) bool
	// process opens /proc/PID, or /proc/PID/task/TID if tid is another number.
	process(pid, tid int) (dir, error)
	// link and read answer for names at the top of the tree.
	link(name string) (string, error)
	read(name string) ([]byte, error)
	// entering runs do with a reader that can go into cgroup namespaces. do may
	// be cut short: what it is to give must until then say errAstray.
	entering(do func(entrant))
	// reader says in whose view everything is read, and witness is its cgroup
	// file; nil where nothing moves.
	reader() Reader
	witness() (held, error)
	// system answers what no procfs holds.
	system() system
	// live tells whether the processes go on while they are read.
	live() bool
	close() error
}

// dir is one process's directory, held open: whatever is read through it is
// that process's, and after its end nothing is.
type dir interface {
	// link returns the text of a symbolic link.
	link(name string) (string, error)
	// read returns a small file whole, in buf if it fits.
	read(name string, buf []byte) ([]byte, error)
	// open returns a file to be streamed, hold a small one to be read again.
	open(name string) (io.ReadCloser, error)
	hold(name string) (held, error)
	// names returns the entries of a directory below it.
	names(name string) ([]string, error)
	close()
}

// entrant goes into cgroup namespaces, one after the other.
type entrant interface {
	// open opens the cgroup namespace of d's process, which must be ns.
	open(d dir, ns uint64) (gate, error)
}

// gate is an open cgroup namespace.
type gate interface {
	// in runs do, whose reads are those of a member of the namespace.
	in(do func(lens) error) error
	close()
}

// lens reads a file of a process as a member of a namespace does.
type lens interface {
	again(file held, buf []byte) ([]byte, error)
	open(d dir, name string) (io.ReadCloser, error)
}

// errChanged says that a process is no longer in the namespace it was seen in.
var errChanged = errors.New("it changed its cgroup namespace meanwhile")

// errRecorded says that a recorded tree has no namespaces to go into.
var errRecorded = errors.New("a recorded procfs has no namespaces to enter")

// fsTree is a tree in the file system: a procfs, or a copy of one.
type fsTree struct {
	fd   int
	path string
	// lib lists processes and threads, all that it is needed for.
	lib procfs.FS
	// real is true for a procfs, and false for a copy of one.
	real bool
	mu   sync.Mutex
	self held // what witness opened
}

func openTree(path string) (*fsTree, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	lib, err := procfs.NewFS(path)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &fsTree{fd: fd, path: path, lib: lib, real: st.Type == unix.PROC_SUPER_MAGIC}, nil
}

func (t *fsTree) live() bool { return t.real }

func (t *fsTree) pids() ([]int, error) { return numbers(t.lib.AllProcs()) }

// eachPIDs does what pids does, but the library gives nothing before the last
// process is found, and on a large host that takes as long as a tenth of the
// rest.
func (t *fsTree) eachPIDs(give func([]int) bool) error {
	fd, err := fsDir(t.fd).file(".")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if t.hides(1) && !give([]int{1}) {
		return nil
	}
	buf := make([]byte, 2048)
	var names []string
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, buf) })
		if err != nil || n == 0 {
			return err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		pids := make([]int, 0, len(names))
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				pids = append(pids, pid)
			}
		}
		if !give(pids) {
			return nil
		}
	}
}

func (t *fsTree) threads(pid int) ([]int, error) { return numbers(t.lib.AllThreads(pid)) }

func numbers(procs procfs.Procs, err error) ([]int, error) {
	if err != nil {
		return nil, err
	}
	list := make([]int, len(procs))
	for i, p := range procs {
		list[i] = p.PID
	}
	return list, nil
}

func (t *fsTree) process(pid, tid int) (dir, error) {
	name := strconv.Itoa(pid)
	if tid != pid {
		name += "/task/" + strconv.Itoa(tid)
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(t.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return fsDir(fd), nil
}

// hides knows of one such process: every PID namespace has a process 1
// (pid_namespaces(7)). Of the others a procfs that hides them says nothing.
func (t *fsTree) hides(pid int) bool {
	var st unix.Stat_t
	return t.real && pid == 1 && unix.Fstatat(t.fd, "1", &st, 0) == unix.ENOENT
}

func (t *fsTree) link(name string) (string, error) { return fsDir(t.fd).link(name) }

func (t *fsTree) read(name string) ([]byte, error) { return fsDir(t.fd).read(name, nil) }

func (t *fsTree) close() error {
	if t.self != nil {
		t.self.close()
	}
	return unix.Close(t.fd)
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// gone tells whether an error says that the process has ended: ENOENT before a
// file is opened, ESRCH after.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}

// denied tells whether an error says that the reader may not.
func denied(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}
