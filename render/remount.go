package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// Remount is a plan for mending a process's cgroup mounts or, where Applied is
// true, what has become of it.
type Remount struct {
	Reader  inspect.Reader
	Process inspect.Process
	Applied bool
	// Refusal says why nothing is mended at all, Hint what to do instead.
	Refusal, Hint string
	Sharers       []RemountSharer
	Mounts        []RemountMount
	Notes         []string
	Skipped       []inspect.Skipped
}

// RemountSharer is a process that mending would hurt.
type RemountSharer struct {
	PID      int
	Command  string
	CgroupNS uint64
}

// RemountMount is one cgroup mount. Empty strings are not known, or none.
type RemountMount struct {
	Hierarchy     *inspect.Hierarchy
	MountID       int
	MountPoint    string
	NamespaceRoot string
	Verdict       compare.Verdict
	Action        string // keep, replace, cover or refuse
	Reason        string
	Steps         []string
	State         string // unchanged, mended, restored or lost; empty in a plan
	After         *RemountAfter
	Error, Hint   string
	Notes         []string
}

// RemountAfter is the mount that is at a mount point now.
type RemountAfter struct {
	MountID       int
	NamespaceRoot string
	Verdict       compare.Verdict
}

func (m *RemountMount) mends() bool { return m.Action == "replace" || m.Action == "cover" }

// outcomes are what a plan or its application amounts to.
const (
	outcomeNothing = "nothing" // nothing is to be mended
	outcomePlanned = "planned"
	outcomeMended  = "mended"
	outcomeRefused = "refused" // at least one mount is
	outcomeFailed  = "failed"  // at least one mount did
)

// tally counts the mounts by what becomes of them.
type tally struct{ mends, refused, failed int }

func (r *Remount) tally() (t tally, outcome string) {
	for i := range r.Mounts {
		m := &r.Mounts[i]
		switch {
		case m.Error != "":
			t.failed++
		case m.Action == "refuse":
			t.refused++
		case m.mends():
			t.mends++
		}
	}
	switch {
	case t.failed > 0:
		return t, outcomeFailed
	case t.refused > 0 || r.Refusal != "":
		return t, outcomeRefused
	case t.mends == 0:
		return t, outcomeNothing
	case r.Applied:
		return t, outcomeMended
	}
	return t, outcomePlanned
}

// RemountText writes a plan or a result for people: the verdict, each mount
// before and after, and what to do where something is refused or failed.
func RemountText(w io.Writer, r *Remount, o Options) error {
	var b strings.Builder
	t, outcome := r.tally()
	if !o.NoHeaders {
		fmt.Fprintln(&b, paintOutcome(remountVerdict(t, outcome, r.Applied), outcome, o))
		prose(&b, "", fmt.Sprintf("%s: cgroup namespace %s, mount namespace %s", who(r.Process), inode(r.Process.CgroupNS), inode(r.Process.MntNS)), "  ", o)
	}
	if err := refusal(&b, r, o); err != nil {
		return err
	}
	if err := remountTable(&b, r, o); err != nil {
		return err
	}
	for i := range r.Mounts {
		remountDetails(&b, &r.Mounts[i], r, o)
	}
	for i, note := range r.Notes {
		if i == 0 {
			fmt.Fprintln(&b)
		}
		prose(&b, "note: ", Text(note), "  ", o)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// remountVerdict is everything in one line.
func remountVerdict(t tally, outcome string, applied bool) string {
	mounts := func(n int) string { return many(n, "cgroup mount", "cgroup mounts") }
	more := ""
	switch {
	case t.mends > 0 && applied:
		more = fmt.Sprintf("; %d mended", t.mends)
	case t.mends > 0:
		more = fmt.Sprintf("; %d can be mended", t.mends)
	}
	switch outcome {
	case outcomeFailed:
		return "failed: " + mounts(t.failed) + " not mended" + more
	case outcomeRefused:
		if t.refused == 0 {
			return "refused: what there is to mend could not be looked at"
		}
		return "refused: " + many(t.refused, "cgroup mount stays as it is", "cgroup mounts stay as they are") + more
	case outcomeMended:
		return mounts(t.mends) + " mended"
	case outcomePlanned:
		return mounts(t.mends) + " can be mended; nothing is changed without --apply"
	}
	return "nothing to mend"
}

func paintOutcome(line, outcome string, o Options) string {
	switch outcome {
	case outcomeFailed, outcomeRefused:
		return colour(line, o, color.FgRed, color.Bold)
	case outcomePlanned:
		return colour(line, o, color.FgYellow, color.Bold)
	}
	return colour(line, o, color.FgGreen)
}

func inode(ns uint64) string {
	if ns == 0 {
		return "unknown"
	}
	return fmt.Sprint(ns)
}

// refusal says why nothing is done at all, whom it would hurt, and what to do.
func refusal(b *strings.Builder, r *Remount, o Options) error {
	if r.Refusal == "" {
		return nil
	}
	fmt.Fprintln(b)
	prose(b, "why:     ", Text(r.Refusal), indent, o)
	prose(b, "instead: ", Text(r.Hint), indent, o)
	t := table{header: []string{"PID", "COMMAND", "CGROUP NS"}}
	for i, s := range r.Sharers {
		if i < mostSharers || o.Wide {
			t.add(fmt.Sprint(s.PID), s.Command, inode(s.CgroupNS))
		}
	}
	if err := part(b, &t, o); err != nil {
		return err
	}
	if more := len(r.Sharers) - len(t.rows); more > 0 {
		fmt.Fprintf(b, "%d more: -o wide shows them\n", more)
	}
	return nil
}

// mostSharers is how many are listed without being asked for.
const mostSharers = 10

// remountTable has the mounts that are not simply healthy; all with Wide.
func remountTable(b *strings.Builder, r *Remount, o Options) error {
	last := "ACTION"
	if r.Applied {
		last = "STATE"
	}
	t := table{header: []string{"ID", "CONTROLLERS", "MOUNT POINT", "BEFORE", "AFTER", last}, flexible: []int{2, 3, 4}}
	for i := range r.Mounts {
		m := &r.Mounts[i]
		if m.Action == "keep" && m.Verdict.Healthy() && !o.Wide {
			continue
		}
		what := m.Action
		if r.Applied && (m.mends() || m.Error != "") {
			what = m.State
		}
		t.add(fmt.Sprint(m.Hierarchy.ID), m.Hierarchy.Label, m.MountPoint, unknown(m.NamespaceRoot), m.afterwards(r.Applied), what)
	}
	if err := part(b, &t, o); err != nil {
		return err
	}
	if hidden := len(r.Mounts) - len(t.rows); hidden > 0 && !o.NoHeaders {
		more := "more cgroup mount"
		if len(t.rows) == 0 {
			more = "cgroup mount"
		}
		fmt.Fprintln(b, many(hidden, more+" is as it should be", more+"s are as they should be"))
	}
	return nil
}

// afterwards is the root that the mount will show, or shows now.
func (m *RemountMount) afterwards(applied bool) string {
	switch {
	case applied && m.After != nil:
		return unknown(m.After.NamespaceRoot)
	case applied && m.mends():
		return "?"
	case m.mends():
		return "/"
	}
	return unknown(m.NamespaceRoot)
}

// remountDetails tells of one mount how it is done, or why not.
func remountDetails(b *strings.Builder, m *RemountMount, r *Remount, o Options) {
	var lines []string
	if !r.Applied {
		lines = m.Steps
	}
	if m.Reason != "" && m.Reason != r.Refusal && !(m.Action == "keep" && m.Verdict.Healthy()) {
		lines = append(lines, m.Reason)
	}
	if m.Error != "" {
		lines = append(lines, m.Error)
	}
	if m.Hint != "" {
		lines = append(lines, "do: "+m.Hint)
	}
	for _, note := range m.Notes {
		lines = append(lines, "note: "+note)
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", Text(m.MountPoint))
	for _, line := range lines {
		prose(b, "  ", Text(line), "    ", o)
	}
}
