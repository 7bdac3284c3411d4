package inspect

import (
	"bytes"
	"sort"

	"golang.org/x/sys/unix"
)

// mountTree holds of every mount of a process what visibility needs: a few
// numbers and the mount point, since a hostile mountinfo may have 100,000 lines.
type mountTree struct {
	nodes  []mountNode
	points []byte // all mount points, one behind the other
	text   int    // bytes kept of all lines
	types  map[int32]string
	roots  []rootMount
	byID   map[int32]int
	places []place // of the nodes, as far as they were asked for
}

type mountNode struct {
	id, parent int32
	at, len    int32 // of the mount point, in points
	order      int32 // line in mountinfo
	shared     bool
	hangs      bool
}

// place is what the way to a mount says of it.
type place struct {
	known bool
	// reached is true if a walk along the mount point comes upon the mount,
	// though it may go on to another one upon it.
	reached bool
	// behind is the ID of a mount on the way whose server may never answer,
	// if hangs is true.
	behind int32
	hangs  bool
}

type rootMount struct {
	id       int32
	dev, dir string
}

// noParent stands for the parent of the top of a mount namespace, which
// mountinfo says to be itself: it is not mounted upon itself.
const noParent = -1

func (a *mountTree) add(n mountNode, point, fstype []byte) {
	n.at, n.len, n.order = int32(len(a.points)), int32(len(point)), int32(len(a.nodes))
	if n.parent == n.id {
		n.parent = noParent
	}
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
	a.index()
	for i := range t.Cgroup {
		m := &t.Cgroup[i]
		n := a.byID[int32(m.ID)]
		m.Visible = a.visible(n)
		m.Submounts = a.children(int32(m.ID))
		a.surroundings(m, n)
	}
	for _, r := range a.roots {
		if a.isRoot(&a.nodes[a.byID[r.id]]) {
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

func (a *mountTree) index() {
	a.places = make([]place, len(a.nodes))
	a.byID = make(map[int32]int, len(a.nodes))
	for i := range a.nodes {
		a.byID[a.nodes[i].id] = i
	}
}

// at returns the last-listed mount on parent at point, other than not.
func (a *mountTree) at(parent int32, point []byte, not int32) (*mountNode, bool) {
	behind := sort.Search(len(a.nodes), func(i int) bool {
		n := &a.nodes[i]
		if n.parent != parent {
			return n.parent > parent
		}
		return bytes.Compare(a.point(n), point) > 0
	})
	for i := behind - 1; i >= 0 && i >= behind-2; i-- {
		n := &a.nodes[i]
		if n.parent != parent || !bytes.Equal(a.point(n), point) {
			break
		}
		if n.id != not {
			return n, true
		}
	}
	return nil, false
}

// upon returns the range of the nodes that are mounted on parent.
func (a *mountTree) upon(parent int32) (from, to int) {
	from = sort.Search(len(a.nodes), func(i int) bool { return a.nodes[i].parent >= parent })
	to = sort.Search(len(a.nodes), func(i int) bool { return a.nodes[i].parent > parent })
	return from, to
}

func (a *mountTree) children(parent int32) int {
	from, to := a.upon(parent)
	return to - from
}

// isRoot tells whether n is the mount that the process has as its root
// directory: it is at /, its parent is out of sight, and nothing else is
// mounted on that parent. (After chroot(2) into a plain directory other mounts
// share the unseen parent; one at / then lies over the root and is not seen,
// since a path walk begins at the root without crossing a mount there. If there
// is no other, mountinfo has the same lines in both cases.)
func (a *mountTree) isRoot(n *mountNode) bool {
	if !bytes.Equal(a.point(n), []byte{'/'}) {
		return false
	}
	if _, ok := a.byID[n.parent]; ok {
		return false
	}
	return a.children(n.parent) == 1
}

// visible tells whether a walk along the mount point's path, from the process's
// root directory, ends at this mount: at every step the kernel crosses to the
// mount upon the place it is at (follow_mount in fs/namei.c), so a mount is
// hidden by one upon it, and by one upon any directory on the way.
func (a *mountTree) visible(i int) bool {
	n := &a.nodes[i]
	return a.place(i).reached && (a.isRoot(n) || !a.covered(n))
}

// covered tells whether another mount lies upon n's root.
func (a *mountTree) covered(n *mountNode) bool {
	_, covered := a.at(n.id, a.point(n), n.id)
	return covered
}

// place works out a node's place from its parent's, once for each node: mounts
// can be stacked a hundred thousand high.
func (a *mountTree) place(i int) place {
	var chain []int
	for j, ok := i, true; ok && !a.places[j].known; j, ok = a.byID[a.nodes[j].parent] {
		a.places[j].known = true // not reached, should the parents be a ring
		chain = append(chain, j)
	}
	for k := len(chain) - 1; k >= 0; k-- {
		a.places[chain[k]] = a.placeUponParent(&a.nodes[chain[k]])
	}
	return a.places[i]
}

func (a *mountTree) placeUponParent(n *mountNode) place {
	at := place{known: true, reached: a.reached(n)}
	if p, ok := a.byID[n.parent]; ok {
		at.behind, at.hangs = a.places[p].behind, a.places[p].hangs
		if !at.hangs && a.nodes[p].hangs {
			at.behind, at.hangs = n.parent, true
		}
	}
	return at
}

// reached needs the parent's place.
func (a *mountTree) reached(n *mountNode) bool {
	point := a.point(n)
	if a.isRoot(n) {
		return true
	}
	if len(point) >= unix.PathMax {
		return false // the kernel walks no path of that length
	}
	p, listed := a.byID[n.parent]
	if !listed {
		// Upon the mount that the root directory is a plain directory of: one
		// at / lies over the root directory.
		return !bytes.Equal(point, []byte{'/'}) && !a.diverted(n, nil)
	}
	if !a.places[p].reached {
		return false
	}
	parent := &a.nodes[p]
	start := a.point(parent) // where on the parent the walk goes on
	if bytes.Equal(start, point) {
		// Upon the parent's own root: reached, unless the walk begins there.
		return !a.isRoot(parent) && !a.laterTwin(n)
	}
	if !a.isRoot(parent) && a.covered(parent) {
		return false
	}
	return !a.diverted(n, start)
}

// diverted tells whether another mount of the same parent lies on the way from
// start (exclusive) to n's mount point (inclusive). The mounts whose points
// begin as n's does lie side by side, and become fewer with every name.
func (a *mountTree) diverted(n *mountNode, start []byte) bool {
	point := a.point(n)
	from, to := a.upon(n.parent)
	known := 0
	for i := 1; i < len(point) && to-from > 1; i++ {
		if point[i] != '/' || i <= len(start) && len(start) > 1 {
			continue
		}
		from, to = a.beginning(from, to, point[:i], known)
		if from < to && int(a.nodes[from].len) == i && a.nodes[from].id != n.id {
			return true
		}
		known = i
	}
	return a.laterTwin(n)
}

// beginning narrows a range of one parent's mounts to those whose points begin
// with prefix. The first known bytes of it are common to the whole range.
func (a *mountTree) beginning(from, to int, prefix []byte, known int) (int, int) {
	begins := func(i int) bool { return bytes.HasPrefix(a.point(&a.nodes[i])[known:], prefix[known:]) }
	if begins(from) && begins(to-1) {
		return from, to
	}
	from += sort.Search(to-from, func(i int) bool {
		return bytes.Compare(a.point(&a.nodes[from+i])[known:], prefix[known:]) >= 0
	})
	return from, from + sort.Search(to-from, func(i int) bool { return !begins(from + i) })
}

// laterTwin tells whether a mount listed after n has its parent and mount
// point. Kernels since 4.11 stack such mounts instead.
func (a *mountTree) laterTwin(n *mountNode) bool {
	twin, ok := a.at(n.parent, a.point(n), n.id)
	return ok && twin.order > n.order
}

// surroundings fills in the parent mount, and whether the way to m, which is
// node i, leads through a file system that may never answer.
func (a *mountTree) surroundings(m *Mount, i int) {
	if at := a.place(i); at.hangs {
		m.Behind = a.types[at.behind]
	}
	p, ok := a.byID[a.nodes[i].parent]
	if !ok {
		return
	}
	parent := &a.nodes[p]
	// Named by its mount point it is this mount, unless m lies right upon it.
	named := !bytes.Equal(a.point(parent), a.point(&a.nodes[i])) && a.visible(p)
	m.Parent = ParentMount{Known: true, MountPoint: string(a.point(parent)), Shared: parent.shared, Visible: named}
}
