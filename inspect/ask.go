package inspect

import (
	"context"
	"time"
)

// Questions are what a diagnosis wants to know beyond the first reading.
type Questions struct {
	Subjects []SubjectQuestion
	// Kin asks for the descent of these processes.
	Kin         []int
	Directories []DirectoryQuestion
	Probes      []Probe
	// Owners asks for the owner of these tasks' mount namespaces, Tables for
	// the mount tables of tasks whose mount namespace could not be read.
	Owners, Tables []Task
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
	return len(q.Subjects)+len(q.Kin)+len(q.Directories)+len(q.Probes)+len(q.Owners)+len(q.Tables)+len(q.Still) == 0 &&
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
	Still  []bool
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
	a := &Answers{}
	if err := f.settle(ctx, q.Subjects); err != nil {
		return nil, err
	}
	a.Subjects = make([]*Subject, len(q.Subjects))
	err := f.each(ctx, len(q.Subjects), func(i int, _ []byte) {
		e := f.tree.entrant()
		defer e.close()
		t := q.Subjects[i].Task
		if s, err := f.subject(ctx, e, t.PID, t.TID, q.Subjects[i].Peers); err == nil {
			a.Subjects[i] = s
		}
	})
	if err != nil {
		return nil, err
	}
	a.Kin = f.kin(q.Kin)
	for _, d := range q.Directories {
		a.Directories = append(a.Directories, f.system.directories(d))
	}
	for _, p := range q.Probes {
		a.Probes = append(a.Probes, f.system.probe(ctx, p))
	}
	for _, t := range q.Owners {
		a.Owners = append(a.Owners, f.system.mountNSOwner(t))
	}
	for _, t := range q.Tables {
		a.Tables = append(a.Tables, f.tableOf(t))
	}
	for _, t := range q.Still {
		a.Still = append(a.Still, f.still(t))
	}
	for _, t := range q.Processes {
		a.Processes = append(a.Processes, f.details(t))
	}
	for _, file := range q.Files {
		a.Files = append(a.Files, f.system.cgroupFile(file))
	}
	if q.OpenNamespaces {
		if a.OpenNamespaces, err = f.openNamespaces(ctx); err != nil {
			return nil, err
		}
	}
	return a, ctx.Err()
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

// kin follows each process's line up to the first one without a parent.
func (f *FS) kin(pids []int) map[int]Kin {
	found := map[int]Kin{}
	for _, pid := range pids {
		for pid > 0 {
			if _, ok := found[pid]; ok {
				break
			}
			d, err := f.tree.process(pid, pid)
			if err != nil {
				break
			}
			var p Process
			err = readStat(d, &p)
			p.PIDNS = nsOf(d.link("ns/pid"))
			d.close()
			if err != nil {
				break
			}
			found[pid] = Kin{Parent: p.PPID, Started: p.StartTicks, Kernel: p.Kernel, PIDNS: p.PIDNS}
			pid = p.PPID
		}
	}
	return found
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
