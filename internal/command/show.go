package command

import (
	"context"

	"github.com/urfave/cli/v2"

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
	if in.format == "json" {
		err = render.ShowJSON(in.out, in.fs.Reader, s)
	} else {
		err = render.ShowTable(in.out, s, in.style)
	}
	return in.finish(statusOK, s.Skipped), err
}
