package remount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
	lt "nsinspect/internal/livetest"
)

// The mount namespace is the host's.
func TestLiveRefusesHost(t *testing.T) {
	w := newWorld(t, "freezer")
	w.host = lt.Start(t) // not in a mount namespace of its own
	w.spawn("unshare", "-C", "--")
	if lt.Namespace(t, w.target.PID, "mnt") != lt.Namespace(t, w.host.PID, "mnt") {
		t.Fatal("it has a mount namespace of its own")
	}
	p := w.plan()
	w.refused(p, "its mount namespace is the host's")
	if !strings.Contains(p.Hint, "unshare -C -m") || len(p.Sharers) > 0 {
		t.Errorf("%s", dump(p))
	}
}

// Processes of other cgroup namespaces use the mount namespace: they are listed.
func TestLiveRefusesSharers(t *testing.T) {
	w := newWorld(t, "freezer").spawn("unshare", "-C", "--")
	other := w.host.Sleep("nsenter", "-m/proc/self/ns/mnt", "-C/proc/self/ns/cgroup")
	p := w.plan()
	w.refused(p, "processes of other cgroup namespaces use its mount namespace")
	if !strings.Contains(p.Hint, "unshare -m") {
		t.Errorf("hint %q", p.Hint)
	}
	cgroupNS := lt.Namespace(t, w.host.PID, "cgroup")
	want := []Sharer{{w.host.PID, "sh", cgroupNS}, {other, "sleep", cgroupNS}}
	slices.SortFunc(want, func(a, b Sharer) int { return a.PID - b.PID })
	if !slices.Equal(p.Sharers, want) {
		t.Errorf("sharers %+v, want %+v", p.Sharers, want)
	}
}

// A thread alone that uses the mount namespace counts as well: here one of the
// test's own.
func TestLiveRefusesSharingThread(t *testing.T) {
	w := stale(t, "freezer")
	h, err := w.fs.Handles(w.plan().Process)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	inside, done, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		inspect.Disposable(func() {
			err := kernel.unshare(0x200) // CLONE_FS
			if err == nil {
				err = kernel.setns(h.MntNS, 0x20000) // CLONE_NEWNS
			}
			inside <- err
			<-done
		})
	}()
	if err := <-inside; err != nil {
		t.Fatal(err)
	}
	p := w.plan()
	close(done)
	<-ended
	if p.Status() != StatusFailed || !strings.Contains(p.Refusal, "nsinspect itself") {
		t.Errorf("%s", dump(p))
	}
	if p := w.plan(); p.Status() != StatusToDo {
		t.Errorf("without the thread: %s", dump(p))
	}
}

// The root directory was removed: by its name, and made again under it.
func TestLiveRefusesDeadRoot(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/again %v", label, again), func(t *testing.T) {
				w := stale(t, label)
				lt.RootCgroup(t, label).Add(w.target.PID)
				w.box.Remove()
				why := "removed"
				if again {
					w.host.Do("mkdir %s", w.box.Dir)
					w.box.Add(w.target.PID)
					why = "" // what is there is not known to be its root
				}
				w.refused(w.plan(), why)
			})
		}
	}
}

// All members were moved out: nobody proves that the root directory is there.
func TestLiveRefusesLeftRoot(t *testing.T) {
	w := stale(t, "freezer")
	lt.NewCgroup(t, "freezer").Add(w.target.PID)
	w.refused(w.plan(), "no live process inside the namespace's root directory")
}

// A member left there proves it for those that were moved out.
func TestLiveMemberProves(t *testing.T) {
	w := stale(t, "freezer")
	member := w.target.Sleep()
	lt.NewCgroup(t, "freezer").Add(w.target.PID)
	p := w.plan()
	if p.Status() != StatusToDo {
		t.Fatalf("%s", dump(p))
	}
	r := w.apply(p)
	m := at(t, r.Plan, w.point)
	if r.Status() != StatusDone || m.After == nil || m.After.NamespaceRoot != "/" {
		t.Errorf("%s", dump(r.Plan))
	}
	if root := lt.InView(t, member, member).RootAt(t, w.point); root != "/" {
		t.Errorf("the member sees the root %s", root)
	}
}

// The members leave after the plan was made: the fresh mount, made and never
// mounted, lists nobody.
func TestLiveRefusesFreshWithoutMember(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			w := stale(t, label)
			p, root := w.plan(), lt.RootCgroup(t, label)
			p.sys = before("fsmount", 1, func() { root.Add(w.target.PID) })
			target := lt.HostView(t, w.target.PID).Mountinfo
			m := at(t, w.apply(p).Plan, w.point)
			if m.State != Unchanged || !strings.Contains(m.Error, ErrNotListed.Error()) || !strings.Contains(m.Hint, "restart") {
				t.Errorf("%s", dump(m))
			}
			if after := lt.HostView(t, w.target.PID).Mountinfo; after != target {
				t.Errorf("the mounts changed from\n%s\nto\n%s", target, after)
			}
		})
	}
}

// The root directory goes away after the plan was made: the kernel makes no
// mount of it (ENOENT).
func TestLiveRefusesRootGoneMeanwhile(t *testing.T) {
	w := stale(t, "freezer")
	p, root := w.plan(), lt.RootCgroup(t, "freezer")
	p.sys = before("create", 1, func() {
		root.Add(w.target.PID)
		w.box.Remove()
	})
	m := at(t, w.apply(p).Plan, w.point)
	if m.State != Unchanged || !strings.Contains(m.Error, "no such file or directory") || !strings.Contains(m.Hint, "removed") {
		t.Errorf("%s", dump(m))
	}
}

// A mount point behind a file system that may never answer is not walked to.
func TestLiveRefusesBehindFUSE(t *testing.T) {
	w := stale(t, "freezer")
	fuse := lt.NewFuse(t, w.target, "/mnt")
	w.target.Do("mount --bind %[1]s /mnt/deep && umount %[1]s", w.point)
	if err := fuse.Mute(); err != nil {
		t.Fatal(err)
	}
	w.point = "/mnt/deep"
	w.refused(w.plan(), "behind a fuse mount")
}

// A procfs that is not the kernel's, or of another PID namespace, is no ground
// to stand on.
func TestRefusesRecordedProc(t *testing.T) {
	fs, err := inspect.Open("../../testdata/proc/stale-outside", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	_, err = NewPlan(context.Background(), fs, 24437, Options{})
	var e *Error
	if !errors.Is(err, ErrReader) || !errors.As(err, &e) || e.Hint() == "" {
		t.Errorf("%v", err)
	}
}

// What has changed since the plan was made ends it before anything is done.
func TestLiveRefusesChanged(t *testing.T) {
	for why, change := range map[string]func(w *world){
		"its mounts":    func(w *world) { w.target.Do("mount --bind %[1]s %[1]s", w.point) },
		"namespaces":    func(w *world) { w.target.Become("unshare", "-m", "--") },
		"has come up":   func(w *world) { w.host.Sleep("nsenter", "-t", fmt.Sprint(w.target.PID), "-m", "--") },
		"no such":       func(w *world) { w.target.End() },
		"what is to be": func(w *world) { lt.NewCgroup(w.t, "freezer").Add(w.target.PID) },
	} {
		t.Run(why, func(t *testing.T) {
			w := stale(t, "freezer")
			p := w.plan()
			change(w)
			host := lt.HostView(t, w.host.PID).Mountinfo
			_, err := p.Apply(context.Background())
			if err == nil || !strings.Contains(err.Error(), why) || !errors.Is(err, ErrChanged) && why != "no such" {
				t.Errorf("%v", err)
			}
			if after := lt.HostView(t, w.host.PID).Mountinfo; after != host {
				t.Errorf("the witness's mounts changed from\n%s\nto\n%s", host, after)
			}
		})
	}
}

// The statuses follow from what is refused, failed and to be done.
func TestStatus(t *testing.T) {
	keep, replace, refuse := Mount{Action: Keep}, Mount{Action: Replace}, Mount{Action: Refuse}
	failed := Mount{Action: Cover, Error: "x"}
	for _, c := range []struct {
		plan         Plan
		want, result int
	}{
		{Plan{}, StatusDone, StatusDone},
		{Plan{Refusal: "it could not be looked at"}, StatusFailed, StatusFailed},
		{Plan{Mounts: []Mount{keep}}, StatusDone, StatusDone},
		{Plan{Mounts: []Mount{keep, replace}}, StatusToDo, StatusDone},
		{Plan{Mounts: []Mount{replace, refuse}}, StatusFailed, StatusFailed},
		{Plan{Mounts: []Mount{replace, failed}}, StatusToDo, StatusFailed},
	} {
		if got := c.plan.Status(); got != c.want {
			t.Errorf("plan %+v: status %d", c.plan, got)
		}
		if got := (Result{&c.plan}).Status(); got != c.result {
			t.Errorf("result %+v: status %d", c.plan, got)
		}
	}
}

// What the verdict alone decides.
func TestDecide(t *testing.T) {
	bad := func(v compare.Verdict, root string) *compare.MountView {
		return &compare.MountView{NamespaceRoot: root, Verdict: v}
	}
	for _, c := range []struct {
		m       *compare.MountView
		foreign bool
		want    Action
		why     string
	}{
		{bad(compare.VerdictOK, "/"), true, Keep, ""},
		{bad(compare.VerdictStale, "/.."), false, Replace, ""},
		{bad(compare.VerdictForeign, "/../x"), false, Refuse, "--include foreign"},
		{bad(compare.VerdictForeign, "/../x"), true, Replace, ""},
		{bad(compare.VerdictSub, "/x"), false, Keep, "--include foreign"},
		{bad(compare.VerdictSub, "/x"), true, Replace, ""},
		{bad(compare.VerdictUnreachable, "/x"), false, Keep, "in which the process is not"},
		{bad(compare.VerdictUnreachable, "/"), true, Keep, "lies outside"},
		{bad(compare.VerdictDead, "/.."), true, Refuse, "removed"},
		{bad(compare.VerdictUnknown, ""), true, Refuse, "could not be looked into: setns"},
	} {
		j := judge{reading: &reading{fs: &inspect.FS{}, subject: &inspect.Subject{Reason: "setns"}}, foreign: c.foreign}
		action, why := j.decide(&compare.HierarchyView{}, c.m)
		if action != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s %s, foreign %v: %s, %q", c.m.Verdict, c.m.NamespaceRoot, c.foreign, action, why)
		}
	}
}

// TestAttributes has every option of a mount's own, as include/uapi/linux/mount.h
// numbers them.
func TestAttributes(t *testing.T) {
	for options, want := range map[string]int{
		"rw,relatime":                        0,
		"rw":                                 0x20,
		"ro,nosuid,nodev,noexec,relatime":    0x0f,
		"rw,noatime,nodiratime,nosymfollow":  0x200090,
		"rw,relatime,lazytime,idmapped,sync": 0,
	} {
		if got := attributesOf(&inspect.Mount{Options: strings.Split(options, ",")}); got != want {
			t.Errorf("%s: %#x, want %#x", options, got, want)
		}
	}
}
