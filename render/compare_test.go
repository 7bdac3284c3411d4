package render

import (
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// TestCompareHost: whose view is called the host's is said where that is not the
// host's.
func TestCompareHost(t *testing.T) {
	for _, c := range []struct {
		ns   uint64
		want string
	}{
		{inspect.InitialCgroupNS, ""},
		{4026532700, "what is called host is nsinspect's own view from cgroup namespace 4026532700, not the host's\n"},
		{0, "what is called host is nsinspect's own view, and it is not known whether that is the host's\n"},
	} {
		text := compared(t, inspect.Reader{CgroupNS: c.ns}, &compare.Comparison{Namespace: 4026532800, Known: compare.Entered}, Options{})
		if _, below, _ := strings.Cut(text, "\n"); below != c.want {
			t.Errorf("from %d it is %q, want %q", c.ns, below, c.want)
		}
	}
}

// TestCompareUnknown: of a namespace that could not be looked into it is said
// once that nothing is known, and not for each peer.
func TestCompareUnknown(t *testing.T) {
	c := &compare.Comparison{
		Process: inspect.Process{Task: inspect.Task{PID: 7, TID: 7}, Command: "sh", User: "root"},
		Known:   compare.Unknown, Reason: "ns/cgroup: permission denied",
		Peers: []compare.PeerView{{Process: inspect.Process{Task: inspect.Task{PID: 1}}, Paths: []compare.PeerPath{{Hierarchy: freezer, HostPath: "/"}}}},
	}
	reader := inspect.Reader{CgroupNS: inspect.InitialCgroupNS}
	const want = "7 sh (root): its cgroup namespace is not known\nits view, of itself and of others, is not known: ns/cgroup: permission denied\n"
	if text := compared(t, reader, c, Options{}); text != want {
		t.Errorf("it is\n%s", text)
	}
	if text := compared(t, reader, c, Options{Wide: true}); !strings.HasSuffix(text, "freezer      /          ?\n") {
		t.Errorf("with everything it is\n%s", text)
	}
}

func compared(t *testing.T, r inspect.Reader, c *compare.Comparison, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := CompareTable(&b, r, c, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestShowUnread: a namespace that could not be read is not left out; one that
// the kernel does not have is.
func TestShowUnread(t *testing.T) {
	s := &inspect.Subject{
		Process:    inspect.Process{Task: inspect.Task{PID: 7, TID: 7}},
		Namespaces: map[string]uint64{"cgroup": 4026531835},
		Skipped:    []inspect.Skipped{{PID: 7, What: "ns/mnt", Reason: "permission denied"}},
		Host:       inspect.View{Cgroups: &inspect.Cgroups{}},
	}
	var b strings.Builder
	if err := ShowTable(&b, s, Options{NoHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "cgroup  4026531835\nmnt     ?\n"; got != want {
		t.Errorf("it is\n%swant\n%s", got, want)
	}
}
