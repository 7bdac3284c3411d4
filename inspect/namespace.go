package inspect

import (
	"context"
	"errors"
	"slices"
	"sort"
)

// group collects the tasks of each cgroup namespace.
func (h *Host) group() {
	by := map[uint64]int{}
	var sizes []int
	of := make([]int, len(h.Tasks)) // the namespace of each task
	for i, t := range h.Tasks {
		if t.CgroupNS == 0 {
			of[i] = -1
			continue
		}
		n, ok := by[t.CgroupNS]
		if !ok {
			n = len(h.Namespaces)
			by[t.CgroupNS] = n
			h.Namespaces = append(h.Namespaces, &Namespace{NS: t.CgroupNS, Entered: t.CgroupNS == h.Reader.CgroupNS})
			sizes = append(sizes, 0)
		}
		of[i] = n
		sizes[n]++
	}
	for i, t := range h.Tasks {
		if of[i] >= 0 {
			ns := h.Namespaces[of[i]]
			if ns.Members == nil {
				ns.Members = make([]Task, 0, sizes[of[i]])
			}
			ns.Members = append(ns.Members, t)
		}
	}
	sort.Slice(h.Namespaces, func(i, j int) bool { return h.Namespaces[i].NS < h.Namespaces[j].NS })
}

// readNamespaces goes once into each namespace that is not the reader's, or
// only into one of them.
func (f *FS) readNamespaces(ctx context.Context, h *Host, want Want) error {
	var others []*Namespace
	for _, ns := range h.Namespaces {
		if !ns.Entered && (want.Only == 0 || want.Only == ns.NS) {
			others = append(others, ns)
		}
	}
	refused := make([]error, len(others))
	for i := range refused {
		refused[i] = errAstray
	}
	err := f.share(ctx, len(others), func(next func() (int, bool)) {
		f.tree.entering(func(e entrant) {
			for i, ok := next(); ok; i, ok = next() {
				refused[i] = f.readNamespace(e, others[i], want)
				f.inside.Add(1)
			}
		})
	})
	for i, ns := range others {
		if refused[i] != nil && !ns.Entered {
			ns.Reason = reason(refused[i])
			h.Skipped = append(h.Skipped, Skipped{PID: ns.Members[0].PID, What: "cgroup namespace", Reason: ns.Reason})
		}
	}
	return err
}

// readNamespace reads members in both views until the root directory follows
// for every hierarchy, which the first member inside it gives, or no member is
// left. The error says why it may not.
func (f *FS) readNamespace(e entrant, ns *Namespace, want Want) error {
	tried := map[*Cgroups]bool{}
	settled := map[string]bool{}
	for i, t := range ns.Members {
		if t.Cgroups != nil && tried[t.Cgroups] {
			continue
		}
		first := &ns.First
		if i > 0 || !want.First {
			first = nil
		}
		p, err := f.readPair(e, t, first)
		if err != nil {
			if fleeting(err) {
				continue
			}
			return err
		}
		tried[p.Host] = true
		ns.Entered = true
		ns.Pairs = append(ns.Pairs, p)
		if settle(settled, p) {
			break
		}
	}
	if !ns.Entered {
		ns.Reason = "its members ended or moved while they were read"
	}
	return nil
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

// readPair reads a member's cgroup file in both views, and gives the pair only
// if the process is not exiting. It describes it in first, if there is such.
func (f *FS) readPair(e entrant, t Task, first *Process) (Pair, error) {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return Pair{}, err
	}
	defer d.close()
	g, err := e.open(d, t.CgroupNS)
	if err != nil {
		return Pair{}, err
	}
	defer g.close()
	host, own, err := f.both(g, d)
	if err != nil {
		return Pair{}, err
	}
	if ns, err := cgroupNS(d); err != nil || ns != t.CgroupNS {
		return Pair{}, errors.Join(errChanged, err)
	}
	if mayExit(host) {
		if err := alive(d); err != nil {
			return Pair{}, err
		}
	}
	if p := (Process{Task: t}); first != nil && f.introduce(d, &p) == nil {
		*first = p
	}
	return Pair{PID: t.PID, Host: host, Own: own}, nil
}

// mayExit tells whether a process may have been exiting when its cgroup file
// was read, twice the same. The kernel then shows "/" for every v1 hierarchy,
// whoever reads (proc_cgroup_show), so that any other path there proves that it
// was not.
func mayExit(c *Cgroups) bool {
	v1 := false
	for _, m := range c.Memberships {
		if m.Hierarchy.Version() == 1 {
			if m.Path != "/" {
				return false
			}
			v1 = true
		}
	}
	return v1
}

// readFirsts describes the first living member of each namespace, and drops the
// namespaces that nobody is left in.
func (f *FS) readFirsts(ctx context.Context, h *Host) error {
	err := f.each(ctx, len(h.Namespaces), func(i int, _ []byte) {
		if h.Namespaces[i].First.PID == 0 {
			f.readFirst(h.Namespaces[i])
		}
	})
	h.Namespaces = slices.DeleteFunc(h.Namespaces, func(ns *Namespace) bool { return len(ns.Members) == 0 })
	return err
}

// readFirst drops the members that have ended, or left, from before the first.
func (f *FS) readFirst(ns *Namespace) {
	for ; len(ns.Members) > 0; ns.Members = ns.Members[1:] {
		p, err := f.describeMember(ns.Members[0])
		if err == nil {
			ns.First = p
		}
		if err == nil || !fleeting(err) {
			return
		}
	}
}

func (f *FS) readCgroups(d dir, buf []byte) (*Cgroups, error) {
	text, err := d.read("cgroup", buf)
	if err != nil {
		return nil, err
	}
	return f.intern.cgroups(text)
}

// someCgroups returns the cgroup file of the reader, or of the first task that
// has one: it names the hierarchies.
func (f *FS) someCgroups(tasks []Task) *Cgroups {
	if c := f.cgroupsOf(Task{PID: f.Reader.PID, TID: f.Reader.PID}); c != nil {
		return c
	}
	for _, t := range tasks {
		if c := f.cgroupsOf(t); c != nil {
			return c
		}
	}
	return nil
}

// cgroupsOf returns a task's cgroup file; nil if there is none to be read.
func (f *FS) cgroupsOf(t Task) *Cgroups {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return nil
	}
	defer d.close()
	c, err := f.readCgroups(d, nil)
	if err != nil {
		return nil
	}
	return c
}

// errNoReader says that the procfs does not show the reader.
var errNoReader = errors.New("this procfs does not show the reader")

// fleeting tells whether an error only says that a process moved or ended while
// it was read.
func fleeting(err error) bool {
	return gone(err) || errors.Is(err, errChanged) || errors.Is(err, errNoNamespace) || errors.Is(err, errMoving)
}
