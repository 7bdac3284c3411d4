package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/render"
)

func (r *runner) compare() *cli.Command {
	return &cli.Command{
		Name:      "compare",
		Usage:     "host view beside namespace view of PID; how its namespace sees each PEER (default: 1)",
		UsageText: "nsinspect compare [FLAGS] PID [PEER...]",
		Action:    r.do(runCompare),
	}
}

func runCompare(ctx context.Context, in *invocation) (int, error) {
	pids, err := in.pids(1, -1)
	if err != nil {
		return 0, err
	}
	s, err := in.subject(ctx, pids[0], pids[1:])
	if err != nil {
		return 0, err
	}
	var members []inspect.Pair
	if !compare.Proven(in.fs.Reader, s) {
		// It lies outside its namespace's root, which other members prove.
		if members, err = in.members(ctx, s.Process.CgroupNS); err != nil {
			return 0, err
		}
	}
	c := compare.Compare(in.fs.Reader, s, members)
	if in.format == "json" {
		err = render.CompareJSON(in.out, in.fs.Reader, c, s.Skipped)
	} else {
		err = render.CompareTable(in.out, in.fs.Reader, c, in.style)
	}
	if err == nil && in.format != "json" && c.Verdict.Worse(compare.VerdictUnknown) {
		in.hint(fmt.Sprintf("'nsinspect doctor %d' says what is wrong and how to mend it", s.Process.PID))
	}
	return in.finish(statusOK, s.Skipped), err
}

// subject reads the process with the peers asked for; PID 1 if none is, and if
// there is one.
func (in *invocation) subject(ctx context.Context, pid int, peers []int) (*inspect.Subject, error) {
	if len(peers) > 0 || pid == 1 {
		return in.fs.Subject(ctx, pid, peers)
	}
	s, err := in.fs.Subject(ctx, pid, []int{1})
	if errors.Is(err, inspect.ErrNoProcess) {
		return in.fs.Subject(ctx, pid, nil)
	}
	return s, err
}

// members reads the processes of one cgroup namespace in both views.
func (in *invocation) members(ctx context.Context, ns uint64) ([]inspect.Pair, error) {
	host, err := in.scan(ctx, inspect.Want{Only: ns})
	if err != nil {
		return nil, err
	}
	for _, n := range host.Namespaces {
		if n.NS == ns {
			return n.Pairs, nil
		}
	}
	return nil, nil
}
