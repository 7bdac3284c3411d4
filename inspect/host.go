package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// Want says how much of each process a whole-host reading takes in.
type Want struct {
	// Views asks for cgroup files, mount namespaces and mount tables too;
	// without it only the cgroup namespace of each process is read.
	Views bool
	// Threads asks for the threads of every process, ThreadsOf for those of
	// some. Threads that are where their leader is are not told apart.
	Threads   bool
	ThreadsOf []int
	// First asks for what is told of the first process of each namespace.
	First bool
	// Only, if not 0, is the one cgroup namespace to go into.
	Only uint64
}

// Host is one reading of all processes.
type Host struct {
	Reader Reader
	// Want is what was asked for.
	Want Want
	// Kernel is the kernel's release (uname -r); empty: not known.
	Kernel string
	// Tasks are the living processes in the order of their IDs, and those of
	// their threads that are elsewhere than their leader.
	Tasks []Task
	// Namespaces are the cgroup namespaces that the tasks are in, by inode.
	Namespaces []*Namespace
	// Tables are the mount tables of the tasks, in the reader's view.
	Tables map[TableKey]*MountTable
	// Own is the reader's own mount table, and OwnCgroups its cgroup file, or
	// another process's where it does not show itself; nil: not known.
	Own        *MountTable
	OwnCgroups *Cgroups
	// Skipped is what could not be read.
	Skipped []Skipped
	// Hidden tells that there are processes which the procfs does not let the
	// reader see (hidepid).
	Hidden bool
}

// TableKey tells mount tables apart: a chrooted process sees other mounts than
// its neighbour in the same mount namespace.
type TableKey struct {
	MntNS uint64
	Root  string
}

// Table returns the key of the task's mount table.
func (t Task) Table() TableKey { return TableKey{t.MntNS, t.Root} }

// SightKey tells apart what tasks see of their cgroups: what holds for one of
// them holds for all that have the same.
type SightKey struct {
	CgroupNS uint64
	Table    TableKey
	Cgroups  *Cgroups
}

// Sight returns the key of what the task sees.
func (t Task) Sight() SightKey { return SightKey{t.CgroupNS, t.Table(), t.Cgroups} }

// Namespace is a cgroup namespace and what was read in it.
type Namespace struct {
	NS      uint64
	Members []Task
	// First is the first of the members; without a PID if it was not asked for or
	// could not be read.
	First Process
	// Entered is true if its view could be read: by entering it, or because it
	// is the reader's own.
	Entered bool
	// Reason says why it was not entered.
	Reason string
	// Pairs are the cgroup files of members in both views. The reader's own
	// namespace needs none.
	Pairs []Pair
}

// Pair is one living process's cgroup file as the reader and as its own cgroup
// namespace sees it, read while it stayed where it was.
type Pair struct {
	PID       int
	Host, Own *Cgroups
}

// Outside tells whether a path lies outside the cgroup root directory of the
// namespace in whose view it was read (cgroup_namespaces(7)).
func Outside(path string) bool {
	return path == "/.." || strings.HasPrefix(path, "/../")
}

// Depth is how many levels deeper a path lies than the cgroup root directory of
// the namespace in whose view it was read; less than 0: higher.
func Depth(path string) int {
	n := 0
	for Outside(path) {
		path = path[len("/.."):]
		n--
	}
	if path == "/" {
		return n
	}
	return n + strings.Count(path, "/")
}

// Scan reads all processes once. What ends meanwhile is left out.
func (f *FS) Scan(ctx context.Context, want Want) (*Host, error) {
	if f.scanning != nil {
		f.scanning(true)
		defer f.scanning(false)
	}
	h := &Host{Reader: f.Reader, Want: want, Kernel: f.kernel(), Tables: map[TableKey]*MountTable{}, Hidden: f.tree.hides(1)}
	if err := f.readTasks(ctx, h, want); err != nil {
		return nil, err
	}
	h.group()
	if err := f.readNamespaces(ctx, h, want); err != nil {
		return nil, err
	}
	if want.First {
		if err := f.readFirsts(ctx, h); err != nil {
			return nil, err
		}
	}
	if want.Views {
		if err := f.readTables(ctx, h); err != nil {
			return nil, err
		}
	}
	if t, err := f.ownTable(); err == nil {
		h.Own = t
	}
	h.OwnCgroups = f.someCgroups(h.Tasks)
	sort.Slice(h.Skipped, func(i, j int) bool {
		a, b := h.Skipped[i], h.Skipped[j]
		if a.PID != b.PID {
			return a.PID < b.PID
		}
		return a.What < b.What
	})
	return h, nil
}

// allPIDs are the processes that the procfs lists, and those that it is known to
// hide, in order.
func (f *FS) allPIDs() ([]int, error) {
	pids, err := f.tree.pids()
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	sort.Ints(pids)
	if f.tree.hides(1) && !slices.Contains(pids, 1) {
		pids = append([]int{1}, pids...)
	}
	return pids, nil
}

func (f *FS) kernel() string {
	text, err := f.tree.read("sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// each runs do for 0..n-1 on the FS's number of workers; do gets a scratch
// buffer of its worker's.
func (f *FS) each(ctx context.Context, n int, do func(i int, buf []byte)) error {
	return f.share(ctx, n, func(next func() (int, bool)) {
		buf := make([]byte, 0, scratchSize)
		for i, ok := next(); ok; i, ok = next() {
			do(i, buf)
		}
	})
}

// scratchSize is room for most files of a process, in bytes.
const scratchSize = 8192

// share runs the FS's number of workers, among whom next shares out 0..n-1.
func (f *FS) share(ctx context.Context, n int, worker func(next func() (int, bool))) error {
	var taken atomic.Int64
	next := func() (int, bool) {
		i := int(taken.Add(1)) - 1
		return i, i < n && ctx.Err() == nil
	}
	var workers sync.WaitGroup
	for range min(f.jobs, n) {
		workers.Go(func() { worker(next) })
	}
	workers.Wait()
	return ctx.Err()
}

// batch is some of the processes, and what was read of them.
type batch struct {
	pids    []int
	tasks   []Task
	skipped []Skipped
}

// readTasks reads every process, the first ones while the others are listed;
// the results are in the order of PIDs.
func (f *FS) readTasks(ctx context.Context, h *Host, want Want) error {
	var all []*batch
	var listing error
	todo := make(chan *batch, 16)
	var workers sync.WaitGroup
	workers.Go(func() {
		defer close(todo)
		listing = f.tree.eachPIDs(func(pids []int) bool {
			b := &batch{pids: pids, tasks: make([]Task, 0, len(pids))}
			if all = append(all, b); len(all) <= f.jobs {
				workers.Go(func() { f.readBatches(ctx, todo, want) })
			}
			f.total.Add(int64(len(pids)))
			select {
			case todo <- b:
				return true
			case <-ctx.Done():
				return false
			}
		})
	})
	workers.Wait()
	if listing != nil {
		return fmt.Errorf("list the processes: %w", listing)
	}
	read := 0
	for _, b := range all {
		read += len(b.tasks)
	}
	h.Tasks = make([]Task, 0, read)
	for _, b := range all {
		h.Tasks = append(h.Tasks, b.tasks...)
		h.Skipped = append(h.Skipped, b.skipped...)
	}
	slices.SortStableFunc(h.Tasks, func(a, b Task) int { return cmp.Compare(a.PID, b.PID) })
	return ctx.Err()
}

// readBatches is a worker of readTasks.
func (f *FS) readBatches(ctx context.Context, todo <-chan *batch, want Want) {
	buf := make([]byte, 0, scratchSize)
	for b := range todo {
		for _, pid := range b.pids {
			if ctx.Err() != nil {
				return
			}
			tasks, skipped := f.readProcess(pid, want, buf)
			b.tasks = append(b.tasks, tasks...)
			b.skipped = append(b.skipped, skipped...)
			f.done.Add(1)
		}
	}
}
