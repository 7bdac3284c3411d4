package endtoend

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// exactly holds the names of all checks that found something, each as often as
// it did.
func (r *report) exactly(t *testing.T, checks ...string) {
	t.Helper()
	var found []string
	for _, f := range r.Findings {
		found = append(found, f.Check)
	}
	slices.Sort(found)
	slices.Sort(checks)
	if !slices.Equal(found, checks) {
		t.Errorf("want just %v, but found %s", checks, dump(r.Findings))
	}
}

// words are a list among a finding's evidence.
func (f *finding) words(key string) []string {
	var list []string
	values, _ := f.Evidence[key].([]any)
	for _, v := range values {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// own is a shell in a mount namespace of its own, otherwise on the host.
func own(t *testing.T, host *lt.Shell) *lt.Shell {
	t.Helper()
	s := host.Fork()
	s.Become("unshare", "-m", "--propagation", "private", "--")
	return s
}

// pointsOf are the mount points of a hierarchy, in the order of a process's
// mountinfo.
func pointsOf(t *testing.T, pid int, label string) []string {
	t.Helper()
	var points []string
	for _, m := range lt.HostView(t, pid).Mounts() {
		if m.Label == label {
			points = append(points, m.Point)
		}
	}
	return points
}

// lacking are the hierarchies of v1 controllers that one process has mounted and
// another one has not.
func lacking(t *testing.T, pid, reader int) []string {
	t.Helper()
	var list []string
	for _, m := range lt.HostView(t, reader).Mounts() {
		named := m.Label == "unified" || strings.HasPrefix(m.Label, "name=")
		if !named && len(pointsOf(t, pid, m.Label)) == 0 {
			list = append(list, m.Label)
		}
	}
	slices.Sort(list)
	return list
}

func TestLiveControllerMountMissing(t *testing.T) {
	for name, c := range map[string]struct {
		severity string // empty: nothing may be told
		gone     []string
	}{
		"a size's":       {"warning", []string{"cpu", "freezer"}},
		"all sizes'":     {"warning", []string{"cpu", "cpuacct", "cpuset", "memory"}},
		"another's":      {"info", []string{"freezer", "devices"}},
		"a named one":    {"", []string{"name=systemd"}},
		"version 2":      {"", []string{"unified"}},
		"version 1":      {"", []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"}},
		"nothing at all": {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, c.gone...)
			s := own(t, lt.NewHost(t))
			for _, label := range c.gone {
				s.Do("umount %s", lt.MountOf(t, label))
			}
			missing(t, doctor(t, s.PID), s.PID, os.Getpid(), c.severity)
		})
	}
}

// missing holds the one finding against what the two mountinfos have.
func missing(t *testing.T, r *report, pid, reader int, severity string) {
	t.Helper()
	if severity == "" {
		r.exactly(t)
		return
	}
	r.exactly(t, "controller-mount-missing")
	f := r.one(t, "controller-mount-missing", severity, "", pid)
	labels := f.words("hierarchies")
	slices.Sort(labels)
	if want := lacking(t, pid, reader); !slices.Equal(labels, want) || len(want) == 0 || f.MntNS != lt.Namespace(t, pid, "mnt") {
		t.Errorf("want %v, but found %s", want, dump(f))
	}
}

// Under another file system a mount is as good as gone.
func TestLiveControllerMountCovered(t *testing.T) {
	needs(t, "memory")
	s := own(t, lt.NewHost(t))
	s.Do("mount -t tmpfs tmpfs %s", lt.MountOf(t, "memory"))
	if f := doctor(t, s.PID).one(t, "controller-mount-missing", "warning", "", s.PID); !slices.Equal(f.words("hierarchies"), []string{"memory"}) {
		t.Errorf("%s", dump(f))
	}
}

// What the reader has not mounted itself is missed by nobody, though every
// process has a line of it.
func TestLiveControllerMountedNowhere(t *testing.T) {
	lt.Need(t, lt.Root)
	host := lt.NewHost(t)
	lt.MountNet(t, host)
	s := lt.Start(t)
	if _, ok := lt.HostView(t, s.PID).Paths()["net_cls,net_prio"]; !ok {
		t.Fatal("the kernel has no line of it")
	}
	missing(t, doctor(t, s.PID), s.PID, os.Getpid(), "")
	missing(t, doctorBy(t, host.Run("doctor", "-J", fmt.Sprint(s.PID))), s.PID, host.PID, "info")
}

// A v1 mount of the own cgroup, in the host's cgroup namespace: mount point and
// path joined lead nowhere.
func TestLiveBindLeaf(t *testing.T) {
	const label = "freezer"
	for name, c := range map[string]struct {
		below bool   // the process is in a cgroup of its own below
		do    string // %[1]s is the mount point, %[2]s the cgroup
		told  []string
	}{
		"own":        {do: "mount --bind %[1]s%[2]s %[1]s", told: []string{"bind-leaf"}},
		"below":      {below: true, do: "mount --bind %[1]s%[2]s %[1]s", told: []string{"bind-leaf"}},
		"kind's way": {do: "mount --bind %[1]s%[2]s %[1]s && mkdir -p %[1]s%[2]s && mount --bind %[1]s %[1]s%[2]s", told: []string{"duplicate-hierarchy-mount"}},
		"LXC's way":  {do: "mount -t tmpfs tmpfs /mnt && mkdir -p /mnt%[2]s && mount --bind %[1]s%[2]s /mnt%[2]s && umount %[1]s && mount --move /mnt %[1]s"},
		"whole":      {do: "mount -t tmpfs tmpfs /mnt && mkdir -p /mnt%[2]s && mount --move %[1]s /mnt%[2]s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box, point := lt.NewHost(t), lt.NewCgroup(t, label), lt.MountOf(t, label)
			s := own(t, host).Join(box)
			if c.below {
				s.Join(box.Child("below"))
			}
			s.Do(c.do, point, box.Path)
			view := lt.HostView(t, s.PID)
			at := path.Join(fmt.Sprintf("/proc/%d/root", s.PID), pointsOf(t, s.PID, label)[0])
			if name == "LXC's way" {
				at = strings.TrimSuffix(at, box.Path) // tools take what they know to be above
			}
			if _, err := os.Stat(at + view.Paths()[label]); os.IsNotExist(err) != slices.Contains(c.told, "bind-leaf") {
				t.Fatalf("mount point and path joined: %v", err)
			}
			r := doctor(t, s.PID)
			r.exactly(t, c.told...)
			if !slices.Contains(c.told, "bind-leaf") {
				return
			}
			f := r.one(t, "bind-leaf", "info", "", s.PID)
			if f.Evidence["namespace_root"] != view.RootAt(t, point) || f.Evidence["namespace_path"] != view.Paths()[label] || !slices.Equal(f.words("hierarchies"), []string{label}) {
				t.Errorf("%s", dump(f))
			}
		})
	}
}

// In a private namespace the own cgroup is "/", so joining does lead there; and
// of version 2 every library knows how to take the root off.
func TestLiveBindLeafNearMiss(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box, point := lt.NewHost(t), lt.NewCgroup(t, label), lt.MountOf(t, label)
			s := own(t, host).Join(box)
			if label == "freezer" {
				s.Become("unshare", "-C", "--")
				freshOthers(t, s, label)
			}
			s.Do("mount --bind %s%s %[1]s", point, box.Path)
			if root := lt.HostView(t, s.PID).RootAt(t, point); root != box.Path {
				t.Fatalf("the kernel shows %s", root)
			}
			doctor(t, s.PID).exactly(t)
		})
	}
}

// A mount of a child in which the process is not, as kind makes it for its
// kubelet.
func TestLivePartialSubmount(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, inside := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/inside=%v", label, inside), func(t *testing.T) {
				t.Parallel()
				needs(t, label)
				host, box, point := lt.NewHost(t), lt.NewCgroup(t, label), lt.MountOf(t, label)
				s := boxed(t, host, box)
				freshAll(t, s)
				child := box.Child("kubelet")
				s.Do("mount --bind %s/kubelet %[1]s/kubelet", point)
				if inside {
					s.Join(child) // then both mounts show it, and neither is partial
				}
				if lists := kernelLists(t, s.PID, point+"/kubelet"); lists != inside {
					t.Fatalf("the kernel lists it there: %v", lists)
				}
				r := doctor(t, s.PID)
				if inside {
					r.exactly(t, "duplicate-hierarchy-mount")
					return
				}
				r.exactly(t, "partial-submount")
				f := r.one(t, "partial-submount", "info", label, s.PID)
				if f.Mount.MountPoint != point+"/kubelet" || f.Mount.NamespaceRoot != "/kubelet" || f.Mount.HostRoot != child.Path || !strings.Contains(f.Message, "the good mount at "+point+":") {
					t.Errorf("%s", dump(f))
				}
				nothingSerious(t, s.PID)
			})
		}
	}
}

// The same tree twice; and so often that it looks like a leak.
func TestLiveDuplicateHierarchyMount(t *testing.T) {
	for _, c := range []struct {
		more     int
		severity string
	}{{1, "info"}, {31, "info"}, {32, "warning"}} {
		t.Run(fmt.Sprint(c.more), func(t *testing.T) {
			t.Parallel()
			needs(t, "freezer", "pids")
			s := own(t, lt.NewHost(t))
			point := lt.MountOf(t, "freezer")
			s.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/pids && mount --bind %s /mnt/pids", lt.MountOf(t, "pids"))
			s.Do("n=0; while [ $n -lt %d ]; do n=$((n + 1)); mkdir /mnt/$n && mount --bind %s /mnt/$n || exit 1; done", c.more, point)
			r := doctor(t, s.PID)
			r.exactly(t, "duplicate-hierarchy-mount")
			f := r.one(t, "duplicate-hierarchy-mount", c.severity, "", s.PID)
			most := "freezer" // of two with as many mounts the first is named
			if c.more == 1 {
				most = f.words("hierarchies")[0]
			}
			points := pointsOf(t, s.PID, most)
			want := fmt.Sprintf("%s is mounted %d times (first %s, last %s): ", most, len(points), points[0], points[len(points)-1])
			if !slices.Equal(f.words("mount_points"), points) || !strings.HasPrefix(f.Message, want) || !strings.HasSuffix(f.Message, " (1 more hierarchy likewise)") || len(f.words("hierarchies")) != 2 {
				t.Errorf("want %v and %q, but found %s", points, want, dump(f))
			}
		})
	}
}

// Two mounts of which one is seen, or one shows something else, are no
// duplicates.
func TestLiveDuplicateNearMiss(t *testing.T) {
	for name, do := range map[string]string{
		"stacked": "mount --bind %[1]s %[1]s",
		"covered": "mount -t tmpfs tmpfs /mnt && mkdir /mnt/a && mount --bind %[1]s /mnt/a && mount -t tmpfs tmpfs /mnt",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "freezer")
			s := own(t, lt.NewHost(t))
			s.Do(do, lt.MountOf(t, "freezer"))
			if n := len(pointsOf(t, s.PID, "freezer")); n != 2 {
				t.Fatalf("%d mounts", n)
			}
			doctor(t, s.PID).exactly(t)
		})
	}
}
