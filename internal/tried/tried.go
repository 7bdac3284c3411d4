// Package tried has the error of those who change the system: what was tried, on
// what, and why it did not work.
package tried

import "nsinspect/internal/printable"

// Error is one line that says so, and of which kind it is.
type Error struct {
	// Kind is what errors.Is finds, beside Err.
	Kind error
	// Tried is to be read after "cannot": "make the cgroup".
	Tried string
	// On is the path, name or command that it was tried on; may be empty.
	On string
	// Err is why not: mostly an errno.
	Err error
	// Next is what to do about it; may be empty.
	Next string
}

// Error returns the line, lower case, without a full stop. Bytes of On that do
// not print are escaped.
func (e *Error) Error() string {
	text := "cannot " + e.Tried
	if e.On != "" {
		text += " " + printable.Text(e.On)
	}
	return text + ": " + e.Err.Error()
}

// Hint is Next.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives errors.Is both the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }
