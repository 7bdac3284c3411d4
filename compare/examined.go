package compare

import "nsinspect/inspect"

// A check has examined a process if it would have told of a fault there. Where
// it could not look, it has not.

// ofGroups counts the processes of the groups that a check was able to judge.
func ofGroups(able func(*Diagnosis, *group) bool) func(*Diagnosis) int {
	return func(d *Diagnosis) int { return d.countTasks(able) }
}

func sawCgroups(*Diagnosis, *group) bool { return true }

func sawPaths(_ *Diagnosis, g *group) bool { return g.known() }

func sawTable(_ *Diagnosis, g *group) bool { return g.table != nil && g.table.Incomplete == "" }

func sawMounts(d *Diagnosis, g *group) bool { return sawPaths(d, g) && sawTable(d, g) }

// sawBothMounts is for checks that hold a process's mounts against the reader's.
func sawBothMounts(d *Diagnosis, g *group) bool { return sawMounts(d, g) && d.host.Own != nil }

// sawPlace is for checks on mount namespaces other than the reader's.
func sawPlace(d *Diagnosis, g *group) bool { return sawMounts(d, g) && g.task().MntNS != 0 }

// sawContainer is for checks on root file systems other than the reader's.
func sawContainer(d *Diagnosis, g *group) bool {
	return sawPlace(d, g) && d.host.Own != nil && d.host.Own.RootDev != ""
}

// sawPIDNS is for checks on PID namespaces other than the host's.
func sawPIDNS(d *Diagnosis, g *group) bool {
	reader := d.facts.processes[d.host.Reader.PID] // nil also where nobody had to be compared with it
	return sawPlace(d, g) && d.host.Reader.Initial() && (reader == nil || reader.PIDNS != 0)
}

// sawLimits is for the check on limits: of processes that it is about, one limit
// at least has to be readable, if there are any.
func sawLimits(d *Diagnosis, g *group) bool {
	if !sawContainer(d, g) || !d.confined(g) {
		return sawContainer(d, g)
	}
	limited := false
	for i := range g.views {
		for j := range limits {
			if v := &g.views[i]; limits[j].of(v.Hierarchy) {
				if d.sawLimit(&limits[j], v) {
					return true
				}
				limited = true
			}
		}
	}
	return !limited
}

// sawLimit tells whether a cgroup's own limit is known, or none can be above it.
func (d *Diagnosis) sawLimit(l *limit, v *HierarchyView) bool {
	line := d.line(l, v)
	if len(line) < 2 {
		return len(line) == 1
	}
	a, ok := d.facts.files[line[0][0]]
	return ok && (a.Err == "" || a.Missing)
}

// countTasks counts the processes of the groups for which is holds.
func (d *Diagnosis) countTasks(is func(*Diagnosis, *group) bool) int {
	n := 0
	seen := map[int]bool{} // of processes whose threads are in several groups
	for _, g := range d.groups {
		if !is(d, g) {
			continue
		}
		for _, tasks := range [][]inspect.Task{g.tasks, g.visitors} {
			for _, t := range tasks {
				if d.split[t.PID] {
					if seen[t.PID] {
						continue
					}
					seen[t.PID] = true
				}
				n++
			}
		}
	}
	return n
}

// membersSeen counts the processes whose cgroup namespace is known.
func (d *Diagnosis) membersSeen() int {
	if d.host.Own == nil {
		return 0
	}
	n := 0
	for _, ns := range d.host.Namespaces {
		n += len(pids(ns.Members))
	}
	return n
}

// firstSeen is 1 if it is known what PID 1 is and where.
func (d *Diagnosis) firstSeen() int {
	if d.facts.processes[1] == nil || !d.host.Reader.Initial() || !d.judged(1) {
		return 0
	}
	return 1
}

// threadsSeen counts the processes whose threads were looked at.
func (d *Diagnosis) threadsSeen() int {
	if d.host.Want.Threads {
		return d.processes()
	}
	n := 0
	for _, pid := range d.host.Want.ThreadsOf {
		if _, ok := d.family.tasks.leader(pid); ok && d.judged(pid) {
			n++
		}
	}
	return n
}

// filesSeen counts the processes whose open files were looked at, which takes
// root's privilege.
func (d *Diagnosis) filesSeen() int {
	if !d.looksThroughFiles() || d.host.Reader.UID != 0 {
		return 0
	}
	return d.processes()
}

// readerSeen is 1 if the reader's cgroup namespace is known.
func (d *Diagnosis) readerSeen() int {
	if d.host.Reader.CgroupNS == 0 {
		return 0
	}
	return 1
}
