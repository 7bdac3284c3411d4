package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// What looks like a fault and is none: nothing above info may be told of it.

func TestLiveHostAtRest(t *testing.T) {
	needs(t)
	nothingSerious(t, lt.Start(t).PID)
	nothingSerious(t, os.Getpid())
	if text := lt.Run(t, "doctor", "self"); text.Status != 0 || !strings.HasPrefix(text.Stdout, "nothing wrong found\n") {
		t.Errorf("exit status %d\n%s", text.Status, text.Stdout)
	}
}

// PID 1's namespaces often cannot be read even by root; then that is said, and
// no more.
func TestLiveFirstProcess(t *testing.T) {
	needs(t)
	_, err := os.Readlink("/proc/1/ns/cgroup")
	r := doctor(t, 1)
	if list := r.serious(); len(list) > 0 {
		t.Errorf("%s", dump(list))
	}
	list := r.of("incomplete", "")
	if err == nil && len(list) > 0 || err != nil && (len(list) != 1 || len(list[0].PIDs) != 1 || list[0].PIDs[0] != 1) {
		t.Errorf("readlink: %v, but found %s", err, dump(r.Findings))
	}
	strict := 0
	if err != nil {
		strict = 2
	}
	if s := lt.Run(t, "doctor", "--strict", "1"); s.Status != strict {
		t.Errorf("--strict: exit status %d, want %d: %s", s.Status, strict, s.Stderr)
	}
}

// containerRelease is the os-release of busyboxRoot.
const containerRelease = "ID=test\n"

// busyboxRoot is a root file system with one static program under many names.
func busyboxRoot(t *testing.T) string {
	t.Helper()
	lt.Need(t, lt.Programs("busybox"))
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "sys", "dev", "etc", "usr", "run", "tmp", "var"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lt.Output(t, "cp", "-L", "--", strings.TrimSpace(lt.Output(t, "sh", "-c", "command -v busybox")), dir+"/bin/busybox")
	for _, name := range []string{"sh", "cat", "sleep", "mount", "env"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/os-release"), []byte(containerRelease), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLiveChroot(t *testing.T) {
	for _, mounts := range []string{"none", "all"} {
		t.Run(mounts, func(t *testing.T) {
			t.Parallel()
			needs(t)
			host, dir := lt.NewHost(t), busyboxRoot(t)
			if mounts == "all" {
				host.Do("mount --rbind /sys %s/sys", dir)
			}
			s := host.Fork()
			s.Become("chroot", dir)
			nothingSerious(t, s.PID)
		})
	}
}

// A namespace made by a task at the root of a hierarchy has that root.
func TestLiveNamespaceAtRoot(t *testing.T) {
	for _, label := range []string{"freezer", "unified", "name=systemd"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			s := lt.NewHost(t).Fork()
			s.Join(lt.RootCgroup(t, label))
			s.Become("unshare", "-C", "-m", "--")
			freshAll(t, s)
			nothingSerious(t, s.PID)
			if h := likeKernel(t, s.PID).at(t, label); h.root() != "/" || h.Verdict != "ok" {
				t.Errorf("compare: %s", dump(h))
			}
		})
	}
}

// A bind mount of just the part that the process is in.
func TestLiveOwnPartBound(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			point, part := lt.MountOf(t, label), box.Child("part")
			s := boxed(t, host, box)
			freshAll(t, s)
			s.Join(part)
			s.Do("mount --bind %s/part %s", point, point)
			nothingSerious(t, s.PID)
			if h := likeKernel(t, s.PID).at(t, label); h.Verdict != "sub" || h.root() != box.Path {
				t.Errorf("compare: %s", dump(h))
			}
		})
		t.Run(label+"/by the host", func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			point := lt.MountOf(t, label)
			host.Do("mount --bind %s %s", point+box.Path, point)
			s := boxed(t, host, box)
			freshOthers(t, s, label)
			nothingSerious(t, s.PID)
			if h := likeKernel(t, s.PID).at(t, label); h.Verdict != "ok" {
				t.Errorf("compare: %s", dump(h))
			}
		})
	}
}

// A stale mount that another one covers is seen by nobody.
func TestLiveCoveredMount(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			point := lt.MountOf(t, label)
			s := boxed(t, host, box)
			freshOthers(t, s, label)
			s.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/fresh && %s && mount --move /mnt/fresh %s", mountCommand(label, "/mnt/fresh"), point)
			covered(t, s, label)
		})
		t.Run(label+"/ancestor", func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			s := boxed(t, host, box)
			coverAll(t, s, mountParent(t, s.PID, lt.MountOf(t, label)))
			covered(t, s, label)
		})
	}
}

// coverAll puts an empty file system over a directory and mounts all that was
// mounted in it again, in the shell's own view.
func coverAll(t *testing.T, s *lt.Shell, dir string) {
	t.Helper()
	mounts := lt.HostView(t, s.PID).Mounts()
	s.Do("mount -t tmpfs tmpfs %s", dir)
	for _, m := range mounts {
		if strings.HasPrefix(m.Point, dir+"/") {
			s.Do("mkdir -p %s && %s", m.Point, mountCommand(m.Label, m.Point))
		}
	}
}

func covered(t *testing.T, s *lt.Shell, label string) {
	t.Helper()
	nothingSerious(t, s.PID)
	h := likeKernel(t, s.PID).at(t, label)
	if h.Verdict != "ok" || len(h.Mounts) != 2 {
		t.Fatalf("compare: %s", dump(h))
	}
	for _, m := range h.Mounts {
		if stale := ups.MatchString(m.NamespaceRoot); m.Visible == stale {
			t.Errorf("compare: %s", dump(m))
		}
	}
}

// A namespace in a namespace, each with its own mounts.
func TestLiveNested(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			outer := boxed(t, host, box)
			freshAll(t, outer)
			inner := box.Child("inner")
			s := outer.Fork().Join(box)
			s.Join(inner)
			s.Become("unshare", "-C", "-m", "--propagation", "private", "--")
			if root := lt.InView(t, s.PID, s.PID).RootAt(t, lt.MountOf(t, label)); root != "/.." {
				t.Fatalf("the kernel shows %s", root)
			}
			doctor(t, s.PID).one(t, "stale-mount-root", "error", label, s.PID)
			freshAll(t, s)
			nothingSerious(t, outer.PID)
			nothingSerious(t, s.PID)
			if h := likeKernel(t, s.PID, outer.PID).at(t, label); h.root() != inner.Path {
				t.Errorf("compare: %s", dump(h))
			}
		})
	}
}

// What service managers and desktops do to ordinary programs, and what is told
// of it at most.
func TestLiveOrdinaryConfinement(t *testing.T) {
	for name, c := range map[string]struct {
		start func(t *testing.T, host *lt.Shell) int
		told  []string
	}{
		"PrivateMounts": {func(t *testing.T, host *lt.Shell) int { return own(t, host).PID }, nil},
		"ProtectControlGroups": {func(t *testing.T, host *lt.Shell) int {
			s := own(t, host)
			readOnly(t, s)
			return s.PID
		}, nil},
		"PrivateTmp": {func(t *testing.T, host *lt.Shell) int {
			s := own(t, host)
			s.Do("mount -t tmpfs tmpfs /tmp && mount --bind / /mnt && mount --make-private /mnt")
			return s.PID
		}, nil},
		"a browser's sandbox": {func(t *testing.T, host *lt.Shell) int {
			return host.Sleep("unshare", "-U", "-r", "-p", "-f", "-n", "--", "chroot", busyboxRoot(t))
		}, []string{"no-cgroup-mount"}},
		"a user's sandbox": {func(t *testing.T, host *lt.Shell) int {
			lt.Need(t, lt.Programs("bwrap", "setpriv"))
			return host.Sleep("setpriv", "--reuid", unprivileged, "--regid", unprivileged, "--clear-groups", "--",
				"bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-user", "--unshare-pid")
		}, nil},
		"a rootless container": {func(t *testing.T, host *lt.Shell) int {
			return housed(t, own(t, host), true, append(withPIDs, "-U", "-r")...)
		}, []string{"host-cgroupns-in-container"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t)
			pid := c.start(t, lt.NewHost(t))
			nothingSerious(t, pid).exactly(t, c.told...)
		})
	}
}
