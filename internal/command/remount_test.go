package command

import (
	"bytes"
	"testing"

	"nsinspect/inspect"
	"nsinspect/internal/remount"
)

// TestHintApply: what comes after a plan.
func TestHintApply(t *testing.T) {
	const some = "mends what can be mended; the rest stays as it is until what is said of it is done"
	for _, c := range []struct {
		actions []remount.Action
		refusal string
		include string
		want    string
	}{
		{[]remount.Action{remount.Keep, remount.Replace}, "", "", "nsinspect: hint: 'nsinspect remount 70 --apply' does it\n"},
		{[]remount.Action{remount.Cover}, "", "foreign", "nsinspect: hint: 'nsinspect remount 70 --include foreign --apply' does it\n"},
		{[]remount.Action{remount.Refuse, remount.Replace}, "", "", "nsinspect: hint: 'nsinspect remount 70 --apply' " + some + "\n"},
		{[]remount.Action{remount.Refuse}, "", "", ""},
		{[]remount.Action{remount.Refuse}, "others use it", "", ""},
		{[]remount.Action{remount.Keep}, "", "", ""},
	} {
		var said bytes.Buffer
		in := &invocation{runner: &runner{process: Process{Stderr: &said}}}
		p := &remount.Plan{Refusal: c.refusal, Process: inspect.Process{Task: inspect.Task{PID: 70, TID: 70}}}
		for _, a := range c.actions {
			p.Mounts = append(p.Mounts, remount.Mount{Action: a})
		}
		in.hintApply(p, "70", c.include)
		if said.String() != c.want {
			t.Errorf("%v: %q, want %q", c.actions, said.String(), c.want)
		}
	}
}
