package compare

import (
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// hierarchies are one of each kind.
var hierarchies = []string{"freezer", "unified", "net_cls,net_prio", "name=systemd", "net_prio,name=foo"}

// TestStaleMountRoot is the situation of cgroup_namespaces(7), in each kind of
// hierarchy: from the host the mount's root reads "/", as if it were healthy.
func TestStaleMountRoot(t *testing.T) {
	for _, label := range hierarchies {
		t.Run(label, func(t *testing.T) {
			w := newWorld(t, label).add(boxed(70, label, "/sub", "/", "/", "/.."))
			f := w.one(w.finds("error stale-mount-root "+label+" 70"), "stale-mount-root")
			if f.CgroupNS != boxNS || f.MntNS != boxMnt || f.Mount.Root != "/" || f.Mount.NamespaceRoot != "/.." || f.Mount.Verdict != VerdictStale {
				t.Errorf("%+v", f)
			}
			for key, want := range map[string]any{
				"host_path": "/sub", "namespace_path": "/", "root_directory": "/sub", "namespace_root": "/..",
				"mount_point": usual(label), "not_confirmed": "it cannot be asked here",
			} {
				if f.Evidence[key] != want {
					t.Errorf("%s is %v, want %v", key, f.Evidence[key], want)
				}
			}
			if !strings.Contains(f.Message, "its root is /.. in their view: it shows the tree above /sub") {
				t.Error(f.Message)
			}
			if !slices.Equal(f.Verify, []string{"nsinspect", "doctor", "70"}) {
				t.Error(f.Verify)
			}
		})
	}
}

// What looks like a stale mount and is none, or is one for another reason.
func TestStaleMountRootOrNot(t *testing.T) {
	box := func(m ...mount) proc {
		p := boxed(70, "freezer", "/a/b", "/", "/", "/../..")
		p.mounts = m
		return p
	}
	const point = "/sys/fs/cgroup/freezer"
	stale := mount{label: "freezer", point: point, root: "/", own: "/../.."}
	fresh := mount{label: "freezer", point: point, root: "/a/b", own: "/"}
	for _, c := range []struct {
		name string
		proc proc
		want []string
	}{
		{"mounted again", box(fresh), nil},
		{"two levels up", box(stale), []string{"error stale-mount-root freezer 70"}},
		{"the directory right above", box(mount{label: "freezer", point: point, root: "/a", own: "/.."}), []string{"error stale-mount-root freezer 70"}},
		{"covered by a fresh one", box(stale, fresh), nil},
		{"covered by a tmpfs", box(stale, mount{fs: "tmpfs", point: point}), []string{"info no-cgroup-mount 70"}},
		{"its directory covered", box(stale, mount{fs: "tmpfs", point: "/sys/fs/cgroup"}, fresh), nil},
		{"it covers a fresh one", box(fresh, stale), []string{"error stale-mount-root freezer 70"}},
		{"the own part bound", box(mount{label: "freezer", point: point, root: "/a/b", own: "/"}), nil},
		{"beside a good one", box(fresh, mount{label: "freezer", point: "/host/freezer", root: "/", own: "/../.."}), []string{"info extra-mount-outside-root freezer 70"}},
		{"a neighbour's beside a good one", box(fresh, mount{label: "freezer", point: "/host/freezer", root: "/a/x", own: "/../x"}), []string{"info extra-mount-outside-root freezer 70"}},
		{"beside a mount of the child that it is not in", box(stale, mount{label: "freezer", point: "/x", root: "/a/b/c", own: "/c"}), []string{"error stale-mount-root freezer 70"}},
		{"a neighbour's", box(mount{label: "freezer", point: point, root: "/a/x", own: "/../x"}), []string{"warning foreign-mount-root freezer 70"}},
		{"one more level up, and aside", box(mount{label: "freezer", point: point, root: "/x/y", own: "/../../x/y"}), []string{"warning foreign-mount-root freezer 70"}},
		{"stale and a neighbour's", box(stale, mount{label: "freezer", point: "/x", root: "/a/x", own: "/../x"}), []string{"error stale-mount-root freezer 70", "warning foreign-mount-root freezer 70"}},
		{"two stale ones", box(stale, mount{label: "freezer", point: "/x", root: "/a", own: "/.."}), []string{"error stale-mount-root freezer 70", "error stale-mount-root freezer 70"}},
		{"a directory called ..b", box(mount{label: "freezer", point: point, root: "/a/b/..b", own: "/..b"}, fresh), nil},
	} {
		t.Run(c.name, func(t *testing.T) { newWorld(t, "freezer").add(c.proc).finds(c.want...) })
	}
}

// A namespace that was made at the hierarchy's root has that root: nothing is
// stale there, whatever the mounts' roots are.
func TestNamespaceAtRoot(t *testing.T) {
	p := boxed(70, "freezer", "/", "/", "/", "/")
	newWorld(t, "freezer").add(p).finds()
	p.at, p.mounts[0].root, p.mounts[0].own = []at{{"freezer", "/docker/x", ""}}, "/docker/x", ""
	newWorld(t, "freezer").add(p).finds("info bind-leaf 70")
}

// In the host's cgroup namespace no mount is stale, and bind mounts are the
// runtimes' usual way.
func TestHostNamespace(t *testing.T) {
	bound := func(path, root string) proc {
		p := boxed(70, "freezer", path, "", root, "")
		p.ns = initNS
		return p
	}
	for _, c := range []struct {
		name string
		proc proc
		want []string
	}{
		{"a leaf", bound("/docker/x", "/docker/x"), []string{"info bind-leaf 70"}},
		{"a parent", bound("/docker/x", "/docker"), []string{"info bind-leaf 70"}},
		{"a neighbour's", bound("/docker/x", "/docker/y"), []string{"error path-not-under-mount freezer 70"}},
		{"a namesake in part", bound("/docker/xy", "/docker/x"), []string{"error path-not-under-mount freezer 70"}},
		{"a child", bound("/docker/x", "/docker/x/y"), []string{"error path-not-under-mount freezer 70"}},
		{"bytes that are no text", bound("/\xff: a/..b (deleted)", "/\xff: a/..b"), []string{"error path-not-under-mount freezer 70"}},
		{"the same bytes", bound("/\xff: a/..b (deleted)", "/\xff: a"), []string{"info bind-leaf 70"}},
	} {
		t.Run(c.name, func(t *testing.T) { newWorld(t, "freezer").add(c.proc).finds(c.want...) })
	}
}

// TestPathNotUnderMount: the process lives beside the part that is mounted.
func TestPathNotUnderMount(t *testing.T) {
	p := boxed(70, "freezer", "/box/a", "/a", "/box/b", "/b")
	w := newWorld(t, "freezer").add(p, boxed(71, "freezer", "/box", "/", "/box/b", "/b"))
	w.procs[3].mounts, w.procs[3].mnt = nil, hostMnt
	f := w.one(w.doctor(), "path-not-under-mount")
	if told(f) != "error path-not-under-mount freezer 70" || !strings.Contains(f.Message, "their cgroup /a is under none of its mounts (/b at /sys/fs/cgroup/freezer)") {
		t.Errorf("%s: %s", told(f), f.Message)
	}
	p.mounts = append(p.mounts, mount{label: "freezer", point: "/else", root: "/box", own: "/"})
	newWorld(t, "freezer").add(p).finds("info partial-submount freezer 70")
}

// TestProcessOutsideRoot: a process is moved while its namespace stays.
func TestProcessOutsideRoot(t *testing.T) {
	inside := boxed(70, "freezer", "/box", "/", "/box", "/")
	moved := boxed(71, "freezer", "/else/x", "/../else/x", "/box", "/")
	moved.parent = 70
	w := newWorld(t, "freezer").add(inside, moved)
	f := w.one(w.finds("error process-outside-root freezer 71"), "process-outside-root")
	if f.Evidence["root_directory"] != "/box" || f.Evidence["namespace_path"] != "/../else/x" || f.Confirmed != nil {
		t.Errorf("%+v", f.Evidence)
	}
	if len(f.Remedy.Notes) != 1 || !strings.Contains(f.Remedy.Notes[0], "below /box") {
		t.Errorf("%q", f.Remedy.Notes)
	}
}

// A process that was moved out is found through no mount. That is one fault: a
// wider mount beside the one that shows the namespace's root is none.
func TestProcessOutsideRootIsToldOnce(t *testing.T) {
	for name, wide := range map[string]mount{
		"a wider mount":          {label: "freezer", point: "/host", root: "/", own: "/.."},
		"one of where it is now": {label: "freezer", point: "/host", root: "/else", own: "/../else"},
	} {
		t.Run(name, func(t *testing.T) {
			inside := boxed(70, "freezer", "/box", "/", "/box", "/")
			inside.mounts = append(inside.mounts, wide)
			moved := proc{pid: 71, parent: 70, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/else/x", "/../else/x"}}}
			newWorld(t, "freezer").add(inside, moved).finds("error process-outside-root freezer 71", "info extra-mount-outside-root freezer 70")
		})
	}
}

// Nobody is left inside, and whether the root directory still exists is not to
// be found out: the reader's mount does not show where it must be.
func TestProcessOutsideRootOfUnknownLife(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(71, "freezer", "/else", "/../else", "/", "/.."))
	w.procs[0].mounts[0].root = "/elsewhere"
	f := w.one(w.doctor(71), "process-outside-root")
	if !strings.Contains(f.Remedy.Notes[0], "whether it still exists could not be told") || f.Evidence["root_directory"] != nil {
		t.Errorf("%q %v", f.Remedy.Notes, f.Evidence)
	}
}

// TestOnceForAll: one fault is told once for all the processes that it touches,
// and once for each that has it on its own.
func TestOnceForAll(t *testing.T) {
	w := newWorld(t, "freezer").add(
		boxed(70, "freezer", "/sub", "/", "/", "/.."),
		boxed(71, "freezer", "/sub/x", "/x", "/", "/.."),
		boxed(72, "freezer", "/sub", "/", "/", "/.."),
	)
	f := w.one(w.finds("error stale-mount-root freezer 70 71 72"), "stale-mount-root")
	if f.PID != 70 || f.Command != "sleep" {
		t.Errorf("%d %s", f.PID, f.Command)
	}
	second := boxed(80, "freezer", "/two", "/", "/", "/..")
	second.ns, second.mnt = boxNS+10, boxMnt+10
	w.add(second)
	w.finds("error stale-mount-root freezer 70 71 72", "error stale-mount-root freezer 80")
	for _, only := range []int{71, 80} {
		r := w.doctor(only)
		if f := w.one(r, "stale-mount-root"); !slices.Equal(f.PIDs, []int{only}) || r.Coverage.Processes != 1 {
			t.Errorf("of %d alone: %s, %+v", only, told(f), r.Coverage)
		}
	}
}

// TestProof: the kernel's own list decides.
func TestProof(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer inspect.ProbeAnswer
		want   []string
	}{
		{"not listed", inspect.ProbeAnswer{Tried: true}, []string{"error stale-mount-root freezer 70"}},
		{"listed", inspect.ProbeAnswer{Tried: true, Listed: true}, nil},
		{"not tried", inspect.ProbeAnswer{Reason: "no answer within 1s"}, []string{"error stale-mount-root freezer 70"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub/x", "/x", "/", "/.."), boxed(71, "freezer", "/sub", "/", "/", "/.."))
			w.procs[3].mnt = hostMnt + 50
			w.procs[3].mounts = []mount{{label: "freezer", point: "/m", root: "/sub", own: "/"}}
			w.probe = func(inspect.Probe) inspect.ProbeAnswer { return c.answer }
			r := w.finds(c.want...)
			if len(w.asked.Probes) != 1 || w.asked.Probes[0].Path != "x" || w.asked.Probes[0].Mount.MountPoint != usual("freezer") || w.asked.Probes[0].Task.PID != 70 {
				t.Fatalf("%+v", w.asked.Probes)
			}
			if c.want == nil {
				return
			}
			f := w.one(r, "stale-mount-root")
			if c.answer.Tried != (f.Confirmed != nil && *f.Confirmed) || !c.answer.Tried && f.Evidence["not_confirmed"] != "no answer within 1s" {
				t.Errorf("confirmed %v, %v", f.Confirmed, f.Evidence)
			}
		})
	}
}

// TestAgain: what ended or moved since the first reading is not told; what
// cannot be read is tried on another process that sees the same.
func TestAgain(t *testing.T) {
	three := func() *world {
		return newWorld(t, "freezer").add(
			boxed(70, "freezer", "/sub", "/", "/", "/.."), boxed(71, "freezer", "/sub", "/", "/", "/.."), boxed(72, "freezer", "/sub", "/", "/", "/.."))
	}
	w := three()
	w.procs[2].ended = true
	w.finds("error stale-mount-root freezer 71 72")
	w = three()
	w.procs[3].moved = true
	w.finds("error stale-mount-root freezer 70 72")
	w = three()
	for _, p := range w.procs[2:] {
		p.ended = true
	}
	w.finds()
}

// Who is still there but cannot be read in its own view was not looked at.
func TestUnreadableAgain(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub", "/", "/", "/.."), boxed(71, "freezer", "/sub/x", "/x", "/", "/.."))
	w.answered = func(a *inspect.Answers) {
		for i, s := range a.Subjects {
			switch {
			case s != nil && s.Process.PID == 70:
				s.Own, s.Reason = nil, "setns: operation not permitted"
			case s != nil && s.Process.PID == 71:
				a.Subjects[i] = nil
			}
		}
	}
	f := w.one(w.finds("info incomplete 70 71"), "incomplete")
	const want = "2 of 4 processes not looked at: 71 (own view: it could not be read again), 70 (own view: setns: operation not permitted)"
	if f.Message != want {
		t.Errorf("%s\nwant %s", f.Message, want)
	}
}

// TestSettled: a mount that was stale when it was first seen, and is mended when
// it is read again, is no fault.
func TestSettled(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub", "/", "/", "/.."))
	d := NewDiagnosis(w.scan(), nil)
	w.procs[2].mounts[0].root, w.procs[2].mounts[0].own = "/sub", "/"
	for q, more := d.Ask(); more; q, more = d.Ask() {
		d.Learn(w.answer(q))
	}
	if r := d.Report(); len(r.Findings) != 0 {
		t.Errorf("%+v", r.Findings)
	}
}

// TestPartOfTheMounts: what of mountinfo was not read may cover what was, and may
// be a good mount. Nothing is told of such mounts but that they are not known.
func TestPartOfTheMounts(t *testing.T) {
	for name, p := range map[string]proc{
		"stale":       boxed(70, "freezer", "/a/b", "/", "/", "/../.."),
		"foreign":     boxed(70, "freezer", "/a/b", "/", "/a/x", "/../x"),
		"unreachable": boxed(70, "freezer", "/a/b/c", "/c", "/a/b/d", "/d"),
		"good":        boxed(70, "freezer", "/a/b", "/", "/a/b", "/"),
	} {
		t.Run(name, func(t *testing.T) {
			p.partial = true
			w := newWorld(t, "freezer").add(p)
			w.finds("info incomplete 70")
			c := Compare(w.reader, w.subject(inspect.SubjectQuestion{Task: w.task(w.procs[2])}), nil)
			if c.Verdict != VerdictUnknown || c.Hierarchies[0].Mounts[0].Verdict != VerdictUnknown {
				t.Errorf("%+v", c.Hierarchies[0])
			}
		})
	}
	// That its root was removed is another matter.
	p := boxed(70, "freezer", "/x", "/../../x", "/", "/../..")
	p.partial = true
	w := newWorld(t, "freezer").add(p)
	w.inodes["freezer"] = map[string]uint64{"/": 1, "/x": 2}
	w.finds("error dead-root freezer 70", "info incomplete 70")
}

// TestMountThatWentAway: between two readings of mountinfo one mount was taken
// away. What was put in its place may be good, so that nothing can be said of the
// others of its hierarchy.
func TestMountThatWentAway(t *testing.T) {
	const point = "/sys/fs/cgroup/freezer"
	for name, first := range map[string]mount{
		"stale":       {label: "freezer", point: point, root: "/", own: "/../.."},
		"foreign":     {label: "freezer", point: point, root: "/a/x", own: "/../x"},
		"unreachable": {label: "freezer", point: point, root: "/a/b/c", own: "/c"},
	} {
		t.Run(name, func(t *testing.T) {
			p := boxed(70, "freezer", "/a/b", "/", "", "")
			p.mounts = []mount{first, {label: "freezer", point: "/went", root: "/", own: "/../.."}}
			w := newWorld(t, "freezer").add(p)
			w.answered = func(a *inspect.Answers) {
				for _, s := range a.Subjects {
					s.Own.Mounts.Cgroup = s.Own.Mounts.Cgroup[:1]
				}
			}
			r := w.finds("info incomplete 70")
			if !strings.Contains(r.Findings[0].Message, "70 (mountinfo: its mounts changed while they were read)") || len(r.Skipped) != 1 {
				t.Errorf("%s %+v", r.Findings[0].Message, r.Skipped)
			}
		})
	}
}
