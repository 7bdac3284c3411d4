package compare

import "testing"

func TestSeverities(t *testing.T) {
	order := []Severity{Info, Warning, Error}
	for i, s := range order {
		for j, than := range order {
			if s.AtLeast(than) != (i >= j) {
				t.Errorf("%s at least %s: %v", s, than, s.AtLeast(than))
			}
		}
	}
	for _, c := range []struct {
		findings []Finding
		want     Severity
	}{
		{[]Finding{{Severity: Info}, {Severity: Error}, {Severity: Warning}}, Error},
		{[]Finding{{Severity: Info}, {Severity: Warning}}, Warning},
		{[]Finding{{Severity: Info}}, Info},
	} {
		if got, found := (&Report{Findings: c.findings}).Worst(); got != c.want || !found {
			t.Errorf("%s, %v; want %s", got, found, c.want)
		}
	}
}

// TestClean has what may be printed and pasted as it is, at its edges.
func TestClean(t *testing.T) {
	for text, want := range map[string]bool{
		"/sys/fs/cgroup": true, "/a b'\"$(x)": true, "/é\u00a0\u4e00": true, "/a\u200d": true, "": true, "\ufffd": true,
		"/\x00": false, "/\x1b[31m": false, "/\t": false, "/\x7f": false, "/\u0080": false, "/\u009f": false, "/\xff": false, "/\xc3": false,
		"/\u061c": false, "/\u200e": false, "/\u200f": false, "/\u2027": true, "/\u2028": false, "/\u202e": false, "/\u202f": true,
		"/\u2065": true, "/\u2066": false, "/\u2069": false, "/\u206a": true, "/\ufeff": false, "\n": false,
	} {
		if got := clean(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
