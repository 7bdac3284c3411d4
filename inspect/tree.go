package inspect

import (
	"errors"
	"io"
	"os"
	"strconv"

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
	// reader says in whose view everything is read.
	reader() Reader
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
	// open returns a file to be streamed.
	open(name string) (io.ReadCloser, error)
	// names returns the entries of a directory below it.
	names(name string) ([]string, error)
	close()
}

// entrant goes into cgroup namespaces, one after the other.
type entrant interface {
	// in enters the cgroup namespace of d's process, which must be ns, and
	// runs do, whose reads are those of a member of that namespace.
	in(d dir, ns uint64, do func(lens) error) error
}

// lens reads a file of a process as a member of a namespace does.
type lens interface {
	read(d dir, name string, buf []byte) ([]byte, error)
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
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, buf) })
		if err != nil || n == 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
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

func (t *fsTree) close() error { return unix.Close(t.fd) }

// smallFile is room for stat, status and most cgroup files, in bytes.
const smallFile = 2048

// fsDir is a directory's descriptor.
type fsDir int

func (d fsDir) link(name string) (string, error) {
	var buf [256]byte
	for size := len(buf); ; size *= 4 {
		b := buf[:]
		if size > len(buf) {
			b = make([]byte, size)
		}
		n, err := unix.Readlinkat(int(d), name, b)
		if err != nil {
			return "", err
		}
		if n < len(b) {
			return string(b[:n]), nil
		}
	}
}

func (d fsDir) read(name string, buf []byte) ([]byte, error) {
	fd, err := d.file(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if cap(buf) < smallFile {
		buf = make([]byte, 0, smallFile)
	}
	buf = buf[:0]
	for {
		n, err := retry(func() (int, error) { return unix.Read(fd, buf[len(buf):cap(buf)]) })
		if err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+n]
		// The files read so are rendered in one piece (single_open in
		// fs/seq_file.c), so a short read is the last: one call saved per file.
		if n == 0 || len(buf) < cap(buf) {
			return buf, nil
		}
		buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
	}
}

func (d fsDir) open(name string) (io.ReadCloser, error) {
	fd, err := d.file(name)
	if err != nil {
		return nil, err
	}
	return fsFile(fd), nil
}

// file opens for reading without ever waiting: a FIFO planted in a recorded
// tree would block else.
func (d fsDir) file(name string) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(int(d), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
}

func (d fsDir) names(name string) ([]string, error) {
	fd, err := d.file(name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d fsDir) close() { unix.Close(int(d)) }

// fsFile reads a descriptor without the run-time's poller, which procfs has no
// use for.
type fsFile int

func (f fsFile) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(int(f), p) })
	if err == nil && n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return max(n, 0), err
}

func (f fsFile) Close() error { return unix.Close(int(f)) }

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
