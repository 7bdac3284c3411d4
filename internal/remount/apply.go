package remount

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// Apply does what the plan says, mount by mount, then reads again what the
// process sees. It plans anew before, and if that is not the same plan, changes
// nothing and returns an [*Error] of kind ErrChanged. That a mount could not be
// mended is in the result, with the state that it is in; an error says that
// nothing was changed at all.
//
// A cancelled context ends it at once while nothing of the present mount has been
// changed, else when that is mended or as it was: with ErrInterrupted if nothing
// at all was changed.
func (p *Plan) Apply(ctx context.Context) (Result, error) {
	now, err := newPlan(ctx, p.fs, p.sys, p.Process.TID, p.options)
	if ctx.Err() != nil {
		return Result{}, ErrInterrupted
	}
	if err != nil {
		return Result{}, err
	}
	if why := p.differs(now); why != "" {
		return Result{}, &Error{
			Kind: ErrChanged, Tried: "apply the plan", Err: fmt.Errorf("%s since it was made", why),
			Next: "look at the plan again",
		}
	}
	for i := range now.Mounts {
		now.Mounts[i].State = Unchanged
	}
	if len(now.jobs) > 0 {
		if err := now.perform(ctx); err != nil {
			return Result{}, err
		}
		now.verify(context.WithoutCancel(ctx))
	}
	return Result{now}, nil
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
		return "something has come up (" + now.Refusal + ")"
	case !slices.EqualFunc(p.Mounts, now.Mounts, func(a, b Mount) bool {
		return a.MountID == b.MountID && a.MountPoint == b.MountPoint && a.Action == b.Action && a.NamespaceRoot == b.NamespaceRoot
	}):
		return "its mounts, or what is to be done with them, have changed"
	}
	return ""
}

// perform mends on a thread that enters the process's namespaces. Its error
// says that nothing was changed.
func (p *Plan) perform(ctx context.Context) error {
	h, err := p.fs.Handles(p.Process)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &work{jobs: p.jobs, done: make(chan outcome, len(p.jobs))}
	go inspect.Disposable(func() {
		defer h.Close()
		w.do(ctx, p.sys, h, p.Process)
	})
	return w.follow(ctx)
}

// tell writes what has become of a job into the plan's mount.
func (j *job) tell(o outcome) {
	j.plan.State, j.plan.Notes = o.state, o.notes
	if o.err == nil {
		return
	}
	j.plan.Error = o.err.Error()
	var e *Error
	if errors.As(o.err, &e) {
		j.plan.Hint = e.Hint()
	}
	if o.state == Lost {
		j.plan.Hint = "see what is at " + printable.Text(j.old.MountPoint) + " now: mount there by hand, or restart the process"
	}
}

// verify reads the process again and says of each mount point what is there. A
// mount that was mended and is not seen to be is an error.
func (p *Plan) verify(ctx context.Context) {
	s, err := p.fs.Subject(ctx, p.Process.TID, nil)
	if err == nil && s.Process.StartTicks != p.Process.StartTicks {
		err = inspect.ErrExited
	}
	if err == nil && (s.Own == nil || s.Host.Mounts == nil) {
		err = errors.New("they could not be read")
	}
	var view *compare.Comparison
	if err == nil {
		view = compare.Compare(p.fs.Reader, s, p.roots)
	}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if view != nil {
			m.After = after(view, m)
		}
		switch {
		case m.State != Mended:
		case view == nil:
			m.Error = "cannot read the process's mounts again: " + err.Error()
		case m.After == nil:
			m.Error = "nothing of the hierarchy is seen at the mount point now"
		case m.After.NamespaceRoot != "/":
			m.Error = "the mount that is seen at the mount point now does not show the namespace's own root"
		}
	}
}

// after finds the mount of the same hierarchy that is visible at a mount point.
func after(view *compare.Comparison, was *Mount) *After {
	for i := range view.Hierarchies {
		h := &view.Hierarchies[i]
		for j := range h.Mounts {
			m := &h.Mounts[j]
			if h.Hierarchy.Label == was.Hierarchy.Label && m.Visible && m.MountPoint == was.MountPoint {
				return &After{MountID: m.ID, NamespaceRoot: m.NamespaceRoot, Verdict: m.Verdict}
			}
		}
	}
	return nil
}
