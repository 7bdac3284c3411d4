package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

// goal is a ratio of two wall times, and the most that it is to be.
type goal struct {
	a, b string
	most float64
	// everywhere: whatever the number of processes, else at the size of goalSize.
	everywhere bool
}

var goals = []goal{
	{a: "list", b: "lsns", most: 0.10},
	{a: "list", b: floorEnter, most: 2},
	{a: "doctor", b: "lsns", most: 0.35},
	{a: "doctor", b: floorViews, most: 1.5},
	{a: "compare", b: "nsenter", most: 3, everywhere: true},
}

// The other goals.
const (
	goalSize   = 10_000
	goalMemory = 25.0 // MiB, of list and doctor
	goalGrowth = 4.4  // from growthFrom to growthTo processes
	growthFrom = 5_000
	growthTo   = 20_000
)

// counts tells whether the farm is the one that the goals are set for.
func (m *measured) counts() bool { return !m.Farm.Stale && m.Farm.N == goalSize }

// report is all that was measured, as Markdown.
type report struct {
	job
	farms []measured
}

func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s. Each command ran %d times on each farm, in turn with the others; times are medians, "+
		"ratios medians of the ratios within one turn, memory the most of any run.\n", machine(r.Tool), r.Runs)
	for _, stale := range []bool{false, true} {
		var some []measured
		for _, m := range r.farms {
			if m.Farm.Stale == stale {
				some = append(some, m)
			}
		}
		if len(some) > 0 {
			tables(&b, some)
		}
	}
	return b.String()
}

// tables writes what was measured on farms of one kind.
func tables(b *strings.Builder, farms []measured) {
	kind := "each with its own mount namespace and fresh mounts"
	if farms[0].Farm.Stale {
		kind = "all in one mount namespace, with stale mounts"
	}
	fmt.Fprintf(b, "\n### %d cgroup namespaces, %s\n", farms[0].Farm.K, kind)
	columns(b, farms, "wall time, ms", func(_ *measured, c *contender) string { return milliseconds(c.Wall) })
	columns(b, farms, "processor time, ms", func(_ *measured, c *contender) string { return milliseconds(c.CPU) })
	columns(b, farms, "peak memory, MiB", func(m *measured, c *contender) string {
		mib := float64(c.Memory) / 1024
		if c.Memory <= m.Own {
			return fmt.Sprintf("< %.1f", mib)
		}
		return fmt.Sprintf("%.1f", mib) + reached(mib, goalMemory, m.counts() && (c.Key == "list" || c.Key == "doctor"))
	})
	columns(b, farms, "system calls per process", func(m *measured, c *contender) string {
		return fmt.Sprintf("%.2f", float64(c.Calls)/float64(m.Farm.N))
	})
	ratios(b, farms)
}

func milliseconds(l []time.Duration) string {
	return fmt.Sprintf("%.1f", float64(median(l))/float64(time.Millisecond))
}

// head begins a table with a column for each farm.
func head(b *strings.Builder, farms []measured, title string) {
	fmt.Fprintf(b, "\n| %s |", title)
	for _, m := range farms {
		fmt.Fprintf(b, " N = %d |", m.Farm.N)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---:|", len(farms)))
}

func columns(b *strings.Builder, farms []measured, title string, cell func(*measured, *contender) string) {
	head(b, farms, title)
	for _, c := range farms[0].List {
		fmt.Fprintf(b, "| %s |", c.Title)
		for i := range farms {
			fmt.Fprintf(b, " %s |", cell(&farms[i], farms[i].of(c.Key)))
		}
		fmt.Fprintln(b)
	}
}

// ratios writes the table that has the goals; those of the healthy farm count.
func ratios(b *strings.Builder, farms []measured) {
	head(b, farms, "wall time against")
	for _, g := range goals {
		fmt.Fprintf(b, "| %s / %s |", farms[0].of(g.a).Title, farms[0].of(g.b).Title)
		for i := range farms {
			m := &farms[i]
			x := ratio(m.of(g.a), m.of(g.b))
			fmt.Fprintf(b, " %.2f%s |", x, reached(x, g.most, m.counts() || g.everywhere && !m.Farm.Stale))
		}
		fmt.Fprintln(b)
	}
	from, to := sized(farms, growthFrom), sized(farms, growthTo)
	if from == nil || to == nil {
		return
	}
	fmt.Fprintf(b, "\nFrom %d to %d processes", growthFrom, growthTo)
	for _, key := range []string{"list", "doctor", "lsns"} {
		x := float64(median(to.of(key).Wall)) / float64(median(from.of(key).Wall))
		fmt.Fprintf(b, ", %s grows %.1f times%s", key, x, reached(x, goalGrowth, !to.Farm.Stale && key != "lsns"))
	}
	fmt.Fprintln(b, ".")
}

func sized(farms []measured, n int) *measured {
	for i := range farms {
		if farms[i].Farm.N == n {
			return &farms[i]
		}
	}
	return nil
}

// reached says of a value that has a goal whether it is reached.
func reached(x, most float64, counts bool) string {
	switch {
	case !counts:
		return ""
	case x <= most:
		return fmt.Sprintf(" (≤ %v)", most)
	}
	return fmt.Sprintf(" (**not** ≤ %v)", most)
}

// The tables stand between these lines of the document.
const (
	begin = "<!-- measured by make bench: begin -->\n"
	end   = "<!-- measured by make bench: end -->\n"
)

// insert puts text between the markers of a document.
func insert(path, text string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := bytes.Cut(document, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no markers to put the tables between", path)
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, []byte(begin + "\n" + text + "\n" + end), after}, nil), 0o644)
}
