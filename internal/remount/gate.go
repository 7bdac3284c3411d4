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
)

// initialPIDNS is the inode of the initial PID namespace, fixed since Linux 3.8
// (enum init_ns_ino in include/uapi/linux/nsfs.h).
const initialPIDNS = 4026531836

// gate is what stands against mending at all, and what is known of the mount
// namespace.
type gate struct {
	refusal, hint string
	sharers       []Sharer
	notes         []string
	// locked tells that a user namespace owns the mount namespace, so that the
	// mounts which it inherited cannot be taken away (MNT_LOCKED,
	// mount_namespaces(7)).
	locked bool
}

// gate finds out whom a change of the mounts would hurt. mount is the ID of one
// that is to be mended.
func (r *reading) gate(ctx context.Context, mount int) (*gate, error) {
	self := inspect.Task{PID: r.fs.Reader.PID, TID: r.fs.Reader.PID, CgroupNS: r.fs.Reader.CgroupNS}
	strangers := compare.Strangers(r.host)
	a, err := r.fs.Answer(ctx, inspect.Questions{
		Tables: strangers, Owners: []inspect.Task{r.subject.Process.Task, self}, Processes: []inspect.Task{self},
	})
	if err != nil {
		return nil, err
	}
	g := &gate{locked: a.Owners[0] != 0 && a.Owners[1] != 0 && a.Owners[0] != a.Owners[1]}
	with := compare.SharingOf(r.host, r.subject.Process.Task, mount, a.Tables)
	with.Unknown = slices.DeleteFunc(with.Unknown, func(t inspect.Task) bool { return !r.fs.Exists(t) && t.PID != r.subject.Process.PID })
	everyone := a.Processes[0] != nil && a.Processes[0].PIDNS == initialPIDNS
	r.refuse(g, with, everyone)
	own, theirs := r.host.Own, r.subject.Host.Mounts
	if own != nil && own.RootDev != "" && (own.RootDev != theirs.RootDev || own.RootDir != theirs.RootDir) {
		g.notes = append(g.notes, "its root file system is not the reader's: if a container runtime made these mounts, it makes them so again at the next start, so configure it there too")
	}
	return g, nil
}

// refuse decides. everyone tells whether the reader sees all processes.
func (r *reading) refuse(g *gate, with compare.Sharing, everyone bool) {
	pid := r.subject.Process.PID
	ownMounts := "start it with a mount namespace of its own: unshare -C -m COMMAND"
	switch {
	case r.subject.Process.MntNS == 0:
		g.refusal = "its mount namespace could not be read, so who else uses it could not be found out"
		g.hint = "run it as root on the host"
	case with.First:
		g.refusal, g.hint = "its mount namespace is PID 1's, so mending its mounts would break the host's", ownMounts
	case with.Reader:
		g.refusal, g.hint = "its mount namespace is that of nsinspect itself, so mending its mounts would change the reader's", ownMounts
		if r.fs.Reader.CgroupNS == r.subject.Process.CgroupNS {
			g.hint = fmt.Sprintf("from outside of its namespaces, run 'nsinspect remount' with the number that %d has there", pid)
		}
	case len(with.Others) > 0:
		g.sharers = r.sharers(with.Others)
		g.refusal = fmt.Sprintf("processes of other cgroup namespaces use its mount namespace (%s), and mending its mounts would break theirs", names(g.sharers))
		g.hint = "give it a mount namespace of its own first: unshare -m COMMAND"
	case len(with.Unknown) > 0:
		g.refusal = fmt.Sprintf("whether others use its mount namespace could not be found out: of %d processes, the first %d, neither ns/mnt nor mountinfo can be read", len(with.Unknown), with.Unknown[0].PID)
		g.hint = "run it as root on the host"
	case !everyone:
		g.refusal = "whether others use its mount namespace could not be found out: from this PID namespace not all processes can be seen"
		g.hint = "run it in the host's PID namespace"
	}
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

// names lists the first few sharers.
func names(list []Sharer) string {
	const most = 5
	var words []string
	for i, s := range list {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		words = append(words, strings.TrimSpace(fmt.Sprintf("%d %s", s.PID, printable(s.Command))))
	}
	return strings.Join(words, ", ")
}

// pass takes what the gate found into the plan.
func (p *Plan) pass(g *gate) {
	p.Notes = append(p.Notes, g.notes...)
	p.Refusal, p.Hint = Text(g.refusal), Text(g.hint)
	if g.sharers != nil {
		p.Sharers = g.sharers
	}
	for _, j := range p.jobs {
		switch {
		case g.refusal != "":
			j.plan.Action, j.plan.Reason = Refuse, Text(g.refusal)
		case g.locked || j.unreachable():
			j.plan.Action = Cover
		}
	}
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
	var kept []*job
	for _, j := range p.jobs {
		if !j.plan.Mends() {
			continue
		}
		var err error
		if j.submounts, err = r.fs.Submounts(p.Process.Task, j.old.ID); err != nil {
			return fmt.Errorf("read the mounts of process %d: %w", p.Process.PID, err)
		}
		if why := j.stuck(); why != "" {
			j.plan.Action, j.plan.Reason = Refuse, Text(why)
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
	for i, m := range j.submounts {
		switch {
		case m.Unbindable:
			return fmt.Sprintf("the mount at %s lies upon it and is unbindable, so it could not be kept", printable(m.MountPoint))
		case m.MayHang:
			return fmt.Sprintf("a %s mount, which may never answer, lies upon it at %s", m.FSType, printable(m.MountPoint))
		case m.ParentID == j.old.ID && path.Clean(m.MountPoint) == path.Clean(j.old.MountPoint):
			return "another mount lies right upon it"
		}
		for _, other := range j.submounts[:i] {
			if m.ParentID == other.ID && m.MountPoint == other.MountPoint && other.ParentID == j.old.ID || m.ParentID == other.ParentID && m.MountPoint == other.MountPoint {
				return fmt.Sprintf("mounts are stacked upon it at %s, and not all of them could be kept", printable(m.MountPoint))
			}
		}
	}
	return ""
}
