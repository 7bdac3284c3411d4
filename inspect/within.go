package inspect

import (
	"cmp"
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
	full    []string     // mount tables whose views do not fit in
	// missed says why what was wanted and is not there could not be looked at.
	missed error
	// home and there are the reader's own cgroups, from outside and from within;
	// nil if they are not to be had.
	home, there *Cgroups
}

// within looks from within each cgroup namespace but the reader's own at the
// files of its members. One process stands for all that look the same from
// outside, since the kernel renders the same path the same.
func (r *recorder) within(ctx context.Context) error {
	missed := map[uint64]error{} // by namespace
	for range rounds {
		places := r.places()
		if len(places) == 0 {
			return nil
		}
		if err := r.each(ctx, len(places), func(i int, _ []byte) { r.visit(places[i]) }); err != nil {
			return err
		}
		for _, p := range places {
			missed[p.ns] = p.missed
			r.leaveOut(p)
		}
		for _, p := range places {
			r.again(p.moved)
		}
	}
	for _, p := range r.places() {
		p.missed = cmp.Or(missed[p.ns], errMoving)
		for _, s := range p.wanted {
			r.unseen(p, s)
		}
	}
	return ctx.Err()
}

// visit looks at what is wanted in a namespace, on a thread that may not come
// back.
func (r *recorder) visit(p *inside) {
	p.missed = errAstray
	r.tree.entering(func(e entrant) {
		r.enter(e, p)
		p.missed = errMoving
	})
	r.inside.Add(1)
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
func (r *recorder) enter(e entrant, p *inside) {
	wanted := p.wanted
	for _, member := range p.members {
		for len(wanted) > 0 {
			text, ok, err := r.look(e, p, member, wanted[0])
			if err != nil && !fleeting(err) {
				r.refuse(p.ns, err)
				return
			}
			if err != nil {
				p.moved[member.pid] = true
				break
			}
			if ok {
				r.keep(p, wanted[0], text)
			}
			wanted = wanted[1:]
		}
	}
}

func (r *recorder) refuse(ns uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.capture.refused[ns] = err
	for _, v := range r.capture.of(ns).mounts {
		r.release(v.text)
	}
	delete(r.capture.views, ns)
}

// look reads one file from within, in turns with the same file from outside: it
// counts only if neither changed, else both are not of one moment.
func (r *recorder) look(e entrant, p *inside, member taskID, s sight) (text string, ok bool, err error) {
	if !r.same(p, s) {
		return "", false, nil
	}
	if err := r.witnessed(e, p, member); err != nil {
		return "", false, err
	}
	for n := range 2 {
		again, err := r.read(e, p.ns, member, s)
		if err != nil {
			return "", false, err
		}
		if again == "" || n > 0 && again != text || !r.agree(p, s, again) || !r.same(p, s) {
			p.moved[s.task.pid] = true
			return "", false, nil
		}
		text = again
	}
	return text, true, nil
}

// witnessed looks once from within at the reader's own cgroups.
func (r *recorder) witnessed(e entrant, p *inside, member taskID) error {
	self := taskID{r.Reader.PID, r.Reader.PID}
	if p.there != nil || self.pid == 0 || !r.tree.live() {
		return nil
	}
	there, err := r.read(e, p.ns, member, sight{task: self, file: "cgroup"})
	if err != nil {
		return err
	}
	d, err := r.tree.process(self.pid, self.tid)
	if err != nil {
		return err
	}
	defer d.close()
	home, err := d.read("cgroup", nil)
	if err != nil {
		return err
	}
	if home, there, err := r.pair(home, []byte(there)); err == nil {
		p.home, p.there = home, there
	}
	return nil
}

// agree tells whether a cgroup file from within can be of the same moment as the
// one from outside.
func (r *recorder) agree(p *inside, s sight, within string) bool {
	if s.file != "cgroup" {
		return true
	}
	host, err1 := ParseCgroups([]byte(s.outside))
	own, err2 := ParseCgroups([]byte(within))
	if err1 != nil || err2 != nil {
		return true // odd as it is, it is what there is
	}
	return (!r.Reader.Initial() || agree(host, own, true)) && sameRoot(host, own, p.home, p.there)
}

// read reads a file from within; what cannot be read is empty. The error is that
// of going in.
func (r *recorder) read(e entrant, ns uint64, member taskID, s sight) (text string, err error) {
	d, err := r.tree.process(member.pid, member.tid)
	if err != nil {
		return "", err
	}
	defer d.close()
	g, err := e.open(d, ns)
	if err != nil {
		return "", err
	}
	defer g.close()
	err = g.in(func(in lens) error {
		target, err := r.tree.process(s.task.pid, s.task.tid)
		if err != nil {
			return nil
		}
		defer target.close()
		if got, err := readBounded(in.open(target, s.file)); err == nil {
			text = got
		}
		return nil
	})
	return text, err
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
