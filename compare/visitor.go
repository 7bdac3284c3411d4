package compare

import (
	"math"
	"slices"
	"strings"

	"nsinspect/inspect"
)

// visits judges which tasks entered a namespace from elsewhere. What it finds
// out of a namespace's members it keeps: thousands may be judged by it.
type visits struct {
	family
	places  map[int]span // nil until somebody asks
	cgroups map[cgroupPlace]*cgroupHome
	mounts  map[uint64]*mountHome
	guests  map[uint64]*guestHome
}

func (f family) visits() *visits {
	return &visits{
		family: f, cgroups: map[cgroupPlace]*cgroupHome{}, mounts: map[uint64]*mountHome{}, guests: map[uint64]*guestHome{},
	}
}

func (v *visits) span(pid int) span {
	if v.places == nil {
		v.places = v.spans()
	}
	if s, ok := v.places[pid]; ok {
		return s
	}
	return nowhere
}

// started is Kin.Started; after all others where it is not known.
func (v *visits) started(pid int) int {
	if kin, ok := v.kin[pid]; ok {
		return int(min(kin.Started, math.MaxInt))
	}
	return math.MaxInt
}

// before tells whether what was started then is known to be older than a
// process.
func (v *visits) before(then, pid int) bool {
	_, ok := v.kin[pid]
	return ok && then < v.started(pid)
}

// natives are those of a namespace's members that are of another line than the
// one that arrived.
type natives struct {
	any bool
	// older tells whether one of them was there before the line. Nobody of the
	// line itself was.
	older bool
	// children tells whether members descend from the line.
	children bool
	// beside tells whether one of them is in the task's mount namespace too.
	beside bool
}

// cgroupPlace is the roots of a cgroup namespace in some hierarchies.
type cgroupPlace struct {
	ns     uint64
	labels string
}

// cgroupHome is who lives inside them.
type cgroupHome struct {
	*line
	places []int             // of those, in order
	oldest int               // when the first of them started
	beside map[uint64]extent // by mount namespace
}

// extent is the first and the last place of some processes.
type extent struct{ first, last int }

// beyond tells whether one of them has a place before or behind a line.
func (e extent) beyond(s span) bool { return e.first < s.at || e.last >= s.end }

// cgroupHome finds out who lives inside a namespace's roots in the hierarchies
// in which the views lie outside.
func (v *visits) cgroupHome(ns *inspect.Namespace, roots Roots, views []HierarchyView) *cgroupHome {
	place := cgroupPlace{ns: ns.NS}
	for i := range views {
		if views[i].Outside() {
			place.labels += views[i].Hierarchy.Label + "\n"
		}
	}
	if h := v.cgroups[place]; h != nil {
		return h
	}
	labels := strings.Split(strings.TrimSuffix(place.labels, "\n"), "\n")
	held := map[*inspect.Cgroups]bool{}
	inside := func(t inspect.Task) bool {
		holds, ok := held[t.Cgroups]
		if !ok {
			holds = roots.hold(t.Cgroups, labels)
			held[t.Cgroups] = holds
		}
		return holds
	}
	h := &cgroupHome{
		line:   v.line(func(a inspect.Task) bool { return a.CgroupNS != ns.NS || inside(a) }),
		oldest: math.MaxInt, beside: map[uint64]extent{},
	}
	for _, m := range ns.Members {
		if !inside(m) {
			continue
		}
		at := v.span(m.PID).at
		h.places = append(h.places, at)
		h.oldest = min(h.oldest, v.started(m.PID))
		e, ok := h.beside[m.MntNS]
		if !ok {
			e = extent{at, at}
		}
		h.beside[m.MntNS] = extent{min(e.first, at), max(e.last, at)}
	}
	slices.Sort(h.places)
	v.cgroups[place] = h
	return h
}

func (h *cgroupHome) natives(s span, mnt uint64) natives {
	var n natives
	if len(h.places) > 0 {
		n.any = extent{h.places[0], h.places[len(h.places)-1]}.beyond(s)
		next, _ := slices.BinarySearch(h.places, s.at+1)
		n.children = next < len(h.places) && h.places[next] < s.end
	}
	if e, ok := h.beside[mnt]; ok {
		n.beside = e.beyond(s)
	}
	return n
}

// cgroupVisitor tells whether a task outside its namespace's root entered the
// namespace from elsewhere (nsenter, a debug shell), it or an ancestor: nobody
// on its line lives inside, but others do, and it still is where its nearest
// ancestor in another cgroup namespace is. Of the reader itself others are not
// asked for: it may not be let see them.
func (v *visits) cgroupVisitor(t inspect.Task, views []HierarchyView, h *cgroupHome) bool {
	at := h.arrival(t)
	if !at.ok || at.from.CgroupNS == t.CgroupNS {
		return false // it was born inside and moved out
	}
	n := h.natives(v.span(at.first), t.MntNS)
	n.older = v.before(h.oldest, at.first)
	return v.orphan(at, n) || (n.any || t.PID == v.reader) && !n.children && stayed(at.from, views)
}

// orphan tells whether a line came from elsewhere though its parent, the host's
// init, says nothing of where: init took it in when its own parent ended, or
// starts each service in a cgroup of its own. It is younger than one who lives
// in the namespace, and other mounts or another PID namespace than that one's
// show that it was not born there and orphaned.
func (v *visits) orphan(at arrival, n natives) bool {
	pidNS := v.kin[at.first].PIDNS
	return at.from.PID == 1 && n.older && (!n.beside || pidNS != 0 && pidNS != inspect.InitialPIDNS)
}

// stayed tells whether a process still is where another one is, in all
// hierarchies in which it lies outside its namespace's root. Of one that cannot
// be seen the contrary is not known.
func stayed(from inspect.Task, views []HierarchyView) bool {
	if from.PID == 0 {
		return true
	}
	for i := range views {
		theirs, ok := from.Cgroups.Of(views[i].Hierarchy.Label)
		if views[i].Outside() && (!ok || theirs.Path != views[i].HostPath) {
			return false
		}
	}
	return true
}

// mountHome is who lives in a mount namespace, by their cgroups.
type mountHome struct {
	*line
	first, last least[cgroupsOf] // places; the last ones below zero
	oldest      least[cgroupsOf]
}

// cgroupsOf is the cgroup namespace and the cgroups of a task.
type cgroupsOf struct {
	ns      uint64
	cgroups *inspect.Cgroups
}

func (v *visits) mountHome(mnt uint64, sharers []inspect.Task) *mountHome {
	if h := v.mounts[mnt]; h != nil {
		return h
	}
	h := &mountHome{line: v.line(func(a inspect.Task) bool { return a.MntNS != mnt })}
	for _, q := range sharers {
		if q.CgroupNS == 0 {
			continue
		}
		kind := cgroupsOf{q.CgroupNS, q.Cgroups}
		h.first.add(kind, v.span(q.PID).at)
		h.last.add(kind, -v.span(q.PID).at)
		h.oldest.add(kind, v.started(q.PID))
	}
	v.mounts[mnt] = h
	return h
}

// mountVisitor tells whether a task entered its mount namespace from elsewhere,
// it or an ancestor: it has its cgroup namespace and its cgroups from its nearest
// ancestor in another mount namespace, while others live in this one with
// theirs.
func (v *visits) mountVisitor(t inspect.Task, sharers []inspect.Task) bool {
	if t.MntNS == 0 {
		return false
	}
	h := v.mountHome(t.MntNS, sharers)
	at := h.arrival(t)
	if !at.ok || at.from.PID != 0 && at.from.CgroupNS != t.CgroupNS {
		return false
	}
	own, s := cgroupsOf{t.CgroupNS, t.Cgroups}, v.span(at.first)
	any := h.first.but(own) < s.at || -h.last.but(own) >= s.end
	n := natives{any: any, beside: any, older: v.before(h.oldest.but(own), at.first)}
	return v.orphan(at, n) || n.any && (at.from.PID == 0 || at.from.Cgroups == t.Cgroups)
}

// guestHome is who is in a cgroup namespace, by their mounts.
type guestHome struct {
	*line
	// end is behind the line of each; begin its place, below zero.
	end, begin least[uint64]
}

func (v *visits) guestHome(ns *inspect.Namespace) *guestHome {
	if h := v.guests[ns.NS]; h != nil {
		return h
	}
	h := &guestHome{line: v.line(func(a inspect.Task) bool { return a.CgroupNS != ns.NS })}
	for _, m := range ns.Members {
		if m.MntNS != 0 {
			h.end.add(m.MntNS, v.span(m.PID).end)
			h.begin.add(m.MntNS, -v.span(m.PID).at)
		}
	}
	v.guests[ns.NS] = h
	return h
}

// guest tells whether a task entered its cgroup namespace from elsewhere though
// it does not lie outside, since the namespace was made in the cgroup that it
// is in: it has cgroups and mounts from its nearest ancestor in another cgroup
// namespace, while the namespace has a member, of another line, with mounts of
// its own.
func (v *visits) guest(t inspect.Task, ns *inspect.Namespace) bool {
	h := v.guestHome(ns)
	at := h.arrival(t)
	if !at.ok || t.MntNS == 0 || at.from.MntNS != t.MntNS || at.from.Cgroups != t.Cgroups {
		return false
	}
	s := v.span(t.PID)
	return h.end.but(t.MntNS) <= s.at || -h.begin.but(t.MntNS) >= s.end
}
