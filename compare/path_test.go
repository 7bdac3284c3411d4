package compare

import (
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// node is a cgroup directory of a real tree, by which paths are told without
// any arithmetic: by walking from directory to directory.
type node struct {
	name   string
	parent *node
}

// rendered states the kernel's rule for how a reader with the root directory
// from sees to (kernfs_path_from_node_locked in fs/kernfs/dir.c): climb from
// the reader's root until the directory has to below it, one "/.." each, and
// go down from there.
func rendered(from, to *node) string {
	path := ""
	for !from.holds(to) {
		path += "/.."
		from = from.parent
	}
	down := ""
	for ; to != from; to = to.parent {
		down = "/" + to.name + down
	}
	if path += down; path == "" {
		return "/"
	}
	return path
}

// holds tells whether a directory is n or lies below it.
func (n *node) holds(other *node) bool {
	for ; other != nil; other = other.parent {
		if other == n {
			return true
		}
	}
	return false
}

func (n *node) depth() int {
	depth := 0
	for ; n.parent != nil; n = n.parent {
		depth++
	}
	return depth
}

// meet is the lowest directory that holds both.
func meet(a, b *node) *node {
	for !a.holds(b) {
		a = a.parent
	}
	return a
}

// makeTree makes all directories of a tree with the given names at each level.
// The same names at all levels and in all branches are the hardest: namesakes
// are everywhere.
func makeTree(levels int, names ...string) []*node {
	all := []*node{{}}
	level := all
	for range levels {
		var next []*node
		for _, parent := range level {
			for _, name := range names {
				next = append(next, &node{name, parent})
			}
		}
		all, level = append(all, next...), next
	}
	return all
}

// trees are a full tree of three levels, and one with the names that are
// hardest to tell from something else.
func trees() map[string][]*node {
	return map[string][]*node{
		"ternary": makeTree(3, "a", "b", "c"),
		"names":   makeTree(3, "..x", "a:b c (deleted)", "\xff\xfe"),
	}
}

// TestRendered holds the statement of the rule itself against what a kernel
// printed (cgroup_namespaces(7), and captures).
func TestRendered(t *testing.T) {
	root := &node{}
	sub, sub2 := &node{"sub", root}, &node{"sub2", root}
	deep := &node{"deep", sub}
	for _, c := range []struct {
		from, to *node
		want     string
	}{
		{sub, sub, "/"}, {sub, root, "/.."}, {sub, sub2, "/../sub2"}, {sub, deep, "/deep"},
		{deep, root, "/../.."}, {deep, sub2, "/../../sub2"}, {root, deep, "/sub/deep"}, {root, root, "/"},
	} {
		if got := rendered(c.from, c.to); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// TestRelOfAll has every namespace of a tree look at every directory, as every
// reader could work it out.
func TestRelOfAll(t *testing.T) {
	for name, tree := range trees() {
		for _, reader := range tree {
			for _, root := range tree {
				for _, to := range tree {
					got, ok := Rel(rendered(reader, root), rendered(reader, to))
					want, knowable := rendered(root, to), knows(reader, root, to)
					if ok != knowable || ok && got != want {
						t.Fatalf("%s: reader %s, root %s, path %s: %q %v, want %q %v", name, rendered(tree[0], reader),
							rendered(reader, root), rendered(reader, to), got, ok, want, knowable)
					}
				}
			}
		}
	}
}

// knows tells whether a reader can tell how root sees to: that takes no name of
// a directory that holds the reader's own root, or is it. These names are all
// that a reader is never shown.
func knows(reader, root, to *node) bool {
	for top := meet(root, to); to != top; to = to.parent {
		if to.holds(reader) {
			return false
		}
	}
	return true
}

// TestContainsOfAll is the same for the relation of two directories.
func TestContainsOfAll(t *testing.T) {
	for name, tree := range trees() {
		for _, reader := range tree {
			for _, dir := range tree {
				for _, to := range tree {
					d, p := rendered(reader, dir), rendered(reader, to)
					if got := Contains(d, p); got != dir.holds(to) {
						t.Fatalf("%s: Contains(%q, %q) is %v", name, d, p, got)
					}
					rel, ok := below(d, p)
					if want := dir.holds(to) && knows(reader, dir, to); ok != want {
						t.Fatalf("%s: below(%q, %q) is %q, %v", name, d, p, rel, ok)
					}
					if want := or(strings.TrimPrefix(rendered(dir, to), "/"), "."); ok && (rel != want || lower(d, rel) != p) {
						t.Fatalf("%s: below(%q, %q) is %q, want %q; back to %q", name, d, p, rel, want, lower(d, rel))
					}
				}
			}
		}
	}
}

// TestAboveOfAll: a namespace sees a directory as ".." only if that holds its
// root and is not it.
func TestAboveOfAll(t *testing.T) {
	for name, tree := range trees() {
		for _, root := range tree {
			for _, to := range tree {
				if got := Above(rendered(root, to)); got != (root != to && to.holds(root)) {
					t.Fatalf("%s: Above(%q) is %v", name, rendered(root, to), got)
				}
			}
		}
	}
}

// TestConstrainOfAll has what one process's two paths say of the root, for every
// reader, root and process: it parts from the process's line where the two
// meet, at its own depth.
func TestConstrainOfAll(t *testing.T) {
	for name, tree := range trees() {
		for _, reader := range tree {
			for _, root := range tree {
				for _, process := range tree {
					host, view := rendered(reader, process), rendered(root, process)
					base, below, ok := Constrain(host, view)
					at := meet(root, process)
					if !ok || base != rendered(reader, at) || below != root.depth()-at.depth() {
						t.Fatalf("%s: Constrain(%q, %q) is %q, %d, %v; want %q, %d", name, host, view, base, below, ok,
							rendered(reader, at), root.depth()-at.depth())
					}
				}
			}
		}
	}
}

// TestConstrainIsExact: of all directories those at the right depth below base,
// on another line than the process's from there, are just the roots from which
// the process looks so.
func TestConstrainIsExact(t *testing.T) {
	for name, tree := range trees() {
		for _, process := range tree {
			for _, root := range tree {
				host, view := rendered(tree[0], process), rendered(root, process)
				base, below, _ := Constrain(host, view)
				for _, candidate := range tree {
					path := rendered(tree[0], candidate)
					parted := rendered(tree[0], meet(candidate, process)) == base
					fits := parted && Contains(base, path) && inspect.Depth(path)-inspect.Depth(base) == below
					if fits != (rendered(candidate, process) == view) {
						t.Fatalf("%s: %q seen as %q: root %q fits: %v", name, host, view, path, fits)
					}
				}
			}
		}
	}
}

// TestConstrainRefuses what cannot be two paths of one cgroup.
func TestConstrainRefuses(t *testing.T) {
	for _, c := range []struct{ host, view string }{
		{"/a", "/b"},
		{"/a/b", "/a"},
		{"/a/b", "/../a"},
		{"/a/b", "/c/b"},
		{"/xa", "/a"},             // a name is a whole name
		{"/a b", "/b"},            // a blank parts nothing
		{"/a:b", "/b"},            // nor does a colon
		{"/..x", "/x"},            // nor is this a way up
		{"/a", "/a (deleted)"},    // one reading with the mark and one without
		{"/../x/y", "/../x"},      // outside for both
		{"/a/b/c/d", "/b/c/e"},    // only the last name differs
		{"/a/b/c/d", "/../x/c/d"}, // only the first one
	} {
		if base, below, ok := Constrain(c.host, c.view); ok {
			t.Errorf("Constrain(%q, %q) is %q, %d", c.host, c.view, base, below)
		}
	}
}

// TestRel has what a kernel printed: cgroup_namespaces(7), and measurements on
// Linux 6.18 in the captures.
func TestRel(t *testing.T) {
	for _, c := range []struct{ root, path, view string }{
		{"/sub", "/", "/.."},
		{"/sub", "/sub", "/"},
		{"/sub", "/sub2", "/../sub2"}, // a namesake in part only
		{"/sub", "/subx/y", "/../subx/y"},
		{"/nsi/a/b", "/", "/../../.."},
		{"/nsi/a/b", "/nsi/peer", "/../../peer"},
		{"/exp-d/sub", "/exp-d/sub/leaf", "/leaf"},
		{"/", "/a/b", "/a/b"},
		{"/..x", "/..x/..y", "/..y"},
		{"/...", "/..", "/../.."}, // the reader's parent, from below the reader
		{"/a b:c", "/a b:c/\xff", "/\xff"},
		{"/x (deleted)", "/x", "/../x"},
		// A reader in a namespace: its own root is "/".
		{"/..", "/..", "/"},
		{"/..", "/../x", "/x"},
		{"/..", "/../..", "/.."},
		{"/../x", "/../..", "/../.."},
		{"/../x", "/../y", "/../y"},
		{"/../x/y", "/../x", "/.."},
		{"/sub", "/../x", "/../../x"},
		{"/../../x", "/../../../z", "/../../z"},
	} {
		if got, ok := Rel(c.root, c.path); !ok || got != c.view {
			t.Errorf("Rel(%q, %q) is %q, %v; want %q", c.root, c.path, got, ok, c.view)
		}
	}
	for _, c := range []struct{ root, path string }{
		{"/..", "/"},          // takes the name of the reader's own root
		{"/..", "/a"},         // that too
		{"/../x", "/a"},       // and here
		{"/../..", "/../x"},   // the name of the reader's parent
		{"/../../x", "/../y"}, // likewise
	} {
		if got, ok := Rel(c.root, c.path); ok {
			t.Errorf("Rel(%q, %q) is %q, which the reader cannot know", c.root, c.path, got)
		}
	}
}

// FuzzPaths: whatever bytes are compared, nothing panics. Of paths as a kernel
// makes them, what comes out is what walking says.
func FuzzPaths(f *testing.F) {
	for _, s := range [][3]string{
		{"", "/sub", "/sub/a"}, {"q", "/..", "/../x"}, {"q/r", "/q/r/s", "/"},
		{"a", "/a (deleted)", "/..x/:/ "}, {"", "//", "/../.."}, {"x", "", ".."}, {"\xff", "/\xff", "/\xff\xfe"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, reader, root, path string) {
		anyBytes(root, path)
		anyBytes(path, root)
		d := directories{}
		r, n, p := d.at(reader), d.at(root), d.at(path)
		host, base := rendered(r, p), rendered(r, n)
		got, ok := Rel(base, host)
		if want := rendered(n, p); ok != knows(r, n, p) || ok && got != want {
			t.Fatalf("Rel(%q, %q) is %q, %v; want %q", base, host, got, ok, want)
		}
		if Contains(base, host) != n.holds(p) {
			t.Fatalf("Contains(%q, %q) is %v", base, host, !n.holds(p))
		}
		at, below, ok := Constrain(host, rendered(n, p))
		if !ok || !Contains(at, base) || below != n.depth()-meet(n, p).depth() || below == 0 && at != base {
			t.Fatalf("root %q: Constrain(%q, %q) is %q, %d, %v", base, host, rendered(n, p), at, below, ok)
		}
	})
}

// anyBytes calls everything with paths that no kernel makes.
func anyBytes(a, b string) {
	view, ok := Rel(a, b)
	if ok {
		Constrain(b, view)
	}
	Constrain(a, b)
	Contains(a, b)
	below(a, b)
	Above(a)
}

// directories are a tree that grows by the paths asked for.
type directories map[string]*node

// at returns the directory at a path. What no directory can be called is left
// out of it.
func (d directories) at(path string) *node {
	key, at := "", d.make("", nil)
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			continue
		}
		key += "/" + name
		at = d.make(key, at)
	}
	return at
}

func (d directories) make(key string, parent *node) *node {
	if d[key] == nil {
		d[key] = &node{key[strings.LastIndex(key, "/")+1:], parent}
	}
	return d[key]
}

func TestSplitAndJoin(t *testing.T) {
	for _, c := range []struct {
		path  string
		up    int
		names []string
	}{
		{"/", 0, nil},
		{"/..", 1, nil},
		{"/../..", 2, nil},
		{"/../x", 1, []string{"x"}},
		{"/a/b", 0, []string{"a", "b"}},
		{"/..x/y..", 0, []string{"..x", "y.."}},
		{"/.../a", 0, []string{"...", "a"}},
		{"/a b/c:d", 0, []string{"a b", "c:d"}},
	} {
		up, names := split(c.path)
		if up != c.up || !slices.Equal(names, c.names) {
			t.Errorf("split(%q) is %d, %q", c.path, up, names)
		}
		if got := join(up, names); got != c.path {
			t.Errorf("split and join make %q of %q", got, c.path)
		}
	}
}
