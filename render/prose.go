package render

import (
	"fmt"
	"strings"

	"github.com/olekukonko/tablewriter/pkg/twwidth"
)

// prose writes text that is read and not pasted, behind a lead. A terminal gets
// it broken between words, and all lines but the first behind the indent.
func prose(b *strings.Builder, lead, text, indent string, o Options) {
	if o.Width <= 2*len(indent) || twwidth.Width(lead+text) <= o.Width {
		fmt.Fprintln(b, lead+text)
		return
	}
	wrap(b, lead, text, indent, o.Width)
}

// wrap breaks a text between words. The lead may be coloured. Code, which stands
// between backquotes, is one word.
func wrap(b *strings.Builder, lead, text, indent string, width int) {
	b.WriteString(lead)
	column := twwidth.Width(lead)
	for i, word := range words(text) {
		n := twwidth.Width(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
}

// words splits at single blanks: more than one belong to a name that has them.
func words(line string) []string {
	var list []string
	code, whole := false, false
	for i, piece := range strings.Split(line, " ") {
		if i > 0 && (whole || piece == "") {
			list[len(list)-1] += " " + piece
		} else {
			list = append(list, piece)
		}
		code = code != (strings.Count(piece, "`")%2 == 1)
		whole = code || piece == ""
	}
	return list
}
