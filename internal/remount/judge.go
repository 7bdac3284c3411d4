package remount

import (
	"fmt"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// judge decides mount by mount, as far as the mount itself and its hierarchy
// tell.
type judge struct {
	*reading
	include bool
}

// job is what mending one mount takes.
type job struct {
	plan      *Mount // in Plan.Mounts, once that is complete
	old       inspect.Mount
	hierarchy *inspect.Hierarchy
	members   []member
	submounts []inspect.Submount
}

// decision is one mount's part of a plan; job is nil if it is not mended.
type decision struct {
	mount Mount
	job   *job
}

// add takes decisions into the plan.
func (p *Plan) add(list []decision) {
	for _, d := range list {
		if d.job != nil {
			p.jobs = append(p.jobs, d.job)
		}
		p.Mounts = append(p.Mounts, d.mount)
	}
	// The slice may have moved: the jobs are found again by mount ID.
	for _, j := range p.jobs {
		for i := range p.Mounts {
			if p.Mounts[i].MountID == j.old.ID {
				j.plan = &p.Mounts[i]
			}
		}
	}
}

// unreadable makes it the plan's refusal that the reader could not look.
func (p *Plan) unreadable(r *reading) {
	if r.subject.Own == nil {
		p.Refusal = Text("its cgroup namespace could not be looked into: " + r.subject.Reason)
		p.Hint = "run it as root on the host"
	}
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
		ID: h.Hierarchy.ID, Hierarchy: h.Hierarchy.Label, MountID: m.ID, MountPoint: m.MountPoint,
		NamespaceRoot: Text(m.NamespaceRoot), Verdict: m.Verdict,
	}}
	action, why := j.decide(h, m)
	if action == Replace {
		if why = j.hindrance(h, m); why != "" {
			action = Refuse
		}
	}
	d.mount.Action, d.mount.Reason = action, Text(why)
	if action == Replace {
		d.job = &job{old: m.Mount, hierarchy: h.Hierarchy, members: j.members(h)}
	}
	return d
}

// decide says by verdict what a mount needs.
func (j *judge) decide(h *compare.HierarchyView, m *compare.MountView) (Action, string) {
	beside := ""
	if good := h.Good(); good != nil && good.ID != m.ID {
		beside = good.MountPoint
	}
	switch m.Verdict {
	case compare.VerdictOK:
		return Keep, ""
	case compare.VerdictStale:
		if beside != "" && !j.include {
			return Keep, fmt.Sprintf("it shows more than the namespace's own tree, but a good mount is at %s, so it may be meant: it is replaced only on request (--include foreign)", printable(beside))
		}
		return Replace, ""
	case compare.VerdictForeign:
		if j.include {
			return Replace, ""
		}
		if beside != "" {
			return Keep, fmt.Sprintf("it shows a neighbour's tree, but a good mount is at %s, so it may be meant: it is replaced only on request (--include foreign)", printable(beside))
		}
		return Refuse, "it shows a neighbour's tree, which may be meant: it is replaced only on request (--include foreign)"
	case compare.VerdictSub, compare.VerdictUnreachable:
		if j.include && m.NamespaceRoot != "/" {
			return Replace, ""
		}
		return Keep, "it shows a part of the namespace's own tree, which a fresh mount would widen: it is replaced only on request (--include foreign)"
	case compare.VerdictDead:
		return Refuse, "the namespace's root directory was removed, so nothing can be mounted in its place: restart its processes, so that they get a new cgroup namespace"
	}
	if j.subject.Reason != "" {
		return Refuse, "what it shows could not be found out: " + j.subject.Reason
	}
	return Refuse, "what it shows could not be found out"
}

// hindrance says why a mount cannot be mended, or nothing.
func (j *judge) hindrance(h *compare.HierarchyView, m *compare.MountView) string {
	switch {
	case j.subject.Process.CgroupNS == inspect.InitialCgroupNS:
		return "it is in the initial cgroup namespace, where a fresh mount would change the options of the whole host's hierarchy"
	case !h.Alive() || len(j.members(h)) == 0:
		return "no live process inside the namespace's root directory proves that it still exists, so a fresh mount might fail or show none of its processes: restart them, so that they get a new cgroup namespace"
	case m.MountPoint == "/":
		return "it is mounted on the process's root directory"
	case m.Behind != "":
		return "its mount point lies behind a " + m.Behind + " mount, which may never answer"
	}
	return ""
}
