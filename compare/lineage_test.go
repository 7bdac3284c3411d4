package compare

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"nsinspect/inspect"
)

// TestSpans: an order tells who descends from whom as a walk upwards does.
func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 300 {
		f := family{kin: map[int]inspect.Kin{}}
		for pid := 1; pid <= 30; pid++ {
			// Some have a parent of which nothing is known, and some none.
			f.kin[pid] = inspect.Kin{Parent: rng.Intn(pid) - rng.Intn(2)*rng.Intn(3)*50}
		}
		descends := func(pid, from int) bool {
			for kin, ok := f.kin[pid]; ok && kin.Parent != 0; kin, ok = f.kin[kin.Parent] {
				if kin.Parent == from {
					return true
				}
			}
			return false
		}
		spans := f.spans()
		for a := 1; a <= 30; a++ {
			for b := 1; b <= 30; b++ {
				s, of := spans[b], spans[a]
				if got, want := s.at > of.at && s.at < of.end, descends(b, a); got != want {
					t.Fatalf("%d descends from %d: %v, want %v: %v", b, a, got, want, f.kin)
				}
			}
		}
	}
}

// TestRing: recorded facts may have processes be each other's parents, which
// leads to no end and makes nobody a visitor.
func TestRing(t *testing.T) {
	user := []at{{"freezer", "/user", "/../user"}}
	w := newWorld(t, "freezer").add(shim, native,
		proc{pid: 300, parent: 1, ns: boxNS, mnt: boxMnt, at: user}, proc{pid: 301, parent: 1, ns: boxNS, mnt: boxMnt, at: user})
	w.answered = func(a *inspect.Answers) {
		for pid, parent := range map[int]int{300: 301, 301: 300, 70: 70} {
			if kin, ok := a.Kin[pid]; ok {
				kin.Parent = parent
				a.Kin[pid] = kin
			}
		}
	}
	w.finds("error process-outside-root freezer 300 301")
}

// TestLeast: two numbers of different kinds tell the least without any one kind.
func TestLeast(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 2000 {
		var l least[int]
		of := map[int]int{}
		for range rng.Intn(8) {
			kind, number := rng.Intn(4), rng.Intn(20)-10
			l.add(kind, number)
			if have, ok := of[kind]; !ok || number < have {
				of[kind] = number
			}
		}
		for kind := range 5 {
			want, some := 0, false
			for other, number := range of {
				if other != kind && (!some || number < want) {
					want, some = number, true
				}
			}
			if got := l.but(kind); some && got != want || !some && got < 1000 {
				t.Fatalf("without %d: %d, want %d of %v", kind, got, want, of)
			}
		}
	}
}

// crowded is a host on which n processes entered a container, each the child of
// the one before, and with cgroups of its own if they are apart; and what they
// answer. In the container lives one process.
func crowded(tb testing.TB, n int, how string) (*inspect.Host, func(inspect.Questions) *inspect.Answers) {
	tb.Helper()
	parse := func(path string) *inspect.Cgroups {
		c, err := inspect.ParseCgroups([]byte("6:freezer:" + path + "\n"))
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	table := func(root string) *inspect.MountTable {
		m, err := inspect.ParseMountInfo(strings.NewReader("20 1 8:1 / / rw - ext4 /dev/sda rw\n21 20 0:6 " + root + " /f rw - cgroup cgroup rw,freezer\n"))
		if err != nil {
			tb.Fatal(err)
		}
		return m
	}
	host, user, box := parse("/"), parse("/user"), parse("/box")
	task := func(pid int, ns, mnt uint64, c *inspect.Cgroups) inspect.Task {
		return inspect.Task{PID: pid, TID: pid, CgroupNS: ns, MntNS: mnt, Root: "/", Cgroups: c}
	}
	tasks := []inspect.Task{task(1, initNS, hostMnt, host), task(2, boxNS, boxMnt, box), task(3, initNS, hostMnt, user)}
	kin := map[int]inspect.Kin{1: {}, 2: {Parent: 1, Started: 2}, 3: {Parent: 1, Started: 3}}
	own := map[*inspect.Cgroups]*inspect.Cgroups{host: parse("/.."), user: parse("/../user"), box: parse("/")}
	for pid := 4; pid < n+4; pid++ {
		at := user
		if strings.Contains(how, "apart") {
			at = parse(fmt.Sprintf("/user/%d", pid))
			own[at] = parse(fmt.Sprintf("/../user/%d", pid))
		}
		ns := uint64(boxNS)
		if strings.Contains(how, "mounts") {
			ns = initNS
		}
		tasks = append(tasks, task(pid, ns, boxMnt, at))
		kin[pid] = inspect.Kin{Parent: pid - 1, Started: uint64(pid)}
	}
	hosts, boxes := table("/"), table("/box")
	h := &inspect.Host{
		Reader: inspect.Reader{PID: 1, CgroupNS: initNS, CanEnter: true, SamePIDs: true, WholeHost: true},
		Tasks:  tasks, Own: hosts, OwnCgroups: host,
		Namespaces: []*inspect.Namespace{{NS: initNS, Entered: true}, {NS: boxNS, Entered: true, Pairs: []inspect.Pair{{PID: 2, Host: box, Own: own[box]}}}},
		Tables:     map[inspect.TableKey]*inspect.MountTable{tasks[0].Table(): hosts, tasks[1].Table(): boxes},
	}
	for _, t := range tasks {
		ns := h.Namespaces[0]
		if t.CgroupNS == boxNS {
			ns = h.Namespaces[1]
		}
		ns.Members = append(ns.Members, t)
	}
	inside := table("/")
	return h, func(q inspect.Questions) *inspect.Answers {
		a := &inspect.Answers{
			Kin: kin, Probes: make([]inspect.ProbeAnswer, len(q.Probes)), Directories: make([]inspect.DirectoryAnswer, len(q.Directories)),
			Owners: make([]uint64, len(q.Owners)), Processes: make([]*inspect.Process, len(q.Processes)), Files: make([]inspect.FileAnswer, len(q.Files)),
			Tables: make([]*inspect.MountTable, len(q.Tables)), Still: make([]bool, len(q.Still)),
		}
		for i := range a.Still {
			a.Still[i] = true
		}
		for _, s := range q.Subjects {
			view := &inspect.View{Cgroups: own[s.Task.Cgroups], Mounts: inside}
			if s.Task.CgroupNS == initNS {
				view = &inspect.View{Cgroups: s.Task.Cgroups, Mounts: boxes}
			}
			a.Subjects = append(a.Subjects, &inspect.Subject{
				Process: inspect.Process{Task: s.Task}, Host: inspect.View{Cgroups: s.Task.Cgroups, Mounts: boxes}, Own: view,
			})
		}
		return a
	}
}

// TestCrowds: of 20,000 processes in one line each is told as what it is, and in
// time.
func TestCrowds(t *testing.T) {
	const n = 20_000
	for how, want := range map[string]string{
		"cgroups": "visitor", "mounts": "visitor",
		// They moved on: their nearest ancestor in another namespace is elsewhere.
		"cgroups, apart": "process-outside-root", "mounts, apart": "path-not-under-mount",
	} {
		t.Run(how, func(t *testing.T) {
			h, answer := crowded(t, n, how)
			began := time.Now()
			d := NewDiagnosis(h, nil)
			d.Choose(nil)
			for q, more := d.Ask(); more; q, more = d.Ask() {
				d.Learn(answer(q))
			}
			visitors, natives := 0, 0
			for _, g := range d.groups {
				visitors += len(g.visitors)
				natives += len(g.tasks)
			}
			if want == "visitor" && visitors != n || want != "visitor" && visitors != 0 || visitors+natives != n+3 {
				t.Errorf("%d visitors, %d natives", visitors, natives)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func BenchmarkVisits(b *testing.B) {
	for _, how := range []string{"cgroups", "mounts", "cgroups, apart", "mounts, apart"} {
		for _, n := range []int{2500, 5000, 10_000, 20_000} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(how, ", ", "-"), n), func(b *testing.B) {
				h, answer := crowded(b, n, how)
				d := NewDiagnosis(h, nil)
				d.Choose(nil)
				q, _ := d.Ask()
				d.Learn(answer(q))
				visitors := 0
				for b.Loop() {
					v := d.family.visits()
					visitors = 0
					for _, g := range d.groups {
						g.tasks, g.visitors = append(g.tasks, g.visitors...), nil
						if g.subject != nil {
							d.setApart(g, v)
						}
						visitors += len(g.visitors)
					}
				}
				if (visitors == n) == strings.Contains(how, "apart") {
					b.Errorf("%d visitors", visitors)
				}
			})
		}
	}
}
