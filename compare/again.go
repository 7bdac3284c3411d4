package compare

import (
	"maps"
	"slices"

	"nsinspect/inspect"
)

// againRound reads whatever looks wrong once more, in its own view, and finds
// out who came from where.
type againRound struct {
	groups []*group
	tried  []inspect.Task // that each of them is examined on
	tasks  []member       // of these groups, in the order asked
}

type member struct {
	group *group
	task  inspect.Task
}

func (r *againRound) ask(d *Diagnosis) inspect.Questions {
	var q inspect.Questions
	if r.groups == nil {
		r.groups = d.suspects()
		for _, g := range d.groups {
			if g.mountless() {
				q.Kin = append(q.Kin, g.task().PID) // it may be a kernel thread
			}
		}
	}
	asked := map[uint64]bool{} // namespaces
	for _, g := range r.groups {
		r.tried = append(r.tried, g.task())
		q.Subjects = append(q.Subjects, inspect.SubjectQuestion{Task: g.task()})
		for _, t := range g.tasks {
			q.Still = append(q.Still, t)
			q.Kin = append(q.Kin, t.PID)
			r.tasks = append(r.tasks, member{g, t})
		}
		q.Kin = append(q.Kin, d.company(g, asked)...)
	}
	return q
}

// suspects are the groups that look wrong and can be looked at.
func (d *Diagnosis) suspects() []*group {
	var list []*group
	for _, g := range d.groups {
		ns := d.namespace(g.task().CgroupNS)
		if ns != nil && ns.Entered && (g.suspect() || d.lacksMount(g)) && (!g.mountless() || g.astray()) {
			list = append(list, g)
		}
	}
	return list
}

// company are the processes whose descent tells visitors from natives: the
// other members of the group's namespaces, unless these were asked for before.
func (d *Diagnosis) company(g *group, asked map[uint64]bool) []int {
	var list []int
	ns := d.namespace(g.task().CgroupNS)
	if ns != nil && (g.outside() || ns.NS != d.host.Reader.CgroupNS) && !asked[ns.NS] {
		asked[ns.NS] = true
		list = append(list, pids(ns.Members)...)
	}
	if mnt := g.task().MntNS; mnt != d.hostMntNS() && !asked[mnt] {
		asked[mnt] = true
		list = append(list, pids(d.sharers(mnt))...)
	}
	return list
}

// hostMntNS is the reader's mount namespace if the reader is on the host.
func (d *Diagnosis) hostMntNS() uint64 {
	if !d.host.Reader.Initial() {
		return 0
	}
	return d.reader().MntNS
}

func (r *againRound) learn(d *Diagnosis, a *inspect.Answers) {
	maps.Copy(d.family.kin, a.Kin)
	for _, g := range r.groups {
		g.tasks = nil
	}
	for i, m := range r.tasks {
		if a.Still[i] {
			m.group.tasks = append(m.group.tasks, m.task)
		}
	}
	var lost, settled []*group
	for i, g := range r.groups {
		s := a.Subjects[i]
		switch {
		case len(g.tasks) == 0: // all ended or moved: nothing is left to tell
		case s == nil || s.Own == nil || s.Process.Task != g.task():
			// Another one may still be read. Each time the group loses this one,
			// so this ends.
			if d.lose(g, r.tried[i], s); len(g.tasks) > 0 {
				lost = append(lost, g)
			}
		default:
			g.subject = s
			settled = append(settled, g)
		}
	}
	d.settle(settled)
	d.prune()
	if len(lost) > 0 {
		d.rounds = append([]round{&againRound{groups: lost}}, d.rounds...)
	}
}

// lose takes a task that could not be read in its own view out of its group. If
// it still is where it was, that is told.
func (d *Diagnosis) lose(g *group, t inspect.Task, s *inspect.Subject) {
	i := slices.Index(g.tasks, t)
	if i < 0 {
		return
	}
	g.tasks = slices.Delete(g.tasks, i, i+1)
	reason := "it could not be read again"
	if s != nil && s.Reason != "" {
		reason = s.Reason
	}
	d.unseen = append(d.unseen, inspect.Skipped{PID: t.PID, What: "own view", Reason: reason})
}

// settle judges groups by their subjects, and sets visitors apart.
func (d *Diagnosis) settle(groups []*group) {
	for _, g := range groups {
		s := g.subject
		d.roots[s.Process.CgroupNS].learn(inspect.Pair{PID: s.Process.PID, Host: s.Host.Cgroups, Own: s.Own.Cgroups})
	}
	visits := d.family.visits()
	for _, g := range groups {
		g.table = g.subject.Host.Mounts
		g.judge(d.host.Reader, d.roots[g.task().CgroupNS])
		if g.table != nil && g.table.Incomplete == "" && slices.ContainsFunc(g.views, func(v HierarchyView) bool { return v.unclear() }) {
			d.unseen = append(d.unseen, inspect.Skipped{PID: g.task().PID, What: "mountinfo", Reason: "its mounts changed while they were read"})
		}
		d.setApart(g, visits)
	}
}

// setApart moves a group's visitors out of its tasks.
func (d *Diagnosis) setApart(g *group, v *visits) {
	ns := d.namespace(g.task().CgroupNS)
	visits := func(t inspect.Task) bool { return v.mountVisitor(t, d.sharers(t.MntNS)) || v.guest(t, ns) }
	if g.outside() {
		home := v.cgroupHome(ns, d.roots[ns.NS], g.views)
		visits = func(t inspect.Task) bool { return v.cgroupVisitor(t, g.views, home) }
	}
	var natives []inspect.Task
	for _, t := range g.tasks {
		if visits(t) {
			g.visitors = append(g.visitors, t)
		} else {
			natives = append(natives, t)
		}
	}
	g.tasks = natives
}

// prune drops the groups of which nobody is left.
func (d *Diagnosis) prune() {
	var kept []*group
	for _, g := range d.groups {
		if len(g.tasks)+len(g.visitors) > 0 {
			kept = append(kept, g)
		}
	}
	d.groups = kept
}
