package render

import (
	"fmt"
	"strings"

	"nsinspect/compare"
)

// firstLine is how long the line with the verdict may be, in bytes: it goes
// into status fields and log lines.
const firstLine = 80

// verdict is the report in one line: how many faults there are and, as far as
// there is room, what they are. Where there is no error, it tells too whether
// everything was looked at.
func verdict(r *compare.Report) string {
	errors, warnings := r.Count(compare.Error), r.Count(compare.Warning)
	var counts []string
	if errors > 0 {
		counts = append(counts, many(errors, "error", "errors"))
	}
	if warnings > 0 {
		counts = append(counts, many(warnings, "warning", "warnings"))
	}
	if len(counts) == 0 {
		return nothingWrong(r)
	}
	unseen := ""
	if errors == 0 && r.Coverage.Skipped > 0 {
		unseen = fmt.Sprintf("; %d of %d not seen", r.Coverage.Skipped, r.Coverage.Processes)
	}
	line := strings.Join(counts, ", ")
	heads := headlines(r)
	for n := len(heads); n > 0; n-- {
		full := line + ": " + strings.Join(heads[:n], ", ")
		if n < len(heads) {
			full += ", and " + many(len(heads)-n, "more kind", "more kinds")
		}
		if full += unseen; len(full) <= firstLine {
			return full
		}
	}
	return line + unseen
}

// nothingWrong is the verdict where there are neither errors nor warnings. It
// vouches for no more than was looked for, and looked at.
func nothingWrong(r *compare.Report) string {
	unseen := fmt.Sprintf("%d of %s unseen", r.Coverage.Skipped, many(r.Coverage.Processes, "process", "processes"))
	line := "nothing wrong found"
	if len(r.Checks) < len(compare.Checks) {
		line += " by " + ran(r)
	}
	switch {
	case r.Coverage.Skipped > 0 && r.Coverage.Skipped == r.Coverage.Processes:
		return "unknown: " + unseen
	case r.Hidden:
		line += ", but other users' processes are hidden"
	case r.Coverage.Skipped > 0:
		line += ", but " + unseen
	}
	return line
}

// ran says how many checks ran: "24 checks", or "2 of 24 checks".
func ran(r *compare.Report) string {
	all := many(len(compare.Checks), "check", "checks")
	if n := len(r.Checks) - r.LeftOut; n < len(compare.Checks) {
		return fmt.Sprintf("%d of %s", n, all)
	}
	return all
}

// headlines are what the checks found above info, in a few words each.
func headlines(r *compare.Report) []string {
	found := map[string]int{}
	for i := range r.Findings {
		if r.Findings[i].Severity != compare.Info {
			found[r.Findings[i].Check]++
		}
	}
	var heads []string
	for _, c := range r.Checks {
		if n := found[c.Check]; n > 0 {
			heads = append(heads, compare.Headline(c.Check, n))
		}
	}
	return heads
}

// coverage says what was looked at, by how many checks, and from where.
func coverage(r *compare.Report) string {
	who := many(r.Coverage.Processes, "process", "processes")
	if n := r.Coverage.Skipped; n > 0 {
		who = fmt.Sprintf("%d of %s looked at,", r.Coverage.Processes-n, who)
	}
	checks := ran(r)
	if n := r.LeftOut; n > 0 {
		checks += fmt.Sprintf(" (left out: %d of the host as a whole)", n)
	}
	return fmt.Sprintf("%s in %s, layout %s, %s; nsinspect's own cgroup namespace is %s", who,
		many(r.Coverage.Namespaces, "cgroup namespace", "cgroup namespaces"), known(r.Layout), checks, readerNS(r.Reader))
}
