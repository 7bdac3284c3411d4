package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
		Description: "The verdicts on a mount, worst first, by its root in the namespace's view:\n\n" + legend() +
			"\n? is what is not known. 'nsinspect explain' tells more of each fault.",
		Flags:  reportFlags(),
		Action: r.do(runCompare),
	}
}

// legend says what the verdicts mean, a line each.
func legend() string {
	var b strings.Builder
	for _, v := range compare.Verdicts {
		fmt.Fprintf(&b, "%-11s  %s\n", v.Verdict, v.Meaning)
	}
	return b.String()
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
	var roots compare.Roots
	if !compare.Proven(in.fs.Reader, s) {
		// It lies outside its namespace's root, so others must prove that.
		if roots, err = in.roots(ctx, s); err != nil {
			return 0, err
		}
	}
	c := compare.Compare(in.fs.Reader, s, roots)
	if in.format == "json" {
		err = render.CompareJSON(in.out, in.fs.Reader, c, s.Skipped)
	} else {
		err = render.CompareTable(in.out, in.fs.Reader, c, in.style)
	}
	if err == nil && in.format != "json" {
		in.goOn(c, s)
	}
	return in.finish(statusOK, s.Skipped), err
}

// goOn says what to do about a fault, or about what was not seen.
func (in *invocation) goOn(c *compare.Comparison, s *inspect.Subject) {
	switch {
	case c.Verdict.Worse(compare.VerdictUnknown):
		in.hint("'" + in.next("doctor", in.named(s.Process.PID)) + "' says what is wrong and how to mend it")
	case c.Known != compare.Entered:
		in.hintDenied(s.Skipped)
	default:
		in.unread(slices.DeleteFunc(slices.Clone(s.Skipped), func(s inspect.Skipped) bool { return s.What != "mountinfo" }))
	}
}

// subject reads the process with the peers asked for; PID 1 if none is, as far
// as there is one that can be read.
func (in *invocation) subject(ctx context.Context, pid int, peers []int) (*inspect.Subject, error) {
	if len(peers) > 0 || pid == 1 {
		return in.fs.Subject(ctx, pid, peers)
	}
	s, err := in.fs.Subject(ctx, pid, []int{1})
	if err == nil {
		return s, nil
	}
	var first *inspect.PeerError
	if !errors.As(err, &first) {
		return nil, err
	}
	alone, failed := in.fs.Subject(ctx, pid, nil)
	if failed == nil && !errors.Is(err, inspect.ErrNoProcess) {
		alone.Skipped = append(alone.Skipped, inspect.Skipped{PID: 1, What: "process", Reason: err.Error()})
		in.say("compared with no other process: " + err.Error())
	}
	return alone, failed
}

// roots searches for the root directories of the subject's cgroup namespace.
func (in *invocation) roots(ctx context.Context, s *inspect.Subject) (compare.Roots, error) {
	done := in.progress(ctx)
	defer done()
	ns := s.Process.CgroupNS
	host, err := in.fs.Scan(ctx, inspect.Want{Views: true, ThreadsOf: []int{s.Process.PID}, Only: ns})
	if err != nil {
		return nil, err
	}
	d := compare.NewRootSearch(host, s.Process.PID)
	if err := in.settle(ctx, d); err != nil {
		return nil, err
	}
	return d.Roots(ns), nil
}

// settle answers a diagnosis until it has no more questions.
func (in *invocation) settle(ctx context.Context, d *compare.Diagnosis) error {
	return d.Settle(func(q inspect.Questions) (*inspect.Answers, error) { return in.fs.Answer(ctx, q) })
}
