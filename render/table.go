package render

import (
	"bytes"
	"fmt"
	"io"
	"slices"
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
	// minor is how many of the last columns are left out before the table is
	// given up.
	minor int
	// paint, if there is one, colours a cell of the last column.
	paint func(cell string) string
}

// add appends a row of raw values.
func (t *table) add(values ...string) {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = Cell(v)
	}
	t.rows = append(t.rows, row)
}

// write renders the table. Where a terminal is too narrow for it, however it is
// shortened, each row becomes a record: a broken line of a table is read wrong.
func (t *table) write(w io.Writer, o Options) error {
	if o.Width == 0 || o.Wide || t.fit(o.Width) {
		return t.columns(w, o)
	}
	for cut := 1; cut <= t.minor; cut++ {
		if less := t.without(cut); less.fit(o.Width) {
			if err := less.columns(w, o); err != nil || o.NoHeaders {
				return err
			}
			_, err := fmt.Fprintf(w, "(-o wide has %s too)\n", strings.Join(t.header[len(less.header):], ", "))
			return err
		}
	}
	if o.NoHeaders {
		return t.columns(w, o)
	}
	return t.records(w, o.Width)
}

// without is the table without its last columns.
func (t *table) without(cut int) *table {
	n := len(t.header) - cut
	less := &table{header: t.header[:n], lists: t.lists}
	for _, c := range t.flexible {
		if c < n {
			less.flexible = append(less.flexible, c)
		}
	}
	for _, row := range t.rows {
		less.rows = append(less.rows, slices.Clone(row[:n]))
	}
	return less
}

// records writes each row as lines of a name and a value. Of items that are not
// counted, as thousands of process IDs, there are as many as a line holds.
func (t *table) records(w io.Writer, width int) error {
	var b strings.Builder
	names := 0
	for _, h := range t.header {
		names = max(names, len(h))
	}
	for i, row := range t.rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		for c, cell := range row {
			if l, ok := t.lists[c]; ok && !l.counted {
				cell = l.shorten(cell, width-names-2)
			}
			if c == len(row)-1 {
				cell = t.painted(cell)
			}
			fmt.Fprintf(&b, "%-*s  %s\n", names, t.header[c], cell)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// columns renders without borders, two blanks between columns.
func (t *table) columns(w io.Writer, o Options) error {
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
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ") // what pads the last column
	}
	t.colour(lines[len(lines)-len(t.rows):])
	// The library does not tell when its writer fails, so it is written here.
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// colour paints the last cell of each row, once nothing is measured any more.
func (t *table) colour(lines []string) {
	for i, row := range t.rows {
		last := row[len(row)-1]
		lines[i] = strings.TrimSuffix(lines[i], last) + t.painted(last)
	}
}

func (t *table) painted(cell string) string {
	if t.paint == nil {
		return cell
	}
	return t.paint(cell)
}

// fit shortens the widest flexible columns until a row fits the width. Where
// none can, it changes nothing and returns false.
func (t *table) fit(width int) bool {
	widths := t.widths()
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	narrowest := map[int]int{}
	for _, c := range t.flexible {
		narrowest[c] = t.narrowest(c)
	}
	for ; total > width; total-- {
		widest := -1
		for _, c := range t.flexible {
			if widths[c] > narrowest[c] && (widest < 0 || widths[c] > widths[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			return false
		}
		widths[widest]--
	}
	for _, c := range t.flexible {
		for _, row := range t.rows {
			row[c] = t.short(c, row[c], widths[c])
		}
	}
	return true
}

// short is a cell of a column as it fits the width, or as short as it gets.
func (t *table) short(c int, cell string, width int) string {
	if l, ok := t.lists[c]; ok {
		return l.shorten(cell, width)
	}
	return shorten(cell, width)
}

// narrowest is how narrow a column may become.
func (t *table) narrowest(c int) int {
	width := len(t.header[c])
	for _, row := range t.rows {
		width = max(width, twwidth.Width(t.short(c, row[c], 0)))
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

// itemList is how a cell is a list. How many items are left out is told only of
// those that are counted.
type itemList struct {
	separator string
	counted   bool
}

// shorten keeps the items at the beginning that fit, and says that there are
// others. Where not even one fits, that one is shortened as a path is.
func (l itemList) shorten(cell string, width int) string {
	if twwidth.Width(cell) <= width {
		return cell
	}
	items := strings.Split(cell, l.separator)
	for n := len(items) - 1; n > 1; n-- {
		if short := strings.Join(items[:n], l.separator) + l.more(len(items)-n); twwidth.Width(short) <= width {
			return short
		}
	}
	left := l.more(len(items) - 1)
	return shorten(items[0], width-twwidth.Width(left)) + left
}

// more stands for items that are left out.
func (l itemList) more(n int) string {
	switch {
	case n == 0:
		return ""
	case l.counted:
		return fmt.Sprintf(" +%d more", n)
	}
	return l.separator + "…"
}

// shorten leaves components out of the middle of a path as far as it takes, but
// never a piece of one: the last tells most, and a piece of a name is another.
func shorten(cell string, width int) string {
	last := strings.LastIndexByte(cell, '/')
	if twwidth.Width(cell) <= width || last < 0 {
		return cell
	}
	short := cell
	for at := strings.LastIndexByte(cell[:last], '/'); at >= 0 && twwidth.Width(short) > width; at = strings.LastIndexByte(cell[:at], '/') {
		if less := cell[:at+1] + "…" + cell[last:]; twwidth.Width(less) < twwidth.Width(short) {
			short = less
		}
	}
	return short
}
