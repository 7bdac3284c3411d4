package compare

import (
	"slices"
	"sort"

	"nsinspect/inspect"
)

// proofRound drafts the findings and asks the kernel to confirm them.
type proofRound struct {
	probed []*Finding
	// unnamed are drafts whose process was not read for anything else.
	unnamed []*Finding
	drafts  []*Finding
}

func (r *proofRound) ask(d *Diagnosis) inspect.Questions {
	for _, c := range d.checks {
		if d.leavesOut(c) {
			continue
		}
		for _, f := range c.run(d) {
			f.Check = c.Name
			if f.Severity == "" {
				f.Severity = c.Severity
			}
			r.drafts = append(r.drafts, f)
		}
	}
	var q inspect.Questions
	for _, f := range r.drafts {
		if f.probe != nil {
			q.Probes = append(q.Probes, *f.probe)
			r.probed = append(r.probed, f)
		}
		if f.PID != 0 && f.Command == "" {
			q.Processes = append(q.Processes, f.task)
			r.unnamed = append(r.unnamed, f)
		}
	}
	return q
}

func (r *proofRound) learn(d *Diagnosis, a *inspect.Answers) {
	for i, f := range r.probed {
		answer := a.Probes[i]
		if !answer.Tried {
			f.Evidence["not_confirmed"] = answer.Reason
			continue
		}
		f.Confirmed = truth(!answer.Listed)
		f.Evidence["list"] = answer.List
	}
	for i, f := range r.unnamed {
		if p := a.Processes[i]; p != nil {
			f.Command = p.Command
		}
	}
	for _, f := range r.drafts {
		// The kernel lists the process where the path says: nothing is wrong.
		if f.Confirmed == nil || *f.Confirmed {
			d.drafts = append(d.drafts, f)
		}
	}
	sort.SliceStable(d.drafts, func(i, j int) bool {
		return weight[d.drafts[i].Severity] > weight[d.drafts[j].Severity]
	})
}

// Report concludes.
func (d *Diagnosis) Report() *Report {
	r := &Report{
		Kernel: d.host.Kernel, Layout: Layout(d.host.Own), Reader: d.host.Reader, Skipped: d.skipped(), Missed: d.missed(), Hidden: d.host.Hidden,
		Findings: []Finding{}, Coverage: d.coverage(),
	}
	count := map[string]int{}
	for _, f := range d.drafts {
		count[f.Check]++
		r.Findings = append(r.Findings, *f)
	}
	for _, c := range d.checks {
		result := CheckResult{Check: c.Name, Findings: count[c.Name]}
		if d.leavesOut(c) {
			r.LeftOut++
		} else {
			result.Examined = c.examined(d)
		}
		r.Checks = append(r.Checks, result)
	}
	return r
}

func (d *Diagnosis) coverage() Coverage {
	c := Coverage{Processes: d.processes()}
	for _, ns := range d.host.Namespaces {
		if !slices.ContainsFunc(ns.Members, func(t inspect.Task) bool { return d.judged(t.PID) }) {
			continue
		}
		c.Namespaces++
		if ns.Entered {
			c.Entered++
		}
	}
	missed := map[int]bool{}
	for _, s := range d.missed() {
		missed[s.PID] = true
	}
	c.Skipped = len(missed)
	return c
}
