package compare

import (
	"nsinspect/inspect"
)

// group is the tasks that see the same: one cgroup namespace, one mount table,
// the same cgroups. What is found of one holds for all.
type group struct {
	// like is one of them, living or not: its namespaces and cgroups are those
	// of all.
	like  inspect.Task
	tasks []inspect.Task
	table *inspect.MountTable // the reader's view; nil: not known
	views []HierarchyView
	// subject is one of the tasks, read again in its own view; nil where
	// nothing looked wrong.
	subject *inspect.Subject
	// visitors are tasks of the group that entered a namespace from elsewhere.
	visitors []inspect.Task
}

// task is the one that the group is examined on.
func (g *group) task() inspect.Task {
	if len(g.tasks) > 0 {
		return g.tasks[0]
	}
	return g.like
}

// pids are the group's processes; a process is told once for all its threads.
func pids(tasks []inspect.Task) []int {
	var list []int
	for _, t := range tasks {
		if len(list) == 0 || list[len(list)-1] != t.PID {
			list = append(list, t.PID)
		}
	}
	return list
}

// makeGroups collects the tasks whose cgroup namespace is known.
func makeGroups(h *inspect.Host) []*group {
	by := map[inspect.SightKey]int{}
	var groups []*group
	var sizes []int
	of := make([]int, len(h.Tasks)) // the group of each task
	for i, t := range h.Tasks {
		if t.CgroupNS == 0 || t.Cgroups == nil {
			of[i] = -1
			continue
		}
		k := t.Sight()
		n, ok := by[k]
		if !ok {
			n = len(groups)
			by[k] = n
			groups = append(groups, &group{like: t, table: h.Tables[t.Table()]})
			sizes = append(sizes, 0)
		}
		of[i] = n
		sizes[n]++
	}
	for i, t := range h.Tasks {
		if of[i] >= 0 {
			g := groups[of[i]]
			if g.tasks == nil {
				g.tasks = make([]inspect.Task, 0, sizes[of[i]])
			}
			g.tasks = append(g.tasks, t)
		}
	}
	return groups
}

// judge puts the group's views together, by derivation or from its subject.
func (g *group) judge(reader inspect.Reader, roots Roots) {
	s := sight{cgroups: g.task().Cgroups, mounts: g.table, roots: roots}
	if g.subject != nil {
		s.mounts, s.own = g.subject.Host.Mounts, g.subject.Own
	} else if g.task().CgroupNS == reader.CgroupNS {
		s.own = &inspect.View{Cgroups: s.cgroups, Mounts: s.mounts}
	}
	g.views = s.look()
}

// suspect tells whether something looks wrong that the namespace's own view
// could bear out.
func (g *group) suspect() bool {
	for i := range g.views {
		v := &g.views[i]
		if v.Verdict.Worse(VerdictNone) || v.Outside() || v.Known == Unknown {
			return true
		}
		for j := range v.Mounts {
			if v.Mounts[j].Visible && !v.Mounts[j].Verdict.Healthy() {
				return true
			}
		}
	}
	return false
}

// mountless tells whether no cgroup mount is visible though there are cgroups.
func (g *group) mountless() bool {
	if g.table == nil || g.table.Incomplete != "" || len(g.views) == 0 {
		return false
	}
	for i := range g.table.Cgroup {
		if g.table.Cgroup[i].Visible {
			return false
		}
	}
	return true
}

// outside tells whether the group lies outside its namespace's root directory
// in some hierarchy.
func (g *group) outside() bool {
	for i := range g.views {
		if g.views[i].Outside() {
			return true
		}
	}
	return false
}

// astray tells whether the group lies outside in some hierarchy, or may.
func (g *group) astray() bool {
	for i := range g.views {
		if g.views[i].Outside() || g.views[i].Known == Unknown {
			return true
		}
	}
	return false
}

// known tells whether the group's view could be judged at all.
func (g *group) known() bool {
	for i := range g.views {
		if g.views[i].Known == Entered || g.views[i].Known == Derived {
			return true
		}
	}
	return false
}
