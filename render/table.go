package render

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Options say how to present.
type Options struct {
	// Wide shows everything, also what has nothing to tell, and shortens nothing.
	Wide bool
	// NoHeaders leaves out the line of column names.
	NoHeaders bool
	// Width is the terminal's, in columns; 0: no terminal, shorten nothing.
	Width int
	Color bool
	// Source are the flags that name what is read, for commands to paste.
	Source []string
}

// table is rows of cells below column names.
type table struct {
	header []string
	rows   [][]string
	// flexible are the columns that may be shortened to fit a terminal.
	flexible []int
	// lists are those of them whose cells are lists, which are cut between items.
	lists map[int]itemList
}

// add appends a row of raw values.
func (t *table) add(values ...string) {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = Cell(v)
	}
	t.rows = append(t.rows, row)
}

// write renders the table without borders, two blanks between columns.
func (t *table) write(w io.Writer, o Options) error {
	if o.Width > 0 && !o.Wide {
		t.fit(o.Width)
	}
	var out bytes.Buffer
	table := tablewriter.NewTable(&out,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Symbols:  tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{Lines: tw.LinesNone, Separators: tw.SeparatorsNone},
		})),
		tablewriter.WithHeaderAlignment(tw.AlignLeft),
		tablewriter.WithRowAlignment(tw.AlignLeft),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithPadding(tw.Padding{Right: "  ", Overwrite: true}),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithEastAsian(tw.Off),
	)
	if !o.NoHeaders {
		table.Header(t.header)
	}
	if err := table.Bulk(t.rows); err != nil {
		return err
	}
	if err := table.Render(); err != nil {
		return err
	}
	return writeTrimmed(w, out.String())
}

// writeTrimmed writes lines without the blanks that pad the last column. The
// table library does not tell when its writer fails, so it is written here.
func writeTrimmed(w io.Writer, text string) error {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// least is how narrow a shortened column may become.
const least = 12

// fit shortens the widest flexible columns until a row fits the width, or all
// are as narrow as they may be.
func (t *table) fit(width int) {
	widths := t.widths()
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	narrowest := map[int]int{}
	for _, c := range t.flexible {
		narrowest[c] = t.narrowest(c)
	}
	for total > width {
		widest := -1
		for _, c := range t.flexible {
			if widths[c] > narrowest[c] && (widest < 0 || widths[c] > widths[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	for _, c := range t.flexible {
		for _, row := range t.rows {
			if l, ok := t.lists[c]; ok {
				row[c] = l.shorten(row[c], widths[c])
			} else {
				row[c] = shorten(row[c], widths[c])
			}
		}
	}
}

// narrowest is how narrow a column may become.
func (t *table) narrowest(c int) int {
	width := max(least, len(t.header[c]))
	if l := t.lists[c]; l.numbers {
		for _, row := range t.rows {
			width = max(width, twwidth.Width(l.shorten(row[c], 0)))
		}
	}
	return width
}

func (t *table) widths() []int {
	widths := make([]int, len(t.header))
	for i, h := range t.header {
		widths[i] = twwidth.Width(h)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], twwidth.Width(cell))
		}
	}
	return widths
}

// itemList is how a cell is a list. Items that are numbers, or ranges of them,
// are never cut, since a piece of a number is another one.
type itemList struct {
	separator string
	numbers   bool
}

// shorten keeps the items at the beginning that fit and counts the others. Where
// not even one fits, that one is cut in its middle.
func (l itemList) shorten(cell string, width int) string {
	if twwidth.Width(cell) <= width {
		return cell
	}
	items := strings.Split(cell, l.separator)
	left := 0
	for _, item := range items[1:] {
		left += l.count(item)
	}
	room := width - twwidth.Width(items[0])
	if room < len(more(left)) && !l.numbers {
		return shorten(items[0], width-len(more(left))) + more(left)
	}
	n := 1
	for ; n < len(items); n++ {
		wider, fewer := twwidth.Width(l.separator+items[n]), left-l.count(items[n])
		if wider+len(more(fewer)) > room {
			break
		}
		room, left = room-wider, fewer
	}
	return strings.Join(items[:n], l.separator) + more(left)
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" +%d more", n)
}

// count is how many things an item stands for: a range for all that are in it.
func (l itemList) count(item string) int {
	first, last, isRange := strings.Cut(item, "-")
	if !l.numbers || !isRange {
		return 1
	}
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil {
		return 1
	}
	return to - from + 1
}

// shorten cuts the middle out of a cell: both ends of a path tell something.
func shorten(cell string, width int) string {
	if twwidth.Width(cell) <= width {
		return cell
	}
	runes := []rune(cell)
	head, tail := (width-1)/2, (width-1)-(width-1)/2
	for head+tail > 0 {
		if head+tail < len(runes) {
			short := string(runes[:head]) + "…" + string(runes[len(runes)-tail:])
			if twwidth.Width(short) <= width {
				return short
			}
		}
		if head > tail {
			head--
		} else {
			tail--
		}
	}
	return "…"
}
