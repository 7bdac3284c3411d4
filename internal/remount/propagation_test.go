package remount

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// propagations are the cases in which an umount and a mount may, or may not,
// reach the host. %[1]s is the mount that the cgroup mount lies on, %[2]s the
// cgroup mount.
var propagations = []struct {
	name, host, target string
	// naive tells whether an umount and a mount without more are seen in the
	// host's mount namespace.
	naive bool
}{
	{"parent shared", "mount --make-shared %[1]s", "", true},
	{"cgroup mount shared", "mount --make-shared %[2]s", "", false},
	{"all shared", "mount --make-rshared /", "", true},
	{"all shared, rslave in the target", "mount --make-rshared /", "mount --make-rslave /", false},
	{"all shared, parent a slave in the target", "mount --make-rshared /", "mount --make-slave %[1]s", false},
	{"all shared, cgroup mount a slave in the target", "mount --make-rshared /", "mount --make-slave %[2]s", true},
}

// Whatever the propagation, the witness's mounts do not change by a byte, and
// what host and target shared before, they still share.
func TestLivePropagation(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, c := range propagations {
			make := func(t *testing.T) *world {
				w := newWorld(t, label)
				parent := parentOf(t, w.host.PID, w.point)
				w.host.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b /mnt/c /mnt/d && mount --make-shared /mnt")
				w.host.Do(c.host+" # %[1]s %[2]s", parent, w.point)
				w.spawn()
				if c.target != "" {
					w.target.Do(c.target+" # %[1]s %[2]s", parent, w.point)
				}
				return w
			}
			t.Run(label+"/"+c.name+"/without care", func(t *testing.T) {
				if got := make(t).naive(); got != c.naive {
					t.Errorf("the host sees the change: %v, want %v", got, c.naive)
				}
			})
			t.Run(label+"/"+c.name, func(t *testing.T) {
				w := make(t)
				before := w.shares("a", "b")
				optional := w.propagation()
				m := w.mend()
				if slave := len(m.Notes) > 0; slave != c.naive {
					t.Errorf("notes %q", m.Notes)
				}
				if after := w.shares("c", "d"); after != before {
					t.Errorf("the volume was shared like this: %s, and is like this: %s", before, after)
				}
				w.onlyOneSlave(optional, c.naive)
			})
		}
	}
}

// naive does what must not be done, and tells whether the host sees it.
func (w *world) naive() bool {
	w.t.Helper()
	before := lt.HostView(w.t, w.host.PID).Mountinfo
	w.target.Do("umount %s", w.point)
	if w.label == "unified" {
		w.target.Do("mount -t cgroup2 cgroup2 %s", w.point)
	} else {
		w.target.Do("mount -t cgroup -o %[1]s %[1]s %[2]s", w.label, w.point)
	}
	return lt.HostView(w.t, w.host.PID).Mountinfo != before
}

// shares tries a mount of each side's in the volume, and tells who sees what.
// Nothing is left mounted there.
func (w *world) shares(host, target string) string {
	w.t.Helper()
	seen := func(by *lt.Shell, from *lt.Shell, dir string) bool {
		from.Do("mount -t tmpfs tmpfs /mnt/%[1]s && mkdir /mnt/%[1]s/there", dir)
		_, status := by.Try("test -d /mnt/%s/there", dir)
		from.Do("umount /mnt/%s", dir)
		return status == 0
	}
	return fmt.Sprintf("the target sees the host's: %v, the host the target's: %v", seen(w.target, w.host, host), seen(w.host, w.target, target))
}

// propagation are the optional fields of all the target's mounts but the
// cgroup mount, by mount point.
func (w *world) propagation() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for l := range strings.Lines(lt.ReadFile(w.t, fmt.Sprintf("/proc/%d/mountinfo", w.target.PID))) {
		before, _, _ := strings.Cut(l, " - ")
		if f := strings.Fields(before); f[4] != w.point {
			all[f[0]+" "+f[4]] = strings.Join(f[6:], " ")
		}
	}
	return all
}

// onlyOneSlave holds that, of all mounts, at most the cgroup mount's parent has
// another propagation than before: a slave's.
func (w *world) onlyOneSlave(before map[string]string, slave bool) {
	w.t.Helper()
	parent := parentOf(w.t, w.target.PID, w.point)
	var changed []string
	for mount, now := range w.propagation() {
		if now == before[mount] {
			continue
		}
		changed = append(changed, mount)
		if strings.Contains(now, "shared:") || !strings.HasPrefix(now, "master:") {
			w.t.Errorf("%s was %q and is %q", mount, before[mount], now)
		}
	}
	want := 0
	if slave {
		want = 1
	}
	if len(changed) != want || slave && !strings.HasSuffix(changed[0], " "+parent) {
		slices.Sort(changed)
		w.t.Errorf("%q changed, want at most that at %s", changed, parent)
	}
}
