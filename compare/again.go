package compare

import "nsinspect/inspect"

// againRound reads whatever looks wrong once more, in its own view, and finds
// out who came from where.
type againRound struct {
	groups []*group
	tasks  []member // of these groups, in the order asked
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
				q.Parents = append(q.Parents, g.task().PID) // it may be a kernel thread
			}
		}
	}
	asked := map[uint64]bool{} // namespaces
	for _, g := range r.groups {
		q.Subjects = append(q.Subjects, inspect.SubjectQuestion{Task: g.task()})
		for _, t := range g.tasks {
			q.Still = append(q.Still, t)
			q.Parents = append(q.Parents, t.PID)
			r.tasks = append(r.tasks, member{g, t})
		}
		q.Parents = append(q.Parents, d.company(g, asked)...)
	}
	return q
}

// suspects are the groups that look wrong and can be looked at.
func (d *Diagnosis) suspects() []*group {
	var list []*group
	for _, g := range d.groups {
		ns := d.namespace(g.task().CgroupNS)
		if ns != nil && ns.Entered && (g.suspect() || d.lacksMount(g)) && (!g.mountless() || g.outside()) {
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
	return d.family.tasks[d.host.Reader.PID].MntNS
}

func (r *againRound) learn(d *Diagnosis, a *inspect.Answers) {
	for pid, parent := range a.Parents {
		d.family.parents[pid] = parent
	}
	for pid := range a.Kernel {
		d.family.kernel[pid] = true
	}
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
			lost = append(lost, g)
		default:
			g.subject = s
			settled = append(settled, g)
		}
	}
	d.settle(settled)
	d.prune()
	if lost = next(lost); len(lost) > 0 {
		d.rounds = append([]round{&againRound{groups: lost}}, d.rounds...)
	}
}

// next gives groups whose first task could not be read another one to be
// examined on. Each time a group loses one, so this ends.
func next(lost []*group) []*group {
	var left []*group
	for _, g := range lost {
		if g.tasks = g.tasks[1:]; len(g.tasks) > 0 {
			left = append(left, g)
		}
	}
	return left
}

// settle judges groups by their subjects, and sets visitors apart.
func (d *Diagnosis) settle(groups []*group) {
	for _, g := range groups {
		s := g.subject
		d.roots[s.Process.CgroupNS].learn(inspect.Pair{PID: s.Process.PID, Host: s.Host.Cgroups, Own: s.Own.Cgroups})
	}
	for _, g := range groups {
		g.table = g.subject.Host.Mounts
		g.judge(d.host.Reader, d.roots[g.task().CgroupNS])
		d.setApart(g)
	}
}

// setApart moves a group's visitors out of its tasks.
func (d *Diagnosis) setApart(g *group) {
	ns := d.namespace(g.task().CgroupNS)
	roots := d.roots[ns.NS]
	inside := func(t inspect.Task) bool { return roots.hold(t.Cgroups, g.views) }
	var natives []inspect.Task
	for _, t := range g.tasks {
		visits := g.outside() && d.family.cgroupVisitor(t, g.views, ns.Members, inside) ||
			!g.outside() && (d.family.mountVisitor(t, d.sharers(t.MntNS)) || d.family.guest(t, ns.Members))
		if visits {
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
