// Package render presents what compare judged: as tables and reports for
// people, as JSON for programs. It knows no kernel.
package render

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text makes a string safe for a terminal: control characters (C0, DEL, C1),
// those that reorder text, and bytes that are no UTF-8 become octal escapes, as
// mountinfo writes them. Names of commands and cgroups are anybody's to choose.
func Text(s string) string { return escape(s, false) }

// Cell is Text for a cell of a table, which awk takes as one word: a blank is
// \040, and an empty cell is "-".
func Cell(s string) string {
	if s == "" {
		return "-"
	}
	return escape(s, true)
}

func escape(s string, word bool) string {
	if plain(s, word) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if unsafeRune(r, size) || word && r == ' ' {
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

// unsafeRune tells what a terminal may act on, or cannot show.
func unsafeRune(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size <= 1:
		return true
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
		return true
	}
	return false
}
