package compare

import (
	"fmt"
	"slices"
	"strings"

	"nsinspect/inspect"
)

// hostCgroupnsInContainer tells of containers that share the host's cgroup
// namespace.
func (d *Diagnosis) hostCgroupnsInContainer() []*Finding {
	found := newFaults()
	d.eachPlace(func(g *group) {
		t := g.task()
		if t.CgroupNS != inspect.InitialCgroupNS || !d.container(g) || g.mountless() {
			return
		}
		f, isNew := found.at(placeKey(g), g, g.tasks)
		if isNew {
			f.Evidence["host_path"] = longest(g.views)
			f.Message = "they share the host's cgroup namespace: they see the host's cgroup paths, and are harder to move, since theirs must be unique on the next host too"
			f.Remedy.Notes = []string{"a private cgroup namespace hides the host's paths; agents that look at the whole host want it as it is"}
		}
	})
	return found.list
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

// privileged are the tasks that the check on writable roots is about, one for
// each group; and the reader, whose PID namespace is compared.
func (d *Diagnosis) privileged() []inspect.Task {
	var list []inspect.Task
	d.eachPlace(func(g *group) {
		if g.writableV1() != nil {
			list = append(list, g.task())
		}
	})
	if len(list) > 0 {
		list = append(list, d.family.tasks[d.host.Reader.PID])
	}
	return list
}

// writableV1 is a v1 controller's hierarchy whose true root is visible
// read-write.
func (g *group) writableV1() *HierarchyView {
	for i := range g.views {
		v := &g.views[i]
		if v.Hierarchy.Version() == 1 && len(v.Hierarchy.Controllers) > 0 && v.writableRoot() {
			return v
		}
	}
	return nil
}

// writableHostHierarchy finds processes with a mount and a PID namespace of
// their own that see a v1 hierarchy's true root read-write.
func (d *Diagnosis) writableHostHierarchy() []*Finding {
	found := newFaults()
	reader := d.facts.processes[d.host.Reader.PID]
	if reader == nil || !d.host.Reader.Initial() {
		return nil
	}
	d.eachPlace(func(g *group) {
		v := g.writableV1()
		p := d.facts.processes[g.task().PID]
		if v == nil || p == nil || p.PIDNS == 0 || reader.PIDNS == 0 || p.PIDNS == reader.PIDNS {
			return
		}
		f, isNew := found.at(placeKey(g), g, g.tasks)
		if isNew {
			f.Command = p.Command
			f.Hierarchy = v.Hierarchy
			f.Evidence["pid_ns"] = p.PIDNS
			f.Message = fmt.Sprintf("they see the true root of %s read-write from namespaces of their own: who is root there with CAP_SYS_ADMIN can set its release_agent, which the host runs as root", v.Hierarchy.Label)
			f.Remedy.Notes = []string{"mount the hierarchies read-only, or in a private cgroup namespace; drop CAP_SYS_ADMIN"}
		}
	})
	return found.list
}

// managerCommands are the programs that manage cgroups of their own.
var managerCommands = []string{"systemd", "dockerd", "containerd", "kubelet"}

// managers are the tasks that the check on managers is about: the first process
// of each group whose good mounts are read-only.
func (d *Diagnosis) managers() []inspect.Task {
	var list []inspect.Task
	d.eachKnown(func(g *group) {
		if g.readOnlyManaged() != nil {
			list = append(list, g.task())
		}
	})
	return list
}

// readOnlyManaged is a hierarchy in which managers make cgroups, cgroup2 or
// name=systemd, whose good mount is read-only.
func (g *group) readOnlyManaged() *HierarchyView {
	for i := range g.views {
		v := &g.views[i]
		if v.Hierarchy.Version() != 2 && v.Hierarchy.Name != "systemd" {
			continue
		}
		if m := v.good(); m != nil && m.ReadOnly() {
			return v
		}
	}
	return nil
}

// managerCgroupReadonly finds managers that cannot make cgroups.
func (d *Diagnosis) managerCgroupReadonly() []*Finding {
	found := newFaults()
	d.eachKnown(func(g *group) {
		v := g.readOnlyManaged()
		p := d.facts.processes[g.task().PID]
		if v == nil || p == nil || !p.First || !slices.Contains(managerCommands, p.Command) {
			return
		}
		f, isNew := found.at(placeKey(g), g, g.tasks[:1])
		if isNew {
			f.Command = p.Command
			f.paths(v, v.good())
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
	t, ok := d.family.tasks[1]
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
// namespaces than their leader.
func (d *Diagnosis) threadsDiffer() []*Finding {
	found := newFaults()
	for _, t := range d.host.Tasks {
		leader := d.family.tasks[t.PID]
		if t.PID == t.TID || leader.TID != leader.PID || !d.judged(t.PID) {
			continue
		}
		f, isNew := found.at(faultKey{cgroupNS: leader.CgroupNS, mount: t.PID}, &group{}, []inspect.Task{leader})
		f.note("threads", fmt.Sprint(t.TID))
		if isNew {
			f.MntNS = leader.MntNS
		}
	}
	for _, f := range found.list {
		f.Message = fmt.Sprintf("threads of it are in other cgroups or namespaces than their leader (%s): what is read of the process is not true of them", strings.Join(f.noted("threads"), " "))
	}
	return found.list
}
