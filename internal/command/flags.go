package command

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// A command has its own flags first, and then those of these that it heeds: the
// others are refused.

func formatFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, wide (all rows, nothing shortened) or json"},
		toggle("json", "the same as -o json", "J"),
	}
}

func tableFlags() []cli.Flag {
	return append(formatFlags(),
		toggle("no-headers", "tables alone, without column names and titles"),
		&cli.StringFlag{Name: "color", Value: "auto", Usage: "`WHEN`: auto, always or never"},
	)
}

func readFlags() []cli.Flag {
	return []cli.Flag{
		toggle("strict", "exit with status 2 if something could not be looked at"),
		procFlag(),
		&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "read with `N` threads", DefaultText: "one for each processor"},
	}
}

// fromFlag is understood by the commands that can answer from a capture.
func fromFlag() cli.Flag {
	return &cli.StringFlag{Name: "from", Usage: "answer from the capture in `FILE` (-: standard input) and not from this host"}
}

func procFlag() cli.Flag {
	return &cli.StringFlag{Name: "proc", Usage: "read the procfs at `DIR`", DefaultText: "$NSINSPECT_PROC, else /proc"}
}

func threadsFlag() cli.Flag {
	return toggle("threads", "look at every thread, not only at the leaders")
}

// reportFlags are those of the commands that answer from a procfs or a capture.
func reportFlags(own ...cli.Flag) []cli.Flag {
	return slices.Concat(own, tableFlags(), []cli.Flag{fromFlag()}, readFlags())
}

// toggle is a flag without a value.
func toggle(name, usage string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage, DisableDefaultText: true}
}

// takes tells whether the command of c has a flag.
func takes(c *cli.Context, name string) bool { return has(c.Command.Flags, name) }

func has(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}
