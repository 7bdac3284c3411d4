package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var walked = []string{"freezer", "unified", "name=systemd", "pids", "cpuset", "memory", "cpu"}

func TestLiveWalk(t *testing.T) {
	for _, label := range walked {
		t.Run(label, func(t *testing.T) {
			h := needHierarchy(t, label)
			prefix := prefixOf(t)
			unchanged(t, prefix)
			var steps []Step
			ok, err := Walk(context.Background(), WalkConfig{Hierarchy: label, prefix: prefix}, func(s Step) error {
				steps = append(steps, s)
				return nil
			})
			if err != nil || !ok {
				t.Errorf("Walk: %v, %v", ok, err)
			}
			var all []string
			for i, s := range steps {
				if s.Number != i+1 || !s.OK || s.Title == "" || s.Command == "" || s.Expected == "" {
					t.Errorf("step %+v", s)
				}
				all = append(all, s.Answer)
				t.Logf("%2d %-4s %s\n   $ %s\n   %s", s.Number, s.Where, s.Title, s.Command, s.Answer)
			}
			answers := strings.Join(all, "\n")
			for _, want := range []string{h.line("/") + "\n", h.line("/..") + "\n", h.line("/../sub2") + "\n", " /../.. "} {
				if !strings.Contains(answers, want) {
					t.Errorf("no answer has %q", want)
				}
			}
		})
	}
}

func TestLiveWalkLabels(t *testing.T) {
	needRoot(t)
	s, err := readSystem("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.cgroups.Memberships {
		if h, err := s.find(m.Hierarchy.Label); err == nil && h.Label != m.Hierarchy.Label {
			t.Errorf("find(%q) is %q", m.Hierarchy.Label, h.Label)
		}
	}
	for _, label := range []string{"", "frobnicate", "0", "name=", "freezer,unified", "\x1b[31m"} {
		_, err := Walk(context.Background(), WalkConfig{Hierarchy: label}, func(Step) error { t.Error("a step"); return nil })
		var e *Error
		if !errors.Is(err, ErrNoHierarchy) || !errors.As(err, &e) || !strings.HasPrefix(e.Hint(), "this host has: ") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", label, err)
		}
	}
}

func TestLiveWalkInterrupted(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		needHierarchy(t, label)
		for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
			step := 1
			for interrupted(t, label, step, sig) {
				step++
			}
			if step < 17 {
				t.Errorf("%s: only %d steps were interrupted", label, step-1)
			}
		}
	}
}

// interrupted signals a walk at a step, and tells whether it had that step.
// Nothing may be left of it.
func interrupted(t *testing.T, label string, step int, sig syscall.Signal) bool {
	t.Helper()
	prefix := prefixOf(t)
	before := hostState(t, prefix)
	cmd, out := walkHelper(t, label, prefix, step, sig)
	last := 0
	for out.Scan() {
		last++
	}
	cmd.Wait()
	exit := cmd.ProcessState.ExitCode()
	if after := hostState(t, prefix); after != before {
		t.Fatalf("%s, %v at step %d: the host has changed to\n%s", label, sig, step, after)
	}
	if last < step {
		if exit != 0 {
			t.Errorf("%s, uninterrupted: %d steps, status %d", label, last, exit)
		}
		return false
	}
	// At the very last step there is nothing left to interrupt.
	if done := exit == 0 && step > 16; exit != 128+int(sig) && !done {
		t.Errorf("%s, %v at step %d: status %d, %d steps told", label, sig, step, exit, last)
	}
	return true
}

// pidsOf are the processes in the lab's cgroups of one hierarchy.
func pidsOf(t *testing.T, cgroups []string) (pids []int) {
	t.Helper()
	for _, dir := range cgroups {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(string(text)) {
			var pid int
			fmt.Sscan(f, &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestLiveWalkKilled(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		h := needHierarchy(t, label)
		for step := 1; step <= 16; step++ {
			prefix := prefixOf(t) + label + "-"
			unchanged(t, prefix)
			cmd, out := walkHelper(t, label, prefix, step, unix.SIGKILL)
			var last Step
			for out.Scan() {
				json.Unmarshal(out.Bytes(), &last)
			}
			cmd.Wait()
			if !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
				break
			}
			left := cgroupsNamed(t, prefix)
			if len(left) != 3 {
				t.Fatalf("step %d left %q", step, left)
			}
			waitGone(t, pidsOf(t, left)...)
			if step%8 == 1 { // each next lab would do; sweeping alone is quicker
				testNextLab(t, label, prefix, left[0])
			} else if s := sweep(h.mount.MountPoint, prefix); len(s.removed) != 1 || len(s.busy) != 0 {
				t.Errorf("sweep: %+v", s)
			}
		}
	}
}

// testNextLab walks again and expects to be told of what was left.
func testNextLab(t *testing.T, label, prefix, left string) {
	t.Helper()
	var first Step
	ok, err := Walk(context.Background(), WalkConfig{Hierarchy: label, prefix: prefix}, func(s Step) error {
		if s.Number == 1 {
			first = s
		}
		return nil
	})
	if !ok || err != nil || first.Command != "rmdir "+left+"; ls -d "+left || first.Answer != left+": no such file or directory" {
		t.Errorf("next lab: %v, %v, first step %+v", ok, err, first)
	}
}

// A frozen process cannot be killed before it is thawed.
func TestLiveWalkKilledFrozen(t *testing.T) {
	h := needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	cmd, out := walkHelper(t, "freezer", prefix, 0, 0)
	for out.Scan() {
		if strings.Contains(out.Text(), `"outside"`) {
			break
		}
	}
	left := cgroupsNamed(t, prefix)
	pids := pidsOf(t, left)
	if err := os.WriteFile(filepath.Join(left[0], "freezer.state"), []byte("FROZEN"), 0); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if s := sweep(h.mount.MountPoint, prefix); len(s.removed) != 1 {
		t.Errorf("sweep: %+v", s)
	}
	waitGone(t, pids...)
}

func TestLiveKept(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	cmd, out := walkHelper(t, "freezer", prefix, 0, unix.SIGINT)
	var k Kept
	var last Step
	for out.Scan() {
		if strings.Contains(out.Text(), `"outside"`) {
			if err := json.Unmarshal(out.Bytes(), &k); err != nil {
				t.Error(err)
			}
			continue
		}
		json.Unmarshal(out.Bytes(), &last)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C while it waits is the normal end: %v", err)
	}
	if k.Sub == 0 || k.Sub2 == 0 || k.Outside == 0 || len(k.Commands) != 4 || k.Hierarchy != "freezer" {
		t.Errorf("kept %+v", k)
	}
	if !last.OK || !strings.HasPrefix(last.Title, "end the processes") {
		t.Errorf("last step %+v", last)
	}
	waitGone(t, k.Sub, k.Sub2, k.Outside)
}

// Somebody else's cgroup and process in a kept lab: the empty cgroup goes, the
// process is left where it is, and the error says so.
func TestLiveKeptWithGuest(t *testing.T) {
	h := needHierarchy(t, "pids")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	guest, err := startMember("guest")
	if err != nil {
		t.Fatal(err)
	}
	defer guest.stop()
	ctx, cancel := context.WithCancel(context.Background())
	_, err = Walk(ctx, WalkConfig{Hierarchy: "pids", Keep: true, prefix: prefix, Kept: func(k Kept) error {
		lab := filepath.Join(h.mount.MountPoint, filepath.Base(k.Cgroup))
		if err := os.Mkdir(lab+"/sub/deeper", 0o755); err != nil {
			t.Error(err)
		}
		if err := join(lab+"/sub2", guest.pid); err != nil {
			t.Error(err)
		}
		cancel()
		return nil
	}}, func(Step) error { return nil })
	var e *Error
	if !errors.Is(err, ErrLeft) || !errors.As(err, &e) || e.Hint() == "" || !strings.HasSuffix(e.On, "/sub2") {
		t.Errorf("%v", err)
	}
	if s := sweep(h.mount.MountPoint, prefix); len(s.busy) != 1 || len(s.removed) != 0 {
		t.Errorf("sweep with a guest: %+v", s)
	}
	guest.stop()
	if s := sweep(h.mount.MountPoint, prefix); len(s.removed) != 1 {
		t.Errorf("sweep: %+v", s)
	}
}

func TestLiveWalkMemberKilled(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	_, err := Walk(context.Background(), WalkConfig{Hierarchy: "freezer", Keep: true, prefix: prefix, Kept: func(k Kept) error {
		return syscall.Kill(k.Sub2, unix.SIGKILL)
	}}, func(Step) error { return nil })
	if !errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), "nsinspect-sub2") {
		t.Errorf("%v", err)
	}
}

func TestLiveWalkTellFails(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	boom := errors.New("broken pipe")
	told := 0
	ok, err := Walk(context.Background(), WalkConfig{Hierarchy: "freezer", prefix: prefix}, func(s Step) error {
		told++
		if s.Number == 6 {
			return boom
		}
		return nil
	})
	if ok || err != boom || told != 6 {
		t.Errorf("%v, %v after %d steps", ok, err, told)
	}
}

func TestLiveTwoLabs(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			ok, err := Walk(context.Background(), WalkConfig{Hierarchy: "freezer", prefix: prefix}, func(s Step) error {
				if strings.HasPrefix(s.Command, "rmdir") {
					t.Errorf("removed another lab's: %+v", s)
				}
				return nil
			})
			if !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		})
	}
	wg.Wait()
}

func TestLiveSweepOnlyLabs(t *testing.T) {
	h := needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	at := h.mount.MountPoint
	for _, name := range []string{"x", "1-abc", "1-0123456z", "1-01234567-x", ""} {
		path := filepath.Join(at, prefix+name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
	}
	live, err := makeCgroup(at, prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer live.remove()
	if s := sweep(at, prefix); len(s.removed)+len(s.busy) != 0 {
		t.Errorf("sweep: %+v", s)
	}
}

// A wrong answer is told, and the rest goes on: here somebody mends the mount
// while the lab has it for stale.
func TestLiveWalkUnexpected(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	wrong := 0
	var pid string
	ok, err := Walk(context.Background(), WalkConfig{Hierarchy: "freezer", prefix: prefix}, func(s Step) error {
		if strings.HasSuffix(s.Title, "into sub") {
			pid = s.Command[strings.Index(s.Command, "/proc/")+6:]
			pid, _, _ = strings.Cut(pid, "/")
		}
		if strings.Contains(s.Title, "from inside") && pid != "" { // move it up
			var n int
			fmt.Sscan(pid, &n)
			pid = ""
			dir := filepath.Join("/sys/fs/cgroup/freezer", cgroupNameOf(t, prefix))
			if err := join(dir, n); err != nil {
				t.Error(err)
			}
		}
		if !s.OK {
			wrong++
			t.Logf("expected %q, answer %q", s.Expected, s.Answer)
		}
		return nil
	})
	if ok || err != nil || wrong == 0 {
		t.Errorf("%v, %v, %d wrong", ok, err, wrong)
	}
}

func cgroupNameOf(t *testing.T, prefix string) string {
	t.Helper()
	return filepath.Base(cgroupsNamed(t, prefix)[0])
}
