package render

import (
	"io"
	"strings"
)

// indenter lays out the compact JSON that it is given, also in pieces, as
// json.Indent does with two blanks. It is several times as fast, and it needs
// not have the whole document at once: a large host's list is megabytes.
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

// Write takes a piece that ends between two tokens. Line ends, which a
// json.Encoder puts behind each value, are left out.
func (in *indenter) Write(text []byte) (int, error) {
	out := in.out
	for at := 0; at < len(text); {
		n := 1
		switch c := text[at]; c {
		case '{', '[':
			out = append(in.value(out), c)
			in.begun = true
		case '}', ']':
			out = append(in.close(out), c)
		case ',':
			out = in.line(append(out, c))
		case ':':
			out = append(out, ": "...)
		case '\n':
		default:
			n = token(text[at:])
			out = append(in.value(out), text[at:at+n]...)
		}
		at += n
		if len(out) >= indenterSize {
			out = in.flush(out)
		}
	}
	in.out = out
	return len(text), in.err
}

func (in *indenter) flush(out []byte) []byte {
	if in.err == nil {
		_, in.err = in.w.Write(out)
	}
	return out[:0]
}

// end ends the document's last line, and tells whether all could be written.
func (in *indenter) end() error {
	in.out = in.flush(append(in.out, '\n'))
	return in.err
}

// value comes before whatever may be the first thing in brackets.
func (in *indenter) value(out []byte) []byte {
	if !in.begun {
		return out
	}
	in.begun = false
	in.depth++
	return in.line(out)
}

// close comes before a closing bracket.
func (in *indenter) close(out []byte) []byte {
	if in.begun {
		in.begun = false
		return out
	}
	in.depth--
	return in.line(out)
}

var blanks = strings.Repeat("  ", 16)

func (in *indenter) line(out []byte) []byte {
	out = append(out, '\n')
	for left := 2 * in.depth; left > 0; left -= len(blanks) {
		out = append(out, blanks[:min(left, len(blanks))]...)
	}
	return out
}

// token is the length of the string, number or literal that text begins with.
func token(text []byte) int {
	n := 1
	if text[0] != '"' {
		for n < len(text) && text[n] != ',' && text[n] != '}' && text[n] != ']' && text[n] != '\n' {
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
