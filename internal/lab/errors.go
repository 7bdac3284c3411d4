package lab

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"nsinspect/internal/printable"
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

// Error says what a lab tried, on what, and why it did not work.
type Error struct {
	// Kind is one of the Err values of this package.
	Kind error
	// Tried is what was tried, to be read after "cannot": "make the cgroup".
	Tried string
	// On is the path, name or command that it was tried on; may be empty.
	On string
	// Err is why not: mostly a syscall.Errno.
	Err  error
	hint string
}

// Error returns one line, lower case, without a full stop. Bytes of On that do
// not print are escaped.
func (e *Error) Error() string {
	text := "cannot " + e.Tried
	if e.On != "" {
		text += " " + printable.Text(e.On)
	}
	return text + ": " + e.Err.Error()
}

// Hint says what to do next, or is empty.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives errors.Is both the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

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

func usage(tried, on, hint, why string, args ...any) *Error {
	return &Error{Kind: ErrUsage, Tried: tried, On: on, Err: fmt.Errorf(why, args...), hint: hint}
}

// kernelError classifies what the kernel answered by its errno.
func kernelError(tried, on string, err error) *Error {
	e := &Error{Kind: ErrKernel, Tried: tried, On: on, Err: cause(err)}
	switch {
	case errors.Is(err, unix.EROFS):
		e.Kind = ErrReadOnly
		e.hint = "in a container, cgroups can be made only where its runtime mounts them writable"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Kind = ErrPrivilege
		e.hint = "run it as root on the host"
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
