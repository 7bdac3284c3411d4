package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// ownReading is what a program inside a container reads there of one of its
// processes.
func ownReading(t *testing.T, pid int) lt.View {
	t.Helper()
	inner := ""
	for line := range strings.Lines(lt.ReadFile(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if f := strings.Fields(line); f[0] == "NSpid:" {
			inner = f[len(f)-1]
		}
	}
	read := func(file string) string {
		return lt.Output(t, "nsenter", "-t", strconv.Itoa(pid), "-a", "--", "cat", "/proc/"+inner+"/"+file)
	}
	return lt.View{Cgroup: read("cgroup"), Mountinfo: read("mountinfo")}
}

// container holds that nothing above info is told of a container, that it is
// compared as it reads itself, and that those who enter it are visitors.
func container(t *testing.T, host *lt.Shell, pid int) {
	t.Helper()
	nothingSerious(t, pid)
	c, own := likeKernel(t, pid), ownReading(t, pid)
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
func bundle(t *testing.T, private bool) string {
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
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLiveRunc(t *testing.T) {
	for name, private := range map[string]bool{"private": true, "host": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t)
			lt.Need(t, lt.Programs("runc"))
			host, dir, id := lt.NewHost(t), bundle(t, private), lt.UniqueName(t)
			runc := "runc --root " + dir + "/state"
			t.Cleanup(func() { host.Do("%s delete -f %s", runc, id) })
			host.Do("%[1]s run -d -b %[2]s --pid-file %[2]s/pid %[3]s >%[2]s/log || { cat %[2]s/log; false; }", runc, dir, id)
			pid := pidIn(t, dir+"/pid")
			if own := lt.Namespace(t, pid, "cgroup") != lt.Namespace(t, os.Getpid(), "cgroup"); own != private {
				t.Fatalf("a cgroup namespace of its own: %v", own)
			}
			container(t, host, pid)
			reads := host.Do("%s exec %s cat /proc/1/cgroup", runc, id)
			if want := lt.InView(t, pid, pid).Cgroup; reads != want {
				t.Errorf("runc exec reads %s, want %s", reads, want)
			}
			host.Do("%s exec -d --pid-file %s/second %s sleep 10000", runc, dir, id)
			second := pidIn(t, dir+"/second")
			nothingSerious(t, second)
			nothingSerious(t, pid, second)
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

func TestLivePodman(t *testing.T) {
	for _, cgroupns := range []string{"private", "host"} {
		t.Run(cgroupns, func(t *testing.T) {
			t.Parallel()
			needs(t)
			lt.Need(t, lt.Programs("podman", "runc"))
			host, dir, name := lt.NewHost(t), t.TempDir(), lt.UniqueName(t)
			lt.RemoveCgroups(t, name)
			root := busyboxRoot(t)
			// What it keeps for later, it keeps where only the test sees it.
			host.Do("mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /var/lib/cni 2>/dev/null || true")
			podman := fmt.Sprintf("podman --root %[1]s/root --runroot %[1]s/runroot --tmpdir %[1]s/tmp --storage-driver vfs --cgroup-manager cgroupfs --runtime runc", dir)
			t.Cleanup(func() { host.Do("%s rm -f -t 0 %s && umount -l %s/root 2>/dev/null || true", podman, name, dir) })
			host.Do("%s run -d --network none --cgroupns %s --cgroup-parent /%s --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --name %s --rootfs %s sleep 10000 >%s/log 2>&1 || { cat %[6]s/log; false; }",
				podman, cgroupns, name, name, root, dir)
			pid, err := strconv.Atoi(strings.TrimSpace(host.Do("%s inspect -f '{{.State.Pid}}' %s", podman, name)))
			if err != nil {
				t.Fatal(err)
			}
			if own := lt.Namespace(t, pid, "cgroup") != lt.Namespace(t, os.Getpid(), "cgroup"); own != (cgroupns == "private") {
				t.Fatalf("a cgroup namespace of its own: %v", own)
			}
			container(t, host, pid)
			reads := host.Do("%s exec %s cat /proc/1/cgroup", podman, name)
			if want := lt.InView(t, pid, pid).Cgroup; reads != want {
				t.Errorf("podman exec reads %s, want %s", reads, want)
			}
		})
	}
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
			lt.Need(t, lt.Programs("systemd-nspawn"))
			host, root := lt.NewHost(t), busyboxRoot(t)
			host.Do("mount -t tmpfs tmpfs /run")
			unified := lt.NewCgroup(t, "unified")
			lt.RemoveCgroups(t, strings.Trim(unified.Path, "/")) // it makes the same in name=systemd
			s := host.Fork().Join(lt.NewCgroup(t, "name=systemd"), unified)
			argv := append([]string{"env"}, env...)
			argv = append(argv, "systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", root, "-M", lt.UniqueName(t), "--console=pipe", "--as-pid2", "sleep", "10000")
			pid := s.Background("sleep", argv...)
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
