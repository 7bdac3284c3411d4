package lab

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"nsinspect/internal/tried"
)

// The kinds of [Error], for errors.Is.
var (
	// ErrUsage: the caller asked for something that does not exist, such as an
	// unknown namespace in RunConfig.Only.
	ErrUsage = errors.New("bad usage")
	// ErrNoHierarchy: this host has no such cgroup hierarchy, or it is mounted
	// nowhere that can be seen from here.
	ErrNoHierarchy = errors.New("no such hierarchy")
	// ErrReadOnly: the hierarchy can be seen, but cgroups cannot be made in it.
	ErrReadOnly = errors.New("read-only")
	// ErrPrivilege: the kernel or its configuration forbids it to this user.
	ErrPrivilege = errors.New("not permitted")
	// ErrCommand: the command of a run cannot be executed.
	ErrCommand = errors.New("cannot execute")
	// ErrLeft: something of the lab could not be removed.
	ErrLeft = errors.New("left behind")
	// ErrKernel: any other answer of the kernel that the lab cannot go on with.
	ErrKernel = errors.New("refused by the kernel")
)

// Error is why a lab could not be, or not go on.
type Error = tried.Error

// Interrupted is the error of a walk that a signal ended early. All that the
// walk had made is gone when it is returned.
type Interrupted struct {
	Signal syscall.Signal
}

// Error names the signal: "interrupted by SIGTERM".
func (e *Interrupted) Error() string {
	return "interrupted by " + unix.SignalName(e.Signal)
}

// ExitStatus is what a shell would report: 128 and the signal's number.
func (e *Interrupted) ExitStatus() int { return 128 + int(e.Signal) }

func usage(what, on, hint, why string, args ...any) *Error {
	return &Error{Kind: ErrUsage, Tried: what, On: on, Err: fmt.Errorf(why, args...), Next: hint}
}

// kernelError classifies what the kernel answered by its errno.
func kernelError(what, on string, err error) *Error {
	e := &Error{Kind: ErrKernel, Tried: what, On: on, Err: cause(err)}
	switch {
	case errors.Is(err, unix.EROFS):
		e.Kind = ErrReadOnly
		e.Next = "in a container, cgroups can be made only where its runtime mounts them writable"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Kind = ErrPrivilege
		e.Next = "run it as root on the host"
	}
	return e
}

// cause strips an error down to its errno, where it has one: what was tried on
// which path is told once, by Error itself.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
