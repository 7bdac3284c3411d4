package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fatih/color"

	"nsinspect/compare"
)

// Of notes of one check, and of its faults in one place, so many are told before
// the rest is only counted: a container can mount ten thousand times.
const (
	foldNotes  = 3
	foldFaults = 16
)

// fold is what findings have in common that are folded.
type fold struct {
	severity        compare.Severity
	check           string
	cgroupNS, mntNS uint64
}

func foldOf(f *compare.Finding) (key fold, after int) {
	if f.Severity == compare.Info {
		return fold{f.Severity, f.Check, 0, 0}, foldNotes
	}
	return fold{f.Severity, f.Check, f.CgroupNS, f.MntNS}, foldFaults
}

// DoctorText writes a report for people: the verdict, then each finding with
// whom it touches, what it means, how it was confirmed and what mends it; then
// what was looked at. With NoHeaders it has the findings alone.
func DoctorText(w io.Writer, r *compare.Report, o Options) error {
	var b strings.Builder
	if !o.NoHeaders {
		fmt.Fprintf(&b, "%s\n\n", paint(verdict(r), r, o))
	}
	findings(&b, r, o)
	if o.Wide {
		if err := checks(&b, r, o); err != nil {
			return err
		}
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if !o.NoHeaders {
		prose(&b, "", coverage(r), indent, o)
		text = b.String()
	}
	_, err := io.WriteString(w, text)
	return err
}

// findings are told one by one, each with a blank line behind it.
func findings(b *strings.Builder, r *compare.Report, o Options) {
	left := map[fold]int{}
	for i := range r.Findings {
		key, _ := foldOf(&r.Findings[i])
		left[key]++
	}
	told := map[fold]int{}
	for i := range r.Findings {
		f := &r.Findings[i]
		key, after := foldOf(f)
		left[key]--
		if told[key]++; told[key] <= after || o.Wide {
			finding(b, f, o)
			fmt.Fprintln(b)
		} else if left[key] == 0 {
			fmt.Fprintf(b, "%-7s  %s  %d more like these: -o wide shows them\n\n", f.Severity, f.Check, told[key]-after)
		}
	}
}

func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func known(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// paint colours a line by the worst that was found.
func paint(line string, r *compare.Report, o Options) string {
	worst, ok := r.Worst()
	if !ok || worst == compare.Info {
		if r.Coverage.Skipped > 0 {
			return line
		}
		return colour(line, o, color.FgGreen)
	}
	return severityColour(line, worst, o)
}

func severityColour(text string, s compare.Severity, o Options) string {
	switch s {
	case compare.Error:
		return colour(text, o, color.FgRed, color.Bold)
	case compare.Warning:
		return colour(text, o, color.FgYellow, color.Bold)
	}
	return text
}

func colour(text string, o Options, attributes ...color.Attribute) string {
	c := color.New(attributes...)
	if o.Color {
		c.EnableColor()
	} else {
		c.DisableColor()
	}
	return c.Sprint(text)
}

// indent is as wide as a severity and the blanks behind it.
const indent = "         "

func finding(b *strings.Builder, f *compare.Finding, o Options) {
	lead := severityColour(fmt.Sprintf("%-7s", f.Severity), f.Severity, o) + "  " + f.Check + "  "
	place := location(f)
	if place == "" {
		prose(b, lead, Text(f.Message), indent, o)
	} else {
		prose(b, lead, place, indent, o)
		if ns := namespaces(f); ns != "" {
			prose(b, indent, ns, indent, o)
		}
		prose(b, indent, Text(f.Message), indent, o)
	}
	if c := confirmation(f); c != "" {
		prose(b, indent, c, indent, o)
	}
	remedy(b, f, o)
}

// location says where and of whom: "/sys/fs/cgroup/freezer as 24437 bash and 2
// more see it".
func location(f *compare.Finding) string {
	if f.PID == 0 || f.Check == "reader-not-initial" {
		return ""
	}
	who := fmt.Sprint(f.PID)
	if f.Thread() != f.PID {
		who = fmt.Sprintf("thread %d of %d", f.Thread(), f.PID)
	}
	if f.Command != "" {
		who += " " + Text(f.Command)
	}
	if more := len(f.PIDs) - 1; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	switch {
	case !aboutMount(f) && f.Hierarchy != nil:
		return Text(f.Hierarchy.Label) + " of " + who
	case aboutMount(f) && len(f.PIDs) == 1:
		return Text(f.Mount.MountPoint) + " as " + who + " sees it"
	case aboutMount(f):
		return Text(f.Mount.MountPoint) + " as " + who + " see it"
	}
	return who
}

func namespaces(f *compare.Finding) string {
	var parts []string
	if f.CgroupNS != 0 {
		parts = append(parts, fmt.Sprintf("cgroup namespace %d", f.CgroupNS))
	}
	if f.MntNS != 0 {
		parts = append(parts, fmt.Sprintf("mount namespace %d", f.MntNS))
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func confirmation(f *compare.Finding) string {
	if f.Confirmed != nil && *f.Confirmed && f.Mount != nil {
		who := fmt.Sprintf("PID %d", f.PID)
		if f.Thread() != f.PID {
			who = fmt.Sprintf("thread %d", f.Thread())
		}
		return fmt.Sprintf("confirmed: %s is not in %s there", who, Text(fmt.Sprint(f.Evidence["list"])))
	}
	if why, ok := f.Evidence["not_confirmed"].(string); ok && f.Severity != compare.Info && aboutMount(f) {
		return "not confirmed by a second way: " + Text(why)
	}
	return ""
}

// aboutMount tells whether a finding is that a mount shows the wrong tree. The
// others rest on what the kernel itself says of a process.
func aboutMount(f *compare.Finding) bool { return f.Mount != nil && f.Check != "dead-root" }

func remedy(b *strings.Builder, f *compare.Finding, o Options) {
	r := &f.Remedy
	if len(r.Steps) == 0 {
		for _, note := range r.Notes {
			prose(b, indent, "note: "+Text(note), indent, o)
		}
		if len(r.Command) > 0 { // on a line of its own, which nothing breaks
			fmt.Fprintf(b, "%s%s\n%s  %s\n", indent, willDo(r.Command), indent, Shell(r.Command))
		}
		return
	}
	why, where := "mend it ("+Text(strings.Join(r.Notes, "; "))+")", ", as root on the host:"
	if len(r.Command) > 0 {
		prose(b, indent, why+":", indent, o)
		fmt.Fprintf(b, "%s  %s\n", indent, Shell(r.Command))
		why = "or by hand"
	}
	prose(b, indent, why+where, indent, o)
	for i, step := range r.Steps {
		end := " &&"
		if i == len(r.Steps)-1 { // what test(1) does not say; nothing may follow, since this can fail
			end = " || { echo 'not mended' >&2; false; }"
		}
		fmt.Fprintf(b, "%s  %s%s\n", indent, Shell(step), end)
	}
	fmt.Fprintf(b, "%sthen see: %s\n", indent, Shell(f.Verify))
}

// willDo introduces a command of nsinspect's: without --apply it shows a plan.
func willDo(command []string) string {
	if slices.Contains(command, "--apply") {
		return "mend it:"
	}
	return "what mending it would take:"
}

// Shell writes a command as one types it. A step that is a line of shell is
// that line. What could act on the terminal is escaped, so that it does no harm
// there, though it is then another command.
func Shell(argv []string) string {
	if len(argv) == 3 && argv[0] == "sh" && argv[1] == "-c" {
		return Text(argv[2])
	}
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = quote(a)
	}
	return Text(strings.Join(words, " "))
}

// quote leaves a word as it is if the shell does.
func quote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/-_.,:=+@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func checks(b *strings.Builder, r *compare.Report, o Options) error {
	t := table{header: []string{"CHECK", "EXAMINED", "FINDINGS"}}
	for _, c := range r.Checks {
		t.add(c.Check, fmt.Sprint(c.Examined), fmt.Sprint(c.Findings))
	}
	err := t.write(b, o)
	fmt.Fprintln(b)
	return err
}
