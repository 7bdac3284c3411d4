package command

import (
	"context"
	"fmt"
	"runtime/debug"

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
		Flags:     reportFlags(threadsFlag()),
		Action:    r.do(runList),
	}
}

// listGCPercent collects garbage half as often as is usual (runtime/debug): a
// list makes little, and this takes a twentieth off its time for 2 MiB.
const listGCPercent = 200

func runList(ctx context.Context, in *invocation) (int, error) {
	if _, err := in.pids(0, 0); err != nil {
		return 0, err
	}
	debug.SetGCPercent(listGCPercent)
	in.captured()
	host, err := in.scan(ctx, inspect.Want{Threads: in.flags.Bool("threads"), First: true})
	if err != nil {
		return 0, err
	}
	l := &render.List{Reader: host.Reader, Layout: compare.Layout(host.Own), Skipped: host.Skipped}
	known := compare.Hierarchies(host)
	for _, ns := range host.Namespaces {
		l.Namespaces = append(l.Namespaces, in.summarize(ctx, host, ns, known))
	}
	if in.format == "json" {
		err = render.ListJSON(in.out, l)
	} else {
		in.unseen(host)
		err = render.ListTable(in.out, l, in.style)
	}
	return in.finish(statusOK, host.Skipped), err
}

// summarize tells of one namespace. Where it could not be entered, a member's
// mounts may make its roots likely.
func (in *invocation) summarize(ctx context.Context, host *inspect.Host, ns *inspect.Namespace, known []*inspect.Hierarchy) compare.NamespaceSummary {
	var subject *inspect.Subject
	if !ns.Entered {
		subject, _ = in.fs.Subject(ctx, ns.Members[0].TID, nil)
	}
	return compare.Summarize(host, ns, known, subject)
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
