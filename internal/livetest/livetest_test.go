package livetest

import (
	"strings"
	"testing"
)

// The helpers' own test: a shell joins a cgroup, gets a cgroup namespace, and
// the kernel shows it at "/" there and at the cgroup's path on the host.
func TestLiveHelpers(t *testing.T) {
	Need(t, Hierarchies("freezer"))
	host := NewHost(t)
	c := NewCgroup(t, "freezer")
	s := host.Fork().Join(c)
	pid := s.PID
	s.Become("unshare", "-C", "-m", "--")
	if s.PID != pid || Namespace(t, pid, "cgroup") == Namespace(t, host.PID, "cgroup") || Namespace(t, pid, "mnt") == Namespace(t, host.PID, "mnt") {
		t.Fatal("no namespaces of its own")
	}
	if got := HostView(t, pid).Paths()["freezer"]; got != c.Path {
		t.Errorf("the host reads %q, want %q", got, c.Path)
	}
	in := InView(t, pid, pid)
	if got := in.Paths()["freezer"]; got != "/" {
		t.Errorf("inside it reads %q", got)
	}
	if got := in.RootAt(t, MountOf(t, "freezer")); got != "/.." {
		t.Errorf("the mount's root is %q inside", got)
	}
	out, status := s.Try("cat /proc/self/cgroup; false")
	if status != 1 || out != in.Cgroup {
		t.Errorf("status %d, output %s", status, out)
	}
	if sleep := s.Sleep("unshare", "-f", "-p", "--"); Namespace(t, sleep, "cgroup") != Namespace(t, pid, "cgroup") {
		t.Errorf("process %d is in another cgroup namespace", sleep)
	}
	r := s.Run("--version")
	if r.Status != 0 || !strings.Contains(r.Stdout, "nsinspect") || r.Stderr != "" {
		t.Errorf("%+v", r)
	}
}
