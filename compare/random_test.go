package compare

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// drawn is a host that was made by chance, of which everything is known: one
// process in a cgroup namespace, the mounts that it has, and its neighbours.
// What is to be found follows from walks in the tree, without any path.
type drawn struct {
	*world
	rng     *rand.Rand
	tree    []*node
	reader  *node // the reader's root directory
	through *node // that the reader's mount shows
	root    *node // the namespace's root directory
	removed bool
	process *node
	mounts  []*node // that the process's mounts show
	inode   map[*node]uint64
}

// draw makes a host. In every second one the reader is in a namespace itself.
func draw(t *testing.T, seed int64) *drawn {
	rng := rand.New(rand.NewSource(seed))
	d := &drawn{world: newWorld(t, "freezer"), rng: rng, tree: makeTree(3, "a", "b"), inode: map[*node]uint64{}}
	pick := func() *node { return d.tree[rng.Intn(len(d.tree))] }
	d.reader = d.tree[0]
	if seed%2 == 1 {
		d.reader = pick()
	}
	d.through = d.tree[0]
	if rng.Intn(3) == 0 {
		d.through = d.reader
	}
	d.root, d.process = pick(), pick()
	if d.removed = rng.Intn(3) == 0 && d.root.parent != nil && !d.root.holds(d.process) && !d.root.holds(d.reader) && !d.root.holds(d.through); d.removed {
		d.remove(rng.Intn(2) == 0)
	}
	for range rng.Intn(4) {
		d.mounts = append(d.mounts, pick())
	}
	if d.removed && rng.Intn(3) == 0 {
		d.mounts = append(d.mounts, d.root) // one of the directory that is gone
	}
	d.furnish()
	return d
}

// remove takes the root directory away, and may make another one of its name.
func (d *drawn) remove(again bool) {
	d.tree = slices.DeleteFunc(d.tree, d.root.holds)
	if again {
		d.tree = append(d.tree, &node{d.root.name, d.root.parent})
	}
}

// furnish puts the host as the reader sees it into the world.
func (d *drawn) furnish() {
	w := d.world
	if d.reader != d.tree[0] {
		w.reader.CgroupNS, w.procs[0].ns, w.procs[1].ns = boxNS+1, boxNS+1, boxNS+1
	}
	host := func(n *node) string { return rendered(d.reader, n) }
	w.procs[0].mounts[0].root = host(d.through)
	w.inodes["freezer"] = map[string]uint64{}
	for i, n := range append(slices.Clone(d.tree), d.root) {
		if d.inode[n] == 0 {
			d.inode[n] = uint64(i + 1)
		}
		if slices.Contains(d.tree, n) && d.through.holds(n) {
			w.inodes["freezer"][lower(host(d.through), or(strings.TrimPrefix(rendered(d.through, n), "/"), "."))] = d.inode[n]
		}
	}
	p := proc{pid: 70, parent: 1, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", host(d.process), rendered(d.root, d.process)}}}
	p.mounts = []mount{{fs: "tmpfs", point: "/sys"}}
	for i, m := range d.mounts {
		p.mounts = append(p.mounts, mount{label: "freezer", point: fmt.Sprintf("/m%d", i), root: host(m), own: rendered(d.root, m)})
	}
	w.add(p)
	w.sees[boxNS] = map[int][]at{}
	for pid := 500; pid < 500+d.rng.Intn(4); pid++ {
		n := d.tree[d.rng.Intn(len(d.tree))]
		w.add(proc{pid: pid, parent: 1, ns: w.reader.CgroupNS, at: []at{{"freezer", host(n), ""}}})
		w.sees[boxNS][pid] = []at{{"freezer", host(n), rendered(d.root, n)}}
	}
	w.probe = d.list
}

// list is what the kernel answers: whether the process is in the directory that
// a walk from the mount leads to.
func (d *drawn) list(p inspect.Probe) inspect.ProbeAnswer {
	if inspect.Outside("/" + p.Path) {
		d.t.Fatalf("%v: it is asked for %s below a mount", d, p.Path)
	}
	var index int
	if _, err := fmt.Sscanf(p.Mount.MountPoint, "/m%d", &index); err != nil {
		d.t.Fatal(err)
	}
	at := d.mounts[index]
	answer := inspect.ProbeAnswer{Tried: true, Inode: d.inode[at]}
	if p.Path != "." {
		for name := range strings.SplitSeq(p.Path, "/") {
			i := slices.IndexFunc(d.tree, func(n *node) bool { return n.parent == at && n.name == name })
			if i < 0 {
				return answer
			}
			at = d.tree[i]
		}
	}
	answer.Listed = at == d.process
	return answer
}

// good tells whether the process is found through a mount in its own part of the
// tree.
func (d *drawn) good(m *node) bool { return d.root.holds(m) && m.holds(d.process) }

// faults are the errors and warnings that there have to be.
func (d *drawn) faults(dead bool) []string {
	if dead {
		return []string{"dead-root"}
	}
	outside := !d.root.holds(d.process)
	good := slices.ContainsFunc(d.mounts, d.good) || outside && slices.Contains(d.mounts, d.root)
	var list []string
	add := func(check string) { list = append(list, check) }
	for _, m := range d.mounts {
		switch {
		case good:
		case m != d.root && m.holds(d.root):
			add("stale-mount-root")
		case !d.root.holds(m) && !m.holds(d.process):
			add("foreign-mount-root")
		}
	}
	if len(list) == 0 && len(d.mounts) > 0 && !good && !outside {
		add("path-not-under-mount")
	}
	if outside {
		add("process-outside-root")
	}
	slices.Sort(list)
	return list
}

func (d *drawn) String() string {
	return fmt.Sprintf("reader %s, its mount %s, root %s (removed: %v), process %s", rendered(&node{}, d.reader), rendered(d.reader, d.through), rendered(d.reader, d.root), d.removed, rendered(d.reader, d.process))
}

// TestRandomHosts: in each of many hosts all faults are told and none else. A
// root directory is only said to be removed if it was.
func TestRandomHosts(t *testing.T) {
	count := map[string]int{}
	for seed := range int64(10_000) {
		d := draw(t, seed)
		r := d.doctor(70)
		var got []string
		for i := range r.Findings {
			if f := &r.Findings[i]; f.Severity != Info {
				got = append(got, f.Check)
				count[f.Check]++
				d.hold(f)
			}
		}
		slices.Sort(got)
		dead := slices.Contains(got, "dead-root")
		if dead && !d.removed || !slices.Equal(got, d.faults(dead)) {
			t.Fatalf("seed %d, %v: %q, want %q", seed, d, got, d.faults(dead))
		}
	}
	for _, check := range []string{"dead-root", "stale-mount-root", "foreign-mount-root", "path-not-under-mount", "process-outside-root"} {
		if count[check] < 200 {
			t.Errorf("%s was told %d times only", check, count[check])
		}
	}
}

// hold holds what a finding says of the root directory, and that commands are
// only given where it exists.
func (d *drawn) hold(f *Finding) {
	d.t.Helper()
	if root := f.Evidence["root_directory"]; root != nil && root != rendered(d.reader, d.root) {
		d.t.Fatalf("%v: root directory %v", d, root)
	}
	if f.Remedy.Steps != nil && (d.removed || !d.root.holds(d.process) && f.Evidence["root_directory"] == nil) {
		d.t.Fatalf("%v: commands for a namespace whose root is gone", d)
	}
}
