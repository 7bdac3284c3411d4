package compare

import (
	"fmt"

	"nsinspect/inspect"
)

// Member is a live process inside its cgroup namespace's root directory in one
// hierarchy. A fresh mount of that has to list it at Path.
type Member struct {
	// PID is the process, TID the thread that was read.
	PID, TID int
	// Path is in the namespace's view, without "..".
	Path string
}

// Members are the members of a subject's cgroup namespace that are known to be
// inside its root directory, the subject first. h may be nil.
func Members(h *inspect.Host, s *inspect.Subject, v *HierarchyView) []Member {
	var list []Member
	if v.Known == Entered && v.NamespacePath != "" && !v.Outside() {
		list = append(list, Member{s.Process.PID, s.Process.TID, v.NamespacePath})
	}
	if h == nil {
		return list
	}
	for _, ns := range h.Namespaces {
		if ns.NS != s.Process.CgroupNS {
			continue
		}
		for _, p := range ns.Pairs {
			own, ok := p.Own.Of(v.Hierarchy.Label)
			if ok && !own.Cut && !inspect.Outside(own.Path) && p.PID != s.Process.PID {
				list = append(list, Member{p.PID, p.PID, own.Path})
			}
		}
	}
	return list
}

// Hindrance says why no fresh mount can be put in the place of one of s's, or
// nothing. members are those of the hierarchy.
func Hindrance(s *inspect.Subject, v *HierarchyView, m *MountView, members []Member) string {
	switch {
	case s.Process.CgroupNS == inspect.InitialCgroupNS:
		return "it is in the initial cgroup namespace, where a fresh mount would change the options of the whole host's hierarchy"
	case s.Host.Mounts == nil:
		return "its mounts could not be read"
	case s.Host.Mounts.Incomplete != "":
		return "not all of its mounts could be read: " + s.Host.Mounts.Incomplete
	case v.life != Alive || len(members) == 0:
		return "no live process inside the namespace's root directory proves that it still exists, so a fresh mount might fail or show none of its processes: restart them, so that they get a new cgroup namespace"
	case m.MountPoint == "/":
		return "it is mounted on the process's root directory"
	case m.Behind != "":
		return fmt.Sprintf("its mount point lies behind a %s mount, which may never answer", m.Behind)
	}
	return ""
}

// command names nsinspect's own way to mend a mount, or nothing where that
// would refuse. Of what lies upon the mount too little is known to tell. In a
// container the mount may be meant as it is, so only the plan is named.
func (d *Diagnosis) command(g *group, v *HierarchyView, m *MountView) []string {
	t := g.task()
	if d.refusal(t, m.ID).Why != "" || m.Submounts > 0 ||
		Hindrance(g.subject, v, m, Members(d.host, g.subject, v)) != "" {
		return nil
	}
	plan := []string{"nsinspect", "remount", fmt.Sprint(t.TID)}
	if d.container(g) {
		return plan
	}
	return append(plan, "--apply")
}
