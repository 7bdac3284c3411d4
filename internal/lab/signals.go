package lab

import (
	"context"
	"os"
	"os/signal"
	"syscall"

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
	if (s == unix.SIGINT || s == unix.SIGQUIT) && r.tty.foreground() {
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

// restore takes the foreground back if the command, as a shell does, gave it to
// a process group of its own and cannot give it back: a PID namespace has no
// number for a group outside.
func (t terminal) restore() {
	if t.group == 0 || t.foreground() {
		return
	}
	// The kernel stops a background process that does this, unless it ignores it.
	signal.Ignore(unix.SIGTTOU)
	unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.group)
	signal.Reset(unix.SIGTTOU)
}
