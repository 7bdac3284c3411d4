package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
)

// helperArgument makes the test binary a program that uses the package, as
// nsinspect does, so that tests can kill it.
const helperArgument = "lab-test-helper"

func TestMain(m *testing.M) {
	if handled, exit := ChildMain(os.Args, os.Environ()); handled {
		os.Exit(exit)
	}
	if len(os.Args) > 2 && os.Args[1] == helperArgument {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// helper is "walk HIERARCHY PREFIX STEP SIGNAL", which sends itself a signal
// after a step (0: when it is kept; -1: never), or "run ONLY COMMAND…".
func helper(what string, args []string) int {
	if what == "run" {
		var only []string
		if args[0] != "" {
			only = []string{args[0]}
		}
		exit, err := Run(context.Background(), RunConfig{
			Only: only, Command: args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			var e *Error
			if errors.As(err, &e) {
				fmt.Fprintln(os.Stderr, "hint:", e.Hint())
			}
		}
		return exit
	}
	step, _ := strconv.Atoi(args[2])
	sig, _ := strconv.Atoi(args[3])
	out := json.NewEncoder(os.Stdout)
	interrupt := func(at int) {
		if at == step {
			syscall.Kill(os.Getpid(), syscall.Signal(sig))
			time.Sleep(20 * time.Millisecond) // the walk's goroutine takes it
		}
	}
	c := WalkConfig{Hierarchy: args[0], prefix: args[1], Keep: step == 0}
	c.Kept = func(k Kept) error {
		err := out.Encode(k)
		interrupt(0)
		return err
	}
	ok, err := Walk(context.Background(), c, func(s Step) error {
		if err := out.Encode(s); err != nil {
			return err
		}
		interrupt(s.Number)
		return nil
	})
	var i *Interrupted
	switch {
	case errors.As(err, &i) && errors.Is(err, ErrLeft):
		return 99
	case errors.As(err, &i):
		return i.ExitStatus()
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	case !ok:
		return 1
	}
	return 0
}

// skip skips a live test with a reason, or fails where live tests are required.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("NSINSPECT_LIVE") == "require" {
		t.Fatalf("required, but: %s", reason)
	}
	t.Skip(reason)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "not root")
	}
	if err := allowed(); err != nil {
		skip(t, err.Error())
	}
}

func needHierarchy(t *testing.T, label string) *hierarchy {
	t.Helper()
	needRoot(t)
	s, err := readSystem("/proc")
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.find(label)
	if err != nil {
		skip(t, err.Error())
	}
	if err := unix.Access(h.mount.MountPoint, unix.W_OK); err != nil {
		skip(t, h.mount.MountPoint+": "+err.Error())
	}
	return h
}

// needUserNamespaces skips where an ordinary user may not make them.
func needUserNamespaces(t *testing.T) {
	t.Helper()
	needRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Cloneflags: unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 65534, HostID: 65534, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 65534, HostID: 65534, Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		skip(t, "no user namespaces: "+err.Error())
	}
}

// prefixOf gives a test cgroup names that no other lab sweeps or uses.
func prefixOf(t *testing.T) string {
	t.Helper()
	name := strings.NewReplacer("/", "-", "=", "-", ",", "-").Replace(t.Name())
	return fmt.Sprintf("nsinspect-test-%d-%s-", os.Getpid(), name)
}

// unchanged makes the end of a test check that the mounts of the host are as
// they were, byte for byte, and that no cgroup of the test's is left anywhere.
func unchanged(t *testing.T, prefix string) {
	t.Helper()
	before := hostState(t, prefix)
	t.Cleanup(func() {
		if after := hostState(t, prefix); after != before {
			t.Errorf("the host has changed from\n%s\nto\n%s", before, after)
		}
	})
}

func hostState(t *testing.T, prefix string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(mounts) + strings.Join(cgroupsNamed(t, prefix), "\n")
}

// cgroupsNamed lists the test's cgroups in every hierarchy.
func cgroupsNamed(t *testing.T, prefix string) (found []string) {
	t.Helper()
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := inspect.ParseMountInfo(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range table.Cgroup {
		filepath.WalkDir(m.MountPoint, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.Contains(path, prefix) {
				found = append(found, path)
			}
			return nil
		})
	}
	return found
}

// walkHelper starts the test binary as a lab.
func walkHelper(t *testing.T, label, prefix string, step int, sig syscall.Signal) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", helperArgument, "walk", label, prefix, strconv.Itoa(step), strconv.Itoa(int(sig)))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// waitGone waits until processes that nobody here can wait for have ended.
func waitGone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		for deadline := time.Now().Add(5 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
			if state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(state), ") Z ") {
				break // dead, and only init has not reaped it yet
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d outlives its lab", pid)
			}
		}
	}
}
