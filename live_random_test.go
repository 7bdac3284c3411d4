package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	lt "nsinspect/internal/livetest"
)

// forest is a random tree of cgroups in each of some hierarchies, and shells in
// random cgroups, some of which make cgroup namespaces, in each other's, and
// are moved about.
type forest struct {
	rng    *rand.Rand
	labels []string
	trees  map[string][]*lt.Cgroup
	shells []*lt.Shell
	// roots are the root directories of each namespace, as they were when it
	// was made.
	roots map[uint64]map[string]string
}

func grow(t *testing.T, rng *rand.Rand, labels []string) *forest {
	t.Helper()
	host := lt.NewHost(t)
	f := &forest{rng: rng, labels: labels, trees: map[string][]*lt.Cgroup{}, roots: map[uint64]map[string]string{}}
	for _, label := range labels {
		tree := []*lt.Cgroup{lt.NewCgroup(t, label)}
		for i := range 9 {
			// Few names, so that different places have the same ones.
			parent := tree[rng.IntN(len(tree))]
			tree = append(tree, parent.Child(string(rune('a'+i%3))+strconv.Itoa(i/3)))
		}
		f.trees[label] = tree
	}
	for range 8 {
		s := host.Fork()
		f.move(s)
		if len(f.shells) > 0 && rng.IntN(3) == 0 {
			inside := f.shells[rng.IntN(len(f.shells))]
			s.Become("nsenter", "-t", strconv.Itoa(inside.PID), "-C", "--")
		}
		if rng.IntN(4) > 0 {
			s.Become("unshare", "-C", "--")
			f.roots[lt.Namespace(t, s.PID, "cgroup")] = lt.HostView(t, s.PID).Paths()
		}
		f.shells = append(f.shells, s)
	}
	for _, s := range f.shells {
		if rng.IntN(2) == 0 {
			f.move(s)
		}
	}
	return f
}

// move moves a shell somewhere else in each hierarchy.
func (f *forest) move(s *lt.Shell) {
	for _, label := range f.labels {
		s.Join(f.trees[label][f.rng.IntN(len(f.trees[label]))])
	}
}

// Whatever the tree: for every process, every peer and every hierarchy compare
// says what nsenter shows, and list names the root directories that were.
func TestLiveRandomTrees(t *testing.T) {
	needs(t, "freezer", "unified")
	for _, seed := range []uint64{1, 2, 3, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := grow(t, rand.New(rand.NewPCG(seed, 0)), []string{"freezer", "unified"})
			var pids []int
			for _, s := range f.shells {
				pids = append(pids, s.PID)
			}
			inside := map[string]bool{} // namespace and hierarchy
			for _, pid := range pids {
				peers := slices.DeleteFunc(slices.Clone(pids), func(p int) bool { return p == pid })
				c := likeKernel(t, pid, peers...)
				want, ok := f.roots[c.Namespace.NS]
				for _, h := range c.Hierarchies {
					if !h.Outside {
						inside[fmt.Sprint(c.Namespace.NS, h.Hierarchy)] = true
					}
					if ok && (h.RootDirectory != nil && *h.RootDirectory != want[h.Hierarchy] || h.RootDirectory == nil && !h.Outside) {
						t.Errorf("%d in %s: root directory %s, want %s", pid, h.Hierarchy, h.root(), want[h.Hierarchy])
					}
				}
			}
			f.listed(t, inside)
		})
	}
}

// listed holds list: a root directory is named rightly, and it is named if a
// member that is inside proves it.
func (f *forest) listed(t *testing.T, inside map[string]bool) {
	t.Helper()
	var l listing
	decode(t, lt.Run(t, "list", "-J"), 0, &l)
	found := 0
	for _, ns := range l.Namespaces {
		want, ok := f.roots[ns.NS]
		if !ok {
			continue
		}
		found++
		for _, r := range ns.Roots {
			switch proven := inside[fmt.Sprint(ns.NS, r.Hierarchy)]; {
			case r.RootDirectory == nil && proven, r.RootDirectory != nil && *r.RootDirectory != want[r.Hierarchy]:
				t.Errorf("namespace %d: root directory %s, want %s", ns.NS, dump(r), want[r.Hierarchy])
			}
		}
	}
	alive := map[uint64]bool{}
	for _, s := range f.shells {
		if ns := lt.Namespace(t, s.PID, "cgroup"); f.roots[ns] != nil {
			alive[ns] = true
		}
	}
	if found != len(alive) || found == 0 {
		t.Errorf("%d of %d namespaces are listed", found, len(alive))
	}
	if table := lt.Run(t, "list", "--no-headers").Stdout; strings.Count(table, "\n") < found {
		t.Errorf("the table is too short:\n%s", table)
	}
}
