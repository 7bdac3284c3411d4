package inspect

import (
	"context"
	"slices"
	"time"
)

// Questions are what a diagnosis wants to know beyond the first reading.
type Questions struct {
	Subjects []SubjectQuestion
	// Kin asks for the descent of these processes.
	Kin         []int
	Directories []DirectoryQuestion
	Probes      []Probe
	// Owners asks for the owner of these tasks' mount namespaces, those that
	// they were seen in if that is known.
	Owners []Task
	// Tables asks for the mount tables of tasks whose mount namespace could not
	// be read.
	Tables []Task
	// Threads asks for the threads that use these mount namespaces and are in
	// another mount or cgroup namespace than the leader of their process.
	Threads []uint64
	// Still asks which of these tasks are where they were seen.
	Still []Task
	// Processes asks what is told of these tasks.
	Processes []Task
	Files     []FileQuestion
	// OpenNamespaces asks for the cgroup namespaces that processes hold open as
	// files, which takes a look at every open file of the host.
	OpenNamespaces bool
}

// SubjectQuestion asks for a task in both views, and for peers as it sees them.
type SubjectQuestion struct {
	Task  Task
	Peers []int
}

// Empty tells whether there is nothing to ask.
func (q *Questions) Empty() bool {
	return len(q.Subjects)+len(q.Kin)+len(q.Directories)+len(q.Probes)+len(q.Owners)+len(q.Tables)+len(q.Threads)+len(q.Still) == 0 &&
		len(q.Processes)+len(q.Files) == 0 && !q.OpenNamespaces
}

// Answers are in the order of the questions.
type Answers struct {
	// Subjects are nil where the task has ended or cannot be read.
	Subjects []*Subject
	// Kin has each process asked for, and its ancestors.
	Kin         map[int]Kin
	Directories []DirectoryAnswer
	Probes      []ProbeAnswer
	// Owners are inodes of user namespaces; 0: not known.
	Owners []uint64
	// Tables are nil where they could not be read.
	Tables []*MountTable
	// Threads are those found, and those of which it could not be read: these
	// have no mount namespace. The reader's own are left out.
	Threads []Task
	Still   []bool
	// Processes are nil where the task has ended or cannot be read.
	Processes      []*Process
	Files          []FileAnswer
	OpenNamespaces []OpenNamespace
}

// settleAge is the age below which a process may still be on its way: a
// container that is being started has a stale mount for a moment.
const (
	settleAge  = 2 * time.Second
	settleWait = 500 * time.Millisecond
	tick       = 10 * time.Millisecond // USER_HZ is 100 on every architecture of Go's
)

// Answer reads what is asked.
func (f *FS) Answer(ctx context.Context, q Questions) (*Answers, error) {
	if err := f.settle(ctx, q.Subjects); err != nil {
		return nil, err
	}
	a := &Answers{
		Subjects: parallel(ctx, f, q.Subjects, func(s SubjectQuestion) *Subject {
			subject, _ := f.readTaskWhole(ctx, s.Task, s.Peers)
			return subject
		}),
	}
	a.Kin = f.kin(ctx, q.Kin)
	a.Directories = parallel(ctx, f, q.Directories, f.system.directories)
	a.Probes = parallel(ctx, f, q.Probes, func(p Probe) ProbeAnswer { return f.system.probe(ctx, p) })
	a.Owners = parallel(ctx, f, q.Owners, f.system.mountNSOwner)
	a.Tables = parallel(ctx, f, q.Tables, f.tableOf)
	a.Still = parallel(ctx, f, q.Still, f.still)
	a.Processes = parallel(ctx, f, q.Processes, f.details)
	a.Files = parallel(ctx, f, q.Files, f.system.cgroupFile)
	var err error
	if a.Threads, err = f.threadsIn(ctx, q.Threads); err != nil {
		return nil, err
	}
	if q.OpenNamespaces {
		if a.OpenNamespaces, err = f.openNamespaces(ctx); err != nil {
			return nil, err
		}
	}
	return a, ctx.Err()
}

// parallel answers questions on the FS's workers, in their order. When ctx is
// done, answers are missing.
func parallel[Q, A any](ctx context.Context, f *FS, questions []Q, answer func(Q) A) []A {
	answers := make([]A, len(questions))
	_ = f.each(ctx, len(questions), func(i int, _ []byte) { answers[i] = answer(questions[i]) })
	return answers
}

// settle waits a moment if one of the tasks has only just been started.
func (f *FS) settle(ctx context.Context, subjects []SubjectQuestion) error {
	now, ok := f.uptime()
	if !ok || !f.tree.live() {
		return nil
	}
	for _, s := range subjects {
		d, err := f.tree.process(s.Task.PID, s.Task.TID)
		if err != nil {
			continue
		}
		var p Process
		err = readStat(d, &p)
		d.close()
		if err != nil || now-time.Duration(p.StartTicks)*tick > settleAge {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleWait):
			return nil
		}
	}
	return nil
}

// Kin is what a process's descent is told by.
type Kin struct {
	// Parent is the process ID of its parent; 0: it has none that could be seen.
	Parent int
	// Started is Process.StartTicks.
	Started uint64
	// Kernel is true for a kernel thread.
	Kernel bool
	// PIDNS is the inode of its PID namespace; 0: not known.
	PIDNS uint64
}

// kin follows each process's line up to the first one without a parent, all
// lines side by side.
func (f *FS) kin(ctx context.Context, pids []int) map[int]Kin {
	found := map[int]Kin{}
	for next := slices.Clone(pids); len(next) > 0; {
		slices.Sort(next)
		asked := slices.Compact(next)
		next = nil
		for i, k := range parallel(ctx, f, asked, f.kinOf) {
			if k != nil {
				found[asked[i]] = *k
				next = append(next, k.Parent)
			}
		}
		next = slices.DeleteFunc(next, func(pid int) bool {
			_, known := found[pid]
			return known || pid <= 0
		})
	}
	return found
}

// kinOf returns nil for a process that has ended.
func (f *FS) kinOf(pid int) *Kin {
	d, err := f.tree.process(pid, pid)
	if err != nil {
		return nil
	}
	defer d.close()
	var p Process
	if err := readStat(d, &p); err != nil {
		return nil
	}
	return &Kin{Parent: p.PPID, Started: p.StartTicks, Kernel: p.Kernel, PIDNS: nsOf(d.link("ns/pid"))}
}

func (f *FS) tableOf(t Task) *MountTable {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return nil
	}
	defer d.close()
	table, err := mountTable(d)
	if err != nil {
		return nil
	}
	return table
}

func (f *FS) still(t Task) bool {
	now, err := f.readTask(t.PID, t.TID, true, nil)
	return err == nil && now == t
}
