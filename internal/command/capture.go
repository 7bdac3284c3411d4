package command

import (
	"compress/gzip"
	"context"
	"errors"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"nsinspect/compare"
	"nsinspect/inspect"
)

func (r *runner) capture() *cli.Command {
	return &cli.Command{
		Name:      "capture",
		Usage:     "what the checks read, as a tar archive to look at on another machine",
		UsageText: "nsinspect capture [FLAGS] > FILE\nnsinspect list|show|compare|doctor --from FILE ...",
		Flags: flags(
			toggle("gzip", "compress the archive", "z"),
			&cli.StringSliceFlag{Name: "pid", Usage: "only process `PID`, and what its verdict needs; may be given again"},
			toggle("with-cmdline", "take in the command lines too; they may hold secrets"),
			strictFlag(),
		),
		Action: r.do(runCapture),
	}
}

// maxAlone bounds how many processes with findings are diagnosed each alone, so
// that 'doctor PID' has its answers too.
const maxAlone = 100

func runCapture(ctx context.Context, in *invocation) (int, error) {
	if err := in.captureUsage(); err != nil {
		return 0, err
	}
	var pids []int
	for _, operand := range in.flags.StringSlice("pid") {
		pid, err := in.pid(operand)
		if err != nil {
			return 0, err
		}
		pids = append(pids, pid)
	}
	recording, skipped, err := in.record(ctx, pids)
	if err != nil {
		return 0, err
	}
	if err := in.pack(recording); err != nil {
		return 0, err
	}
	return in.finish(statusOK, skipped), nil
}

func (in *invocation) captureUsage() error {
	if out, ok := in.process.Stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		return errors.New("standard output is a terminal, and a capture is for a file: nsinspect capture > host.tar")
	}
	if in.format != "table" {
		return usageError("capture writes a tar archive, and no %s", in.format)
	}
	_, err := in.pids(0, 0)
	return err
}

func (in *invocation) pack(recording *inspect.Recording) error {
	if !in.flags.Bool("gzip") {
		return recording.Write(in.out, time.Now())
	}
	z := gzip.NewWriter(in.out)
	if err := recording.Write(z, time.Now()); err != nil {
		return err
	}
	return z.Close()
}

// record takes a picture of the processes, and has the commands look at it once:
// what they ask beyond it becomes part of it.
func (in *invocation) record(ctx context.Context, pids []int) (*inspect.Recording, []inspect.Skipped, error) {
	done := in.progress(ctx)
	defer done()
	recording, err := in.fs.Record(ctx, inspect.RecordOptions{Cmdline: in.flags.Bool("with-cmdline")})
	if err != nil {
		return nil, nil, err
	}
	look := onlooker{invocation: *in}
	look.fs = recording.FS()
	if len(pids) == 0 {
		err = look.all(ctx)
	} else {
		err = look.some(ctx, pids)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(pids) > 0 {
		recording.Only(pids)
	}
	return recording, look.skipped, nil
}

// onlooker runs the checks for what they ask, not for what they find.
type onlooker struct {
	invocation
	skipped []inspect.Skipped
}

// all asks what the commands can ask of any process.
func (o *onlooker) all(ctx context.Context) error {
	alone := map[int]bool{}
	for _, threads := range []bool{true, false} {
		host, report, err := o.examine(ctx, inspect.Want{Views: true, Threads: threads}, nil)
		if err != nil {
			return err
		}
		o.skipped = host.Skipped
		for _, pid := range affected(host, report) {
			alone[pid] = true
		}
		if threads {
			continue
		}
		if err := o.compareEach(ctx, host); err != nil {
			return err
		}
	}
	for pid := range alone {
		if _, _, err := o.examine(ctx, inspect.Want{Views: true, ThreadsOf: []int{pid}}, []int{pid}); err != nil {
			return err
		}
	}
	return nil
}

// some asks what the commands can ask of these processes, which must be there.
func (o *onlooker) some(ctx context.Context, pids []int) error {
	for i, pid := range pids {
		s, err := o.subject(ctx, pid, nil)
		if err != nil {
			return err
		}
		pids[i] = s.Process.PID // a thread's number stands for its process
		if !compare.Proven(o.fs.Reader, s) {
			if _, err := o.roots(ctx, s); err != nil {
				return err
			}
		}
	}
	for _, only := range append(singles(pids), pids) {
		host, _, err := o.examine(ctx, inspect.Want{Views: true, ThreadsOf: only}, only)
		if err != nil {
			return err
		}
		o.skipped = ofThese(host.Skipped, pids)
	}
	return nil
}

func singles(pids []int) [][]int {
	var list [][]int
	for _, pid := range pids {
		list = append(list, []int{pid})
	}
	return list
}

func ofThese(skipped []inspect.Skipped, pids []int) []inspect.Skipped {
	var list []inspect.Skipped
	for _, s := range skipped {
		for _, pid := range pids {
			if s.PID == pid {
				list = append(list, s)
			}
		}
	}
	return list
}

// examine is a diagnosis that looks through all open files too.
func (o *onlooker) examine(ctx context.Context, want inspect.Want, pids []int) (*inspect.Host, *compare.Report, error) {
	host, err := o.fs.Scan(ctx, want)
	if err != nil {
		return nil, nil, err
	}
	d := compare.NewDiagnosis(host, pids)
	d.SearchOpenFiles()
	if err := o.settle(ctx, d); err != nil {
		return nil, nil, err
	}
	return host, d.Report(), nil
}

// affected has one process of each kind that is found fault with.
func affected(host *inspect.Host, report *compare.Report) []int {
	found := map[int]bool{}
	for _, f := range report.Findings {
		for _, pid := range f.PIDs {
			found[pid] = true
		}
	}
	seen := map[inspect.SightKey]bool{}
	var list []int
	for _, t := range host.Tasks {
		if found[t.PID] && !seen[t.Sight()] && len(list) < maxAlone {
			seen[t.Sight()] = true
			list = append(list, t.PID)
		}
	}
	return list
}

// compareEach compares one process of each kind that lies outside its
// namespace's root, since others must prove that.
func (o *onlooker) compareEach(ctx context.Context, host *inspect.Host) error {
	seen := map[inspect.SightKey]bool{}
	searched := 0
	for _, t := range host.Tasks {
		if t.CgroupNS == 0 || t.CgroupNS == host.Reader.CgroupNS || seen[t.Sight()] || searched == maxAlone {
			continue
		}
		seen[t.Sight()] = true
		s, err := o.fs.Subject(ctx, t.TID, nil)
		if err != nil || compare.Proven(o.fs.Reader, s) {
			continue
		}
		searched++
		if _, err := o.roots(ctx, s); err != nil {
			return err
		}
	}
	return ctx.Err()
}
