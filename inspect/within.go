package inspect

import (
	"context"
	"errors"
	"slices"
)

// maxForeignViews bounds how many processes of other cgroup namespaces are
// looked at from within each one, so that any can be compared with any.
const maxForeignViews = 10_000

// rounds is how often what moves while it is looked at from within is looked at
// again.
const rounds = 4

// sight is a task's file that is to be looked at from within a namespace.
type sight struct {
	task taskID
	file string
	// outside is what the reader reads.
	outside string
}

// inside are the members of one cgroup namespace, and what to look at in it.
type inside struct {
	ns      uint64
	members []taskID
	wanted  []sight
	moved   map[int]bool // processes that are not any more as they were taken in
}

// within looks from within each cgroup namespace but the reader's own at the
// files of its members. One process stands for all that look the same from
// outside, since the kernel renders the same path the same.
func (r *recorder) within(ctx context.Context) error {
	for range rounds {
		places := r.places()
		if len(places) == 0 {
			return nil
		}
		err := r.each(ctx, len(places), func(i int, _ []byte) {
			r.enter(places[i])
			r.inside.Add(1)
		})
		if err != nil {
			return err
		}
		for _, p := range places {
			r.again(p.moved)
		}
	}
	for _, p := range r.places() {
		for _, s := range p.wanted {
			r.unseen(p, s)
		}
	}
	return ctx.Err()
}

// places are the namespaces in which something is still to be looked at.
func (r *recorder) places() []*inside {
	by := map[uint64]*inside{}
	var list []*inside
	all := r.capture.ordered()
	for _, id := range all {
		ns := r.capture.tasks[id].ns("cgroup")
		if ns == 0 || ns == r.Reader.CgroupNS || r.capture.refused[ns] != nil {
			continue
		}
		if by[ns] == nil {
			by[ns] = &inside{ns: ns, moved: map[int]bool{}}
			list = append(list, by[ns])
		}
		by[ns].members = append(by[ns].members, id)
	}
	kinds := r.kinds(all)
	if len(kinds)*len(list) > maxForeignViews {
		kinds = []taskID{{1, 1}} // whom compare takes by itself
	}
	for _, p := range list {
		r.want(p, kinds)
	}
	return slices.DeleteFunc(list, func(p *inside) bool { return len(p.wanted) == 0 })
}

// kinds has one task for each cgroup file that there is.
func (r *recorder) kinds(all []taskID) []taskID {
	seen := map[string]bool{}
	var kinds []taskID
	for _, id := range all {
		text, ok := r.capture.tasks[id].files["cgroup"]
		if ok && !seen[text] {
			seen[text] = true
			kinds = append(kinds, id)
		}
	}
	return kinds
}

// want finds out what has not been looked at yet from within p.
func (r *recorder) want(p *inside, others []taskID) {
	asked := map[sight]bool{}
	add := func(id taskID, file, outside string) {
		s := sight{file: file, outside: outside}
		if _, have := r.capture.of(p.ns).named(file)[outside]; have || asked[s] {
			return
		}
		asked[s] = true
		s.task = id
		p.wanted = append(p.wanted, s)
	}
	for _, id := range p.members {
		t := r.capture.tasks[id]
		if text, ok := t.files["cgroup"]; ok {
			add(id, "cgroup", text)
		}
		if text, err := r.capture.mountinfo(t); err == nil {
			add(id, "mountinfo", text)
		}
	}
	for _, id := range others {
		if t := r.capture.tasks[id]; t != nil && t.files["cgroup"] != "" {
			add(id, "cgroup", t.files["cgroup"])
		}
	}
}

// enter goes into a namespace with the first member that lets the reader in,
// and looks at all that is wanted there.
func (r *recorder) enter(p *inside) {
	e := r.tree.entrant()
	defer e.close()
	wanted := slices.DeleteFunc(slices.Clone(p.wanted), func(s sight) bool { return !r.same(p, s) })
	for _, member := range p.members {
		texts, err := r.look(e, p.ns, member, wanted)
		if err != nil && !fleeting(err) {
			r.mu.Lock()
			r.capture.refused[p.ns] = err
			delete(r.capture.views, p.ns)
			r.mu.Unlock()
			return
		}
		if err != nil {
			p.moved[member.pid] = true
			continue
		}
		for i, s := range wanted {
			if texts[i] != "" && r.same(p, s) {
				r.mu.Lock()
				r.capture.views[p.ns].named(s.file)[s.outside] = view{of: s.task, text: texts[i]}
				r.mu.Unlock()
			}
		}
		return
	}
}

// look reads the files from within; what cannot be read is empty.
func (r *recorder) look(e entrant, ns uint64, member taskID, wanted []sight) ([]string, error) {
	d, err := r.tree.process(member.pid, member.tid)
	if err != nil {
		return nil, err
	}
	defer d.close()
	texts := make([]string, len(wanted))
	err = e.in(d, ns, func(in lens) error {
		for i, s := range wanted {
			target, err := r.tree.process(s.task.pid, s.task.tid)
			if err != nil {
				continue
			}
			if text, err := readBounded(in.open(target, s.file)); err == nil {
				texts[i] = text
			}
			target.close()
		}
		return nil
	})
	return texts, err
}

// same tells whether a task's file is from outside what was taken in, and the
// task still the same and in its namespaces.
func (r *recorder) same(p *inside, s sight) bool {
	d, err := r.tree.process(s.task.pid, s.task.tid)
	if err != nil {
		p.moved[s.task.pid] = true
		return false
	}
	defer d.close()
	r.mu.Lock()
	t := r.capture.tasks[s.task]
	r.mu.Unlock()
	text, err1 := readBounded(d.open(s.file))
	settled, err2 := r.settled(d, t)
	if errors.Join(err1, err2) != nil || !settled || text != s.outside {
		p.moved[s.task.pid] = true
		return false
	}
	return true
}

// unseen notes of the members that could not be looked at from within that they
// kept moving.
func (r *recorder) unseen(p *inside, s sight) {
	for _, id := range p.members {
		t := r.capture.tasks[id]
		text, ok := t.files[s.file]
		if s.file == "mountinfo" {
			var err error
			text, err = r.capture.mountinfo(t)
			ok = err == nil
		}
		if ok && text == s.outside {
			t.errs["ns/cgroup"] = errMoving
			delete(t.links, "ns/cgroup")
		}
	}
}
