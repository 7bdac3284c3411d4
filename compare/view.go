package compare

import (
	"slices"

	"nsinspect/inspect"
)

// Verdict says what a mount, a hierarchy or a process is worth to whoever joins
// mount point and cgroup path.
type Verdict string

// The verdicts, worst first.
const (
	VerdictDead        Verdict = "dead"
	VerdictStale       Verdict = "stale"
	VerdictForeign     Verdict = "foreign"
	VerdictUnreachable Verdict = "unreachable"
	VerdictUnknown     Verdict = "unknown"
	VerdictNone        Verdict = "none"
	VerdictSub         Verdict = "sub"
	VerdictOK          Verdict = "ok"
)

// Verdicts are all of them, worst first, with their meanings in a few words.
var Verdicts = []struct {
	Verdict Verdict
	Meaning string
}{
	{VerdictDead, "the namespace's root directory was removed"},
	{VerdictStale, "the mount shows a tree above the namespace's root directory"},
	{VerdictForeign, "the mount shows a neighbour's tree"},
	{VerdictUnreachable, "no visible mount contains the process's cgroup"},
	{VerdictUnknown, "nsinspect could not look"},
	{VerdictNone, "no mount of the hierarchy is visible"},
	{VerdictSub, "healthy: the mount shows a part of the namespace's tree"},
	{VerdictOK, "healthy: the mount shows the namespace's own root directory"},
}

var badness = func() map[Verdict]int {
	rank := map[Verdict]int{}
	for i, v := range Verdicts {
		rank[v.Verdict] = len(Verdicts) - i
	}
	return rank
}()

// Worse tells whether v is worse than w.
func (v Verdict) Worse(w Verdict) bool { return badness[v] > badness[w] }

// Healthy tells whether nothing is wrong and everything could be seen.
func (v Verdict) Healthy() bool { return v == VerdictOK || v == VerdictSub }

// HierarchyView is one hierarchy of a process, in both views.
type HierarchyView struct {
	Hierarchy *inspect.Hierarchy
	// HostPath is the cgroup path as the reader sees it, NamespacePath as a
	// member of the process's cgroup namespace does; empty: not known.
	HostPath, NamespacePath string
	// RootDirectory is the namespace's, as the reader sees it; empty: not known.
	RootDirectory string
	// Known says how NamespacePath is known.
	Known   Known
	Verdict Verdict
	Mounts  []MountView
	life    Life
}

// Outside tells whether the process lies outside its namespace's root
// directory; false also where that is not known.
func (h *HierarchyView) Outside() bool { return inspect.Outside(h.NamespacePath) }

// Good returns a visible mount through which the process can be found in its
// own part of the tree, or nil.
func (h *HierarchyView) Good() *MountView {
	for i := range h.Mounts {
		m := &h.Mounts[i]
		if m.Visible && m.Verdict.Healthy() && h.NamespacePath != "" && Contains(m.NamespaceRoot, h.NamespacePath) {
			return m
		}
	}
	return nil
}

// unclear tells whether the root of a visible mount is not known, which then may
// be a good one.
func (h *HierarchyView) unclear() bool {
	for i := range h.Mounts {
		if h.Mounts[i].Visible && h.Mounts[i].Verdict == VerdictUnknown {
			return true
		}
	}
	return false
}

// excused tells whether a mount that shows too much is no fault by itself: it
// lies beside a good one, or one that may be; or beside one that shows the
// namespace's root, and that the process lies outside of that is the fault.
func (h *HierarchyView) excused() bool {
	return h.Good() != nil || h.unclear() || h.Outside() && slices.ContainsFunc(h.Mounts, func(m MountView) bool {
		return m.Visible && m.NamespaceRoot == "/"
	})
}

// MountView is one cgroup mount that a process has, in both views. Its Root is
// as the reader sees it.
type MountView struct {
	inspect.Mount
	// NamespaceRoot is its root as a member of the namespace sees it; empty:
	// not known.
	NamespaceRoot string
	Verdict       Verdict
}

// sight is all that one process's views are made from.
type sight struct {
	cgroups *inspect.Cgroups
	mounts  *inspect.MountTable // nil: not known
	// own is what was read inside; nil: derive it from roots.
	own   *inspect.View
	roots Roots
}

// look puts the two views side by side, hierarchy by hierarchy.
func (s sight) look() []HierarchyView {
	mounts := s.byHierarchy()
	own := s.ownRoots()
	views := make([]HierarchyView, 0, len(s.cgroups.Memberships))
	for _, m := range s.cgroups.Memberships {
		v := s.paths(m)
		for _, mount := range mounts[m.Hierarchy.Label] {
			v.Mounts = append(v.Mounts, MountView{Mount: *mount, NamespaceRoot: s.mountRoot(&v, mount, own)})
		}
		v.judge(s.mounts)
		views = append(views, v)
	}
	return views
}

// byHierarchy are the mounts by their hierarchy's label.
func (s sight) byHierarchy() map[string][]*inspect.Mount {
	if s.mounts == nil {
		return nil
	}
	of := HierarchyOf(s.cgroups)
	by := make(map[string][]*inspect.Mount, len(s.cgroups.Memberships))
	for i := range s.mounts.Cgroup {
		m := &s.mounts.Cgroup[i]
		if h := of(m); h != nil {
			by[h.Label] = append(by[h.Label], m)
		}
	}
	return by
}

// ownRoots are the mount roots that were read inside, by mount ID.
func (s sight) ownRoots() map[int]string {
	if s.own == nil || s.own.Mounts == nil {
		return nil
	}
	roots := make(map[int]string, len(s.own.Mounts.Cgroup))
	for _, m := range s.own.Mounts.Cgroup {
		roots[m.ID] = m.Root
	}
	return roots
}

func (s sight) paths(m inspect.Membership) HierarchyView {
	v := HierarchyView{Hierarchy: m.Hierarchy, HostPath: m.Path, Known: Unknown}
	root := s.roots[m.Hierarchy.Label]
	if root != nil {
		v.RootDirectory, v.life = root.Path, root.Life
	}
	if s.own != nil {
		if own, ok := s.own.Cgroups.Of(m.Hierarchy.Label); ok {
			v.NamespacePath, v.Known = own.Path, Entered
		}
		return v
	}
	if root == nil || root.Path == "" || m.Cut {
		return v
	}
	switch path, ok := Rel(root.Path, m.Path); {
	case ok && root.Known == Likely:
		v.NamespacePath, v.Known = path, Likely
	case ok && root.Life == Alive:
		v.NamespacePath, v.Known = path, Derived
	}
	return v
}

func (s sight) mountRoot(v *HierarchyView, m *inspect.Mount, own map[int]string) string {
	if own != nil {
		return own[m.ID]
	}
	if v.Known == Unknown || v.RootDirectory == "" {
		return ""
	}
	view, ok := Rel(v.RootDirectory, m.Root)
	if !ok {
		return ""
	}
	return view
}

// judge gives the verdicts on the mounts, and from them that on the hierarchy:
// the worst of its visible mounts, where one that shows too much does no harm
// beside a good one.
func (h *HierarchyView) judge(table *inspect.MountTable) {
	known := table != nil && table.Incomplete == ""
	for i := range h.Mounts {
		h.Mounts[i].Verdict = h.judgeMount(&h.Mounts[i])
		if !known && h.life != Dead {
			h.Mounts[i].Verdict = VerdictUnknown // what was not read may cover what was, or be a good one
		}
	}
	good := h.Good() != nil
	visible := false
	h.Verdict = VerdictOK
	for i := range h.Mounts {
		m := &h.Mounts[i]
		if good && m.Verdict == VerdictUnreachable {
			m.Verdict = VerdictSub // a part of the tree that is not the process's
		}
		if !m.Visible {
			continue
		}
		visible = true
		tooWide := m.Verdict == VerdictStale || m.Verdict == VerdictForeign
		if m.Verdict.Worse(h.Verdict) && !(good && tooWide) {
			h.Verdict = m.Verdict
		}
	}
	switch {
	case !known && h.Verdict != VerdictDead:
		h.Verdict = VerdictUnknown
	case !visible:
		h.Verdict = VerdictNone
	}
}

// judgeMount judges a mount by its root in the namespace's view. What is only
// likely is not vouched for.
func (h *HierarchyView) judgeMount(m *MountView) Verdict {
	switch {
	case h.life == Dead:
		return VerdictDead
	case m.NamespaceRoot == "" || h.Known == Unknown || h.Known == Likely:
		return VerdictUnknown
	case Above(m.NamespaceRoot):
		return VerdictStale
	case inspect.Outside(m.NamespaceRoot):
		return VerdictForeign
	case !Contains(m.NamespaceRoot, h.NamespacePath):
		return VerdictUnreachable
	case m.NamespaceRoot == "/":
		return VerdictOK
	default:
		return VerdictSub
	}
}

// worst returns the worst of the hierarchies' verdicts.
func worst(views []HierarchyView) Verdict {
	if len(views) == 0 {
		return VerdictUnknown
	}
	v := VerdictOK
	for i := range views {
		if views[i].Verdict.Worse(v) {
			v = views[i].Verdict
		}
	}
	return v
}
