package command

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/render"
)

func (r *runner) list() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "the cgroup namespaces of this host and their processes",
		UsageText: "nsinspect list [FLAGS]",
		Flags:     []cli.Flag{threadsFlag(), fromFlag()},
		Action:    r.do(runList),
	}
}

func threadsFlag() cli.Flag {
	return &cli.BoolFlag{Name: "threads", Usage: "look at every thread, not only at the leaders"}
}

func runList(ctx context.Context, in *invocation) (int, error) {
	if _, err := in.pids(0, 0); err != nil {
		return 0, err
	}
	in.captured()
	host, err := in.scan(ctx, inspect.Want{Threads: in.flags.Bool("threads")})
	if err != nil {
		return 0, err
	}
	l := &render.List{Reader: host.Reader, Layout: compare.Layout(host.Own), Skipped: host.Skipped}
	known := compare.Hierarchies(host)
	for _, ns := range host.Namespaces {
		n, ok := summarize(ctx, in, host, ns, known)
		if ok {
			l.Namespaces = append(l.Namespaces, n)
		}
	}
	if in.format == "json" {
		err = render.ListJSON(in.out, l)
	} else {
		in.unseen(host)
		err = render.ListTable(in.out, l, in.style)
	}
	return in.finish(statusOK, host.Skipped), err
}

// summarize describes a namespace by its first process that still lives. Where
// it could not be entered, a member's mounts may make its roots likely.
func summarize(ctx context.Context, in *invocation, host *inspect.Host, ns *inspect.Namespace, known []*inspect.Hierarchy) (compare.NamespaceSummary, bool) {
	var first inspect.Process
	for len(ns.Members) > 0 {
		p, ok := in.fs.Describe(ns.Members[0])
		if ok {
			first = p
			break
		}
		if !ok && in.fs.Exists(ns.Members[0]) {
			break
		}
		ns.Members = ns.Members[1:]
	}
	if len(ns.Members) == 0 {
		return compare.NamespaceSummary{}, false
	}
	var subject *inspect.Subject
	if !ns.Entered {
		subject, _ = in.fs.Subject(ctx, ns.Members[0].TID, nil)
	}
	return compare.Summarize(host, ns, known, first, subject), true
}

// unseen says on standard error what a table has no place for.
func (in *invocation) unseen(host *inspect.Host) {
	if len(host.Skipped) > 0 {
		in.say(notLookedAt(host.Skipped))
	}
}

// notLookedAt names the first thing that could not be read and counts the rest.
func notLookedAt(skipped []inspect.Skipped) string {
	s := skipped[0]
	more := ""
	if n := len(skipped) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more (--json names them)", n)
	}
	return fmt.Sprintf("not looked at: process %d (%s: %s)%s", s.PID, s.What, s.Reason, more)
}
