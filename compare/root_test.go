package compare

import (
	"strings"
	"testing"

	"nsinspect/inspect"
)

// rootsOf has what pairs of cgroup files prove, of each hierarchy.
func rootsOf(t *testing.T, reader inspect.Reader, pairs ...[]at) Roots {
	w := newWorld(t)
	ns := &inspect.Namespace{NS: boxNS}
	var hierarchies []*inspect.Hierarchy
	for _, p := range pairs {
		pair := inspect.Pair{Host: w.cgroups(p, false), Own: w.cgroups(p, true)}
		ns.Pairs = append(ns.Pairs, pair)
		for _, m := range pair.Host.Memberships {
			hierarchies = append(hierarchies, m.Hierarchy)
		}
	}
	return NewRoots(reader, ns, hierarchies)
}

// TestNewRoots has, by hand, what living processes prove of a root directory.
func TestNewRoots(t *testing.T) {
	long := "/" + strings.Repeat("x", 4094) // as long as a path that was cut
	for _, c := range []struct {
		name  string
		pairs [][]at
		path  string // "": not known
		base  string // then: what is known of it
		below int
	}{
		{"a member at the root", [][]at{{{"freezer", "/a/b", "/"}}}, "/a/b", "", 0},
		{"a member below it", [][]at{{{"freezer", "/a/b/c/d", "/c/d"}}}, "/a/b", "", 0},
		{"the hierarchy's own root", [][]at{{{"freezer", "/", "/"}}}, "/", "", 0},
		{"a member of it, elsewhere", [][]at{{{"freezer", "/x/y", "/x/y"}}}, "/", "", 0},
		{"one outside", [][]at{{{"freezer", "/x", "/../../x"}}}, "", "/", 2},
		{"one outside, at the hierarchy's root", [][]at{{{"freezer", "/", "/../.."}}}, "", "/", 2},
		{"one beside", [][]at{{{"freezer", "/a/x", "/../x"}}}, "", "/a", 1},
		{"one above", [][]at{{{"freezer", "/a", "/.."}}}, "", "/a", 1},
		{"of two outside the nearer one", [][]at{{{"freezer", "/x", "/../../x"}}, {{"freezer", "/a/x", "/../x"}}}, "", "/a", 1},
		{"also if it comes first", [][]at{{{"freezer", "/a/x", "/../x"}}, {{"freezer", "/x", "/../../x"}}}, "", "/a", 1},
		{"one inside decides", [][]at{{{"freezer", "/x", "/../../x"}}, {{"freezer", "/a/b/c", "/c"}}}, "/a/b", "", 0},
		{"whatever comes after it", [][]at{{{"freezer", "/a/b/c", "/c"}}, {{"freezer", "/x", "/../../x"}}}, "/a/b", "", 0},
		{"two paths of different moments", [][]at{{{"freezer", "/a/b", "/c"}}}, "", "", 0},
		{"a path that was cut", [][]at{{{"freezer", long, long}}}, "", "", 0},
		{"a path that may have been", [][]at{{{"freezer", long[:4093] + "/b", "/b"}}}, "", "", 0},
		{"a name with every byte", [][]at{{{"freezer", "/\xff :,\\ (deleted)/..x", "/..x"}}}, "/\xff :,\\ (deleted)", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rootsOf(t, inspect.Reader{CgroupNS: initNS}, c.pairs...)["freezer"]
			known, life := Entered, Alive
			if c.path == "" {
				known, life = Unknown, LifeUnknown
			}
			if r.Path != c.path || r.Known != known || r.Life != life || r.base != c.base || r.below != c.below {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Each hierarchy has a root of its own (struct cgroup_namespace holds a css_set).
func TestNewRootsByHierarchy(t *testing.T) {
	roots := rootsOf(t, inspect.Reader{CgroupNS: initNS}, []at{{"freezer", "/f/x", "/x"}, {"unified", "/u", "/"}, {"memory", "/else", "/../else"}})
	for label, want := range map[string]string{"freezer": "/f", "unified": "/u", "memory": ""} {
		if roots[label].Path != want {
			t.Errorf("%s: %q, want %q", label, roots[label].Path, want)
		}
	}
	if roots.proven() {
		t.Error("all roots are said to be proven")
	}
	var order []string
	for _, r := range roots.list() {
		order = append(order, r.Hierarchy.Label)
	}
	if strings.Join(order, " ") != "unified memory freezer" {
		t.Errorf("in this order: %v", order)
	}
}

// A reader in a namespace calls its own root "/", whatever lies above.
func TestNewRootsOfReader(t *testing.T) {
	reader := inspect.Reader{CgroupNS: boxNS}
	if r := rootsOf(t, reader, []at{{"freezer", "/x", ""}})["freezer"]; r.Path != "/" || r.Life != Alive {
		t.Errorf("its own: %+v", r)
	}
	for _, c := range []struct {
		pair at
		path string
	}{
		{at{"freezer", "/../n/x", "/x"}, "/../n"},
		{at{"freezer", "/n", "/"}, "/n"},
		{at{"freezer", "/..", "/"}, "/.."},
		{at{"freezer", "/n/x", "/mine/n/x"}, "/.."}, // that namespace's root is the parent of the reader's
		{at{"freezer", "/", "/up/mine"}, "/../.."},
	} {
		if r := rootsOf(t, inspect.Reader{CgroupNS: boxNS + 1}, []at{c.pair})["freezer"]; r.Path != c.path || r.Life != Alive {
			t.Errorf("%q seen as %q: %+v, want %q", c.pair.host, c.pair.own, r, c.path)
		}
	}
}

// TestLikely: what a mount tells of a namespace that could not be entered. It is
// no more than likely: no verdict rests on it.
func TestLikely(t *testing.T) {
	for _, c := range []struct {
		name, path, root string
		want             string
	}{
		{"its own directory", "/docker/x", "/docker/x", "/docker/x"},
		{"one above it", "/docker/x/y", "/docker/x", "/docker/x"},
		{"all of the hierarchy", "/docker/x", "/", ""},
		{"a neighbour's", "/docker/x", "/docker/y", ""},
		{"a namesake in part", "/docker/xy", "/docker/x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := boxed(70, "freezer", c.path, "", c.root, "")
			p.mounts = append([]mount{
				{label: "rdma", point: "/r", root: "/docker"}, // of a hierarchy that it has no line of
				{label: "freezer", point: "/c", root: "/docker"}, {fs: "tmpfs", point: "/c"},
			}, p.mounts...)
			w := newWorld(t, "freezer").add(p)
			w.refused[boxNS] = "setns: operation not permitted"
			r := w.finds("info incomplete 70")
			if r.Coverage.Entered != 1 || r.Coverage.Namespaces != 2 || r.Coverage.Skipped != 1 {
				t.Errorf("%+v", r.Coverage)
			}
			s := w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2])})
			view := Compare(w.reader, s, nil)
			h := view.Hierarchies[0]
			if h.RootDirectory != c.want || h.Verdict != VerdictUnknown || view.Verdict != VerdictUnknown || (h.Known == Likely) != (c.want != "") {
				t.Errorf("%+v", h)
			}
			if likely := strings.TrimPrefix(c.path, c.want); c.want != "" && h.NamespacePath != or(likely, "/") {
				t.Errorf("namespace path %q", h.NamespacePath)
			}
		})
	}
}

// gone is a namespace whose only process was moved from its root /a/b to /x.
func gone(t *testing.T, mounts ...mount) *world {
	p := boxed(70, "freezer", "/x", "/../../x", "/", "/../..")
	if mounts != nil {
		p.mounts = mounts
	}
	w := newWorld(t, "freezer").add(p)
	w.inodes["freezer"] = map[string]uint64{"/": 1, "/a": 2, "/x": 3}
	return w
}

// ownMount shows the root directory of gone's namespace.
var ownMount = mount{label: "freezer", point: "/sys/fs/cgroup/freezer", root: "/a/b", own: "/"}

const (
	isDead    = "error dead-root freezer 70"
	isOutside = "error process-outside-root freezer 70"
	isStale   = "error stale-mount-root freezer 70"
)

// TestDeadRoot: nothing is left where the root directory must have been.
func TestDeadRoot(t *testing.T) {
	w := gone(t)
	f := w.one(w.finds(isDead), "dead-root")
	if !strings.HasPrefix(f.Message, "its root directory was removed: its processes are at /../../x in its view") || f.Remedy.Steps != nil || f.Confirmed != nil {
		t.Errorf("%+v", f)
	}
	if f.Mount == nil || f.Mount.Verdict != VerdictDead || f.Evidence["root_directory"] != nil {
		t.Errorf("%+v %v", f.Mount, f.Evidence)
	}
	// Nor is the root what lies in the process's own cgroup: from there the
	// process would look otherwise.
	w = gone(t)
	w.inodes["freezer"]["/x/y"], w.inodes["freezer"]["/x/z"] = 4, 5
	w.finds(isDead)
	// With a mount that still has its name.
	w = gone(t, ownMount)
	if f := w.one(w.finds(isDead), "dead-root"); !strings.HasPrefix(f.Message, "its root directory /a/b was removed") {
		t.Error(f.Message)
	}
}

// TestDeadRootMadeAgain: a directory of the old name is another one, which its
// inode shows.
func TestDeadRootMadeAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		shown  uint64 // the inode of what the namespace's mount shows; 0: not known
		listed uint64 // the inode of /a/b now
		want   []string
		note   string
	}{
		{"another one", 8, 9, []string{isDead}, ""},
		{"the same one, which all have left", 9, 9, []string{isOutside}, "move them back below /a/b"},
		{"it cannot be told", 0, 9, []string{isOutside}, "whether it still exists could not be told"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := gone(t, ownMount)
			w.inodes["freezer"]["/a/b"] = c.listed
			w.probe = func(inspect.Probe) inspect.ProbeAnswer { return inspect.ProbeAnswer{Tried: true, Inode: c.shown} }
			f := w.finds(c.want...).Findings[0]
			if len(f.Remedy.Notes) != 1 || !strings.Contains(f.Remedy.Notes[0], c.note) {
				t.Errorf("%q", f.Remedy.Notes)
			}
		})
	}
	// Its process lives in the new one, and is outside all the same.
	w := gone(t, ownMount)
	w.procs[2].at = []at{{"freezer", "/a/b", "/../b"}}
	w.inodes["freezer"]["/a/b"] = 9
	w.probe = func(inspect.Probe) inspect.ProbeAnswer { return inspect.ProbeAnswer{Tried: true, Inode: 8} }
	w.finds(isDead)
	w.procs[2].mounts[0].root, w.procs[2].mounts[0].own = "/", "/../.." // nor is its name known
	w.finds(isDead)
}

// TestResidents: others who live where the root could be are asked how the
// namespace sees them.
func TestResidents(t *testing.T) {
	for _, c := range []struct {
		name string
		home at // of the other one, as the namespace sees it
		want []string
	}{
		{"it is not theirs", at{"freezer", "/a/y", "/../y"}, []string{isDead}},
		{"it is", at{"freezer", "/a/y", "/"}, []string{isStale, isOutside}},
		{"they live below it", at{"freezer", "/a/y/z", "/z"}, []string{isStale, isOutside}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := gone(t).add(proc{pid: 500, parent: 1, at: []at{c.home}})
			w.inodes["freezer"]["/a/y"] = 5
			w.sees[boxNS] = map[int][]at{500: {c.home}}
			r := w.finds(c.want...)
			if c.want[0] == isDead {
				return
			}
			f := w.one(r, "process-outside-root")
			if f.Evidence["root_directory"] != "/a/y" || !strings.Contains(f.Remedy.Notes[0], "below /a/y") {
				t.Errorf("%v %q", f.Evidence, f.Remedy.Notes)
			}
		})
	}
	// Who lived there has moved, or ends: then the kernel shows "/" for v1,
	// whoever reads. That proves nothing.
	w := gone(t).add(proc{pid: 500, parent: 1, at: []at{{"freezer", "/a/y", ""}}})
	w.inodes["freezer"]["/a/y"] = 5
	w.sees[boxNS] = map[int][]at{500: {{"freezer", "/", "/"}}}
	if f := w.one(w.finds(isStale, isOutside), "stale-mount-root"); f.Evidence["root_directory"] != nil || f.Remedy.Steps != nil {
		t.Errorf("%v %v", f.Evidence, f.Remedy)
	}
	// Nobody lives there, so it is not to be told.
	w = gone(t)
	w.inodes["freezer"]["/a/y"] = 5
	if f := w.one(w.finds(isStale, isOutside), "stale-mount-root"); f.Remedy.Steps != nil || !strings.Contains(strings.Join(f.Remedy.Notes, "\n"), "no live process proves") {
		t.Errorf("%+v", f.Remedy)
	}
}

// A reader in a namespace looks through a mount that shows what lies above it:
// its neighbours' directories begin with "..".
func TestResidentsBesideTheReader(t *testing.T) {
	w := newWorld(t, "freezer")
	w.reader.CgroupNS, w.procs[0].ns, w.procs[1].ns = boxNS+1, boxNS+1, boxNS+1
	w.procs[0].mounts[0].root = "/.."
	w.add(boxed(70, "freezer", "/../x", "/../x", "/..", "/.."), proc{pid: 500, parent: 1, ns: boxNS + 1, at: []at{{"freezer", "/../n", ""}}})
	w.inodes["freezer"] = map[string]uint64{"/..": 1, "/../mine": 2, "/../n": 3, "/../x": 4}
	w.sees[boxNS] = map[int][]at{500: {{"freezer", "/../n", "/"}}}
	if f := w.one(w.doctor(70), "process-outside-root"); f.Evidence["root_directory"] != "/../n" {
		t.Errorf("%v", f.Evidence)
	}
}

// Without any cgroup mount a process may lie outside its namespace's root all the
// same: so long as its view is not known, it is looked at.
func TestOutsideWithoutMounts(t *testing.T) {
	bare := mount{fs: "tmpfs", point: "/sys"}
	gone(t, bare).finds(isDead, "info no-cgroup-mount 70")
	inside := boxed(71, "freezer", "/a/b", "/", "", "")
	inside.mounts = nil
	gone(t, bare).add(inside).finds(isOutside, "info no-cgroup-mount 70 71")
}

// A path that the kernel may have cut excludes nothing.
func TestExcludeByCutPath(t *testing.T) {
	w := newWorld(t)
	host := []at{{"freezer", "/a/x", "/../x"}}
	long := "/" + strings.Repeat("x", 4094)
	for _, c := range []struct {
		pair at
		left int
	}{{host[0], 1}, {at{"freezer", long, "/../x"}, 2}, {at{"freezer", "/a/x", long}, 2}, {at{"memory", "/a/x", "/../x"}, 2}} {
		rq := &rootQuestion{root: &Root{Hierarchy: w.cgroups(host, false).Memberships[0].Hierarchy}, left: []string{"/a/b", "/b/b"}}
		if rq.exclude(w.cgroups([]at{c.pair}, false), w.cgroups([]at{c.pair}, true)); len(rq.left) != c.left || rq.root.Life != LifeUnknown {
			t.Errorf("%.20q seen as %.20q: %q are left", c.pair.host, c.pair.own, rq.left)
		}
	}
}

// TestRootSearch is what compare asks for: no more than the root directories.
func TestRootSearch(t *testing.T) {
	w := gone(t, ownMount)
	w.add(boxed(71, "freezer", "/a/b/c", "/c", "", ""))
	w.procs[3].mounts = nil
	d := NewRootSearch(w.scan(), 70)
	for q, more := d.Ask(); more; q, more = d.Ask() {
		d.Learn(w.answer(q))
	}
	if r := d.Roots(boxNS)["freezer"]; r.Path != "/a/b" || r.Life != Alive {
		t.Errorf("%+v", r)
	}
	if len(w.asked.Files)+len(w.asked.Probes)+len(w.asked.Processes) > 0 || w.asked.OpenNamespaces {
		t.Errorf("it asks for more: %+v", w.asked)
	}
}
