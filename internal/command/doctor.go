package command

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/render"
)

func (r *runner) doctor() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "check the host, or these processes; say what is wrong and how to mend it",
		UsageText: "nsinspect doctor [FLAGS] [PID...]",
		Flags: reportFlags(
			&cli.StringSliceFlag{Name: "check", Usage: "run only the checks `NAME,...`; 'nsinspect explain' lists them"},
			&cli.StringSliceFlag{Name: "skip", Usage: "leave out the checks `NAME,...`"},
			&cli.StringFlag{Name: "fail-on", Value: "error", Usage: "exit with status 1 if a finding is at least of this `SEVERITY`: error, warning, info or never"},
			threadsFlag(),
			toggle("open-files", "look for namespaces that only open files keep, also on a host with more than 2000 processes"),
		),
		Action: r.do(runDoctor),
	}
}

func runDoctor(ctx context.Context, in *invocation) (int, error) {
	failOn, err := threshold(in.flags.String("fail-on"))
	if err != nil {
		return 0, err
	}
	checks, err := in.checks()
	if err != nil {
		return 0, err
	}
	pids, err := in.pids(0, -1)
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		pids = in.captured()
	}
	for i, pid := range pids {
		s, err := in.fs.Subject(ctx, pid, nil)
		if err != nil {
			return 0, err
		}
		pids[i] = s.Process.PID // a thread's number stands for its process
	}
	want := inspect.Want{Views: true, Threads: in.flags.Bool("threads"), ThreadsOf: pids}
	report, err := in.diagnose(ctx, want, pids, checks)
	if err != nil {
		return 0, err
	}
	if in.format == "json" {
		err = render.DoctorJSON(in.out, report)
	} else {
		err = render.DoctorText(in.out, report, in.style)
	}
	status := statusOK
	if worst, found := report.Worst(); found && failOn != "" && worst.AtLeast(failOn) {
		status = statusFound
	}
	return in.finish(status, report.Missed), err
}

// threshold is the severity that counts; empty for never.
func threshold(name string) (compare.Severity, error) {
	switch s := compare.Severity(name); s {
	case compare.Error, compare.Warning, compare.Info:
		return s, nil
	case "never":
		return "", nil
	}
	return "", usageError("--fail-on %q: it is error, warning, info or never", name)
}

// checks are those that --check and --skip leave.
func (in *invocation) checks() ([]compare.Check, error) {
	check, skip := names(in.flags.StringSlice("check")), names(in.flags.StringSlice("skip"))
	if in.flags.IsSet("check") && len(check) == 0 {
		return nil, usageError("--check: which check?")
	}
	checks, err := compare.Select(check, skip)
	if err != nil {
		return nil, unknownCheck(err)
	}
	if len(checks) == 0 {
		return nil, usageError("--check and --skip leave no check to run")
	}
	return checks, nil
}

// names are those of a flag that may be given again.
func names(values []string) []string { return commaList(strings.Join(values, ",")) }

// diagnose reads the host and works through the checks, which ask for more
// where something looks wrong.
func (in *invocation) diagnose(ctx context.Context, want inspect.Want, pids []int, checks []compare.Check) (*compare.Report, error) {
	done := in.progress(ctx)
	defer done()
	host, err := in.fs.Scan(ctx, want)
	if err != nil {
		return nil, err
	}
	d := compare.NewDiagnosis(host, pids)
	d.Choose(checks)
	if in.flags.Bool("open-files") {
		d.SearchOpenFiles()
	}
	if err := in.settle(ctx, d); err != nil {
		return nil, err
	}
	return d.Report(), nil
}
