package remount

import (
	"bufio"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// fresh makes a mount of the job's hierarchy that is mounted nowhere. It is
// returned only if it lists a live member of the namespace: a root directory
// that was removed and made again under its old name can be mounted, and shows
// none of them.
func (r *room) fresh(j *job) (int, error) {
	if err := r.assertNamespace(); err != nil {
		return -1, err
	}
	fs, err := r.sys.fsopen(j.old.FSType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, failed("make a fresh mount of", j.hierarchy.Label, err)
	}
	defer unix.Close(fs)
	if err := r.configure(fs, j.hierarchy, &j.old); err != nil {
		e := failed("make a fresh mount of", j.hierarchy.Label, explained(fs, err))
		if errors.Is(err, unix.ENOENT) {
			e.Next = "the namespace's root directory was removed: restart its processes, so that they get a new cgroup namespace"
		}
		return -1, e
	}
	mount, err := r.sys.fsmount(fs, unix.FSMOUNT_CLOEXEC, attributesOf(&j.old))
	if err != nil {
		return -1, failed("make a fresh mount of", j.hierarchy.Label, err)
	}
	if err := r.listsMember(mount, j); err != nil {
		unix.Close(mount)
		return -1, err
	}
	return mount, nil
}

// configure says what is to be mounted (fsconfig(2)), and makes it.
func (r *room) configure(fs int, h *inspect.Hierarchy, old *inspect.Mount) error {
	if old.Source != "" && len(old.Source) < maxValue {
		if err := r.sys.setValue(fs, "source", old.Source); err != nil {
			return err
		}
	}
	for _, option := range compare.HierarchyOptions(h) {
		var err error
		if key, value, ok := strings.Cut(option, "="); ok {
			err = r.sys.setValue(fs, key, value)
		} else {
			err = r.sys.setWord(fs, option)
		}
		if err != nil {
			return err
		}
	}
	return r.sys.create(fs)
}

// maxValue is the kernel's bound for a value and its end, in bytes (fsconfig in
// fs/fsopen.c).
const maxValue = 256

// explained adds what the kernel wrote into the context's log (fsconfig(2)).
func explained(fs int, err error) error {
	buf := make([]byte, 512)
	n, readErr := unix.Read(fs, buf)
	if readErr != nil || n <= 0 {
		return err
	}
	return &explanation{strings.TrimSpace(string(buf[:n])), err}
}

type explanation struct {
	text string
	err  error
}

func (e *explanation) Error() string { return e.err.Error() + " (" + printable.Text(e.text) + ")" }
func (e *explanation) Unwrap() error { return e.err }

// listsMember looks for any of the members in the fresh mount.
func (r *room) listsMember(mount int, j *job) error {
	var last error
	for _, m := range j.members {
		listed, err := r.lists(mount, j.hierarchy.Version(), m)
		if listed {
			return nil
		}
		if err != nil {
			last = err
		}
	}
	if last != nil {
		return failed("look into the fresh mount of", j.hierarchy.Label, last)
	}
	return &Error{
		Kind: ErrNotListed, Tried: "use the fresh mount of", On: j.hierarchy.Label, Err: ErrNotListed,
		Next: "the namespace's root directory was removed, or its processes have ended or were moved: restart them, so that they get a new cgroup namespace",
	}
}

// lists reads the list of threads of the member's cgroup: cgroup.procs of v2
// would list the processes of threaded descendants too. A cgroup that is not
// there lists nothing.
func (r *room) lists(mount, version int, m compare.Member) (bool, error) {
	list := "tasks"
	if version == 2 {
		list = "cgroup.threads"
	}
	listed, err := r.listedIn(mount, path.Join(".", m.Path, list), m.TID)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return listed, err
}

func (r *room) listedIn(mount int, name string, pid int) (bool, error) {
	fd, err := r.sys.openat2(mount, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return false, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	want := strconv.Itoa(pid)
	in := bufio.NewScanner(file)
	for in.Scan() {
		if in.Text() == want {
			return true, nil
		}
	}
	return false, in.Err()
}
