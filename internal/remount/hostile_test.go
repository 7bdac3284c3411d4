package remount

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	lt "nsinspect/internal/livetest"
)

// deep is a target whose stale mount is at /mnt/x/cg, in a directory that it can
// change.
func deep(t *testing.T) *world {
	t.Helper()
	w := stale(t, "freezer")
	w.target.Do("mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/x/cg && mount --bind %[1]s /mnt/x/cg && umount %[1]s", w.point)
	w.point = "/mnt/x/cg"
	return w
}

// What a target does between the last look at its mounts and the first change:
// nothing is touched that was not in the plan, and no link is followed.
func TestLiveHostileSwap(t *testing.T) {
	for name, c := range map[string]struct{ do, want string }{
		"symlink on the way":    {"mv /mnt/x /mnt/y && ln -s y /mnt/x", "too many levels of symbolic links"},
		"symlink to the host":   {"mv /mnt/x /mnt/y && ln -s /proc/1/root/sys/fs/cgroup /mnt/x", "too many levels of symbolic links"},
		"another mount upon it": {"mount -t tmpfs tmpfs /mnt/x/cg", "another mount is there"},
		"another one instead":   {"umount /mnt/x/cg && mount --bind /mnt/x /mnt/x/cg", "another mount is there"},
		"another directory":     {"mv /mnt/x /mnt/y && mkdir -p /mnt/x/cg", "another mount is there"},
		"a mount on the way":    {"mount -t tmpfs tmpfs /mnt/x && mkdir /mnt/x/cg", "another mount is there"},
		"a FIFO":                {"mv /mnt/x /mnt/y && mkdir /mnt/x && mkfifo /mnt/x/cg", "not a directory"},
		"a shared way": {"mkdir /mnt/z && mount -t tmpfs tmpfs /mnt/z && mkdir /mnt/z/cg && mount --move /mnt/x/cg /mnt/z/cg && mount --make-shared /mnt/z && mount --bind /mnt/z /mnt/x && mount --bind /mnt/z/cg /mnt/x/cg",
			"another mount is there"},
		"itself on a shared way": {"mkdir /mnt/z && mount -t tmpfs tmpfs /mnt/z && mkdir /mnt/z/cg && mount --move /mnt/x/cg /mnt/z/cg && mount --move /mnt/z /mnt/x && mount --make-shared /mnt/x",
			"another mount is there"},
		"nothing": {"umount /mnt/x/cg", "another mount is there"},
	} {
		t.Run(name, func(t *testing.T) {
			w := deep(t)
			p := w.plan()
			var target, host string
			p.sys = before("unshare", 1, func() { // the thread is about to enter
				w.target.Do("%s", c.do)
				target, host = lt.HostView(t, w.target.PID).Mountinfo, lt.HostView(t, w.host.PID).Mountinfo
			})
			r := w.apply(p)
			m := at(t, r.Plan, w.point)
			if m.State != Unchanged || !strings.Contains(m.Error, c.want) || r.Status() != StatusFailed {
				t.Errorf("%s", dump(m))
			}
			if after := lt.HostView(t, w.target.PID).Mountinfo; after != target {
				t.Errorf("the mounts changed from\n%s\nto\n%s", target, after)
			}
			if after := lt.HostView(t, w.host.PID).Mountinfo; after != host {
				t.Errorf("the witness's mounts changed from\n%s\nto\n%s", host, after)
			}
		})
	}
}

// A mount put upon the old one just before that is taken away: it is told, and
// the old one is still there.
func TestLiveHostileSwapAtTheLastMoment(t *testing.T) {
	w := deep(t)
	p := w.plan()
	p.sys = before("umount", 1, func() { w.target.Do("mount -t tmpfs tmpfs /mnt/x/cg") })
	m := at(t, w.apply(p).Plan, w.point)
	if m.State == Mended || m.State == Lost || m.Error == "" || m.After == nil || m.After.MountID != m.MountID {
		t.Errorf("%s", dump(m))
	}
}

// A file system on the way that never answers, put there after the last look:
// nothing is changed, and it ends.
func TestLiveHostileFUSE(t *testing.T) {
	w := deep(t)
	p := w.plan()
	p.sys = before("unshare", 1, func() {
		fuse := lt.NewFuse(t, w.target, "/mnt")
		if err := fuse.Mute(); err != nil {
			t.Error(err)
		}
	})
	start := time.Now()
	r := w.apply(p)
	m := at(t, r.Plan, w.point)
	if m.State != Unchanged || !strings.Contains(m.Error, "gave no answer") || r.Status() != StatusFailed {
		t.Errorf("%s", dump(m))
	}
	if took := time.Since(start); took > 3*answerTime {
		t.Errorf("it took %v", took)
	}
}

// A work that was given up changes nothing any more, when the target answers at
// last. One that has begun to change something is never given up.
func TestLiveHostileSlow(t *testing.T) {
	for call, want := range map[string]State{"fsopen": Unchanged, "umount": Mended} {
		t.Run(call, func(t *testing.T) {
			w := deep(t)
			p := w.plan()
			awake := make(chan struct{})
			p.sys = before(call, 1, func() {
				time.Sleep(answerTime + time.Second)
				close(awake)
			})
			m := at(t, w.apply(p).Plan, w.point)
			if m.State != want || (want == Unchanged) != strings.Contains(m.Error, "gave no answer") {
				t.Errorf("%s", dump(m))
			}
			<-awake
			w.plan() // waits for the thread to end
			root := map[State]string{Unchanged: "/..", Mended: "/"}[want]
			if got := lt.InView(t, w.target.PID, w.target.PID).RootAt(t, w.point); got != root {
				t.Errorf("the mount's root is %s, want %s", got, root)
			}
		})
	}
}

// The target ends while its mounts are mended.
func TestLiveHostileExit(t *testing.T) {
	for _, call := range []string{"unshare", "fsopen", "umount"} {
		t.Run(call, func(t *testing.T) {
			w := deep(t)
			host := lt.HostView(t, w.host.PID).Mountinfo
			p := w.plan()
			p.sys = before(call, 1, func() { w.target.End() })
			r := w.apply(p)
			m := at(t, r.Plan, w.point)
			if r.Status() != StatusFailed || m.Error == "" || m.After != nil || (call == "umount") != (m.State == Mended) || call == "umount" && !strings.Contains(m.Error, "cannot read the process's mounts again: ") {
				t.Errorf("%s", dump(m))
			}
			if after := lt.HostView(t, w.host.PID).Mountinfo; after != host {
				t.Errorf("the witness's mounts changed from\n%s\nto\n%s", host, after)
			}
		})
	}
}

// A mount point of any bytes.
func TestLiveHostileNames(t *testing.T) {
	for _, name := range []string{"a b\tc", `back\040slash`, "\x1b[31m", "\xff\xfe", "..x", "line\nbreak"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			w := stale(t, "freezer")
			dir := "/mnt/" + name
			w.target.Do("mount -t tmpfs tmpfs /mnt && mkdir %[2]s && mount --bind %[1]s %[2]s && umount %[1]s", w.point, lt.Quote(dir))
			p := w.plan()
			for _, step := range at(t, p, dir).Steps {
				if !utf8.ValidString(step) || strings.ContainsAny(step, "\x1b\n\t") {
					t.Errorf("step %q", step)
				}
			}
			if m := at(t, w.apply(p).Plan, dir); m.State != Mended || m.Error != "" || m.After.NamespaceRoot != "/" {
				t.Errorf("%s", dump(m))
			}
			w.listed(dir)
		})
	}
}
