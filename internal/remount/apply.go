package remount

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// Apply does what the plan says, mount by mount, then reads again what the
// process sees. It plans anew before, and if that is not the same plan, changes
// nothing and returns an [*Error] of kind ErrChanged. That a mount could not be
// mended is in the result, with the state that it is in; an error says that
// nothing was changed at all.
//
// A cancelled context ends it between two mounts, never within one.
func (p *Plan) Apply(ctx context.Context) (*Result, error) {
	now, err := newPlan(ctx, p.fs, p.sys, p.Process.TID, p.options)
	if err != nil {
		return nil, err
	}
	if why := p.differs(now); why != "" {
		return nil, &Error{
			Kind: ErrChanged, Tried: "apply the plan", Err: fmt.Errorf("%s since it was made", why),
			hint: "look at the plan again",
		}
	}
	r := &Result{Process: now.Process, Mounts: now.Mounts, Notes: []string{}}
	for i := range r.Mounts {
		r.Mounts[i].State = Text(Unchanged)
	}
	if len(now.jobs) == 0 {
		return r, nil
	}
	if err := now.perform(ctx); err != nil {
		return nil, err
	}
	r.verify(context.WithoutCancel(ctx), now)
	return r, nil
}

// differs says in what another plan for the same process is not this one.
func (p *Plan) differs(now *Plan) string {
	was, is := &p.Process, &now.Process
	switch {
	case was.StartTicks != is.StartTicks:
		return "its process has ended"
	case was.CgroupNS != is.CgroupNS || was.MntNS != is.MntNS || was.Root != is.Root:
		return "its process has changed its namespaces or root directory"
	case p.Refusal != now.Refusal && now.Refusal != "":
		return "something has come up (" + string(now.Refusal) + ")"
	case !slices.EqualFunc(p.Mounts, now.Mounts, func(a, b Mount) bool {
		return a.MountID == b.MountID && a.MountPoint == b.MountPoint && a.Action == b.Action && a.NamespaceRoot == b.NamespaceRoot
	}):
		return "its mounts, or what is to be done with them, have changed"
	}
	return ""
}

// perform enters and mends. Its error says that nothing was changed.
func (p *Plan) perform(ctx context.Context) error {
	h, err := p.fs.Handles(p.Process)
	if err != nil {
		return err
	}
	defer h.Close()
	inspect.Disposable(func() {
		var r *room
		if r, err = enter(p.sys, h, p.Process); err != nil {
			return
		}
		defer r.leave()
		for i, j := range p.jobs {
			if ctx.Err() != nil && i == 0 {
				err = ctx.Err()
				return
			}
			o := outcome{state: Unchanged, err: ctx.Err()}
			if o.err == nil {
				o = r.mend(j)
			}
			j.tell(o)
			if o.state == Lost {
				p.stop(i+1, j)
				return
			}
		}
	})
	return err
}

// tell writes what has become of a job into the plan's mount.
func (j *job) tell(o outcome) {
	j.plan.State, j.plan.Notes = Text(o.state), o.notes
	if o.err == nil {
		return
	}
	j.plan.Error = Text(o.err.Error())
	var e *Error
	if errors.As(o.err, &e) {
		j.plan.Hint = Text(e.Hint())
	}
	if o.state == Lost {
		j.plan.Hint = Text("nothing may be mounted at " + printable(j.old.MountPoint) + " now: restart the process, or mount there by hand")
	}
}

// stop leaves the jobs from n on alone after one that could not be undone.
func (p *Plan) stop(n int, after *job) {
	for _, j := range p.jobs[n:] {
		j.tell(outcome{state: Unchanged, err: fmt.Errorf("not tried, since the old mount at %s could not be put back", printable(after.old.MountPoint))})
	}
}

// verify reads the process again and says of each mount point what is there. A
// mount that should be mended and is not is an error.
func (r *Result) verify(ctx context.Context, p *Plan) {
	s, err := p.fs.Subject(ctx, p.Process.TID, nil)
	if err == nil && s.Process.StartTicks != p.Process.StartTicks {
		err = inspect.ErrExited
	}
	if err == nil && (s.Own == nil || s.Host.Mounts == nil) {
		err = errors.New("its mounts could not be read again")
	}
	if err != nil {
		r.Notes = append(r.Notes, "what the process sees now could not be read: "+err.Error())
		return
	}
	view := compare.Compare(p.fs.Reader, s, p.roots)
	for i := range r.Mounts {
		m := &r.Mounts[i]
		m.After = after(view, m)
		switch {
		case m.State != Text(Mended):
		case m.After == nil:
			m.Error = "nothing of the hierarchy is seen at the mount point"
		case m.After.NamespaceRoot != "/":
			m.Error = "the mount that is seen at the mount point does not show the namespace's own root"
		}
	}
}

// after finds the mount of the same hierarchy that is visible at a mount point.
func after(view *compare.Comparison, was *Mount) *After {
	for i := range view.Hierarchies {
		h := &view.Hierarchies[i]
		for j := range h.Mounts {
			m := &h.Mounts[j]
			if h.Hierarchy.Label == was.Hierarchy && m.Visible && m.MountPoint == was.MountPoint {
				return &After{MountID: m.ID, NamespaceRoot: Text(m.NamespaceRoot), Verdict: m.Verdict}
			}
		}
	}
	return nil
}
