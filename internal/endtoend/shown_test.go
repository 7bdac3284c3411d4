package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// scene is one host with a bit of everything, and on it nothing else that is
// wrong.
type scene struct {
	host *lt.Shell
	// healthy and shared are runc containers, the one in a private cgroup
	// namespace, the other one in the host's.
	healthy, shared int
	// stale kept the host's mounts, moved was moved out of its root, beside which
	// left still is in it, and dead's root was removed.
	stale, moved, left, dead int
	// kept is a namespace without a process.
	kept uint64
	// paths are the cgroups that matter, by what they are of.
	paths map[string]string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	needs(t, "freezer")
	lt.Need(t, lt.Programs("runc", "setpriv"))
	host := lt.NewHost(t)
	top := lt.NewCgroup(t, "freezer")
	s := &scene{host: host, paths: map[string]string{"stale": top.Path + "/stale", "moved": top.Path + "/moved", "dead": top.Path + "/deep/dead"}}
	_, _, s.healthy = runRunc(t, host, lt.UniqueName(t), bundle(t, true, nil))
	_, _, s.shared = runRunc(t, host, lt.UniqueName(t), bundle(t, false, nil))

	s.stale = boxed(t, host, top.Child("stale")).PID

	moved := boxed(t, host, top.Child("moved"))
	freshAll(t, moved)
	s.moved, s.left = moved.PID, moved.Sleep()
	top.Child("elsewhere").Add(s.moved)

	// No other cgroup is as deep as its root was, which could be it.
	deep := top.Child("deep")
	root := deep.Child("dead")
	dead := boxed(t, host, root)
	freshAll(t, dead)
	s.dead = dead.PID
	deep.Add(s.dead)
	root.Remove()

	holder, ns := kept(t, host)
	s.kept = ns
	host.Do("mount -t tmpfs tmpfs /mnt && touch /mnt/kept && mount --bind /proc/%d/ns/cgroup /mnt/kept", holder.PID)
	holder.End()
	return s
}

// busy has processes come and go, in namespaces of their own too, until the test
// ends. They have none of the scene's mounts, which would be copied with them.
func (s *scene) busy(t *testing.T) {
	t.Helper()
	others := s.host.Fork()
	others.Become("unshare", "-m", "--propagation", "private", "--")
	others.Do("umount -R /mnt")
	for range 2 {
		others.Background("sh", "sh", "-c", "while :; do unshare -C -m true; sh -c 'true & wait'; sleep 0.02; done")
	}
}

// faults are what has to be told of it: check, hierarchy and processes.
func (s *scene) faults(t *testing.T) []string {
	t.Helper()
	list := []string{
		fmt.Sprint("info host-cgroupns-in-container  ", []int{s.shared}),
		fmt.Sprint("info bind-leaf  ", []int{s.shared}),
		fmt.Sprint("error process-outside-root freezer ", []int{s.moved}),
		fmt.Sprint("error dead-root freezer ", []int{s.dead}),
		fmt.Sprint("info namespace-without-process  ", []int{}),
	}
	for _, label := range staleByKernel(t, s.stale) {
		list = append(list, fmt.Sprint("error stale-mount-root ", label, " ", []int{s.stale}))
	}
	slices.Sort(list)
	return list
}

// own tells whether a finding is about one of its processes or namespaces.
func (s *scene) own(f *finding) bool {
	mine := []int{s.healthy, s.shared, s.stale, s.moved, s.left, s.dead, s.host.PID}
	return f.CgroupNS == s.kept || slices.ContainsFunc(f.PIDs, func(pid int) bool { return slices.Contains(mine, pid) })
}

// told holds that just the faults are told, each once, and what confirms them.
func (s *scene) told(t *testing.T, r *report) {
	t.Helper()
	var told []string
	for _, f := range r.Findings {
		switch {
		case s.own(&f):
			told = append(told, fmt.Sprint(f.Severity, " ", f.Check, " ", f.Hierarchy, " ", f.PIDs))
		case f.Severity != "info":
			t.Errorf("and of others: %s", dump(f))
		}
	}
	slices.Sort(told)
	if want := s.faults(t); !slices.Equal(told, want) {
		t.Fatalf("want just\n%s\nbut found\n%s", strings.Join(want, "\n"), strings.Join(told, "\n"))
	}
	if n := len(r.of("delegation-not-enforced", "")); n > 1 {
		t.Errorf("a host-wide fact is told %d times", n)
	}
	for _, f := range r.of("stale-mount-root", "") {
		if !isTrue(f.Confirmed) || len(f.Remedy.Steps) == 0 || kernelLists(t, s.stale, f.Mount.MountPoint) {
			t.Errorf("%s", dump(f))
		}
	}
	for check, want := range map[string][2]string{
		"process-outside-root": {"/../elsewhere", s.paths["moved"]},
		"dead-root":            {"/..", s.paths["dead"]},
	} {
		f := r.of(check, "")[0]
		if f.Evidence["namespace_path"] != want[0] || f.Evidence["root_directory"] != want[1] || f.Confirmed != nil || f.Evidence["not_confirmed"] == nil {
			t.Errorf("%s", dump(f))
		}
	}
}

// values are a JSON document without what differs between two runs at the same
// moment: who reads, and what it could not read of processes that come and go.
func values(t *testing.T, r lt.Result) map[string]json.RawMessage {
	t.Helper()
	var d map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		t.Fatalf("exit status %d, %v\n%s%s", r.Status, err, r.Stdout, r.Stderr)
	}
	delete(d, "reader")
	delete(d, "skipped")
	return d
}

// findings are the scene's among a document's, as they stand there.
func (s *scene) findings(t *testing.T, r lt.Result) [][]byte {
	t.Helper()
	var all []json.RawMessage
	if err := json.Unmarshal(values(t, r)["findings"], &all); err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for _, raw := range all {
		var f finding
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		if s.own(&f) {
			list = append(list, raw)
		}
	}
	return list
}

// namespaces are the scene's among those that list has, as they stand there.
func (s *scene) namespaces(t *testing.T, r lt.Result) map[string]string {
	t.Helper()
	var all []json.RawMessage
	if err := json.Unmarshal(values(t, r)["namespaces"], &all); err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, raw := range all {
		var ns struct{ NS uint64 }
		if err := json.Unmarshal(raw, &ns); err != nil {
			t.Fatal(err)
		}
		for _, pid := range []int{s.healthy, s.stale, s.moved, s.dead} {
			if ns.NS == lt.Namespace(t, pid, "cgroup") {
				list[strconv.Itoa(pid)] = string(raw)
			}
		}
	}
	if len(list) != 4 {
		t.Fatalf("%d of its namespaces are listed", len(list))
	}
	return list
}

// One host with a healthy container, one that shares the host's cgroup
// namespace, and each of the textbook's faults: just these are told, each once,
// also to an ordinary user who was given a capture, and also while processes
// come and go.
func TestLiveShownBy(t *testing.T) {
	s := newScene(t)
	s.told(t, wholeHost(t))
	text := lt.Run(t, "doctor").Stdout
	errors := 2 + len(staleByKernel(t, s.stale))
	if first, _, _ := strings.Cut(text, "\n"); len(first) > 80 || !strings.HasPrefix(first, fmt.Sprintf("%d errors: ", errors)) {
		t.Errorf("the first line is %q", first)
	}
	for _, of := range []string{"as %d sh sees it", "freezer of %d sh"} {
		for _, pid := range []int{s.healthy, s.left} {
			if strings.Contains(text, fmt.Sprintf(of, pid)) {
				t.Errorf("it tells of %d:\n%s", pid, text)
			}
		}
	}
	s.busy(t)
	s.told(t, wholeHost(t))
	carried(t, s, nil)
	carried(t, s, []string{"-z"})
}

// carried makes a capture and holds what nobody is told of it against what root
// is told of the host.
func carried(t *testing.T, s *scene, flags []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nsinspect-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	made := lt.Run(t, append([]string{"capture"}, flags...)...)
	archive := filepath.Join(dir, "host")
	if made.Status != 0 || made.Stderr != "" || os.WriteFile(archive, []byte(made.Stdout), 0o644) != nil || os.Chmod(dir, 0o755) != nil {
		t.Fatalf("exit status %d: %s", made.Status, made.Stderr)
	}
	binary := lt.CopyBinary(t, dir)
	from := func(args ...string) lt.Result {
		nobody := []string{"setpriv", "--reuid", unprivileged, "--regid", unprivileged, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--", binary}
		r := lt.Execute(t, slices.Concat(nobody, args, []string{"--from", archive})...)
		r.Stderr = fromCapture(t, archive, r.Stderr)
		return r
	}
	s.told(t, doctorBy(t, from("doctor", "-J")))
	live, replayed := s.findings(t, lt.Run(t, "doctor", "-J")), s.findings(t, from("doctor", "-J"))
	if !slices.EqualFunc(live, replayed, bytes.Equal) {
		t.Errorf("doctor finds\n%s\nand from the capture\n%s", bytes.Join(live, nil), bytes.Join(replayed, nil))
	}
	if live, replayed := s.namespaces(t, lt.Run(t, "list", "-J")), s.namespaces(t, from("list", "-J")); !maps.Equal(live, replayed) {
		t.Errorf("list shows\n%s\nand from the capture\n%s", dump(live), dump(replayed))
	}
	for _, pid := range []int{s.healthy, s.shared, s.stale, s.moved, s.left, s.dead} {
		one := strconv.Itoa(pid)
		for _, args := range [][]string{{"show", one}, {"compare", one}, {"compare", one, strconv.Itoa(s.left), "1"}, {"doctor", one}} {
			same(t, lt.Run(t, args...), from(args...), args)
			args = append(args, "-J")
			live, replayed := lt.Run(t, args...), from(args...)
			if !maps.EqualFunc(values(t, live), values(t, replayed), func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) || live.Status != replayed.Status {
				t.Errorf("%v\n%s", args, difference(live.Stdout, replayed.Stdout))
			}
		}
	}
}

// same holds two answers in text against each other.
func same(t *testing.T, live, replayed lt.Result, args []string) {
	t.Helper()
	if live != replayed {
		t.Errorf("%v: exit status %d and %d\n%s", args, live.Status, replayed.Status, difference(live.Stdout+live.Stderr, replayed.Stdout+replayed.Stderr))
	}
}
