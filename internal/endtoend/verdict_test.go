package endtoend

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	lt "nsinspect/internal/livetest"
)

// worth are the verdicts that follow from what a process reads of itself, worst
// first. Nobody inside can tell that the namespace's root directory is dead.
var worth = []string{"stale", "foreign", "unreachable", "none", "sub", "ok"}

// kernelVerdicts judges a process's mounts of one hierarchy, and the hierarchy,
// by the words of docs/design.md, from what the kernel prints to a process
// inside: its cgroup's path and the roots of its mounts. Whether a mount can be
// seen the kernel is asked too: it is if the way to its mount point ends there.
func kernelVerdicts(t *testing.T, pid int, path string, mounts []lt.Mount) (each map[int]string, whole string) {
	t.Helper()
	each, whole = map[int]string{}, "none"
	contained := false
	for _, m := range mounts {
		each[m.ID] = kernelVerdict(m.Root, path)
		contained = contained || reached(pid, m) && (each[m.ID] == "ok" || each[m.ID] == "sub")
	}
	var counts []string
	for _, m := range mounts {
		if contained && each[m.ID] == "unreachable" {
			each[m.ID] = "sub" // some part of the tree, beside the one that they are in
		}
		tooWide := each[m.ID] == "stale" || each[m.ID] == "foreign"
		if reached(pid, m) && !(contained && tooWide) {
			counts = append(counts, each[m.ID])
		}
	}
	for _, v := range slices.Backward(worth) {
		if slices.Contains(counts, v) {
			whole = v
		}
	}
	return each, whole
}

func kernelVerdict(root, path string) string {
	switch {
	case ups.MatchString(root):
		return "stale"
	case strings.HasPrefix(root, "/../"):
		return "foreign"
	case root == "/" && path != "/.." && !strings.HasPrefix(path, "/../"):
		return "ok"
	case path == root || strings.HasPrefix(path, root+"/"):
		return "sub"
	}
	return "unreachable"
}

// reached asks the kernel which mount the way to a mount point ends at.
func reached(pid int, m lt.Mount) bool {
	var stx unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/root%s", pid, m.Point), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &stx)
	return err == nil && stx.Mnt_id == uint64(m.ID)
}

// holdVerdicts holds compare's verdicts against the kernel's. What it does not
// know it may say so; that a root directory is dead is held elsewhere.
func holdVerdicts(t *testing.T, c *comparison, pid int, dead func(label string) bool) (held, unknown int) {
	t.Helper()
	own := lt.InView(t, pid, pid)
	for _, h := range c.Hierarchies {
		mounts := slices.DeleteFunc(own.Mounts(), func(m lt.Mount) bool { return m.Label != h.Hierarchy })
		each, whole := kernelVerdicts(t, pid, own.Paths()[h.Hierarchy], mounts)
		for _, m := range mounts {
			i := slices.IndexFunc(h.Mounts, func(j mountJSON) bool { return j.ID == m.ID })
			if i < 0 || h.Mounts[i].Visible != reached(pid, m) {
				t.Errorf("%d in %s: mount %d at %s is told as %s, reached: %v", pid, h.Hierarchy, m.ID, m.Point, dump(h.Mounts), reached(pid, m))
				continue
			}
			got := h.Mounts[i].Verdict
			switch {
			case got == "unknown":
				unknown++
			case got != each[m.ID] && (got != "dead" || !dead(h.Hierarchy)):
				t.Errorf("%d in %s: the mount at %s is %s, by the kernel %s: root %s, path %s", pid, h.Hierarchy, m.Point, got, each[m.ID], m.Root, h.NamespacePath)
			}
			held++
		}
		if h.Verdict != whole && h.Verdict != "unknown" && (h.Verdict != "dead" || !dead(h.Hierarchy)) {
			t.Errorf("%d in %s: %s, by the kernel %s: %s", pid, h.Hierarchy, h.Verdict, whole, dump(h.Mounts))
		}
	}
	return held, unknown
}
