package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
)

// threadsIn finds the threads, of any process but the reader, that use one of
// these mount namespaces though their leader does not, or uses it in another
// cgroup namespace. Those of which that may not be read are among them, without
// a mount namespace.
func (f *FS) threadsIn(ctx context.Context, mounts []uint64) ([]Task, error) {
	if len(mounts) == 0 {
		return nil, nil
	}
	if f.scanning != nil {
		f.scanning(true)
		defer f.scanning(false)
	}
	pids, err := f.tree.pids()
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var mu sync.Mutex
	var found []Task
	err = f.each(ctx, len(pids), func(i int, _ []byte) {
		if pids[i] == f.Reader.PID {
			return
		}
		threads := f.apart(pids[i], mounts)
		mu.Lock()
		defer mu.Unlock()
		found = append(found, threads...)
	})
	slices.SortFunc(found, func(a, b Task) int { return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.TID, b.TID)) })
	return found, err
}

// apart are those threads of one process. Who may not list them may not read
// their leader's links either, and so knows of the whole process nothing.
func (f *FS) apart(pid int, mounts []uint64) []Task {
	tids, err := f.tree.threads(pid)
	if err != nil || len(tids) < 2 {
		return nil
	}
	leader, _ := f.placeOf(pid, pid) // without any if it has ended
	var list []Task
	for _, tid := range tids {
		t, err := f.placeOf(pid, tid)
		elsewhere := t.MntNS != leader.MntNS || t.CgroupNS != leader.CgroupNS
		if tid != pid && err == nil && (t.MntNS == 0 || elsewhere && slices.Contains(mounts, t.MntNS)) {
			list = append(list, t)
		}
	}
	return list
}

// placeOf reads where a thread is; what it may not read is 0. The error says
// that the thread has ended.
func (f *FS) placeOf(pid, tid int) (Task, error) {
	t := Task{PID: pid, TID: tid}
	d, err := f.tree.process(pid, tid)
	if err != nil {
		if denied(err) {
			err = nil
		}
		return t, err
	}
	defer d.close()
	mnt, err := d.link("ns/mnt")
	if err != nil && !denied(err) {
		return t, err
	}
	t.MntNS = nsOf(mnt, err)
	t.CgroupNS = nsOf(d.link("ns/cgroup"))
	if t.MntNS == 0 || t.CgroupNS == 0 {
		return t, alive(d) // who ends loses its namespaces first
	}
	return t, nil
}
