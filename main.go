// Nsinspect inspects and diagnoses cgroup namespaces: see README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"nsinspect/internal/command"
)

// version is set by the Makefile.
var version = "devel"

func main() {
	if handled, exit := command.Child(os.Args, os.Environ()); handled {
		os.Exit(exit)
	}
	// A closed pipe is an error of write(2), not the end of the process. Notify
	// and not Ignore, since an ignored signal stays so in what is executed.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(command.Run(context.Background(), command.Process{
		Args: os.Args, Env: os.LookupEnv, Environ: os.Environ(), Version: version,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}
