package inspect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// What keeps handles of a process from being given.
var (
	// ErrRecorded: a recorded procfs names no process that could be reached.
	ErrRecorded = errRecorded
	// ErrMoved: the process is no longer in the namespaces that it was seen in.
	ErrMoved = errors.New("it changed its namespaces meanwhile")
)

// Handles are open files of a process and of its namespaces. Through them the
// process can be followed into its namespaces without another look at /proc.
type Handles struct {
	// CgroupNS and MntNS are for setns(2).
	CgroupNS, MntNS int
	// Root is the process's root directory (O_PATH).
	Root int
}

// Handles opens the handles of a process that was read before. The error wraps
// ErrExited or ErrMoved if it is not that process any more, or not in its
// namespaces of then. It is given up after a second: the server of its root
// directory's file system may never answer.
func (f *FS) Handles(p Process) (*Handles, error) {
	if t, ok := f.tree.(*fsTree); !ok || !t.real {
		return nil, ErrRecorded
	}
	h, err := inTime(context.Background(), func() (*Handles, error) { return f.openHandles(p) }, (*Handles).Close)
	switch {
	case gone(err):
		err = ErrExited
	case err == errNoAnswer:
		err = fmt.Errorf("open its root directory: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", p.PID, err)
	}
	return h, nil
}

func (f *FS) openHandles(p Process) (*Handles, error) {
	d, err := f.tree.process(p.PID, p.TID)
	if err != nil {
		return nil, err
	}
	defer d.close()
	at := d.(fsDir)
	h := &Handles{CgroupNS: -1, MntNS: -1, Root: -1}
	if h.CgroupNS, err = at.namespace("ns/cgroup", p.CgroupNS); err == nil {
		h.MntNS, err = at.namespace("ns/mnt", p.MntNS)
	}
	if err == nil {
		h.Root, err = unix.Openat(int(at), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	var now Process
	if err == nil {
		err = readStat(d, &now)
	}
	if err == nil && (now.StartTicks != p.StartTicks || now.Exiting) {
		err = ErrExited
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// namespace opens a namespace's link, which must lead to the given inode.
func (d fsDir) namespace(name string, inode uint64) (int, error) {
	fd, err := d.file(name)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Ino != inode {
		err = ErrMoved
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close closes what is open.
func (h *Handles) Close() {
	for _, fd := range []int{h.CgroupNS, h.MntNS, h.Root} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Disposable runs do on a thread of its own, which is destroyed afterwards, so
// that do may enter namespaces and never leave them. It returns when do does.
func Disposable(do func()) {
	done := make(chan struct{})
	go onDisposableThread(func() {
		defer close(done)
		do()
	})
	<-done
}

// Submount is a mount, of any file system, that lies upon another one or upon
// something mounted there.
type Submount struct {
	ID, ParentID int
	MountPoint   string
	FSType       string
	// MayHang tells whether its server may never answer (FUSE, network, autofs).
	MayHang bool
	// Unbindable is set for a mount that cannot be copied (mount_namespaces(7)).
	Unbindable bool
}

// Submounts are the mounts that a task sees, by the ID of the mount that each
// lies upon.
type Submounts map[int][]Submount

// Below are the mounts upon the one with this ID, and those upon them: parents
// first, and beside one another in the order of mountinfo.
func (s Submounts) Below(id int) []Submount {
	var list []Submount
	seen := map[int]bool{id: true}
	for next := s[id]; len(next) > 0; {
		var below []Submount
		for _, m := range next {
			if seen[m.ID] {
				continue // no table of the kernel's has a ring
			}
			seen[m.ID] = true
			list = append(list, m)
			below = append(below, s[m.ID]...)
		}
		next = below
	}
	return list
}

// Submounts reads what a task sees mounted upon what.
func (f *FS) Submounts(t Task) (Submounts, error) {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return nil, err
	}
	defer d.close()
	file, err := d.open("mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseSubmounts(file)
}

func parseSubmounts(r io.Reader) (Submounts, error) {
	all := Submounts{}
	in := bufio.NewReaderSize(r, 32<<10)
	for n := 1; ; n++ {
		line, err := readLine(in)
		if err == io.EOF {
			return all, nil
		}
		if err == nil && n > maxMounts {
			err = fmt.Errorf("mountinfo has more than %d lines", maxMounts)
		}
		if err != nil {
			return nil, err
		}
		m, err := parseSubmount(line)
		if err != nil {
			return nil, fmt.Errorf("mountinfo line %d: %w", n, err)
		}
		if m.ID != m.ParentID {
			all[m.ParentID] = append(all[m.ParentID], m)
		}
	}
}

// parseSubmount takes fields 1, 2, 5, 7 and 9 of a line, as
// [MountTable.line] does of cgroup mounts.
func parseSubmount(line []byte) (Submount, error) {
	f, rest, ok := fields(line, 6)
	if !ok {
		return Submount{}, fmt.Errorf("%w: %q has fewer than six fields", errMountLine, clip(line))
	}
	id, err1 := strconv.Atoi(string(f[0]))
	parent, err2 := strconv.Atoi(string(f[1]))
	optional, tail, ok := cutSeparator(rest)
	if err1 != nil || err2 != nil || !ok {
		return Submount{}, fmt.Errorf("%w: %q", errMountLine, clip(line))
	}
	fstype, _, _ := bytes.Cut(tail, []byte{' '})
	return Submount{
		ID: id, ParentID: parent, MountPoint: string(unescape(f[4])), FSType: string(fstype),
		MayHang: hangs(fstype), Unbindable: bytes.Contains(optional, []byte("unbindable")),
	}, nil
}
