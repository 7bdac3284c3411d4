package lab

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passSignals passes signals on to the command until stop is called.
func (r *runner) passSignals(ctx context.Context) (stop func()) {
	caught := make(chan os.Signal, 8)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-caught:
				r.pass(s.(syscall.Signal))
			case <-ctx.Done():
				r.cmd.Process.Kill()
				return
			case <-ended:
				return
			}
		}
	}()
	return func() {
		signal.Stop(caught)
		close(ended)
	}
}

// pass sends one signal to the command: through the init of a PID namespace if
// there is one, for only init knows the command's PID. A Ctrl-C or Ctrl-\ in
// the foreground was sent to the whole process group, the command included.
func (r *runner) pass(s syscall.Signal) {
	if (s == unix.SIGINT || s == unix.SIGQUIT) && !r.job && r.tty.foreground() {
		return
	}
	if r.flags&unix.CLONE_NEWPID != 0 {
		r.pipes.orders.Write([]byte{byte(s)})
		return
	}
	r.cmd.Process.Signal(s) // by pidfd: harmless once the process was reaped
}

// terminal is the terminal that the command was given, or none.
type terminal struct {
	fd    int
	group int // this process's group if it had the foreground at first, else 0
}

func openTerminal(in *os.File) terminal {
	t := terminal{fd: -1}
	if in == nil {
		return t
	}
	group, err := unix.IoctlGetInt(int(in.Fd()), unix.TIOCGPGRP)
	if err != nil {
		return t // no terminal, or not the one that controls this session
	}
	t.fd = int(in.Fd())
	if group == unix.Getpgrp() {
		t.group = group
	}
	return t
}

// foreground tells whether what is typed now goes to this process's group.
func (t terminal) foreground() bool {
	if t.fd < 0 {
		return false
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// take takes the foreground. The kernel stops a background process that does
// this, unless it ignores it.
func (t terminal) take() {
	signal.Ignore(unix.SIGTTOU)
	unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.group)
	signal.Reset(unix.SIGTTOU)
}

// restore takes the foreground back if nobody has it any more: the command had
// given it to a process group of its own, as a shell does, and did not, or
// could not, give it back.
func (t terminal) restore() {
	if t.group == 0 {
		return
	}
	front, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err == nil && unix.Kill(-front, 0) == unix.ESRCH {
		t.take()
	}
}

// stopTime is how long it may take until a process that was sent SIGTSTP stops.
// One that nobody could continue does not (an orphaned process group).
const stopTime = time.Second

// followStops stops and goes on with a command that is a job.
func (r *runner) followStops() {
	for {
		var got runReport
		if r.in.Decode(&got) != nil {
			return
		}
		if got.InFront || !r.tty.foreground() {
			r.suspend(got.InFront)
		}
		order := byte(unix.SIGCONT)
		if r.tty.foreground() {
			order = orderFront
		}
		r.pipes.orders.Write([]byte{order}) // fails only if the process is gone
	}
}

// suspend stops this process's group until somebody continues it.
func (r *runner) suspend(inFront bool) {
	if inFront {
		r.tty.take() // whoever waits for this process then has it to give
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	unix.Kill(0, unix.SIGTSTP)
	select {
	case <-continued:
	case <-time.After(stopTime):
	}
}
