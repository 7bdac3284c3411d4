package remount

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
)

// room is a thread that is inside a process's cgroup and mount namespaces, and
// what it holds open there. Its thread is never used for anything else.
type room struct {
	sys *calls
	// root is the process's root directory, where its mount points begin.
	root int
	// self is the thread's own directory in /proc, opened before it entered.
	self int
	// ns is the text that the thread's cgroup namespace link has to have.
	ns string
	// replaced has the new IDs of mounts that were replaced before.
	replaced map[int]uint64
	// change is asked before anything is changed.
	change func() error
}

var (
	errNoMountID  = errors.New("the kernel does not tell mount IDs")
	errOtherMount = errors.New("another mount is there")
	errInitial    = errors.New("the thread is in the initial cgroup namespace")
)

// enter takes the calling thread, which has to be locked and disposable, into
// the namespaces. The mount namespace comes last: entering it changes the root
// directory, for which the thread must share that with none (CLONE_FS).
func enter(sys *calls, h *inspect.Handles, p inspect.Process) (*room, error) {
	self, err := unix.Open("/proc/thread-self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, failed("open", "/proc/thread-self", err)
	}
	r := &room{sys: sys, root: h.Root, self: self, ns: fmt.Sprintf("cgroup:[%d]", p.CgroupNS), replaced: map[int]uint64{}}
	err = func() error {
		if err := sys.unshare(unix.CLONE_FS); err != nil {
			return failed("give the thread a root directory of its own", "", err)
		}
		if err := sys.setns(h.CgroupNS, unix.CLONE_NEWCGROUP); err != nil {
			return failed("enter the cgroup namespace", "", err)
		}
		if err := r.assertInside(p); err != nil {
			return err
		}
		if err := sys.setns(h.MntNS, unix.CLONE_NEWNS); err != nil {
			return failed("enter the mount namespace", "", err)
		}
		return r.canMove()
	}()
	if err != nil {
		r.leave()
		return nil, err
	}
	return r, nil
}

// canMove makes sure that move_mount(2) is there, and lets this thread in, before
// anything depends on it: with it the old mount would be put back.
func (r *room) canMove() error {
	err := r.sys.moveMount(-1, "", -1, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err == nil || errors.Is(err, unix.EBADF) {
		return nil
	}
	return failed("move mounts", "", err)
}

func (r *room) leave() { unix.Close(r.self) }

// assertInside makes sure that the thread is where it should be: in the initial
// cgroup namespace a mount of cgroup2 without options would clear those of the
// whole host (apply_cgroup_root_flags in kernel/cgroup/cgroup.c).
func (r *room) assertInside(p inspect.Process) error {
	if p.CgroupNS == inspect.InitialCgroupNS {
		return failed("mount cgroups", "", errInitial)
	}
	return r.assertNamespace()
}

func (r *room) assertNamespace() error {
	buf := make([]byte, 64)
	n, err := unix.Readlinkat(r.self, "ns/cgroup", buf)
	if err != nil {
		return failed("read the thread's cgroup namespace", "", err)
	}
	if text := string(buf[:n]); text != r.ns || text == fmt.Sprintf("cgroup:[%d]", inspect.InitialCgroupNS) {
		return failed("mount cgroups", "", fmt.Errorf("the thread is in %s, not in %s", text, r.ns))
	}
	return nil
}

// walk opens a path of the process's without following any link.
func (r *room) walk(name string, flags uint64) (int, error) {
	return r.sys.openat2(r.root, "."+path.Clean(name), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// openMount opens the root of the mount with this ID at a path of the
// process's. Whatever else is there is not touched.
func (r *room) openMount(name string, id uint64) (int, error) {
	fd, err := r.walk(name, unix.O_DIRECTORY)
	if err != nil {
		return -1, failed("open", name, err)
	}
	if err := r.isMount(fd, name, id); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// isMount checks that what is open lies on the mount with this ID.
func (r *room) isMount(fd int, name string, id uint64) error {
	got, err := r.mountID(fd)
	if err != nil {
		return failed("identify the mount at", name, err)
	}
	if got != id {
		return &Error{Kind: ErrChanged, Tried: "find the mount at", On: name, Err: errOtherMount}
	}
	return nil
}

// mountID never asks the file system itself, whose server may not answer.
func (r *room) mountID(fd int) (uint64, error) {
	var st unix.Statx_t
	if err := r.sys.statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return 0, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, errNoMountID
	}
	return st.Mnt_id, nil
}

// setPropagation changes that of the open mount, as mount(2) on the thread's
// working directory: that needs no path that could lead elsewhere.
func (r *room) setPropagation(mount int, flags uintptr) error {
	return r.in(mount, func() error { return r.sys.propagate(flags) })
}

// in does something in a directory, and leaves it, so as not to keep its mount
// in use.
func (r *room) in(dir int, do func() error) error {
	if err := unix.Fchdir(dir); err != nil {
		return err
	}
	err := do()
	_ = unix.Fchdir(r.root) // what was done counts
	return err
}
