package main

import (
	"errors"
	"flag"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// update writes what the commands print into the scripts, to be read before it
// is committed: go test -run TestScript . -update
var update = flag.Bool("update", false, "write golden output into testdata/script")

// TestMain makes the test binary nsinspect itself where a script runs that.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nsinspect": main})
}

// TestScript runs the commands end to end on recorded proc trees ($PROC), with
// output and exit status as the scripts in testdata/script have them. It needs
// no privilege and nothing of the host that it runs on.
func TestScript(t *testing.T) {
	trees, err := filepath.Abs("testdata/proc")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PROC", trees)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status is "status N COMMAND...": the command has to end with just this exit
// status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
