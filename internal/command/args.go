package command

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// usage is the error of a command line that cannot be understood.
type usage struct{ error }

func usageError(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// withHelp says where the help is for whom a command line was not understood.
func withHelp(err error, command *cli.Command) error {
	var of usage
	switch {
	case !errors.As(err, &of):
		return err
	case command == nil:
		return fmt.Errorf("%w; see 'nsinspect --help'", err)
	}
	return fmt.Errorf("%w; see 'nsinspect %s --help'", err, command.Name)
}

// longFlag is how the library names a flag, whatever was typed.
var longFlag = regexp.MustCompile(` -([a-z][a-z-]+:)`)

// libraryError is a message of the library's, as ours are.
func libraryError(err error) error {
	text := longFlag.ReplaceAllString(err.Error(), " --$1")
	return usageError("%s", strings.ToLower(text[:1])+text[1:])
}

// arrange puts a command line into the order that the library takes: the
// command, its flags, "--", its operands. By itself the library takes a flag
// behind an operand for an operand, silently.
func arrange(app *cli.App, args []string) (arranged []string, command *cli.Command, err error) {
	var flags, operands, typed []string
	takesValue := values(everyFlag(app))
	rest := args[1:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			operands = append(operands, rest...)
			rest = nil
		case arg == "help" && command == nil:
			flags = append(flags, "--help")
		case arg == "--version":
			return []string{args[0], arg}, nil, nil // whatever else is asked for
		case !isFlag(arg) && command == nil:
			if command = app.Command(arg); command == nil {
				return nil, nil, usageError("unknown command %q", arg)
			}
			takesValue = values(command.Flags)
		case !isFlag(arg):
			operands = append(operands, arg)
			if command.Name == "lab" && len(operands) == 2 && operands[0] == "run" {
				operands = append(operands, rest...) // the command's own flags
				rest = nil
			}
		default:
			taken, left, err := takeFlag(arg, rest, takesValue)
			if err != nil {
				return nil, command, err
			}
			flags, typed, rest = append(flags, taken...), append(typed, arg), left
		}
	}
	if err := known(app, command, typed); err != nil {
		return nil, command, err
	}
	switch {
	case command == nil:
		return append([]string{args[0]}, withoutCommand(flags)...), nil, nil
	case slices.ContainsFunc(typed, isHelp):
		return []string{args[0], command.Name, "--help"}, command, nil // whatever else is asked for
	}
	out := append([]string{args[0], command.Name}, flags...)
	return append(append(out, "--"), operands...), command, nil
}

// takeFlag takes a flag, and its value where that is a word of its own.
func takeFlag(arg string, rest []string, takesValue map[string]bool) (taken, left []string, err error) {
	name, hasValue := flagName(arg)
	switch {
	case !takesValue[name] || hasValue:
		return []string{arg}, rest, nil
	case len(rest) == 0:
		return nil, nil, usageError("%s: which value?", arg)
	}
	return []string{arg, rest[0]}, rest[1:], nil
}

// known refuses flags that the command does not heed.
func known(app *cli.App, command *cli.Command, typed []string) error {
	for _, arg := range typed {
		name, _ := flagName(arg)
		typed, _, _ := strings.Cut(arg, "=")
		switch {
		case isHelp(arg):
		case command == nil && (name == "version" || name == "v"):
		case command != nil && has(command.Flags, name):
		case !has(everyFlag(app), name):
			return usageError("unknown flag %s", typed)
		case command == nil:
			return usageError("%s: of which command?", typed)
		default:
			return usageError("%s does not take %s", command.Name, typed)
		}
	}
	return nil
}

// everyFlag are the flags of all commands.
func everyFlag(app *cli.App) []cli.Flag {
	var all []cli.Flag
	for _, c := range app.Commands {
		all = append(all, c.Flags...)
	}
	return all
}

func isHelp(arg string) bool {
	name, _ := flagName(arg)
	return name == "help" || name == "h"
}

func flagName(arg string) (name string, hasValue bool) {
	name, _, hasValue = strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name, hasValue
}

// isFlag tells flags from operands: "-1" is a number that somebody took for a
// process ID.
func isFlag(arg string) bool {
	if len(arg) < 2 || arg[0] != '-' {
		return false
	}
	_, err := strconv.Atoi(arg)
	return err != nil
}

// commaList splits "a,b"; blanks around the commas do not count.
func commaList(s string) []string {
	var list []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func values(flags []cli.Flag) map[string]bool {
	takes := map[string]bool{}
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() {
			for _, name := range f.Names() {
				takes[name] = true
			}
		}
	}
	return takes
}

// withoutCommand leaves what the tool takes without a command; --help if that
// is nothing.
func withoutCommand(flags []string) []string {
	if len(flags) == 0 {
		return []string{"--help"}
	}
	return flags
}

// pid reads an operand as a process ID; "self" is the reader.
func (in *invocation) pid(operand string) (int, error) {
	if operand == "self" {
		if in.fs.Reader.PID == 0 {
			return 0, usageError("self: this procfs does not show the reader")
		}
		return in.fs.Reader.PID, nil
	}
	pid, err := strconv.ParseInt(operand, 10, 32)
	if err != nil || pid <= 0 || operand[0] == '+' {
		return 0, usageError("%q is not a process ID: it is a positive number, or self", operand)
	}
	return int(pid), nil
}

// operands are at most so many (most < 0: any number).
func (in *invocation) operands(most int) ([]string, error) {
	operands := in.flags.Args().Slice()
	name := in.flags.Command.Name
	switch {
	case most < 0 || len(operands) <= most:
		return operands, nil
	case most == 0:
		return nil, usageError("%s takes no operand, but got %q", name, operands[0])
	}
	return nil, usageError("%s takes %d operand, but got %q too", name, most, operands[most])
}

// pids reads operands as process IDs, at least and at most so many (most < 0:
// any number). One that is given twice counts once.
func (in *invocation) pids(least, most int) ([]int, error) {
	operands, err := in.operands(most)
	if err != nil {
		return nil, err
	}
	if len(operands) < least {
		return nil, usageError("%s: which process? give its ID", in.flags.Command.Name)
	}
	var list []int
	for _, o := range operands {
		pid, err := in.pid(o)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, pid) {
			list = append(list, pid)
		}
	}
	return list, nil
}
