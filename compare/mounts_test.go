package compare

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// v1s are the hierarchies of a small v1 host.
var v1s = []string{"memory", "cpu,cpuacct", "freezer", "rdma"}

// docker is a process in a container as Docker makes it on v1: in the host's
// cgroup namespace, at /docker/x, with just that bound over each hierarchy.
func docker(pid int, labels ...string) proc {
	p := proc{pid: pid, parent: 1, mnt: boxMnt, rootfs: "0:42 /", pidNS: boxPID}
	for _, label := range labels {
		p.at = append(p.at, at{label, "/docker/x", ""})
		p.mounts = append(p.mounts, mount{label: label, point: usual(label), root: "/docker/x", options: "ro,nosuid"})
	}
	return p
}

// usualDocker is what is told of such a container, and no fault.
var usualDocker = []string{"info bind-leaf 70", "info host-cgroupns-in-container 70"}

// changed is a docker container with a change.
func changed(change func(*proc)) proc {
	p := docker(70, v1s...)
	change(&p)
	return p
}

func TestControllerMountMissing(t *testing.T) {
	const missing, minor = "warning controller-mount-missing 70", "info controller-mount-missing 70"
	for _, c := range []struct {
		name string
		proc proc
		want []string
	}{
		{"all are there", docker(70, v1s...), usualDocker},
		{"one is not", changed(func(p *proc) { p.mounts = p.mounts[1:] }), append([]string{missing}, usualDocker...)},
		{"one is covered", changed(func(p *proc) {
			p.mounts = append(p.mounts, mount{fs: "tmpfs", point: usual("memory")})
		}), append([]string{missing}, usualDocker...)},
		{"one of those that few need is not", changed(func(p *proc) { p.mounts = p.mounts[:3] }), append([]string{minor}, usualDocker...)},
		{"none is there", changed(func(p *proc) { p.mounts = []mount{{fs: "tmpfs", point: "/sys"}} }), []string{"info no-cgroup-mount 70"}},
		{"a controller that was disabled at boot", changed(func(p *proc) { p.at, p.mounts = p.at[1:], p.mounts[1:] }), usualDocker},
	} {
		t.Run(c.name, func(t *testing.T) { newWorld(t, v1s...).add(c.proc).finds(c.want...) })
	}
	// What the host has not mounted either nobody can miss, nor a mere name.
	w := newWorld(t, "memory", "freezer", "name=systemd", "unified")
	w.procs[0].mounts = w.procs[0].mounts[1:]
	p := docker(70, "freezer")
	p.at = append(p.at, at{"memory", "/docker/x", ""}, at{"name=systemd", "/docker/x", ""}, at{"unified", "/docker/x", ""})
	w.add(p).finds(usualDocker...)
	// Two are told as one.
	w = newWorld(t, v1s...).add(changed(func(p *proc) { p.mounts = p.mounts[2:] }))
	f := w.one(w.doctor(), "controller-mount-missing")
	if !strings.Contains(f.Message, "no mount of memory cpu,cpuacct is visible") || len(f.Remedy.Notes) != 1 {
		t.Errorf("%s %q", f.Message, f.Remedy.Notes)
	}
	// A container of v2 has no v1 mount at all.
	p = docker(70, "unified")
	p.at = append(p.at, at{"memory", "/docker/x", ""})
	newWorld(t, "memory", "unified").add(p).finds("info host-cgroupns-in-container 70")
}

func TestBindLeaf(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*proc)
		told   bool
	}{
		{"as Docker binds it", func(*proc) {}, true},
		{"the whole hierarchy", func(p *proc) { p.mounts[0].root = "/" }, false},
		{"a directory above it", func(p *proc) { p.mounts[0].root = "/docker" }, true},
		{"at a path that ends as the cgroup's does", func(p *proc) { p.mounts[0].point += "/docker/x" }, false},
		{"and once more where joined paths lead", func(p *proc) {
			p.mounts = append(p.mounts, mount{label: "freezer", point: usual("freezer") + "/docker/x", root: "/docker/x"})
		}, false},
		{"and once more elsewhere", func(p *proc) { p.mounts = append(p.mounts, mount{label: "freezer", point: "/m", root: "/docker/x"}) }, true},
		{"in a namespace of its own", func(p *proc) { p.ns, p.at[0].own, p.mounts[0].own = boxNS, "/", "/" }, false},
		{"on the host itself", func(p *proc) { p.mnt, p.mounts = hostMnt, nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := docker(70, "freezer")
			c.change(&p)
			r := newWorld(t, "freezer").add(p).doctor()
			if told := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Check == "bind-leaf" }); told != c.told {
				t.Errorf("told: %v", told)
			}
		})
	}
	r := newWorld(t, "unified").add(docker(70, "unified")).doctor()
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Check == "bind-leaf" }) {
		t.Error("it is told of cgroup v2")
	}
	w := newWorld(t, v1s...).add(docker(70, v1s...), docker(71, v1s...))
	f := w.one(w.finds("info bind-leaf 70 71", "info host-cgroupns-in-container 70 71"), "bind-leaf")
	if strings.Join(f.noted("hierarchies"), " ") != "memory cpu,cpuacct freezer rdma" {
		t.Errorf("%v", f.Evidence)
	}
}

// TestPartialSubmount: kind binds /kubelet beside the mount that shows all.
func TestPartialSubmount(t *testing.T) {
	for _, c := range []struct {
		name  string
		extra mount
		want  []string
	}{
		{"another part", mount{label: "freezer", point: usual("freezer") + "/kubelet", root: "/docker/x/kubelet"}, append([]string{"info partial-submount freezer 70"}, usualDocker...)},
		{"the part that it is in", mount{label: "freezer", point: "/m", root: "/docker/x/pod"}, append([]string{"info duplicate-hierarchy-mount 70"}, usualDocker...)},
		{"another part that is out of sight", mount{label: "freezer", point: "/", root: "/docker/x/kubelet"}, usualDocker},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := docker(70, "freezer")
			p.at[0].host = "/docker/x/pod"
			p.mounts = append(p.mounts, c.extra)
			newWorld(t, "freezer").add(p).finds(c.want...)
		})
	}
}

func TestDuplicateHierarchyMount(t *testing.T) {
	many := func(n int) proc {
		p := proc{pid: 70, parent: 1, mnt: boxMnt, at: []at{{"freezer", "/x", ""}}}
		for i := range n {
			p.mounts = append(p.mounts, mount{label: "freezer", point: fmt.Sprintf("/m%d", i), root: "/"})
		}
		return p
	}
	for n, want := range map[int][]string{
		1:  nil,
		2:  {"info duplicate-hierarchy-mount 70"},
		32: {"info duplicate-hierarchy-mount 70"},
		33: {"warning duplicate-hierarchy-mount 70"},
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { newWorld(t, "freezer").add(many(n)).finds(want...) })
	}
	w := newWorld(t, "freezer").add(many(3))
	if f := w.one(w.doctor(), "duplicate-hierarchy-mount"); !strings.HasPrefix(f.Message, "freezer is mounted 3 times (first /m0, last /m2)") {
		t.Error(f.Message)
	}
	// Of several hierarchies the one with the most mounts is named.
	leak := many(33)
	leak.at = append(leak.at, at{"memory", "/x", ""})
	leak.mounts = append(leak.mounts, mount{label: "memory", point: "/a", root: "/"}, mount{label: "memory", point: "/b", root: "/"})
	w = newWorld(t, "memory", "freezer").add(leak)
	f := w.one(w.finds("warning duplicate-hierarchy-mount 70"), "duplicate-hierarchy-mount")
	if !strings.HasPrefix(f.Message, "freezer is mounted 33 times") || len(f.Evidence["mount_points"].([]string)) != 33 || !slices.Equal(f.noted("hierarchies"), []string{"memory", "freezer"}) {
		t.Errorf("%s %v", f.Message, f.Evidence)
	}
	// One upon the other is one place; so is one out of which the process is.
	stacked := many(1)
	stacked.mounts = append(stacked.mounts, stacked.mounts[0], mount{label: "freezer", point: "/n", root: "/x/y"})
	newWorld(t, "freezer").add(stacked).finds("info partial-submount freezer 70")
}

func TestControllerUnscoped(t *testing.T) {
	const unscoped = "warning controller-unscoped 70"
	whole := func(options string) func(*proc) {
		return func(p *proc) {
			p.at[3].host = "/"
			p.mounts[3].root, p.mounts[3].options = "/", options
		}
	}
	for _, c := range []struct {
		name   string
		change func(*proc)
		told   bool
	}{
		{"all have one of their own", func(*proc) {}, false},
		{"rdma has none", whole("rw"), true},
		{"but cannot be written", whole("ro"), false},
		{"nor by its superblock", func(p *proc) { whole("rw")(p); p.mounts[3].super = "ro,rdma" }, false},
		{"nor seen", func(p *proc) { whole("rw")(p); p.mounts = append(p.mounts, mount{fs: "tmpfs", point: usual("rdma")}) }, false},
		{"and the rest is no container's", func(p *proc) {
			whole("rw")(p)
			for i := range 3 {
				p.at[i].host, p.mounts[i].root = "/system.slice/falcon", "/"
			}
		}, false},
		{"only a mere name has none", func(p *proc) {
			p.at = append(p.at, at{"name=systemd", "/", ""})
			p.mounts = append(p.mounts, mount{label: "name=systemd", point: "/sys/fs/cgroup/systemd", root: "/"})
		}, false},
		{"and its root file system is the host's", func(p *proc) { whole("rw")(p); p.rootfs = "8:1 /" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newWorld(t, v1s...).add(changed(c.change)).doctor()
			var list []string
			for i := range r.Findings {
				list = append(list, told(&r.Findings[i]))
			}
			if slices.Contains(list, unscoped) != c.told {
				t.Errorf("told: %q", list)
			}
		})
	}
	w := newWorld(t, v1s...).add(changed(whole("rw")))
	f := w.one(w.doctor(), "controller-unscoped")
	if strings.Join(f.noted("hierarchies"), " ") != "rdma" || f.Evidence["host_path"] != "/docker/x" {
		t.Errorf("%v", f.Evidence)
	}
}

// TestRuntimePath has paths as runtimes make them (captures), and some that only
// look like it.
func TestRuntimePath(t *testing.T) {
	for path, want := range map[string]bool{
		"/docker/b29faf21b7ef":                                 true,
		"/system.slice/docker-dc4eaa1a34ec.scope":              true,
		"/kubepods/besteffort/pod1bf924dd-3f6f/c17eb535a477":   true,
		"/kubepods.slice/kubepods-burstable.slice/x":           true,
		"/ecs/8a28a8466402/8a28a8466402-4092616770":            true,
		"/machine.slice/libpod-f1c6b44c0d61.scope":             true,
		"/lxc.payload.web/init.scope":                          true,
		"/lxc/web":                                             true,
		"/a.slice:cri-containerd:f00":                          true,
		"/":                                                    false,
		"/user.slice/user-1000.slice/session-2.scope":          false,
		"/system.slice/networkd-dispatcher.service":            false,
		"/sensor.falcon":                                       false,
		"/slurm/uid_1000/job_7/step_0":                         false,
		"/dockers":                                             false,
		"/my-lxcfs":                                            false,
		"/specs":                                               false,
		"/user.slice/user-1000.slice/app-machineslice-1.scope": false,
	} {
		if got := runtimePath.MatchString(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
