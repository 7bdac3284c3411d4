package render

import (
	"io"
	"strings"
)

// indenter lays out the JSON that a json.Encoder gives it as json.Indent does
// with two blanks, several times as fast and without a second copy of it: a
// large host's list is megabytes.
type indenter struct {
	w   io.Writer
	out []byte // not yet written
	err error
	// depth counts the open brackets. begun is true behind an opening one: what
	// follows decides whether anything is in it.
	depth int
	begun bool
}

// indenterSize is the size of the pieces that are written, in bytes.
const indenterSize = 32 << 10

func newIndenter(w io.Writer) *indenter {
	return &indenter{w: w, out: make([]byte, 0, indenterSize+1024)}
}

// Write takes one document, compact and valid.
func (in *indenter) Write(text []byte) (int, error) {
	for at := 0; at < len(text); {
		n := 1
		switch c := text[at]; c {
		case '{', '[':
			in.value()
			in.out = append(in.out, c)
			in.begun = true
		case '}', ']':
			in.close(c)
		case ',':
			in.out = append(in.out, c)
			in.line()
		case ':':
			in.out = append(in.out, ": "...)
		default:
			n = token(text[at:])
			in.value()
			in.out = append(in.out, text[at:at+n]...)
		}
		at += n
		if len(in.out) >= indenterSize {
			in.flush()
		}
	}
	in.flush()
	return len(text), in.err
}

func (in *indenter) flush() {
	if in.err == nil {
		_, in.err = in.w.Write(in.out)
	}
	in.out = in.out[:0]
}

// value comes before whatever may be the first thing in brackets.
func (in *indenter) value() {
	if in.begun {
		in.begun = false
		in.depth++
		in.line()
	}
}

func (in *indenter) close(bracket byte) {
	if !in.begun {
		in.depth--
		in.line()
	}
	in.begun = false
	in.out = append(in.out, bracket)
}

var blanks = strings.Repeat("  ", 16)

func (in *indenter) line() {
	in.out = append(in.out, '\n')
	for left := 2 * in.depth; left > 0; left -= len(blanks) {
		in.out = append(in.out, blanks[:min(left, len(blanks))]...)
	}
}

// token is the length of the string, number, literal or line end that text
// begins with.
func token(text []byte) int {
	n := 1
	if text[0] != '"' {
		for n < len(text) && text[n] != ',' && text[n] != '}' && text[n] != ']' {
			n++
		}
		return n
	}
	for text[n] != '"' {
		if text[n] == '\\' {
			n++
		}
		n++
	}
	return n + 1
}
