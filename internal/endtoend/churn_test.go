package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	lt "nsinspect/internal/livetest"
)

// quiet are processes that nothing happens to while everything else moves: some
// are well, and one has a stale mount.
type quiet struct {
	label string
	well  map[uint64]*lt.Shell // by cgroup namespace
	boxes map[uint64]*lt.Cgroup
	ill   *lt.Shell
	churn *lt.Churn
}

// watched counts what was seen under churn, and what of it was wrong.
type watched struct{ runs, processes, findings, moved, wrong int }

func (w *watched) fault(t *testing.T, format string, args ...any) {
	t.Helper()
	w.wrong++
	t.Errorf(format, args...)
}

func newQuiet(t *testing.T, label string) *quiet {
	t.Helper()
	host := lt.NewHost(t)
	q := &quiet{label: label, well: map[uint64]*lt.Shell{}, boxes: map[uint64]*lt.Cgroup{}}
	for range 3 {
		box := lt.NewCgroup(t, label)
		s := boxed(t, host, box)
		freshAll(t, s)
		ns := lt.Namespace(t, s.PID, "cgroup")
		q.well[ns], q.boxes[ns] = s, box
	}
	q.ill = boxed(t, host, lt.NewCgroup(t, label))
	freshOthers(t, q.ill, label)
	time.Sleep(2100 * time.Millisecond) // doctor waits for what has just been started
	q.churn = lt.NewChurn(t, host, label)
	startProgram(t, nil, "unshare-threads")
	return q
}

// unshareThreads is a program whose threads make cgroup namespaces of their own
// and end, until its standard input does. The tests' own process cannot do that:
// what it started dies with the thread that did so.
func unshareThreads() {
	go func() {
		for {
			done := make(chan struct{})
			go func() {
				defer close(done)
				runtime.LockOSThread() // and never unlocked: the thread ends
				if unix.Gettid() == os.Getpid() {
					runtime.UnlockOSThread()
				} else if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
					fmt.Fprintln(os.Stderr, "unshare:", err)
					os.Exit(1)
				}
			}()
			<-done
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startProgram starts the test binary as one of its other programs, which ends with
// the test.
func startProgram(t *testing.T, stdout io.Writer, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", name, err, stderr.String())
		}
	})
	return cmd
}

// Whatever moves meanwhile: list, doctor and compare never crash, never answer
// with nothing, tell the truth of who rests, and mix nobody's facts with
// another's, nor those of one moment with another's.
func TestLiveChurn(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			needs(t, label)
			q := newQuiet(t, label)
			var w watched
			for i := range runs(t, 6) {
				q.list(t, &w, i%2 == 0)
				q.doctor(t, &w, i%3 == 2)
				q.compare(t, &w)
				if t.Failed() {
					break
				}
			}
			t.Logf("%d runs saw %d processes, and %d times one that moved too fast to be read, while the host started %d processes and threads in a second; %d findings; wrong: %d",
				w.runs, w.processes, w.moved, q.churn.Rate(), w.findings, w.wrong)
		})
	}
}

// list holds that each namespace has its members and its root directory.
func (q *quiet) list(t *testing.T, w *watched, threads bool) {
	t.Helper()
	args := []string{"list", "-J"}
	if threads {
		args = append(args, "--threads")
	}
	var l listing
	decode(t, lt.Run(t, args...), 0, &l)
	w.runs++
	seen := 0
	for _, ns := range l.Namespaces {
		w.processes += ns.NProcs
		if ns.NProcs == 0 || ns.NProcs != len(ns.PIDs) || ns.Initial && ns.NProcs < 10 {
			w.fault(t, "namespace %d has %d processes %v", ns.NS, ns.NProcs, ns.PIDs)
		}
		s := q.well[ns.NS]
		if s == nil {
			continue
		}
		seen++
		if !slices.Equal(ns.PIDs, []int{s.PID}) {
			w.fault(t, "namespace %d has %v, want %d", ns.NS, ns.PIDs, s.PID)
		}
		for _, r := range ns.Roots {
			if r.Hierarchy == q.label && (r.RootDirectory == nil || *r.RootDirectory != q.boxes[ns.NS].Path) {
				w.fault(t, "namespace %d: %s, want %s", ns.NS, dump(r), q.boxes[ns.NS].Path)
			}
		}
	}
	if seen != len(q.well) {
		w.fault(t, "%d of %d namespaces are listed", seen, len(q.well))
	}
}

// doctor holds that the fault is told, of the one who has it, and no other of
// who is well. Of those that move nothing is held but that it is told in order.
func (q *quiet) doctor(t *testing.T, w *watched, threads bool) {
	t.Helper()
	args := []string{"doctor", "-J"}
	if threads {
		args = append(args, "--threads")
	}
	r := doctorBy(t, lt.Run(t, args...))
	w.runs++
	w.processes += r.Coverage.Processes
	found := false
	for _, f := range r.Findings {
		w.findings++
		for _, s := range q.well {
			if f.Severity != "info" && slices.Contains(f.PIDs, s.PID) {
				w.fault(t, "who is well is told to have %s", dump(f))
			}
		}
		for _, pid := range q.churn.Movers {
			if f.Severity == "error" && slices.Contains(f.PIDs, pid) {
				w.fault(t, "who only moves is told to have %s", dump(f))
			}
		}
		if slices.Contains(f.PIDs, q.ill.PID) && f.Severity != "info" {
			if f.Check != "stale-mount-root" || f.Hierarchy != q.label || !isTrue(f.Confirmed) || !slices.Equal(f.PIDs, []int{q.ill.PID}) {
				w.fault(t, "who has a stale mount is told to have %s", dump(f))
			}
			found = true
		}
	}
	if !found || r.Coverage.Processes < 10 {
		w.fault(t, "the stale mount of %d is not told: %s", q.ill.PID, dump(r))
	}
}

// compare holds that both views of a process are of the same moment.
func (q *quiet) compare(t *testing.T, w *watched) {
	t.Helper()
	both := func(pid int, peers ...int) *comparison {
		args := []string{"compare", "-J", strconv.Itoa(pid)}
		for _, p := range peers {
			args = append(args, strconv.Itoa(p))
		}
		r := lt.Run(t, args...)
		w.runs++
		if r.Status == 2 && r.Stdout == "" && strings.Count(r.Stderr, "\n") == 1 && strings.Contains(r.Stderr, "it keeps changing its cgroups or namespaces") {
			w.moved++
			return nil
		}
		var c comparison
		decode(t, r, 0, &c)
		w.processes += 1 + len(c.Peers)
		return &c
	}
	if c := both(q.churn.Restless); c != nil {
		h := c.at(t, q.label)
		base := path.Base(h.HostPath)
		inside := h.NamespacePath == "/" || h.NamespacePath == "/../"+base
		if !slices.Contains([]string{"one", "two"}, base) || !inside && c.Namespace.NS != initialNS || c.Process.CgroupNS != c.Namespace.NS {
			w.fault(t, "the restless one: %s", dump(c))
		}
	}
	for ns, s := range q.well {
		mover := q.churn.Movers[0]
		if c := both(s.PID, mover); c != nil {
			if h := c.at(t, q.label); c.Namespace.NS != ns || h.HostPath != q.boxes[ns].Path || h.NamespacePath != "/" || h.Verdict != "ok" {
				w.fault(t, "%s", dump(c))
			}
			q.peer(t, w, c)
		}
	}
}

// peer holds that a moving peer is told at one place, in both views.
func (q *quiet) peer(t *testing.T, w *watched, c *comparison) {
	t.Helper()
	for _, p := range c.Peers[0].Paths {
		if p.Hierarchy != q.label {
			continue
		}
		base := path.Base(p.HostPath)
		if p.HostPath != q.churn.Places[0].Path && p.HostPath != q.churn.Places[1].Path || !strings.HasSuffix(p.NamespacePath, "/"+base) {
			w.fault(t, "a moving peer is at %s and %s", p.HostPath, p.NamespacePath)
		}
	}
}

const initialNS = 4026531835

// TestLiveReusedIDs has processes of two kinds start and end with the same few
// process IDs: no record has facts of both.
func TestLiveReusedIDs(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("setpriv", "setsid"))
	k := newKinds(t)
	seen, records, mixed := map[string]int{}, 0, 0
	hold := func(ns uint64, command string, uid int, path string) {
		kind, ok := k.hold(ns, command, uid, path)
		records++
		seen[kind]++
		if !ok {
			mixed++
			t.Errorf("namespace %d is that of %s, but has %s of user %d at %s", ns, kind, command, uid, path)
		}
	}
	for range runs(t, 15) {
		for _, ns := range k.list(t) {
			hold(ns.NS, ns.Command, ns.UID, "")
		}
		for pid := k.from; pid < k.from+4; pid++ {
			if c := k.compare(t, pid); c != nil {
				hold(c.Process.CgroupNS, c.Process.Command, c.Process.UID, c.path())
			}
		}
	}
	if seen["aaaa"] == 0 || seen["bbbb"] == 0 {
		t.Errorf("of both kinds there were %v", seen)
	}
	t.Logf("%d records of %v; with facts of two: %d", records, seen, mixed)
}

// kinds are two kinds of processes in a PID namespace of their own, which differ
// in name, user, cgroup and cgroup namespace.
type kinds struct {
	init   int // as the host sees it
	binary string
	from   int // the first process ID that they use
	ns     map[uint64]string
	boxes  map[string]*lt.Cgroup
}

type (
	kindRecord struct {
		NS      uint64
		Command string
		UID     int
	}
	kindComparison struct {
		Process struct {
			Command  string
			UID      int
			CgroupNS uint64 `json:"cgroup_ns"`
		}
		Hierarchies []hierarchyJSON
	}
)

func (c *kindComparison) path() string {
	for _, h := range c.Hierarchies {
		if h.Hierarchy == "freezer" {
			return h.HostPath
		}
	}
	return ""
}

func newKinds(t *testing.T) *kinds {
	t.Helper()
	dir := t.TempDir()
	k := &kinds{binary: lt.CopyBinary(t, dir), from: 301, ns: map[uint64]string{}, boxes: map[string]*lt.Cgroup{}}
	host := lt.NewHost(t)
	outer := host.Fork()
	outer.Do("chmod 755 %[1]s && ln -s /bin/sh %[1]s/aaaa && ln -s /bin/sh %[1]s/bbbb", dir)
	k.init = outer.Background("sleep", "unshare", "-p", "-f", "-m", "--propagation", "private", "--mount-proc", "--", "sleep", "10000")
	enter := []string{"nsenter", "-t", strconv.Itoa(k.init), "-p", "-m", "--"}
	// Who starts the others has a higher ID than they, so that one of them is
	// always the first of its namespace.
	outer.Do("%s", lt.Quote(append(enter, "sh", "-c", "echo 2000 >/proc/sys/kernel/ns_last_pid")...))
	for name, uid := range map[string]string{"aaaa": "0", "bbbb": "65534"} {
		k.boxes[name] = lt.NewCgroup(t, "freezer")
		s := host.Fork().Join(k.boxes[name])
		pid := s.Background(name, append(enter, "unshare", "-C", "--", "setpriv", "--reuid", uid, "--clear-groups",
			dir+"/"+name, "-c", "while :; do (i=0; while [ $i -lt 200 ]; do i=$((i+1)); done); done")...)
		k.ns[lt.Namespace(t, pid, "cgroup")] = name
	}
	host.Fork().Loop(lt.Quote(append(enter, "sh", "-c", fmt.Sprintf("while :; do echo %d >/proc/sys/kernel/ns_last_pid; done", k.from-1))...))
	return k
}

// inside runs nsinspect in the PID namespace.
func (k *kinds) inside(t *testing.T, args ...string) lt.Result {
	t.Helper()
	return lt.Execute(t, append([]string{"nsenter", "-t", strconv.Itoa(k.init), "-p", "-m", "--", k.binary}, args...)...)
}

func (k *kinds) list(t *testing.T) (list []kindRecord) {
	t.Helper()
	var l struct{ Namespaces []kindRecord }
	r := k.inside(t, "list", "-J")
	if err := json.Unmarshal([]byte(r.Stdout), &l); err != nil || r.Status != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	return l.Namespaces
}

// compare is nil for a process that has ended, or ends meanwhile.
func (k *kinds) compare(t *testing.T, pid int) *kindComparison {
	t.Helper()
	r := k.inside(t, "compare", "-J", strconv.Itoa(pid))
	if r.Status == 2 {
		return nil
	}
	c := &kindComparison{}
	if err := json.Unmarshal([]byte(r.Stdout), c); err != nil || r.Status != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	return c
}

// hold tells whether all facts are those of one kind, and of which.
func (k *kinds) hold(ns uint64, command string, uid int, path string) (kind string, ok bool) {
	kind, ours := k.ns[ns]
	if !ours {
		return "others", command != "aaaa" && command != "bbbb"
	}
	return kind, command == kind && (uid == 0) == (kind == "aaaa") && (path == "" || path == k.boxes[kind].Path)
}
