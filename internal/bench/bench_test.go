package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInsert: only what is between the markers changes, and without them nothing.
func TestInsert(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	for _, c := range []struct{ page, want string }{
		{"a\n" + begin + end + "b\n", "a\n" + begin + "\nnew\n" + end + "b\n"},
		{"a\n" + begin + "old\n" + end + "b\n", "a\n" + begin + "\nnew\n" + end + "b\n"},
		{"a\n" + begin + "no end\n", ""},
		{end + begin, ""},
		{"", ""},
	} {
		if err := os.WriteFile(path, []byte(c.page), 0o644); err != nil {
			t.Fatal(err)
		}
		err := insert(path, "new")
		got, errRead := os.ReadFile(path)
		if errRead != nil {
			t.Fatal(errRead)
		}
		switch {
		case c.want == "" && (err == nil || string(got) != c.page):
			t.Errorf("%q became %q, %v", c.page, got, err)
		case c.want != "" && (err != nil || string(got) != c.want):
			t.Errorf("%q became %q, %v, want %q", c.page, got, err, c.want)
		}
	}
}

// TestParse: what cannot be measured is refused before anything is made.
func TestParse(t *testing.T) {
	for line, ok := range map[string]bool{
		"":                        true,
		"-n 500 -farms stale":     true,
		"-n 500 -- perf stat":     true,
		"-n 499":                  false,
		"-n 1000,x":               false,
		"-k 0":                    false,
		"-runs 0":                 false,
		"-farms healthy,ill":      false,
		"-n 1000 -k 10 -tool x y": true,
	} {
		o, err := parse(strings.Fields(line))
		if (err == nil) != ok {
			t.Errorf("%q: %v", line, err)
		}
		if ok && !filepath.IsAbs(o.Tool) {
			t.Errorf("%q: the tool is %q", line, o.Tool)
		}
	}
}

// TestReport: medians, ratios within a turn, growth, and which goals count.
func TestReport(t *testing.T) {
	ms := func(l ...int) (list []time.Duration) {
		for _, n := range l {
			list = append(list, time.Duration(n)*time.Millisecond)
		}
		return list
	}
	on := func(n int, stale bool, list ...int) measured {
		m := measured{Farm: farm{N: n, K: 500, Stale: stale}, Own: 7 << 10}
		for _, key := range []string{"doctor", "compare", "lsns", "nsenter", floorLinks, floorEnter, floorViews} {
			m.List = append(m.List, &contender{Key: key, Title: key, Wall: ms(100, 100, 100), CPU: ms(150, 150, 150), Memory: 30 << 10, Calls: 2 * n})
		}
		return measured{m.Farm, append(m.List, &contender{Key: "list", Title: "list", Wall: ms(list...), CPU: ms(9, 9, 9), Memory: 7 << 10, Calls: n / 2}), m.Own}
	}
	var b strings.Builder
	tables(&b, []measured{on(5000, false, 2, 3, 1), on(10_000, false, 5, 50, 8), on(20_000, false, 9, 10, 8)})
	tables(&b, []measured{on(10_000, true, 5, 5, 5)})
	for _, want := range []string{
		"| list | 2.0 | 8.0 | 9.0 |", // the medians
		"| list / lsns | 0.02 | 0.08 (≤ 0.1) | 0.09 |",
		"| doctor / lsns | 1.00 | 1.00 (**not** ≤ 0.35) | 1.00 |",
		"| compare / nsenter | 1.00 (≤ 3) | 1.00 (≤ 3) | 1.00 (≤ 3) |",
		"| doctor | 30.0 | 30.0 (**not** ≤ 25) | 30.0 |",
		"| list | < 7.0 | < 7.0 | < 7.0 |",
		"| list | 0.50 | 0.50 | 0.50 |",
		"list grows 4.5 times (**not** ≤ 4.4), doctor grows 1.0 times (≤ 4.4), lsns grows 1.0 times.",
		"| doctor / lsns | 1.00 |\n",
		"| doctor | 30.0 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
}
