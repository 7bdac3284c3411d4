package remount

import "golang.org/x/sys/unix"

// calls are the system calls that mending makes, so that a test can make any of
// them fail.
type calls struct {
	openat2   func(dir int, path string, how *unix.OpenHow) (int, error)
	statx     func(fd int, path string, flags, mask int, st *unix.Statx_t) error
	unshare   func(flags int) error
	setns     func(fd, kind int) error
	fsopen    func(fs string, flags int) (int, error)
	setWord   func(fd int, key string) error
	setValue  func(fd int, key, value string) error
	create    func(fd int) error
	fsmount   func(fd, flags, attrs int) (int, error)
	openTree  func(dir int, path string, flags uint) (int, error)
	moveMount func(from int, fromPath string, to int, toPath string, flags int) error
	umount    func(path string, flags int) error
	// propagate sets the propagation of the mount that is the thread's working
	// directory.
	propagate func(flags uintptr) error
}

// kernel are the system's own.
var kernel = calls{
	openat2: unix.Openat2, statx: unix.Statx, unshare: unix.Unshare, setns: unix.Setns,
	fsopen: unix.Fsopen, setWord: unix.FsconfigSetFlag, setValue: unix.FsconfigSetString,
	create: unix.FsconfigCreate, fsmount: unix.Fsmount, openTree: unix.OpenTree,
	moveMount: unix.MoveMount, umount: unix.Unmount,
	propagate: func(flags uintptr) error { return unix.Mount("", ".", "", flags, "") },
}
