package livetest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// View is what a member of one cgroup namespace reads of a process, as the
// kernel gives it.
type View struct{ Cgroup, Mountinfo string }

// InView is what a reader in the cgroup namespace of pid, and otherwise on the
// host, reads of the process target: the kernel's own answer.
func InView(t testing.TB, pid, target int) View {
	t.Helper()
	read := func(file string) string {
		return Output(t, "nsenter", "-t", strconv.Itoa(pid), "-C", "--", "cat", fmt.Sprintf("/proc/%d/%s", target, file))
	}
	return View{read("cgroup"), read("mountinfo")}
}

// HostView is what the host reads of a process.
func HostView(t testing.TB, target int) View {
	t.Helper()
	return View{ReadFile(t, fmt.Sprintf("/proc/%d/cgroup", target)), ReadFile(t, fmt.Sprintf("/proc/%d/mountinfo", target))}
}

// Paths are a view's cgroup paths by hierarchy.
func (v View) Paths() map[string]string { return ParsePaths(v.Cgroup) }

// Mounts are a view's cgroup mounts.
func (v View) Mounts() []Mount { return ParseMounts(v.Mountinfo) }

// RootAt is the root of the last mount of a view at a mount point.
func (v View) RootAt(t testing.TB, point string) string {
	t.Helper()
	mounts := v.Mounts()
	slices.Reverse(mounts)
	for _, m := range mounts {
		if m.Point == point {
			return m.Root
		}
	}
	t.Fatalf("no cgroup mount at %s in\n%s", point, v.Mountinfo)
	return ""
}

// ParsePaths reads a cgroup file of /proc: the path for each hierarchy's label.
func ParsePaths(text string) map[string]string {
	paths := map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 {
			paths[label(f[1])] = f[2]
		}
	}
	return paths
}

// Label is the hierarchy of a cgroup line: its controllers, sorted, or its
// name; the one of version 2 is "unified".
func label(controllers string) string {
	list := strings.Split(controllers, ",")
	slices.Sort(list)
	if controllers == "" {
		return "unified"
	}
	return strings.Join(list, ",")
}

// Mount is a cgroup mount of a mountinfo file.
type Mount struct {
	ID, Parent  int
	Device      string
	Root, Point string
	Options     string
	Propagation string
	Label       string
	line        string
}

// ParseMounts reads the cgroup mounts of a mountinfo file.
func ParseMounts(text string) []Mount {
	var mounts []Mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, fs := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(fs) < 3 || fs[0] != "cgroup" && fs[0] != "cgroup2" {
			continue
		}
		m := Mount{Device: f[2], Root: decode(f[3]), Point: decode(f[4]), Options: f[5], Propagation: strings.Join(f[6:], " "), line: line}
		m.ID, _ = strconv.Atoi(f[0])
		m.Parent, _ = strconv.Atoi(f[1])
		m.Label = "unified"
		if fs[0] == "cgroup" {
			m.Label = labelOf(fs[2])
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// labelOf finds the controllers or the name among a v1 mount's super options.
func labelOf(super string) string {
	known := []string{"cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio", "hugetlb", "pids", "rdma", "misc", "debug"}
	var parts []string
	for _, o := range strings.Split(super, ",") {
		if slices.Contains(known, o) || strings.HasPrefix(o, "name=") {
			parts = append(parts, o)
		}
	}
	return label(strings.Join(parts, ","))
}

// decode undoes mountinfo's octal escapes.
func decode(field string) string {
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if n, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(field[i])
	}
	return b.String()
}

// Namespace is the inode number of a process's namespace.
func Namespace(t testing.TB, pid int, kind string) uint64 {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.Trim(link, kind+":[]"), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", link, err)
	}
	return n
}

// ReadFile reads a file that has to be there.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// HostUnchanged holds, when the test has ended and cleaned up, that the host's
// mounts are as they were, to the byte, and no cgroup of the test's is left.
func HostUnchanged(t testing.TB) {
	t.Helper()
	before := ReadFile(t, "/proc/self/mountinfo")
	t.Cleanup(func() {
		if after := ReadFile(t, "/proc/self/mountinfo"); after != before {
			t.Errorf("the host's mounts changed from\n%s\nto\n%s", before, after)
		}
		for _, m := range ParseMounts(before) {
			entries, err := os.ReadDir(m.Point)
			if err != nil {
				t.Error(err)
			}
			for _, e := range entries {
				if owner, ok := names.Load(e.Name()); ok && owner == t {
					t.Errorf("the cgroup %s/%s is left", m.Point, e.Name())
				}
			}
		}
	})
}
