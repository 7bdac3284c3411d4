package render

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// TestProseFits: on a terminal the lines that are read are broken between words,
// in every command, and no word is lost.
func TestProseFits(t *testing.T) {
	const long = "words that are many more than would ever fit a terminal of sixty columns"
	subject := inspect.Process{Task: inspect.Task{PID: 4194304, TID: 4194304}, Command: "nsinspect-sub", User: "root"}
	print := func(o Options) string {
		var b strings.Builder
		c := &compare.Comparison{Process: subject, Namespace: 4026532178, Known: compare.Likely, Reason: long}
		plan := &Remount{
			Process: subject, Refusal: "why " + long, Hint: "instead " + long, Notes: []string{long},
			Mounts: []RemountMount{with(planned, func(m *RemountMount) { m.Steps, m.Hint, m.Notes = []string{long}, long, []string{long} })},
		}
		if err := errors.Join(
			CompareTable(&b, inspect.Reader{CgroupNS: 4026532700}, c, o), RemountText(&b, plan, o),
			LabStep(&b, Step{Number: 1, Where: "host", Title: long, Note: long, Expected: long}, o), LabKept(&b, Kept{Cgroup: "/a b", Sub: 4194301, Sub2: 4194302, Outside: 4194303}, o),
		); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	piped, shown := print(Options{}), print(Options{Width: 60})
	for line := range strings.Lines(shown) {
		if n := utf8.RuneCountInString(line) - 1; n > 60 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if a, b := strings.Join(strings.Fields(piped), " "), strings.Join(strings.Fields(shown), " "); a != b || strings.Count(a, long) != 10 {
		t.Errorf("into a pipe it is\n%s\non a terminal\n%s", piped, shown)
	}
}
