package compare

import (
	"fmt"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// largeHost is a host of processes in cgroup namespaces of their own: each with
// a mount namespace and fresh mounts, or all in one with stale ones.
func largeHost(b *testing.B, spaces, members int, stale bool) *inspect.Host {
	b.Helper()
	h := &inspect.Host{
		Reader: inspect.Reader{PID: 1, CgroupNS: inspect.InitialCgroupNS, CanEnter: true, SamePIDs: true},
		Tables: map[inspect.TableKey]*inspect.MountTable{},
	}
	for i := range spaces {
		name := fmt.Sprintf("/box/%d", i)
		host, own := hierarchiesAt(b, name), hierarchiesAt(b, "/")
		ns := &inspect.Namespace{NS: uint64(4026532000 + i), Entered: true}
		ns.Pairs = []inspect.Pair{{PID: 2 + i*members, Host: host, Own: own}}
		mnt, root := uint64(4026540000+i), name
		if stale {
			mnt, root = 4026540000, "/"
		}
		for j := range members {
			pid := 2 + i*members + j
			ns.Members = append(ns.Members, inspect.Task{PID: pid, TID: pid, CgroupNS: ns.NS, MntNS: mnt, Root: "/", Cgroups: host})
		}
		h.Tasks = append(h.Tasks, ns.Members...)
		h.Namespaces = append(h.Namespaces, ns)
		if key := ns.Members[0].Table(); h.Tables[key] == nil {
			h.Tables[key] = mountsShowing(b, root)
		}
	}
	return h
}

var labels = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"}

func hierarchiesAt(b *testing.B, path string) *inspect.Cgroups {
	b.Helper()
	text := "0::" + path + "\n"
	for i, label := range labels {
		text += fmt.Sprintf("%d:%s:%s\n", i+1, label, path)
	}
	c, err := inspect.ParseCgroups([]byte(text))
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func mountsShowing(b *testing.B, root string) *inspect.MountTable {
	b.Helper()
	text := "20 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
	text += "21 20 0:20 " + root + " /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	for i, label := range labels {
		text += fmt.Sprintf("%d 20 0:%d %s /sys/fs/cgroup/%s rw,relatime - cgroup cgroup rw,%s\n", 30+i, 30+i, root, label, label)
	}
	t, err := inspect.ParseMountInfo(strings.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// answer is what such a host would answer.
func answer(h *inspect.Host, own *inspect.Cgroups, q inspect.Questions) *inspect.Answers {
	a := &inspect.Answers{
		Probes: make([]inspect.ProbeAnswer, len(q.Probes)), Directories: make([]inspect.DirectoryAnswer, len(q.Directories)),
		Owners: make([]uint64, len(q.Owners)), Processes: make([]*inspect.Process, len(q.Processes)), Files: make([]inspect.FileAnswer, len(q.Files)),
	}
	for range q.Still {
		a.Still = append(a.Still, true)
	}
	for _, s := range q.Subjects {
		table := h.Tables[s.Task.Table()]
		inside := *table
		inside.Cgroup = nil
		for _, m := range table.Cgroup {
			m.Root = "/../.."
			inside.Cgroup = append(inside.Cgroup, m)
		}
		a.Subjects = append(a.Subjects, &inspect.Subject{
			Process: inspect.Process{Task: s.Task}, Host: inspect.View{Cgroups: s.Task.Cgroups, Mounts: table},
			Own: &inspect.View{Cgroups: own, Mounts: &inside},
		})
	}
	return a
}

// BenchmarkDiagnosis works through all checks for 10,000 processes in 500 cgroup
// namespaces.
func BenchmarkDiagnosis(b *testing.B) {
	for _, stale := range []bool{false, true} {
		name := "healthy"
		if stale {
			name = "stale"
		}
		b.Run(name, func(b *testing.B) {
			h, own := largeHost(b, 500, 20, stale), hierarchiesAt(b, "/")
			b.ReportAllocs()
			for b.Loop() {
				d := NewDiagnosis(h, nil)
				for q, more := d.Ask(); more; q, more = d.Ask() {
					d.Learn(answer(h, own, q))
				}
				if worst, found := d.Report().Worst(); stale != (found && worst == Error) {
					b.Fatalf("the worst finding is %q", worst)
				}
			}
		})
	}
}

func BenchmarkRel(b *testing.B) {
	for b.Loop() {
		if view, ok := Rel("/kubepods/burstable/pod0/one", "/kubepods/burstable/pod1/two/three"); !ok || view != "/../../pod1/two/three" {
			b.Fatal(view)
		}
	}
}
