package endtoend

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// textbook is the example of cgroup_namespaces(7): two cgroups side by side, a
// process in the one, a shell in the other, which then gets a cgroup and a
// mount namespace of its own but keeps the mounts.
type textbook struct {
	label, point string
	sub, sub2    *lt.Cgroup
	host, shell  *lt.Shell
	sleep        int
}

func newTextbook(t *testing.T, label string, propagation string, prepare ...string) *textbook {
	t.Helper()
	host := lt.NewHost(t)
	b := &textbook{label: label, host: host}
	dir := ""
	if label == "net_cls,net_prio" {
		b.point, dir = lt.MountNet(t, host)
	} else {
		b.point = lt.MountOf(t, label)
		dir = b.point
	}
	for _, line := range prepare {
		host.Do("%s", line)
	}
	b.sub, b.sub2 = lt.NewCgroupAt(t, label, dir), lt.NewCgroupAt(t, label, dir)
	b.sleep = host.Sleep()
	b.sub2.Add(b.sleep)
	b.shell = host.Fork().Join(b.sub)
	b.shell.Become("unshare", "-C", "-m", "--propagation", propagation, "--")
	return b
}

var textbookHierarchies = []string{"freezer", "unified", "name=systemd", "net_cls,net_prio"}

func TestLiveTextbook(t *testing.T) {
	for _, label := range textbookHierarchies {
		t.Run(label, func(t *testing.T) {
			if label != "net_cls,net_prio" {
				needs(t, label)
			}
			b := newTextbook(t, label, "private")
			b.compareJSON(t)
			b.compareTable(t)
			b.list(t)
			b.inside(t)
			b.doctor(t)
		})
	}
}

func (b *textbook) compareJSON(t *testing.T) {
	c := likeKernel(t, b.shell.PID, 1, b.sleep)
	if c.Namespace.NS == lt.Namespace(t, os.Getpid(), "cgroup") || c.Namespace.Initial || c.Namespace.SameAsReader || c.Namespace.Known != "entered" {
		t.Errorf("namespace %+v", c.Namespace)
	}
	h := c.at(t, b.label)
	if h.HostPath != b.sub.Path || h.NamespacePath != "/" || h.root() != b.sub.Path || h.Verdict != "stale" || h.Outside || h.Known != "entered" {
		t.Errorf("%s", dump(h))
	}
	if len(h.Mounts) != 1 || h.Mounts[0].MountPoint != b.point || h.Mounts[0].HostRoot != "/" || h.Mounts[0].NamespaceRoot != "/.." || h.Mounts[0].Verdict != "stale" || !h.Mounts[0].Visible {
		t.Errorf("%s", dump(h.Mounts))
	}
	for i, want := range []string{"/..", "/.." + b.sub2.Path} {
		for _, p := range c.Peers[i].Paths {
			if p.Hierarchy == b.label && p.NamespacePath != want {
				t.Errorf("peer %d: %q, want %q", c.Peers[i].PID, p.NamespacePath, want)
			}
		}
	}
	stale := staleByKernel(t, b.shell.PID)
	for _, h := range c.Hierarchies {
		if (h.Verdict == "stale") != slices.Contains(stale, h.Hierarchy) {
			t.Errorf("%s is %s", h.Hierarchy, h.Verdict)
		}
	}
	if c.Verdict != "stale" {
		t.Errorf("verdict %s", c.Verdict)
	}
}

func (b *textbook) compareTable(t *testing.T) {
	pid := strconv.Itoa(b.shell.PID)
	r := lt.Run(t, "compare", pid, "1", strconv.Itoa(b.sleep))
	if r.Status != 0 || r.Stderr != "nsinspect: hint: 'nsinspect doctor "+pid+"' says what is wrong and how to mend it\n" {
		t.Errorf("exit status %d, %s", r.Status, r.Stderr)
	}
	id := b.id(t)
	first := lt.Execute(t, "cat", "/proc/1/comm").Stdout
	want := [][]string{
		{id, b.label, b.sub.Path, "/", b.sub.Path, b.point, "/", "/..", "stale"},
		{"1", strings.ReplaceAll(strings.TrimSpace(first), " ", `\040`), id, b.label, "/", "/.."},
		{strconv.Itoa(b.sleep), "sleep", id, b.label, b.sub2.Path, "/.." + b.sub2.Path},
	}
	for _, row := range want {
		n := 0
		for line := range strings.Lines(r.Stdout) {
			if slices.Equal(strings.Fields(line), row) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d times the row %q in\n%s", n, row, r.Stdout)
		}
	}
	own, host := lt.Namespace(t, b.shell.PID, "cgroup"), lt.Namespace(t, os.Getpid(), "cgroup")
	head, _, _ := strings.Cut(r.Stdout, "\n")
	if want := fmt.Sprintf("%s sh (root): cgroup namespace %d; nsinspect's own is %d (initial)", pid, own, host); head != want {
		t.Errorf("head %q, want %q", head, want)
	}
}

// id is the hierarchy's ID as the kernel numbers it.
func (b *textbook) id(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(lt.ReadFile(t, "/proc/self/cgroup")) {
		id, rest, _ := strings.Cut(line, ":")
		paths := lt.ParsePaths(id + ":" + rest)
		if _, ok := paths[b.label]; ok {
			return id
		}
	}
	t.Fatalf("no hierarchy %s", b.label)
	return ""
}

func (b *textbook) list(t *testing.T) {
	var l listing
	decode(t, lt.Run(t, "list", "-J"), 0, &l)
	own, host := lt.Namespace(t, b.shell.PID, "cgroup"), lt.Namespace(t, os.Getpid(), "cgroup")
	found := 0
	for _, ns := range l.Namespaces {
		switch ns.NS {
		case own:
			found++
			if ns.Initial || ns.NProcs != 1 || !slices.Equal(ns.PIDs, []int{b.shell.PID}) {
				t.Errorf("%s", dump(ns))
			}
			paths := lt.HostView(t, b.shell.PID).Paths()
			if len(ns.Roots) != len(paths) {
				t.Errorf("%d root directories, want %d", len(ns.Roots), len(paths))
			}
			for _, r := range ns.Roots {
				// Its one member is where it was when it made the namespace.
				if r.RootDirectory == nil || *r.RootDirectory != paths[r.Hierarchy] {
					t.Errorf("root directory %s, want %s", dump(r), paths[r.Hierarchy])
				}
			}
		case host:
			found++
			if !ns.Initial || !slices.Contains(ns.PIDs, b.sleep) || !slices.Contains(ns.PIDs, os.Getpid()) || slices.Contains(ns.PIDs, b.shell.PID) || ns.NProcs != len(ns.PIDs) {
				t.Errorf("%s", dump(ns))
			}
		}
	}
	if found != 2 {
		t.Errorf("%d of the two namespaces are listed:\n%s", found, dump(l))
	}
	for line := range strings.Lines(lt.Run(t, "list").Stdout) {
		if strings.Contains(line, strconv.FormatUint(own, 10)) && !strings.Contains(line, b.sub.Path) {
			t.Errorf("the table does not say the root directory: %s", line)
		}
	}
}

// inside holds what a reader in the namespace can know: it is told that it is
// no initial one, and finds the fault by its own views alone.
func (b *textbook) inside(t *testing.T) {
	pid := strconv.Itoa(b.shell.PID)
	var c comparison
	decode(t, b.shell.Run("compare", "-J", pid, strconv.Itoa(b.sleep)), 0, &c)
	h := c.at(t, b.label)
	if h.HostPath != "/" || h.NamespacePath != "/" || h.root() != "/" || h.Verdict != "stale" || h.Mounts[0].HostRoot != "/.." || h.Mounts[0].NamespaceRoot != "/.." {
		t.Errorf("inside: %s", dump(h))
	}
	if !c.Namespace.SameAsReader || c.Namespace.Initial || c.Namespace.NS != lt.Namespace(t, b.shell.PID, "cgroup") {
		t.Errorf("inside: %+v", c.Namespace)
	}
	r := doctorBy(t, b.shell.Run("doctor", "-J", pid))
	f := r.one(t, "stale-mount-root", "error", b.label, b.shell.PID)
	if !isTrue(f.Confirmed) || f.Mount.NamespaceRoot != "/.." || f.Mount.MountPoint != b.point {
		t.Errorf("inside: %s", dump(f))
	}
	if n := r.of("reader-not-initial", ""); len(n) != 1 || n[0].Severity != "info" || r.Reader.Initial == nil || *r.Reader.Initial {
		t.Errorf("inside: %s", dump(r))
	}
}

func (b *textbook) doctor(t *testing.T) {
	pid := b.shell.PID
	if kernelLists(t, pid, b.point) {
		t.Fatal("the kernel does list the process there, so this is no fault")
	}
	stale := staleByKernel(t, pid)
	whole := doctorBy(t, lt.Run(t, "doctor", "-J"))
	for _, r := range []*report{doctor(t, pid), whole} {
		var about []string
		for _, f := range r.serious() {
			if slices.Contains(f.PIDs, pid) {
				about = append(about, f.Hierarchy)
				if f.Check != "stale-mount-root" {
					t.Errorf("beside the stale mount: %s", dump(f))
				}
			}
		}
		slices.Sort(about)
		if !slices.Equal(about, stale) {
			t.Fatalf("found %v, the kernel shows %v as stale\n%s", about, stale, dump(r.Findings))
		}
	}
	f := doctor(t, pid).one(t, "stale-mount-root", "error", b.label, pid)
	if !isTrue(f.Confirmed) || f.Mount.MountPoint != b.point || f.Mount.HostRoot != "/" || f.Mount.NamespaceRoot != "/.." ||
		f.CgroupNS != lt.Namespace(t, pid, "cgroup") || f.MntNS != lt.Namespace(t, pid, "mnt") || !isTrue(f.Remedy.Safe) {
		t.Errorf("%s", dump(f))
	}
	b.mend(t, f, stale)
}

// mend pastes the steps from the text, then those from JSON into another shell
// in the same situation.
func (b *textbook) mend(t *testing.T, f finding, stale []string) {
	pid := b.shell.PID
	own := fmt.Sprint(pid)
	umount := []string{"nsenter", "-t", own, "-C", "--", "umount", "-N", own, b.point}
	if n := len(f.Remedy.Steps); n != 6 || !slices.Equal(f.Remedy.Steps[2], umount) {
		t.Errorf("steps %s", dump(f.Remedy.Steps))
	}
	before, host := lt.ReadFile(t, "/proc/self/mountinfo"), lt.HostView(t, b.host.PID).Mountinfo
	text := lt.Run(t, "doctor", own)
	if text.Status != 1 || text.Stderr != "" {
		t.Errorf("exit status %d, %s", text.Status, text.Stderr)
	}
	if first, _, _ := strings.Cut(text.Stdout, "\n"); len(first) > 80 || !strings.HasPrefix(first, fmt.Sprintf("%d error", len(stale))) {
		t.Errorf("the first line is %q", first)
	}
	blocks := textRemedies(text.Stdout)
	if blocks[b.point] == "" || len(blocks) != len(stale) {
		t.Fatalf("commands for %s in\n%s", dump(blocks), text.Stdout)
	}
	for _, block := range blocks {
		paste(t, block)
	}
	b.mended(t)
	// Another shell in the same situation, all from JSON.
	b.shell = b.host.Fork().Join(b.sub)
	b.shell.Become("unshare", "-C", "-m", "--propagation", "private", "--")
	pid = b.shell.PID
	again := doctor(t, pid).of("stale-mount-root", "")
	if len(again) != len(stale) {
		t.Fatalf("found %s", dump(again))
	}
	for _, f := range again {
		paste(t, jsonRemedy(f))
	}
	b.mended(t)
	if after := lt.ReadFile(t, "/proc/self/mountinfo"); after != before {
		t.Errorf("the host's mounts changed from\n%s\nto\n%s", before, after)
	}
	if after := lt.HostView(t, b.host.PID).Mountinfo; after != host {
		t.Errorf("the neighbour's mounts changed from\n%s\nto\n%s", host, after)
	}
}

func (b *textbook) mended(t *testing.T) {
	t.Helper()
	pid := b.shell.PID
	if got := lt.InView(t, pid, pid).RootAt(t, b.point); got != "/" || !kernelLists(t, pid, b.point) {
		t.Fatalf("the mount's root is %q", got)
	}
	if r := doctor(t, pid); len(r.Findings) > 0 {
		t.Errorf("after mending: %s", dump(r.Findings))
	}
	if r := lt.Run(t, "doctor", strconv.Itoa(pid)); r.Status != 0 || !strings.HasPrefix(r.Stdout, "nothing wrong found\n") {
		t.Errorf("after mending: exit status %d\n%s", r.Status, r.Stdout)
	}
	if h := likeKernel(t, pid).at(t, b.label); h.Verdict != "ok" || h.Mounts[0].HostRoot != b.sub.Path {
		t.Errorf("after mending: %s", dump(h))
	}
}

// Where the mount below is shared, what the target does to it reaches all its
// peers: the remedy takes it, and only it, out of their group first.
func TestLiveTextbookShared(t *testing.T) {
	for _, label := range textbookHierarchies {
		t.Run(label, func(t *testing.T) {
			parent := "/mnt"
			if label != "net_cls,net_prio" {
				needs(t, label)
				parent = mountParent(t, os.Getpid(), lt.MountOf(t, label))
			}
			b := newTextbook(t, label, "unchanged", "mount --make-rshared / && mount --make-shared "+parent)
			pid := b.shell.PID
			before := lt.HostView(t, b.host.PID).Mountinfo
			if b.point != "/mnt/net" && mountParent(t, pid, b.point) != parent {
				t.Fatalf("%s does not lie on %s", b.point, parent)
			}
			f := doctor(t, pid).one(t, "stale-mount-root", "error", label, pid)
			slaves := 0
			for _, step := range f.Remedy.Steps {
				if slices.ContainsFunc(step, func(a string) bool { return strings.Contains(a, "slave") }) {
					slaves++
					own := fmt.Sprint(pid)
					if want := []string{"nsenter", "-t", own, "-C", "--", "mount", "-N", own, "--make-slave", parent}; !slices.Equal(step, want) {
						t.Errorf("step %q, want %q", step, want)
					}
				}
			}
			if slaves != 1 {
				t.Errorf("%d steps make a slave: %s", slaves, dump(f.Remedy.Steps))
			}
			paste(t, jsonRemedy(f))
			if got := lt.InView(t, pid, pid).RootAt(t, b.point); got != "/" || !kernelLists(t, pid, b.point) {
				t.Errorf("the mount's root is %q", got)
			}
			if after := lt.HostView(t, b.host.PID).Mountinfo; after != before {
				t.Errorf("the witness's mounts changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}
