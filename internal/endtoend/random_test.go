package endtoend

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	lt "nsinspect/internal/livetest"
)

// forest is a random tree of cgroups, up to five levels deep, in each of some
// hierarchies, and shells in random cgroups, some of which make cgroup
// namespaces, in each other's, are moved about, and mount what they like.
type forest struct {
	t      *testing.T
	rng    *rand.Rand
	labels []string
	trees  map[string][]*lt.Cgroup
	shells []*lt.Shell
	// mounter tells which shells have a mount namespace of their own.
	mounter []bool
	// roots are the root directories of each namespace, as they were when it
	// was made; gone are cgroups that were removed, by hierarchy and path.
	roots map[uint64]map[string]string
	gone  map[string]bool
}

func grow(t *testing.T, rng *rand.Rand, labels []string) *forest {
	t.Helper()
	host := lt.NewHost(t)
	f := &forest{t: t, rng: rng, labels: labels, trees: map[string][]*lt.Cgroup{}, roots: map[uint64]map[string]string{}, gone: map[string]bool{}}
	for _, label := range labels {
		tree := []*lt.Cgroup{lt.NewCgroup(t, label)}
		for i := range 14 {
			// Few names, so that different places have the same ones.
			parent := tree[rng.IntN(len(tree))]
			if strings.Count(parent.Path, "/") < 5 {
				tree = append(tree, parent.Child(string(rune('a'+i%3))+strconv.Itoa(i/3)))
			}
		}
		f.trees[label] = tree
	}
	for range 8 {
		f.settle(host.Fork())
	}
	for i, s := range f.shells {
		if rng.IntN(2) == 0 {
			f.move(s)
		}
		if f.mounter[i] {
			f.mount(s)
		}
	}
	f.prune()
	return f
}

// settle puts a shell somewhere, in namespaces of its own or another's.
func (f *forest) settle(s *lt.Shell) {
	f.move(s)
	if len(f.shells) > 0 && f.rng.IntN(3) == 0 {
		inside := f.shells[f.rng.IntN(len(f.shells))]
		s.Become("nsenter", "-t", strconv.Itoa(inside.PID), "-C", "--")
	}
	own := f.rng.IntN(3) > 0
	if own {
		s.Become("unshare", "-m", "--propagation", "private", "--")
	}
	if f.rng.IntN(4) > 0 {
		s.Become("unshare", "-C", "--")
		f.roots[lt.Namespace(f.t, s.PID, "cgroup")] = lt.HostView(f.t, s.PID).Paths()
	}
	f.shells = append(f.shells, s)
	f.mounter = append(f.mounter, own)
}

// move moves a shell somewhere else in each hierarchy.
func (f *forest) move(s *lt.Shell) {
	for _, label := range f.labels {
		s.Join(f.trees[label][f.rng.IntN(len(f.trees[label]))])
	}
}

// mount has a shell change its mounts: fresh ones, ones of some part of the tree
// over the old or elsewhere, none, and others over them. Not all of it may be
// possible where it is.
func (f *forest) mount(s *lt.Shell) {
	for range f.rng.IntN(5) {
		label := f.labels[f.rng.IntN(len(f.labels))]
		point := lt.MountOf(f.t, label)
		part := point + f.trees[label][f.rng.IntN(len(f.trees[label]))].Path
		elsewhere := fmt.Sprintf("/mnt/%d", f.rng.IntN(3))
		s.Try("mountpoint -q /mnt || mount -t tmpfs tmpfs /mnt; mkdir -p %s", elsewhere)
		s.Try("%s", []string{
			"umount " + point + " && " + mountCommand(label, point),
			mountCommand(label, elsewhere),
			"mount --bind " + part + " " + point,
			"mount --bind " + part + " " + elsewhere,
			"mount --bind " + point + " " + elsewhere,
			"mount --move " + point + " " + elsewhere,
			"umount " + point,
			"mount -t tmpfs tmpfs " + point,
			"mount -o remount,bind,ro " + point,
		}[f.rng.IntN(9)])
	}
}

// prune removes cgroups that nobody is in, some of which are the root
// directories of namespaces.
func (f *forest) prune() {
	for _, label := range f.labels {
		for _, c := range slices.Backward(f.trees[label]) {
			if f.rng.IntN(3) == 0 && os.Remove(c.Dir) == nil {
				f.gone[label+c.Path] = true
			}
		}
	}
}

// tally is what was held against the kernel.
type tally struct{ trees, processes, peers, mounts, unknown, findings, wrong int }

// seeds are two that are always the same and one that never is, or
// $NSINSPECT_SEED; a soak has as many as it takes runs.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("NSINSPECT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	list := []uint64{1, 3}
	for n := range runs(t, 1) {
		list = append(list, uint64(time.Now().UnixNano())+uint64(n))
	}
	return list
}

// runs is how often a test does what it does: in a soak ($NSINSPECT_SOAK) that
// many times, else a few.
func runs(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("NSINSPECT_SOAK")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("NSINSPECT_SOAK is %q", text)
	}
	return n
}

// Whatever the tree: for every process, every peer and every hierarchy compare
// says what nsenter shows and judges as follows from that, list names the root
// directories that were, and doctor tells no fault that is none. The name of
// each part is its seed.
func TestLiveRandomTrees(t *testing.T) {
	needs(t, "freezer", "unified")
	var all tally
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := grow(t, rand.New(rand.NewPCG(seed, 0)), []string{"freezer", "unified"})
			f.held(&all)
			all.trees++
			if t.Failed() {
				all.wrong++
			}
		})
	}
	t.Logf("%d trees: %d processes and %d peers, %d verdicts on mounts and %d more left unknown, %d findings; trees with something wrong: %d",
		all.trees, all.processes, all.peers, all.mounts-all.unknown, all.unknown, all.findings, all.wrong)
}

func (f *forest) held(all *tally) {
	t := f.t
	var pids []int
	for _, s := range f.shells {
		pids = append(pids, s.PID)
	}
	inside := map[string]bool{} // namespace and hierarchy
	for _, pid := range pids {
		peers := slices.DeleteFunc(slices.Clone(pids), func(p int) bool { return p == pid })
		c := likeKernel(t, pid, peers...)
		want, ok := f.roots[c.Namespace.NS]
		held, unknown := holdVerdicts(t, c, pid, func(label string) bool { return ok && f.gone[label+want[label]] })
		for _, h := range c.Hierarchies {
			if !h.Outside {
				inside[fmt.Sprint(c.Namespace.NS, h.Hierarchy)] = true
			}
			if ok && (h.RootDirectory != nil && *h.RootDirectory != want[h.Hierarchy] || h.RootDirectory == nil && !h.Outside) {
				t.Errorf("%d in %s: root directory %s, want %s", pid, h.Hierarchy, h.root(), want[h.Hierarchy])
			}
		}
		all.processes++
		all.peers += len(peers)
		all.mounts += held
		all.unknown += unknown
	}
	f.listed(inside)
	all.findings += f.diagnosed(pids)
}

// diagnosed holds that the faults that doctor tells of mounts and paths are
// there, in the view of each process that it tells them of.
func (f *forest) diagnosed(pids []int) (told int) {
	t := f.t
	t.Helper()
	verdict := map[string]string{"stale-mount-root": "stale", "foreign-mount-root": "foreign", "path-not-under-mount": "unreachable"}
	for _, found := range doctor(t, pids...).Findings {
		for _, pid := range found.PIDs {
			own := lt.InView(t, pid, pid)
			path := own.Paths()[found.Hierarchy]
			mounts := slices.DeleteFunc(own.Mounts(), func(m lt.Mount) bool { return m.Label != found.Hierarchy })
			each, whole := kernelVerdicts(t, pid, path, mounts)
			root := f.roots[found.CgroupNS][found.Hierarchy]
			wrong := false
			switch want := verdict[found.Check]; {
			case want != "":
				wrong = each[found.Mount.ID] != want || whole == "ok" || whole == "sub"
			case found.Check == "process-outside-root":
				wrong = kernelVerdict("/", path) == "ok"
			case found.Check == "dead-root":
				wrong = !f.gone[found.Hierarchy+root]
			default:
				continue
			}
			told++
			if wrong {
				t.Errorf("%d is told to have what it has not: %s\npath %s, by the kernel %s %v", pid, dump(found), path, whole, each)
			}
		}
	}
	return told
}

// listed holds list: a root directory is named rightly, and it is named if a
// member that is inside proves it.
func (f *forest) listed(inside map[string]bool) {
	t := f.t
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
