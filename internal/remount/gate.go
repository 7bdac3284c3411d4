package remount

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// gate finds out whom a change of the mounts would hurt and takes it into the
// plan: a refusal, or what the jobs have to mind.
func (r *reading) gate(ctx context.Context, p *Plan) error {
	task := r.subject.Process.Task
	self := inspect.Task{PID: r.fs.Reader.PID, TID: r.fs.Reader.PID}
	a, err := r.fs.Answer(ctx, inspect.Questions{Threads: []uint64{task.MntNS}, Owners: []inspect.Task{task, self}})
	if err != nil {
		return err
	}
	near := compare.NewNeighbours(r.host, a.Threads)
	b, err := r.fs.Answer(ctx, inspect.Questions{Tables: near.Strangers})
	if err != nil {
		return err
	}
	near.Tables = b.Tables
	with := near.Of(task, p.jobs[0].old.ID)
	with.Unknown = slices.DeleteFunc(with.Unknown, func(t inspect.Task) bool { return !r.fs.Exists(t) && t.PID != task.PID })
	refusal := with.Refusal(r.fs.Reader, task)
	p.refuse(refusal.Why, refusal.Hint)
	if refusal.Why != "" && !with.First && !with.Reader { // the host is no list of processes
		p.Sharers = r.sharers(with.Others)
	}
	if r.subject.Host.Mounts.OtherRoot(r.host.Own) {
		p.Notes = append(p.Notes, "its root file system is not the reader's: if a container runtime made these mounts, it makes them so again at the next start, so configure it there too")
	}
	// A user namespace that owns the mount namespace keeps the mounts which
	// that inherited from being taken away (MNT_LOCKED, mount_namespaces(7)).
	locked := a.Owners[0] != 0 && a.Owners[1] != 0 && a.Owners[0] != a.Owners[1]
	for _, j := range p.jobs {
		if locked || j.unreachable() {
			j.plan.Action = Cover
		}
	}
	return nil
}

// sharers names processes, each once.
func (r *reading) sharers(tasks []inspect.Task) []Sharer {
	var list []Sharer
	for _, t := range tasks {
		if slices.ContainsFunc(list, func(s Sharer) bool { return s.PID == t.PID && s.CgroupNS == t.CgroupNS }) {
			continue
		}
		s := Sharer{PID: t.PID, CgroupNS: t.CgroupNS}
		if p, ok := r.fs.Describe(t); ok {
			s.Command = p.Command
		}
		list = append(list, s)
	}
	return list
}

// unreachable tells whether the old mount cannot be taken away without risk:
// its parent mount is shared and cannot be made a slave, as no path leads to
// it, or no copy of the old mount could be kept to be put back.
func (j *job) unreachable() bool {
	parent := j.old.Parent
	return !parent.Known || parent.Shared && !parent.Visible || strings.Contains(j.old.Propagation, "unbindable")
}

// prepare reads what lies upon the mounts that are mended, puts the jobs into
// an order, deepest mount point first, and words their steps.
func (p *Plan) prepare(r *reading) error {
	all, err := r.fs.Submounts(p.Process.Task)
	if err != nil {
		return fmt.Errorf("read the mounts of process %d: %w", p.Process.PID, err)
	}
	var kept []*job
	for _, j := range p.jobs {
		j.submounts = all.Below(j.old.ID)
		if why := j.stuck(); why != "" {
			j.plan.Action, j.plan.Reason, j.plan.Hint = Refuse, why, "take that mount away first"
			continue
		}
		j.plan.Steps = j.steps(p.Process)
		kept = append(kept, j)
	}
	p.jobs = kept
	sort.SliceStable(p.jobs, func(a, b int) bool {
		return strings.Count(p.jobs[a].old.MountPoint, "/") > strings.Count(p.jobs[b].old.MountPoint, "/")
	})
	return nil
}

// stuck says why what lies upon the old mount could not be kept, or nothing.
func (j *job) stuck() string {
	for _, m := range j.submounts {
		switch {
		case m.Unbindable:
			return fmt.Sprintf("the mount at %s lies upon it and is unbindable, so it could not be kept", printable.Text(m.MountPoint))
		case m.MayHang:
			return fmt.Sprintf("a %s mount, which may never answer, lies upon it at %s", m.FSType, printable.Text(m.MountPoint))
		case m.ParentID == j.old.ID && j.covered(m):
			return fmt.Sprintf("the mount at %s lies upon it under another one, so it could not be kept", printable.Text(m.MountPoint))
		}
	}
	return ""
}

// covered tells whether the path of a mount right upon the old one leads to
// another mount: no copy of it could be made by that path.
func (j *job) covered(m inspect.Submount) bool {
	at := path.Clean(m.MountPoint)
	return slices.ContainsFunc(j.submounts, func(o inspect.Submount) bool {
		over := path.Clean(o.MountPoint)
		return o.ID != m.ID && (at == over || strings.HasPrefix(at, over+"/"))
	})
}
