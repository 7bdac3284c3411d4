package remount

import (
	"errors"

	"golang.org/x/sys/unix"

	"nsinspect/internal/tried"
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

// Error is why mounts could not be mended.
type Error = tried.Error

// failed makes an Error of what the kernel answered. ENOSYS says that it is too
// old, or that a seccomp filter plays an old one.
func failed(what, on string, err error) *Error {
	e := &Error{Kind: ErrKernel, Tried: what, On: on, Err: err}
	switch {
	case errors.Is(err, unix.ENOSYS):
		e.Kind = ErrOldKernel
		e.Next = "it takes Linux 5.8 or later, and no seccomp filter: 'nsinspect doctor' gives commands that older kernels know"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Next = "run it as root on the host"
	}
	return e
}
