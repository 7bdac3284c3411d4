package remount

import (
	"context"
	"fmt"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// NewPlan reads a process and plans how its stale cgroup mounts are mended. It
// changes nothing. What it will not mend is in the plan, with the reason; an
// error says that there is no plan: it is an [*Error] of kind ErrUsage or
// ErrReader, or wraps what inspect has of a process that cannot be read.
func NewPlan(ctx context.Context, fs *inspect.FS, pid int, opts Options) (*Plan, error) {
	for _, word := range opts.Include {
		if word != IncludeForeign {
			return nil, &Error{
				Kind: ErrUsage, Tried: "include", On: word,
				Err: fmt.Errorf("the only word that it knows is %s", IncludeForeign),
			}
		}
	}
	if !fs.Reader.SamePIDs {
		return nil, &Error{
			Kind: ErrReader, Tried: "mend mounts", Err: errOtherProc,
			hint: "run it on the host itself, with the /proc of its own PID namespace",
		}
	}
	return newPlan(ctx, fs, &kernel, pid, opts)
}

var errOtherProc = fmt.Errorf("the procfs is recorded, or numbers processes otherwise than this process sees them")

func newPlan(ctx context.Context, fs *inspect.FS, sys *calls, pid int, opts Options) (*Plan, error) {
	r := &reading{fs: fs}
	if err := r.read(ctx, pid); err != nil {
		return nil, err
	}
	s := r.subject
	p := &Plan{
		Process: s.Process, Skipped: s.Skipped, Mounts: []Mount{}, Sharers: []Sharer{}, Notes: []string{},
		fs: fs, sys: sys, options: opts, roots: r.roots,
	}
	j := judge{reading: r, include: len(opts.Include) > 0}
	for i := range r.view.Hierarchies {
		p.add(j.hierarchy(&r.view.Hierarchies[i]))
	}
	if len(p.jobs) == 0 {
		p.unreadable(r)
		return p, nil
	}
	if err := r.readHost(ctx); err != nil {
		return nil, err
	}
	g, err := r.gate(ctx, p.jobs[0].old.ID)
	if err != nil {
		return nil, err
	}
	p.pass(g)
	if err := p.prepare(r); err != nil {
		return nil, err
	}
	return p, nil
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
	for q, more := d.Ask(); more; q, more = d.Ask() {
		a, err := r.fs.Answer(ctx, q)
		if err != nil {
			return nil, err
		}
		d.Learn(a)
	}
	return d.Roots(r.subject.Process.CgroupNS), nil
}

// member is a live process of the namespace that has to be found in a fresh
// mount, at this path in the namespace's view.
type member struct {
	pid  int
	path string
}

// members are the live processes inside the namespace's root directory of one
// hierarchy, the subject first.
func (r *reading) members(h *compare.HierarchyView) []member {
	var list []member
	if h.Known == compare.Entered && h.NamespacePath != "" && !h.Outside() {
		list = append(list, member{r.subject.Process.PID, h.NamespacePath})
	}
	if r.host == nil {
		return list
	}
	for _, ns := range r.host.Namespaces {
		if ns.NS != r.subject.Process.CgroupNS {
			continue
		}
		for _, p := range ns.Pairs {
			own, ok := p.Own.Of(h.Hierarchy.Label)
			if ok && !own.Cut && !inspect.Outside(own.Path) && p.PID != r.subject.Process.PID {
				list = append(list, member{p.PID, own.Path})
			}
		}
	}
	return list
}
