package compare

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// pod is a host on cgroup v2 with processes in one private cgroup namespace
// whose root directory is /pod/box, in these cgroups below it. The reader is
// PID 1, in the initial one.
func pod(t *testing.T, cgroups ...string) *inspect.Host {
	t.Helper()
	mount := func(id int, root, point string) *inspect.MountTable {
		m, err := inspect.ParseMountInfo(strings.NewReader(fmt.Sprintf(
			"%d 0 8:1 / / rw - ext4 /dev/sda rw\n%d %d 0:30 %s %s rw - cgroup2 cgroup2 rw,nsdelegate\n", id, id+1, id, root, point)))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	files := func(path string) *inspect.Cgroups {
		c, err := inspect.ParseCgroups([]byte("0::" + path + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	reader := inspect.Task{PID: 1, TID: 1, CgroupNS: inspect.InitialCgroupNS, MntNS: 10, Root: "/", Cgroups: files("/init")}
	private := &inspect.Namespace{NS: 100, Entered: true}
	h := &inspect.Host{
		Reader: inspect.Reader{PID: 1, CgroupNS: inspect.InitialCgroupNS, CanEnter: true},
		Tasks:  []inspect.Task{reader},
		Own:    mount(20, "/", "/sys/fs/cgroup"), OwnCgroups: reader.Cgroups,
		Namespaces: []*inspect.Namespace{private, {NS: inspect.InitialCgroupNS, Entered: true, Members: []inspect.Task{reader}}},
	}
	for i, below := range cgroups {
		path := strings.TrimSuffix("/pod/box"+below, "/")
		task := inspect.Task{PID: 50 + i, TID: 50 + i, CgroupNS: 100, MntNS: 11, Root: "/", Cgroups: files(path)}
		h.Tasks = append(h.Tasks, task)
		private.Members = append(private.Members, task)
		private.Pairs = append(private.Pairs, inspect.Pair{PID: task.PID, Host: task.Cgroups, Own: files(below)})
	}
	h.Tables = map[inspect.TableKey]*inspect.MountTable{reader.Table(): h.Own, {MntNS: 11, Root: "/"}: mount(30, "/pod/box", "/sys/fs/cgroup")}
	return h
}

// again is how a task of the pod's reads when it is looked at once more.
func again(h *inspect.Host, t inspect.Task) *inspect.Subject {
	host := inspect.View{Cgroups: t.Cgroups, Mounts: h.Tables[t.Table()]}
	s := &inspect.Subject{Process: inspect.Process{Task: t}, Host: host, Own: &host}
	if t.CgroupNS == 100 {
		mounts := *host.Mounts
		mounts.Cgroup = slices.Clone(mounts.Cgroup)
		mounts.Cgroup[0].Root = "/"
		pairs := h.Namespaces[0].Pairs
		i := slices.IndexFunc(pairs, func(p inspect.Pair) bool { return p.PID == t.PID })
		s.Own = &inspect.View{Cgroups: pairs[i].Own, Mounts: &mounts}
	}
	return s
}

// diagnose answers what a diagnosis asks: of cgroup files from texts by
// "/cgroup/file", of which all others are missing.
func diagnose(h *inspect.Host, d *Diagnosis, texts map[string]string) (*Report, []inspect.Questions) {
	var asked []inspect.Questions
	for q, more := d.Ask(); more; q, more = d.Ask() {
		asked = append(asked, q)
		a := &inspect.Answers{
			Processes: make([]*inspect.Process, len(q.Processes)), Owners: make([]uint64, len(q.Owners)), Probes: make([]inspect.ProbeAnswer, len(q.Probes)),
		}
		for _, s := range q.Subjects {
			a.Subjects = append(a.Subjects, again(h, s.Task))
		}
		for range q.Still {
			a.Still = append(a.Still, true)
		}
		for _, f := range q.Files {
			text, ok := texts["/"+f.Path+"/"+f.Name]
			a.Files = append(a.Files, inspect.FileAnswer{Text: text, Missing: !ok})
			if !ok {
				a.Files[len(a.Files)-1].Err = "no such file or directory"
			}
		}
		d.Learn(a)
	}
	return d.Report(), asked
}

// The limit of one ancestor is one fact, however many cgroups below say more;
// one that promises another limit is another.
func TestAncestorLimitIsToldOnce(t *testing.T) {
	h := pod(t, "/", "/a", "/b", "/c/d")
	r, _ := diagnose(h, NewDiagnosis(h, nil), map[string]string{
		"/pod/memory.max": "1000\n", "/pod/box/memory.max": "max\n",
		"/pod/box/a/memory.max": "max\n", "/pod/box/b/memory.max": "2000\n", "/pod/box/c/memory.max": "max\n", "/pod/box/c/d/memory.max": "max\n",
	})
	type told struct {
		severity           Severity
		ancestor, limit    any
		ancestorLimit, pid any
		pids               string
	}
	want := []told{
		{Warning, "/pod", "2000 bytes", "1000 bytes", 52, "[52]"},
		{Info, "/pod", "no limit", "1000 bytes", 50, "[50 51 53]"},
	}
	var got []told
	for _, f := range r.Findings {
		if f.Check == "tighter-ancestor-limit" {
			got = append(got, told{f.Severity, f.Evidence["ancestor"], f.Evidence["limit"], f.Evidence["ancestor_limit"], f.PID, fmt.Sprint(f.PIDs)})
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%v, want\n%v", got, want)
	}
}

// What only a check that was not chosen wants to know is not asked, and a check
// that was not chosen is not reported.
func TestChosenChecksAskForThemselves(t *testing.T) {
	files := []string{"/pod/memory.max", "/pod/box/memory.max", "/pod/box/a/memory.max"}
	for name, wantFiles := range map[string]bool{
		"tighter-ancestor-limit": true, "stale-mount-root": false, "manager-cgroup-readonly": false, "namespace-without-process": false,
	} {
		h := pod(t, "/a")
		d := NewDiagnosis(h, nil)
		chosen, err := Select([]string{name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Choose(chosen)
		r, asked := diagnose(h, d, map[string]string{})
		var seen []string
		openFiles := false
		for _, q := range asked {
			for _, f := range q.Files {
				seen = append(seen, "/"+f.Path+"/"+f.Name)
			}
			openFiles = openFiles || q.OpenNamespaces
			if len(q.Processes) > 0 {
				t.Errorf("%s asks what %v are", name, q.Processes)
			}
		}
		for _, f := range files {
			if slices.Contains(seen, f) != wantFiles {
				t.Errorf("%s asks for %v", name, seen)
			}
		}
		if openFiles != (name == "namespace-without-process") {
			t.Errorf("%s asks for open files: %v", name, openFiles)
		}
		if len(r.Checks) != 1 || r.Checks[0].Check != name {
			t.Errorf("%s: reported are %v", name, r.Checks)
		}
	}
}

// Of whom it could not look at, a check says nothing.
func TestExamined(t *testing.T) {
	examined := func(h *inspect.Host, only []int, texts map[string]string) map[string]int {
		r, _ := diagnose(h, NewDiagnosis(h, only), texts)
		n := map[string]int{}
		for _, c := range r.Checks {
			n[c.Check] = c.Examined
		}
		return n
	}
	expect := func(what string, got map[string]int, want map[string]int) {
		t.Helper()
		for check, n := range want {
			if got[check] != n {
				t.Errorf("%s: %s examined %d, want %d", what, check, got[check], n)
			}
		}
	}
	all := map[string]string{"/pod/box/a/memory.max": "max"}
	expect("everything seen", examined(pod(t, "/", "/a"), nil, all), map[string]int{
		"dead-root": 3, "stale-mount-root": 3, "tighter-ancestor-limit": 3, "no-cgroup-mount": 3, "writable-host-hierarchy": 3,
		"namespace-without-process": 3, "delegation-not-enforced": 3, "threads-differ": 0, "incomplete": 3, "reader-not-initial": 1,
		"systemd-root-offset": 0, // what PID 1 is was not answered
	})

	h := pod(t, "/", "/a")
	h.Tables[inspect.TableKey{MntNS: 11, Root: "/"}].Incomplete = "it is too long"
	expect("mounts cut off", examined(h, nil, all), map[string]int{"dead-root": 3, "stale-mount-root": 1, "no-cgroup-mount": 1, "bind-leaf": 1})

	h = pod(t, "/", "/a")
	h.Namespaces[0].Entered, h.Namespaces[0].Pairs = false, nil
	expect("not entered", examined(h, nil, all), map[string]int{
		"dead-root": 1, "stale-mount-root": 1, "visitor": 1, "no-cgroup-mount": 3, "cgroup-driver-mismatch": 3, "incomplete": 3,
	})

	h = pod(t, "/", "/a")
	h.Own = nil
	expect("the reader's mounts unknown", examined(h, nil, nil), map[string]int{
		"controller-mount-missing": 0, "host-cgroupns-in-container": 0, "tighter-ancestor-limit": 0, "delegation-not-enforced": 0, "dead-root": 3,
	})

	h = pod(t, "/", "/a")
	h.OwnCgroups = nil // so that no mount is known to be of cgroup v2
	expect("no limit readable", examined(h, nil, nil), map[string]int{"tighter-ancestor-limit": 1, "dead-root": 3})

	h = pod(t, "/", "/a")
	h.Reader.UID = 1000
	expect("an ordinary user", examined(h, nil, all), map[string]int{"namespace-without-process": 0})

	h = pod(t, "/", "/a")
	h.Want.ThreadsOf = []int{50}
	expect("one process", examined(h, []int{50}, all), map[string]int{
		"dead-root": 1, "threads-differ": 1, "namespace-without-process": 0, "delegation-not-enforced": 0, "incomplete": 1,
	})
}
