package render

import (
	"bytes"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Options say how to present.
type Options struct {
	// Wide shows everything, also what has nothing to tell.
	Wide bool
	// NoHeaders leaves out the line of column names.
	NoHeaders bool
	// Width is the terminal's, in columns; 0: no terminal, shorten nothing.
	Width int
	Color bool
}

// table is rows of cells below column names.
type table struct {
	header []string
	rows   [][]string
	// flexible are the columns that may be shortened to fit a terminal.
	flexible []int
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
	if o.Width > 0 {
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
	for total > width {
		widest := -1
		for _, c := range t.flexible {
			if widths[c] > max(least, len(t.header[c])) && (widest < 0 || widths[c] > widths[widest]) {
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
			row[c] = shorten(row[c], widths[c])
		}
	}
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
