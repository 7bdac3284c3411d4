package endtoend

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// innerPID is the number that a process has in its own PID namespace.
func innerPID(t *testing.T, pid int) string {
	t.Helper()
	for line := range strings.Lines(lt.ReadFile(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if f := strings.Fields(line); f[0] == "NSpid:" {
			return f[len(f)-1]
		}
	}
	t.Fatalf("process %d has no number in its PID namespace", pid)
	return ""
}

// inside runs the container's own cat in all namespaces of a process.
func inside(t *testing.T, pid int, file string) lt.Result {
	t.Helper()
	return lt.Execute(t, "nsenter", "-t", strconv.Itoa(pid), "-a", "--", "cat", file)
}

// ownReading is what a program inside a container reads there of one of its
// processes.
func ownReading(t *testing.T, pid int) lt.View {
	t.Helper()
	read := func(file string) string {
		r := inside(t, pid, "/proc/"+innerPID(t, pid)+"/"+file)
		if r.Status != 0 {
			t.Fatalf("%s: %s", file, r.Stderr)
		}
		return r.Stdout
	}
	return lt.View{Cgroup: read("cgroup"), Mountinfo: read("mountinfo")}
}

// findsItself tells whether a process finds its number, as it knows it, in the
// list of the cgroup that a mount point of its own and a path lead to.
func findsItself(t *testing.T, pid int, at string) bool {
	t.Helper()
	return slices.Contains(strings.Fields(inside(t, pid, path.Join(at, "cgroup.procs")).Stdout), innerPID(t, pid))
}

// notes are the findings that a container's own reading calls for, and the v1
// hierarchies in which it does not find itself where mount point and path lead.
func notes(t *testing.T, pid int, own lt.View) (checks, lost []string) {
	t.Helper()
	shares := lt.Namespace(t, pid, "cgroup") == lt.Namespace(t, os.Getpid(), "cgroup")
	hostRoot := inside(t, pid, "/etc/os-release").Stdout != containerRelease
	found := map[string]int{}
	for _, m := range own.Mounts() {
		within := own.Paths()[m.Label]
		if rest, ok := strings.CutPrefix(within, strings.TrimSuffix(m.Root, "/")); !ok || !findsItself(t, pid, m.Point+rest) {
			t.Errorf("%s: it does not find itself at all: %s at %s", m.Label, m.Root, m.Point)
		}
		if found[m.Label]++; found[m.Label] == 2 {
			checks = append(checks, "duplicate-hierarchy-mount")
		}
		if m.Label != "unified" && !findsItself(t, pid, m.Point+within) {
			lost = append(lost, m.Label)
		}
	}
	switch {
	case len(own.Mounts()) == 0:
		checks = append(checks, "no-cgroup-mount")
	case shares && !hostRoot:
		checks = append(checks, "host-cgroupns-in-container")
	}
	if len(lost) > 0 {
		checks = append(checks, "bind-leaf")
	}
	slices.Sort(lost)
	return checks, lost
}

// container holds that just that is told of a container which its own reading
// calls for, that it is compared as it reads itself, and that those who enter it
// are visitors.
func container(t *testing.T, host *lt.Shell, pid int) {
	t.Helper()
	r := nothingSerious(t, pid)
	c, own := likeKernel(t, pid), ownReading(t, pid)
	checks, lost := notes(t, pid, own)
	r.exactly(t, checks...)
	for _, f := range r.of("bind-leaf", "") {
		labels := f.words("hierarchies")
		if slices.Sort(labels); !slices.Equal(labels, lost) {
			t.Errorf("it is lost in %v, but found %s", lost, dump(f))
		}
	}
	roots := map[int]string{}
	for _, m := range own.Mounts() {
		roots[m.ID] = m.Root
	}
	for _, h := range c.Hierarchies {
		if want := own.Paths()[h.Hierarchy]; h.NamespacePath != want {
			t.Errorf("%s: %q, but it reads %q", h.Hierarchy, h.NamespacePath, want)
		}
		for _, m := range h.Mounts {
			if want := roots[m.ID]; m.NamespaceRoot != want {
				t.Errorf("%s at %s: %q, but it reads %q", h.Hierarchy, m.MountPoint, m.NamespaceRoot, want)
			}
		}
	}
	for _, way := range []string{"-C", "-m", "-a"} {
		visits(t, pid, host.Sleep("nsenter", "-t", strconv.Itoa(pid), way, "--"))
	}
	visits(t, pid, host.Background("sleep", "nsenter", "-t", strconv.Itoa(pid), "-a", "--", "/bin/sh", "-c", "sleep 10000 & wait"))
}

// bundle writes what "runc spec" gives, for a sleeping process without limits
// that this host might refuse.
func bundle(t *testing.T, private bool, change func(config map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	lt.Output(t, "runc", "spec", "-b", dir)
	var config map[string]any
	if err := json.Unmarshal([]byte(lt.ReadFile(t, dir+"/config.json")), &config); err != nil {
		t.Fatal(err)
	}
	process, linux := config["process"].(map[string]any), config["linux"].(map[string]any)
	config["root"] = map[string]any{"path": busyboxRoot(t), "readonly": true}
	process["terminal"], process["args"] = false, []string{"sleep", "10000"}
	delete(process, "rlimits")
	if private {
		linux["namespaces"] = append(linux["namespaces"].([]any), map[string]any{"type": "cgroup"})
	}
	if change != nil {
		change(config)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runRunc runs a bundle's container, and returns the command by which it is
// asked for more and its first process.
func runRunc(t *testing.T, host *lt.Shell, id, dir string) (runc, bundle string, pid int) {
	t.Helper()
	runc = "runc --root " + dir + "/state"
	t.Cleanup(func() { host.Do("%s delete -f %s", runc, id) })
	host.Do("%[1]s run -d -b %[2]s --pid-file %[2]s/pid %[3]s >%[2]s/log || { cat %[2]s/log; false; }", runc, dir, id)
	return runc, dir, pidIn(t, dir+"/pid")
}

func TestLiveRunc(t *testing.T) {
	for name, private := range map[string]bool{"private": true, "host": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t)
			lt.Need(t, lt.Programs("runc"))
			host, id := lt.NewHost(t), lt.UniqueName(t)
			runc, dir, pid := runRunc(t, host, id, bundle(t, private, nil))
			if own := lt.Namespace(t, pid, "cgroup") != lt.Namespace(t, os.Getpid(), "cgroup"); own != private {
				t.Fatalf("a cgroup namespace of its own: %v", own)
			}
			container(t, host, pid)
			for file, want := range map[string]string{"cgroup": lt.InView(t, pid, pid).Cgroup, "mountinfo": lt.InView(t, pid, pid).Mountinfo} {
				if reads := host.Do("%s exec %s cat /proc/1/%s", runc, id, file); reads != want {
					t.Errorf("runc exec reads %s, want %s", reads, want)
				}
			}
			host.Do("%s exec -d --pid-file %s/second %s sleep 10000", runc, dir, id)
			second := pidIn(t, dir+"/second")
			nothingSerious(t, second)
			nothingSerious(t, pid, second)
		})
	}
}

// The cgroup mounts that a runtime makes are read-only, of which a manager dies
// and nothing else is hurt.
func TestLiveRuncManager(t *testing.T) {
	for command, checks := range map[string][]string{"systemd": {"manager-cgroup-readonly"}, "containerd": {"manager-cgroup-readonly"}, "nginx": nil} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			needs(t)
			lt.Need(t, lt.Programs("runc"))
			host := lt.NewHost(t)
			_, _, pid := runRunc(t, host, lt.UniqueName(t), bundle(t, true, func(config map[string]any) {
				config["process"].(map[string]any)["args"] = []string{"sh", "-c", "printf " + command + " >/proc/self/comm; sleep 10000 & wait"}
			}))
			if name := lt.Descendant(t, pid, command); name != pid {
				t.Fatalf("%d is called so", name)
			}
			r := doctor(t, pid)
			r.exactly(t, checks...)
			for _, f := range r.Findings {
				if f.Severity != "error" || !slices.Equal(f.PIDs, []int{pid}) || !strings.HasPrefix(f.Message, command+" manages cgroups") {
					t.Errorf("%s", dump(f))
				}
			}
		})
	}
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(lt.ReadFile(t, file)))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return pid
}

// podman is the command of a podman that keeps what it keeps where only the test
// sees it.
func podman(t *testing.T, host *lt.Shell) string {
	t.Helper()
	lt.Need(t, lt.Programs("podman", "runc"))
	host.Do("mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /var/lib/cni 2>/dev/null || true")
	return "podman --root /run/p/root --runroot /run/p/run --tmpdir /run/p/tmp --storage-driver vfs --cgroup-manager cgroupfs --runtime runc"
}

// runPodman runs a sleeping container below the cgroup of its name.
func runPodman(t *testing.T, host *lt.Shell, podman, name, flags string) int {
	t.Helper()
	t.Cleanup(func() { host.Do("%s rm -f -t 0 %s || true", podman, name) })
	host.Do("log=$(%s run -d --network none %s --cgroup-parent /%s --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --name %[3]s --rootfs %[4]s sleep 10000 2>&1) || { echo \"$log\"; false; }",
		podman, flags, name, busyboxRoot(t))
	pid, err := strconv.Atoi(strings.TrimSpace(host.Do("%s inspect -f '{{.State.Pid}}' %s", podman, name)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestLivePodman(t *testing.T) {
	for _, cgroupns := range []string{"private", "host"} {
		t.Run(cgroupns, func(t *testing.T) {
			t.Parallel()
			needs(t)
			host, name := lt.NewHost(t), lt.UniqueName(t)
			lt.RemoveCgroups(t, name)
			podman := podman(t, host)
			pid := runPodman(t, host, podman, name, "--cgroupns "+cgroupns)
			if own := lt.Namespace(t, pid, "cgroup") != lt.Namespace(t, os.Getpid(), "cgroup"); own != (cgroupns == "private") {
				t.Fatalf("a cgroup namespace of its own: %v", own)
			}
			container(t, host, pid)
			for file, want := range map[string]string{"cgroup": lt.InView(t, pid, pid).Cgroup, "mountinfo": lt.InView(t, pid, pid).Mountinfo} {
				if reads := host.Do("%s exec %s cat /proc/1/%s", podman, name, file); reads != want {
					t.Errorf("podman exec reads %s, want %s", reads, want)
				}
			}
		})
	}
}

// runNspawn starts a container of systemd-nspawn, which makes cgroups below the
// shell's own in cgroup2 and name=systemd.
func runNspawn(t *testing.T, host, s *lt.Shell, env ...string) int {
	t.Helper()
	lt.Need(t, lt.Programs("systemd-nspawn"))
	host.Do("mount -t tmpfs tmpfs /run")
	unified := lt.NewCgroup(t, "unified")
	lt.RemoveCgroups(t, strings.Trim(unified.Path, "/")) // it makes the same in name=systemd
	s.Join(lt.NewCgroup(t, "name=systemd"), unified)
	argv := append([]string{"env"}, env...)
	return s.Background("sleep", append(argv, "systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", busyboxRoot(t), "-M", lt.UniqueName(t), "--console=pipe", "--as-pid2", "sleep", "10000")...)
}

func TestLiveNspawn(t *testing.T) {
	for name, env := range map[string][]string{
		"default": nil,
		"unified": {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"},
		// It mounts v1 without a namespace only where each controller has a name of
		// its own in /sys/fs/cgroup.
		"host": {"SYSTEMD_NSPAWN_USE_CGNS=0", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "name=systemd", "unified")
			host := lt.NewHost(t)
			pid := runNspawn(t, host, host.Fork(), env...)
			if own := lt.Namespace(t, pid, "cgroup") != lt.Namespace(t, os.Getpid(), "cgroup"); own != (name != "host") {
				t.Fatalf("a cgroup namespace of its own: %v", own)
			}
			container(t, host, pid)
		})
	}
}

func TestLiveBwrap(t *testing.T) {
	for name, flags := range map[string][]string{
		"sandbox":         {"--unshare-all", "--proc", "/proc", "--dev", "/dev"},
		"with cgroups":    {"--ro-bind", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev", "--unshare-pid"},
		"host read-only":  {"--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"},
		"cgroup at roots": {"--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--unshare-ipc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t)
			lt.Need(t, lt.Programs("bwrap"))
			host, root := lt.NewHost(t), busyboxRoot(t)
			argv := append([]string{"bwrap", "--die-with-parent", "--bind", root, "/"}, flags...)
			container(t, host, host.Background("sleep", append(argv, "sleep", "10000")...))
		})
	}
}

// bwrap --unshare-cgroup mounts nothing afresh: what it shows of the host's
// mounts is stale where its cgroup is not a root, and nothing else is told.
func TestLiveBwrapUnshared(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("bwrap"))
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := host.Fork().Join(box)
	pid := s.Background("sleep", "bwrap", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-cgroup", "sleep", "10000")
	likeKernel(t, pid)
	r := doctor(t, pid)
	if list, stale := r.serious(), staleByKernel(t, pid); len(list) != len(stale) {
		t.Errorf("the kernel shows %v as stale, but found %s", stale, dump(list))
	}
	f := r.of("stale-mount-root", "freezer")
	if len(f) != 1 || !isTrue(f[0].Confirmed) || f[0].Mount.NamespaceRoot != "/.." {
		t.Errorf("%s", dump(f))
	}
}
