package compare

import "nsinspect/inspect"

// family is what is known of who is whose parent.
type family struct {
	kin    map[int]inspect.Kin
	tasks  map[int]inspect.Task // the leaders, by PID
	reader int                  // the reader's PID
}

// arrival is where a task's line leaves a namespace, or a part of one, upwards.
type arrival struct {
	// first is the process of the line that is still in.
	first int
	// from is the one above it; without a PID if it cannot be seen, since it is
	// in another PID namespace.
	from inspect.Task
}

// arrival follows a task's line up to the nearest one for which is holds: a
// thread's process, or an ancestor. ok is false if there is none.
func (f family) arrival(t inspect.Task, is func(inspect.Task) bool) (at arrival, ok bool) {
	at.first = t.PID
	if leader, ok := f.tasks[t.PID]; ok && leader.TID != t.TID && is(leader) {
		at.from = leader
		return at, true
	}
	for range len(f.kin) + 1 {
		kin, ok := f.kin[at.first]
		if !ok {
			return at, false
		}
		if kin.Parent == 0 {
			// Only the first process of a PID namespace, and the kernel's own,
			// have no parent: whoever else has none that could be seen was put
			// there from another one.
			return at, at.first != 1 && !kin.Kernel
		}
		if a, ok := f.tasks[kin.Parent]; ok && is(a) {
			at.from = a
			return at, true
		}
		at.first = kin.Parent
	}
	return at, false
}

// descends tells whether pid is a descendant of ancestor.
func (f family) descends(pid, ancestor int) bool {
	at, ok := f.arrival(inspect.Task{PID: pid, TID: pid}, func(t inspect.Task) bool { return t.PID == ancestor })
	return ok && at.from.PID == ancestor
}

// older tells whether a process was started before another one.
func (f family) older(pid, than int) bool {
	a, ok1 := f.kin[pid]
	b, ok2 := f.kin[than]
	return ok1 && ok2 && a.Started < b.Started
}

// natives are those of a namespace's members that are of another line than the
// one that arrived.
type natives struct {
	any bool
	// older tells whether one of them was there before the line.
	older bool
	// children tells whether members descend from the line.
	children bool
	// beside tells whether one of them is in the task's mount namespace too.
	beside bool
}

func (f family) natives(t inspect.Task, at arrival, members []inspect.Task, live func(inspect.Task) bool) natives {
	var n natives
	for _, m := range members {
		switch {
		case m.PID == at.first || !live(m):
		case f.descends(m.PID, at.first):
			n.children = true
		default:
			n.any = true
			n.older = n.older || f.older(m.PID, at.first)
			n.beside = n.beside || m.MntNS == t.MntNS
		}
	}
	return n
}

// cgroupVisitor tells whether a task outside its namespace's root entered the
// namespace from elsewhere (nsenter, a debug shell), it or an ancestor: nobody
// on its line lives inside, but others do, and it still is where its nearest
// ancestor in another cgroup namespace is. Of the reader itself others are not
// asked for: it may not be let see them.
func (f family) cgroupVisitor(t inspect.Task, views []HierarchyView, members []inspect.Task, inside func(inspect.Task) bool) bool {
	at, ok := f.arrival(t, func(a inspect.Task) bool { return a.CgroupNS != t.CgroupNS || inside(a) })
	if !ok || at.from.CgroupNS == t.CgroupNS {
		return false // it was born inside and moved out
	}
	n := f.natives(t, at, members, inside)
	return f.orphan(at, n) || (n.any || t.PID == f.reader) && !n.children && stayed(at.from, views)
}

// orphan tells whether a line came from elsewhere though its parent, the host's
// init, says nothing of where: init took it in when its own parent ended, or
// starts each service in a cgroup of its own. It is younger than one who lives
// in the namespace, and other mounts or another PID namespace than that one's
// show that it was not born there and orphaned.
func (f family) orphan(at arrival, n natives) bool {
	pidNS := f.kin[at.first].PIDNS
	return at.from.PID == 1 && n.older && (!n.beside || pidNS != 0 && pidNS != inspect.InitialPIDNS)
}

// stayed tells whether a process still is where another one is, in all
// hierarchies in which it lies outside its namespace's root. Of one that cannot
// be seen the contrary is not known.
func stayed(from inspect.Task, views []HierarchyView) bool {
	if from.PID == 0 {
		return true
	}
	for i := range views {
		theirs, ok := from.Cgroups.Of(views[i].Hierarchy.Label)
		if views[i].Outside() && (!ok || theirs.Path != views[i].HostPath) {
			return false
		}
	}
	return true
}

// mountVisitor tells whether a task entered its mount namespace from elsewhere,
// it or an ancestor: it has its cgroup namespace and its cgroups from its nearest
// ancestor in another mount namespace, while others live in this one with
// theirs.
func (f family) mountVisitor(t inspect.Task, sharers []inspect.Task) bool {
	if t.MntNS == 0 {
		return false
	}
	at, ok := f.arrival(t, func(a inspect.Task) bool { return a.MntNS != t.MntNS })
	if !ok || at.from.PID != 0 && at.from.CgroupNS != t.CgroupNS {
		return false
	}
	n := f.natives(t, at, sharers, func(q inspect.Task) bool {
		return q.CgroupNS != 0 && (q.CgroupNS != t.CgroupNS || q.Cgroups != t.Cgroups)
	})
	return f.orphan(at, n) || n.any && (at.from.PID == 0 || at.from.Cgroups == t.Cgroups)
}

// guest tells whether a task entered its cgroup namespace from elsewhere though
// it does not lie outside, since the namespace was made in the cgroup that it
// is in: it has cgroups and mounts from its nearest ancestor in another cgroup
// namespace, while the namespace has a member, of another line, with mounts of
// its own.
func (f family) guest(t inspect.Task, members []inspect.Task) bool {
	at, ok := f.arrival(t, func(a inspect.Task) bool { return a.CgroupNS != t.CgroupNS })
	if !ok || t.MntNS == 0 || at.from.MntNS != t.MntNS || at.from.Cgroups != t.Cgroups {
		return false
	}
	for _, m := range members {
		if m.MntNS != 0 && m.MntNS != t.MntNS && !f.descends(m.PID, t.PID) && !f.descends(t.PID, m.PID) {
			return true
		}
	}
	return false
}
