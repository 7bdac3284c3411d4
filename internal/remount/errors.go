package remount

import (
	"errors"

	"golang.org/x/sys/unix"

	"nsinspect/internal/printable"
)

// The kinds of [Error], for errors.Is. ErrInterrupted comes by itself.
var (
	// ErrReader: this process cannot mend mounts, whatever the target.
	ErrReader = errors.New("cannot mend mounts from here")
	// ErrChanged: the process or its mounts are not as the plan has them.
	ErrChanged = errors.New("changed since the plan was made")
	// ErrOldKernel: the kernel lacks a system call that mending takes.
	ErrOldKernel = errors.New("not supported by this kernel")
	// ErrNotListed: a fresh mount lists none of the namespace's live members.
	ErrNotListed = errors.New("the fresh mount lists no live member")
	// ErrInterrupted: the context was cancelled before anything was changed.
	ErrInterrupted = errors.New("interrupted: nothing was changed")
	// ErrKernel: any other answer of the kernel.
	ErrKernel = errors.New("refused by the kernel")
)

// Error says what was tried, on what, and why it did not work.
type Error struct {
	// Kind is one of the Err values of this package.
	Kind error
	// Tried is to be read after "cannot": "take the old mount away".
	Tried string
	// On is the path that it was tried on; may be empty.
	On string
	// Err is why not: mostly a unix.Errno.
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

// failed makes an Error of what the kernel answered. ENOSYS says that it is too
// old, or that a seccomp filter plays an old one.
func failed(tried, on string, err error) *Error {
	e := &Error{Kind: ErrKernel, Tried: tried, On: on, Err: err}
	switch {
	case errors.Is(err, unix.ENOSYS):
		e.Kind = ErrOldKernel
		e.hint = "it takes Linux 5.8 or later, and no seccomp filter: 'nsinspect doctor' gives commands that older kernels know"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.hint = "run it as root on the host"
	}
	return e
}
