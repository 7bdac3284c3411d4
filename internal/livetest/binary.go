package livetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Binary is the static binary, built once for a run of the tests. It is an open
// file without a name, so nothing is left of it when the run ends; processes in
// another mount namespace can execute it too, as long as they see this procfs.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nsinspect-test-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "nsinspect")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-o", path, "nsinspect")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	kept, err = os.Open(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), kept.Fd()), nil
})

// kept keeps the file open until the tests end.
var kept *os.File

// CopyBinary puts the binary into a directory, for users and containers that
// cannot reach Binary.
func CopyBinary(t testing.TB, dir string) string {
	t.Helper()
	in, err := os.Open(Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(dir, "nsinspect")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// Result is what a program did.
type Result struct {
	Stdout, Stderr string
	Status         int
}

// Run runs nsinspect on the host.
func Run(t testing.TB, args ...string) Result {
	t.Helper()
	return Execute(t, append([]string{Binary(t)}, args...)...)
}

// patience is how long any program may take.
const patience = time.Minute

// Execute runs a program to its end; only one that cannot be started, is killed
// or does not end fails the test.
func Execute(t testing.TB, argv ...string) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, patience
	timer := time.AfterFunc(patience, func() { _ = cmd.Cancel() })
	defer timer.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Fatalf("%q: %v\n%s%s", argv, err, stdout.String(), stderr.String())
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Output runs a program that has to succeed and returns what it prints.
func Output(t testing.TB, argv ...string) string {
	t.Helper()
	r := Execute(t, argv...)
	if r.Status != 0 {
		t.Fatalf("%q: exit status %d\n%s%s", argv, r.Status, r.Stdout, r.Stderr)
	}
	return r.Stdout
}
