package compare

import (
	"fmt"
	"slices"

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

// mendable are the findings that have a remedy of commands.
func (d *Diagnosis) mendable() []*Finding {
	var list []*Finding
	for _, f := range d.drafts {
		if f.Check == "stale-mount-root" {
			list = append(list, f)
		}
	}
	return list
}

// threadRound looks for threads in the mount namespaces in which something is
// to be mended: one alone may be there, or in another cgroup namespace than its
// process.
type threadRound struct{}

func (threadRound) ask(d *Diagnosis) (q inspect.Questions) {
	for _, f := range d.mendable() {
		if f.MntNS != 0 && !slices.Contains(q.Threads, f.MntNS) {
			q.Threads = append(q.Threads, f.MntNS)
		}
	}
	return q
}

func (threadRound) learn(d *Diagnosis, a *inspect.Answers) {
	d.neighbours = NewNeighbours(d.host, a.Threads)
}

// remedyRound finds out whom mending would hurt, and writes the remedies.
type remedyRound struct{ owners []uint64 }

func (r *remedyRound) ask(d *Diagnosis) (q inspect.Questions) {
	for _, f := range d.mendable() {
		if !slices.Contains(r.owners, f.MntNS) {
			q.Owners = append(q.Owners, f.task)
			r.owners = append(r.owners, f.MntNS)
		}
	}
	if len(q.Owners) > 0 {
		q.Owners = append(q.Owners, inspect.Task{PID: d.host.Reader.PID, TID: d.host.Reader.PID})
		r.owners = append(r.owners, readerOwner)
		q.Tables = d.neighbours.Strangers
	}
	return q
}

func (r *remedyRound) learn(d *Diagnosis, a *inspect.Answers) {
	for i, ns := range r.owners {
		d.owners[ns] = a.Owners[i]
	}
	d.neighbours.Tables = a.Tables
	for _, f := range d.mendable() {
		for _, g := range d.groups {
			if g.subject == nil || len(g.tasks) == 0 || g.task() != f.task {
				continue
			}
			for i := range g.views {
				if g.views[i].Hierarchy.Label == f.Hierarchy.Label {
					d.mend(f, g, &g.views[i], f.Mount)
				}
			}
		}
	}
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
