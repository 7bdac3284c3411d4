package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// RunConfig says what to run, and in which namespaces.
type RunConfig struct {
	// Only are the kinds of namespaces to make, see Namespaces; each element may
	// be a list with commas. Empty means all of them.
	Only []string
	// Command is the program and its arguments; the program is looked up in
	// Env's PATH. Empty means sh.
	Command []string
	// Env is the command's environment, as os.Environ returns it.
	Env []string
	// Stdin, Stdout and Stderr are the command's; nil means /dev/null. Before
	// the command starts, Stderr is told each namespace's inode.
	Stdin, Stdout, Stderr *os.File
	// Proc is where procfs is mounted; empty means /proc.
	Proc string
}

// runSpec is what the process in the new namespaces is told.
type runSpec struct {
	Flags uintptr
	Proc  string
	// Job: the command gets a process group of its own, in the foreground.
	Job bool
	// The program's path and its arguments are bytes, not JSON's UTF-8, so
	// they follow as arguments of their own.
	Path string   `json:"-"`
	Argv []string `json:"-"`
}

// runReport is what it answers, once with its namespaces and, if it then
// cannot execute the command, once more. Of a command that is a job it tells
// that it was started, and whenever it was stopped, and whether it, or one that
// it started, had the terminal then.
type runReport struct {
	Stopped, InFront bool
	Namespaces       map[string]string
	Tried            string
	On               string
	Errno            syscall.Errno
	Error            string
}

// orderGo lets the command start, orderFront gives it the terminal and continues
// it; every other order is a signal's number.
const (
	orderGo    = 0
	orderFront = 255
)

// Run executes a command in new namespaces and waits for it. With a user
// namespace the caller's user and group become root in it. With a PID namespace
// a small init of this program's is its PID 1, which reaps orphans; with a
// mount namespace, too, /proc is mounted anew. Mounts made inside are seen
// nowhere else.
//
// The command stays in the caller's process group, so that the terminal's
// Ctrl-C and Ctrl-Z reach it as they would without the lab. A PID namespace has
// no number for that group, by which a shell would look for it: there a command
// on a terminal gets a group of its own in the foreground, and this process
// stops and goes on with it. Of the signals sent
// to this process alone INT, QUIT, TERM, HUP, USR1 and USR2 are passed on. If
// this process is killed, so are the command and, with a PID namespace, all
// that it started. The end of ctx kills it, too: ctx must not be one that a
// signal ends, or a Ctrl-C that is meant for the command would kill it.
//
// The exit status is the command's, or 128+N if signal N ended it. With an
// error it is 2 and the command did not run to its end; the error is ctx's
// cause or an *Error: ErrUsage, ErrCommand, ErrPrivilege or ErrKernel.
func Run(ctx context.Context, c RunConfig) (exit int, err error) {
	r := &runner{RunConfig: c}
	if exit, err = r.run(ctx); err != nil {
		exit = 2
	}
	return exit, err
}

type runner struct {
	RunConfig
	flags uintptr
	path  string
	cmd   *exec.Cmd
	pipes *pipes
	in    *json.Decoder
	tty   terminal
	// job tells that the command has a process group of its own.
	job bool
}

func (r *runner) run(ctx context.Context) (int, error) {
	if err := r.prepare(); err != nil {
		return 0, err
	}
	// The kernel ties PR_SET_PDEATHSIG to the thread that starts the process:
	// it must live as long as this function.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.tty = openTerminal(r.Stdin)
	if err := r.start(); err != nil {
		return 0, err
	}
	defer r.cmd.Process.Release()
	defer r.pipes.close()
	stop := r.passSignals(ctx)
	defer stop()
	before := readNamespaces(r.Proc + "/thread-self")
	failed := r.setUp(before)
	if r.job && failed == nil {
		go r.followStops()
	}
	status := r.wait()
	r.tty.restore()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return status, failed
}

// prepare does what can go wrong without anything being made.
func (r *runner) prepare() (err error) {
	if r.Proc == "" {
		r.Proc = "/proc"
	}
	if len(r.Command) == 0 {
		r.Command = []string{"sh"}
	}
	if r.flags, err = parseOnly(r.Only); err != nil {
		return err
	}
	if r.path, err = lookUp(r.Command[0], r.Env); err != nil {
		return &Error{Kind: ErrCommand, Tried: "run", On: r.Command[0], Err: err}
	}
	return nil
}

func (r *runner) start() (err error) {
	if r.pipes, err = newPipes(); err != nil {
		return kernelError("make a pipe", "", err)
	}
	r.in = json.NewDecoder(r.pipes.reports)
	r.job = r.flags&unix.CLONE_NEWPID != 0 && r.tty.group != 0
	spec, err := json.Marshal(runSpec{Flags: r.flags, Proc: r.Proc, Job: r.job})
	if err != nil {
		return kernelError("describe the run", "", err)
	}
	args := append([]string{"nsinspect", childArgument, roleRun, string(spec), r.path}, r.Command...)
	r.cmd = &exec.Cmd{
		Path: selfExe, Args: args, Env: append([]string{}, r.Env...), ExtraFiles: r.pipes.child[:],
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: r.flags},
	}
	if r.flags&unix.CLONE_NEWPID == 0 {
		r.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // else init sees orders end
	}
	if r.Stdin != nil {
		r.cmd.Stdin = r.Stdin
	}
	if r.Stdout != nil {
		r.cmd.Stdout = r.Stdout
	}
	if r.Stderr != nil {
		r.cmd.Stderr = r.Stderr
	}
	if r.flags&unix.CLONE_NEWUSER != 0 {
		r.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		r.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err = r.cmd.Start()
	r.pipes.started()
	if err != nil {
		r.pipes.close()
		return forbidden(r.Proc, "make the namespaces "+r.kinds(), r.flags, err)
	}
	return nil
}

// kinds names the namespaces that are made: "uts,cgroup".
func (r *runner) kinds() string {
	var names []string
	for _, n := range namespaces {
		if r.flags&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// setUp hears from the new process, tells the namespaces and lets the command
// start. After an error the process ends by itself.
func (r *runner) setUp(before map[string]string) error {
	after, err := r.hear()
	if err == nil && after == nil {
		return nil // ended by a signal before it could start; its status tells
	}
	if err == nil {
		err = r.tell(before, after.Namespaces)
	}
	if err != nil {
		r.pipes.orders.Close()
		return err
	}
	r.pipes.orders.Write([]byte{orderGo}) // fails only if the process is gone
	_, err = r.hear()                     // no error when the command is executed
	return err
}

// hear takes one report; nil if there is none any more.
func (r *runner) hear() (*runReport, error) {
	var got runReport
	if r.in.Decode(&got) != nil {
		return nil, nil
	}
	if got.Tried == "" {
		return &got, nil
	}
	why := error(got.Errno)
	if got.Errno == 0 {
		why = errors.New(got.Error)
	}
	if got.Tried == triedExec {
		return nil, &Error{Kind: ErrCommand, Tried: got.Tried, On: got.On, Err: why}
	}
	e := forbidden(r.Proc, strings.TrimSpace(got.Tried+" "+got.On), r.flags, why)
	switch {
	case got.Tried == triedPrivate && got.Errno == unix.EINVAL:
		e.Next = "the root directory is no mount point, as in a chroot: choose namespaces without mount by --only"
	case got.Tried == triedProc && e.Kind == ErrPrivilege:
		e.Next = "where parts of the outer /proc are covered, as in a container, the kernel allows no new one: choose namespaces without pid or mount, such as --only user,uts,cgroup"
	}
	return nil, e
}

// tell writes the inode that each namespace had and has.
func (r *runner) tell(before, after map[string]string) error {
	if r.Stderr == nil {
		return nil
	}
	var text strings.Builder
	for _, n := range namespaces {
		had, has := before[n.name], after[n.name]
		if r.flags&n.flag == 0 {
			fmt.Fprintf(&text, "nsinspect: %-7s  %s (kept)\n", n.name, had)
			continue
		}
		fmt.Fprintf(&text, "nsinspect: %-7s  %s -> %s\n", n.name, had, has)
	}
	if r.flags&unix.CLONE_NEWPID != 0 && r.flags&unix.CLONE_NEWNS == 0 {
		text.WriteString("nsinspect: hint: /proc stays the outer one, since a new one needs a mount namespace\n")
	}
	_, err := r.Stderr.WriteString(text.String())
	return err
}

// wait waits for the process and returns its exit status. If the command was
// stopped and this process was not (it stopped itself, in a process group of
// its own), nobody could ever continue it: it is continued at once.
func (r *runner) wait() int {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(r.cmd.Process.Pid, &ws, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return exitGone
		case ws.Stopped():
			continueApart(pid)
		case ws.Signaled():
			return 128 + int(ws.Signal())
		case ws.Exited():
			return ws.ExitStatus()
		}
	}
}

// continueApart continues a stopped process of another process group.
func continueApart(pid int) {
	group, err := unix.Getpgid(pid)
	own, _ := unix.Getpgid(0)
	if err == nil && group != own {
		unix.Kill(pid, unix.SIGCONT)
	}
}
