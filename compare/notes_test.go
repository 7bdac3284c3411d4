package compare

import (
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

func TestNoCgroupMount(t *testing.T) {
	const told = "info no-cgroup-mount 70"
	bare := proc{pid: 70, parent: 1, mnt: boxMnt, at: []at{{"freezer", "/a", ""}}, mounts: []mount{{fs: "tmpfs", point: "/sys"}}}
	for _, c := range []struct {
		name   string
		change func(*proc)
		want   []string
	}{
		{"a sandbox", func(*proc) {}, []string{told}},
		{"one with a cgroup namespace of its own", func(p *proc) { p.ns, p.at[0].own = boxNS, "/" }, []string{told}},
		{"a kernel thread", func(p *proc) { p.kernel = true }, nil},
		{"one with a mount", func(p *proc) { p.mounts = []mount{{label: "freezer", point: "/f", root: "/"}} }, nil},
		{"one whose mounts are not all known", func(p *proc) { p.partial = true }, []string{"info incomplete 70"}},
		{"one without cgroups", func(p *proc) { p.at = nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := bare
			p.at = append([]at(nil), bare.at...)
			c.change(&p)
			newWorld(t, "freezer").add(p).finds(c.want...)
		})
	}
}

func TestReaderNotInitial(t *testing.T) {
	w := newWorld(t, "freezer")
	w.reader.CgroupNS = boxNS
	w.procs[0].ns, w.procs[1].ns = boxNS, boxNS
	f := w.one(w.finds("info reader-not-initial"), "reader-not-initial")
	if f.PID != readerPID || f.CgroupNS != boxNS || !strings.Contains(f.Message, "private cgroup namespace 4026532700") {
		t.Errorf("%+v", f)
	}
	w.reader.CgroupNS = 0 // not known: nothing can be said
	w.procs[0].noNS, w.procs[1].noNS = true, true
	w.finds("info incomplete 1 900")
}

// A reader's own stale mount is found from inside, without any privilege.
func TestStaleFromInside(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/", "", "/..", ""))
	w.reader = inspect.Reader{PID: 70, CgroupNS: boxNS, UID: 1000}
	w.refused[initNS] = "setns: operation not permitted"
	w.finds("error stale-mount-root freezer 70", "info reader-not-initial", "info incomplete 1 900")
}

func TestIncomplete(t *testing.T) {
	hidden := proc{pid: 70, parent: 1, noNS: true, noMnt: true, noTable: true, at: []at{{"freezer", "/a", ""}}}
	w := newWorld(t, "freezer").add(hidden)
	f := w.one(w.finds("info incomplete 70"), "incomplete")
	if f.Message != "1 of 3 processes not looked at: 70 (ns/cgroup: permission denied)" || !slices.Equal(f.Remedy.Notes, []string{ToSee}) {
		t.Errorf("%s %q", f.Message, f.Remedy.Notes)
	}
	w.reader.UID = 1000
	w.reader.CanEnter = false
	w.add(boxed(80, "freezer", "/sub", "/", "/", "/.."), boxed(81, "freezer", "/sub", "/", "/", "/.."))
	w.refused[boxNS] = "setns: operation not permitted"
	w.skipped = []inspect.Skipped{{PID: 80, What: "cgroup namespace", Reason: "setns: operation not permitted"}}
	f = w.one(w.finds("info incomplete 70 80 81"), "incomplete")
	const want = "3 of 5 processes not looked at: 80 81 (cgroup namespace: setns: operation not permitted), 70 (ns/cgroup: permission denied); root would see 3 more"
	if f.Message != want || f.Evidence["processes"] != 3 {
		t.Errorf("%s\nwant %s", f.Message, want)
	}
	// Of some processes only what is about them.
	if r := w.doctor(readerPID); len(r.Findings) != 0 || r.Coverage.Skipped != 0 {
		t.Errorf("%+v %+v", r.Findings, r.Coverage)
	}
	// What no privilege lifts.
	w = newWorld(t, "freezer")
	w.skipped = []inspect.Skipped{{PID: 1, What: "mountinfo", Reason: "it has more than 200000 lines"}}
	for _, w.reader.UID = range []int{0, 1000} {
		w.reader.CanEnter = false
		if f := w.one(w.finds("info incomplete 1"), "incomplete"); f.Remedy.Notes != nil || strings.Contains(f.Message, "root would") {
			t.Errorf("%s %q", f.Message, f.Remedy.Notes)
		}
	}
}

func TestSome(t *testing.T) {
	for want, list := range map[string][]int{"": nil, "7": {7}, "1 2 3 4 5": {1, 2, 3, 4, 5}, "1 2 3 4 5 and 2 more": {1, 2, 3, 4, 5, 6, 7}} {
		if got := some(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestReport: the checks are all counted, and the severest comes first.
func TestReport(t *testing.T) {
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub", "/", "/", "/.."), docker(80, "freezer"))
	w.procs[3].mnt = boxMnt + 1
	r := w.finds("error stale-mount-root freezer 70", "info bind-leaf 80", "info host-cgroupns-in-container 80")
	if len(r.Checks) != len(Checks) {
		t.Fatalf("%d checks", len(r.Checks))
	}
	for i, c := range r.Checks {
		want := CheckResult{Check: Checks[i].Name, Examined: 4, Findings: len(checked(r, c.Check))}
		switch c.Check {
		case "reader-not-initial", "systemd-root-offset":
			want.Examined = 1
		case "threads-differ":
			want.Examined = 0 // nobody asked for threads
		}
		if c != want {
			t.Errorf("%+v, want %+v", c, want)
		}
	}
	if s, found := r.Worst(); !found || s != Error || r.Count(Info) != 2 || r.Count(Error) != 1 || r.Count(Warning) != 0 {
		t.Errorf("worst %s, %d info", s, r.Count(Info))
	}
	if s, found := (&Report{}).Worst(); found {
		t.Errorf("worst of nothing: %s", s)
	}
	if Headline("stale-mount-root", 1) != "1 cgroup mount shows the wrong tree" || Headline("stale-mount-root", 2) != "2 cgroup mounts show the wrong tree" || Headline("none", 2) != "none" {
		t.Error("headlines")
	}
}
