package inspect

import (
	"bytes"
	"sort"
)

// mountTree holds of every mount of a process what visibility needs: 16 bytes
// and the mount point, since a hostile mountinfo may have 100,000 lines.
type mountTree struct {
	nodes  []mountNode
	points []byte // all mount points, one behind the other
	types  map[int32]string
	roots  []rootMount
}

type mountNode struct {
	id, parent int32
	at, len    int32 // of the mount point, in points
	order      int32 // line in mountinfo
	shared     bool
	hangs      bool
}

type rootMount struct {
	id       int32
	dev, dir string
}

func (a *mountTree) add(n mountNode, point, fstype []byte) {
	n.at, n.len, n.order = int32(len(a.points)), int32(len(point)), int32(len(a.nodes))
	a.points = append(a.points, point...)
	if n.hangs {
		if a.types == nil {
			a.types = make(map[int32]string)
		}
		a.types[n.id] = string(fstype)
	}
	a.nodes = append(a.nodes, n)
}

func (a *mountTree) point(n *mountNode) []byte { return a.points[n.at : n.at+n.len] }

// finish sets what each cgroup mount has from its place in the tree.
func (a *mountTree) finish(t *MountTable) {
	a.sort()
	byID := a.index()
	for i := range t.Cgroup {
		m := &t.Cgroup[i]
		n, ok := byID[int32(m.ID)]
		if !ok {
			continue
		}
		m.Visible = a.visible(&a.nodes[n], byID)
		m.Submounts = a.children(int32(m.ID))
		a.ancestors(m, byID)
	}
	for _, r := range a.roots {
		n, ok := byID[r.id]
		if ok && a.isRoot(&a.nodes[n], byID) {
			t.RootDev, t.RootDir = r.dev, r.dir
		}
	}
}

// sort orders the nodes by parent, then mount point, then line, so that one
// binary search answers "which mounts of this parent are at this point".
func (a *mountTree) sort() {
	sort.Slice(a.nodes, func(i, j int) bool {
		x, y := &a.nodes[i], &a.nodes[j]
		if x.parent != y.parent {
			return x.parent < y.parent
		}
		if c := bytes.Compare(a.point(x), a.point(y)); c != 0 {
			return c < 0
		}
		return x.order < y.order
	})
}

func (a *mountTree) index() map[int32]int {
	byID := make(map[int32]int, len(a.nodes))
	for i := range a.nodes {
		byID[a.nodes[i].id] = i
	}
	return byID
}

// at returns the last-listed mount on parent at point, other than not.
func (a *mountTree) at(parent int32, point []byte, not int32) (*mountNode, bool) {
	i := sort.Search(len(a.nodes), func(i int) bool {
		n := &a.nodes[i]
		if n.parent != parent {
			return n.parent > parent
		}
		return bytes.Compare(a.point(n), point) >= 0
	})
	var found *mountNode
	for ; i < len(a.nodes) && a.nodes[i].parent == parent && bytes.Equal(a.point(&a.nodes[i]), point); i++ {
		if a.nodes[i].id != not {
			found = &a.nodes[i]
		}
	}
	return found, found != nil
}

func (a *mountTree) children(parent int32) int {
	from := sort.Search(len(a.nodes), func(i int) bool { return a.nodes[i].parent >= parent })
	to := sort.Search(len(a.nodes), func(i int) bool { return a.nodes[i].parent > parent })
	return to - from
}

// isRoot tells whether n is the mount that the process has as its root
// directory: it is at /, its parent is out of sight, and nothing else is
// mounted on that parent. (After chroot(2) into a plain directory other mounts
// share the unseen parent; one at / then lies over the root and is not seen,
// since a path walk begins at the root without crossing a mount there.)
func (a *mountTree) isRoot(n *mountNode, byID map[int32]int) bool {
	if !bytes.Equal(a.point(n), []byte{'/'}) {
		return false
	}
	if p, ok := byID[n.parent]; ok && a.nodes[p].id != n.id {
		return false
	}
	return a.children(n.parent) == 1
}

// visible tells whether a walk along the mount point's path, from the process's
// root directory, ends at this mount: at every step the kernel crosses to the
// mount upon the place it is at (follow_mount in fs/namei.c), so a mount is
// hidden by one upon it, and by one upon any directory on the way.
func (a *mountTree) visible(m *mountNode, byID map[int32]int) bool {
	if _, covered := a.at(m.id, a.point(m), m.id); covered && !a.isRoot(m, byID) {
		return false
	}
	for steps := 0; steps <= len(a.nodes); steps++ {
		if a.isRoot(m, byID) {
			return true
		}
		p, listed := byID[m.parent]
		if listed && a.nodes[p].id == m.id {
			return true // the top of a mount namespace is its own parent
		}
		var start []byte // where on the parent the walk towards m begins
		if listed {
			parent := &a.nodes[p]
			start = a.point(parent)
			if bytes.Equal(start, a.point(m)) {
				// Upon the parent's own root: reached, unless the walk begins there.
				if a.isRoot(parent, byID) || a.laterTwin(m) {
					return false
				}
				m = parent
				continue
			}
			if !a.isRoot(parent, byID) {
				if _, covered := a.at(parent.id, start, m.id); covered {
					return false
				}
			}
		} else if bytes.Equal(a.point(m), []byte{'/'}) {
			return false // over a root directory that is no mount
		}
		if a.diverted(m, start) {
			return false
		}
		if !listed {
			return true
		}
		m = &a.nodes[p]
	}
	return false // a ring of parents, which no kernel prints
}

// diverted tells whether another mount of the same parent lies on the way from
// start (exclusive) to m's mount point (inclusive).
func (a *mountTree) diverted(m *mountNode, start []byte) bool {
	point := a.point(m)
	for i := 1; i < len(point); i++ {
		if point[i] != '/' || i <= len(start) && len(start) > 1 {
			continue
		}
		if _, ok := a.at(m.parent, point[:i], m.id); ok {
			return true
		}
	}
	return a.laterTwin(m)
}

// laterTwin tells whether a mount listed after m has its parent and mount
// point. Kernels since 4.11 stack such mounts instead.
func (a *mountTree) laterTwin(m *mountNode) bool {
	twin, ok := a.at(m.parent, a.point(m), m.id)
	return ok && twin.order > m.order
}

// ancestors fills in the parent mount, and whether the way to m leads through
// a file system that may never answer.
func (a *mountTree) ancestors(m *Mount, byID map[int32]int) {
	id := int32(m.ParentID)
	for steps := 0; steps <= len(a.nodes); steps++ {
		i, ok := byID[id]
		if !ok {
			return
		}
		n := &a.nodes[i]
		if steps == 0 {
			m.Parent = ParentMount{Known: true, MountPoint: string(a.point(n)), Shared: n.shared, Visible: a.leadsTo(n, m, byID)}
		}
		if n.hangs {
			m.Behind = a.types[n.id]
		}
		if n.parent == id {
			return
		}
		id = n.parent
	}
}

// leadsTo tells whether the path of n leads to n itself, so that a command can
// name the mount by it.
func (a *mountTree) leadsTo(n *mountNode, child *Mount, byID map[int32]int) bool {
	if bytes.Equal(a.point(n), []byte(child.MountPoint)) {
		return false // the child lies right upon it
	}
	return a.visible(n, byID)
}
