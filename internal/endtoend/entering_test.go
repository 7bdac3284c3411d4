package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	lt "nsinspect/internal/livetest"
)

// Root of a user namespace may enter the cgroup namespaces that it owns, but not
// go back to the initial one, which it does not: it sees them all the same, and
// the rest of the host in its own view.
func TestLiveReaderCannotComeBack(t *testing.T) {
	needs(t, "freezer")
	binary := lt.CopyBinary(t, t.TempDir())
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	s := host.Fork().Join(box)
	s.Become("unshare", "-U", "-r", "--")
	inside, deeper := s.Sleep("unshare", "-C", "--"), s.Sleep("unshare", "-C", "-m", "--")
	for _, pid := range []int{inside, deeper} {
		var c comparison
		decode(t, s.Execute(binary, "compare", "-J", strconv.Itoa(pid), strconv.Itoa(s.PID)), 0, &c)
		holdKernel(t, &c, pid)
		if h := c.at(t, "freezer"); h.Known != "entered" || h.HostPath != box.Path || h.NamespacePath != "/" || h.Verdict != "stale" {
			t.Errorf("%s", dump(c))
		}
		if own := lt.InView(t, pid, s.PID).Paths()["freezer"]; len(c.Peers) != 1 || pathOf(c.Peers[0].Paths, "freezer") != [2]string{box.Path, own} {
			t.Errorf("%s, by the kernel %s", dump(c.Peers), own)
		}
	}
	var l listing
	r := s.Execute(binary, "list", "-J")
	r.Stderr = ""
	decode(t, r, 0, &l)
	entered := 0
	for _, ns := range l.Namespaces {
		for _, root := range ns.Roots {
			if root.Hierarchy == "freezer" && root.Known == "entered" && !ns.Initial && root.RootDirectory != nil && *root.RootDirectory == box.Path {
				entered++
			}
		}
	}
	if entered != 2 {
		t.Errorf("%d of 2 namespaces were entered: %s", entered, dump(l))
	}
}

// pathOf is a peer's path in one hierarchy in both views.
func pathOf(paths []struct {
	Hierarchy     string
	HostPath      string `json:"host_path"`
	NamespacePath string `json:"namespace_path"`
}, label string) [2]string {
	for _, p := range paths {
		if p.Hierarchy == label {
			return [2]string{p.HostPath, p.NamespacePath}
		}
	}
	return [2]string{}
}

// A process with ten thousand threads, in a soak with 30,000: every command that looks at each of them does,
// soon, and within its memory.
func TestLiveManyThreads(t *testing.T) {
	needs(t)
	many := 10_000
	if runs(t, 1) > 1 {
		many = 30_000
	}
	ready, in := io.Pipe()
	cmd := startProgram(t, in, "many-threads", strconv.Itoa(many))
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if n := threads(t, cmd.Process.Pid); n < many {
		t.Fatalf("it has %d threads", n)
	}
	for _, args := range [][]string{{"compare", pid}, {"list", "--threads"}, {"doctor", "--fail-on=never", "--threads"}} {
		r, mib, took := measure(t, append(args, "-J")...)
		if r.Status != 0 || r.Stderr != "" || mib > usual || took > 10*time.Second {
			t.Errorf("%v: status %d, %d MiB, %v: %s", args, r.Status, mib, took, r.Stderr)
		} else {
			t.Logf("%v: %d MiB, %v", args, mib, took)
		}
	}
}

// threads counts a process's threads.
func threads(t *testing.T, pid int) (n int) {
	t.Helper()
	for line := range strings.Lines(lt.ReadFile(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if _, err := fmt.Sscanf(line, "Threads: %d", &n); err == nil {
			return n
		}
	}
	t.Fatal("its status does not count its threads")
	return 0
}
