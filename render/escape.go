// Package render presents what compare judged: as tables and reports for
// people, as JSON for programs. It knows no kernel.
package render

import "nsinspect/internal/printable"

// Text makes a string safe for a terminal. Names of commands and cgroups are
// anybody's to choose.
func Text(s string) string { return printable.Text(s) }

// Cell is Text for a cell of a table, which awk takes as one word: a blank is
// \040, and an empty cell is "-".
func Cell(s string) string {
	if s == "" {
		return "-"
	}
	return printable.Word(s)
}
