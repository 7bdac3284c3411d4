package compare

import (
	"slices"
	"strings"
	"testing"
)

// checked are the findings of one check.
func checked(r *Report, check string) []string {
	var list []string
	for i := range r.Findings {
		if r.Findings[i].Check == check {
			list = append(list, told(&r.Findings[i]))
		}
	}
	return list
}

// expects holds what one check finds.
func (w *world) expects(check string, want ...string) {
	w.t.Helper()
	if got := checked(w.doctor(), check); !slices.Equal(got, want) {
		w.t.Errorf("%s: %q, want %q", check, got, want)
	}
}

func TestHostCgroupnsInContainer(t *testing.T) {
	const check = "host-cgroupns-in-container"
	for _, c := range []struct {
		name   string
		change func(*proc)
		want   []string
	}{
		{"a container in the host's", func(*proc) {}, []string{"info " + check + " 70"}},
		{"in one of its own", func(p *proc) { p.ns, p.at[0].own, p.mounts[0].own = boxNS, "/", "/" }, nil},
		{"with the host's root file system", func(p *proc) { p.rootfs = "8:1 /" }, nil},
		{"with the host's process IDs", func(p *proc) { p.pidNS = hostPID }, []string{"info " + check + " 70"}},
		{"a snap", func(p *proc) { p.pidNS, p.at[0].host, p.mounts[0].root = hostPID, "/snap.web.web.scope", "/" }, nil},
		{"under no runtime's name", func(p *proc) { p.at[0].host, p.mounts[0].root = "/web", "/web" }, []string{"info " + check + " 70"}},
		{"with a part of the host's root file system", func(p *proc) { p.rootfs = "8:1 /srv/root" }, []string{"info " + check + " 70"}},
		{"in the host's mount namespace", func(p *proc) { p.mnt, p.mounts = hostMnt, nil }, nil},
		{"without any cgroup mount", func(p *proc) { p.mounts = []mount{{fs: "tmpfs", point: "/sys"}} }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := docker(70, "freezer")
			c.change(&p)
			newWorld(t, "freezer").add(p).expects(check, c.want...)
		})
	}
	p := docker(70, "freezer", "memory")
	p.at[1].host = "/docker/x/longest"
	w := newWorld(t, "freezer", "memory").add(p)
	if f := w.one(w.doctor(), check); f.Evidence["host_path"] != "/docker/x/longest" {
		t.Errorf("%v", f.Evidence)
	}
}

// privileged is a container that sees all of a v1 hierarchy, read-write.
func privileged(pid int) proc {
	p := docker(pid, "freezer")
	p.mounts[0].root, p.mounts[0].options = "/", "rw"
	return p
}

func TestWritableHostHierarchy(t *testing.T) {
	const check = "writable-host-hierarchy"
	yes := []string{"warning " + check + " 70"}
	for _, c := range []struct {
		name   string
		change func(*world, *proc)
		want   []string
	}{
		{"a privileged container", func(*world, *proc) {}, yes},
		{"also in a cgroup namespace of its own", func(_ *world, p *proc) { p.ns, p.at[0].own, p.mounts[0].own = boxNS, "/", "/../.." }, yes},
		{"a mount that is read-only", func(_ *world, p *proc) { p.mounts[0].options = "ro,nosuid" }, nil},
		{"a superblock that is", func(_ *world, p *proc) { p.mounts[0].super = "ro,freezer" }, nil},
		{"only a part of it", func(_ *world, p *proc) { p.mounts[0].root = "/docker" }, nil},
		{"covered", func(_ *world, p *proc) { p.mounts = append(p.mounts, mount{fs: "tmpfs", point: "/sys"}) }, nil},
		{"the host's process IDs", func(_ *world, p *proc) { p.pidNS = hostPID }, nil},
		{"process IDs of which nothing is known", func(_ *world, p *proc) { p.pidNS = 0 }, nil},
		{"a reader of whose nothing is known", func(w *world, _ *proc) { w.procs[1].pidNS = 0 }, nil},
		{"a user namespace", func(_ *world, p *proc) { p.userNS = boxNS + 1 }, nil},
		{"one that has ended", func(_ *world, p *proc) { p.ended = true }, nil},
		{"the host's mounts", func(_ *world, p *proc) { p.mnt, p.mounts = hostMnt, nil }, nil},
		{"a service with mounts of its own", func(_ *world, p *proc) { p.pidNS, p.rootfs = hostPID, "8:1 /" }, nil},
		{"a reader who does not see the host", func(w *world, p *proc) { w.reader.CgroupNS, w.procs[0].ns, w.procs[1].ns = boxNS+1, boxNS+1, boxNS+1 }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "freezer").add(privileged(70))
			c.change(w, w.procs[2])
			w.expects(check, c.want...)
		})
	}
	// A v1 hierarchy without a controller has a release agent too, cgroup v2 has
	// none.
	for label, want := range map[string][]string{"name=systemd": yes, "unified": nil} {
		p := docker(70, label)
		p.mounts[0].root, p.mounts[0].options = "/", "rw"
		newWorld(t, label).add(p).expects(check, want...)
	}
	w := newWorld(t, "freezer", "name=systemd").add(privileged(70))
	w.procs[2].at = append(w.procs[2].at, at{"name=systemd", "/docker/x", ""})
	w.procs[2].mounts = append(w.procs[2].mounts, mount{label: "name=systemd", point: usual("name=systemd"), root: "/"})
	if f := w.one(w.doctor(), check); !slices.Equal(f.noted("hierarchies"), []string{"name=systemd", "freezer"}) {
		t.Errorf("%v", f.Evidence)
	}
}

// In one mount namespace may live who shares the host's process IDs and who does
// not; each is asked for himself.
func TestWritableHostHierarchyOfEach(t *testing.T) {
	shared := privileged(70)
	shared.pidNS, shared.at[0].host = hostPID, "/docker/agent"
	newWorld(t, "freezer").add(shared, privileged(71)).expects("writable-host-hierarchy", "warning writable-host-hierarchy 71")
	child := privileged(72)
	child.at[0].host = "/docker/x/child"
	newWorld(t, "freezer").add(privileged(71), child).expects("writable-host-hierarchy", "warning writable-host-hierarchy 71 72")
}

func TestManagerCgroupReadonly(t *testing.T) {
	const check = "manager-cgroup-readonly"
	manager := func(label, command string) proc {
		p := docker(70, label)
		p.ns, p.at[0].own, p.mounts[0].own = boxNS, "/", "/"
		p.command, p.first = command, true
		return p
	}
	for _, c := range []struct {
		name   string
		label  string
		change func(*proc)
		told   bool
	}{
		{"systemd", "unified", func(*proc) {}, true},
		{"systemd on v1", "name=systemd", func(*proc) {}, true},
		{"dockerd", "unified", func(p *proc) { p.command = "dockerd" }, true},
		{"kubelet", "unified", func(p *proc) { p.command = "kubelet" }, true},
		{"containerd, with the superblock read-only", "unified", func(p *proc) {
			p.command, p.mounts[0].options, p.mounts[0].super = "containerd", "rw", "ro"
		}, true},
		{"one that has ended", "unified", func(p *proc) { p.ended = true }, false},
		{"no manager", "unified", func(p *proc) { p.command = "java" }, false},
		{"a process of that name that is not the first", "unified", func(p *proc) { p.first = false }, false},
		{"a mount that can be written", "unified", func(p *proc) { p.mounts[0].options = "rw" }, false},
		{"a controller that it does not manage by", "freezer", func(*proc) {}, false},
		{"one that dockerd does", "freezer", func(p *proc) { p.command = "dockerd" }, true},
		{"a name by which dockerd does not", "name=systemd", func(p *proc) { p.command = "dockerd" }, false},
		{"a good mount beside that can be written", "unified", func(p *proc) {
			p.mounts = []mount{{label: "unified", point: "/rw", root: "/docker/x", own: "/"}, p.mounts[0]}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := manager(c.label, "systemd")
			c.change(&p)
			var want []string
			if c.told {
				want = []string{"error " + check + " " + c.label + " 70"}
			}
			newWorld(t, c.label).add(p).expects(check, want...)
		})
	}
}

// The manager is not the first process that is seen of its mount namespace.
func TestManagerCgroupReadonlyOfEach(t *testing.T) {
	child, manager := docker(70, "unified"), docker(71, "unified")
	child.at[0].host = "/docker/x/child"
	manager.command, manager.first = "systemd", true
	newWorld(t, "unified").add(child, manager).expects("manager-cgroup-readonly", "error manager-cgroup-readonly unified 71")
}

// A reader inside the container sees what the manager does.
func TestManagerCgroupReadonlyFromInside(t *testing.T) {
	w := newWorld(t, "unified")
	w.reader.CgroupNS = boxNS
	for _, p := range w.procs {
		p.ns, p.mnt, p.pidNS = boxNS, boxMnt, boxPID
	}
	w.procs[0].command, w.procs[0].first, w.procs[0].mounts[0].options = "systemd", true, "ro"
	w.expects("manager-cgroup-readonly", "error manager-cgroup-readonly unified 1")
}

func TestSystemdRootOffset(t *testing.T) {
	const check = "systemd-root-offset"
	for _, c := range []struct {
		name   string
		label  string
		path   string
		change func(*world)
		told   bool
	}{
		{"in its own scope", "unified", "/init.scope", nil, false},
		{"at the root", "name=systemd", "/", nil, false},
		{"below another cgroup", "unified", "/wsl-user/distro-280/init.scope", nil, true},
		{"also on v1", "name=systemd", "/wsl-user/distro-280", nil, true},
		{"in a hierarchy that it does not manage", "freezer", "/wsl-user", nil, false},
		{"another init", "unified", "/wsl-user", func(w *world) { w.procs[0].command = "init" }, false},
		{"seen from a container", "unified", "/wsl-user", func(w *world) {
			w.reader.CgroupNS, w.procs[0].ns, w.procs[1].ns = boxNS, boxNS, boxNS
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.label)
			w.procs[0].command, w.procs[0].at[0].host = "systemd", c.path
			if c.change != nil {
				c.change(w)
			}
			var want []string
			if c.told {
				want = []string{"warning " + check + " " + c.label + " 1"}
			}
			w.expects(check, want...)
		})
	}
	// It is told once, though there are two hierarchies.
	w := newWorld(t, "unified", "name=systemd")
	w.procs[0].command = "systemd"
	w.procs[0].at = []at{{"unified", "/w", ""}, {"name=systemd", "/w", ""}}
	w.expects(check, "warning "+check+" unified 1")
	if got := checked(w.doctor(readerPID), check); got != nil {
		t.Errorf("of another process: %q", got)
	}
}

func TestThreadsDiffer(t *testing.T) {
	leader := proc{pid: 70, parent: 1, at: []at{{"unified", "/a", ""}}}
	thread := proc{pid: 70, tid: 72, parent: 1, at: []at{{"unified", "/a/t", ""}}}
	w := newWorld(t, "unified").add(leader, thread, proc{pid: 70, tid: 73, parent: 1, at: []at{{"unified", "/a/u", ""}}})
	f := w.one(w.finds("info threads-differ 70"), "threads-differ")
	if !strings.Contains(f.Message, "(72 73)") {
		t.Error(f.Message)
	}
	newWorld(t, "unified").add(leader).finds()
	// Only the leader has ended, and a thread stands for the process.
	newWorld(t, "unified").add(thread).finds()
	other := proc{pid: 70, tid: 73, parent: 1, at: []at{{"unified", "/a/u", ""}}}
	f = w.one(newWorld(t, "unified").add(thread, other).finds("info threads-differ 70"), "threads-differ")
	if f.Evidence["thread"] != 72 || !strings.Contains(f.Message, "than thread 72, which stands for it since its leader has ended (73)") {
		t.Errorf("%v %s", f.Evidence, f.Message)
	}
}
