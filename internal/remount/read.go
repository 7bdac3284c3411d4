package remount

import (
	"context"
	"errors"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// NewPlan reads a process and plans how its stale cgroup mounts are mended. It
// changes nothing. What it will not mend is in the plan, with the reason; an
// error says that there is no plan: it is an [*Error] of kind ErrReader, is
// ErrInterrupted, or wraps what inspect has of a process that cannot be read.
func NewPlan(ctx context.Context, fs *inspect.FS, pid int, opts Options) (*Plan, error) {
	if !fs.Reader.SamePIDs {
		return nil, &Error{
			Kind: ErrReader, Tried: "mend mounts", Err: errOtherProc,
			Next: "run it on the host itself, with the /proc of its own PID namespace",
		}
	}
	p, err := newPlan(ctx, fs, &kernel, pid, opts)
	if ctx.Err() != nil {
		return nil, ErrInterrupted
	}
	return p, err
}

var errOtherProc = errors.New("the procfs is recorded, or numbers processes otherwise than this process sees them")

func newPlan(ctx context.Context, fs *inspect.FS, sys *calls, pid int, opts Options) (*Plan, error) {
	r := &reading{fs: fs}
	if err := r.read(ctx, pid); err != nil {
		return nil, err
	}
	s := r.subject
	p := &Plan{Process: s.Process, Skipped: s.Skipped, fs: fs, sys: sys, options: opts, roots: r.roots}
	j := judge{reading: r, foreign: opts.Foreign}
	var decisions []decision
	for i := range r.view.Hierarchies {
		decisions = append(decisions, j.hierarchy(&r.view.Hierarchies[i])...)
	}
	p.take(decisions)
	if p.refuse(r.blind()); len(p.jobs) == 0 {
		return p, nil
	}
	if err := r.readHost(ctx); err != nil {
		return nil, err
	}
	if err := r.gate(ctx, p); err != nil {
		return nil, err
	}
	if p.Refusal != "" {
		return p, nil
	}
	return p, p.prepare(r)
}

// reading is what a plan rests on.
type reading struct {
	fs      *inspect.FS
	subject *inspect.Subject
	roots   compare.Roots // nil: the subject proves them
	view    *compare.Comparison
	// host is read where something is to be mended, or the subject does not
	// prove its namespace's root directories.
	host *inspect.Host
}

func (r *reading) read(ctx context.Context, pid int) (err error) {
	if r.subject, err = r.fs.Subject(ctx, pid, nil); err != nil {
		return err
	}
	if !compare.Proven(r.fs.Reader, r.subject) {
		if err := r.readHost(ctx); err != nil {
			return err
		}
		if r.roots, err = r.searchRoots(ctx); err != nil {
			return err
		}
	}
	r.view = compare.Compare(r.fs.Reader, r.subject, r.roots)
	return nil
}

// readHost reads every thread of the host: one alone may be in another cgroup
// namespace than its process.
func (r *reading) readHost(ctx context.Context) (err error) {
	if r.host != nil {
		return nil
	}
	r.host, err = r.fs.Scan(ctx, inspect.Want{Views: true, Threads: true, Only: r.subject.Process.CgroupNS})
	return err
}

func (r *reading) searchRoots(ctx context.Context) (compare.Roots, error) {
	d := compare.NewRootSearch(r.host, r.subject.Process.PID)
	err := d.Settle(func(q inspect.Questions) (*inspect.Answers, error) { return r.fs.Answer(ctx, q) })
	if err != nil {
		return nil, err
	}
	return d.Roots(r.subject.Process.CgroupNS), nil
}

// blind says what keeps the reader from seeing what is to be mended at all.
func (r *reading) blind() (refusal, hint string) {
	switch s := r.subject; {
	case s.Own == nil:
		return "its cgroup namespace could not be looked into: " + s.Reason, compare.ToSee
	case s.Host.Mounts == nil:
		return "its mounts could not be read", compare.ToSee
	}
	return "", ""
}
