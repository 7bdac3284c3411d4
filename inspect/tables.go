package inspect

import (
	"context"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// readTables reads one mountinfo for each table that tasks in known namespaces
// have, from the first task that still gives it.
func (f *FS) readTables(ctx context.Context, h *Host) error {
	seen := map[TableKey]bool{}
	var firsts []int // tasks
	for i, t := range h.Tasks {
		if k := t.Table(); t.CgroupNS != 0 && t.MntNS != 0 && !seen[k] {
			seen[k] = true
			firsts = append(firsts, i)
		}
	}
	var mu sync.Mutex
	return f.each(ctx, len(firsts), func(i int, _ []byte) {
		tasks := h.Tasks[firsts[i]:]
		table, skipped := f.firstTable(tasks)
		mu.Lock()
		defer mu.Unlock()
		if table != nil {
			h.Tables[tasks[0].Table()] = table
		}
		if skipped != nil {
			h.Skipped = append(h.Skipped, *skipped)
		}
	})
}

// firstTable returns the mount table that the first of the tasks has, from any
// of them that has it and gives it.
func (f *FS) firstTable(tasks []Task) (*MountTable, *Skipped) {
	var last error
	for _, t := range tasks {
		if t.Table() != tasks[0].Table() || t.CgroupNS == 0 {
			continue
		}
		table, err := f.readTable(t)
		if err == nil && table.Incomplete != "" {
			return table, &Skipped{PID: t.PID, What: "mountinfo", Reason: table.Incomplete}
		}
		if err == nil {
			return table, nil
		}
		last = err
	}
	if fleeting(last) {
		return nil, nil
	}
	return nil, &Skipped{PID: tasks[0].PID, What: "mountinfo", Reason: reason(last)}
}

// readTable reads a task's mountinfo if it still is where it was seen.
func (f *FS) readTable(t Task) (*MountTable, error) {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return nil, err
	}
	defer d.close()
	table, err := mountTable(d)
	if err != nil {
		return nil, err
	}
	if nsOf(d.link("ns/mnt")) != t.MntNS {
		return nil, errChanged
	}
	if root, err := d.link("root"); err != nil || root != t.Root {
		return nil, errChanged
	}
	return table, nil
}

func mountTable(d dir) (*MountTable, error) {
	return tableFrom(d.open("mountinfo"))
}

func tableFrom(file io.ReadCloser, err error) (*MountTable, error) {
	if err == unix.EINVAL {
		return nil, errNoNamespace // mounts_open_common in fs/proc_namespace.c
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ParseMountInfo(file)
}

// ownTable returns the reader's own mount table. A procfs of another PID
// namespace does not show the reader; the kernel's own one, under its usual
// name, then does.
func (f *FS) ownTable() (*MountTable, error) {
	pid := f.Reader.PID
	if pid == 0 && f.tree.live() {
		return tableFrom(os.Open("/proc/self/mountinfo"))
	}
	if pid == 0 {
		return nil, errNoReader
	}
	d, err := f.tree.process(pid, pid)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return mountTable(d)
}

// OtherRoot tells whether the root file system is another one than that of a
// table in which that is known.
func (t *MountTable) OtherRoot(than *MountTable) bool {
	return than != nil && than.RootDev != "" && (t.RootDev != than.RootDev || t.RootDir != than.RootDir)
}
