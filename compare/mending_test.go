package compare

import (
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// TestRefusal has who may use a mount namespace, and what then.
func TestRefusal(t *testing.T) {
	const host, box = inspect.InitialCgroupNS, 4026532800
	reader := inspect.Reader{PID: 10, CgroupNS: host, WholeHost: true}
	task := inspect.Task{PID: 70, TID: 70, CgroupNS: box, MntNS: 4026532801}
	inside := inspect.Reader{PID: 10, CgroupNS: box, WholeHost: true}
	other := inspect.Task{PID: 80, TID: 80}
	yes, no, unknown := truth(true), truth(false), (*bool)(nil)
	for _, c := range []struct {
		name      string
		with      Sharing
		reader    inspect.Reader
		task      inspect.Task
		why, hint string
		hurts     *bool
	}{
		{"nobody", Sharing{}, reader, task, "", "", unknown},
		{"not known which it is", Sharing{}, reader, inspect.Task{PID: 70, CgroupNS: box}, "could not be read", "as root", unknown},
		{"the host's", Sharing{First: true, Reader: true, Others: []inspect.Task{other}}, reader, task, "is the host's", "unshare -C -m", yes},
		{"the reader's", Sharing{Reader: true, Others: []inspect.Task{other}}, reader, task, "that of nsinspect itself", "unshare -C -m", yes},
		{"the reader's, in its cgroup namespace", Sharing{Reader: true}, inside, task, "that of nsinspect itself", "in another mount namespace", no},
		{"the reader itself", Sharing{Reader: true}, inside, inspect.Task{PID: 10, TID: 10, CgroupNS: box, MntNS: 5}, "that of nsinspect itself", "'nsinspect remount PID' in another mount namespace", no},
		{"the initial one, and the reader's", Sharing{Reader: true}, reader, inspect.Task{PID: 70, CgroupNS: host, MntNS: 1}, "that of nsinspect itself", "unshare -C -m", yes},
		{"the reader's, and others'", Sharing{Reader: true, Others: []inspect.Task{other}}, inside, task, "(80)", "restart it with a mount namespace of its own: unshare -m", yes},
		{"others'", Sharing{Others: []inspect.Task{other, other}}, reader, task, "(80)", "unshare -m", yes},
		{"others' and not known", Sharing{Others: []inspect.Task{other}, Unknown: []inspect.Task{other}}, reader, task, "(80)", "unshare -m", yes},
		{"not known whose", Sharing{Unknown: []inspect.Task{other}}, reader, task, "could not be found out: 1 process could not be read (80)", "as root", unknown},
		{"a part of the host", Sharing{}, inspect.Reader{PID: 10, CgroupNS: host}, task, "outside this PID namespace", "on the host", unknown},
	} {
		got := c.with.Refusal(c.reader, c.task)
		if !strings.Contains(got.Why, c.why) || (c.why == "") != (got.Why == "") || !strings.Contains(got.Hint, c.hint) || (got.Hurts == nil) != (c.hurts == nil) || c.hurts != nil && *got.Hurts != *c.hurts {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestHindrance has what keeps a fresh mount from being put in a mount's place.
func TestHindrance(t *testing.T) {
	member := []Member{{PID: 70, TID: 70, Path: "/"}}
	for _, c := range []struct {
		name    string
		change  func(s *inspect.Subject, v *HierarchyView, m *MountView)
		members []Member
		want    string
	}{
		{"nothing", nil, member, ""},
		{"the initial namespace", func(s *inspect.Subject, _ *HierarchyView, _ *MountView) {
			s.Process.CgroupNS = inspect.InitialCgroupNS
		}, member, "options of the whole host"},
		{"no mounts", func(s *inspect.Subject, _ *HierarchyView, _ *MountView) { s.Host.Mounts = nil }, member, "could not be read"},
		{"not all mounts", func(s *inspect.Subject, _ *HierarchyView, _ *MountView) { s.Host.Mounts.Incomplete = "too many" }, member, "too many"},
		{"a dead root", func(_ *inspect.Subject, v *HierarchyView, _ *MountView) { v.life = Dead }, member, "no live process"},
		{"a root that may be dead", func(_ *inspect.Subject, v *HierarchyView, _ *MountView) { v.life = LifeUnknown }, member, "no live process"},
		{"no member", nil, nil, "no live process"},
		{"the root directory", func(_ *inspect.Subject, _ *HierarchyView, m *MountView) { m.MountPoint = "/" }, member, "root directory"},
		{"behind FUSE", func(_ *inspect.Subject, _ *HierarchyView, m *MountView) { m.Behind = "fuse" }, member, "behind a fuse mount"},
	} {
		s := &inspect.Subject{Process: inspect.Process{Task: inspect.Task{CgroupNS: 4026532800}}, Host: inspect.View{Mounts: &inspect.MountTable{}}}
		v, m := &HierarchyView{life: Alive}, &MountView{Mount: inspect.Mount{MountPoint: "/m"}}
		if c.change != nil {
			c.change(s, v, m)
		}
		if got := Hindrance(s, v, m, c.members); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestMembers has who proves a root directory: living members inside it, each
// at its path there.
func TestMembers(t *testing.T) {
	file := func(path string) *inspect.Cgroups {
		c, err := inspect.ParseCgroups([]byte("6:freezer:" + path + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := &inspect.Subject{Process: inspect.Process{Task: inspect.Task{PID: 70, TID: 71, CgroupNS: 5}}}
	h := &inspect.Host{Namespaces: []*inspect.Namespace{
		{NS: 4, Pairs: []inspect.Pair{{PID: 60, Own: file("/")}}},
		{NS: 5, Pairs: []inspect.Pair{{PID: 70, Own: file("/a")}, {PID: 80, Own: file("/b")}, {PID: 90, Own: file("/../c")}}},
	}}
	freezer := file("/").Memberships[0].Hierarchy
	for _, c := range []struct {
		host *inspect.Host
		view HierarchyView
		want []Member
	}{
		{h, HierarchyView{Hierarchy: freezer, Known: Entered, NamespacePath: "/a"}, []Member{{70, 71, "/a"}, {80, 80, "/b"}}},
		{nil, HierarchyView{Hierarchy: freezer, Known: Entered, NamespacePath: "/a"}, []Member{{70, 71, "/a"}}},
		{h, HierarchyView{Hierarchy: freezer, Known: Entered, NamespacePath: "/../x"}, []Member{{80, 80, "/b"}}},
		{h, HierarchyView{Hierarchy: freezer, Known: Likely, NamespacePath: "/a"}, []Member{{80, 80, "/b"}}},
		{h, HierarchyView{Hierarchy: &inspect.Hierarchy{ID: 7, Label: "pids"}, Known: Unknown}, nil},
	} {
		if got := Members(c.host, s, &c.view); !slices.Equal(got, c.want) {
			t.Errorf("%q %s: %+v, want %+v", c.view.NamespacePath, c.view.Known, got, c.want)
		}
	}
}
