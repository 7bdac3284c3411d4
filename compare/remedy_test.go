package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nsinspect/inspect"
)

// pasted is the steps of a stale mount's remedy, one a line.
func pasted(f *Finding) string {
	var all []string
	for _, step := range f.Remedy.Steps {
		all = append(all, strings.Join(step, " "))
	}
	return strings.Join(all, "\n")
}

// mended has the remedy of the one stale mount of a process with these mounts.
func mended(t *testing.T, label string, mounts ...mount) *Finding {
	t.Helper()
	p := boxed(70, label, "/sub", "/", "/", "/..")
	p.mounts = mounts
	w := newWorld(t, label).add(p)
	return w.one(w.doctor(), "stale-mount-root")
}

// TestSteps has the commands as they have to be pasted: each of them mended such
// a mount on Linux 6.18.
func TestSteps(t *testing.T) {
	const guard = `sh -c test "$(readlink /proc/70/ns/mnt)" = 'mnt:[4026532701]'` + "\n" +
		`sh -c test "$(readlink /proc/70/ns/cgroup)" = 'cgroup:[4026532700]'`
	stale := func(label, point string) mount { return mount{label: label, point: point, root: "/", own: "/.."} }
	with := func(m mount, options, super string) mount {
		m.options, m.super = options, super
		return m
	}
	tmpfs := func(tags string) mount { return mount{fs: "tmpfs", point: "/sys/fs/cgroup", tags: tags} }
	for _, c := range []struct {
		name   string
		label  string
		mounts []mount
		want   []string
	}{
		{"one controller", "freezer", []mount{stale("freezer", "/sys/fs/cgroup/freezer")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup/freezer",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o freezer freezer /sys/fs/cgroup/freezer",
		}},
		{"two controllers", "net_cls,net_prio", []mount{stale("net_cls,net_prio", "/sys/fs/cgroup/net_cls,net_prio")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup/net_cls,net_prio",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o net_cls,net_prio net_cls,net_prio /sys/fs/cgroup/net_cls,net_prio",
		}},
		{"a name", "name=systemd", []mount{stale("name=systemd", "/sys/fs/cgroup/systemd")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup/systemd",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd",
		}},
		{"a name like an option", "name=-f", []mount{stale("name=-f", "/m")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /m",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o none,name=-f name=-f /m",
		}},
		{"a controller and a name", "net_prio,name=foo", []mount{stale("net_prio,name=foo", "/m")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /m",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o net_prio,name=foo net_prio,name=foo /m",
		}},
		{"v2", "unified", []mount{stale("unified", "/sys/fs/cgroup")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup2 cgroup2 /sys/fs/cgroup",
		}},
		{"v2 with its flags", "unified", []mount{with(stale("unified", "/sys/fs/cgroup"), "ro,nosuid,nodev,noexec,relatime", "rw,nsdelegate,memory_recursiveprot")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup2 -o ro,nosuid,nodev,noexec cgroup2 /sys/fs/cgroup",
		}},
		{"v1 with flags, but no super options", "freezer", []mount{with(stale("freezer", "/f"), "rw,nosuid,noatime,nodiratime,nosymfollow", "rw,clone_children,release_agent=/sbin/agent,xattr,freezer")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /f",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o nosuid,noatime,nodiratime,nosymfollow,freezer freezer /f",
		}},
		{"upon a shared mount", "freezer", []mount{tmpfs("shared:9"), stale("freezer", "/sys/fs/cgroup/freezer")}, []string{
			guard,
			"nsenter -t 70 -C -- mount -N 70 --make-slave /sys/fs/cgroup",
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup/freezer",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o freezer freezer /sys/fs/cgroup/freezer",
		}},
		{"upon a slave", "freezer", []mount{tmpfs("master:9"), stale("freezer", "/sys/fs/cgroup/freezer")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /sys/fs/cgroup/freezer",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o freezer freezer /sys/fs/cgroup/freezer",
		}},
		{"with blanks in its name", "freezer", []mount{stale("freezer", "/a b/'c")}, []string{
			guard,
			"nsenter -t 70 -C -- umount -N 70 /a b/'c",
			guard,
			"nsenter -t 70 -C -- mount -N 70 -t cgroup -o freezer freezer /a b/'c",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mended(t, c.label, c.mounts...)
			if diff := cmp.Diff(strings.Join(c.want, "\n"), pasted(f)); diff != "" {
				t.Error(diff)
			}
			if f.Remedy.Safe == nil || !*f.Remedy.Safe || !slices.Equal(f.Remedy.Command, []string{"nsinspect", "remount", "70", "--apply"}) {
				t.Errorf("safe %v, command %q, %q", f.Remedy.Safe, f.Remedy.Command, f.Remedy.Notes)
			}
		})
	}
	// A shared tag of the mount itself does not matter, and a name is one word.
	f := mended(t, "freezer", mount{label: "freezer", point: "/a b", root: "/", own: "/..", tags: "shared:9"})
	if got := f.Remedy.Steps[2]; !slices.Equal(got, []string{"nsenter", "-t", "70", "-C", "--", "umount", "-N", "70", "/a b"}) || len(f.Remedy.Steps) != 6 {
		t.Errorf("%q", f.Remedy.Steps)
	}
}

// refusal is a situation in which no commands are given, what is said instead,
// whether mending is known to hurt nobody ("?": not known), and whether
// nsinspect remount would do it all the same.
type refusal struct {
	name    string
	build   func(w *world, p *proc)
	says    string
	safe    string
	command bool
}

var refusals = []refusal{
	{"a container", func(_ *world, p *proc) { p.rootfs = "0:42 /" }, "its root file system is not the reader's", "no", true},
	{"another directory of the same file system", func(_ *world, p *proc) { p.rootfs = "8:1 /srv/root" }, "its root file system is not the reader's", "no", true},
	{"a reader whose own root is no mount", func(w *world, _ *proc) { w.procs[0].rootfs, w.procs[1].rootfs = "none", "none" }, "whether its root file system is the reader's could not be found out", "?", true},
	{"the host's mount namespace", func(_ *world, p *proc) { p.mnt = hostMnt }, "its mount namespace is the host's", "no", false},
	{"PID 1's, the reader has another", func(w *world, p *proc) {
		p.mnt, w.procs[1].mnt, w.procs[1].mounts = hostMnt, hostMnt+1, w.procs[0].mounts
	}, "its mount namespace is the host's", "no", false},
	{"others use its mount namespace", func(w *world, _ *proc) {
		w.add(proc{pid: 80, parent: 1, mnt: boxMnt, at: []at{{"freezer", "/x", ""}}})
	}, "processes of other cgroup namespaces use its mount namespace (80)", "no", false},
	{"one who could not be read may use it", func(w *world, _ *proc) {
		w.add(proc{pid: 80, parent: 1, mnt: boxMnt + 1, noMnt: true, noTable: true, noNS: true, at: []at{{"freezer", "/x", ""}}})
	}, "could not be found out: 1 process could not be read (80): run it as root on the host", "?", false},
	{"a thread of another process uses it", func(w *world, _ *proc) {
		w.add(proc{pid: 80, parent: 1, at: []at{{"freezer", "/x", ""}}}, proc{pid: 80, tid: 81, mnt: boxMnt, apart: true, at: []at{{"freezer", "/x", ""}}})
	}, "processes of other cgroup namespaces use its mount namespace (80)", "no", false},
	{"a thread of its own is in another cgroup namespace", func(w *world, _ *proc) {
		w.add(proc{pid: 70, tid: 71, ns: boxNS + 1, mnt: boxMnt, apart: true, at: []at{{"freezer", "/x", ""}}})
	}, "processes of other cgroup namespaces use its mount namespace (70)", "no", false},
	{"a thread that could not be read may use it", func(w *world, _ *proc) {
		w.add(proc{pid: 80, parent: 1, at: []at{{"freezer", "/x", ""}}}, proc{pid: 80, tid: 81, noMnt: true, noTable: true, apart: true, at: []at{{"freezer", "/x", ""}}})
	}, "whether processes of other cgroup namespaces use its mount namespace could not be found out: 1 process could not be read (80)", "?", false},
	{"one whose mountinfo tells that it does", func(w *world, _ *proc) {
		w.add(proc{pid: 80, parent: 1, mnt: boxMnt, noMnt: true, noNS: true, at: []at{{"freezer", "/x", ""}}})
	}, "could not be found out: 1 process could not be read (80)", "?", false},
	{"its root directory has a name", func(_ *world, p *proc) { p.root = "/srv" }, "its root directory is not that of its mount namespace", "yes", true},
	{"a user namespace owns its mounts", func(w *world, p *proc) { w.owners[p.mnt] = 4026532800 }, "its mount namespace is owned by a user namespace", "yes", true},
	{"reader and process in one user namespace", func(w *world, p *proc) { w.owners[p.mnt], w.owners[hostMnt] = 4026532800, 4026532800 }, "its mount namespace is owned by a user namespace", "yes", true},
	{"upon a shared mount that is covered", func(_ *world, p *proc) {
		p.mounts = append([]mount{{fs: "tmpfs", point: "/sys/fs/cgroup/freezer", tags: "shared:9"}}, p.mounts...)
	}, "the mount that it lies on cannot be named by a path", "yes", true},
	{"upon a mount out of sight", func(_ *world, p *proc) { p.rootfs = "none" }, "", "no", true},
	{"behind a file system that may never answer", func(_ *world, p *proc) {
		p.mounts = []mount{{fs: "fuse.sshfs", point: "/far"}, {label: "freezer", point: "/far/f", root: "/", own: "/.."}}
	}, "the mount point lies behind a fuse.sshfs mount, which may never answer", "yes", false},
	{"with a mount upon it", func(_ *world, p *proc) {
		p.mounts = append(p.mounts, mount{fs: "tmpfs", point: "/sys/fs/cgroup/freezer/x"})
	}, "would have to be taken away first", "yes", false},
	{"upon one of its own hierarchy", func(_ *world, p *proc) { p.mounts = append(p.mounts, p.mounts[0]) }, "another mount of the same hierarchy lies under it", "yes", true},
	{"a newline in its name", func(_ *world, p *proc) { p.mounts[0].point = "/a\nb" }, "characters that are not safe to paste", "yes", true},
	{"an escape sequence", func(_ *world, p *proc) { p.mounts[0].point = "/a\x1b[31m" }, "characters that are not safe to paste", "yes", true},
	{"a C1 control", func(_ *world, p *proc) { p.mounts[0].point = "/a\u009b31m" }, "characters that are not safe to paste", "yes", true},
	{"text that turns around", func(_ *world, p *proc) { p.mounts[0].point = "/a\u202eb" }, "characters that are not safe to paste", "yes", true},
	{"bytes that are no text", func(_ *world, p *proc) { p.mounts[0].point = "/a\xff" }, "characters that are not safe to paste", "yes", true},
	{"the mount below it so", func(_ *world, p *proc) {
		p.mounts = []mount{{fs: "tmpfs", point: "/a\nb", tags: "shared:9"}, {label: "freezer", point: "/a\nb/f", root: "/", own: "/.."}}
	}, "characters that are not safe to paste", "yes", true},
}

// TestNoSteps has every reason for which no commands are given.
func TestNoSteps(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			p := boxed(70, "freezer", "/sub", "/", "/", "/..")
			w := newWorld(t, "freezer").add(p)
			c.build(w, w.procs[2])
			f := w.one(w.doctor(), "stale-mount-root")
			if f.Remedy.Steps != nil || !strings.Contains(strings.Join(f.Remedy.Notes, "\n"), c.says) {
				t.Errorf("%s\n%q", pasted(f), f.Remedy.Notes)
			}
			safe := "?"
			if f.Remedy.Safe != nil {
				safe = map[bool]string{true: "yes", false: "no"}[*f.Remedy.Safe]
			}
			if safe != c.safe {
				t.Errorf("safe: %s, want %s", safe, c.safe)
			}
			var command []string
			if c.command {
				command = []string{"nsinspect", "remount", "70", "--apply"}
			}
			if c.command && c.safe == "no" { // a container's: only the plan
				command = command[:3]
			}
			if !slices.Equal(f.Remedy.Command, command) {
				t.Errorf("command %q, want %q", f.Remedy.Command, command)
			}
		})
	}
}

// A container's mounts may be meant, so it is a warning there.
func TestStaleInContainer(t *testing.T) {
	p := boxed(70, "freezer", "/docker/x", "/", "/", "/../..")
	p.rootfs = "0:42 /"
	newWorld(t, "freezer").add(p).finds("warning stale-mount-root freezer 70")
}

// Only the remedy of a stale mount is commands; other faults have none that
// would be safe.
func TestOnlyStaleMountsHaveSteps(t *testing.T) {
	p := boxed(70, "freezer", "/a/b", "/", "/a/x", "/../x")
	w := newWorld(t, "freezer").add(p)
	f := w.one(w.doctor(), "foreign-mount-root")
	if f.Remedy.Steps != nil || f.Remedy.Safe != nil || len(f.Remedy.Notes) != 1 {
		t.Errorf("%+v", f.Remedy)
	}
}

func TestMountOptions(t *testing.T) {
	freezer := &inspect.Hierarchy{ID: 6, Controllers: []string{"freezer"}, Label: "freezer"}
	named := &inspect.Hierarchy{ID: 1, Name: "systemd", Label: "name=systemd"}
	unified := &inspect.Hierarchy{Label: "unified"}
	for _, c := range []struct {
		hierarchy *inspect.Hierarchy
		old       string
		want      string
	}{
		{freezer, "rw,relatime", "freezer"},
		{freezer, "ro,nosuid,nodev,noexec,relatime", "ro,nosuid,nodev,noexec,freezer"},
		{freezer, "noexec,ro", "ro,noexec,freezer"},
		{named, "rw", "none,name=systemd"},
		{unified, "rw,relatime", ""},
		{unified, "rw,nosuid,lazytime,strictatime,mand,silent,idmapped", "nosuid"},
	} {
		old := inspect.Mount{Options: strings.Split(c.old, ","), SuperOptions: []string{"rw", "nsdelegate", "clone_children"}}
		if got := strings.Join(MountOptions(c.hierarchy, &old), ","); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.hierarchy.Label, c.old, got, c.want)
		}
	}
}

// TestSharing: whose view a change of mounts changes too.
func TestSharing(t *testing.T) {
	w := newWorld(t, "freezer").add(
		boxed(70, "freezer", "/sub", "/", "/", "/.."),
		proc{pid: 71, parent: 70, ns: boxNS, mnt: boxMnt, at: []at{{"freezer", "/sub", "/"}}},
		proc{pid: 80, parent: 1, mnt: boxMnt, at: []at{{"freezer", "/x", ""}}},
		proc{pid: 81, parent: 1, ns: boxNS + 1, mnt: boxMnt, at: []at{{"freezer", "/x", "/"}}},
		proc{pid: 82, parent: 1, mnt: boxMnt + 1, at: []at{{"freezer", "/x", ""}}},
		proc{pid: 90, parent: 1, mnt: boxMnt, noMnt: true, at: []at{{"freezer", "/x", ""}}},
		proc{pid: 91, parent: 1, mnt: boxMnt + 1, noMnt: true, at: []at{{"freezer", "/x", ""}}},
		proc{pid: 92, parent: 1, mnt: boxMnt, noMnt: true, noTable: true, at: []at{{"freezer", "/x", ""}}},
		proc{pid: 93, parent: 1, mnt: boxMnt, at: []at{{"freezer", "/x", ""}}},
	)
	w.procs[6].mounts = []mount{{label: "freezer", point: "/f", root: "/"}}
	h := w.scan()
	h.Tasks[slices.IndexFunc(h.Tasks, func(t inspect.Task) bool { return t.PID == 93 })].CgroupNS = 0 // in its mount namespace, and not known where else
	n := NewNeighbours(h, nil)
	if !slices.Equal(pids(n.Strangers), []int{90, 91, 92}) {
		t.Fatalf("strangers: %v", pids(n.Strangers))
	}
	id := w.table(w.procs[2], false).Cgroup[0].ID
	if s := n.Of(w.task(w.procs[2]), id); !slices.Equal(pids(s.Unknown), []int{90, 91, 92, 93}) {
		t.Errorf("without any tables: %+v", s)
	}
	n.Tables = w.answer(inspect.Questions{Tables: n.Strangers}).Tables
	s := n.Of(w.task(w.procs[2]), id)
	if s.First || s.Reader || !slices.Equal(pids(s.Others), []int{80, 81, 90}) || !slices.Equal(pids(s.Unknown), []int{92, 93}) {
		t.Errorf("%+v", s)
	}
	cut := *n.Tables[1]
	cut.Incomplete = "it was too long"
	n.Tables[1] = &cut
	if s := n.Of(w.task(w.procs[2]), id); !slices.Equal(pids(s.Unknown), []int{91, 92, 93}) {
		t.Errorf("with a table that is not whole: %+v", s)
	}
	n.Tables[1] = w.answer(inspect.Questions{Tables: n.Strangers}).Tables[1]
	if s := n.Of(w.task(w.procs[8]), id); !slices.Equal(pids(s.Unknown), []int{91, 92}) || s.Others != nil && pids(s.Others)[0] != 90 {
		t.Errorf("of one whose own mount namespace is not known: %+v", s)
	}
	w.procs[2].mnt, w.procs[3].mnt = hostMnt, hostMnt
	n = NewNeighbours(w.scan(), nil)
	if s := n.Of(w.task(w.procs[3]), id); !s.Reader || !s.First || !slices.Equal(pids(s.Others)[:2], []int{1, readerPID}) {
		t.Errorf("in the host's: %+v", s)
	}
}
