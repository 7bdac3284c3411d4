package compare

import "nsinspect/inspect"

// Comparison is one process in both views, and how its namespace sees others.
type Comparison struct {
	Process inspect.Process
	// Threads are those in other cgroups or namespaces.
	Threads []inspect.Task
	// Namespace is its cgroup namespace; 0: not known.
	Namespace uint64
	// SameAsReader tells whether that is the reader's own; meaningless if it is
	// not known.
	SameAsReader bool
	// Known says how the namespace view is known; Reason why it is not.
	Known       Known
	Reason      string
	Hierarchies []HierarchyView
	Peers       []PeerView
	Verdict     Verdict
}

// PeerView is another process's cgroups, in both views.
type PeerView struct {
	Process inspect.Process
	Paths   []PeerPath
}

// PeerPath is a peer's cgroup in one hierarchy. NamespacePath is empty if it is
// not known.
type PeerPath struct {
	Hierarchy               *inspect.Hierarchy
	HostPath, NamespacePath string
}

// Compare judges a subject. roots are what a search found of its namespace's
// root directories; nil if the subject alone proves them.
func Compare(reader inspect.Reader, s *inspect.Subject, roots Roots) *Comparison {
	c := &Comparison{
		Process: s.Process, Threads: s.Threads, Namespace: s.Process.CgroupNS,
		SameAsReader: s.Process.CgroupNS != 0 && s.Process.CgroupNS == reader.CgroupNS,
		Known:        Entered, Reason: s.Reason,
	}
	if roots == nil {
		roots = subjectRoots(reader, s)
	}
	if s.Own == nil {
		c.Known = Unknown
		if c.Namespace != 0 && s.Host.Mounts != nil {
			roots.likely(s.Host.Cgroups, s.Host.Mounts.Cgroup, HierarchyOf(s.Host.Cgroups))
		}
		for _, r := range roots {
			if r.Known == Likely {
				c.Known = Likely
			}
		}
	}
	c.Hierarchies = sight{cgroups: s.Host.Cgroups, mounts: s.Host.Mounts, own: s.Own, roots: roots}.look()
	c.Verdict = worst(c.Hierarchies)
	for i := range s.Peers {
		c.Peers = append(c.Peers, comparePeer(&s.Peers[i]))
	}
	return c
}

// subjectRoots finds the root directories as far as the subject proves them.
func subjectRoots(reader inspect.Reader, s *inspect.Subject) Roots {
	ns := &inspect.Namespace{NS: s.Process.CgroupNS}
	if s.Own != nil {
		ns.Pairs = []inspect.Pair{{PID: s.Process.PID, Host: s.Host.Cgroups, Own: s.Own.Cgroups}}
	}
	var hierarchies []*inspect.Hierarchy
	for _, m := range s.Host.Cgroups.Memberships {
		hierarchies = append(hierarchies, m.Hierarchy)
	}
	return NewRoots(reader, ns, hierarchies)
}

// Proven tells whether the subject alone proves every root directory, so that
// no other member of its namespace need be read.
func Proven(reader inspect.Reader, s *inspect.Subject) bool {
	return s.Own == nil || subjectRoots(reader, s).proven()
}

func comparePeer(p *inspect.Peer) PeerView {
	v := PeerView{Process: p.Process}
	for _, m := range p.Host.Memberships {
		path := PeerPath{Hierarchy: m.Hierarchy, HostPath: m.Path}
		if own, ok := p.Own.Of(m.Hierarchy.Label); ok {
			path.NamespacePath = own.Path
		}
		v.Paths = append(v.Paths, path)
	}
	return v
}

// NamespaceSummary is a cgroup namespace as list shows it.
type NamespaceSummary struct {
	NS      uint64
	Initial bool
	// Processes are the members; First is the one with the lowest ID, or
	// without a name if that could not be read.
	Processes []int
	First     inspect.Process
	Roots     []Root
	// Reason says why the root directories are not known.
	Reason string
}

// Summarize judges one namespace of a host. subject is a member in both views
// where the namespace could not be entered as a whole, else nil.
func Summarize(h *inspect.Host, ns *inspect.Namespace, hierarchies []*inspect.Hierarchy, subject *inspect.Subject) NamespaceSummary {
	s := NamespaceSummary{NS: ns.NS, Initial: ns.NS == inspect.InitialCgroupNS, First: ns.First, Reason: ns.Reason}
	seen := 0
	for _, t := range ns.Members {
		if t.PID != seen {
			s.Processes = append(s.Processes, t.PID)
		}
		seen = t.PID
	}
	roots := NewRoots(h.Reader, ns, hierarchies)
	if subject != nil && subject.Own == nil && subject.Host.Mounts != nil {
		roots.likely(subject.Host.Cgroups, subject.Host.Mounts.Cgroup, HierarchyOf(subject.Host.Cgroups))
	}
	s.Roots = roots.list()
	return s
}
