package command

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"nsinspect/internal/remount"
	"nsinspect/render"
)

func (r *runner) remount() *cli.Command {
	return &cli.Command{
		Name:      "remount",
		Usage:     "mend the stale cgroup mounts that PID sees; without --apply, say how",
		UsageText: "nsinspect remount [FLAGS] PID",
		Flags: flags(
			toggle("apply", "do it; without, nothing is changed"),
			&cli.StringFlag{Name: "include", Usage: "also replace what may be meant as it is: `foreign`, mounts of a neighbour's tree, of a part of its own, and stale ones beside a good one"},
			strictFlag(),
		),
		Action: r.do(runRemount),
	}
}

func runRemount(ctx context.Context, in *invocation) (int, error) {
	pids, err := in.pids(1, 1)
	if err != nil {
		return 0, err
	}
	include := in.flags.String("include")
	if in.flags.IsSet("include") && include != "foreign" {
		return 0, usageError("--include %q: it is foreign", include)
	}
	if in.flags.Bool("apply") {
		var stop context.CancelFunc
		ctx, stop = in.unended(ctx)
		defer stop()
	}
	done := in.progress(ctx)
	plan, err := remount.NewPlan(ctx, in.fs, pids[0], remount.Options{Foreign: include != ""})
	done()
	if err != nil {
		return 0, hinted(err)
	}
	status := plan.Status()
	if in.flags.Bool("apply") {
		result, err := plan.Apply(ctx)
		if err != nil {
			return 0, hinted(err)
		}
		plan, status = result.Plan, result.Status()
	}
	if err := in.showRemount(plan, in.flags.Bool("apply")); err != nil {
		return 0, err
	}
	if !in.flags.Bool("apply") && in.format != "json" {
		in.hintApply(plan, in.named(plan.Process.TID), include)
	}
	return in.finish(status, plan.Skipped), nil
}

// unended gives a context that the signals end which would else end the process
// itself, maybe between taking a mount away and putting another in its place.
// After any of them, and after a Ctrl-C, the command says what it has done.
func (in *invocation) unended(ctx context.Context) (context.Context, context.CancelFunc) {
	in.answers = true
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signal.NotifyContext(ctx, signals...)
}

// hintApply says what does what a plan has to do, and that it leaves what the
// plan refuses.
func (in *invocation) hintApply(p *remount.Plan, process, include string) {
	if !slices.ContainsFunc(p.Mounts, func(m remount.Mount) bool { return m.Mends() }) {
		return
	}
	if include != "" {
		include = " --include " + include
	}
	does := "does it"
	if p.Status() == remount.StatusFailed {
		does = "mends what can be mended; the rest stays as it is until what is said of it is done"
	}
	in.hint(fmt.Sprintf("'nsinspect remount %s%s --apply' %s", process, include, does))
}

// showRemount presents a plan, or what has become of it.
func (in *invocation) showRemount(p *remount.Plan, applied bool) error {
	view := render.Remount{
		Reader: in.fs.Reader, Process: p.Process, Applied: applied, Refusal: p.Refusal, Hint: p.Hint, Notes: p.Notes, Skipped: p.Skipped,
	}
	for _, s := range p.Sharers {
		view.Sharers = append(view.Sharers, render.RemountSharer(s))
	}
	for _, m := range p.Mounts {
		view.Mounts = append(view.Mounts, render.RemountMount{
			Hierarchy: m.Hierarchy, MountID: m.MountID, MountPoint: m.MountPoint, NamespaceRoot: m.NamespaceRoot, Verdict: m.Verdict,
			Action: string(m.Action), Reason: m.Reason, Steps: m.Steps, State: string(m.State), After: (*render.RemountAfter)(m.After),
			Error: m.Error, Hint: m.Hint, Notes: m.Notes,
		})
	}
	if in.format == "json" {
		return render.RemountJSON(in.out, &view)
	}
	return render.RemountText(in.out, &view, in.style)
}
