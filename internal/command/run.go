// Package command is the command line: one file per command, each of which
// turns flags into calls of inspect, compare and render.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/render"
)

// The exit statuses, the same in every output format.
const (
	statusOK          = 0
	statusFound       = 1
	statusFailed      = 2
	statusNotExecuted = 126 // of a lab's command, as a shell has it
	statusNotFound    = 127
	statusInterrupted = 130 // 128 + SIGINT
)

// Process is all that a run has from outside.
type Process struct {
	Args []string
	Env  func(string) (string, bool)
	// Environ is all of the environment, for a program that is started.
	Environ []string
	Version string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Run runs one command line and returns the exit status.
func Run(ctx context.Context, p Process) int {
	r := &runner{process: p, out: &sink{w: p.Stdout}}
	status, err := r.run(ctx)
	var hinted hintedError
	var command commandError
	switch {
	case r.interrupted:
		return statusInterrupted
	case errors.Is(r.out.err, syscall.EPIPE):
		return r.status // whoever read it has seen enough
	case r.out.err != nil:
		err = fmt.Errorf("write standard output: %w", reasonOf(r.out.err))
	}
	if err != nil {
		r.say(err.Error())
		switch {
		case errors.As(err, &command):
			return command.exitStatus()
		case errors.As(err, &hinted):
			r.hint(hinted.hint)
		case errors.Is(err, inspect.ErrHidden), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
			r.hint(compare.ToSee)
		}
		return statusFailed
	}
	return status
}

// runner is one run.
type runner struct {
	process Process
	out     *sink
	status  int
	// interrupted is true after a Ctrl-C, unless the command answers it itself.
	interrupted, answers bool
}

// sink remembers the first error of a write, so that none is lost in a library.
type sink struct {
	w       io.Writer
	err     error
	writing atomic.Bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.writing.Store(true)
	defer s.writing.Store(false)
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// abandon sees to it that a Ctrl-C also ends a process that nobody takes the
// output of: after a moment by what the signal does of itself. Whoever does
// something else is left to end it.
func (s *sink) abandon(unhandle func()) {
	time.Sleep(patience)
	if s.writing.Load() {
		unhandle()
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT)
	}
}

// reasonOf strips an error of the names that a message has already.
func reasonOf(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// say writes a message; what it quotes cannot act on the terminal.
func (r *runner) say(message string) {
	fmt.Fprintf(r.process.Stderr, "nsinspect: %s\n", render.Text(message))
}

func (r *runner) hint(message string) { r.say("hint: " + message) }

func (r *runner) run(ctx context.Context) (int, error) {
	app := r.app()
	args, command, err := arrange(app, r.process.Args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if err != nil {
		return statusFailed, withHelp(err, command)
	}
	return r.status, nil
}

func (r *runner) app() *cli.App {
	usage := func(_ *cli.Context, err error, _ bool) error { return libraryError(err) }
	app := &cli.App{
		Name:           "nsinspect",
		Usage:          "see what processes see of their cgroups, and what is wrong with it",
		UsageText:      "nsinspect COMMAND [FLAGS] [PID...]",
		Version:        r.process.Version,
		Writer:         r.out,
		ErrWriter:      r.process.Stderr,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usage,
		Commands: []*cli.Command{
			r.list(), r.show(), r.compare(), r.doctor(), r.explain(), r.remount(), r.lab(), r.capture(),
		},
		HideHelpCommand: true,
	}
	for _, c := range app.Commands {
		c.OnUsageError = usage
		c.HideHelpCommand = true
	}
	return app
}

// action is what a command does: it returns the exit status.
type action func(ctx context.Context, in *invocation) (int, error)

// invocation is a command line that was understood.
type invocation struct {
	*runner
	flags  *cli.Context
	fs     *inspect.FS
	format string
	style  render.Options
}

// do checks the common flags, opens the procfs and runs a command.
func (r *runner) do(run action) cli.ActionFunc {
	run = orAbsent(run)
	return func(c *cli.Context) error {
		in, err := r.understand(c)
		if err != nil {
			return err
		}
		if in.fs, err = r.openProc(c); err != nil {
			return err
		}
		defer in.fs.Close()
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
		defer stop()
		defer context.AfterFunc(ctx, func() { r.out.abandon(stop) })()
		in.style.Source = in.source()
		r.status, err = run(ctx, in)
		r.interrupted = ctx.Err() != nil && !r.answers
		return err
	}
}

// plain runs a command that opens no procfs, and sees to signals itself.
func (r *runner) plain(run action) cli.ActionFunc {
	return func(c *cli.Context) error {
		in, err := r.understand(c)
		if err != nil {
			return err
		}
		r.status, err = run(c.Context, in)
		return err
	}
}

func (r *runner) understand(c *cli.Context) (*invocation, error) {
	in := &invocation{runner: r, flags: c, format: c.String("output")}
	if c.Bool("json") {
		in.format = "json"
	}
	if !slices.Contains([]string{"table", "wide", "json"}, in.format) {
		return nil, usageError("unknown output format %q: it is table, wide or json", in.format)
	}
	if c.Int("jobs") < 0 || c.IsSet("jobs") && c.Int("jobs") == 0 {
		return nil, usageError("--jobs %d: it takes at least one", c.Int("jobs"))
	}
	width := 0
	out, isFile := r.process.Stdout.(*os.File)
	terminal := isFile && term.IsTerminal(int(out.Fd()))
	if terminal {
		width, _, _ = term.GetSize(int(out.Fd()))
	}
	color, err := r.color(c, terminal)
	if err != nil {
		return nil, err
	}
	in.style = render.Options{Wide: in.format == "wide", NoHeaders: c.Bool("no-headers"), Width: width, Color: color}
	return in, nil
}

func (r *runner) color(c *cli.Context, terminal bool) (bool, error) {
	when := c.String("color")
	switch {
	case when == "always":
		return true, nil
	case when == "never":
		return false, nil
	case when == "auto":
		noColor, _ := r.process.Env("NO_COLOR")
		kind, _ := r.process.Env("TERM")
		return terminal && noColor == "" && kind != "dumb", nil
	}
	return false, usageError("--color %q: it is auto, always or never", when)
}

func (r *runner) openProc(c *cli.Context) (*inspect.FS, error) {
	if c.IsSet("from") {
		return r.openCapture(c)
	}
	return inspect.Open((&invocation{runner: r, flags: c}).proc(), c.Int("jobs"))
}

// proc is the procfs to read.
func (in *invocation) proc() string {
	dir := in.flags.String("proc")
	if dir == "" {
		dir, _ = in.process.Env("NSINSPECT_PROC")
	}
	if dir == "" {
		dir = "/proc"
	}
	return dir
}

// finish maps what was skipped to a status where --strict asks for it.
func (in *invocation) finish(status int, skipped []inspect.Skipped) int {
	if in.flags.Bool("strict") && len(skipped) > 0 {
		in.say("--strict: " + notLookedAt(skipped))
		return statusFailed
	}
	return status
}
