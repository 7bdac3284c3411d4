package lab

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
)

// Where a step's command runs.
const (
	// OnHost is the lab's caller: its cgroup and mount namespaces.
	OnHost = "host"
	// InSub is the process in sub, in its new namespaces once it has them.
	InSub = "sub"
)

// Step is one step of a walk: a command, and what the kernel answered.
type Step struct {
	// Number counts from 1.
	Number int `json:"number"`
	// Title says in a few words what is done or asked.
	Title string `json:"title"`
	// Where is OnHost or InSub.
	Where string `json:"where"`
	// Command is the shell command that equals the step. The lab executes no
	// program; it does the same with system calls.
	Command string `json:"command"`
	// Expected is the answer that the manual page leads one to expect. Where
	// it depends on the kernel (inode numbers, IDs) it says in words what the
	// answer must be like.
	Expected string `json:"expected"`
	// Answer is what the kernel really answered: lines of /proc, or an errno's
	// text. It may hold any byte that a path can.
	Answer string `json:"answer"`
	// OK is true if Answer is as expected.
	OK bool `json:"ok"`
	// Note says what is to be learned from it; may be empty.
	Note string `json:"note"`
}

// Kept is what waits to be looked at, when a walk stops before the mending.
type Kept struct {
	// Hierarchy is the label; MountPoint is where the stale mount is, in the
	// mount namespace of Sub.
	Hierarchy  string `json:"hierarchy"`
	MountPoint string `json:"mount_point"`
	// Cgroup is the lab's cgroup as the caller's cgroup namespace sees it.
	Cgroup string `json:"cgroup"`
	// Sub, Sub2 and Outside are the PIDs of the processes in sub, in sub2 and
	// in the lab's cgroup itself. Only Sub has namespaces of its own.
	Sub     int `json:"sub"`
	Sub2    int `json:"sub2"`
	Outside int `json:"outside"`
	// Commands are the nsinspect commands to try, each as an argument list.
	Commands [][]string `json:"commands"`
}

// WalkConfig says what to walk through.
type WalkConfig struct {
	// Hierarchy is a label: "freezer", "cpu,cpuacct" (or one of them),
	// "name=systemd" or "systemd", "unified".
	Hierarchy string
	// Keep stops before the mending and waits for SIGINT or the end of ctx.
	Keep bool
	// Kept is called once, when the walk begins to wait; an error ends it.
	Kept func(Kept) error
	// Proc is where procfs is mounted; empty means /proc.
	Proc string

	prefix string // of the lab's cgroup; tests keep apart from other labs with it
}

// Walk goes through the example of cgroup_namespaces(7) in one hierarchy and
// hands each step to tell as soon as it is done. It returns true if every
// answer was the expected one.
//
// Directly below the hierarchy's visible mount it makes one cgroup with sub and
// sub2 in it. The hierarchy's top rather than the caller's own cgroup, since
// there a v1 lab depends on nobody's limits, and on v2 processes may be in a
// cgroup whose parent distributes no domain controllers to a full one.
//
// SIGINT, SIGTERM, SIGHUP and SIGQUIT end a walk early with *Interrupted: it
// catches them itself, so that ctx need not. The end of ctx ends it with its
// cause, an error of tell with that error. SIGPIPE is caught so that a reader's
// going away is such an error, too. Whatever the return, all that was made is
// gone by then, or the error is of kind ErrLeft. With Keep, SIGINT or the end of
// ctx while it waits is the normal end. Other errors are *Error:
// ErrNoHierarchy, ErrReadOnly, ErrPrivilege, ErrKernel.
func Walk(ctx context.Context, c WalkConfig, tell func(Step) error) (ok bool, err error) {
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.prefix == "" {
		c.prefix = cgroupPrefix
	}
	ctx, release := interruptible(ctx)
	defer release()
	if err := allowed(); err != nil {
		return false, err
	}
	s, err := readSystem(c.Proc)
	if err != nil {
		return false, err
	}
	h, err := s.find(c.Hierarchy)
	if err != nil {
		return false, err
	}
	w := &walk{ctx: ctx, c: c, h: h, tell: tell, ok: true}
	err = w.sweep(s)
	if err == nil {
		err = both(w.all(), w.clear())
	}
	return w.ok && err == nil, err
}

// both joins two errors, and leaves one alone, so that its type shows.
func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// interruptible gives a context that signals end, and catches SIGPIPE. Signals
// that the caller ignores (nohup) stay ignored.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ends := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(ends, s)
		}
	}
	pipe := make(chan os.Signal, 1)
	if !signal.Ignored(unix.SIGPIPE) {
		signal.Notify(pipe, unix.SIGPIPE)
	}
	go func() {
		select {
		case s := <-ends:
			cancel(&Interrupted{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(ends)
		signal.Stop(pipe)
		cancel(nil)
	}
}

// allowed finds out before anything is made whether namespaces can be made.
func allowed() error {
	if !inspect.CanEnter() {
		return &Error{Kind: ErrPrivilege, Tried: "make cgroup and mount namespaces", Err: unix.EPERM,
			Next: "it needs CAP_SYS_ADMIN: run it as root; 'nsinspect lab run' works for ordinary users"}
	}
	return nil
}

// walk is a lab under way.
type walk struct {
	ctx  context.Context
	c    WalkConfig
	h    *hierarchy
	tell func(Step) error

	cgroup             *labCgroup
	outside, sub, sub2 *member
	number             int
	ok                 bool
	told               error // what ended the telling
}

// step numbers a step, hands it out, and ends the walk if it was interrupted.
func (w *walk) step(s Step) error {
	w.number++
	s.Number = w.number
	w.ok = w.ok && s.OK
	if w.told = w.tell(s); w.told != nil {
		return w.told
	}
	return context.Cause(w.ctx)
}

// sweep removes what dead labs left in any hierarchy, and tells of it only if
// there was something.
func (w *walk) sweep(s *system) error {
	var all swept
	for _, m := range s.cgroups.Memberships {
		if at, err := s.mountOf(m.Hierarchy); err == nil {
			found := sweep(at.MountPoint, w.c.prefix)
			all.removed = append(all.removed, found.removed...)
			all.busy = append(all.busy, found.busy...)
		}
	}
	if len(all.removed)+len(all.busy) == 0 {
		return context.Cause(w.ctx)
	}
	var answers []string
	for _, path := range all.removed {
		answers = append(answers, path+": "+presence(path))
	}
	for _, path := range all.busy {
		answers = append(answers, path+": "+unix.EBUSY.Error())
	}
	paths := append(slices.Clone(all.removed), all.busy...)
	for i := range paths {
		paths[i] = quote(paths[i])
	}
	return w.step(Step{
		Title: "remove what labs that were killed have left", Where: OnHost,
		Command:  "rmdir " + strings.Join(paths, " ") + "; ls -d " + strings.Join(paths, " "),
		Expected: unix.ENOENT.Error() + "; " + unix.EBUSY.Error() + " for one that still holds a process",
		Answer:   strings.Join(answers, "\n"), OK: true,
		Note: "only cgroups of a lab that is no more, and none that is in use",
	})
}

// presence is what the kernel says of a path.
func presence(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	return "exists"
}

// clear ends the lab's processes, removes its cgroup, and tells of it if the
// walk was not ended early.
func (w *walk) clear() error {
	var pids []string
	if w.cgroup != nil {
		for _, dir := range []string{"sub", "sub2", ""} {
			thaw(filepath.Join(w.cgroup.path, dir))
		}
	}
	for _, m := range []*member{w.sub, w.sub2, w.outside} {
		if m != nil {
			m.stop()
			pids = append(pids, fmt.Sprint(m.pid))
		}
	}
	if w.cgroup == nil {
		return nil
	}
	err := w.cgroup.remove()
	if w.told != nil || w.ctx.Err() != nil && !w.c.Keep {
		return err
	}
	path := w.cgroup.path
	answer := presence(path)
	w.number++
	told := w.tell(Step{
		Number: w.number, Title: "end the processes and remove the lab's cgroups", Where: OnHost,
		Command:  fmt.Sprintf("kill %s; cd %s && rmdir sub sub2 && cd .. && rmdir %s; ls -d %[2]s", strings.Join(pids, " "), quote(path), w.cgroup.name),
		Expected: unix.ENOENT.Error(), Answer: answer, OK: answer == unix.ENOENT.Error(),
		Note: "the mount namespace of the process in sub ended with it",
	})
	return both(err, told)
}
