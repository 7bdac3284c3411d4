package endtoend

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	lt "nsinspect/internal/livetest"
)

// readOnly makes mounts of hierarchies read-only in a shell's mount namespace,
// as container runtimes do; of all if none are given.
func readOnly(t *testing.T, s *lt.Shell, labels ...string) {
	t.Helper()
	for _, m := range lt.HostView(t, s.PID).Mounts() {
		if len(labels) == 0 || slices.Contains(labels, m.Label) {
			s.Do("mount -o remount,bind,ro %s", m.Point)
		}
	}
}

// housed starts a sleeping process through a program such as unshare, with a
// root file system of its own and, if wanted, the cgroup mounts of the shell.
func housed(t *testing.T, s *lt.Shell, mounts bool, through ...string) int {
	t.Helper()
	sys := "true"
	if mounts {
		sys = "mount --rbind /sys sys"
	}
	enter := fmt.Sprintf("cd %s && mount --bind . . && cd $PWD && %s && mkdir -p old && pivot_root . old && /bin/busybox umount -l /old && exec /bin/sleep 10000", busyboxRoot(t), sys)
	return s.Background("sleep", append(through, "--", "sh", "-c", enter)...)
}

// Ways into a mount namespace of one's own, with a PID namespace and without.
var (
	withPIDs    = []string{"unshare", "-m", "--propagation", "private", "-p", "-f"}
	withoutPIDs = []string{"unshare", "-m", "--propagation", "private"}
)

// A container is who has a root file system of its own and a PID namespace, or a
// cgroup that a runtime made.
func TestLiveHostCgroupnsInContainer(t *testing.T) {
	for name, c := range map[string]struct {
		cgroup  string // below the test's own
		through []string
		mounts  bool
		told    []string
	}{
		"container":            {"", withPIDs, true, []string{"host-cgroupns-in-container"}},
		"with the host's PIDs": {"docker-1f2e.scope", withoutPIDs, true, []string{"host-cgroupns-in-container"}},
		"snap":                 {"snap.firefox.firefox-1f2e.scope", withoutPIDs, true, nil},
		"sandbox":              {"", withPIDs, false, []string{"no-cgroup-mount"}},
		"private":              {"", append(withPIDs, "-C"), true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "freezer")
			lt.Need(t, lt.Programs("pivot_root"))
			host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
			s := own(t, host)
			if c.cgroup != "" {
				s.Join(box.Child(c.cgroup))
			} else {
				s.Join(lt.RootCgroup(t, "memory")) // where a namespace made there sees nothing stale
			}
			readOnly(t, s)
			pid := housed(t, s, c.mounts, c.through...)
			r := doctor(t, pid)
			r.exactly(t, c.told...)
			if slices.Contains(c.told, "host-cgroupns-in-container") {
				f := r.one(t, "host-cgroupns-in-container", "info", "", pid)
				if f.CgroupNS != lt.Namespace(t, os.Getpid(), "cgroup") || f.MntNS != lt.Namespace(t, pid, "mnt") {
					t.Errorf("%s", dump(f))
				}
				if c.cgroup != "" && f.Evidence["host_path"] != lt.HostView(t, pid).Paths()["freezer"] {
					t.Errorf("%s", dump(f))
				}
			}
		})
	}
}

// TestLiveNoContainer has the host's root file system in namespaces of its own.
func TestLiveNoContainer(t *testing.T) {
	needs(t)
	s := own(t, lt.NewHost(t))
	readOnly(t, s)
	doctor(t, s.Sleep(first...)).exactly(t)
}

// trueRoots are the v1 hierarchies whose root a process sees through a mount
// that may be written: only there is a release_agent (cgroups(7)).
func trueRoots(t *testing.T, pid int) []string {
	t.Helper()
	var list []string
	for _, m := range lt.HostView(t, pid).Mounts() {
		agent := path.Join(fmt.Sprintf("/proc/%d/root", pid), m.Point, "release_agent")
		if m.Label != "unified" && unix.Access(agent, unix.W_OK) == nil {
			list = append(list, m.Label)
		}
	}
	slices.Sort(list)
	return list
}

func TestLiveWritableHostHierarchy(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*testing.T, *lt.Shell)
		through []string
		roots   bool // the kernel shows a hierarchy's true root, writable
		told    bool
	}{
		"all":           {nil, withPIDs, true, true},
		"one":           {func(t *testing.T, s *lt.Shell) { readOnly(t, s, allBut(t, "freezer")...) }, withPIDs, true, true},
		"a named one":   {func(t *testing.T, s *lt.Shell) { readOnly(t, s, allBut(t, "name=systemd")...) }, withPIDs, true, true},
		"read-only":     {func(t *testing.T, s *lt.Shell) { readOnly(t, s) }, withPIDs, false, false},
		"scoped":        {scope, withPIDs, false, false},
		"host's PIDs":   {nil, withoutPIDs, true, false},
		"no privileges": {nil, append(withPIDs, "-U", "-r"), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "freezer", "name=systemd")
			s := own(t, lt.NewHost(t))
			if c.prepare != nil {
				c.prepare(t, s)
			}
			pid := s.Sleep(append(c.through, "--")...)
			roots := trueRoots(t, pid)
			if len(roots) > 0 != c.roots {
				t.Fatalf("the kernel shows the true roots of %v", roots)
			}
			r := doctor(t, pid)
			if !c.told {
				r.exactly(t)
				return
			}
			r.exactly(t, "writable-host-hierarchy")
			f := r.one(t, "writable-host-hierarchy", "warning", "", pid)
			labels := f.words("hierarchies")
			slices.Sort(labels)
			if !slices.Equal(labels, roots) || f.Evidence["pid_ns"] != float64(lt.Namespace(t, pid, "pid")) {
				t.Errorf("the true roots are %v, but found %s", roots, dump(f))
			}
		})
	}
}

// allBut are the host's hierarchies but one.
func allBut(t *testing.T, label string) []string {
	t.Helper()
	var list []string
	for _, m := range lt.HostView(t, os.Getpid()).Mounts() {
		if m.Label != label {
			list = append(list, m.Label)
		}
	}
	return list
}

// scope gives a shell a cgroup in every hierarchy, a cgroup namespace and fresh
// mounts: what privileged containers have.
func scope(t *testing.T, s *lt.Shell) {
	t.Helper()
	for _, m := range lt.HostView(t, s.PID).Mounts() {
		c := lt.NewCgroup(t, m.Label)
		if m.Label == "cpuset" { // an empty one lets nobody in
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				c.Write(file, lt.ReadFile(t, path.Join(m.Point, file)))
			}
		}
		s.Join(c)
	}
	s.Become("unshare", "-C", "--")
	freshAll(t, s)
}

// What the root of a user namespace is refused, which is why nothing is told of
// it there. What it tries to write is what is there.
func TestLiveReleaseAgentRefused(t *testing.T) {
	needs(t, "freezer")
	s := own(t, lt.NewHost(t))
	s.Become("unshare", "-U", "-r", "-m", "--")
	agent := path.Join(lt.MountOf(t, "freezer"), "release_agent")
	if out, status := s.Try("cat %[1]s >%[1]s", agent); status == 0 || !strings.Contains(out, "ermi") {
		t.Errorf("exit status %d: %s", status, out)
	}
}

// A container whose runtime knows only some of the controllers.
func TestLiveControllerUnscoped(t *testing.T) {
	for name, c := range map[string]struct {
		names   []string // of its cgroup
		through []string
		ro      bool
		told    []string
	}{
		"container":   {[]string{"docker", "1f2e"}, withoutPIDs, false, []string{"controller-unscoped"}},
		"own PIDs":    {[]string{"libpod-1f2e"}, withPIDs, false, []string{"controller-unscoped"}},
		"read-only":   {[]string{"docker", "1f2e"}, withPIDs, true, nil},
		"no runtime":  {[]string{"slurm", "job_1"}, withoutPIDs, false, nil},
		"on the host": {[]string{"docker", "1f2e"}, nil, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "freezer", "name=systemd")
			lt.Need(t, lt.Programs("pivot_root"))
			s := own(t, lt.NewHost(t))
			box := lt.NewCgroup(t, "freezer")
			for _, part := range c.names {
				box = box.Child(part)
			}
			s.Join(box, lt.NewCgroup(t, "name=systemd"))
			s.Become("unshare", "-C", "--")
			freshAll(t, s)
			if c.ro {
				readOnly(t, s)
			}
			pid := s.PID
			if c.through != nil {
				pid = housed(t, s, true, c.through...)
			}
			r := doctor(t, pid)
			r.exactly(t, c.told...)
			if len(c.told) == 0 {
				return
			}
			f := r.one(t, "controller-unscoped", "warning", "", pid)
			labels, roots := f.words("hierarchies"), trueRoots(t, pid)
			slices.Sort(labels)
			if !slices.Equal(labels, roots) || len(roots) == 0 || f.Evidence["host_path"] != box.Path {
				t.Errorf("the true roots are %v, but found %s", roots, dump(f))
			}
			// What follows from it is told where it is not.
			if name == "own PIDs" {
				doctorBy(t, lt.Run(t, "doctor", "-J", "--skip", "controller-unscoped", strconv.Itoa(pid))).exactly(t, "writable-host-hierarchy")
			}
		})
	}
}

// called starts a process that has a name, and a child.
func called(t *testing.T, s *lt.Shell, name string, through ...string) int {
	t.Helper()
	argv := append(through, "sh", "-c", "printf "+name+" >/proc/$$/comm; sleep 10000 & wait")
	pid := s.Background(name, argv...)
	child := lt.Descendant(t, pid, "sleep")
	t.Cleanup(func() { lt.Kill(child) })
	return pid
}

// first makes a program the first process of a PID namespace.
var first = []string{"unshare", "-p", "-f", "--mount-proc", "--"}

// A manager as the first process of its PID namespace that cannot make cgroups.
func TestLiveManagerCgroupReadonly(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		but     string // the one hierarchy that is left writable
		where   string // it is told of one of these
	}{
		"systemd":             {"systemd", "", "unified name=systemd"},
		"systemd, one of two": {"systemd", "unified", "name=systemd"},
		"dockerd":             {"dockerd", "unified", "cpu cpuacct cpuset memory devices freezer blkio pids"},
		"containerd":          {"containerd", "name=systemd", "cpu cpuacct cpuset memory devices freezer blkio pids"},
		"no manager":          {"systemctl", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "unified", "name=systemd")
			s := own(t, lt.NewHost(t))
			readOnly(t, s)
			beside := []string{}
			if c.but != "" {
				s.Do("mount -o remount,bind,rw %s", lt.MountOf(t, c.but))
			}
			if c.but == "name=systemd" {
				beside = append(beside, "writable-host-hierarchy")
			}
			pid := called(t, s, c.command, first...)
			r := doctor(t, pid)
			if c.where == "" {
				r.exactly(t)
				return
			}
			r.exactly(t, append(beside, "manager-cgroup-readonly")...)
			f := r.one(t, "manager-cgroup-readonly", "error", "", pid)
			if !slices.Contains(strings.Fields(c.where), f.Hierarchy) {
				t.Fatalf("%s", dump(f))
			}
			if out := lt.Execute(t, "nsenter", "-t", strconv.Itoa(pid), "-m", "--", "mkdir", f.Mount.MountPoint+"/never"); !strings.Contains(out.Stderr, "Read-only file system") {
				t.Errorf("but making a cgroup there: %+v", out)
			}
		})
	}
}

// Where it may write, or is not the first, nothing is wrong with a manager.
func TestLiveManagerNearMiss(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		ro      []string
		through []string
		told    []string
	}{
		// What it may write is the host's, which is told.
		"systemd writes": {"systemd", []string{"cpu", "memory"}, first, []string{"writable-host-hierarchy"}},
		"dockerd writes": {"dockerd", []string{"unified", "name=systemd"}, first, []string{"writable-host-hierarchy"}},
		"not the first":  {"systemd", []string{"unified", "name=systemd"}, []string{"env"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "unified", "name=systemd")
			s := own(t, lt.NewHost(t))
			readOnly(t, s, c.ro...)
			pid := called(t, s, c.command, c.through...)
			doctor(t, pid).exactly(t, c.told...)
		})
	}
}

// A guest's systemd that was given a cgroup and no cgroup namespace, seen by a
// reader in the guest.
func TestLiveSystemdRootOffset(t *testing.T) {
	needs(t)
	// While it is written nobody forks, who would hold it open and busy.
	binary := lt.CopyBinary(t, t.TempDir())
	for name, c := range map[string]struct {
		command, label string
		told           bool
	}{
		"unified":      {"systemd", "unified", true},
		"name=systemd": {"systemd", "name=systemd", true},
		"other":        {"systemd", "freezer", false},
		"init":         {"init", "unified", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, c.label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, c.label)
			s := own(t, host).Join(box)
			pid := called(t, s, c.command, first...)
			r := doctorBy(t, lt.Execute(t, "nsenter", "-t", strconv.Itoa(pid), "-m", "-p", "--", binary, "doctor", "-J"))
			if !c.told {
				r.exactly(t)
				return
			}
			r.exactly(t, "systemd-root-offset")
			if f := r.one(t, "systemd-root-offset", "warning", c.label, 1); f.Evidence["host_path"] != box.Path {
				t.Errorf("%s", dump(f))
			}
		})
	}
}
