package inspect

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// smallFile is room for stat, status and most cgroup files, in bytes.
const smallFile = 2048

// maxSmallFile bounds what is read whole, in bytes: in a copy of a procfs a file
// may have any size.
const maxSmallFile = 1 << 20

var errLargeFile = fmt.Errorf("it is larger than %d MiB", maxSmallFile>>20)

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
		switch {
		case len(buf) > maxSmallFile:
			return nil, errLargeFile
		case n == 0 || len(buf) < cap(buf):
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

func (d fsDir) hold(name string) (held, error) {
	fd, err := d.file(name)
	if err != nil {
		return nil, err
	}
	return heldFile(fd), nil
}

// heldFile is a descriptor. The kernel renders the file anew whenever it is read
// from its beginning (seq_read_iter in fs/seq_file.c).
type heldFile int

func (h heldFile) read(buf []byte) ([]byte, error) {
	if cap(buf) < smallFile {
		buf = make([]byte, 0, smallFile)
	}
	for {
		n, err := retry(func() (int, error) { return unix.Pread(int(h), buf[:cap(buf)], 0) })
		if err != nil {
			return buf[:0], err
		}
		switch {
		case n > maxSmallFile:
			return buf[:0], errLargeFile
		case n < cap(buf):
			return buf[:n], nil
		}
		buf = make([]byte, 0, 2*cap(buf))
	}
}

func (h heldFile) close() { unix.Close(int(h)) }

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
