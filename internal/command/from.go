package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"nsinspect/inspect"
	"nsinspect/render"
)

// openCapture opens the capture that --from names, and says that the answers
// are not of this host.
func (r *runner) openCapture(c *cli.Context) (*inspect.FS, error) {
	fs, err := r.readCapture(c)
	if err != nil {
		return nil, err
	}
	if from, ok := fs.Origin(); ok {
		r.say("this is a capture" + origin(from) + ", not the live host")
	}
	return fs, nil
}

// origin says of which host and when, as far as the capture tells.
func origin(from inspect.Origin) string {
	text := ""
	if from.Host != "" {
		text += " of " + from.Host
	}
	if from.Kernel != "" {
		text += ", Linux " + from.Kernel
	}
	if from.Made.Unix() <= 0 {
		return text + ", of a time that it does not tell"
	}
	return text + ", made " + from.Made.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (r *runner) readCapture(c *cli.Context) (*inspect.FS, error) {
	name := c.String("from")
	switch {
	case c.IsSet("proc"):
		return nil, usageError("--from and --proc: it is one or the other")
	case name == "":
		return nil, usageError("--from: which file?")
	case name != "-":
		return inspect.OpenCapture(name, c.Int("jobs"))
	}
	if file, ok := r.process.Stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, usageError("--from -: standard input is a terminal")
	}
	return inspect.ReadCapture(r.process.Stdin, "from standard input", c.Int("jobs"))
}

// source are the flags with which another command reads the same.
func (in *invocation) source() []string {
	for _, flag := range []string{"from", "proc"} {
		if value := in.flags.String(flag); value != "" {
			return []string{"--" + flag, value}
		}
	}
	return nil
}

// next is a command to paste that reads the same as this one.
func (in *invocation) next(words ...string) string {
	return render.Shell(slices.Concat([]string{"nsinspect"}, words, in.source()))
}

// orAbsent tells a process that a capture was not made for from one that was not
// there.
func orAbsent(run action) action {
	return func(ctx context.Context, in *invocation) (int, error) {
		status, err := run(ctx, in)
		pids, some := in.fs.Captured()
		if !some || !errors.Is(err, inspect.ErrNoProcess) {
			return status, err
		}
		process, _ := strings.CutSuffix(err.Error(), ": "+inspect.ErrNoProcess.Error())
		return status, fmt.Errorf("%s is not in this capture, which has only %s and what it takes to judge that", process, processes(pids))
	}
}

// captured are the processes that a capture was made for, where that is not all,
// and says so.
func (in *invocation) captured() []int {
	pids, some := in.fs.Captured()
	if some {
		in.say(fmt.Sprintf("this capture was made for %s: it has these processes and what their verdicts need", processes(pids)))
	}
	return pids
}

// processes names process IDs.
func processes(pids []int) string {
	text := "process "
	for i, pid := range pids {
		if i > 0 {
			text += ", "
		}
		text += strconv.Itoa(pid)
	}
	return text
}
