package endtoend

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// What the live tests read of the JSON documents. It is written down here again
// so that a field that is renamed there is missed here.
type (
	report struct {
		Reader   struct{ Initial *bool }
		Findings []finding
		Coverage struct{ Processes, Skipped int }
		Skipped  []struct {
			PID          int
			What, Reason string
		}
	}
	finding struct {
		Check, Severity, Message string
		CgroupNS                 uint64 `json:"cgroup_ns"`
		MntNS                    uint64 `json:"mnt_ns"`
		PID                      int
		PIDs                     []int
		Hierarchy                string
		Mount                    *mountJSON
		Confirmed                *bool
		Evidence                 map[string]any
		Remedy                   struct {
			Steps   [][]string
			Command []string
			Notes   []string
			Safe    *bool
		}
		Verify []string
	}
	mountJSON struct {
		ID            int
		ParentID      int    `json:"parent_id"`
		MountPoint    string `json:"mount_point"`
		HostRoot      string `json:"host_root"`
		NamespaceRoot string `json:"namespace_root"`
		Visible       bool
		Propagation   string
		Verdict       string
	}
	comparison struct {
		Process struct {
			PID      int
			Command  string
			CgroupNS uint64 `json:"cgroup_ns"`
			MntNS    uint64 `json:"mnt_ns"`
		}
		Namespace struct {
			NS           uint64
			Initial      bool
			SameAsReader bool `json:"same_as_reader"`
			Known        string
		}
		Hierarchies []hierarchyJSON
		Peers       []struct {
			PID   int
			Paths []struct {
				Hierarchy     string
				HostPath      string `json:"host_path"`
				NamespacePath string `json:"namespace_path"`
			}
		}
		Verdict string
	}
	hierarchyJSON struct {
		ID             int
		Hierarchy      string
		HostPath       string `json:"host_path"`
		NamespacePath  string `json:"namespace_path"`
		Outside        bool
		RootDirectory  *string `json:"root_directory"`
		Known, Verdict string
		Mounts         []mountJSON
	}
	listing struct {
		Namespaces []struct {
			NS      uint64
			Initial bool
			NProcs  int `json:"nprocs"`
			PIDs    []int
			Roots   []struct {
				Hierarchy     string
				RootDirectory *string `json:"root_directory"`
				Known         string
			}
		}
	}
)

func (h *hierarchyJSON) root() string {
	if h.RootDirectory == nil {
		return "null"
	}
	return *h.RootDirectory
}

func (c *comparison) at(t *testing.T, label string) *hierarchyJSON {
	t.Helper()
	for i := range c.Hierarchies {
		if c.Hierarchies[i].Hierarchy == label {
			return &c.Hierarchies[i]
		}
	}
	t.Fatalf("no hierarchy %s in %+v", label, c)
	return nil
}

// decode reads a document from a run that has to end with a status and without
// a message.
func decode(t *testing.T, r lt.Result, status int, into any) {
	t.Helper()
	if r.Status != status || r.Stderr != "" {
		t.Fatalf("exit status %d, want %d\n%s%s", r.Status, status, r.Stderr, r.Stdout)
	}
	if err := json.Unmarshal([]byte(r.Stdout), into); err != nil {
		t.Fatalf("%v\n%s", err, r.Stdout)
	}
}

// doctor asks about processes and holds the exit status: 1 if an error was
// found, else 0.
func doctor(t *testing.T, pids ...int) *report {
	t.Helper()
	args := []string{"doctor", "-J"}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	d := doctorBy(t, lt.Run(t, args...))
	d.agrees(t)
	return d
}

// agrees holds that doctor names remount just where that would mend the mount.
func (r *report) agrees(t *testing.T) {
	t.Helper()
	for _, f := range r.of("stale-mount-root", "") {
		id := strconv.Itoa(f.PID)
		if thread, ok := f.Evidence["thread"].(float64); ok {
			id = strconv.Itoa(int(thread))
		}
		action := planOf(t, id).at(t, f.Mount.ID).Action
		mends := action == "replace" || action == "cover"
		unsure := strings.Contains(strings.Join(f.Remedy.Notes, " "), "'nsinspect remount "+id+"' tells whether")
		command := []string{"nsinspect", "remount", id}
		if f.Severity == "error" { // else it is a container's
			command = append(command, "--apply")
		}
		if named := len(f.Remedy.Command) > 0; named != mends && !unsure || named && !slices.Equal(f.Remedy.Command, command) {
			t.Errorf("remount would %s it, and doctor says %s", action, dump(f))
		}
	}
}

// plan is what the tests read of a plan for mending, or of its result.
type plan struct {
	Applied                bool
	Outcome, Refusal, Hint string
	Sharers                []struct {
		PID      int
		Command  string
		CgroupNS uint64 `json:"cgroup_ns"`
	}
	Mounts []mended
	Notes  []string
	status int
}

type mended struct {
	Hierarchy     string
	MountID       int    `json:"mount_id"`
	MountPoint    string `json:"mount_point"`
	NamespaceRoot string `json:"namespace_root"`
	Verdict       string
	Action        string
	Reason        string
	Steps         []string
	State         string
	After         *struct {
		MountID       int    `json:"mount_id"`
		NamespaceRoot string `json:"namespace_root"`
		Verdict       string
	}
	Error, Hint string
	Notes       []string
}

// planOf asks for a plan, or for more with flags.
func planOf(t *testing.T, pid string, flags ...string) *plan {
	t.Helper()
	return planBy(t, lt.Run(t, append([]string{"remount", "-J", pid}, flags...)...))
}

// planBy reads what a run of remount says, and holds its exit status.
func planBy(t *testing.T, r lt.Result) *plan {
	t.Helper()
	p := &plan{status: r.Status}
	if err := json.Unmarshal([]byte(r.Stdout), p); err != nil || r.Stderr != "" {
		t.Fatalf("status %d, %v\n%s%s", r.Status, err, r.Stderr, r.Stdout)
	}
	want := map[string]int{"nothing": 0, "planned": 1, "mended": 0, "refused": 2, "failed": 2}[p.Outcome]
	if r.Status != want {
		t.Errorf("%s, exit status %d", p.Outcome, r.Status)
	}
	return p
}

func (p *plan) at(t *testing.T, id int) *mended {
	t.Helper()
	for i := range p.Mounts {
		if p.Mounts[i].MountID == id {
			return &p.Mounts[i]
		}
	}
	t.Fatalf("no mount %d in %s", id, dump(p))
	return nil
}

// doctorBy reads what a run of doctor found.
func doctorBy(t *testing.T, r lt.Result) *report {
	t.Helper()
	status := 0
	if strings.Contains(r.Stdout, `"severity": "error"`) {
		status = 1
	}
	var d report
	decode(t, r, status, &d)
	return &d
}

// of are the findings of a check, for a hierarchy if one is given.
func (r *report) of(check, hierarchy string) []finding {
	var list []finding
	for _, f := range r.Findings {
		if f.Check == check && (hierarchy == "" || f.Hierarchy == hierarchy) {
			list = append(list, f)
		}
	}
	return list
}

// one is the single finding of a check, and holds who has it.
func (r *report) one(t *testing.T, check, severity, hierarchy string, pids ...int) finding {
	t.Helper()
	list := r.of(check, hierarchy)
	slices.Sort(pids)
	if len(list) != 1 || list[0].Severity != severity || !slices.Equal(list[0].PIDs, pids) {
		t.Fatalf("want one %s, %s, of %v in %s, but found\n%s", check, severity, pids, hierarchy, dump(r.Findings))
	}
	return list[0]
}

// only holds that nothing above info was found of a hierarchy but one check.
func (r *report) only(t *testing.T, hierarchy, check string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Severity != "info" && f.Hierarchy == hierarchy && f.Check != check {
			t.Errorf("beside %s there is %s", check, dump(f))
		}
	}
}

// serious are the findings above info.
func (r *report) serious() []finding {
	var list []finding
	for _, f := range r.Findings {
		if f.Severity != "info" {
			list = append(list, f)
		}
	}
	return list
}

func dump(v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// ups matches what is above a namespace's root directory.
var ups = regexp.MustCompile(`^(/\.\.)+$`)

// staleByKernel are the hierarchies of which a process has a mount that its own
// namespace reads as only "..": where the tests run in a cgroup of their own,
// as in memory on many hosts, that is more than the tests made.
func staleByKernel(t *testing.T, pid int) []string {
	t.Helper()
	var list []string
	for _, m := range lt.InView(t, pid, pid).Mounts() {
		if ups.MatchString(m.Root) && !slices.Contains(list, m.Label) {
			list = append(list, m.Label)
		}
	}
	slices.Sort(list)
	return list
}

// likeKernel compares a process and holds every path and every mount root, in
// both views, against what cat reads on the host and nsenter -C cat reads in
// the process's namespace.
func likeKernel(t *testing.T, pid int, peers ...int) *comparison {
	t.Helper()
	args := []string{"compare", "-J", strconv.Itoa(pid)}
	for _, p := range peers {
		args = append(args, strconv.Itoa(p))
	}
	var c comparison
	decode(t, lt.Run(t, args...), 0, &c)
	holdKernel(t, &c, pid)
	if len(peers) > 0 && len(c.Peers) != len(peers) {
		t.Fatalf("%d peers, want %d", len(c.Peers), len(peers))
	}
	for i, peer := range peers {
		host, own := lt.HostView(t, peer).Paths(), lt.InView(t, pid, peer).Paths()
		if c.Peers[i].PID != peer || len(c.Peers[i].Paths) != len(own) {
			t.Errorf("peer %d: %s", peer, dump(c.Peers[i]))
		}
		for _, p := range c.Peers[i].Paths {
			if p.HostPath != host[p.Hierarchy] || p.NamespacePath != own[p.Hierarchy] {
				t.Errorf("peer %d in %s: %q and %q, the kernel shows %q and %q", peer, p.Hierarchy, p.HostPath, p.NamespacePath, host[p.Hierarchy], own[p.Hierarchy])
			}
		}
	}
	return &c
}

func holdKernel(t *testing.T, c *comparison, pid int) {
	t.Helper()
	host, own := lt.HostView(t, pid), lt.InView(t, pid, pid)
	if c.Process.PID != pid || c.Namespace.NS != lt.Namespace(t, pid, "cgroup") || c.Process.MntNS != lt.Namespace(t, pid, "mnt") {
		t.Errorf("process %+v, namespace %+v", c.Process, c.Namespace)
	}
	if paths := own.Paths(); len(c.Hierarchies) != len(paths) || len(paths) == 0 {
		t.Errorf("%d hierarchies, the kernel has %d", len(c.Hierarchies), len(paths))
	}
	roots := map[int][2]string{}
	for _, m := range host.Mounts() {
		roots[m.ID] = [2]string{m.Root}
	}
	for _, m := range own.Mounts() {
		roots[m.ID] = [2]string{roots[m.ID][0], m.Root}
	}
	seen := 0
	for _, h := range c.Hierarchies {
		if p, q := host.Paths()[h.Hierarchy], own.Paths()[h.Hierarchy]; h.HostPath != p || h.NamespacePath != q {
			t.Errorf("%s: %q and %q, the kernel shows %q and %q", h.Hierarchy, h.HostPath, h.NamespacePath, p, q)
		}
		for _, m := range h.Mounts {
			seen++
			if got := [2]string{m.HostRoot, m.NamespaceRoot}; got != roots[m.ID] {
				t.Errorf("%s at %s: roots %q, the kernel shows %q", h.Hierarchy, m.MountPoint, got, roots[m.ID])
			}
		}
	}
	if seen != len(roots) {
		t.Errorf("%d cgroup mounts, the kernel shows %d", seen, len(roots))
	}
}

// nothingSerious holds that nothing above info is told of processes, asked for
// alone or found on the whole host, and that compare says what the kernel says.
// It returns what was found of them.
func nothingSerious(t *testing.T, pids ...int) *report {
	t.Helper()
	for _, pid := range pids {
		likeKernel(t, pid)
	}
	r := doctor(t, pids...)
	if list := r.serious(); len(list) > 0 {
		t.Errorf("doctor %v: %s", pids, dump(list))
	}
	if r.Coverage.Processes != len(pids) || r.Coverage.Skipped > 0 {
		t.Errorf("doctor %v looked at %+v", pids, r.Coverage)
	}
	for _, f := range doctorBy(t, lt.Run(t, "doctor", "-J")).serious() {
		for _, pid := range pids {
			if slices.Contains(f.PIDs, pid) {
				t.Errorf("doctor of the host, on %v: %s", pids, dump(f))
			}
		}
	}
	return r
}

// paste runs commands as one pastes them into a root shell on the host.
func paste(t *testing.T, commands string) {
	t.Helper()
	if r := lt.Execute(t, "sh", "-c", commands); r.Status != 0 {
		t.Fatalf("exit status %d of\n%s\n%s%s", r.Status, commands, r.Stdout, r.Stderr)
	}
}

// textRemedies are the blocks of commands in doctor's text, by the mount point
// that each is for.
func textRemedies(text string) map[string]string {
	blocks := map[string]string{}
	point, inside := "", false
	for line := range strings.Lines(text) {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "error ") || strings.HasPrefix(line, "warning "):
			point = strings.Fields(trimmed)[2]
		case strings.HasPrefix(trimmed, "mend it"):
			inside = true
		case strings.HasPrefix(trimmed, "or by hand"): // what came before was a command of nsinspect's
			delete(blocks, point)
		case strings.HasPrefix(trimmed, "then see:"):
			inside = false
		case inside:
			blocks[point] += trimmed + "\n"
		}
	}
	return blocks
}

// jsonRemedy is a finding's steps as commands, each only if those before
// succeeded.
func jsonRemedy(f finding) string {
	var lines []string
	for _, step := range f.Remedy.Steps {
		lines = append(lines, lt.Quote(step...))
	}
	return strings.Join(lines, " &&\n")
}

// mountParent is the mount point of the mount that a cgroup mount lies on.
func mountParent(t *testing.T, pid int, point string) string {
	t.Helper()
	parent := ""
	text := lt.ReadFile(t, fmt.Sprintf("/proc/%d/mountinfo", pid))
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); f[4] == point {
			parent = f[1]
		}
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); f[0] == parent {
			return f[4]
		}
	}
	t.Fatalf("what does %s lie on?\n%s", point, text)
	return ""
}

// kernelLists tells whether the kernel lists a process in the cgroup that a mount
// point of its own leads to.
func kernelLists(t *testing.T, pid int, point string) bool {
	t.Helper()
	text := lt.ReadFile(t, path.Join(fmt.Sprintf("/proc/%d/root", pid), point, "cgroup.procs"))
	return slices.Contains(strings.Fields(text), strconv.Itoa(pid))
}

// fresh mounts the hierarchy of a process again, in its own view, in place of
// the inherited mount.
func fresh(s *lt.Shell, label, point string) {
	s.Do("umount %s && %s", point, mountCommand(label, point))
}

func mountCommand(label, point string) string {
	if label == "unified" {
		return "mount -t cgroup2 cgroup2 " + point
	}
	return fmt.Sprintf("mount -t cgroup -o %s cgroup %s", label, point)
}

// freshAll does so for each hierarchy that the process would see stale.
func freshAll(t *testing.T, s *lt.Shell) {
	t.Helper()
	for _, label := range staleByKernel(t, s.PID) {
		fresh(s, label, lt.MountOf(t, label))
	}
	if left := staleByKernel(t, s.PID); len(left) > 0 {
		t.Fatalf("the fresh mounts of %v are stale", left)
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// needs is what all tests need that make namespaces and mounts.
func needs(t *testing.T, labels ...string) {
	t.Helper()
	lt.Need(t, lt.Root, lt.Programs("unshare", "nsenter", "mount", "umount"), lt.Hierarchies(labels...))
}
