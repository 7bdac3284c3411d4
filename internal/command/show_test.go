package command

import (
	"strings"
	"testing"

	"nsinspect/inspect"
)

// TestUnread: what could not be read is named by its reason, in one line, with
// what to do where that is known.
func TestUnread(t *testing.T) {
	denied := []inspect.Skipped{
		{PID: 7, What: "ns/cgroup", Reason: "permission denied"}, {PID: 7, What: "mountinfo", Reason: "more than 10 lines"}, {PID: 7, What: "ns/mnt", Reason: "permission denied"},
	}
	for _, c := range []struct {
		skipped []inspect.Skipped
		want    string
	}{
		{denied, "nsinspect: not read of process 7: ns/cgroup, ns/mnt: permission denied; mountinfo: more than 10 lines\nnsinspect: hint: run it as root on the host, outside of any sandbox that denies it\n"},
		{denied[1:2], "nsinspect: not read of process 7: mountinfo: more than 10 lines\n"},
		{nil, ""},
	} {
		var b strings.Builder
		in := &invocation{runner: &runner{process: Process{Stderr: &b}}, fs: &inspect.FS{}}
		if in.unread(c.skipped); b.String() != c.want {
			t.Errorf("%q, want %q", b.String(), c.want)
		}
	}
	if list := ofShow([]inspect.Skipped{{What: "cgroup namespace"}, {What: "ns/pid"}}); len(list) != 1 || list[0].What != "ns/pid" {
		t.Errorf("show has use for %v", list)
	}
}
