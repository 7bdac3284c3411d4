package inspect

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxTries bounds how often a process that keeps moving is read again.
const maxTries = 5

// readError says which file of a process could not be read.
type readError struct {
	what string
	err  error
}

func (e *readError) Error() string { return e.what + ": " + reason(e.err) }
func (e *readError) Unwrap() error { return e.err }

// errNoNamespace says that a process has left its namespaces: it is a zombie,
// or about to be one.
var errNoNamespace = errors.New("it has left its namespaces")

// errMoving says that a process changed faster than it could be read.
var errMoving = errors.New("it keeps changing its cgroups or namespaces")

// errHidden says that a process is there, but not for this reader. That goes for
// all that the procfs does not let it see.
var errHidden = errors.New("the procfs hides it and all processes of other users (hidepid): permission denied")

func skipped(pid int, err error) Skipped {
	var r *readError
	if errors.As(err, &r) {
		return Skipped{PID: pid, What: r.what, Reason: reason(r.err)}
	}
	return Skipped{PID: pid, What: "process", Reason: reason(err)}
}

// readProcess returns a process and those of its threads that are asked for. If
// only its leader has ended, it lives on in its threads, and one stands for it.
func (f *FS) readProcess(pid int, want Want, buf []byte) ([]Task, []Skipped) {
	if f.tree.hides(pid) {
		return []Task{{PID: pid, TID: pid}}, []Skipped{skipped(pid, errHidden)}
	}
	leader, err := f.readTask(pid, pid, want.Views, buf)
	if errors.Is(err, errNoNamespace) {
		t, ok := f.livingThread(pid, want.Views, buf)
		if !ok {
			return nil, nil
		}
		leader, err = t, nil
	}
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return []Task{leader}, []Skipped{skipped(pid, err)}
	}
	tasks := []Task{leader}
	if want.Threads || slices.Contains(want.ThreadsOf, pid) {
		tasks = append(tasks, f.strayThreads(leader, want.Views, buf)...)
	}
	return tasks, nil
}

// readTask reads one task through one open directory. With an error the task
// has what could be read.
func (f *FS) readTask(pid, tid int, views bool, buf []byte) (Task, error) {
	t := Task{PID: pid, TID: tid}
	if !views && pid == tid {
		// One link is one fact: no directory need be held open for it.
		var err error
		t.CgroupNS, err = namespaceLink(f.tree.link(strconv.Itoa(pid) + "/ns/cgroup"))
		return t, err
	}
	d, err := f.tree.process(pid, tid)
	if err != nil {
		return t, &readError{"process", err}
	}
	defer d.close()
	for range maxTries {
		before, err := cgroupNS(d)
		if err != nil && views && denied(err) {
			// Its paths may be told all the same: they place its descendants.
			f.readViews(d, &t, buf)
		}
		if err != nil || !views {
			t.CgroupNS = before
			return t, err
		}
		if err := f.readViews(d, &t, buf); err != nil {
			return t, err
		}
		after, err := cgroupNS(d)
		if err != nil {
			return t, err
		}
		if before == after {
			t.CgroupNS = before
			return t, nil
		}
	}
	return t, &readError{"ns/cgroup", errMoving}
}

// cgroupNS returns the inode of the task's cgroup namespace.
func cgroupNS(d dir) (uint64, error) { return namespaceLink(d.link("ns/cgroup")) }

func namespaceLink(text string, err error) (uint64, error) {
	if err == unix.ENOENT {
		return 0, errNoNamespace
	}
	if err != nil {
		return 0, &readError{"ns/cgroup", err}
	}
	if ns := nsOf(text, nil); ns != 0 {
		return ns, nil
	}
	return 0, &readError{"ns/cgroup", fmt.Errorf("%q names no namespace", clip(text))}
}

// readViews reads what a view of the task is judged by. A mount namespace or
// root directory that is denied stays unknown.
func (f *FS) readViews(d dir, t *Task, buf []byte) error {
	text, err := d.read("cgroup", buf)
	if err != nil {
		return &readError{"cgroup", err}
	}
	if t.Cgroups, err = f.intern.cgroups(text); err != nil {
		return &readError{"cgroup", err}
	}
	mnt, err := d.link("ns/mnt")
	if err != nil && !denied(err) {
		return &readError{"ns/mnt", err}
	}
	t.MntNS = nsOf(mnt, err)
	root, err := d.link("root")
	if err != nil && !denied(err) {
		return &readError{"root", err}
	}
	t.Root = root
	return nil
}

// livingThread returns the first thread of a process whose leader has ended.
func (f *FS) livingThread(pid int, views bool, buf []byte) (Task, bool) {
	tids, err := f.tree.threads(pid)
	if err != nil {
		return Task{}, false
	}
	for _, tid := range tids {
		if tid == pid {
			continue
		}
		if t, err := f.readTask(pid, tid, views, buf); err == nil {
			return t, true
		}
	}
	return Task{}, false
}

// strayThreads returns the threads that are in other namespaces or cgroups than
// their leader. The reader's own go into cgroup namespaces to read there: that
// alone makes none of them one.
func (f *FS) strayThreads(leader Task, views bool, buf []byte) []Task {
	tids, err := f.tree.threads(leader.PID)
	if err != nil {
		return nil
	}
	var stray []Task
	for _, tid := range tids {
		if tid == leader.TID {
			continue
		}
		t, err := f.readTask(leader.PID, tid, views, buf)
		if err != nil {
			continue // it has ended, or is as unreadable as its leader
		}
		entered := t.CgroupNS != leader.CgroupNS && leader.PID != f.Reader.PID
		if entered || t.MntNS != leader.MntNS || t.Root != leader.Root || t.Cgroups != leader.Cgroups {
			stray = append(stray, t)
		}
	}
	return stray
}
