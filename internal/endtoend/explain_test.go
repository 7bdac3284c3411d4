package endtoend

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// byHand runs the commands that explain gives to see a fault without the tool,
// of a process and an ancestor of it, and returns what they print.
func byHand(t *testing.T, check string, pid, ancestor int) string {
	t.Helper()
	for _, e := range explanations(t) {
		if e.Check != check {
			continue
		}
		parts := strings.Split(e.Parts["without_this_tool"], "```")
		if len(parts) != 3 {
			t.Fatalf("%s: %q", check, e.Parts["without_this_tool"])
		}
		script := regexp.MustCompile(`\bPPID\b`).ReplaceAllString(parts[1], strconv.Itoa(ancestor))
		script = regexp.MustCompile(`\bPID\b`).ReplaceAllString(script, strconv.Itoa(pid))
		r := lt.Execute(t, "sh", "-c", script)
		return r.Stdout + r.Stderr
	}
	t.Fatalf("no check %s", check)
	return ""
}

// TestLiveByHand holds that what docs/checks.md says can be seen without the
// tool is there to be seen where there is the fault, and not elsewhere.
func TestLiveByHand(t *testing.T) {
	stale := func(t *testing.T, host *lt.Shell, top *lt.Cgroup) *lt.Shell { return boxed(t, host, top.Child("box")) }
	moved := func(t *testing.T, host *lt.Shell, top *lt.Cgroup) *lt.Shell {
		s := stale(t, host, top)
		freshAll(t, s)
		top.Add(s.PID)
		return s
	}
	for _, c := range []struct {
		check string
		make  func(*testing.T, *lt.Shell, *lt.Cgroup) *lt.Shell
		want  string // of the fault
	}{
		{"stale-mount-root", stale, `(?m)^\d+ \d+ \d+:\d+ /\.\.(/\.\.)* .* - cgroup2 `},
		{"process-outside-root", moved, `(?m)^0::/\.\.$`},
		{"dead-root", func(t *testing.T, host *lt.Shell, top *lt.Cgroup) *lt.Shell {
			s := moved(t, host, top)
			host.Do("rmdir %s/box", top.Dir)
			return s
		}, `(?ms)^0::/\.\.$.*(does not exist|No such file)`},
		{"path-not-under-mount", func(_ *testing.T, host *lt.Shell, top *lt.Cgroup) *lt.Shell {
			s := host.Fork().Join(top.Child("b"))
			s.Become("unshare", "-m", "--propagation", "private", "--")
			s.Do("mount --bind %s %s", top.Child("a").Dir, lt.MountOf(t, "unified"))
			return s
		}, `(?ms)^0::/\S+/b$.*^\d+ \d+ \d+:\d+ /\S+/a .* - cgroup2 `},
		{"foreign-mount-root", func(t *testing.T, host *lt.Shell, top *lt.Cgroup) *lt.Shell {
			s := stale(t, host, top)
			s.Do("mount --bind %s %s", top.Child("a").Dir, lt.MountOf(t, "unified"))
			return s
		}, `(?m)^\d+ \d+ \d+:\d+ /\.\./a .* - cgroup2 `},
	} {
		t.Run(c.check, func(t *testing.T) {
			needs(t, "unified")
			host, top := lt.NewHost(t), lt.NewCgroup(t, "unified")
			s := c.make(t, host, top)
			doctor(t, s.PID).one(t, c.check, map[bool]string{true: "warning", false: "error"}[c.check == "foreign-mount-root"], "unified", s.PID)
			if out := byHand(t, c.check, s.PID, 0); !regexp.MustCompile(c.want).MatchString(out) {
				t.Errorf("the commands print\n%s", out)
			}
			healthy := boxed(t, host, top.Child("healthy"))
			freshAll(t, healthy)
			if out := byHand(t, c.check, healthy.PID, 0); regexp.MustCompile(c.want).MatchString(out) {
				t.Errorf("of a healthy process the commands print\n%s", out)
			}
		})
	}
}

// A visitor is where the first ancestor is that has other namespaces.
func TestLiveByHandVisitor(t *testing.T) {
	needs(t, "unified")
	host, top := lt.NewHost(t), lt.NewCgroup(t, "unified")
	s := boxed(t, host, top.Child("box"))
	freshAll(t, s)
	visitor := host.Sleep("nsenter", "-t", fmt.Sprint(s.PID), "-C", "-m", "--")
	doctor(t, visitor).one(t, "visitor", "info", "", visitor)
	out := byHand(t, "visitor", visitor, host.PID)
	ns := func(pid int) string {
		return fmt.Sprintf("cgroup:[%d]\nmnt:[%d]\n", lt.Namespace(t, pid, "cgroup"), lt.Namespace(t, pid, "mnt"))
	}
	if want := ns(s.PID) + ns(host.PID); out != want {
		t.Errorf("the commands print\n%swant\n%s", out, want)
	}
}

func TestLiveByHandNoMount(t *testing.T) {
	needs(t)
	host := lt.NewHost(t)
	s := host.Fork()
	s.Become("unshare", "-m", "--propagation", "private", "--")
	s.Do("umount -R /sys")
	typed := regexp.MustCompile(` - cgroup2? `)
	if out := byHand(t, "no-cgroup-mount", s.PID, 0); typed.MatchString(out) {
		t.Errorf("the command prints\n%s", out)
	}
	if out := byHand(t, "no-cgroup-mount", host.PID, 0); !typed.MatchString(out) {
		t.Errorf("of another process the command prints\n%s", out)
	}
}

// A namespace that only a bind mount keeps is named by its number.
func TestLiveByHandKept(t *testing.T) {
	needs(t, "unified")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "unified")
	s := boxed(t, host, box)
	ns := lt.Namespace(t, s.PID, "cgroup")
	host.Do("mount -t tmpfs tmpfs /mnt && touch /mnt/kept && mount --bind /proc/%d/ns/cgroup /mnt/kept", s.PID)
	s.End()
	if out := byHand(t, "namespace-without-process", 0, 0); !strings.Contains(out, fmt.Sprintf("cgroup:[%d]", ns)) {
		t.Errorf("the commands print\n%s", out)
	}
}

// Where the check that tells a fault is left out, another one that it explains
// is told, so that choosing hides nothing.
func TestLiveChosenChecks(t *testing.T) {
	needs(t, "unified")
	host, top := lt.NewHost(t), lt.NewCgroup(t, "unified")
	box := top.Child("box")
	s := boxed(t, host, box)
	freshAll(t, s)
	top.Add(s.PID)
	box.Remove()
	pid := strconv.Itoa(s.PID)
	doctor(t, s.PID).only(t, "unified", "dead-root")
	for _, choice := range [][]string{{"--skip", "dead-root"}, {"--check", "process-outside-root"}} {
		r := doctorBy(t, lt.Run(t, append([]string{"doctor", "-J", pid}, choice...)...))
		f := r.one(t, "process-outside-root", "error", "unified", s.PID)
		if len(f.Remedy.Notes) != 1 || !strings.Contains(f.Remedy.Notes[0], "there is no way back") {
			t.Errorf("%s", dump(f))
		}
	}
	if r := lt.Run(t, "doctor", "--check", "foreign-mount-root", pid); r.Status != 0 || !strings.HasPrefix(r.Stdout, "nothing wrong found by 1 of 24 checks\n") {
		t.Errorf("exit status %d\n%s", r.Status, r.Stdout)
	}
}

// A process that was moved out, to where its mount shows it, is out of place
// itself: its mount is not called a neighbour's.
func TestLiveMovedWithItsMount(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			needs(t, label)
			host, top := lt.NewHost(t), lt.NewCgroup(t, label)
			sibling, point := top.Child("sibling"), lt.MountOf(t, label)
			host.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/sibling && mount --bind %s /mnt/sibling", sibling.Dir)
			s := boxed(t, host, top.Child("box"))
			freshAll(t, s)
			sibling.Add(s.PID)
			s.Do("umount %s && mount --move /mnt/sibling %s", point, point)
			if root := lt.InView(t, s.PID, s.PID).RootAt(t, point); root != "/../sibling" || !kernelLists(t, s.PID, point) {
				t.Fatalf("the kernel shows %s", root)
			}
			r := doctor(t, s.PID)
			r.one(t, "process-outside-root", "error", label, s.PID)
			r.only(t, label, "process-outside-root")
		})
	}
}
