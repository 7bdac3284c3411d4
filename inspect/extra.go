package inspect

import (
	"context"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// FileQuestion asks for a file of a cgroup, through a mount of the reader's.
type FileQuestion struct {
	MountPoint string
	// Path is the cgroup, relative to the mount; Name the file in it.
	Path, Name string
}

// FileAnswer is what the file holds. Err is empty, or why it could not be read;
// Missing tells that there is no such file.
type FileAnswer struct {
	Text    string
	Missing bool
	Err     string
}

// maxCgroupFile bounds what is read of one file of a cgroup.
const maxCgroupFile = 64 << 10

func (liveSystem) cgroupFile(q FileQuestion) FileAnswer {
	mount, err := unix.Open(q.MountPoint, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return FileAnswer{Err: reason(err)}
	}
	defer unix.Close(mount)
	if !isCgroupfs(mount) {
		return FileAnswer{Err: q.MountPoint + " is no cgroup file system"}
	}
	file, err := openBelow(mount, path.Join("."+path.Clean("/"+q.Path), q.Name))
	if err != nil {
		return FileAnswer{Err: reason(err), Missing: err == unix.ENOENT}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxCgroupFile))
	if err != nil {
		return FileAnswer{Err: reason(err)}
	}
	return FileAnswer{Text: string(text)}
}

// details returns what is told of a task; nil if it cannot be read.
func (f *FS) details(t Task) *Process {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return nil
	}
	defer d.close()
	p := &Process{Task: t}
	if err := f.describe(d, p); err != nil {
		return nil
	}
	p.PIDNS, p.UserNS = nsOf(d.link("ns/pid")), nsOf(d.link("ns/user"))
	if nsOf(d.link("ns/cgroup")) != t.CgroupNS {
		return nil
	}
	return p
}

// OpenNamespace is a cgroup namespace that a process holds open as a file.
type OpenNamespace struct {
	PID, FD int
	NS      uint64
}

// openNamespaces looks at the open files of all processes but the reader. What
// may not be read is left out: it is an extra, not what a verdict rests on.
func (f *FS) openNamespaces(ctx context.Context) ([]OpenNamespace, error) {
	pids, err := f.tree.pids()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var open []OpenNamespace
	err = f.each(ctx, len(pids), func(i int, _ []byte) {
		if pids[i] == f.Reader.PID {
			return
		}
		found := f.system.openNamespaces(pids[i])
		mu.Lock()
		open = append(open, found...)
		mu.Unlock()
	})
	return open, err
}

func (s bareSystem) openNamespaces(pid int) []OpenNamespace {
	d, err := s.tree.process(pid, pid)
	if err != nil {
		return nil
	}
	defer d.close()
	names, err := d.names("fd")
	if err != nil {
		return nil
	}
	var open []OpenNamespace
	for _, name := range names {
		text, err := d.link("fd/" + name)
		if err != nil || !strings.HasPrefix(text, "cgroup:[") {
			continue
		}
		fd, err := strconv.Atoi(name)
		if ns := nsOf(text, nil); err == nil && ns != 0 {
			open = append(open, OpenNamespace{PID: pid, FD: fd, NS: ns})
		}
	}
	return open
}
