package remount

import (
	"fmt"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// judge decides mount by mount, as far as the mount itself and its hierarchy
// tell.
type judge struct {
	*reading
	foreign bool
}

// job is what mending one mount takes.
type job struct {
	plan      *Mount // in Plan.Mounts
	old       inspect.Mount
	hierarchy *inspect.Hierarchy
	members   []compare.Member
	submounts []inspect.Submount
}

// decision is one mount's part of a plan; job is nil if it is not mended.
type decision struct {
	mount Mount
	job   *job
}

// take takes decisions into the plan, all at once: a job points to its mount.
func (p *Plan) take(list []decision) {
	p.Mounts = make([]Mount, len(list))
	for i, d := range list {
		p.Mounts[i] = d.mount
		if d.job != nil {
			d.job.plan = &p.Mounts[i]
			p.jobs = append(p.jobs, d.job)
		}
	}
}

// refuse makes all jobs mounts that are refused, if there is a reason.
func (p *Plan) refuse(why, hint string) {
	if why == "" {
		return
	}
	p.Refusal, p.Hint = why, hint
	for _, j := range p.jobs {
		j.plan.Action, j.plan.Reason = Refuse, why
	}
	p.jobs = nil
}

func (j *judge) hierarchy(h *compare.HierarchyView) []decision {
	var list []decision
	for i := range h.Mounts {
		if h.Mounts[i].Visible {
			list = append(list, j.mount(h, &h.Mounts[i]))
		}
	}
	return list
}

func (j *judge) mount(h *compare.HierarchyView, m *compare.MountView) decision {
	d := decision{mount: Mount{
		Hierarchy: h.Hierarchy, MountID: m.ID, MountPoint: m.MountPoint,
		NamespaceRoot: m.NamespaceRoot, Verdict: m.Verdict,
	}}
	action, why := j.decide(h, m)
	members := compare.Members(j.host, j.subject, h)
	if action == Replace {
		if why = compare.Hindrance(j.subject, h, m, members); why != "" {
			action = Refuse
		}
	}
	d.mount.Action, d.mount.Reason = action, why
	if action == Replace {
		d.job = &job{old: m.Mount, hierarchy: h.Hierarchy, members: members}
	}
	return d
}

// onRequest ends the reasons that Options.Foreign overrules.
const onRequest = ": it is replaced only on request (--include foreign)"

// decide says by verdict what a mount needs.
func (j *judge) decide(h *compare.HierarchyView, m *compare.MountView) (Action, string) {
	switch m.Verdict {
	case compare.VerdictOK:
		return Keep, ""
	case compare.VerdictStale, compare.VerdictForeign:
		return j.decideOutside(h, m)
	case compare.VerdictSub, compare.VerdictUnreachable:
		return j.decideInside(m)
	case compare.VerdictDead:
		return Refuse, "the namespace's root directory was removed, so nothing can be mounted in its place: restart its processes, so that they get a new cgroup namespace"
	}
	if why, _ := j.blind(); why != "" {
		return Refuse, why
	}
	return Refuse, "what it shows could not be found out"
}

// decideOutside is for mounts that show what lies outside the namespace's root
// directory.
func (j *judge) decideOutside(h *compare.HierarchyView, m *compare.MountView) (Action, string) {
	shows := "it shows a neighbour's tree"
	if m.Verdict == compare.VerdictStale {
		shows = "it shows more than the namespace's own tree"
	}
	good := h.Good()
	switch {
	case j.foreign:
		return Replace, ""
	case good != nil:
		return Keep, fmt.Sprintf("%s, but a good mount is at %s, so it may be meant%s", shows, printable.Text(good.MountPoint), onRequest)
	case m.Verdict == compare.VerdictForeign:
		return Refuse, shows + ", which may be meant" + onRequest
	}
	return Replace, ""
}

// decideInside is for mounts that show no more than the namespace's own tree.
func (j *judge) decideInside(m *compare.MountView) (Action, string) {
	switch {
	case m.NamespaceRoot == "/":
		return Keep, "it shows the namespace's own tree, and the process lies outside of that: a fresh mount would show the same"
	case j.foreign:
		return Replace, ""
	case m.Verdict == compare.VerdictUnreachable:
		return Keep, "it shows a part of the namespace's own tree in which the process is not" + onRequest
	}
	return Keep, "it shows a part of the namespace's own tree, which a fresh mount would widen" + onRequest
}
