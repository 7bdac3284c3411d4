package lab

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inPrivate runs a script in a mount namespace of its own; $0 is this test
// binary, $1 the helper argument, $2 the prefix.
func inPrivate(t *testing.T, only, script, prefix string) result {
	t.Helper()
	return finish(t, runHelper(nil, only, "sh", "-c", script, testBinary(t), helperArgument, prefix))
}

func TestLiveWalkRefused(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	for _, c := range []struct{ name, only, script, want string }{
		{"read-only mount", "mount", "mount -o remount,bind,ro /sys/fs/cgroup/freezer",
			"cannot make a cgroup in the hierarchy freezer: /sys/fs/cgroup/freezer is mounted read-only"},
		{"unmounted", "mount", "umount /sys/fs/cgroup/freezer",
			"cannot make a cgroup in the hierarchy freezer: no mount of it can be seen from here"},
		{"covered", "mount", "mount -t tmpfs none /sys/fs/cgroup",
			"cannot make a cgroup in the hierarchy freezer: no mount of it can be seen from here"},
		{"locked mounts", "user,mount", ":",
			"cannot unmount /sys/fs/cgroup/freezer: invalid argument"},
		{"no more namespaces", "user,mount", "echo 0 > /proc/sys/user/max_cgroup_namespaces",
			"cannot make new cgroup and mount namespaces: no space left on device"},
	} {
		r := inPrivate(t, c.only, c.script+` && exec "$0" "$1" walk freezer "$2" -1 0`, prefix)
		_, message, _ := strings.Cut(r.err, "error: ")
		if r.exit != 2 || strings.TrimSpace(message) != c.want {
			t.Errorf("%s: status %d, %q", c.name, r.exit, message)
		}
	}
}

func TestLiveWalkUnprivileged(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	cmd := exec.Command("/proc/self/exe", helperArgument, "walk", "freezer", prefix, "-1", "0")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ordinary}
	r := finish(t, cmd)
	if r.exit != 2 || r.out != "" || r.err != "error: cannot make cgroup and mount namespaces: operation not permitted\n" {
		t.Errorf("%+v", r)
	}
}

// An ordinary user who is root in a user namespace may make namespaces, and
// still no cgroup.
func TestLiveWalkUserNamespace(t *testing.T) {
	needHierarchy(t, "freezer")
	needUserNamespaces(t)
	prefix := prefixOf(t)
	unchanged(t, prefix)
	r := finish(t, runHelper(ordinary, "user", "/proc/self/exe", helperArgument, "walk", "freezer", prefix, "-1", "0"))
	if r.exit != 2 || r.out != "" || !strings.Contains(r.err, "error: cannot make the cgroup /sys/fs/cgroup/freezer/") || !strings.HasSuffix(r.err, ": permission denied\n") {
		t.Errorf("%+v", r)
	}
}

// On a host whose mounts are all shared, nothing leaves the lab either.
func TestLiveWalkSharedMounts(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	r := inPrivate(t, "mount", `mount --make-rshared /
		before=$(cat /proc/self/mountinfo)
		"$0" "$1" walk freezer "$2" -1 0 || exit
		test "$before" = "$(cat /proc/self/mountinfo)" || exit 50`, prefix)
	if r.exit != 0 {
		t.Errorf("status %d, %s", r.exit, r.err)
	}
}

// A mount with another one in it is busy, and is taken away all the same.
func TestLiveWalkBusyMount(t *testing.T) {
	h := needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	dir := h.mount.MountPoint + "/" + prefix + "x"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	r := inPrivate(t, "mount", `mount -t tmpfs none `+dir+` && exec "$0" "$1" walk freezer "$2" -1 0`, prefix)
	if r.exit != 0 || !strings.Contains(r.out, `"umount -l `) {
		t.Errorf("%+v", r)
	}
}

// From inside another cgroup namespace, whose own mount is stale, the textbook
// reads the same.
func TestLiveWalkInNamespace(t *testing.T) {
	h := needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	outer, err := makeCgroup(h.mount.MountPoint, prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer outer.remove()
	r := inPrivate(t, "mount", `echo $$ > `+outer.path+`/cgroup.procs && exec "$0" "$1" run cgroup "$0" "$1" walk freezer "$2" -1 0`, prefix+"in-")
	if r.exit != 0 {
		t.Errorf("status %d, %s", r.exit, r.err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(r.out), "\n") {
		var s Step
		if err := json.Unmarshal([]byte(line), &s); err != nil || !s.OK {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// The end of a pipe's reader ends the walk like any error.
func TestLiveWalkReaderGone(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", helperArgument, "walk", "freezer", prefix, "-1", "0")
	cmd.Stdout = w
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	buf := make([]byte, 10)
	r.Read(buf)
	r.Close()
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(stderr.String(), "broken pipe") {
		t.Errorf("%v, %s", cmd.ProcessState, stderr.String())
	}
}

func TestLiveWalkContextEnds(t *testing.T) {
	needHierarchy(t, "freezer")
	prefix := prefixOf(t)
	unchanged(t, prefix)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	_, err := Walk(ctx, WalkConfig{Hierarchy: "freezer", prefix: prefix}, func(s Step) error {
		if s.Number == 8 {
			cancel(why)
		}
		return nil
	})
	if err != why {
		t.Errorf("%v", err)
	}
}

func TestError(t *testing.T) {
	e := kernelError("make the cgroup", "/a\x1b[31m", &os.PathError{Op: "mkdir", Path: "/x", Err: unix.EROFS})
	if e.Error() != `cannot make the cgroup /a\033[31m: read-only file system` || !errors.Is(e, ErrReadOnly) || !errors.Is(e, unix.EROFS) {
		t.Error(e)
	}
	i := &Interrupted{unix.SIGTERM}
	if i.ExitStatus() != 143 || i.Error() != "interrupted by SIGTERM" {
		t.Error(i)
	}
}

func TestMeans(t *testing.T) {
	table := []struct {
		field, label string
		want         bool
	}{
		{"cpu,cpuacct", "cpuacct,cpu", true}, {"cpu,cpuacct", "cpu", true}, {"cpu,cpuacct", "cpu,memory", false},
		{"name=systemd", "systemd", true}, {"name=systemd", "name=systemd", true}, {"name=systemd", "name=", false},
		{"cpu", "name=", false}, {"cpu", "", false}, {"net_prio,name=foo", "foo", true}, {"net_prio,name=foo", "name=foo,net_prio", true},
		{"", "unified", true}, {"", "cpu", false}, {"", "", false},
	}
	for _, c := range table {
		h := hierarchyOf(t, c.field)
		if got := means(c.label, h.Hierarchy); got != c.want {
			t.Errorf("%q for %q: %v", c.label, c.field, got)
		}
	}
}

func TestMountCommand(t *testing.T) {
	for _, c := range []struct{ field, options, want string }{
		{"freezer", "rw", "mount -t cgroup -o freezer freezer /m/x"},
		{"cpuacct,cpu", "rw,nosuid,nodev,noexec,relatime", "mount -t cgroup -o nosuid,nodev,noexec,cpu,cpuacct cpu,cpuacct /m/x"},
		{"name=systemd", "rw", "mount -t cgroup -o none,name=systemd systemd /m/x"},
		{"net_prio,name=foo", "rw", "mount -t cgroup -o net_prio,name=foo foo /m/x"},
		{"", "rw,nosuid", "mount -t cgroup2 -o nosuid cgroup2 /m/x"},
		{"", "rw", "mount -t cgroup2 cgroup2 /m/x"},
	} {
		h := hierarchyOf(t, c.field)
		h.mount.MountPoint, h.mount.Options = "/m/x", strings.Split(c.options, ",")
		if got := h.mountCommand(); got != c.want {
			t.Errorf("%q: %s", c.field, got)
		}
	}
	for in, want := range map[string]string{"a b": "'a b'", "": "''", "it's": `'it'\''s'`, "/a-b.c": "/a-b.c", "~x": "'~x'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) is %s", in, got)
		}
	}
}
