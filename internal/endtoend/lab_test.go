package endtoend

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	lt "nsinspect/internal/livetest"
)

// keptLab is a lab that stopped before the mending and waits.
type keptLab struct {
	cmd      *exec.Cmd
	out      io.Reader
	document string
	Steps    []struct {
		Where, Command, Answer string
		OK                     bool
	}
	Kept struct {
		Sub, Sub2, Outside int
		Cgroup             string
		MountPoint         string `json:"mount_point"`
		Commands           [][]string
	}
}

// keepLab starts a lab that waits, through programs such as nsenter if any are
// given.
func keepLab(t *testing.T, hierarchy string, through ...string) *keptLab {
	t.Helper()
	l := &keptLab{}
	argv := append(through[:len(through):len(through)], lt.Binary(t), "lab", "--keep", "--json", hierarchy)
	l.cmd = exec.Command(argv[0], argv[1:]...)
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lt.Launch(t, l.cmd)
	l.out = out
	var text json.RawMessage
	if err := json.NewDecoder(out).Decode(&text); err != nil {
		t.Fatal(err)
	}
	l.document = string(text)
	if err := json.Unmarshal(text, l); err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Steps {
		if !s.OK {
			t.Errorf("step %+v", s)
		}
	}
	return l
}

// end sends the lab a signal and returns its exit status.
func (l *keptLab) end(t *testing.T, s os.Signal) int {
	t.Helper()
	if err := l.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, l.out); err != nil {
		t.Fatal(err)
	}
	err := l.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Fatal(err)
	}
	return l.cmd.ProcessState.ExitCode()
}

// cgroupTree is every cgroup of every hierarchy that the host has mounted, and
// the host's mounts.
func cgroupTree(t *testing.T) string {
	t.Helper()
	text := lt.ReadFile(t, "/proc/self/mountinfo")
	tree := []string{text}
	for _, m := range lt.ParseMounts(text) {
		err := filepath.WalkDir(m.Point, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				tree = append(tree, path)
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(tree, "\n")
}

// untouched holds that a test leaves the host's mounts and cgroups as it found
// them, byte for byte. On a busy host others make and remove cgroups, too, so
// it is given some time to be so.
func untouched(t *testing.T) {
	t.Helper()
	before := cgroupTree(t)
	t.Cleanup(func() {
		after := cgroupTree(t)
		for range 50 {
			if after == before {
				return
			}
			time.Sleep(100 * time.Millisecond)
			after = cgroupTree(t)
		}
		t.Errorf("mounts and cgroups were\n%s\nand are\n%s", before, after)
	})
}

var labHierarchies = []string{"freezer", "unified", "name=systemd"}

// The textbook's paths, from the kernel's own answers, and nothing is left.
func TestLiveLabText(t *testing.T) {
	for _, label := range labHierarchies {
		t.Run(label, func(t *testing.T) {
			needs(t, label)
			untouched(t)
			r := lt.Run(t, "lab", label)
			if r.Status != 0 || r.Stderr != "" || strings.Contains(r.Stdout, "not the answer") {
				t.Fatalf("status %d, %s\n%s", r.Status, r.Stderr, r.Stdout)
			}
			prefix := ""
			for line := range strings.Lines(lt.ReadFile(t, "/proc/self/cgroup")) {
				f := strings.SplitN(line, ":", 3)
				if f[1] == label || f[1] == "" && label == "unified" {
					prefix = f[0] + ":" + f[1] + ":"
				}
			}
			for _, want := range []string{prefix + "/", prefix + "/..", prefix + "/../sub2"} {
				if !strings.Contains(r.Stdout, "    "+want+"\n") {
					t.Errorf("no %q in\n%s", want, r.Stdout)
				}
			}
			if !strings.Contains(r.Stdout, " /../.. "+lt.MountOf(t, label)+" ") || !strings.Contains(r.Stdout, " / "+lt.MountOf(t, label)+" ") {
				t.Errorf("neither the stale root nor the mended one in\n%s", r.Stdout)
			}
		})
	}
}

// A lab is kept, diagnosed, mended and diagnosed again: status 1, 1, 0, 0, while
// the mounts of the host, and of whoever stands for it, do not change.
func TestLiveLabKeptAndMended(t *testing.T) {
	for _, label := range labHierarchies {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/shared %v", label, shared), func(t *testing.T) {
				needs(t, label)
				untouched(t)
				host := lt.NewHost(t)
				through := []string{}
				if shared {
					host.Do("mount --make-rshared /")
					through = []string{"nsenter", "-t", strconv.Itoa(host.PID), "-m", "--"}
				}
				l := keepLab(t, label, through...)
				before := lt.HostView(t, host.PID).Mountinfo
				l.mend(t)
				if after := lt.HostView(t, host.PID).Mountinfo; after != before {
					t.Errorf("the mounts changed from\n%s\nto\n%s", before, after)
				}
				if status := l.end(t, os.Interrupt); status != 0 {
					t.Errorf("the lab's exit status is %d", status)
				}
			})
		}
	}
}

// mend does what the lab says can be tried.
func (l *keptLab) mend(t *testing.T) {
	t.Helper()
	pid := strconv.Itoa(l.Kept.Sub)
	want := [][]string{
		{"nsinspect", "compare", pid, strconv.Itoa(l.Kept.Outside), strconv.Itoa(l.Kept.Sub2)}, {"nsinspect", "doctor", pid},
		{"nsinspect", "remount", pid}, {"nsinspect", "remount", pid, "--apply"},
	}
	if !slices.EqualFunc(l.Kept.Commands, want, slices.Equal[[]string]) {
		t.Fatalf("commands %q", l.Kept.Commands)
	}
	root := func() string { return lt.InView(t, l.Kept.Sub, l.Kept.Sub).RootAt(t, l.Kept.MountPoint) }
	if root() != "/../.." {
		t.Fatalf("the mount's root is %s", root())
	}
	for _, c := range []struct {
		args   []string
		status int
		first  string
		root   string
	}{
		{want[0][1:], 0, "", "/../.."},
		{want[1][1:], 1, "error", "/../.."},
		{want[2][1:], 1, "can be mended; nothing is changed without --apply", "/../.."},
		{want[3][1:], 0, "mended", "/"},
		{want[1][1:], 0, "nothing wrong found", "/"},
		{want[2][1:], 0, "nothing to mend", "/"},
		{want[3][1:], 0, "nothing to mend", "/"},
	} {
		r := lt.Run(t, c.args...)
		first, _, _ := strings.Cut(r.Stdout, "\n")
		if r.Status != c.status || !strings.Contains(first, c.first) || len(first) > 80 && c.args[0] != "compare" {
			t.Errorf("%q: status %d, %s%s", c.args, r.Status, r.Stderr, r.Stdout)
		}
		if root() != c.root {
			t.Errorf("after %q the mount's root is %s", c.args, root())
		}
		if c.args[0] == "doctor" && c.status == 1 && !strings.Contains(r.Stdout, "):\n           nsinspect remount "+pid+" --apply\n         or by hand, as root on the host:\n") {
			t.Errorf("doctor does not name the command:\n%s", r.Stdout)
		}
	}
	if !kernelLists(t, l.Kept.Sub, l.Kept.MountPoint) {
		t.Error("the kernel does not list it")
	}
}

// Whatever ends a kept lab, nothing is left; of one that was killed outright,
// the next lab sweeps what is left, and only that.
func TestLiveLabEnds(t *testing.T) {
	needs(t, "freezer")
	untouched(t)
	for s, want := range map[syscall.Signal]int{syscall.SIGINT: 0, syscall.SIGTERM: 143, syscall.SIGHUP: 129, syscall.SIGQUIT: 131} {
		tree := cgroupTree(t)
		l := keepLab(t, "freezer")
		if status := l.end(t, s); status != want {
			t.Errorf("%v: exit status %d, want %d", s, status, want)
		}
		if after := cgroupTree(t); after != tree {
			t.Errorf("%v left\n%s", s, after)
		}
	}
	other := keepLab(t, "freezer")
	l := keepLab(t, "freezer")
	lt.Kill(l.cmd.Process.Pid)
	for _, pid := range []int{l.Kept.Sub, l.Kept.Sub2, l.Kept.Outside} {
		lt.Gone(t, pid)
	}
	dir := filepath.Join(lt.MountOf(t, "freezer"), l.Kept.Cgroup)
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	r := lt.Run(t, "lab", "pids")
	if r.Status != 0 || !strings.Contains(r.Stdout, "rmdir "+dir+"; ls -d "+dir+"\n") || strings.Contains(r.Stdout, other.Kept.Cgroup) {
		t.Errorf("status %d, %s\n%s", r.Status, r.Stderr, r.Stdout)
	}
	if status := other.end(t, os.Interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// An ordinary user runs a command in all the namespaces, and cannot walk.
func TestLiveLabOrdinaryUser(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("setpriv"))
	untouched(t)
	dir := publicDir(t)
	nobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", lt.CopyBinary(t, dir), "lab"}
	if r := lt.Execute(t, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-U", "true"); r.Status != 0 {
		lt.Cannot(t, "an ordinary user may not make user namespaces: %s", r.Stderr)
	}
	kinds := []string{"uts", "ipc", "pid", "mnt", "user", "net", "cgroup"}
	script := "id -u; echo $$; for n in " + strings.Join(kinds, " ") + "; do readlink /proc/self/ns/$n; done; exit 7"
	r := lt.Execute(t, append(nobody, "run", "--", "sh", "-c", script)...)
	lines, told := strings.Fields(r.Stdout), strings.Split(strings.TrimSpace(r.Stderr), "\n")
	if r.Status != 7 || len(lines) != 9 || lines[0] != "0" || len(told) != len(kinds) {
		t.Fatalf("%+v", r)
	}
	for i, kind := range kinds {
		host := strconv.FormatUint(lt.Namespace(t, os.Getpid(), kind), 10)
		own := strings.Trim(strings.TrimPrefix(lines[2+i], kind+":"), "[]")
		if own == host || !strings.HasSuffix(told[i], "  "+host+" -> "+own) {
			t.Errorf("%s: told %q, the kernel shows %s", kind, told[i], own)
		}
	}
	r = lt.Execute(t, append(nobody, "freezer")...)
	if r.Status != 2 || r.Stdout != "" || !strings.HasPrefix(r.Stderr, "nsinspect: cannot make cgroup and mount namespaces: operation not permitted\n") {
		t.Errorf("%+v", r)
	}
}

// What a host does not have, one clear line.
func TestLiveLabRefuses(t *testing.T) {
	needs(t, "freezer")
	untouched(t)
	host := lt.NewHost(t)
	host.Do("mount -o remount,bind,ro %s && umount %s", lt.MountOf(t, "freezer"), lt.MountOf(t, "pids"))
	for hierarchy, want := range map[string]string{
		"frobnicate": "cannot find the hierarchy frobnicate: /proc/self/cgroup does not name it",
		"freezer":    "is mounted read-only",
		"pids":       "no mount of it can be seen from here",
	} {
		for _, format := range []string{"table", "json"} {
			r := host.Run("lab", hierarchy, "-o", format)
			first, hint, _ := strings.Cut(r.Stderr, "\n")
			if r.Status != 2 || r.Stdout != "" || !strings.HasPrefix(first, "nsinspect: ") || !strings.Contains(first, want) || !strings.HasPrefix(hint, "nsinspect: hint: ") || strings.Count(hint, "\n") != 1 {
				t.Errorf("%s, %s: %+v", hierarchy, format, r)
			}
		}
	}
}
