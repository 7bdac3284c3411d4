package compare

import "nsinspect/inspect"

// family is what is known of who is whose parent.
type family struct {
	parents map[int]int
	tasks   map[int]inspect.Task // the leaders, by PID
	kernel  map[int]bool         // the kernel threads among those looked at
	reader  int                  // the reader's PID
}

// ancestor returns the nearest ancestor for which is holds.
func (f family) ancestor(pid int, is func(inspect.Task) bool) (inspect.Task, bool) {
	for range len(f.parents) + 1 {
		parent, ok := f.parents[pid]
		if !ok || parent == 0 {
			return inspect.Task{}, false
		}
		if t, ok := f.tasks[parent]; ok && is(t) {
			return t, true
		}
		pid = parent
	}
	return inspect.Task{}, false
}

// fromOutside tells whether a process's parent cannot be seen, though it is not
// the first of its PID namespace: it was put there from another one.
func (f family) fromOutside(pid int) bool {
	parent, ok := f.parents[pid]
	return ok && parent == 0 && pid != 1 && !f.kernel[pid]
}

// descends tells whether pid is a descendant of ancestor.
func (f family) descends(pid, ancestor int) bool {
	_, ok := f.ancestor(pid, func(t inspect.Task) bool { return t.PID == ancestor })
	return ok
}

// cgroupVisitor tells whether a task outside its namespace's root entered the
// namespace from elsewhere (nsenter, a debug shell): it still is where its
// nearest ancestor in another cgroup namespace is, nobody between the two lives
// inside, and the namespace has members of its own, inside, that are not its
// children. Of the reader the last is not asked: it may not be let see them.
func (f family) cgroupVisitor(t inspect.Task, views []HierarchyView, members []inspect.Task, inside func(inspect.Task) bool) bool {
	if !f.fromOutside(t.PID) {
		a, ok := f.ancestor(t.PID, func(a inspect.Task) bool { return a.CgroupNS != t.CgroupNS || inside(a) })
		if !ok || a.CgroupNS == t.CgroupNS {
			return false // it was born inside and moved out
		}
		for i := range views {
			theirs, ok := a.Cgroups.Of(views[i].Hierarchy.Label)
			if views[i].Outside() && (!ok || theirs.Path != views[i].HostPath) {
				return false
			}
		}
	}
	native := t.PID == f.reader
	for _, m := range members {
		if !inside(m) {
			continue
		}
		if f.descends(m.PID, t.PID) {
			return false
		}
		native = true
	}
	return native
}

// mountVisitor tells whether a task entered its mount namespace from elsewhere:
// it has its cgroup namespace and its cgroups from its nearest ancestor in
// another mount namespace, while others, not its children, live in this one
// with theirs.
func (f family) mountVisitor(t inspect.Task, sharers []inspect.Task) bool {
	if t.MntNS == 0 {
		return false
	}
	if !f.fromOutside(t.PID) {
		a, ok := f.ancestor(t.PID, func(a inspect.Task) bool { return a.MntNS != t.MntNS })
		if !ok || a.CgroupNS != t.CgroupNS || a.Cgroups != t.Cgroups {
			return false
		}
	}
	for _, q := range sharers {
		if (q.CgroupNS != t.CgroupNS || q.Cgroups != t.Cgroups) && q.CgroupNS != 0 && !f.descends(q.PID, t.PID) {
			return true
		}
	}
	return false
}

// guest tells whether a task entered its cgroup namespace from elsewhere though
// it does not lie outside, since the namespace was made in the cgroup that it
// is in: it has cgroups and mounts from its nearest ancestor in another cgroup
// namespace, while the namespace has a member, of another line, with mounts of
// its own.
func (f family) guest(t inspect.Task, members []inspect.Task) bool {
	a, ok := f.ancestor(t.PID, func(a inspect.Task) bool { return a.CgroupNS != t.CgroupNS })
	if !ok || t.MntNS == 0 || a.MntNS != t.MntNS || a.Cgroups != t.Cgroups {
		return false
	}
	for _, m := range members {
		if m.MntNS != 0 && m.MntNS != t.MntNS && !f.descends(m.PID, t.PID) && !f.descends(t.PID, m.PID) {
			return true
		}
	}
	return false
}
