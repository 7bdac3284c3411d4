package command

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"nsinspect/compare"
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

// The library's messages: how it names a flag, whatever was typed, and what it
// says of a value that it cannot read.
var (
	longFlag = regexp.MustCompile(` -([a-z][a-z-]+:)`)
	badValue = regexp.MustCompile(`(?s)^invalid (boolean )?value (".*") for (?:flag )?(--?[a-z-]+): `)
)

// libraryError is a message of the library's, as ours are.
func libraryError(err error) error {
	if m := badValue.FindStringSubmatch(longFlag.ReplaceAllString(err.Error(), " --$1")); m != nil {
		kind := "it is a number"
		if m[1] != "" {
			kind = "it takes no value"
		}
		return usageError("%s %s: %s", m[3], m[2], kind)
	}
	text := longFlag.ReplaceAllString(err.Error(), " --$1")
	return usageError("%s", strings.ToLower(text[:1])+text[1:])
}

// arrange puts a command line into the order that the library takes: the
// command, its flags, "--", its operands. By itself the library takes a flag
// behind an operand for an operand, silently.
func arrange(app *cli.App, args []string) (arranged []string, command *cli.Command, err error) {
	l := &line{app: app}
	for rest := args[min(1, len(args)):]; len(rest) > 0; {
		if rest, err = l.take(rest[0], rest[1:]); err != nil {
			return nil, l.command, err
		}
	}
	words, err := l.arranged()
	return append([]string{app.Name}, words...), l.command, err
}

// line is a command line that is read word by word.
type line struct {
	app      *cli.App
	command  *cli.Command // nil until it is named
	typed    []string     // the flags, and a value behind "="
	flags    []string     // the same, and values that are words of their own
	operands []string
}

// take takes a word, and what belongs to it, and returns the rest.
func (l *line) take(word string, rest []string) ([]string, error) {
	switch {
	case word == "--":
		l.operands = append(l.operands, rest...)
		return nil, nil
	case isFlag(word):
		return l.takeFlag(word, rest)
	case l.command != nil:
		l.operands = append(l.operands, word)
		if l.command.Name == "lab" && len(l.operands) == 2 && l.operands[0] == "run" {
			l.operands = append(l.operands, rest...) // flags of the lab's own command, too
			return nil, nil
		}
	case word == "help":
		return l.takeFlag("--help", rest)
	default:
		if l.command = l.app.Command(word); l.command == nil {
			return nil, unknownCommand(l.app, word)
		}
	}
	return rest, nil
}

// unknownCommand says which command may have been meant.
func unknownCommand(app *cli.App, word string) error {
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Name)
	}
	if near := compare.Near(word, names); near != "" {
		return usageError("unknown command %q, perhaps %s", word, near)
	}
	return usageError("unknown command %q", word)
}

// takeFlag takes a flag, and its value where that is a word of its own.
func (l *line) takeFlag(word string, rest []string) ([]string, error) {
	l.typed, l.flags = append(l.typed, word), append(l.flags, word)
	name, hasValue := flagName(word)
	switch {
	case hasValue || !takesValue(l.heeded(), name):
		return rest, nil
	case len(rest) == 0:
		return nil, usageError("%s: which value?", word)
	}
	l.flags = append(l.flags, rest[0])
	return rest[1:], nil
}

// arranged is the line in the library's order.
func (l *line) arranged() ([]string, error) {
	if l.asksFor("version") {
		return []string{"--version"}, nil // whatever else is asked for
	}
	if err := l.known(); err != nil {
		return nil, err
	}
	switch {
	case l.command == nil && len(l.typed) == 0:
		return []string{"--help"}, nil
	case l.command == nil:
		return l.flags, nil
	case l.asksFor("help", "h"):
		return []string{l.command.Name, "--help"}, nil
	}
	return slices.Concat([]string{l.command.Name}, l.flags, []string{"--"}, l.operands), nil
}

// known refuses flags that the command does not heed.
func (l *line) known() error {
	for _, word := range l.typed {
		name, _ := flagName(word)
		typed, _, _ := strings.Cut(word, "=")
		switch {
		case name == "help" || name == "h" || l.command == nil && name == "v":
		case l.command != nil && has(l.command.Flags, name):
		case !has(everyFlag(l.app), name):
			return usageError("unknown flag %s", typed)
		case l.command == nil:
			return usageError("%s: of which command?", typed)
		default:
			return usageError("%s does not take %s", l.command.Name, typed)
		}
	}
	return nil
}

// heeded are the flags that may stand where the line is read: before the command
// those of all.
func (l *line) heeded() []cli.Flag {
	if l.command == nil {
		return everyFlag(l.app)
	}
	return l.command.Flags
}

func (l *line) asksFor(names ...string) bool {
	return slices.ContainsFunc(l.typed, func(word string) bool {
		name, _ := flagName(word)
		return slices.Contains(names, name)
	})
}

// everyFlag are the flags of all commands.
func everyFlag(app *cli.App) []cli.Flag {
	var all []cli.Flag
	for _, c := range app.Commands {
		all = append(all, c.Flags...)
	}
	return all
}

func takesValue(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool {
		d, ok := f.(cli.DocGenerationFlag)
		return ok && d.TakesValue() && slices.Contains(f.Names(), name)
	})
}

func flagName(word string) (name string, hasValue bool) {
	name, _, hasValue = strings.Cut(strings.TrimLeft(word, "-"), "=")
	return name, hasValue
}

// isFlag tells flags from operands: "-1" is a number that somebody took for a
// process ID.
func isFlag(word string) bool {
	if len(word) < 2 || word[0] != '-' {
		return false
	}
	_, err := strconv.Atoi(word)
	return err != nil
}
