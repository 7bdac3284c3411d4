package compare

import (
	"fmt"
	"strings"
)

// staleMountRoot finds visible mounts that show a tree above the namespace's
// root directory, with no good mount of the hierarchy beside. In a container
// whose runtime or volume mounted it so it may be meant, as agents do it.
func (d *Diagnosis) staleMountRoot() []*Finding {
	found := newFaults()
	d.eachView(func(g *group, v *HierarchyView) {
		if v.excused() {
			return
		}
		for i := range v.Mounts {
			m := &v.Mounts[i]
			if !m.Visible || m.Verdict != VerdictStale {
				continue
			}
			f, isNew := found.at(mountKey(g, v, m), g, g.tasks)
			if !isNew {
				continue
			}
			f.paths(v, m)
			f.probeAt(g, v, m)
			above := "the namespace's root directory"
			if v.RootDirectory != "" && v.RootDirectory != "/" {
				above = v.RootDirectory
			}
			f.Message = fmt.Sprintf("its root is %s in their view: it shows the tree above %s, so what they read and write there is not theirs", m.NamespaceRoot, above)
			if d.container(g) {
				f.Severity = Warning
			}
		}
	})
	return found.list
}

// container tells whether the group's root file system is not the reader's.
func (d *Diagnosis) container(g *group) bool {
	return g.table != nil && g.table.OtherRoot(d.host.Own)
}

// foreignMountRoot finds visible mounts that show a neighbour's tree. Where the
// process was moved there too, it is the process that is out of place.
func (d *Diagnosis) foreignMountRoot() []*Finding {
	found := newFaults()
	d.eachView(func(g *group, v *HierarchyView) {
		if v.excused() {
			return
		}
		for i := range v.Mounts {
			m := &v.Mounts[i]
			if !m.Visible || m.Verdict != VerdictForeign || Contains(m.NamespaceRoot, v.NamespacePath) {
				continue
			}
			f, isNew := found.at(mountKey(g, v, m), g, g.tasks)
			if !isNew {
				continue
			}
			f.paths(v, m)
			f.probeAt(g, v, m)
			f.Message = fmt.Sprintf("its root is %s in their view: it shows a neighbour's cgroups, so what they read and write there is not theirs", m.NamespaceRoot)
			f.Remedy.Notes = []string{fmt.Sprintf("it may be meant: who mounted it decides; 'nsinspect remount %d --include foreign' plans a fresh mount, which shows their own tree", g.task().TID)}
		}
	})
	return found.list
}

// extraMountOutsideRoot finds mounts that show too much beside a good one.
func (d *Diagnosis) extraMountOutsideRoot() []*Finding {
	found := newFaults()
	d.eachView(func(g *group, v *HierarchyView) {
		good := v.Good()
		for i := range v.Mounts {
			m := &v.Mounts[i]
			if good == nil || !m.Visible || m.Verdict != VerdictStale && m.Verdict != VerdictForeign {
				continue
			}
			f, isNew := found.at(mountKey(g, v, m), g, g.tasks)
			if !isNew {
				continue
			}
			f.paths(v, m)
			// Tools read mountinfo and do not ask what is covered.
			first, last := v.Mounts[0].MountPoint, v.Mounts[len(v.Mounts)-1].MountPoint
			f.Evidence["first_mount"], f.Evidence["last_mount"] = first, last
			f.Message = fmt.Sprintf("its root is %s in their view, beside the good mount at %s: of this hierarchy's mounts, tools that take the first pick %s, those that take the last %s", m.NamespaceRoot, good.MountPoint, first, last)
		}
	})
	return found.list
}

// deadRoot finds namespaces whose root directory was removed.
func (d *Diagnosis) deadRoot() []*Finding {
	found := newFaults()
	d.eachView(func(g *group, v *HierarchyView) {
		if v.life != Dead {
			return
		}
		k := faultKey{cgroupNS: g.task().CgroupNS, hierarchy: v.Hierarchy.Label}
		f, isNew := found.at(k, g, g.tasks)
		if !isNew {
			return
		}
		var shown *MountView
		for i := range v.Mounts {
			if v.Mounts[i].Visible {
				shown = &v.Mounts[i]
				break
			}
		}
		f.paths(v, shown)
		f.MntNS = g.task().MntNS
		name := "its root directory"
		if v.RootDirectory != "" {
			name = "its root directory " + v.RootDirectory
		}
		f.Message = fmt.Sprintf("%s was removed: its processes are at %s in its view, a fresh mount fails, or shows a directory that is not its root", name, v.NamespacePath)
		f.Evidence["not_confirmed"] = "its path leads outside the namespace's root directory"
		f.Remedy.Notes = []string{"a cgroup namespace's root cannot be changed: restart these processes, so that they get a new cgroup namespace"}
	})
	return found.list
}

// processOutsideRoot finds processes that were moved out of their namespace's
// root directory. Where that was removed they had to be, which is told already.
func (d *Diagnosis) processOutsideRoot() []*Finding {
	found := newFaults()
	d.eachView(func(g *group, v *HierarchyView) {
		if !v.Outside() || v.life == Dead && d.tells("dead-root") {
			return
		}
		k := faultKey{cgroupNS: g.task().CgroupNS, hierarchy: v.Hierarchy.Label}
		f, isNew := found.at(k, g, g.tasks)
		if !isNew {
			return
		}
		f.paths(v, nil)
		f.MntNS = g.task().MntNS
		f.Evidence["not_confirmed"] = "its path leads outside the namespace's root directory"
		f.Message = fmt.Sprintf("their cgroup is %s in their own view: they were moved out after their cgroup namespace was made, and what limits them lies where they cannot look", v.NamespacePath)
		f.Remedy.Notes = []string{wayBack(v)}
	})
	return found.list
}

// wayBack says what can be done for processes outside their root directory.
func wayBack(v *HierarchyView) string {
	switch {
	case v.life == Dead:
		return "the namespace's root directory was removed, so there is no way back: restart them where they are now"
	case v.life != Alive:
		return "no process is left inside the namespace's root directory, so whether it still exists could not be told: restart them where they are now"
	}
	return fmt.Sprintf("move them back below %s, as the reader sees it, or restart them where they are now", v.RootDirectory)
}

// pathNotUnderMount finds processes that no visible mount of a hierarchy shows.
// No good mount shows what is outside its root directory: that is told already.
func (d *Diagnosis) pathNotUnderMount() []*Finding {
	found := newFaults()
	d.eachView(func(g *group, v *HierarchyView) {
		if v.Verdict != VerdictUnreachable || v.Outside() && d.tells("process-outside-root") || v.unclear() {
			return
		}
		var roots []string
		var first *MountView
		for i := range v.Mounts {
			m := &v.Mounts[i]
			if m.Visible {
				roots = append(roots, m.NamespaceRoot+" at "+m.MountPoint)
				if first == nil {
					first = m
				}
			}
		}
		k := mountKey(g, v, first)
		f, isNew := found.at(k, g, g.tasks)
		if !isNew {
			return
		}
		f.paths(v, first)
		f.probeAt(g, v, first)
		f.Message = fmt.Sprintf("their cgroup %s is under none of its mounts (%s): every tool that joins mount point and path fails", v.NamespacePath, strings.Join(roots, ", "))
		f.Remedy.Notes = []string{"mount the part of the hierarchy that they are in, or move them back to where the mount shows them"}
	})
	return found.list
}
