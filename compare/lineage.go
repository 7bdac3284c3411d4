package compare

import (
	"cmp"
	"math"
	"slices"

	"nsinspect/inspect"
)

// family is what is known of who is whose parent.
type family struct {
	kin    map[int]inspect.Kin
	tasks  tasks
	reader int // the reader's PID
}

// tasks are those of a host, in the order of their process IDs and leaders first.
type tasks []inspect.Task

// leader is the task that leads a process, or stands for one whose leader has
// ended.
func (t tasks) leader(pid int) (inspect.Task, bool) {
	i, ok := slices.BinarySearchFunc(t, pid, func(t inspect.Task, pid int) int { return cmp.Compare(t.PID, pid) })
	if !ok {
		return inspect.Task{}, false
	}
	return t[i], true
}

// leaders yields one task of each process.
func (t tasks) leaders(yield func(inspect.Task) bool) {
	for i := range t {
		if (i == 0 || t[i].PID != t[i-1].PID) && !yield(t[i]) {
			return
		}
	}
}

// arrival is where a task's line leaves a namespace, or a part of one, upwards.
type arrival struct {
	// first is the process of the line that is still in.
	first int
	// from is the one above it; without a PID if it cannot be seen, since it is
	// in another PID namespace.
	from inspect.Task
	// ok is false if the line does not leave.
	ok bool
}

// line follows tasks' lines up to the nearest ancestor for which is holds. What
// it finds holds for all on the way, so each is passed but once.
type line struct {
	family
	is    func(inspect.Task) bool
	known map[int]arrival // by process
}

func (f family) line(is func(inspect.Task) bool) *line {
	return &line{family: f, is: is, known: map[int]arrival{}}
}

// arrival follows a task's line: a thread's process is the first above it.
func (l *line) arrival(t inspect.Task) arrival {
	if leader, ok := l.tasks.leader(t.PID); ok && leader.TID != t.TID && l.is(leader) {
		return arrival{first: t.PID, from: leader, ok: true}
	}
	var passed []int
	pid := t.PID
	at, done := l.known[pid]
	for !done {
		l.known[pid] = arrival{} // who comes by again goes round in a ring
		passed = append(passed, pid)
		if at, done = l.step(pid); !done {
			pid = l.kin[pid].Parent
			at, done = l.known[pid]
		}
	}
	for _, pid := range passed {
		l.known[pid] = at
	}
	return at
}

// step tells whether a line ends above a process.
func (l *line) step(pid int) (at arrival, done bool) {
	kin, ok := l.kin[pid]
	switch {
	case !ok:
		return arrival{}, true
	case kin.Parent == 0:
		// Only the first process of a PID namespace, and the kernel's own,
		// have no parent: whoever else has none that could be seen was put
		// there from another one.
		return arrival{first: pid, ok: pid != 1 && !kin.Kernel}, true
	}
	parent, ok := l.tasks.leader(kin.Parent)
	return arrival{first: pid, from: parent, ok: true}, ok && l.is(parent)
}

// span is the place of a process in an order in which each is followed by its
// descendants, and the place behind the last of them.
type span struct{ at, end int }

// spans puts all processes in order. Who goes round in a ring has no place.
func (f family) spans() map[int]span {
	children := map[int][]int{}
	for t := range f.tasks.leaders {
		children[t.PID] = nil
	}
	for pid, kin := range f.kin {
		children[kin.Parent] = append(children[kin.Parent], pid)
	}
	var next, order []int
	for pid := range children {
		if _, ok := f.kin[pid]; !ok {
			next = append(next, pid) // also 0, the parent of those without one
		}
	}
	spans := make(map[int]span, len(f.kin))
	for len(next) > 0 {
		pid := next[len(next)-1]
		spans[pid] = span{len(order), len(order) + 1}
		order = append(order, pid)
		next = append(next[:len(next)-1], children[pid]...)
	}
	for _, pid := range slices.Backward(order) {
		if kin, ok := f.kin[pid]; ok {
			above := spans[kin.Parent]
			above.end = max(above.end, spans[pid].end)
			spans[kin.Parent] = above
		}
	}
	return spans
}

// nowhere is the span of who has no place: it is nobody's descendant or ancestor.
var nowhere = span{-1, -1}

// least keeps the two least numbers of different kinds, which tell the least of
// all kinds but any one.
type least[K comparable] struct {
	number [2]int
	kind   [2]K
	n      int
}

func (l *least[K]) add(kind K, number int) {
	for i := range l.n {
		if l.kind[i] == kind {
			l.number[i] = min(l.number[i], number)
			l.sort()
			return
		}
	}
	switch {
	case l.n < 2:
		l.number[l.n], l.kind[l.n] = number, kind
		l.n++
	case number < l.number[1]:
		l.number[1], l.kind[1] = number, kind
	}
	l.sort()
}

func (l *least[K]) sort() {
	if l.n == 2 && l.number[1] < l.number[0] {
		l.number[0], l.number[1] = l.number[1], l.number[0]
		l.kind[0], l.kind[1] = l.kind[1], l.kind[0]
	}
}

// but is the least number of another kind than this one.
func (l *least[K]) but(kind K) int {
	for i := range l.n {
		if l.kind[i] != kind {
			return l.number[i]
		}
	}
	return math.MaxInt
}
