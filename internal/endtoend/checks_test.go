package endtoend

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// A bind mount of the neighbour's cgroup where the process looks for its own.
func TestLiveForeignMountRoot(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, top := lt.NewHost(t), lt.NewCgroup(t, label)
			point, neighbour := lt.MountOf(t, label), top.Child("neighbour")
			s := boxed(t, host, top.Child("box"))
			freshOthers(t, s, label)
			s.Do("mount --bind %s %s", point+neighbour.Path, point)
			if root := lt.InView(t, s.PID, s.PID).RootAt(t, point); root != "/../neighbour" {
				t.Fatalf("the kernel shows %s", root)
			}
			r := doctor(t, s.PID)
			f := r.one(t, "foreign-mount-root", "warning", label, s.PID)
			if !isTrue(f.Confirmed) || f.Mount.NamespaceRoot != "/../neighbour" || f.Mount.HostRoot != neighbour.Path || len(f.Remedy.Steps) > 0 {
				t.Errorf("%s", dump(f))
			}
			if list := r.serious(); len(list) != 1 {
				t.Errorf("%s", dump(list))
			}
			if h := likeKernel(t, s.PID).at(t, label); h.Verdict != "foreign" || len(h.Mounts) != 2 {
				t.Errorf("compare: %s", dump(h))
			}
			pid := strconv.Itoa(s.PID)
			for failOn, status := range map[string]int{"error": 0, "warning": 1, "info": 1, "never": 0} {
				for _, format := range []string{"table", "json"} {
					if r := lt.Run(t, "doctor", "--fail-on", failOn, "-o", format, pid); r.Status != status {
						t.Errorf("--fail-on %s -o %s: exit status %d, want %d", failOn, format, r.Status, status)
					}
				}
			}
		})
	}
}

// freshOthers mounts all but one of the stale hierarchies again.
func freshOthers(t *testing.T, s *lt.Shell, label string) {
	t.Helper()
	for _, l := range staleByKernel(t, s.PID) {
		if l != label {
			fresh(s, l, lt.MountOf(t, l))
		}
	}
}

// What a process enters a namespace for is no fault of its own, in whichever
// way it came, nor are its children.
func TestLiveVisitor(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, way := range [][]string{{"-C"}, {"-m"}, {"-a"}, {"-C", "-m"}} {
			for _, whose := range []string{"itself", "child", "grandchild"} {
				t.Run(label+"/"+strings.Join(way, "")+"/"+whose, func(t *testing.T) {
					t.Parallel()
					needs(t, label)
					host, box := lt.NewHost(t), lt.NewCgroup(t, label)
					native := boxed(t, host, box)
					freshAll(t, native)
					through := append([]string{"nsenter", "-t", strconv.Itoa(native.PID)}, way...)
					if whose != "itself" {
						through = append(through, "--", "/bin/sh", "-c", "sleep 10000 & wait")
						if whose == "grandchild" {
							through[len(through)-1] = "sh -c 'sleep 10000 & wait' & wait"
						}
					} else {
						through = append(through, "--", "sleep", "10000")
					}
					visitor := host.Background("sleep", through...)
					visits(t, native.PID, visitor)
				})
			}
		}
	}
}

// A visitor whose parent has ended is init's child, and still a visitor: with the
// host's mounts it cannot have been born in the namespace.
func TestLiveOrphanedVisitor(t *testing.T) {
	needs(t, "freezer")
	host, box, elsewhere := lt.NewHost(t), lt.NewCgroup(t, "freezer"), lt.NewCgroup(t, "freezer")
	native := boxed(t, host, box)
	freshAll(t, native)
	launcher := host.Fork().Join(elsewhere)
	out := launcher.Do("nsenter -t %d -C sleep 10000 </dev/null >/dev/null 2>&1 & echo $!", native.PID)
	visitor, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lt.Kill(visitor) })
	lt.Descendant(t, visitor, "sleep")
	launcher.End()
	if stat := lt.ReadFile(t, fmt.Sprintf("/proc/%d/stat", visitor)); !strings.Contains(stat, ") S 1 ") {
		lt.Cannot(t, "init does not take orphans in here: %s", stat)
	}
	visits(t, native.PID, visitor)
}

// visits holds that a visitor is told as one at most, and compared exactly.
func visits(t *testing.T, native, visitor int) {
	t.Helper()
	r := nothingSerious(t, native, visitor)
	list := r.of("visitor", "")
	outside := false
	for _, path := range lt.InView(t, visitor, visitor).Paths() {
		outside = outside || strings.HasPrefix(path, "/..")
	}
	if outside && (len(list) != 1 || !slices.Equal(list[0].PIDs, []int{visitor})) || len(list) > 1 {
		t.Errorf("want one visitor, %d, but found %s", visitor, dump(r.Findings))
	}
	for _, f := range list {
		if f.Severity != "info" || slices.Contains(f.PIDs, native) {
			t.Errorf("%s", dump(f))
		}
	}
}

// The only mount shows a part of the tree in which the process is not.
func TestLivePathNotUnderMount(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, private := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/private=%v", label, private), func(t *testing.T) {
				t.Parallel()
				needs(t, label)
				host, box := lt.NewHost(t), lt.NewCgroup(t, label)
				a, b := box.Child("a"), box.Child("b")
				s := host.Fork().Join(box)
				point := lt.MountOf(t, label)
				if private {
					s.Become("unshare", "-C", "-m", "--propagation", "private", "--")
					freshAll(t, s)
					s.Join(b)
					s.Do("mount --bind %s/a %s", point, point)
				} else {
					s.Become("unshare", "-m", "--propagation", "private", "--")
					s.Join(b)
					s.Do("mount --bind %s %s", point+a.Path, point)
				}
				if kernelLists(t, s.PID, point) {
					t.Fatal("the kernel lists it there")
				}
				r := doctor(t, s.PID)
				f := r.one(t, "path-not-under-mount", "error", label, s.PID)
				if !isTrue(f.Confirmed) || f.Mount.HostRoot != a.Path || f.Evidence["host_path"] != b.Path {
					t.Errorf("%s", dump(f))
				}
				r.only(t, label, "path-not-under-mount")
				if h := likeKernel(t, s.PID).at(t, label); h.Verdict != "unreachable" {
					t.Errorf("compare: %s", dump(h))
				}
				if r := lt.Run(t, "doctor", strconv.Itoa(s.PID)); r.Status != 1 || !strings.HasPrefix(r.Stdout, "1 error: ") {
					t.Errorf("exit status %d\n%s", r.Status, r.Stdout)
				}
			})
		}
	}
}

func TestLiveNoCgroupMount(t *testing.T) {
	needs(t)
	host := lt.NewHost(t)
	s := host.Fork()
	s.Become("unshare", "-m", "--propagation", "private", "--")
	s.Do("umount -R /sys")
	if m := lt.HostView(t, s.PID).Mounts(); len(m) > 0 {
		t.Fatalf("the kernel shows %v", m)
	}
	f := doctor(t, s.PID).one(t, "no-cgroup-mount", "info", "", s.PID)
	if f.MntNS != lt.Namespace(t, s.PID, "mnt") {
		t.Errorf("%s", dump(f))
	}
	nothingSerious(t, s.PID)
	c := likeKernel(t, s.PID)
	for _, h := range c.Hierarchies {
		if h.Verdict != "none" || len(h.Mounts) != 0 {
			t.Errorf("compare: %s", dump(h))
		}
	}
}

// A reader in a private cgroup namespace says so, whatever it looks at, and
// calls nothing on the host wrong that only looks so from there.
func TestLiveReaderNotInitial(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := boxed(t, host, box)
	freshAll(t, s)
	for _, args := range [][]string{{"doctor", "-J"}, {"doctor", "-J", strconv.Itoa(s.PID)}, {"doctor", "-J", strconv.Itoa(host.PID)}} {
		r := s.Run(args...)
		d := doctorBy(t, r)
		if list := d.of("reader-not-initial", ""); len(list) != 1 || list[0].Severity != "info" {
			t.Errorf("%v: %s", args, dump(d.Findings))
		}
		for _, f := range d.serious() {
			if slices.Contains(f.PIDs, s.PID) || slices.Contains(f.PIDs, host.PID) {
				t.Errorf("%v: %s", args, dump(f))
			}
		}
	}
	if r := doctor(t, s.PID); len(r.of("reader-not-initial", "")) > 0 {
		t.Errorf("on the host: %s", dump(r.Findings))
	}
}

// unprivileged is a user with no privilege at all.
const unprivileged = "65534"

// asNobody runs the binary as an ordinary user.
func asNobody(t *testing.T, args ...string) lt.Result {
	t.Helper()
	lt.Need(t, lt.Programs("setpriv"))
	dir, err := os.MkdirTemp("", "nsinspect-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := lt.CopyBinary(t, dir)
	return lt.Execute(t, append([]string{"setpriv", "--reuid", unprivileged, "--regid", unprivileged, "--clear-groups", "--", binary}, args...)...)
}

// What an ordinary user cannot see is said, and not called healthy.
func TestLiveIncomplete(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := boxed(t, host, box)
	pid := strconv.Itoa(s.PID)
	for _, args := range [][]string{{"doctor", "-J"}, {"doctor", "-J", pid}} {
		d := doctorBy(t, asNobody(t, args...))
		list := d.of("incomplete", "")
		if len(list) != 1 || list[0].Severity != "info" || !slices.Contains(list[0].PIDs, s.PID) || !strings.Contains(list[0].Message, "root would see ") || d.Coverage.Skipped == 0 {
			t.Errorf("%v: %s", args, dump(d))
		}
		if !slices.ContainsFunc(d.Skipped, func(k struct {
			PID          int
			What, Reason string
		}) bool {
			return k.PID == s.PID && strings.Contains(k.Reason, "permission denied")
		}) {
			t.Errorf("%v: %d is not among the skipped", args, s.PID)
		}
		for _, f := range d.serious() {
			if slices.Contains(f.PIDs, s.PID) {
				t.Errorf("it could not be looked at: %s", dump(f))
			}
		}
	}
	text := asNobody(t, "doctor", pid)
	if first, _, _ := strings.Cut(text.Stdout, "\n"); first == "nothing wrong found" || text.Status != 0 {
		t.Errorf("exit status %d: %s", text.Status, first)
	}
	if strict := asNobody(t, "doctor", "--strict", pid); strict.Status != 2 || !strings.HasPrefix(strict.Stderr, "nsinspect: --strict: ") {
		t.Errorf("--strict: exit status %d: %s", strict.Status, strict.Stderr)
	}
	var c comparison
	decode(t, asNobody(t, "compare", "-J", pid), 0, &c)
	if h := c.at(t, "freezer"); h.HostPath != box.Path || h.NamespacePath != "" || h.Known != "unknown" || h.Verdict != "unknown" || h.RootDirectory != nil {
		t.Errorf("%s", dump(h))
	}
}

// An agent's wider view beside its own is what it wants.
func TestLiveExtraMount(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			point := lt.MountOf(t, label)
			host.Do("mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/host/sys/fs/cgroup && mount --bind %s /mnt/host/sys/fs/cgroup", point)
			s := boxed(t, host, box)
			freshMountsAt(t, s)
			if root := lt.InView(t, s.PID, s.PID).RootAt(t, "/mnt/host/sys/fs/cgroup"); root != "/.." {
				t.Fatalf("the kernel shows %s", root)
			}
			nothingSerious(t, s.PID)
			f := doctor(t, s.PID).one(t, "extra-mount-outside-root", "info", label, s.PID)
			if f.Mount.MountPoint != "/mnt/host/sys/fs/cgroup" || f.Mount.NamespaceRoot != "/.." {
				t.Errorf("%s", dump(f))
			}
			points := pointsOf(t, s.PID, label)
			if f.Evidence["first_mount"] != points[0] || f.Evidence["last_mount"] != points[1] || len(points) != 2 {
				t.Errorf("the mounts are at %v: %s", points, dump(f))
			}
			if h := likeKernel(t, s.PID).at(t, label); h.Verdict != "ok" || len(h.Mounts) != 2 {
				t.Errorf("compare: %s", dump(h))
			}
			if r := lt.Run(t, "doctor", "--fail-on", "warning", strconv.Itoa(s.PID)); r.Status != 0 {
				t.Errorf("exit status %d\n%s", r.Status, r.Stdout)
			}
		})
	}
}

// freshMountsAt mounts again what is stale where the host has it mounted.
func freshMountsAt(t *testing.T, s *lt.Shell) {
	t.Helper()
	for _, label := range staleByKernel(t, s.PID) {
		point := lt.MountOf(t, label)
		fresh(s, label, point)
		if root := lt.InView(t, s.PID, s.PID).RootAt(t, point); root != "/" {
			t.Fatalf("the fresh mount of %s has the root %s", label, root)
		}
	}
}

// A procfs that hides processes is no host without processes.
func TestLiveHiddenProcesses(t *testing.T) {
	lt.Need(t, lt.Programs("setpriv"))
	host := lt.NewHost(t)
	other := strconv.Itoa(host.Sleep())
	dir := t.TempDir()
	binary := lt.CopyBinary(t, dir)
	host.Do("chmod 755 %s/.. %s && mount -t tmpfs tmpfs /mnt", dir, dir)
	for _, option := range []string{"hidepid=2", "hidepid=4"} {
		host.Do("mkdir /mnt/%[1]s && mount -t proc -o %[1]s proc /mnt/%[1]s", option)
		asUser := func(args ...string) lt.Result {
			return host.Execute(append([]string{"setpriv", "--reuid", unprivileged, "--regid", unprivileged, "--clear-groups", "--", binary, "--proc", "/mnt/" + option}, args...)...)
		}
		d := doctorBy(t, asUser("doctor", "-J"))
		if list := d.of("incomplete", ""); len(list) != 1 || !strings.Contains(list[0].Message, "hidepid") || !strings.Contains(list[0].Message, "root would see at least ") || d.Coverage.Skipped != 1 {
			t.Errorf("%s: %s", option, dump(d))
		}
		if text := asUser("doctor"); !strings.HasPrefix(text.Stdout, "nothing wrong found, but other users' processes are hidden\n") {
			t.Errorf("%s: what was not seen is called healthy:\n%s", option, text.Stdout)
		}
		for _, command := range []string{"show", "compare", "doctor"} {
			if r := asUser(command, other); r.Status != 2 || r.Stdout != "" || !strings.Contains(r.Stderr, "hidepid") || !strings.Contains(r.Stderr, "hint: run it as root") {
				t.Errorf("%s: %s: exit status %d: %s%s", option, command, r.Status, r.Stderr, r.Stdout)
			}
		}
		if r := asUser("compare", "self"); r.Status != 0 || !strings.Contains(r.Stderr, "compared with no other process: ") || r.Stdout == "" {
			t.Errorf("%s: compare self: exit status %d: %s%s", option, r.Status, r.Stderr, r.Stdout)
		}
	}
}

// The process of a threaded cgroup is also in cgroup.procs of the domain above,
// where the stale mount leads: that is no proof that it is there.
func TestLiveStaleThreaded(t *testing.T) {
	needs(t, "unified")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "unified")
	box.Write("cgroup.type", "threaded")
	s := boxed(t, host, box)
	point := lt.MountOf(t, "unified")
	if procs := lt.ReadFile(t, point+"/cgroup.procs"); !slices.Contains(strings.Fields(procs), strconv.Itoa(s.PID)) {
		t.Fatalf("the domain's cgroup.procs does not list %d", s.PID)
	}
	if threads := lt.ReadFile(t, point+"/cgroup.threads"); slices.Contains(strings.Fields(threads), strconv.Itoa(s.PID)) {
		t.Fatalf("the domain's cgroup.threads lists %d", s.PID)
	}
	f := doctor(t, s.PID).one(t, "stale-mount-root", "error", "unified", s.PID)
	if !isTrue(f.Confirmed) || f.Evidence["list"] != "cgroup.threads" {
		t.Errorf("%s", dump(f))
	}
	for _, f := range doctor(t, s.PID).of("stale-mount-root", "") {
		paste(t, jsonRemedy(f))
	}
	if left := staleByKernel(t, s.PID); len(left) > 0 {
		t.Errorf("after mending %v are stale", left)
	}
}
