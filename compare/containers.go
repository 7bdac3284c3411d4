package compare

import (
	"fmt"
	"slices"
	"strings"

	"nsinspect/inspect"
)

// hostCgroupnsInContainer tells of containers that share the host's cgroup
// namespace. A root file system of its own alone makes none: a snap, a chroot or
// a service may have one.
func (d *Diagnosis) hostCgroupnsInContainer() []*Finding {
	found := newFaults()
	d.eachPlace(func(g *group) {
		path := g.runtimePath(1, 2)
		if !d.exposed(g) || !d.ownPIDs(g) && path == "" {
			return
		}
		if path == "" {
			path = longest(g.views)
		}
		f, isNew := found.at(placeKey(g), g, g.tasks)
		if isNew {
			f.Evidence["host_path"] = path
			f.Message = fmt.Sprintf("they share the host's cgroup namespace: they see the host's cgroup paths, their own as %s, and are harder to move, since that must be unique on the next host too", path)
			f.Remedy.Notes = []string{"a private cgroup namespace hides the host's paths; agents that look at the whole host want it as it is"}
		}
	})
	return found.list
}

// exposed tells whether a group with a root file system of its own sees cgroups
// in the host's cgroup namespace.
func (d *Diagnosis) exposed(g *group) bool {
	return g.task().CgroupNS == inspect.InitialCgroupNS && d.container(g) && !g.mountless()
}

// ownPIDs tells whether a group that was described is known to live in another
// PID namespace than the reader.
func (d *Diagnosis) ownPIDs(g *group) bool {
	p, reader := d.facts.processes[g.task().PID], d.facts.processes[d.host.Reader.PID]
	return p != nil && reader != nil && p.PIDNS != 0 && reader.PIDNS != 0 && p.PIDNS != reader.PIDNS
}

// longest is the host path that tells most of where a process is.
func longest(views []HierarchyView) string {
	path := "/"
	for i := range views {
		if len(views[i].HostPath) > len(path) {
			path = views[i].HostPath
		}
	}
	return path
}

// privileged are the tasks whose PID namespaces tell whether they are contained,
// and the reader, with whose theirs are compared.
func (d *Diagnosis) privileged() []inspect.Task {
	var list []inspect.Task
	d.eachPlace(func(g *group) {
		if d.exposed(g) || g.writableV1() != nil {
			list = append(list, g.task())
		}
	})
	if len(list) > 0 {
		list = append(list, d.reader())
	}
	return list
}

// writableV1 are the v1 hierarchies, named ones too, whose true roots are visible
// read-write.
func (g *group) writableV1() []*HierarchyView {
	var list []*HierarchyView
	for i := range g.views {
		v := &g.views[i]
		if v.Hierarchy.Version() == 1 && v.writableRoot() {
			list = append(list, v)
		}
	}
	return list
}

// writableHostHierarchy finds processes with a mount and a PID namespace of
// their own that see a v1 hierarchy's true root read-write. In a user namespace
// nobody is the host's root. Where it is since the hierarchy is unscoped, that
// is told.
func (d *Diagnosis) writableHostHierarchy() []*Finding {
	found := newFaults()
	if !d.host.Reader.Initial() {
		return nil
	}
	d.eachPlace(func(g *group) {
		p := d.facts.processes[g.task().PID]
		if !d.ownPIDs(g) || p.UserNS != 0 && p.UserNS != inspect.InitialUserNS {
			return
		}
		unscoped := d.unscoped(g)
		for _, v := range g.writableV1() {
			if slices.Contains(unscoped, v) && d.tells("controller-unscoped") {
				continue
			}
			f, isNew := found.at(placeKey(g), g, g.tasks)
			f.note("hierarchies", v.Hierarchy.Label)
			if isNew {
				f.Command = p.Command
				f.Evidence["pid_ns"] = p.PIDNS
				f.Remedy.Notes = []string{"mount the hierarchies read-only, or in a private cgroup namespace; drop CAP_SYS_ADMIN"}
			}
		}
	})
	for _, f := range found.list {
		f.Message = fmt.Sprintf("they see the true root of %s read-write from namespaces of their own: who is root there can change every cgroup of the host and, with CAP_SYS_ADMIN, set release_agent, which the host runs as root", strings.Join(f.noted("hierarchies"), " "))
	}
	return found.list
}

// managerCommands are the programs that manage cgroups of their own.
var managerCommands = []string{"systemd", "dockerd", "containerd", "kubelet"}

// managers are the tasks that the check on managers is about: the first process
// of each group that has a read-only mount.
func (d *Diagnosis) managers() []inspect.Task {
	var list []inspect.Task
	d.eachKnown(func(g *group) {
		if g.readOnly(func(*inspect.Hierarchy) bool { return true }) != nil {
			list = append(list, g.task())
		}
	})
	return list
}

// manages tells whether a manager makes cgroups in a hierarchy: systemd does in
// its own, the others in those with controllers.
func (g *group) manages(command string) func(*inspect.Hierarchy) bool {
	return func(h *inspect.Hierarchy) bool {
		switch {
		case command == "systemd":
			return h.Version() == 2 || h.Name == "systemd"
		case h.Version() == 2:
			return !g.mountsV1()
		}
		return len(h.Controllers) > 0
	}
}

// readOnly is one of these hierarchies whose good mount is read-only.
func (g *group) readOnly(of func(*inspect.Hierarchy) bool) *HierarchyView {
	for i := range g.views {
		v := &g.views[i]
		if m := v.Good(); of(v.Hierarchy) && m != nil && m.ReadOnly() {
			return v
		}
	}
	return nil
}

// managerCgroupReadonly finds managers that cannot make cgroups.
func (d *Diagnosis) managerCgroupReadonly() []*Finding {
	found := newFaults()
	d.eachKnown(func(g *group) {
		p := d.facts.processes[g.task().PID]
		if p == nil || !p.First || !slices.Contains(managerCommands, p.Command) {
			return
		}
		v := g.readOnly(g.manages(p.Command))
		if v == nil {
			return
		}
		f, isNew := found.at(placeKey(g), g, g.tasks[:1])
		if isNew {
			f.Command = p.Command
			f.paths(v, v.Good())
			f.Message = fmt.Sprintf("%s manages cgroups, but its mount of %s is read-only: it cannot make any, and what it should start fails", p.Command, v.Hierarchy.Label)
			f.Remedy.Notes = []string{"let its runtime mount cgroups read-write: --privileged, a user namespace of its own, or podman's --systemd=always; never bind the host's cgroup file system read-only"}
		}
	})
	return found.list
}

// systemdRootOffset finds a systemd that is PID 1 and not at the root of its
// hierarchy.
func (d *Diagnosis) systemdRootOffset() []*Finding {
	found := newFaults()
	t, ok := d.family.tasks.leader(1)
	p := d.facts.processes[1]
	if !ok || p == nil || p.Command != "systemd" || !d.host.Reader.Initial() || !d.judged(1) {
		return nil
	}
	for _, label := range []string{"unified", "name=systemd"} {
		m, ok := t.Cgroups.Of(label)
		if !ok || m.Path == "/" || m.Path == "/init.scope" || len(found.list) > 0 {
			continue
		}
		f, _ := found.at(faultKey{}, &group{}, []inspect.Task{t})
		f.Command, f.Hierarchy = p.Command, m.Hierarchy
		f.Evidence["host_path"] = m.Path
		f.Message = fmt.Sprintf("systemd runs in %s and not at the hierarchy's root: what expects its slices below the mount point (rootless runtimes with a fixed /sys/fs/cgroup/user.slice) does not find them", m.Path)
		f.Remedy.Notes = []string{"tell such a runtime to use cgroupfs itself (cgroup_manager=cgroupfs), or update it"}
	}
	return found.list
}

// threadsDiffer tells of processes whose threads are in other cgroups or
// namespaces than their leader or, if that has ended, than the one that stands
// for it.
func (d *Diagnosis) threadsDiffer() []*Finding {
	found := newFaults()
	for _, t := range d.host.Tasks {
		leader, _ := d.family.tasks.leader(t.PID)
		if t.TID == leader.TID || !d.judged(t.PID) {
			continue
		}
		f, isNew := found.at(faultKey{cgroupNS: leader.CgroupNS, mount: t.PID}, &group{}, []inspect.Task{leader})
		threads, _ := f.Evidence["threads"].([]int)
		f.Evidence["threads"] = append(threads, t.TID)
		if isNew {
			f.MntNS = leader.MntNS
		}
	}
	for _, f := range found.list {
		than := "their leader"
		if f.task.TID != f.task.PID {
			than = fmt.Sprintf("thread %d, which stands for it since its leader has ended", f.task.TID)
		}
		f.Message = fmt.Sprintf("threads of it are in other cgroups or namespaces than %s (%s): what is read of the process is not true of them", than, some(f.Evidence["threads"].([]int)))
	}
	return found.list
}
