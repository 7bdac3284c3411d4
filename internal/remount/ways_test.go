package remount

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nsinspect/compare"
	lt "nsinspect/internal/livetest"
)

// Version 1, version 2, two controllers in one hierarchy, and one that has only
// a name: source and super options are those of the old mount.
func TestLiveHierarchies(t *testing.T) {
	for _, label := range []string{"freezer", "unified", "name=systemd", "pids", "net_cls,net_prio"} {
		t.Run(label, func(t *testing.T) {
			w := stale(t, label)
			was := line(t, w.target.PID, w.point)
			p := w.plan()
			if m := at(t, p, w.point); m.Action != Replace || m.NamespaceRoot != "/.." || m.Verdict != compare.VerdictStale || m.Hierarchy.Label != label || m.Reason != "" || len(m.Steps) != 3 {
				t.Errorf("plan: %s", dump(m))
			}
			if changed := lt.HostView(t, w.target.PID).RootAt(t, w.point); changed != "/" {
				t.Errorf("the plan changed the mount's root to %s", changed)
			}
			w.mend()
			now := line(t, w.target.PID, w.point)
			if !slices.Equal(now[5:], was[5:]) {
				t.Errorf("options, propagation, source and super options were\n%s\nand are\n%s", was[5:], now[5:])
			}
			if now[3] != w.box.Path || now[0] == was[0] {
				t.Errorf("the line is %s", now)
			}
		})
	}
}

// The flags that a mount has of its own, as the kernel shows them.
func TestLiveFlagsKept(t *testing.T) {
	for _, flags := range []string{
		"ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow", "rw,nosuid,nodev,noexec,relatime", "rw,strictatime", "ro", "rw,noatime", "rw,nodiratime",
	} {
		for _, label := range []string{"freezer", "unified"} {
			t.Run(label+"/"+flags, func(t *testing.T) {
				w := newWorld(t, label)
				w.host.Do("mount -o remount,bind,%s %s", flags, w.point)
				w.spawn()
				was := line(t, w.target.PID, w.point)[5]
				for _, flag := range strings.Split(flags, ",") {
					if flag != "strictatime" && !slices.Contains(strings.Split(was, ","), flag) {
						t.Fatalf("the mount has only %s", was)
					}
				}
				w.mend()
				if now := line(t, w.target.PID, w.point)[5]; now != was {
					t.Errorf("the flags were %s and are %s", was, now)
				}
			})
		}
	}
}

// Whoever is in the old mount, or has a file open in it, keeps that.
func TestLiveBusy(t *testing.T) {
	for name, enter := range map[string]string{"directory": "cd %s", "file": "exec 5<%s/cgroup.procs"} {
		t.Run(name, func(t *testing.T) {
			w := stale(t, "freezer")
			w.target.Do(enter, w.point)
			if _, status := w.target.Try("umount %s", w.point); status == 0 {
				t.Fatal("the mount is not in use")
			}
			if m := w.mend(); len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "in use") {
				t.Errorf("notes %q", m.Notes)
			}
			switch name {
			case "directory":
				if _, status := w.target.Try("test -f release_agent"); status != 0 { // there is one at a hierarchy's root only
					t.Error("the working directory is not what it was")
				}
			case "file":
				if out := w.target.Do("cat <&5 | head -c 1"); out == "" {
					t.Error("nothing can be read of the open file")
				}
			}
		})
	}
}

// In a mount namespace that a user namespace owns, the inherited mount is
// locked. What lies upon it is seen upon the fresh one, too.
func TestLiveUserNamespace(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, propagation := range []string{"private", "shared"} {
			t.Run(label+"/"+propagation, func(t *testing.T) {
				w := newWorld(t, label)
				w.host.Do("mount --make-r%s /", propagation)
				box := w.volume()
				w.spawn("unshare", "-U", "-r", "-C", "-m", "--propagation", "unchanged", "--")
				if _, status := w.target.Try("umount -l %s", w.point); status == 0 {
					t.Fatal("the mount is not locked")
				}
				if m := at(t, w.plan(), w.point); m.Action != Cover {
					t.Fatalf("plan: %s", dump(m))
				}
				w.mend()
				w.target.Do("test -f %s/deep/file", box)
			})
		}
	}
}

// volume mounts a tmpfs with another one in it upon the host's cgroup mount, at
// a path that the target's own tree has, too. It returns where.
func (w *world) volume() string {
	w.t.Helper()
	outer := lt.NewCgroup(w.t, w.label)
	w.box.Child(path.Base(outer.Path))
	at := w.point + outer.Path
	w.host.Do("mount -t tmpfs tmpfs %[1]s && mkdir %[1]s/deep && mount -t tmpfs tmpfs %[1]s/deep && touch %[1]s/deep/file", at)
	return at
}

// Where umount(2) is refused though nothing told that the mount is locked, it is
// covered after all.
func TestLiveLockedUnforeseen(t *testing.T) {
	w := newWorld(t, "freezer")
	w.host.Do("mount --make-rshared /")
	w.spawn()
	sys := kernel
	sys.umount = func(string, int) error { return unix.EINVAL }
	p := w.plan()
	p.sys = &sys
	before := lt.HostView(t, w.host.PID).Mountinfo
	m := w.mended(w.apply(p), w.point)
	if m.Action != Replace || len(m.Notes) != 3 || !strings.Contains(m.Notes[1], "locked") {
		t.Errorf("%s", dump(m))
	}
	if after := lt.HostView(t, w.host.PID).Mountinfo; after != before {
		t.Errorf("the witness's mounts changed from\n%s\nto\n%s", before, after)
	}
}

// A mount whose parent cannot be named by a path, as it lies right upon that,
// and one that cannot be copied, are covered.
func TestLiveCover(t *testing.T) {
	for name, prepare := range map[string]string{ // in the target
		"upon a shared mount":          "mount -t tmpfs tmpfs /mnt && mount --make-shared /mnt && mount --bind %[1]s /mnt && umount %[1]s",
		"upon one of its hierarchy":    "mount --bind %[1]s %[1]s && mount --make-shared %[1]s && mount --bind %[1]s %[1]s",
		"unbindable":                   "mount --make-unbindable %[1]s",
		"shared and upon a shared one": "mount -t tmpfs tmpfs /mnt && mount --make-shared /mnt && mount --bind %[1]s /mnt && umount %[1]s && mount --make-shared /mnt",
	} {
		t.Run(name, func(t *testing.T) {
			w := stale(t, "freezer")
			w.target.Do(prepare, w.point)
			if strings.Contains(prepare, "/mnt") {
				w.point = "/mnt"
			}
			if m := at(t, w.plan(), w.point); m.Action != Cover {
				t.Fatalf("plan: %s", dump(m))
			}
			w.mend()
		})
	}
}

// A mount that lies upon another one of its hierarchy is replaced, though
// mount(8) would be refused (EBUSY).
func TestLiveStacked(t *testing.T) {
	w := newWorld(t, "freezer")
	w.host.Do("mount --bind %[1]s %[1]s", w.point)
	w.spawn()
	if m := at(t, w.plan(), w.point); m.Action != Replace {
		t.Fatalf("plan: %s", dump(m))
	}
	w.mend()
}

// What lies upon the old mount, directories and files, lies upon the new one at
// the same path, with all upon itself, and is still shared with whom it was
// shared.
func TestLiveSubmounts(t *testing.T) {
	for label, file := range map[string]string{"freezer": "cgroup.clone_children", "unified": "cgroup.controllers"} {
		t.Run(label, func(t *testing.T) {
			w := newWorld(t, label)
			w.host.Do("mount --make-rshared /")
			box := w.volume()
			w.host.Do("mount --bind /proc/version %s/%s", w.point, file)
			w.spawn()
			steps := at(t, w.plan(), w.point).Steps
			if last := steps[len(steps)-1]; !strings.Contains(last, "the same 2 mounts") {
				t.Errorf("steps %q", steps)
			}
			w.mend()
			w.target.Do("test -f %s/deep/file && grep -q Linux %s/%s", box, w.point, file)
			w.host.Do("mkdir %[1]s/deep/later && mount -t tmpfs tmpfs %[1]s/deep/later && mkdir %[1]s/deep/later/seen", box)
			if _, status := w.target.Try("test -d %s/deep/later/seen", box); status != 0 {
				t.Error("a volume upon the old mount was cut off from the host's")
			}
			w.target.Do("mkdir %[1]s/back && mount -t tmpfs tmpfs %[1]s/back && mkdir %[1]s/back/seen", box)
			if _, status := w.host.Try("test -d %s/back/seen", box); status != 0 {
				t.Error("the host was cut off from a volume upon the old mount")
			}
		})
	}
}

// A mount point that the fresh mount does not have is found out before anything
// is changed.
func TestLiveSubmountWithoutPlace(t *testing.T) {
	w := newWorld(t, "freezer")
	outer := lt.NewCgroup(t, "freezer")
	w.host.Do("mount -t tmpfs tmpfs %s%s", w.point, outer.Path)
	w.spawn()
	before := lt.HostView(t, w.target.PID).Mountinfo
	r := w.apply(w.plan())
	m := at(t, r.Plan, w.point)
	if m.State != Unchanged || !strings.Contains(m.Error, outer.Path) || !strings.Contains(m.Error, "nothing at this path") || r.Status() != StatusFailed || m.Hint == "" {
		t.Errorf("%s", dump(m))
	}
	if after := lt.HostView(t, w.target.PID).Mountinfo; after != before {
		t.Errorf("the mounts changed from\n%s\nto\n%s", before, after)
	}
}

// What could not be kept is refused.
func TestLiveSubmountRefused(t *testing.T) {
	for why, prepare := range map[string]string{
		"is unbindable":     "mount --make-unbindable %s",
		"under another one": "mount -t tmpfs tmpfs %s",
		"fuse":              "",
	} {
		t.Run(why, func(t *testing.T) {
			w := newWorld(t, "freezer")
			box := w.volume()
			w.spawn()
			if prepare == "" {
				lt.NewFuse(t, w.target, box+"/deep")
			} else {
				w.target.Do(prepare, box)
			}
			w.refused(w.plan(), why)
		})
	}
}

// A process in a chroot has other mount points than its mount namespace.
func TestLiveChroot(t *testing.T) {
	w := newWorld(t, "freezer")
	w.host.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/r && mount --rbind / /mnt/r && mount --make-rshared /")
	w.spawn()
	w.target.Become("chroot", "/mnt/r")
	w.mend()
	if root := lt.HostView(t, w.target.PID).RootAt(t, w.point); root != w.box.Path {
		t.Errorf("the root is %s", root)
	}
}

// Where the root directory lies upon the mount's parent, that is out of sight.
func TestLiveChrootHidesParent(t *testing.T) {
	lt.Need(t, lt.Programs("busybox"))
	w := newWorld(t, "freezer")
	w.host.Do("mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/r/bin /mnt/r/cg && cp $(command -v busybox) /mnt/r/bin/sh && mount --bind %[1]s /mnt/r/cg && umount %[1]s && mount --make-rshared /", w.point)
	w.point = "/cg"
	w.spawn()
	w.target.Become("chroot", "/mnt/r")
	if m := at(t, w.plan(), "/cg"); m.Action != Cover {
		t.Fatalf("plan: %s", dump(m))
	}
	w.mend()
}

// Two stale mounts, one upon the other, and one whose mending fails: the inner
// one is done first and kept upon the outer one as it is then.
func TestLiveNested(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("inner fails %v", fails), func(t *testing.T) {
			w := newWorld(t, "unified")
			lt.Need(t, lt.Hierarchies("freezer"))
			inner := lt.NewCgroup(t, "freezer")
			outer := lt.NewCgroup(t, "unified")
			w.box.Child(path.Base(outer.Path))
			at2 := w.point + outer.Path
			w.host.Do("mount --bind %s %s", lt.MountOf(t, "freezer"), at2)
			w.target = w.host.Fork().Join(w.box, inner)
			w.target.Become(inherit...)
			p := w.plan()
			if fails {
				p.sys = failing("moveMount", 2, unix.EIO) // the first is a try
			}
			r := w.apply(p)
			w.mended(r, w.point)
			if m := at(t, r.Plan, at2); fails {
				if m.State != Restored || m.After == nil || m.After.NamespaceRoot != "/.." {
					t.Errorf("%s", dump(m))
				}
			} else {
				w.mended(r, at2)
			}
			w.mended(r, lt.MountOf(t, "freezer"))
		})
	}
}

// What may be meant is replaced on request alone.
func TestLiveInclude(t *testing.T) {
	for name, c := range map[string]struct {
		prepare string // %[1]s the mount, %[2]s a neighbour's cgroup, %[3]s the target's
		action  Action
		status  int
		root    string
	}{
		"foreign":       {"mount --bind %[2]s %[1]s", Refuse, StatusFailed, "/.."},
		"sub":           {"mount --bind %[3]s/in %[1]s", Keep, StatusDone, "/in"},
		"beside a good": {"mount -t tmpfs tmpfs /mnt && mount --bind %[3]s /mnt", Keep, StatusDone, "/.."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "freezer")
			neighbour, in := lt.NewCgroup(t, "freezer"), w.box.Child("in")
			w.host.Do(c.prepare, w.point, neighbour.Dir, w.box.Dir)
			w.spawn()
			if name == "sub" {
				in.Add(w.target.PID)
			}
			p := w.plan()
			m := at(t, p, w.point)
			if m.Action != c.action || p.Status() != c.status || !strings.HasPrefix(m.NamespaceRoot, c.root) || !strings.Contains(m.Reason, "--include foreign") {
				t.Fatalf("status %d, %s", p.Status(), dump(p))
			}
			before := lt.HostView(t, w.target.PID).Mountinfo
			if r := w.apply(p); r.Status() != c.status {
				t.Errorf("applied: %s", dump(r.Plan))
			}
			if after := lt.HostView(t, w.target.PID).Mountinfo; after != before {
				t.Errorf("the mounts changed from\n%s\nto\n%s", before, after)
			}
			if m := at(t, w.plan(Options{Foreign: true}), w.point); m.Action != Replace {
				t.Fatalf("on request: %s", dump(m))
			}
			r := w.apply(w.plan(Options{Foreign: true}))
			if m := at(t, r.Plan, w.point); m.State != Mended || m.After == nil || m.After.NamespaceRoot != "/" {
				t.Errorf("on request: %s", dump(m))
			}
		})
	}
}
