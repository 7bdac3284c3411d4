package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the first process in the namespaces may fail at, for the error's text.
const (
	triedExec    = "run"
	triedPrivate = "make the mount namespace private"
	triedProc    = "mount /proc"
)

// runMain is the first process in the namespaces of a run. It reports their
// inodes, waits to be let go, and executes the command: in its own place, or,
// as PID 1 of a namespace, as its child.
func runMain(args, env []string, orders, reports *os.File) int {
	var spec runSpec
	if len(args) < 3 || json.Unmarshal([]byte(args[0]), &spec) != nil {
		return 2
	}
	spec.Path, spec.Argv = args[1], args[2:]
	// The command inherits neither pipe; an exec closes reports, which tells
	// the lab that it went well.
	unix.CloseOnExec(fdOrders)
	unix.CloseOnExec(fdReports)
	r := runReport{Namespaces: readNamespaces(spec.Proc + "/self")}
	r.fail(setUpMounts(spec))
	if send(reports, r) != nil || r.Tried != "" {
		return 2
	}
	var one [1]byte
	if n, _ := orders.Read(one[:]); n != 1 {
		return exitGone
	}
	if one[0] != orderGo {
		return 128 + int(one[0]) // a signal was faster than the command
	}
	if spec.Flags&unix.CLONE_NEWPID != 0 {
		return initMain(spec, env, orders, reports)
	}
	err := syscall.Exec(spec.Path, spec.Argv, env)
	r.fail(triedExec, spec.Path, err)
	send(reports, r)
	return 2
}

func (r *runReport) fail(tried, on string, err error) {
	if err != nil {
		r.Tried, r.On, r.Error = tried, on, err.Error()
		errors.As(err, &r.Errno)
	}
}

// setUpMounts cuts a new mount namespace off, and gives a new PID namespace the
// /proc that shows it.
func setUpMounts(spec runSpec) (tried, on string, err error) {
	if spec.Flags&unix.CLONE_NEWNS == 0 {
		return "", "", nil
	}
	if err := private(); err != nil {
		return triedPrivate, "", err
	}
	if spec.Flags&unix.CLONE_NEWPID == 0 {
		return "", "", nil
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return triedProc, "", fmt.Errorf("mount: %w", err)
	}
	return "", "", nil
}

// initMain is PID 1 of a namespace: it starts the command, passes on the
// signals that the lab sends over orders, reaps every orphan, and ends with the
// command or with the lab. The kernel then kills whatever is left.
func initMain(spec runSpec, env []string, orders, reports *os.File) int {
	// Caught, and dropped: what concerns the command comes over orders, and a
	// Ctrl-C has reached it already. Caught rather than ignored, since a
	// process inherits what is ignored.
	dropped := make(chan os.Signal, 1)
	for s := syscall.Signal(1); s < 32; s++ {
		if s != unix.SIGCHLD && !signal.Ignored(s) {
			signal.Notify(dropped, s)
		}
	}
	how := &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}}
	if spec.Job {
		how.Sys = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	}
	pid, err := syscall.ForkExec(spec.Path, spec.Argv, how)
	if err != nil {
		var r runReport
		r.fail(triedExec, spec.Path, err)
		send(reports, r)
		return 2
	}
	stopped := func() { continueApart(pid) }
	if spec.Job {
		signal.Ignore(unix.SIGTTOU) // to give the terminal away from the background
		send(reports, runReport{})
		stopped = func() { send(reports, runReport{Stopped: true, InFront: inFront()}) }
	} else {
		reports.Close()
	}
	status := make(chan int, 2) // of the command or the lab, whichever ends first
	go func() { status <- reap(pid, stopped) }()
	go func() {
		obeySignals(pid, orders)
		status <- exitGone
	}()
	return <-status
}

// obeySignals passes signals on until orders end.
func obeySignals(pid int, orders *os.File) {
	var one [1]byte
	for {
		if n, _ := orders.Read(one[:]); n != 1 {
			return
		}
		switch order := one[0]; order {
		case orderFront, byte(unix.SIGCONT):
			resume(pid, order == orderFront)
		default:
			unix.Kill(pid, syscall.Signal(order))
		}
	}
}

// inFront tells whether a process group of this PID namespace has the terminal;
// one from outside has no number here.
func inFront() bool {
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && group > 0
}

// resume continues the command and its whole process group.
func resume(pid int, inFront bool) {
	group, err := unix.Getpgid(pid)
	if err != nil || group <= 1 { // it has ended; and kill(-1) is for all
		return
	}
	if inFront {
		unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, group)
	}
	unix.Kill(-group, unix.SIGCONT)
}

// reap waits for every child until the command itself has ended, and tells when
// that was stopped.
func reap(command int, stopped func()) int {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return exitGone
		case ws.Stopped():
			if pid == command {
				stopped()
			}
		case pid != command:
		case ws.Signaled():
			return 128 + int(ws.Signal())
		default:
			return ws.ExitStatus()
		}
	}
}
