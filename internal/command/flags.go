package command

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// A command has its own flags first, and common ones last. Of the others it has
// those that it heeds; the rest is refused.

// commonFlags are those of every command.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, wide (all rows, nothing shortened) or json"},
		toggle("json", "the same as -o json", "J"),
		toggle("no-headers", "tables and findings alone, without column names and titles"),
		&cli.StringFlag{Name: "color", Value: "auto", Usage: "`WHEN`: auto, always or never"},
		&cli.StringFlag{Name: "proc", Usage: "read the procfs at `DIR`", DefaultText: "$NSINSPECT_PROC, else /proc"},
		&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "read with `N` threads", DefaultText: "one for each processor"},
	}
}

func strictFlag() cli.Flag {
	return toggle("strict", "exit with status 2 if something could not be looked at")
}

// fromFlag is understood by the commands that can answer from a capture.
func fromFlag() cli.Flag {
	return &cli.StringFlag{Name: "from", Usage: "answer from the capture in `FILE` (-: standard input) and not from this host"}
}

func threadsFlag() cli.Flag {
	return toggle("threads", "look at every thread, not only at the leaders")
}

// flags are those of a command, with its own.
func flags(own ...cli.Flag) []cli.Flag { return append(own, commonFlags()...) }

// reportFlags are those of the commands that answer from a procfs or a capture.
func reportFlags(own ...cli.Flag) []cli.Flag {
	return flags(append(own, fromFlag(), strictFlag())...)
}

// toggle is a flag without a value.
func toggle(name, usage string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage, DisableDefaultText: true}
}

func has(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}
