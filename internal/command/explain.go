package command

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"nsinspect/compare"
	"nsinspect/render"
)

func (r *runner) explain() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "what a check looks for, why it matters, what mends it; without CHECK, the list",
		UsageText: "nsinspect explain [FLAGS] [CHECK]",
		Flags:     flags(),
		Action:    r.plain(runExplain),
	}
}

func runExplain(_ context.Context, in *invocation) (int, error) {
	operands, err := in.operands(1)
	if err != nil {
		return 0, err
	}
	checks := compare.Checks
	if len(operands) == 1 {
		check, err := compare.Find(operands[0])
		if err != nil {
			return 0, unknownCheck(err)
		}
		checks = []compare.Check{check}
	}
	switch {
	case in.format == "json":
		err = render.ExplainJSON(in.out, checks)
	case len(operands) == 1:
		err = render.ExplainText(in.out, checks[0], in.style)
	default:
		err = render.ExplainTable(in.out, checks, in.style)
	}
	return statusOK, err
}

// unknownCheck says where the names of the checks are.
func unknownCheck(err error) error { return fmt.Errorf("%w; 'nsinspect explain' lists them", err) }
