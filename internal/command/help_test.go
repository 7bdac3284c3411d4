package command

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestLegend holds the help of compare against docs/json.md: the same verdicts in
// the same order, each on a line that fits a terminal.
func TestLegend(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## verdicts\n")
	if !ok {
		t.Fatal("docs/json.md has no verdicts")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(section, -1)
	lines := strings.Split(strings.TrimSpace(legend()), "\n")
	if len(rows) < 8 || len(lines) != len(rows) {
		t.Fatalf("%d verdicts in docs/json.md, %d in the help", len(rows), len(lines))
	}
	for i, line := range lines {
		if verdict, meaning, _ := strings.Cut(line, " "); verdict != rows[i][1] || len(meaning) < 20 || len(line) > 76 {
			t.Errorf("%q, want %s and what it means", line, rows[i][1])
		}
	}
}
