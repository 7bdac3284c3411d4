package render

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"nsinspect/compare"
)

func TestPage(t *testing.T) {
	const text = "Some words and `code of three` words, a-word-that-is-too-long-for-it.\n\n```\nkept   as it is, however long it is\n\n  this too\n```\n\nMore."
	const want = `  Some words and
  ` + "`code of three`" + `
  words,
  a-word-that-is-too-long-for-it.

    kept   as it is, however long it is

      this too

  More.
`
	var b strings.Builder
	page(&b, text, 18)
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

// TestWordsKeepBlanks: two blanks are somebody's choice, in a path or a command.
func TestWordsKeepBlanks(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"its root is /a  b and not /c", "its|root|is|/a  b|and|not|/c"},
		{"info     incomplete  1 of 3", "info     incomplete  1|of|3"},
		{"run `ls  -l` or `a b`", "run|`ls  -l`|or|`a b`"},
		{"  /x   y ", "  /x   y "},
	} {
		if got := strings.Join(words(c.line), "|"); got != c.want {
			t.Errorf("%q is split into %q, want %q", c.line, got, c.want)
		}
	}
}

// TestExplainTableFits: on a terminal each check has its line, and the sentence is
// cut between words.
func TestExplainTableFits(t *testing.T) {
	table := func(o Options) []string {
		var b strings.Builder
		if err := ExplainTable(&b, compare.Checks, o); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	}
	whole, wide, narrow := table(Options{}), table(Options{Width: 80, Wide: true}), table(Options{Width: 80})
	if len(whole) != len(compare.Checks)+1 || len(narrow) != len(whole) || !slices.Equal(whole, wide) {
		t.Fatalf("%d checks have %d lines, %d on a terminal", len(compare.Checks), len(whole), len(narrow))
	}
	for i, line := range narrow {
		begin, cut := strings.CutSuffix(line, " …")
		if utf8.RuneCountInString(line) > 80 || !strings.HasPrefix(whole[i]+" ", begin+" ") || cut == (whole[i] == begin) {
			t.Errorf("%q of %q", line, whole[i])
		}
	}
}

// TestExplainFits holds that prose fits a terminal of any usual width, that what
// is to be pasted is never broken, and that nothing fits worse on a wide one.
func TestExplainFits(t *testing.T) {
	for _, c := range compare.Checks {
		for _, width := range []int{0, 60, 80, 200} {
			var b strings.Builder
			if err := ExplainText(&b, c, Options{Width: width}); err != nil {
				t.Fatal(err)
			}
			most := width
			if width == 0 || width > pageWidth {
				most = pageWidth
			}
			for _, line := range strings.Split(b.String(), "\n") {
				kept := strings.HasPrefix(line, "    ")
				if n := utf8.RuneCountInString(line); n > most && (!kept || n > pageWidth) {
					t.Errorf("%s: %d columns on %d: %s", c.Name, n, width, line)
				}
			}
			if fences := strings.Count(b.String(), "```"); fences > 0 {
				t.Errorf("%s: %d fences are left", c.Name, fences)
			}
		}
	}
}
