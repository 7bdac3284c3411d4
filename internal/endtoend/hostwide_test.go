package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// wholeHost is what doctor finds on the host.
func wholeHost(t *testing.T, args ...string) *report {
	t.Helper()
	return doctorBy(t, lt.Run(t, append([]string{"doctor", "-J"}, args...)...))
}

// about are the findings of a check that touch one of these processes.
func (r *report) about(check string, pids ...int) []finding {
	var list []finding
	for _, f := range r.of(check, "") {
		if slices.ContainsFunc(f.PIDs, func(pid int) bool { return slices.Contains(pids, pid) }) {
			list = append(list, f)
		}
	}
	return list
}

// threaded is a process of several threads that does nothing, a Go program that
// waits for its standard input, and one of them that is not the leader.
func threaded(t *testing.T) (pid, tid int) {
	t.Helper()
	cmd := exec.Command(lt.Binary(t), "list", "--from", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // its status is that it was killed
		_ = in.Close()
	})
	for range 1000 {
		tids, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if len(tids) > 2 {
			tid, err := strconv.Atoi(tids[2].Name())
			if err != nil {
				t.Fatal(err)
			}
			return cmd.Process.Pid, tid
		}
	}
	t.Fatal("it has no threads")
	return 0, 0
}

func TestLiveThreadsDiffer(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			lt.HostUnchanged(t)
			box := lt.NewCgroup(t, label)
			pid, tid := threaded(t)
			box.Add(pid)
			doctor(t, pid).exactly(t) // it has many threads, all in one place
			child, list := box.Child("threads"), "tasks"
			if label == "unified" {
				child.Write("cgroup.type", "threaded")
				list = "cgroup.threads"
			}
			child.Write(list, strconv.Itoa(tid))
			leader, thread := lt.HostView(t, pid).Paths()[label], lt.ParsePaths(lt.ReadFile(t, fmt.Sprintf("/proc/%d/task/%d/cgroup", pid, tid)))[label]
			if leader != box.Path || thread != child.Path {
				t.Fatalf("the kernel shows %s and %s", leader, thread)
			}
			r := doctor(t, pid)
			r.exactly(t, "threads-differ")
			for _, r := range []*report{r, wholeHost(t, "--threads")} {
				list := r.about("threads-differ", pid)
				if len(list) != 1 || list[0].Severity != "info" || !slices.Equal(list[0].PIDs, []int{pid}) || !slices.Equal(list[0].words("threads"), []string{strconv.Itoa(tid)}) {
					t.Errorf("%s", dump(list))
				}
			}
			if list := wholeHost(t).about("threads-differ", pid); len(list) > 0 {
				t.Errorf("without --threads: %s", dump(list))
			}
		})
	}
}

// A thread with a namespace of its own, and the same process without it.
func TestLiveThreadInNamespace(t *testing.T) {
	needs(t, "freezer")
	lt.HostUnchanged(t)
	pid := os.Getpid()
	if list := doctor(t, pid).of("threads-differ", ""); len(list) > 0 {
		t.Fatalf("%s", dump(list))
	}
	tid := threadIn(t, lt.NewCgroup(t, "freezer"))
	if f := doctor(t, pid).one(t, "threads-differ", "info", "", pid); !slices.Equal(f.words("threads"), []string{strconv.Itoa(tid)}) {
		t.Errorf("%s", dump(f))
	}
}

// kept is a cgroup namespace that its one process is still in.
func kept(t *testing.T, host *lt.Shell) (s *lt.Shell, ns uint64) {
	t.Helper()
	s = host.Fork()
	s.Become("unshare", "-C", "--")
	return s, lt.Namespace(t, s.PID, "cgroup")
}

// without are the places that keep a namespace which no process is in.
func without(t *testing.T, ns uint64) []string {
	t.Helper()
	var places []string
	n := 0
	for _, f := range wholeHost(t).of("namespace-without-process", "") {
		if f.CgroupNS == ns {
			n++
			places = f.words("kept_by")
			if f.Severity != "info" || len(f.PIDs) > 0 || f.PID != 0 || !strings.Contains(f.Message, strings.Join(places[:min(len(places), 3)], ", ")) {
				t.Errorf("%s", dump(f))
			}
		}
	}
	if n > 1 {
		t.Errorf("it is told %d times", n)
	}
	return places
}

func TestLiveNamespaceWithoutProcess(t *testing.T) {
	for name, c := range map[string]struct {
		keep  string
		where func(t *testing.T, host *lt.Shell) []string
		drop  string
	}{
		"bind mount": {"mount -t tmpfs tmpfs /mnt && touch '/mnt/kept here' && mount --bind /proc/%d/ns/cgroup '/mnt/kept here'",
			func(t *testing.T, host *lt.Shell) []string {
				return []string{fmt.Sprintf("bind mount at /mnt/kept here in mount namespace %d", lt.Namespace(t, host.PID, "mnt"))}
			}, "umount '/mnt/kept here'"},
		"open file": {"exec 7</proc/%d/ns/cgroup",
			func(_ *testing.T, host *lt.Shell) []string {
				return []string{fmt.Sprintf("file 7 of process %d", host.PID)}
			}, "exec 7<&-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t)
			host := lt.NewHost(t)
			s, ns := kept(t, host)
			host.Do(c.keep, s.PID)
			if places := without(t, ns); places != nil {
				t.Errorf("its process lives, and it is told that %v keep it", places)
			}
			s.End()
			if places, want := without(t, ns), c.where(t, host); !slices.Equal(places, want) {
				t.Errorf("kept by %q, want %q", places, want)
			}
			host.Do("%s", c.drop)
			if places := without(t, ns); places != nil {
				t.Errorf("nothing keeps it any more, but %v", places)
			}
		})
	}
}

// Every mount namespace that is made later has the bind mount too.
func TestLiveNamespaceKeptEverywhere(t *testing.T) {
	needs(t)
	host := lt.NewHost(t)
	s, ns := kept(t, host)
	host.Do("mount -t tmpfs tmpfs /mnt && touch /mnt/kept && mount --bind /proc/%d/ns/cgroup /mnt/kept", s.PID)
	s.End()
	want := []string{}
	for _, holder := range []*lt.Shell{host, own(t, host), own(t, host), own(t, host), own(t, host)} {
		want = append(want, fmt.Sprintf("bind mount at /mnt/kept in mount namespace %d", lt.Namespace(t, holder.PID, "mnt")))
	}
	slices.Sort(want)
	if places := without(t, ns); !slices.Equal(places, want) {
		t.Errorf("kept by %q, want %q", places, want)
	}
	if text := lt.Run(t, "doctor", "-o", "wide").Stdout; !strings.Contains(text, want[2]+", and 2 more\n") || strings.Contains(text, want[3]) {
		t.Errorf("the text names more than a few:\n%s", text)
	}
}

// The initial namespace is never without a process, whatever keeps it.
func TestLiveInitialNamespaceKept(t *testing.T) {
	needs(t)
	host := lt.NewHost(t)
	host.Do("mount -t tmpfs tmpfs /mnt && touch /mnt/kept && mount --bind /proc/$$/ns/cgroup /mnt/kept && exec 7</proc/$$/ns/cgroup")
	if places := without(t, lt.Namespace(t, host.PID, "cgroup")); places != nil {
		t.Errorf("kept by %v", places)
	}
}

// privateProcesses counts those in cgroup namespaces other than the initial one.
func privateProcesses(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if ns, err := os.Readlink(link); err == nil && ns != "cgroup:[4026531835]" {
			n++
		}
	}
	return n
}

// A host whose cgroup2 has nsdelegate is told nothing; its own has what it has,
// and a test may not change that.
func TestLiveDelegationNotEnforced(t *testing.T) {
	needs(t, "unified")
	host := lt.NewHost(t)
	point := lt.MountOf(t, "unified")
	enforced := false
	for line := range strings.Lines(lt.HostView(t, os.Getpid()).Mountinfo) {
		f := strings.Fields(line)
		enforced = enforced || f[4] == point && slices.Contains(strings.Split(f[len(f)-1], ","), "nsdelegate")
	}
	s := host.Fork()
	s.Become("unshare", "-C", "--")
	least := privateProcesses(t)
	list := wholeHost(t).of("delegation-not-enforced", "")
	if most := privateProcesses(t); enforced && len(list) > 0 {
		t.Errorf("nsdelegate is on: %s", dump(list))
	} else if !enforced {
		if len(list) != 1 || list[0].Severity != "info" || list[0].Evidence["mount_point"] != point || len(list[0].Remedy.Steps) > 0 {
			t.Fatalf("%s", dump(list))
		}
		if n := list[0].Evidence["private_processes"].(float64); int(n) < min(least, most) || int(n) > max(least, most) {
			t.Errorf("%v processes, but the kernel has %d to %d", n, least, most)
		}
	}
	if list := doctor(t, s.PID).of("delegation-not-enforced", ""); len(list) > 0 {
		t.Errorf("of a process: %s", dump(list))
	}
}

// A systemd path that a runtime took for the name of a directory.
func TestLiveCgroupDriverMismatch(t *testing.T) {
	for name, c := range map[string]struct {
		path []string
		told bool
	}{
		"containerd": {[]string{"kubepods-burstable-pod1f2e.slice:cri-containerd:9a8b"}, true},
		"CRI-O":      {[]string{"kubepods-besteffort-pod1f2e.slice:crio:9a8b", "init"}, true},
		"docker":     {[]string{"system.slice:docker:9a8b"}, true},
		"one driver": {[]string{"kubepods-burstable-pod1f2e.slice", "cri-containerd-9a8b.scope"}, false},
		"cgroupfs":   {[]string{"kubepods", "burstable", "pod1f2e", "9a8b"}, false},
		"no runtime": {[]string{"app.slice:8080"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "name=systemd", "freezer")
			host := lt.NewHost(t)
			places := []*lt.Cgroup{lt.NewCgroup(t, "name=systemd"), lt.NewCgroup(t, "freezer")}
			for i := range places {
				for _, part := range c.path {
					places[i] = places[i].Child(part)
				}
			}
			s := host.Fork().Join(places...)
			child := s.Sleep()
			r := doctor(t, s.PID, child)
			if !c.told {
				r.exactly(t)
				return
			}
			r.exactly(t, "cgroup-driver-mismatch")
			f := r.one(t, "cgroup-driver-mismatch", "error", "", s.PID, child)
			if path := f.Evidence["host_path"]; path != places[0].Path && path != places[1].Path {
				t.Errorf("%s", dump(f))
			}
		})
	}
}
