package compare

import (
	"strings"
	"testing"

	"nsinspect/inspect"
)

// TestVerdicts is the table of verdicts: what a mount's root, as the namespace
// sees it, is worth to a process.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		path, root string
		want       Verdict
	}{
		{"/", "/", VerdictOK},
		{"/leaf", "/", VerdictOK},
		{"/leaf", "/leaf", VerdictSub},
		{"/leaf/x", "/leaf", VerdictSub},
		{"/leaf", "/leaf/x", VerdictUnreachable},
		{"/leaf", "/other", VerdictUnreachable},
		{"/leafy", "/leaf", VerdictUnreachable},
		{"/leaf", "/leafy", VerdictUnreachable},
		{"/leaf", "/..leaf", VerdictUnreachable},
		{"/..leaf", "/..leaf", VerdictSub},
		{"/", "/..", VerdictStale},
		{"/leaf", "/../..", VerdictStale},
		{"/", "/../x", VerdictForeign},
		{"/", "/../../x/y", VerdictForeign},
		{"/..", "/", VerdictUnreachable},
		{"/../x", "/", VerdictUnreachable},
		{"/../x", "/..", VerdictStale},
		{"/../x/y", "/../x", VerdictForeign},
	} {
		t.Run(c.path+" by "+c.root, func(t *testing.T) {
			h := viewOf(t, "freezer", c.path, mount{label: "freezer", point: "/m", root: c.root})
			if h.Verdict != c.want || h.Mounts[0].Verdict != c.want {
				t.Errorf("hierarchy %s, mount %s; want %s", h.Verdict, h.Mounts[0].Verdict, c.want)
			}
		})
	}
}

// viewOf is a process in the reader's own namespace, whose view is as it reads.
func viewOf(t *testing.T, label, path string, mounts ...mount) HierarchyView {
	t.Helper()
	p := boxed(70, label, path, "", "", "")
	p.mounts = mounts
	w := newWorld(t, label).add(p)
	w.reader.CgroupNS = boxNS
	c := Compare(w.reader, w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2])}), nil)
	if len(c.Hierarchies) != 1 || !c.SameAsReader || c.Known != Entered || c.Verdict != c.Hierarchies[0].Verdict {
		t.Fatalf("%+v", c)
	}
	return c.Hierarchies[0]
}

// TestVerdictOfHierarchy: the worst visible mount's, but that one which shows
// too much does no harm beside a good one.
func TestVerdictOfHierarchy(t *testing.T) {
	m := func(point, root string) mount { return mount{label: "freezer", point: point, root: root} }
	for _, c := range []struct {
		name   string
		path   string
		mounts []mount
		want   Verdict
		each   string // the mounts' own
	}{
		{"a good one", "/a", []mount{m("/m", "/")}, VerdictOK, "ok"},
		{"a good one and a part", "/a", []mount{m("/m", "/"), m("/n", "/a")}, VerdictSub, "ok sub"},
		{"a part where it is not, beside", "/a", []mount{m("/m", "/"), m("/n", "/b")}, VerdictSub, "ok sub"},
		{"a part where it is not, alone", "/a", []mount{m("/n", "/b")}, VerdictUnreachable, "unreachable"},
		{"two such parts", "/a", []mount{m("/n", "/b"), m("/o", "/c")}, VerdictUnreachable, "unreachable unreachable"},
		{"a stale one beside a good one", "/a", []mount{m("/m", "/"), m("/n", "/..")}, VerdictOK, "ok stale"},
		{"a stale one beside its part", "/a", []mount{m("/n", "/.."), m("/m", "/a")}, VerdictSub, "stale sub"},
		{"a foreign one beside a good one", "/a", []mount{m("/m", "/"), m("/n", "/../x")}, VerdictOK, "ok foreign"},
		{"a stale one beside another's part", "/a", []mount{m("/n", "/.."), m("/m", "/b")}, VerdictStale, "stale unreachable"},
		{"stale is worse than foreign", "/a", []mount{m("/n", "/../x"), m("/m", "/..")}, VerdictStale, "foreign stale"},
		{"foreign is worse than unreachable", "/a", []mount{m("/n", "/../x"), m("/m", "/b")}, VerdictForeign, "foreign unreachable"},
		{"a good one that is covered", "/a", []mount{m("/m", "/"), m("/m", "/..")}, VerdictStale, "ok stale"},
		{"a stale one that is covered", "/a", []mount{m("/m", "/.."), m("/m", "/")}, VerdictOK, "stale ok"},
		{"no mount", "/a", []mount{}, VerdictNone, ""},
		{"none that can be seen", "/a", []mount{m("/m", "/"), {fs: "tmpfs", point: "/m"}}, VerdictNone, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := viewOf(t, "freezer", c.path, c.mounts...)
			var each []string
			for _, m := range h.Mounts {
				each = append(each, string(m.Verdict))
			}
			if h.Verdict != c.want || strings.Join(each, " ") != c.each {
				t.Errorf("%s (%v), want %s (%s)", h.Verdict, each, c.want, c.each)
			}
		})
	}
}

// TestVerdictsInOrder holds the order of the table in the design.
func TestVerdictsInOrder(t *testing.T) {
	order := []Verdict{VerdictDead, VerdictStale, VerdictForeign, VerdictUnreachable, VerdictUnknown, VerdictNone, VerdictSub, VerdictOK}
	for i, v := range order {
		for j, w := range order {
			if v.Worse(w) != (i < j) {
				t.Errorf("%s worse than %s: %v", v, w, v.Worse(w))
			}
		}
		if v.Healthy() != (v == "ok" || v == "sub") {
			t.Errorf("%s is healthy: %v", v, v.Healthy())
		}
	}
}

// TestCompare has the situation of cgroup_namespaces(7) as a whole.
func TestCompare(t *testing.T) {
	w := newWorld(t, "freezer", "unified").add(
		proc{pid: 70, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/sub", "/"}, {"unified", "/", "/"}}, mounts: []mount{
			{label: "freezer", point: "/f", root: "/", own: "/.."}, {label: "unified", point: "/u", root: "/"},
		}},
		proc{pid: 80, parent: 1, at: []at{{"freezer", "/sub2", ""}, {"unified", "/", ""}}},
	)
	w.sees[boxNS] = map[int][]at{80: {{"freezer", "/sub2", "/../sub2"}, {"unified", "/", "/"}}}
	c := Compare(w.reader, w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2]), Peers: []int{80}}), nil)
	if c.Namespace != boxNS || c.SameAsReader || c.Known != Entered || c.Verdict != VerdictStale {
		t.Errorf("%+v", c)
	}
	want := []HierarchyView{
		{HostPath: "/", NamespacePath: "/", RootDirectory: "/", Verdict: VerdictOK},
		{HostPath: "/sub", NamespacePath: "/", RootDirectory: "/sub", Verdict: VerdictStale},
	}
	for i, h := range c.Hierarchies {
		if h.HostPath != want[i].HostPath || h.NamespacePath != want[i].NamespacePath || h.RootDirectory != want[i].RootDirectory || h.Verdict != want[i].Verdict || h.Outside() || h.life != Alive {
			t.Errorf("%+v", h)
		}
	}
	if m := c.Hierarchies[1].Mounts[0]; m.Root != "/" || m.NamespaceRoot != "/.." {
		t.Errorf("%+v", m)
	}
	if p := c.Peers[0].Paths; p[1].HostPath != "/sub2" || p[1].NamespacePath != "/../sub2" || p[0].NamespacePath != "/" {
		t.Errorf("%+v", p)
	}
	if c.Hierarchies[0].Good() == nil || c.Hierarchies[1].Good() != nil {
		t.Error("the good mounts are the wrong ones")
	}
}

// A process outside proves no root directory; others may have proven it.
func TestCompareOutside(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/x", "/../x", "/", "/.."))
	s := w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2])})
	if Proven(w.reader, s) {
		t.Error("a process outside is said to prove the root directory")
	}
	if h := Compare(w.reader, s, nil).Hierarchies[0]; h.RootDirectory != "" || h.NamespacePath != "/../x" || !h.Outside() || h.life == Alive {
		t.Errorf("%+v", h)
	}
	roots := rootsOf(t, w.reader, []at{{"freezer", "/sub", "/"}})
	if h := Compare(w.reader, s, roots).Hierarchies[0]; h.RootDirectory != "/sub" || h.Verdict != VerdictStale || h.life != Alive {
		t.Errorf("%+v", h)
	}
	s = w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[1])})
	if !Proven(w.reader, s) {
		t.Error("the reader's own root directory is said not to be proven")
	}
}

// What could not be read is unknown, and never healthy.
func TestCompareUnknown(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub", "/", "/", "/.."))
	s := w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2])})
	s.Own, s.Reason = nil, "setns: operation not permitted"
	c := Compare(w.reader, s, nil)
	if h := c.Hierarchies[0]; c.Known != Unknown || c.Verdict != VerdictUnknown || c.Reason != s.Reason || h.NamespacePath != "" || h.RootDirectory != "" || h.Mounts[0].NamespaceRoot != "" {
		t.Errorf("%+v", c)
	}
	s = w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[1])})
	s.Host.Mounts, s.Own.Mounts = nil, nil
	if c := Compare(w.reader, s, nil); c.Verdict != VerdictUnknown || c.Known != Entered {
		t.Errorf("without mountinfo: %+v", c)
	}
	if v := worst(nil); v != VerdictUnknown {
		t.Errorf("of no hierarchy at all: %s", v)
	}
}

// TestDerived: the view of a process follows from the root directory that a
// member proves, if the kernel's rule does not take names that nobody knows.
func TestDerived(t *testing.T) {
	w := newWorld(t, "freezer").add(
		boxed(70, "freezer", "/a/b/c", "/c", "/", "/../.."),
		boxed(71, "freezer", "/a/x", "/../x", "/", "/../.."),
	)
	d := NewDiagnosis(w.scan(), nil)
	want := map[string]string{"/a/b/c": "/c", "/a/x": "/../x"}
	for _, g := range d.groups {
		if v := g.views[0]; g.task().CgroupNS == boxNS && (v.NamespacePath != want[v.HostPath] || v.Known != Derived || v.Mounts[0].NamespaceRoot != "/../.." || v.Mounts[0].Verdict != VerdictStale) {
			t.Errorf("%+v", v)
		}
	}
}

// TestSummarize: list's words for a namespace.
func TestSummarize(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub", "/", "/", "/.."), boxed(71, "freezer", "/sub", "/", "/", "/.."))
	w.add(proc{pid: 71, tid: 72, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/sub/t", "/t"}}})
	h := w.scan()
	s := Summarize(h, h.Namespaces[1], Hierarchies(h), nil)
	if s.NS != boxNS || s.Initial || len(s.Processes) != 2 || s.Processes[0] != 70 || s.Processes[1] != 71 || s.Roots[0].Path != "/sub" || s.Roots[0].Known != Entered {
		t.Errorf("%+v", s)
	}
	if first := Summarize(h, h.Namespaces[0], Hierarchies(h), nil); !first.Initial || first.Roots[0].Path != "/" {
		t.Errorf("%+v", first)
	}
	// Of a namespace that could not be entered a mount may tell what is likely.
	w = newWorld(t, "freezer").add(boxed(70, "freezer", "/docker/x", "", "/docker/x", ""))
	w.refused[boxNS] = "setns: operation not permitted"
	h = w.scan()
	seen := w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2])})
	for _, subject := range []*inspect.Subject{seen, nil} {
		s = Summarize(h, h.Namespaces[1], Hierarchies(h), subject)
		want := Root{Hierarchy: s.Roots[0].Hierarchy, Known: Unknown}
		if subject != nil {
			want.Path, want.Known = "/docker/x", Likely
		}
		if s.Roots[0] != want || s.Reason != "setns: operation not permitted" {
			t.Errorf("%+v", s)
		}
	}
	seen.Host.Mounts = nil
	if s = Summarize(h, h.Namespaces[1], Hierarchies(h), seen); s.Roots[0].Known != Unknown {
		t.Errorf("without mountinfo: %+v", s)
	}
}
