package command

import (
	"strings"
	"testing"

	"nsinspect/inspect"
)

// TestUnread: what could not be read is named by its reason, in one line, and
// what to do depends on who reads.
func TestUnread(t *testing.T) {
	denied := []inspect.Skipped{
		{PID: 7, What: "ns/cgroup", Reason: "permission denied"}, {PID: 7, What: "mountinfo", Reason: "more than 10 lines"}, {PID: 7, What: "ns/mnt", Reason: "permission denied"},
	}
	const line = "nsinspect: not read of process 7: ns/cgroup, ns/mnt: permission denied; mountinfo: more than 10 lines\n"
	for _, c := range []struct {
		reader  inspect.Reader
		skipped []inspect.Skipped
		want    string
	}{
		{inspect.Reader{UID: 1000}, denied, line + "nsinspect: hint: run it as root on the host\n"},
		{inspect.Reader{UID: 0}, denied, line + "nsinspect: hint: run it as root on the host\n"}, // without CAP_SYS_ADMIN
		{inspect.Reader{UID: 0, CanEnter: true}, denied, line + "nsinspect: hint: even root may not see it here: run it where 'readlink /proc/PID/ns/mnt' answers, without the sandbox or security module that denies it\n"},
		{inspect.Reader{UID: 1000}, denied[1:2], "nsinspect: not read of process 7: mountinfo: more than 10 lines\n"},
		{inspect.Reader{UID: 1000}, nil, ""},
	} {
		var b strings.Builder
		in := &invocation{runner: &runner{process: Process{Stderr: &b}}, fs: &inspect.FS{Reader: c.reader}}
		if in.unread(c.skipped); b.String() != c.want {
			t.Errorf("%+v: %q, want %q", c.reader, b.String(), c.want)
		}
	}
	if list := ofShow([]inspect.Skipped{{What: "cgroup namespace"}, {What: "ns/pid"}}); len(list) != 1 || list[0].What != "ns/pid" {
		t.Errorf("show has use for %v", list)
	}
}
