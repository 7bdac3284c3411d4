package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/render"
)

func (r *runner) show() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "one process: its namespaces, cgroup paths and cgroup mounts",
		UsageText: "nsinspect show [FLAGS] PID",
		Flags:     reportFlags(),
		Action:    r.do(runShow),
	}
}

func runShow(ctx context.Context, in *invocation) (int, error) {
	pids, err := in.pids(1, 1)
	if err != nil {
		return 0, err
	}
	s, err := in.fs.Subject(ctx, pids[0], nil)
	if err != nil {
		return 0, err
	}
	unread := ofShow(s.Skipped)
	if in.format == "json" {
		err = render.ShowJSON(in.out, in.fs.Reader, s)
	} else {
		in.unread(unread)
		err = render.ShowTable(in.out, s, in.style)
	}
	return in.finish(statusOK, unread), err
}

// ofShow leaves out what show has no use for: the view from within.
func ofShow(skipped []inspect.Skipped) []inspect.Skipped {
	return slices.DeleteFunc(slices.Clone(skipped), func(s inspect.Skipped) bool { return s.What == "cgroup namespace" })
}

// unread says what of a process could not be read, and what may help.
func (in *invocation) unread(skipped []inspect.Skipped) {
	if len(skipped) == 0 {
		return
	}
	var reasons []string
	of := map[string][]string{}
	for _, s := range skipped {
		if of[s.Reason] == nil {
			reasons = append(reasons, s.Reason)
		}
		of[s.Reason] = append(of[s.Reason], s.What)
	}
	for i, reason := range reasons {
		reasons[i] = strings.Join(of[reason], ", ") + ": " + reason
	}
	in.say(fmt.Sprintf("not read of process %d: %s", skipped[0].PID, strings.Join(reasons, "; ")))
	in.hintDenied(skipped)
}

// hintDenied says what may help where the reader was not allowed to look.
func (in *invocation) hintDenied(skipped []inspect.Skipped) {
	if slices.ContainsFunc(skipped, func(s inspect.Skipped) bool { return compare.Denied(s.Reason) }) {
		in.hint(compare.ToSee)
	}
}
