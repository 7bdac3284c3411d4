package command

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"nsinspect/internal/lab"
	"nsinspect/render"
)

// Child does what a lab executes this program for. It must be called before
// anything else; handled tells whether that was all.
func Child(args, environ []string) (handled bool, exit int) { return lab.ChildMain(args, environ) }

func (r *runner) lab() *cli.Command {
	return &cli.Command{
		Name:  "lab",
		Usage: "make the textbook situations on this host, to learn from and to try the tool on",
		UsageText: "nsinspect lab HIERARCHY [--keep] [--json]   walk through the example of cgroup_namespaces(7) in a\n" +
			"   hierarchy, as freezer, name=systemd or unified\n" +
			"nsinspect lab run [--only LIST] [-- COMMAND...]   start COMMAND (default: $SHELL) in new namespaces",
		Flags: flags(
			toggle("keep", "stop before the mending, say what to try in another terminal, and wait for Ctrl-C"),
			&cli.StringFlag{Name: "only", Usage: "with run: only these namespaces, of `LIST` uts,ipc,pid,mount,user,network,cgroup"},
		),
		Action: r.plain(runLab),
	}
}

func runLab(ctx context.Context, in *invocation) (int, error) {
	operands := in.flags.Args().Slice()
	switch {
	case len(operands) == 0:
		return 0, usageError("lab: which hierarchy? freezer or unified, for instance; or run")
	case operands[0] == "run":
		if in.flags.Bool("keep") || in.format == "json" {
			return 0, usageError("lab run takes neither --keep nor --json")
		}
		return in.labRun(ctx, operands[1:])
	case len(operands) > 1:
		return 0, usageError("lab takes 1 operand, but got %q too", operands[1])
	case in.flags.IsSet("only"):
		return 0, usageError("--only goes with lab run")
	}
	return in.labWalk(ctx, operands[0])
}

func (in *invocation) labRun(ctx context.Context, command []string) (int, error) {
	config := lab.RunConfig{Command: command, Env: in.process.Environ, Proc: in.proc()}
	if only := in.flags.String("only"); only != "" || in.flags.IsSet("only") {
		if config.Only = commaList(only); len(config.Only) == 0 {
			return 0, usageError("--only %q: which namespaces?", only)
		}
	}
	if shell, ok := in.process.Env("SHELL"); ok && shell != "" && len(command) == 0 {
		config.Command = []string{shell}
	}
	// A command on a terminal needs the terminal itself, not a copy of it.
	config.Stdin, _ = in.process.Stdin.(*os.File)
	config.Stdout, _ = in.process.Stdout.(*os.File)
	config.Stderr, _ = in.process.Stderr.(*os.File)
	status, err := lab.Run(ctx, config)
	if errors.Is(err, lab.ErrCommand) {
		return 0, commandError{err}
	}
	return status, hinted(err)
}

// commandError is that of a command that could not be executed. Who may see what
// has nothing to do with it.
type commandError struct{ error }

func (e commandError) Unwrap() error { return e.error }

// exitStatus is as of a shell, env(1) and nsenter(1). What is not found in PATH
// has no errno.
func (e commandError) exitStatus() int {
	var errno syscall.Errno
	if !errors.As(e.error, &errno) || errno == syscall.ENOENT {
		return statusNotFound
	}
	return statusNotExecuted
}

// labWalk tells each step as it is done; as JSON all of them at the end, or
// when it is time to look at what is kept.
func (in *invocation) labWalk(ctx context.Context, hierarchy string) (int, error) {
	document := render.Lab{Hierarchy: hierarchy}
	told := false
	config := lab.WalkConfig{Hierarchy: hierarchy, Keep: in.flags.Bool("keep"), Proc: in.proc()}
	config.Kept = func(k lab.Kept) error {
		kept := render.Kept(k)
		if in.format == "json" {
			document.Kept, told = &kept, true
			return render.LabJSON(in.out, document)
		}
		return render.LabKept(in.out, kept, in.style)
	}
	ok, err := lab.Walk(ctx, config, func(s lab.Step) error {
		document.Steps = append(document.Steps, render.Step(s))
		if in.format == "json" {
			return nil
		}
		return render.LabStep(in.out, render.Step(s), in.style)
	})
	if in.format == "json" && !told && len(document.Steps) > 0 {
		if werr := render.LabJSON(in.out, document); werr != nil {
			return 0, werr
		}
	}
	var interrupted *lab.Interrupted
	switch {
	case errors.As(err, &interrupted) && !errors.Is(err, lab.ErrLeft):
		return interrupted.ExitStatus(), nil
	case err != nil:
		return 0, hinted(err)
	case !ok:
		return statusFound, nil
	}
	return statusOK, nil
}

// hintedError is an error that knows what to do next.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Unwrap() error { return e.error }

// hinted gives an error that knows what to do next its hint.
func hinted(err error) error {
	var e interface{ Hint() string }
	if errors.As(err, &e) && e.Hint() != "" {
		return hintedError{err, e.Hint()}
	}
	return err
}
