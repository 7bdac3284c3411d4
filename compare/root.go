package compare

import (
	"nsinspect/inspect"
)

// Known says how a path is known.
type Known string

// The ways in which a path is known.
const (
	// Entered: it was read by a member of the namespace.
	Entered Known = "entered"
	// Derived: it follows by arithmetic from the cgroup root directory, which a
	// live process proves.
	Derived Known = "derived"
	// Likely: it follows if a mount shows the namespace's own root, as is usual.
	Likely Known = "likely"
	// Unknown: the reader could not look.
	Unknown Known = "unknown"
)

// Life tells whether a namespace's cgroup root directory still exists.
type Life int

// The states of a root directory.
const (
	LifeUnknown Life = iota
	Alive
	Dead
)

// Root is the cgroup root directory of a namespace in one hierarchy.
type Root struct {
	Hierarchy *inspect.Hierarchy
	// Path is in the reader's view; empty: not known.
	Path  string
	Known Known
	Life  Life
	// base and below are what is known where Path is not: it lies below levels
	// below base.
	base  string
	below int
}

// Roots are the root directories of a namespace by hierarchy label.
type Roots map[string]*Root

// list returns them in the order of hierarchy IDs.
func (r Roots) list() []Root {
	roots := make([]Root, 0, len(r))
	for _, root := range r {
		roots = append(roots, *root)
	}
	sortByHierarchy(roots, func(r Root) *inspect.Hierarchy { return r.Hierarchy })
	return roots
}

// NewRoots finds the root directories of a namespace. One member inside its
// root proves it exactly (Path = its host path without what the namespace sees
// of it) and proves that it exists. Members outside only narrow it down.
func NewRoots(reader inspect.Reader, ns *inspect.Namespace, hierarchies []*inspect.Hierarchy) Roots {
	roots := Roots{}
	for _, h := range hierarchies {
		roots[h.Label] = &Root{Hierarchy: h, Known: Unknown}
		if ns.NS == reader.CgroupNS {
			*roots[h.Label] = Root{Hierarchy: h, Path: "/", Known: Entered, Life: Alive}
		}
	}
	for _, p := range ns.Pairs {
		roots.learn(p)
	}
	return roots
}

// learn takes in one living process's two cgroup files.
func (r Roots) learn(p inspect.Pair) {
	for _, host := range p.Host.Memberships {
		own, ok := p.Own.Of(host.Hierarchy.Label)
		if !ok || host.Cut || own.Cut {
			continue
		}
		base, below, ok := Constrain(host.Path, own.Path)
		if !ok {
			continue
		}
		root := r[host.Hierarchy.Label]
		if root == nil {
			root = &Root{Hierarchy: host.Hierarchy, Known: Unknown}
			r[host.Hierarchy.Label] = root
		}
		switch {
		case root.Life == Alive:
		case below == 0:
			*root = Root{Hierarchy: root.Hierarchy, Path: base, Known: Entered, Life: Alive}
		case root.base == "" || inspect.Depth(base) > inspect.Depth(root.base):
			root.base, root.below = base, below
		}
	}
}

// proven tells whether every root is known and alive.
func (r Roots) proven() bool {
	for _, root := range r {
		if root.Life != Alive {
			return false
		}
	}
	return true
}

// hold tells whether a process with these cgroups is inside the roots of these
// hierarchies.
func (r Roots) hold(cgroups *inspect.Cgroups, labels []string) bool {
	for _, label := range labels {
		m, ok := cgroups.Of(label)
		root := r[label]
		if !ok || root == nil || root.Life != Alive || !Contains(root.Path, m.Path) {
			return false
		}
	}
	return true
}

// likely guesses the roots of a namespace that could not be entered: a cgroup
// mount below the hierarchy's root that contains the process usually shows the
// namespace's root directory. A mount of the whole hierarchy tells nothing.
func (r Roots) likely(cgroups *inspect.Cgroups, mounts []inspect.Mount, of func(*inspect.Mount) *inspect.Hierarchy) {
	for i := range mounts {
		m := &mounts[i]
		h := of(m)
		if h == nil || !m.Visible || m.Root == "/" || inspect.Outside(m.Root) {
			continue
		}
		member, ok := cgroups.Of(h.Label)
		root := r[h.Label]
		if !ok || root == nil || root.Known != Unknown || !Contains(m.Root, member.Path) {
			continue
		}
		root.Path, root.Known = m.Root, Likely
	}
}
