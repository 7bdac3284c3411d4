package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// farm is a host to measure on: N idle processes in K cgroup namespaces.
type farm struct {
	N, K int
	// Stale lets all share one mount namespace, whose cgroup mounts are stale for
	// them; else each cgroup namespace has its own, with fresh mounts.
	Stale bool
}

// job is what is done on a farm.
type job struct {
	Farm farm
	Runs int
	Tool string
	// Command, if there is one, runs there instead of the measurement.
	Command []string
	// Cgroups is the name under which the farm makes its cgroups.
	Cgroups string
}

// do makes the farm in a PID and mount namespace of its own, so that only it is
// scanned, and all of it ends with the namespace's first process.
func (j job) do(ctx context.Context) (m *measured, err error) {
	j.Cgroups = fmt.Sprintf("nsinspect-bench-%d", os.Getpid())
	defer func() { err = errors.Join(err, removeCgroups(j.Cgroups)) }()
	cmd, err := myself(ctx, "host", j)
	if err != nil {
		return nil, err
	}
	// In a process group of its own it gets no Ctrl-C; cancelling kills it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if len(j.Command) > 0 {
		cmd.Stdout = os.Stdout
	}
	runtime.LockOSThread() // the parent that Pdeathsig watches is a thread
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the farm of %d processes: %w", j.Farm.N, err)
	}
	if len(j.Command) > 0 {
		return nil, nil
	}
	return m, json.Unmarshal(out.Bytes(), &m)
}

// myself is this program at another stage.
func myself(ctx context.Context, stage string, argument any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(argument)
	return exec.CommandContext(ctx, self, stage, string(text)), err
}

// hostStage is the first process of the PID namespace.
func hostStage(argument string) error {
	var j job
	if err := json.Unmarshal([]byte(argument), &j); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := j.populate(); err != nil {
		return err
	}
	if len(j.Command) > 0 {
		cmd := exec.Command(j.Command[0], j.Command[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	}
	m, err := j.measure()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// populate starts the farm's processes.
func (j job) populate() error {
	for i := range j.Farm.K {
		h := household{Cgroup: fmt.Sprintf("%s/%d", j.Cgroups, i), Members: j.Farm.N / j.Farm.K, Stale: j.Farm.Stale}
		if i < j.Farm.N%j.Farm.K {
			h.Members++
		}
		if err := h.start(); err != nil {
			return fmt.Errorf("namespace %d: %w", i, err)
		}
	}
	time.Sleep(grown)
	return nil
}

// grown is the age from which a process is none that is just being started, for
// which doctor would wait.
const grown = 2500 * time.Millisecond

// household is one cgroup namespace and who lives in it.
type household struct {
	Cgroup  string
	Members int
	Stale   bool
}

// start waits until all its members run.
func (h household) start() error {
	cmd, err := myself(context.Background(), "leader", h)
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if line != "ready\n" {
		return errors.New("it did not start")
	}
	return nil
}

// leaderStage puts itself into its cgroups, makes the namespaces, mounts what
// belongs there, and becomes one of the sleepers that it starts.
func leaderStage(argument string) error {
	runtime.LockOSThread()
	var h household
	if err := json.Unmarshal([]byte(argument), &h); err != nil {
		return err
	}
	if err := h.settle(); err != nil {
		return err
	}
	sleeper, argv, err := sleepCommand()
	if err != nil {
		return err
	}
	for range h.Members - 1 {
		// Started from this thread, so in its namespaces.
		if _, err := syscall.ForkExec(sleeper, argv, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{}}); err != nil {
			return fmt.Errorf("start a sleeper: %w", err)
		}
	}
	fmt.Println("ready")
	return syscall.Exec(sleeper, argv, nil)
}

// settle makes the namespaces of this thread.
func (h household) settle() error {
	for _, c := range small() {
		if err := c.join(h.Cgroup); err != nil {
			return err
		}
	}
	if h.Stale {
		return unix.Unshare(unix.CLONE_NEWCGROUP)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, c := range mounted() {
		if err := c.mountAfresh(); err != nil {
			return err
		}
	}
	return nil
}

// sleepCommand prefers the smaller program.
func sleepCommand() (string, []string, error) {
	if path, err := exec.LookPath("busybox"); err == nil {
		return path, []string{"busybox", "sleep", "100000"}, nil
	}
	path, err := exec.LookPath("sleep")
	return path, []string{"sleep", "100000"}, err
}
