// Package printable keeps names that anybody may choose, those of commands,
// cgroups and mount points, from acting on the terminal that shows them.
package printable

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text makes a string safe: control characters (C0, DEL, C1), those that reorder
// text, and bytes that are no UTF-8 become octal escapes, as mountinfo has them.
func Text(s string) string { return escape(s, false) }

// Word is Text that is one word for awk: a blank is \040.
func Word(s string) string { return escape(s, true) }

// Is tells whether a string can be shown, and pasted, as it is.
func Is(s string) bool { return Text(s) == s }

func escape(s string, word bool) string {
	if plain(s, word) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if unsafe(r, size) || word && r == ' ' {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func plain(s string, word bool) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f || word && s[i] == ' ' {
			return false
		}
	}
	return true
}

// unsafe tells what a terminal may act on, or cannot show.
func unsafe(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size <= 1:
		return true
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	// Unicode's bidirectional controls, line separators, and the byte order mark.
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
		return true
	}
	return false
}
