package compare

import (
	"math/rand"
	"slices"
	"testing"

	"nsinspect/inspect"
)

// slow judges visitors one by one, by walking from each process upwards.
type slow struct {
	family
	members []inspect.Task
}

// first is the first task with a process ID.
func (s slow) first(pid int) (inspect.Task, bool) {
	i := slices.IndexFunc(s.tasks, func(t inspect.Task) bool { return t.PID == pid })
	if i < 0 {
		return inspect.Task{}, false
	}
	return s.tasks[i], true
}

// arrival is the nearest process above a task for which is holds, and the one
// of its line below that.
func (s slow) arrival(t inspect.Task, is func(inspect.Task) bool) (first int, from inspect.Task, ok bool) {
	if leader, _ := s.first(t.PID); leader.TID != t.TID && is(leader) {
		return t.PID, leader, true
	}
	for pid := t.PID; ; pid = s.kin[pid].Parent {
		kin, ok := s.kin[pid]
		if !ok {
			return 0, inspect.Task{}, false
		}
		if parent, ok := s.first(kin.Parent); ok && is(parent) {
			return pid, parent, true
		}
		if kin.Parent == 0 {
			return pid, inspect.Task{}, pid != 1 && !kin.Kernel
		}
	}
}

func (s slow) descends(pid, from int) bool {
	for pid != 0 {
		if pid = s.kin[pid].Parent; pid == from {
			return true
		}
	}
	return false
}

func (s slow) natives(t inspect.Task, first int, live func(inspect.Task) bool) (n natives) {
	for _, m := range s.members {
		if m.PID == first || !live(m) {
			continue
		}
		if s.descends(m.PID, first) {
			n.children = true
			continue
		}
		a, ok1 := s.kin[m.PID]
		b, ok2 := s.kin[first]
		n.any = true
		n.older = n.older || ok1 && ok2 && a.Started < b.Started
		n.beside = n.beside || m.MntNS == t.MntNS
	}
	return n
}

func (s slow) guest(t inspect.Task, from inspect.Task) bool {
	return t.MntNS != 0 && from.MntNS == t.MntNS && from.Cgroups == t.Cgroups &&
		slices.ContainsFunc(s.members, func(m inspect.Task) bool {
			return m.MntNS != 0 && m.MntNS != t.MntNS && m.PID != t.PID && !s.descends(m.PID, t.PID) && !s.descends(t.PID, m.PID)
		})
}

// drawFamily is a random one of processes in few namespaces and cgroups, some
// with a thread elsewhere, and of whom not all is known.
func drawFamily(rng *rand.Rand, cgroups []*inspect.Cgroups) family {
	f := family{kin: map[int]inspect.Kin{}}
	draw := func(pid, tid int) inspect.Task {
		return inspect.Task{
			PID: pid, TID: tid, CgroupNS: uint64(rng.Intn(4)), MntNS: uint64(rng.Intn(4)), Root: "/",
			Cgroups: cgroups[rng.Intn(len(cgroups))],
		}
	}
	for pid := 1; pid <= 16; pid++ {
		if rng.Intn(20) > 0 {
			f.kin[pid] = inspect.Kin{Parent: rng.Intn(pid), Started: uint64(pid), PIDNS: hostPID, Kernel: rng.Intn(8) == 0}
		}
		f.tasks = append(f.tasks, draw(pid, pid))
		if rng.Intn(5) == 0 {
			f.tasks = append(f.tasks, draw(pid, 100+pid))
		}
	}
	return f
}

// TestVisitsAsDefined has random families judged both ways.
func TestVisitsAsDefined(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	w := newWorld(t, "freezer")
	var cgroups []*inspect.Cgroups
	for _, path := range []string{"/box", "/box/a", "/user", "/"} {
		cgroups = append(cgroups, w.cgroups([]at{{"freezer", path, ""}}, false))
	}
	freezer := cgroups[0].Memberships[0].Hierarchy
	roots := Roots{"freezer": {Hierarchy: freezer, Path: "/box", Known: Entered, Life: Alive}}
	told := map[bool]int{}
	for range 3000 {
		f := drawFamily(rng, cgroups)
		v := f.visits()
		of := func(is func(inspect.Task) bool) []inspect.Task {
			return slices.DeleteFunc(slices.Clone(f.tasks), func(t inspect.Task) bool { return !is(t) })
		}
		for _, task := range f.tasks {
			if task.CgroupNS == 0 {
				continue
			}
			members := of(func(m inspect.Task) bool { return m.CgroupNS == task.CgroupNS })
			ns := &inspect.Namespace{NS: task.CgroupNS, Members: members}
			s := slow{f, members}

			at, _ := task.Cgroups.Of("freezer")
			views := []HierarchyView{{Hierarchy: freezer, HostPath: at.Path, NamespacePath: "/.." + at.Path}}
			inside := func(m inspect.Task) bool { return m.Cgroups == cgroups[0] || m.Cgroups == cgroups[1] }
			first, from, ok := s.arrival(task, func(a inspect.Task) bool { return a.CgroupNS != task.CgroupNS || inside(a) })
			n := s.natives(task, first, inside)
			want := ok && from.CgroupNS != task.CgroupNS && (v.orphan(arrival{first, from, ok}, n) || n.any && !n.children && stayed(from, views))
			got := v.cgroupVisitor(task, views, v.cgroupHome(ns, roots, views))
			if told[want]++; got != want {
				t.Fatalf("in the cgroup namespace: %v, want %v, of %+v", got, want, task)
			}

			_, from, ok = s.arrival(task, func(a inspect.Task) bool { return a.CgroupNS != task.CgroupNS })
			want = ok && s.guest(task, from)
			if told[want]++; v.guest(task, ns) != want {
				t.Fatalf("guest: want %v of %+v", want, task)
			}

			s.members = of(func(m inspect.Task) bool { return m.MntNS == task.MntNS })
			first, from, ok = s.arrival(task, func(a inspect.Task) bool { return a.MntNS != task.MntNS })
			n = s.natives(task, first, func(m inspect.Task) bool {
				return m.CgroupNS != 0 && (m.CgroupNS != task.CgroupNS || m.Cgroups != task.Cgroups)
			})
			want = ok && task.MntNS != 0 && (from.PID == 0 || from.CgroupNS == task.CgroupNS) &&
				(v.orphan(arrival{first, from, ok}, n) || n.any && (from.PID == 0 || from.Cgroups == task.Cgroups))
			if told[want]++; v.mountVisitor(task, s.members) != want {
				t.Fatalf("in the mounts: want %v of %+v", want, task)
			}
		}
	}
	if told[true] < 1000 || told[false] < 1000 {
		t.Errorf("%d are visitors, %d are not", told[true], told[false])
	}
}
