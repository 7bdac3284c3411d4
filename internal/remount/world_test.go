package remount

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nsinspect/compare"
	"nsinspect/inspect"
	lt "nsinspect/internal/livetest"
)

// world is a host of the test's own, which is the witness, and a process in its
// own cgroup, cgroup namespace and mount namespace, which inherited the host's
// mounts with their propagation.
type world struct {
	t            *testing.T
	label, point string
	host, target *lt.Shell
	box          *lt.Cgroup
	fs           *inspect.FS
}

// inherit is how a target gets its namespaces.
var inherit = []string{"unshare", "-C", "-m", "--propagation", "unchanged", "--"}

// newWorld makes the host and a cgroup in a hierarchy. Other hierarchies that
// would be stale too, as where the test itself runs in a cgroup, are taken away
// from the host.
func newWorld(t *testing.T, label string) *world {
	t.Helper()
	w := &world{t: t, label: label}
	if label == "net_cls,net_prio" {
		w.host = lt.NewHost(t)
		var dir string
		w.point, dir = lt.MountNet(t, w.host)
		w.box = lt.NewCgroupAt(t, label, dir)
	} else {
		lt.Need(t, lt.Root, lt.Hierarchies(label))
		w.host, w.point, w.box = lt.NewHost(t), lt.MountOf(t, label), lt.NewCgroup(t, label)
	}
	own := lt.HostView(t, w.host.PID)
	for _, m := range own.Mounts() {
		if m.Label != label && own.Paths()[m.Label] != "/" {
			w.host.Do("umount %s", m.Point)
		}
	}
	var err error
	if w.fs, err = inspect.Open("/proc", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.fs.Close() })
	return w
}

// spawn starts the target.
func (w *world) spawn(through ...string) *world {
	w.t.Helper()
	if len(through) == 0 {
		through = inherit
	}
	w.target = w.host.Fork().Join(w.box)
	w.target.Become(through...)
	return w
}

// stale is the usual case: one stale mount, all mounts private.
func stale(t *testing.T, label string) *world {
	t.Helper()
	return newWorld(t, label).spawn()
}

// plan makes a plan. The thread that applied the last one is given the time to
// end: it is seen in the target's mount namespace until then.
func (w *world) plan(o ...Options) *Plan {
	w.t.Helper()
	for try := 0; ; try++ {
		p, err := NewPlan(context.Background(), w.fs, w.target.PID, append(o, Options{})[0])
		if err != nil {
			w.t.Fatal(err)
		}
		if try == 50 || !strings.Contains(p.Refusal, "nsinspect itself") {
			return p
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *world) apply(p *Plan) Result {
	w.t.Helper()
	r, err := p.Apply(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// mend plans and applies, holds that all goes well and that the witness's
// mounts do not change by a byte, and returns what became of the mount.
func (w *world) mend(o ...Options) *Mount {
	w.t.Helper()
	p := w.plan(o...)
	if p.Status() != StatusToDo {
		w.t.Fatalf("the plan has status %d: %s", p.Status(), dump(p))
	}
	before := lt.HostView(w.t, w.host.PID).Mountinfo
	r := w.apply(p)
	if after := lt.HostView(w.t, w.host.PID).Mountinfo; after != before {
		w.t.Errorf("the witness's mounts changed from\n%s\nto\n%s", before, after)
	}
	if r.Status() != StatusDone {
		w.t.Fatalf("the result has status %d: %s", r.Status(), dump(r.Plan))
	}
	if again := w.plan(); again.Status() != StatusDone {
		w.t.Errorf("after mending: %s", dump(again))
	}
	return w.mended(r, w.point)
}

// mended holds by the kernel's answers, and by the result, that the mount at a
// point shows the namespace's own tree.
func (w *world) mended(r Result, point string) *Mount {
	w.t.Helper()
	m := at(w.t, r.Plan, point)
	if m.State != Mended || m.After == nil || m.After.NamespaceRoot != "/" || m.After.Verdict != compare.VerdictOK || m.Error != "" {
		w.t.Fatalf("not mended: %s", dump(m))
	}
	pid := w.target.PID
	if root := lt.InView(w.t, pid, pid).RootAt(w.t, point); root != "/" {
		w.t.Errorf("the kernel shows the root %s", root)
	}
	w.listed(point)
	return m
}

// listed holds that the kernel lists the target at a mount point of its own.
func (w *world) listed(point string) {
	w.t.Helper()
	text := lt.ReadFile(w.t, path.Join(fmt.Sprintf("/proc/%d/root", w.target.PID), point, "cgroup.procs"))
	if !slices.Contains(strings.Fields(text), strconv.Itoa(w.target.PID)) {
		w.t.Errorf("%s lists %q, not %d", point, strings.Fields(text), w.target.PID)
	}
}

// refused holds that a plan changes nothing, says why and what to do, and that
// applying it changes nothing either.
func (w *world) refused(p *Plan, why string) *Mount {
	w.t.Helper()
	m := at(w.t, p, w.point)
	said := m.Reason + " " + p.Refusal + " " + p.Hint
	if p.Status() != StatusFailed || m.Action != Refuse || m.Reason == "" || !strings.Contains(said, why) {
		w.t.Fatalf("status %d, want a refusal with %q: %s", p.Status(), why, dump(p))
	}
	if p.Refusal != "" && p.Hint == "" {
		w.t.Errorf("no hint: %s", dump(p))
	}
	before, host := lt.HostView(w.t, w.target.PID).Mountinfo, lt.HostView(w.t, w.host.PID).Mountinfo
	r := w.apply(p)
	if after := lt.HostView(w.t, w.target.PID).Mountinfo; after != before {
		w.t.Errorf("the mounts changed from\n%s\nto\n%s", before, after)
	}
	if after := lt.HostView(w.t, w.host.PID).Mountinfo; after != host {
		w.t.Errorf("the witness's mounts changed from\n%s\nto\n%s", host, after)
	}
	if m := at(w.t, r.Plan, w.point); r.Status() != StatusFailed || m.State != Unchanged {
		w.t.Errorf("applied: status %d, %s", r.Status(), dump(r.Plan))
	}
	return m
}

// at finds the mount at a mount point.
func at(t *testing.T, p *Plan, point string) *Mount {
	t.Helper()
	for i := range p.Mounts {
		if p.Mounts[i].MountPoint == point {
			return &p.Mounts[i]
		}
	}
	t.Fatalf("no mount at %s among %s", point, dump(p))
	return nil
}

// line is the mountinfo line of the last mount at a mount point.
func line(t *testing.T, pid int, point string) []string {
	t.Helper()
	var found []string
	for l := range strings.Lines(lt.ReadFile(t, fmt.Sprintf("/proc/%d/mountinfo", pid))) {
		if f := strings.Fields(l); f[4] == point {
			found = f
		}
	}
	if found == nil {
		t.Fatalf("nothing is mounted at %s", point)
	}
	return found
}

// parentOf is the mount point of the mount that the one at a point lies on.
func parentOf(t *testing.T, pid int, point string) string {
	t.Helper()
	id := line(t, pid, point)[1]
	for l := range strings.Lines(lt.ReadFile(t, fmt.Sprintf("/proc/%d/mountinfo", pid))) {
		if f := strings.Fields(l); f[0] == id {
			return f[4]
		}
	}
	t.Fatalf("what does %s lie on?", point)
	return ""
}

// dump is a value to be read in a test's log; of a plan, what is not healthy.
func dump(v any) string {
	if p, ok := v.(*Plan); ok {
		short := *p
		short.Mounts = slices.DeleteFunc(slices.Clone(p.Mounts), func(m Mount) bool { return m.Verdict == compare.VerdictOK })
		v = short
	}
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
