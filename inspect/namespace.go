package inspect

import (
	"context"
	"errors"
	"io"
	"os"
	"sort"
	"sync"

	"golang.org/x/sys/unix"
)

// group collects the tasks of each cgroup namespace.
func (h *Host) group() {
	by := map[uint64]*Namespace{}
	for _, t := range h.Tasks {
		if t.CgroupNS == 0 {
			continue
		}
		ns := by[t.CgroupNS]
		if ns == nil {
			ns = &Namespace{NS: t.CgroupNS, Entered: t.CgroupNS == h.Reader.CgroupNS}
			by[t.CgroupNS] = ns
			h.Namespaces = append(h.Namespaces, ns)
		}
		ns.Members = append(ns.Members, t)
	}
	sort.Slice(h.Namespaces, func(i, j int) bool { return h.Namespaces[i].NS < h.Namespaces[j].NS })
}

// readNamespaces goes once into each namespace that is not the reader's, or
// only into one of them.
func (f *FS) readNamespaces(ctx context.Context, h *Host, only uint64) error {
	var others []*Namespace
	for _, ns := range h.Namespaces {
		if !ns.Entered && (only == 0 || only == ns.NS) {
			others = append(others, ns)
		}
	}
	var mu sync.Mutex
	entrants := make(chan entrant, f.jobs)
	for range min(f.jobs, len(others)) {
		entrants <- f.tree.entrant()
	}
	err := f.each(ctx, len(others), func(i int, buf []byte) {
		e := <-entrants
		skip := f.readNamespace(e, others[i], buf)
		entrants <- e
		f.inside.Add(1)
		if skip != nil {
			mu.Lock()
			h.Skipped = append(h.Skipped, *skip)
			mu.Unlock()
		}
	})
	close(entrants)
	for e := range entrants {
		e.close()
	}
	return err
}

// readNamespace reads members in both views until the root directory follows
// for every hierarchy, which the first member inside it gives, or no member is
// left.
func (f *FS) readNamespace(e entrant, ns *Namespace, buf []byte) *Skipped {
	tried := map[*Cgroups]bool{}
	settled := map[string]bool{}
	var refused error
	for _, t := range ns.Members {
		if t.Cgroups != nil && tried[t.Cgroups] {
			continue
		}
		p, err := f.readPair(e, t, buf)
		if err != nil {
			if !fleeting(err) {
				refused = err
				break
			}
			continue
		}
		tried[p.Host] = true
		ns.Entered = true
		ns.Pairs = append(ns.Pairs, p)
		if settle(settled, p) {
			break
		}
	}
	if ns.Entered {
		return nil
	}
	if refused == nil {
		ns.Reason = "its members ended or moved while they were read"
		return nil
	}
	ns.Reason = reason(refused)
	return &Skipped{PID: ns.Members[0].PID, What: "cgroup namespace", Reason: ns.Reason}
}

// settle notes the hierarchies that p lies inside of, and tells whether all are
// settled.
func settle(settled map[string]bool, p Pair) bool {
	all := true
	for _, m := range p.Own.Memberships {
		if !Outside(m.Path) {
			settled[m.Hierarchy.Label] = true
		}
		all = all && settled[m.Hierarchy.Label]
	}
	return all
}

// readPair reads a member's cgroup file outside, inside and outside again, and
// gives the pair only if nothing changed and the process is not exiting: then
// the kernel shows "/" for v1 whatever the reader (proc_cgroup_show).
func (f *FS) readPair(e entrant, t Task, buf []byte) (Pair, error) {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return Pair{}, err
	}
	defer d.close()
	for range maxTries {
		before, err := f.readCgroups(d, buf)
		if err != nil {
			return Pair{}, err
		}
		var own *Cgroups
		err = e.in(d, t.CgroupNS, func(in lens) error {
			text, err := in.read(d, "cgroup", buf)
			if err == nil {
				own, err = f.intern.cgroups(text)
			}
			return err
		})
		if err != nil {
			return Pair{}, err
		}
		after, err := f.readCgroups(d, buf)
		if err != nil {
			return Pair{}, err
		}
		if ns, err := cgroupNS(d); err != nil || ns != t.CgroupNS {
			return Pair{}, errors.Join(errChanged, err)
		}
		var p Process
		if err := readStat(d, &p); err != nil || p.Exiting {
			return Pair{}, errors.Join(errNoNamespace, err)
		}
		if before == after {
			return Pair{PID: t.PID, Host: before, Own: own}, nil
		}
	}
	return Pair{}, errMoving
}

func (f *FS) readCgroups(d dir, buf []byte) (*Cgroups, error) {
	text, err := d.read("cgroup", buf)
	if err != nil {
		return nil, err
	}
	return f.intern.cgroups(text)
}

// readTables reads one mountinfo for each table that tasks in known namespaces
// have, from the first task that still gives it.
func (f *FS) readTables(ctx context.Context, h *Host) error {
	owners := map[TableKey][]Task{}
	var keys []TableKey
	for _, t := range h.Tasks {
		if t.CgroupNS == 0 || t.MntNS == 0 {
			continue
		}
		k := t.Table()
		if owners[k] == nil {
			keys = append(keys, k)
		}
		owners[k] = append(owners[k], t)
	}
	var mu sync.Mutex
	return f.each(ctx, len(keys), func(i int, _ []byte) {
		var last error
		for _, t := range owners[keys[i]] {
			table, err := f.readTable(t)
			if err == nil {
				mu.Lock()
				h.Tables[keys[i]] = table
				if table.Incomplete != "" {
					h.Skipped = append(h.Skipped, Skipped{PID: t.PID, What: "mountinfo", Reason: table.Incomplete})
				}
				mu.Unlock()
				return
			}
			last = err
		}
		if last != nil && !fleeting(last) {
			mu.Lock()
			h.Skipped = append(h.Skipped, Skipped{PID: owners[keys[i]][0].PID, What: "mountinfo", Reason: reason(last)})
			mu.Unlock()
		}
	})
}

// readTable reads a task's mountinfo if it still is where it was seen.
func (f *FS) readTable(t Task) (*MountTable, error) {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return nil, err
	}
	defer d.close()
	table, err := mountTable(d)
	if err != nil {
		return nil, err
	}
	if nsOf(d.link("ns/mnt")) != t.MntNS {
		return nil, errChanged
	}
	if root, err := d.link("root"); err != nil || root != t.Root {
		return nil, errChanged
	}
	return table, nil
}

func mountTable(d dir) (*MountTable, error) {
	return tableFrom(d.open("mountinfo"))
}

func tableFrom(file io.ReadCloser, err error) (*MountTable, error) {
	if err == unix.EINVAL {
		return nil, errNoNamespace // mounts_open_common in fs/proc_namespace.c
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ParseMountInfo(file)
}

// ownTable returns the reader's own mount table. A procfs of another PID
// namespace does not show the reader; the kernel's own one, under its usual
// name, then does.
func (f *FS) ownTable() (*MountTable, error) {
	pid := f.Reader.PID
	if pid == 0 && f.tree.live() {
		return tableFrom(os.Open("/proc/self/mountinfo"))
	}
	if pid == 0 {
		return nil, errNoReader
	}
	d, err := f.tree.process(pid, pid)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return mountTable(d)
}

// someCgroups returns the cgroup file of the reader, or of the first task that
// has one: it names the hierarchies.
func (f *FS) someCgroups(tasks []Task) *Cgroups {
	candidates := append([]Task{{PID: f.Reader.PID, TID: f.Reader.PID}}, tasks...)
	for _, t := range candidates {
		if t.PID == 0 {
			continue
		}
		d, err := f.tree.process(t.PID, t.TID)
		if err != nil {
			continue
		}
		c, err := f.readCgroups(d, nil)
		d.close()
		if err == nil {
			return c
		}
	}
	return nil
}

// errNoReader says that the procfs does not show the reader.
var errNoReader = errors.New("this procfs does not show the reader")

// fleeting tells whether an error only says that a process moved or ended while
// it was read.
func fleeting(err error) bool {
	return gone(err) || errors.Is(err, errChanged) || errors.Is(err, errNoNamespace) || errors.Is(err, errMoving)
}
