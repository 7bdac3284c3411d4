package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// What remount says to people: the verdict in a short first line, each mount
// before and after, and the command that comes next.
func TestLiveRemountText(t *testing.T) {
	needs(t, "freezer")
	host, box, point := lt.NewHost(t), lt.NewCgroup(t, "freezer"), lt.MountOf(t, "freezer")
	s := boxed(t, host, box)
	freshOthers(t, s, "freezer")
	pid := strconv.Itoa(s.PID)
	row := func(r lt.Result) string {
		for line := range strings.Lines(r.Stdout) {
			if strings.Contains(line, " "+point+" ") {
				return strings.Join(strings.Fields(line)[1:], " ")
			}
		}
		return ""
	}
	for _, c := range []struct {
		args   []string
		status int
		first  string
		row    string
		stderr string
	}{
		{nil, 1, "1 cgroup mount can be mended; nothing is changed without --apply", "freezer " + point + " /.. / replace", "nsinspect: hint: 'nsinspect remount " + pid + " --apply' does it\n"},
		{[]string{"--apply"}, 0, "1 cgroup mount mended", "freezer " + point + " /.. / mended", ""},
		{[]string{"--apply"}, 0, "nothing to mend", "", ""},
		{[]string{"-o", "wide"}, 0, "nothing to mend", "freezer " + point + " / / keep", ""},
	} {
		r := lt.Run(t, append([]string{"remount", pid}, c.args...)...)
		first, _, _ := strings.Cut(r.Stdout, "\n")
		if r.Status != c.status || first != c.first || row(r) != c.row || r.Stderr != c.stderr {
			t.Errorf("%q: status %d, %q\n%s%s", c.args, r.Status, row(r), r.Stderr, r.Stdout)
		}
	}
}

// Whom mending would hurt is listed, and what to do instead is said; nothing is
// changed, with --apply or without.
func TestLiveRemountRefuses(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := host.Fork().Join(box)
	s.Become("unshare", "-C", "--")
	for _, flags := range [][]string{nil, {"--apply"}} {
		r := lt.Run(t, append([]string{"remount", strconv.Itoa(s.PID)}, flags...)...)
		first, _, _ := strings.Cut(r.Stdout, "\n")
		if r.Status != 2 || len(first) > 80 || !strings.HasPrefix(first, "refused: ") || r.Stderr != "" ||
			!strings.Contains(r.Stdout, "unshare -m") || !regexp.MustCompile(fmt.Sprintf(`(?m)^%d +sh +4026531835$`, host.PID)).MatchString(r.Stdout) {
			t.Errorf("status %d\n%s%s", r.Status, r.Stderr, r.Stdout)
		}
	}
	if root := lt.InView(t, s.PID, s.PID).RootAt(t, lt.MountOf(t, "freezer")); root != "/.." {
		t.Errorf("the mount's root is %s", root)
	}
}

// The mount namespace is the reader's own: seen from there it is refused, seen
// from the host it is mended.
func TestLiveRemountReader(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := boxed(t, host, box)
	p := planBy(t, s.Run("remount", "-J", "--apply", "self"))
	if p.Outcome != "refused" || !strings.Contains(p.Refusal, "nsinspect itself") || p.Hint == "" {
		t.Errorf("%s", dump(p))
	}
	if p := planOf(t, strconv.Itoa(s.PID), "--apply"); p.Outcome != "mended" {
		t.Errorf("%s", dump(p))
	}
}

// From a PID namespace of its own nobody sees who else uses a mount namespace.
func TestLiveRemountPartOfHost(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := host.Fork().Join(box)
	script := `sh -c 'exec unshare -C -m sleep 1000' & sleep 0.2; exec "$0" remount -J --apply $!`
	p := planBy(t, s.Execute("unshare", "-p", "-f", "-m", "--mount-proc", "--kill-child", "sh", "-c", script, lt.CopyBinary(t, publicDir(t))))
	if p.Outcome != "refused" || !strings.Contains(p.Refusal, "outside this PID namespace") {
		t.Errorf("%s", dump(p))
	}
}

// An ordinary user cannot look, is told so, and what to do.
func TestLiveRemountOrdinaryUser(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("setpriv"))
	dir := publicDir(t)
	s := boxed(t, lt.NewHost(t), lt.NewCgroup(t, "freezer"))
	for _, flags := range [][]string{{"-J"}, {"-J", "--apply"}} {
		argv := append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", lt.CopyBinary(t, dir), "remount", strconv.Itoa(s.PID)}, flags...)
		p := planBy(t, lt.Execute(t, argv...))
		if p.Outcome != "refused" || p.Refusal == "" || !strings.HasPrefix(p.Hint, "run it as root on the host") {
			t.Errorf("%s", dump(p))
		}
	}
}

// publicDir is a directory that every user can reach.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nsinspect-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A thread with namespaces of its own is mended as that thread.
func TestLiveRemountThread(t *testing.T) {
	needs(t, "freezer")
	lt.HostUnchanged(t)
	tid := threadIn(t, lt.NewCgroup(t, "freezer"))
	point := lt.MountOf(t, "freezer")
	p := planOf(t, strconv.Itoa(tid), "--apply")
	if p.Outcome != "mended" {
		t.Errorf("%s", dump(p))
	}
	if root := lt.InView(t, tid, tid).RootAt(t, point); root != "/" {
		t.Errorf("the mount's root is %s", root)
	}
}

// No program is run, neither the host's nor one that the target planted; once
// inside, nothing is opened by a path of /proc.
func TestLiveRemountCalls(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("strace"))
	host, box, point := lt.NewHost(t), lt.NewCgroup(t, "freezer"), lt.MountOf(t, "freezer")
	host.Do("mount --make-rshared /")
	s := host.Fork().Join(box)
	s.Become("unshare", "-C", "-m", "--propagation", "unchanged", "--")
	log := filepath.Join(t.TempDir(), "strace")
	pid, before := strconv.Itoa(s.PID), lt.HostView(t, host.PID).Mountinfo
	r := lt.Execute(t, "strace", "-f", "-e", "trace=execve,execveat,fork,vfork,clone,setns,openat,openat2,open,readlink,readlinkat,statx,newfstatat,umount2,mount,move_mount,open_tree,fsopen,fsmount,exit", "-o", log, lt.Binary(t), "remount", "--apply", pid)
	if r.Status != 0 || !kernelLists(t, s.PID, point) {
		t.Fatalf("status %d\n%s%s", r.Status, r.Stderr, r.Stdout)
	}
	if after := lt.HostView(t, host.PID).Mountinfo; after != before {
		t.Errorf("the host's mounts changed from\n%s\nto\n%s", before, after)
	}
	inside := map[string]bool{} // threads that have entered the mount namespace
	moved, programs := 0, 0
	for line := range strings.Lines(lt.ReadFile(t, log)) {
		thread, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		call = strings.TrimSpace(call)
		switch {
		case strings.HasPrefix(call, "execve"):
			programs++
		case strings.HasPrefix(call, "setns(") && strings.Contains(call, "CLONE_NEWNS"):
			inside[thread] = true
		case inside[thread] && strings.Contains(call, "/proc"):
			t.Errorf("inside: %s", call)
		case inside[thread] && strings.HasPrefix(call, "move_mount(") && strings.HasSuffix(call, "= 0"):
			moved++
		case !inside[thread] && regexp.MustCompile(`^(mount|umount2|move_mount|open_tree|fsopen|fsmount)\(`).MatchString(call):
			t.Errorf("outside: %s", call)
		}
	}
	if programs != 1 || len(inside) != 1 || moved == 0 {
		t.Errorf("%d programs, %d threads inside, %d mounts moved", programs, len(inside), moved)
	}
}

// What the target calls mount, umount or nsenter is of no matter.
func TestLiveRemountHostilePrograms(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("busybox"))
	dir := t.TempDir()
	evil, trace := filepath.Join(dir, "evil"), filepath.Join(dir, "trace")
	if err := os.WriteFile(evil, []byte("#!/bin/busybox sh\necho \"$0\" >>"+trace+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := boxed(t, lt.NewHost(t), lt.NewCgroup(t, "freezer"))
	var plant []string
	for _, program := range []string{"umount", "nsenter", "readlink", "mount"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		plant = append(plant, "mount --bind "+evil+" "+path)
	}
	s.Do("%s", strings.Join(plant, " && "))
	if p := planOf(t, strconv.Itoa(s.PID), "--apply"); p.Outcome != "mended" {
		t.Errorf("%s", dump(p))
	}
	if text, err := os.ReadFile(trace); !os.IsNotExist(err) {
		t.Errorf("the target's programs were run: %s %v", text, err)
	}
}

// Ended by a signal that would end other programs at once, it ends between two
// mounts and says what state they are in.
func TestLiveRemountTerminated(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("strace"))
	for _, signal := range []string{"SIGTERM", "SIGHUP", "SIGINT"} {
		t.Run(signal, func(t *testing.T) {
			host, box, point := lt.NewHost(t), lt.NewCgroup(t, "freezer"), lt.MountOf(t, "freezer")
			s := boxed(t, host, box)
			freshOthers(t, s, "freezer")
			// The signal comes when the old mount has just been taken away.
			r := lt.Execute(t, "strace", "-f", "-o", "/dev/null", "-e", "trace=umount2", "-e", "inject=umount2:signal="+signal+":when=1", lt.Binary(t), "remount", "-J", "--apply", strconv.Itoa(s.PID))
			if r.Status != 0 || !strings.Contains(r.Stdout, `"outcome": "mended"`) {
				t.Errorf("status %d\n%s%s", r.Status, r.Stderr, r.Stdout)
			}
			if !kernelLists(t, s.PID, point) {
				t.Error("it is not mended")
			}
		})
	}
}

// Interrupted before anything was changed, it ends at once, changes nothing and
// says so.
func TestLiveRemountInterrupted(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("strace"))
	s := boxed(t, lt.NewHost(t), lt.NewCgroup(t, "freezer"))
	before := lt.HostView(t, s.PID).Mountinfo
	for _, signal := range []string{"SIGINT", "SIGTERM", "SIGHUP"} {
		// The call that makes the fresh mount takes a while.
		r := lt.Execute(t, "strace", "-f", "-o", "/dev/null", "-e", "trace=fsopen,fsmount", "-e", "inject=fsopen:signal="+signal+":when=1", "-e", "inject=fsmount:delay_exit=500000", lt.Binary(t), "remount", "--apply", strconv.Itoa(s.PID))
		if r.Status != 2 || r.Stdout != "" || !strings.HasPrefix(r.Stderr, "nsinspect: interrupted: nothing was changed\n") {
			t.Errorf("%s: status %d\n%s%s", signal, r.Status, r.Stderr, r.Stdout)
		}
		if after := lt.HostView(t, s.PID).Mountinfo; after != before {
			t.Errorf("%s: the mounts changed from\n%s\nto\n%s", signal, before, after)
		}
	}
}

// A container's mounts are its runtime's: doctor says so, and that they can be
// mended all the same.
func TestLiveRemountContainerRoot(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	host.Do("mount -t tmpfs tmpfs /mnt && for d in bin sbin lib lib64 usr proc sys; do test -e /$d || continue; mkdir -p /mnt/$d; mount --rbind /$d /mnt/$d; done; mkdir /mnt/old")
	s := host.Fork().Join(box)
	s.Become("unshare", "-C", "-m", "--propagation", "private", "--")
	s.Do("cd /mnt && pivot_root . old && cd / && umount -l /old")
	f := doctor(t, s.PID).one(t, "stale-mount-root", "warning", "freezer", s.PID)
	if f.Remedy.Safe == nil || *f.Remedy.Safe || len(f.Remedy.Steps) > 0 || len(f.Remedy.Command) == 0 {
		t.Errorf("%s", dump(f))
	}
	p := planOf(t, strconv.Itoa(s.PID), "--apply")
	if p.Outcome != "mended" || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "container runtime") {
		t.Errorf("%s", dump(p))
	}
	if !kernelLists(t, s.PID, lt.MountOf(t, "freezer")) {
		t.Error("the kernel does not list it")
	}
}
