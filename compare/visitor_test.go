package compare

import (
	"strings"
	"testing"
)

// The people of the tests on visitors, each seen from the host. The box is a
// container with the root directory /box and mounts of its own.
var (
	fresh = []mount{{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/box", own: "/"}}
	hosts = []mount{{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/", own: "/.."}}

	shim   = proc{pid: 60, parent: 1, at: []at{{"freezer", "/shim", ""}}}
	native = proc{pid: 70, parent: 60, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/box", "/"}}, mounts: fresh}
	shell  = proc{pid: 200, parent: 1, at: []at{{"freezer", "/user", ""}}}
)

// TestVisitors: who entered a namespace from elsewhere is no fault, and is told
// at most as info.
func TestVisitors(t *testing.T) {
	user := []at{{"freezer", "/user", "/../user"}}
	for _, c := range []struct {
		name  string
		procs []proc
		want  []string
	}{
		{"nobody but those who live there", nil, nil},
		{"nsenter -C", []proc{{pid: 300, parent: 200, ns: boxNS, at: user, mounts: hosts}}, []string{"info visitor 300"}},
		{"nsenter -C -m", []proc{{pid: 300, parent: 200, ns: boxNS, mnt: boxMnt, at: user}}, []string{"info visitor 300"}},
		{"with a child", []proc{{pid: 300, parent: 200, ns: boxNS, mnt: boxMnt, at: user}, {pid: 301, parent: 300, ns: boxNS, mnt: boxMnt, at: user}}, []string{"info visitor 300 301"}},
		{"by way of another shell", []proc{{pid: 300, parent: 200, at: []at{{"freezer", "/user", ""}}}, {pid: 301, parent: 300, ns: boxNS, at: user, mounts: hosts}}, []string{"info visitor 301"}},
		{"two of them", []proc{{pid: 300, parent: 200, ns: boxNS, at: user, mounts: hosts}, {pid: 310, parent: 200, ns: boxNS, mnt: boxMnt, at: user}}, []string{"info visitor 300", "info visitor 310"}},
		{"nsenter -m", []proc{{pid: 300, parent: 200, mnt: boxMnt, at: []at{{"freezer", "/user", ""}}, mounts: []mount{{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/box"}}}}, []string{"info visitor 300"}},
		{"exec, into its cgroup too", []proc{{pid: 300, parent: 60, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/box", "/"}}}}, nil},
		{"exec, into a cgroup below it", []proc{{pid: 300, parent: 60, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/box/exec", "/exec"}}}}, nil},
		{"from inside, to another cgroup", []proc{{pid: 300, parent: 70, ns: boxNS, mnt: boxMnt, at: user}}, []string{"error process-outside-root freezer 300"}},
		{"a grandchild of who lives there", []proc{{pid: 300, parent: 70, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/box", "/"}}}, {pid: 301, parent: 300, ns: boxNS, mnt: boxMnt, at: user}}, []string{"error process-outside-root freezer 301"}},
		{"started by the shim, moved elsewhere", []proc{{pid: 300, parent: 60, ns: boxNS, mnt: boxMnt, at: user}}, []string{"error process-outside-root freezer 300"}},
		{"whose parent is one name further down", []proc{{pid: 300, parent: 200, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/user/x", "/../user/x"}}}}, []string{"error process-outside-root freezer 300"}},
		{"orphaned, and adopted by init", []proc{{pid: 300, parent: 1, ns: boxNS, mnt: boxMnt, at: user}}, []string{"error process-outside-root freezer 300"}},
		{"orphaned, in a PID namespace that init is not in", []proc{{pid: 300, parent: 1, ns: boxNS, mnt: boxMnt, pidNS: boxPID, at: user}}, []string{"info visitor 300"}},
		{"orphaned, with the host's mounts", []proc{{pid: 300, parent: 1, ns: boxNS, at: user, mounts: hosts}}, []string{"info visitor 300"}},
		{"started by init before anybody lived there", []proc{{pid: 50, parent: 1, ns: boxNS, at: user, mounts: hosts}}, []string{"error stale-mount-root freezer 50", "error process-outside-root freezer 50"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "freezer").add(shim, native, shell).add(c.procs...)
			w.finds(c.want...)
		})
	}
}

// Nobody lives inside but a visitor's own children: then it was the visitor who
// made the namespace, and was moved back.
func TestNoVisitorWithoutHost(t *testing.T) {
	maker := proc{pid: 300, parent: 200, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/user", "/../user"}}, mounts: fresh}
	child := proc{pid: 301, parent: 300, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/box", "/"}}}
	newWorld(t, "freezer").add(shell, maker, child).finds("error process-outside-root freezer 300")
	w := newWorld(t, "freezer").add(shell, maker)
	w.inodes["freezer"] = map[string]uint64{"/": 1, "/user": 2}
	w.finds("error dead-root freezer 300")
}

// Who made a mount namespace is no visitor in it: of those who live there the
// others are its children.
func TestMakerOfMounts(t *testing.T) {
	bound := []mount{{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/box"}}
	maker := proc{pid: 300, parent: 200, mnt: boxMnt, at: []at{{"freezer", "/user", ""}}, mounts: bound}
	child := proc{pid: 301, parent: 300, mnt: boxMnt, at: []at{{"freezer", "/box/x", ""}}}
	newWorld(t, "freezer").add(shell, maker, child).finds("error path-not-under-mount freezer 300", "info bind-leaf 301")
	child.parent = 60
	newWorld(t, "freezer").add(shim, shell, maker, child).finds("info bind-leaf 301", "info visitor 300")
}

// TestVisitorInSomeHierarchies: it has to be where its ancestor is in each of
// those in which it lies outside.
func TestVisitorInSomeHierarchies(t *testing.T) {
	visit := func(memory string) *world {
		both := func(p proc, path, own string) proc {
			p.at = append([]at{{"memory", path, own}}, p.at...)
			return p
		}
		w := newWorld(t, "memory", "freezer").add(both(shim, "/", ""), both(native, "/box", "/"), both(shell, "/user", ""))
		w.procs[3].mounts = append([]mount{{label: "memory", point: usual("memory"), root: "/box", own: "/"}}, fresh...)
		return w.add(proc{pid: 300, parent: 200, ns: boxNS, mnt: boxMnt, at: []at{{"memory", memory, "/.." + memory}, {"freezer", "/user", "/../user"}}})
	}
	visit("/user").finds("info visitor 300")
	visit("/moved").finds("error process-outside-root memory 300", "error process-outside-root freezer 300")
}

// TestGuest: the namespace was made in the cgroup that the visitor is in, so it
// does not lie outside, and has the mounts of the host.
func TestGuest(t *testing.T) {
	home := []mount{{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/user", own: "/"}}
	made := proc{pid: 250, parent: 200, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/user", "/"}}, mounts: home}
	other := proc{pid: 210, parent: 1, at: []at{{"freezer", "/user", ""}}}
	guest := proc{pid: 300, parent: 210, ns: boxNS, at: []at{{"freezer", "/user", "/"}}, mounts: hosts}
	newWorld(t, "freezer").add(shell, other, made, guest).finds("info visitor 300")
	// Without anybody else it is who made the namespace, and did not mount.
	newWorld(t, "freezer").add(other, guest).finds("error stale-mount-root freezer 300")
	// So it is if the only other one is its child.
	made.parent = 300
	newWorld(t, "freezer").add(other, made, guest).finds("error stale-mount-root freezer 300")
}

// TestVisitorFromInside: who came from another PID namespace has no parent that
// could be seen there.
func TestVisitorFromInside(t *testing.T) {
	see := func(parent int) *world {
		w := newWorld(t, "freezer")
		w.procs = nil
		w.reader.CgroupNS = boxNS
		return w.add(
			proc{pid: 1, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/", ""}}, mounts: []mount{{label: "freezer", point: "/f", root: "/"}}},
			proc{pid: readerPID, parent: 1, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/", ""}}},
			proc{pid: 300, parent: parent, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/../user", ""}}},
		)
	}
	see(0).finds("info visitor 300", "info reader-not-initial")
	child := proc{pid: 301, parent: 300, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/../user", ""}}}
	see(0).add(child).finds("info visitor 300 301", "info reader-not-initial")
	see(1).finds("error process-outside-root freezer 300", "info reader-not-initial")
}

// TestVisitorIsToldWhy says by which path it was told apart.
func TestVisitorIsToldWhy(t *testing.T) {
	w := newWorld(t, "freezer").add(shim, native, shell, proc{pid: 300, parent: 200, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/user", "/../user"}}})
	f := w.one(w.doctor(), "visitor")
	if f.Evidence["host_path"] != "/user" || !strings.Contains(f.Message, "its cgroup lies outside by design") || f.CgroupNS != boxNS || f.MntNS != boxMnt || f.Command != "sleep" {
		t.Errorf("%+v", f)
	}
	// In the mounts only: they show it in one hierarchy, twice, and not in another.
	two := native
	two.at = append([]at{{"memory", "/", "/"}}, native.at...)
	two.mounts = append([]mount{{label: "memory", point: "/m1", root: "/"}, {label: "memory", point: "/m2", root: "/"}}, fresh...)
	outer := shell
	outer.at = append([]at{{"memory", "/", ""}}, shell.at...)
	w = newWorld(t, "memory", "freezer").add(shim, two, outer, proc{pid: 300, parent: 200, mnt: boxMnt, at: outer.at, mounts: two.mounts})
	f = w.one(w.finds("info duplicate-hierarchy-mount 70", "info visitor 300"), "visitor")
	if f.Evidence["host_path"] != "/user" || !strings.Contains(f.Message, "its cgroup and its mounts do not belong together by design") {
		t.Errorf("%+v", f)
	}
}

// A thread that entered a namespace, as those of agents and of Go programs do, is
// a visitor where its process is.
func TestVisitingThread(t *testing.T) {
	agent := proc{pid: 400, parent: 1, at: []at{{"freezer", "/agent", ""}}}
	for _, c := range []struct {
		name   string
		thread proc
		want   []string
	}{
		{"into the cgroup namespace", proc{pid: 400, tid: 402, parent: 1, ns: boxNS, at: []at{{"freezer", "/agent", "/../agent"}}, mounts: hosts}, []string{"info threads-differ 400", "info visitor 400"}},
		{"into the mounts", proc{pid: 400, tid: 402, parent: 1, mnt: boxMnt, at: []at{{"freezer", "/agent", ""}}, mounts: []mount{{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/box"}}}, []string{"info threads-differ 400", "info visitor 400"}},
		{"and moved elsewhere", proc{pid: 400, tid: 402, parent: 1, ns: boxNS, at: []at{{"freezer", "/else", "/../else"}}, mounts: hosts}, []string{"error stale-mount-root freezer 400", "error process-outside-root freezer 400", "info threads-differ 400"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			newWorld(t, "freezer").add(shim, native, agent, c.thread).finds(c.want...)
		})
	}
}
