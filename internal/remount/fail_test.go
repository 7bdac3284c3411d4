package remount

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
	lt "nsinspect/internal/livetest"
)

// situations are mounts whose mending takes each of the ways.
var situations = map[string]func(*testing.T) *world{
	"private": func(t *testing.T) *world { return stale(t, "freezer") },
	"unified": func(t *testing.T) *world { return stale(t, "unified") },
	"shared": func(t *testing.T) *world {
		w := newWorld(t, "freezer")
		w.host.Do("mount --make-rshared /")
		return w.spawn()
	},
	"busy": func(t *testing.T) *world {
		w := stale(t, "freezer")
		w.target.Do("cd %s", w.point)
		return w
	},
	"submounts": func(t *testing.T) *world {
		w := newWorld(t, "freezer")
		w.host.Do("mount --make-rshared /")
		w.volume()
		return w.spawn()
	},
	"locked": func(t *testing.T) *world {
		w := newWorld(t, "freezer")
		w.host.Do("mount --make-rshared /")
		w.volume()
		return w.spawn("unshare", "-U", "-r", "-C", "-m", "--propagation", "unchanged", "--")
	},
}

// Whichever system call fails, the target sees the mounts that it saw before,
// the witness's do not change by a byte, and the next try succeeds.
func TestLiveEveryCallFails(t *testing.T) {
	for name, make := range situations {
		t.Run(name, func(t *testing.T) {
			w := make(t)
			host := lt.HostView(t, w.host.PID).Mountinfo
			view := w.view()
			states := map[State]int{}
			for n := 1; ; n++ {
				f := &faults{fails: func(_ string, _, all int) error {
					if all == n {
						return unix.EIO
					}
					return nil
				}}
				p := w.plan()
				p.sys = f.calls()
				r, err := p.Apply(context.Background())
				if after := lt.HostView(t, w.host.PID).Mountinfo; after != host {
					t.Fatalf("call %d, %s: the witness's mounts changed from\n%s\nto\n%s", n, f.made[n-1], host, after)
				}
				if len(f.made) < n { // none of them failed
					if err != nil {
						t.Fatalf("%v: %s", err, dump(p))
					}
					w.mended(r, w.point)
					break
				}
				after := w.view()
				if f.made[n-1] == "umount" && f.count["umount"] == 2 && name == "submounts" {
					// Nothing can be shared again with whom it was. It is told.
					if m := at(t, r.Plan, w.point); !strings.Contains(strings.Join(m.Notes, " "), "are private now") {
						t.Errorf("notes %q", m.Notes)
					}
					after, view = strings.ReplaceAll(after, " peer", ""), strings.ReplaceAll(view, " peer", "")
				}
				if after != view {
					t.Fatalf("call %d, %s, failed: the mounts were\n%s\nand are\n%s", n, f.made[n-1], view, after)
				}
				view = w.view()
				if err != nil {
					if !errors.Is(err, unix.EIO) || !errors.Is(err, ErrKernel) {
						t.Errorf("call %d, %s: %v", n, f.made[n-1], err)
					}
					states[""]++
					continue
				}
				w.told(&r, f.made[n-1])
				states[at(t, r.Plan, w.point).State]++
			}
			if cover := name == "locked"; states[""] < 3 || states[Unchanged] < 10 || cover == (states[Restored] > 0) || states[Lost]+states[Mended] > 0 {
				t.Errorf("states %v", states)
			}
		})
	}
}

// told holds that a result says what failed, in one line, and what the state is.
func (w *world) told(r *Result, call string) {
	w.t.Helper()
	m := at(w.t, r.Plan, w.point)
	if r.Status() != StatusFailed || m.Error == "" || strings.Contains(m.Error, "\n") || !strings.Contains(m.Error, unix.EIO.Error()) {
		w.t.Errorf("%s failed: %s", call, dump(m))
	}
	if m.After == nil || m.After.NamespaceRoot != m.NamespaceRoot || (m.State == Unchanged) != (m.After.MountID == m.MountID) {
		w.t.Errorf("%s failed: %s", call, dump(m))
	}
}

var (
	groups = regexp.MustCompile(`(shared|master):[0-9]+`)
	slave  = regexp.MustCompile(` (shared|master):G`)
)

// view are the target's mounts in order of their mount points, without the
// numbers of mounts and peer groups. A parent that was made a slave stays one,
// so the one is written as the other.
func (w *world) view() string {
	w.t.Helper()
	var lines []string
	for l := range strings.Lines(lt.ReadFile(w.t, fmt.Sprintf("/proc/%d/mountinfo", w.target.PID))) {
		f := strings.Fields(l)
		l = groups.ReplaceAllString(strings.Join(f[2:], " "), "$1:G")
		lines = append(lines, slave.ReplaceAllString(l, " peer"))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// If the old mount cannot be taken away, it stays; and the mount that it lies on
// stays the slave that it was made, of which a note tells.
func TestLiveFailureToTakeAway(t *testing.T) {
	w := newWorld(t, "freezer")
	w.host.Do("mount --make-rshared /")
	w.spawn()
	optional := w.propagation()
	p := w.plan()
	p.sys = failing("umount", 1, unix.EIO)
	m := at(t, w.apply(p).Plan, w.point)
	if m.State != Unchanged || m.Error == "" || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "was shared and is a slave now") {
		t.Errorf("%s", dump(m))
	}
	w.onlyOneSlave(optional, true)
}

// The failure between taking the old mount away and moving the fresh one in,
// and, once that cannot be undone, what is told.
func TestLiveFailureBetween(t *testing.T) {
	w := stale(t, "freezer")
	p := w.plan()
	p.sys = failing("moveMount", 2, unix.ENOMEM) // the first is a try before anything changes
	m := at(t, w.apply(p).Plan, w.point)
	if m.State != Restored || !strings.Contains(m.Error, "cannot move a mount to "+w.point+": cannot allocate memory") {
		t.Errorf("%s", dump(m))
	}
	if root := lt.InView(t, w.target.PID, w.target.PID).RootAt(t, w.point); root != "/.." {
		t.Errorf("the mount's root is %s", root)
	}
	p = w.plan()
	p.sys = (&faults{fails: func(name string, nth, _ int) error {
		if name == "moveMount" && nth > 1 {
			return unix.ENOMEM
		}
		return nil
	}}).calls()
	r := w.apply(p)
	m = at(t, r.Plan, w.point)
	if m.State != Lost || m.After != nil || !strings.Contains(m.Hint, "mount there by hand") || strings.Contains(m.Error, "\n") || r.Status() != StatusFailed {
		t.Errorf("%s", dump(m))
	}
	if _, status := w.target.Try("mountpoint -q %s", w.point); status == 0 {
		t.Error("something is mounted there")
	}
}

// Of several mounts, those after one that was lost are left alone.
func TestLiveLostEndsIt(t *testing.T) {
	w := newWorld(t, "freezer")
	lt.Need(t, lt.Hierarchies("pids"))
	w.target = w.host.Fork().Join(w.box, lt.NewCgroup(t, "pids"))
	w.target.Become(inherit...)
	p := w.plan()
	p.sys = (&faults{fails: func(name string, nth, _ int) error {
		if name == "moveMount" && (nth == 2 || nth == 3) {
			return unix.ENOMEM
		}
		return nil
	}}).calls()
	r := w.apply(p)
	if m := at(t, r.Plan, w.point); m.State != Lost {
		t.Errorf("%s", dump(m))
	}
	if m := at(t, r.Plan, lt.MountOf(t, "pids")); m.State != Unchanged || !strings.Contains(m.Error, "not tried") || m.After == nil || m.After.NamespaceRoot != "/.." {
		t.Errorf("%s", dump(m))
	}
}

// A kernel without one of the calls, or a filter that plays one, is found out
// before anything changes.
func TestLiveOldKernel(t *testing.T) {
	w := stale(t, "freezer")
	before := lt.HostView(t, w.target.PID).Mountinfo
	for _, name := range []string{"openat2", "statx", "fsopen", "setWord", "create", "fsmount", "openTree", "moveMount"} {
		for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
			p := w.plan()
			p.sys = (&faults{fails: func(n string, _, _ int) error {
				if n == name {
					return errno
				}
				return nil
			}}).calls()
			r, err := p.Apply(context.Background())
			var text, hint string
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || errors.Is(err, ErrOldKernel) != (errno == unix.ENOSYS) {
					t.Fatalf("%s: %v", name, err)
				}
				text, hint = err.Error(), e.Hint()
			} else {
				m := at(t, r.Plan, w.point)
				text, hint = m.Error, m.Hint
			}
			want := "run it as root"
			if errno == unix.ENOSYS {
				want = "Linux 5.8"
			}
			if !strings.Contains(text, errno.Error()) || !strings.Contains(hint, want) {
				t.Errorf("%s: %q, hint %q", name, text, hint)
			}
			if after := lt.HostView(t, w.target.PID).Mountinfo; after != before {
				t.Fatalf("%s: the mounts changed from\n%s\nto\n%s", name, before, after)
			}
		}
	}
}

// A thread that is in another cgroup namespace than it should be, least of all
// the initial one, mounts nothing: there, that would change the whole host.
func TestLiveNeverElsewhere(t *testing.T) {
	w := stale(t, "unified")
	p := w.plan()
	f := &faults{fails: func(string, int, int) error { return nil }}
	p.sys = f.calls()
	p.sys.setns = func(fd, kind int) error {
		if kind == unix.CLONE_NEWCGROUP {
			return nil // as if it had entered
		}
		return kernel.setns(fd, kind)
	}
	_, err := p.Apply(context.Background())
	if err == nil || !strings.Contains(err.Error(), "cannot mount cgroups: the thread is in cgroup:[4026531835]") || f.count["fsopen"] > 0 {
		t.Errorf("%v, calls %v", err, f.made)
	}
	var r room
	if err := r.assertInside(inspect.Process{Task: inspect.Task{CgroupNS: inspect.InitialCgroupNS}}); !errors.Is(err, errInitial) {
		t.Errorf("%v", err)
	}
}

// Before every fresh mount it is looked at again.
func TestLiveNamespaceIsLookedAt(t *testing.T) {
	w := stale(t, "unified")
	p := w.plan()
	own, err := unix.Open("/proc/self/ns/cgroup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	f := &faults{fails: func(name string, nth, _ int) error {
		if name == "openat2" && nth == 1 {
			return kernel.setns(own, unix.CLONE_NEWCGROUP) // out again
		}
		return nil
	}}
	p.sys = f.calls()
	m := at(t, w.apply(p).Plan, w.point)
	if m.State != Unchanged || !strings.Contains(m.Error, "cannot mount cgroups") || f.count["fsopen"] > 0 {
		t.Errorf("%s, calls %v", dump(m), f.made)
	}
}

// An interruption ends it between two mounts, never within one.
func TestLiveInterrupted(t *testing.T) {
	w := newWorld(t, "freezer")
	lt.Need(t, lt.Hierarchies("pids"))
	w.target = w.host.Fork().Join(w.box, lt.NewCgroup(t, "pids"))
	w.target.Become(inherit...)
	for _, c := range []struct {
		call string
		nth  int
		want []State // of freezer and pids; none: an error
	}{
		{"statx", 1, nil}, {"setns", 1, nil}, {"fsmount", 1, nil}, {"umount", 1, []State{Mended, Unchanged}}, {"moveMount", 2, []State{"", Mended}},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		p := w.plan()
		p.sys = before(c.call, c.nth, cancel)
		r, err := p.Apply(ctx)
		cancel()
		if c.want == nil {
			if err != ErrInterrupted {
				t.Errorf("%s: %v", c.call, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, point := range []string{w.point, lt.MountOf(t, "pids")} {
			m := at(t, r.Plan, point)
			if m.State != c.want[i] && c.want[i] != "" || m.State == Unchanged && m.Mends() && m.Error != "not tried: interrupted" {
				t.Errorf("%s: %s", c.call, dump(m))
			}
		}
	}
}

// While it only looks, it ends at once, whatever the target lets it wait for.
func TestLiveInterruptedAtOnce(t *testing.T) {
	w := stale(t, "freezer")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, awake := w.plan(), make(chan struct{})
	p.sys = before("fsmount", 1, func() {
		cancel()
		time.Sleep(time.Second)
		close(awake)
	})
	start := time.Now()
	_, err := p.Apply(ctx)
	if took := time.Since(start); err != ErrInterrupted || took > answerTime {
		t.Errorf("%v after %v", err, took)
	}
	select {
	case <-awake:
		t.Error("it waited for the target")
	default:
	}
	<-awake
	if p := w.plan(); p.Status() != StatusToDo { // waits for the thread to end
		t.Errorf("%s", dump(p))
	}
}
