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
