package compare

import (
	"slices"
	"sort"

	"nsinspect/inspect"
)

// Diagnosis works through the checks. It asks for what it needs to know beyond
// the first reading of the host, in rounds:
//
//	d := NewDiagnosis(host, nil)
//	err := d.Settle(answer)
//	report := d.Report()
type Diagnosis struct {
	host   *inspect.Host
	only   map[int]bool // nil: all
	checks []Check
	groups []*group
	roots  map[uint64]Roots
	family family
	facts  facts
	// unseen is what could not be read when it was looked at again.
	unseen []inspect.Skipped
	// openFiles asks for a look through all open files of the host.
	openFiles bool
	// shared are the tasks of each mount namespace, once somebody asks.
	shared map[uint64][]inspect.Task
	// neighbours are all who may be hurt by mending.
	neighbours Neighbours
	// lastRefusal is what refusal found out last.
	lastRefusal refused
	split       map[int]bool      // processes with threads that are elsewhere
	owners      map[uint64]uint64 // of mount namespaces
	drafts      []*Finding
	rounds      []round
	asked       round
}

// round is one exchange: what it asks, and what it makes of the answers.
type round interface {
	ask(*Diagnosis) inspect.Questions
	learn(*Diagnosis, *inspect.Answers)
}

// NewDiagnosis starts from one reading of the host. only are the processes that
// are judged; none means all.
func NewDiagnosis(h *inspect.Host, only []int) *Diagnosis {
	d := &Diagnosis{
		host: h, checks: Checks, roots: map[uint64]Roots{}, owners: map[uint64]uint64{}, split: map[int]bool{},
		family: family{kin: map[int]inspect.Kin{}, tasks: h.Tasks, reader: h.Reader.PID},
	}
	if len(only) > 0 {
		d.only = map[int]bool{}
		for _, pid := range only {
			d.only[pid] = true
		}
	}
	for i := 1; i < len(h.Tasks); i++ {
		if pid := h.Tasks[i].PID; pid == h.Tasks[i-1].PID {
			d.split[pid] = true
		}
	}
	hierarchies := Hierarchies(h)
	for _, ns := range h.Namespaces {
		d.roots[ns.NS] = NewRoots(h.Reader, ns, hierarchies)
	}
	d.groups = d.chosen(makeGroups(h))
	for _, g := range d.groups {
		d.guess(g)
		g.judge(h.Reader, d.roots[g.task().CgroupNS])
	}
	d.rounds = []round{&againRound{}, &rootRound{}, &factRound{}, &proofRound{}, threadRound{}, &remedyRound{}}
	return d
}

// Choose makes the diagnosis run these checks only, and ask only what they need
// to know. It must be called before Ask.
func (d *Diagnosis) Choose(checks []Check) { d.checks = checks }

// tells tells whether a check is one of those that run.
func (d *Diagnosis) tells(check string) bool {
	return slices.ContainsFunc(d.checks, func(c Check) bool { return c.Name == check })
}

// NewRootSearch starts a diagnosis of one process that goes no further than its
// namespace's root directories.
func NewRootSearch(h *inspect.Host, pid int) *Diagnosis {
	d := NewDiagnosis(h, []int{pid})
	d.rounds = []round{&againRound{}, &rootRound{}}
	return d
}

// Roots returns what was found of a cgroup namespace's root directories.
func (d *Diagnosis) Roots(ns uint64) Roots { return d.roots[ns] }

// reader is the reader's own process; nothing is known of it where it cannot be
// seen.
func (d *Diagnosis) reader() inspect.Task {
	t, _ := d.family.tasks.leader(d.host.Reader.PID)
	return t
}

// sharers are the tasks of a mount namespace.
func (d *Diagnosis) sharers(mnt uint64) []inspect.Task {
	if d.shared == nil {
		d.shared = map[uint64][]inspect.Task{}
		for _, t := range d.host.Tasks {
			if t.MntNS != 0 {
				d.shared[t.MntNS] = append(d.shared[t.MntNS], t)
			}
		}
	}
	return d.shared[mnt]
}

// chosen leaves out the groups without any of the processes asked for.
func (d *Diagnosis) chosen(groups []*group) []*group {
	if d.only == nil {
		return groups
	}
	var kept []*group
	for _, g := range groups {
		var tasks []inspect.Task
		for _, t := range g.tasks {
			if d.only[t.PID] {
				tasks = append(tasks, t)
			}
		}
		if len(tasks) > 0 {
			g.tasks = tasks
			kept = append(kept, g)
		}
	}
	return kept
}

// guess finds likely root directories for a namespace that was not entered.
func (d *Diagnosis) guess(g *group) {
	ns := d.namespace(g.task().CgroupNS)
	if ns != nil && !ns.Entered && g.table != nil {
		d.roots[ns.NS].likely(g.task().Cgroups, g.table.Cgroup, HierarchyOf(g.task().Cgroups))
	}
}

func (d *Diagnosis) namespace(ns uint64) *inspect.Namespace {
	list := d.host.Namespaces
	i := sort.Search(len(list), func(i int) bool { return list[i].NS >= ns })
	if i < len(list) && list[i].NS == ns {
		return list[i]
	}
	return nil
}

// Hierarchies are those that any task of the host is in, by ID.
func Hierarchies(h *inspect.Host) []*inspect.Hierarchy {
	seen := map[string]*inspect.Hierarchy{}
	var list []*inspect.Hierarchy
	add := func(c *inspect.Cgroups) {
		if c == nil {
			return
		}
		for _, m := range c.Memberships {
			if seen[m.Hierarchy.Label] == nil {
				seen[m.Hierarchy.Label] = m.Hierarchy
				list = append(list, m.Hierarchy)
			}
		}
	}
	done := map[*inspect.Cgroups]bool{}
	for _, t := range h.Tasks {
		if !done[t.Cgroups] {
			done[t.Cgroups] = true
			add(t.Cgroups)
		}
	}
	add(h.OwnCgroups)
	for _, ns := range h.Namespaces {
		for _, p := range ns.Pairs {
			add(p.Host)
		}
	}
	sortByHierarchy(list, func(h *inspect.Hierarchy) *inspect.Hierarchy { return h })
	return list
}

// Ask returns the next questions; more is false when there are none left.
func (d *Diagnosis) Ask() (q inspect.Questions, more bool) {
	for len(d.rounds) > 0 {
		d.asked, d.rounds = d.rounds[0], d.rounds[1:]
		q = d.asked.ask(d)
		if !q.Empty() {
			return q, true
		}
		d.asked.learn(d, &inspect.Answers{})
	}
	return inspect.Questions{}, false
}

// Learn takes in the answers to the last questions.
func (d *Diagnosis) Learn(a *inspect.Answers) { d.asked.learn(d, a) }

// Settle has all questions answered, until there are none left or one cannot be.
func (d *Diagnosis) Settle(answer func(inspect.Questions) (*inspect.Answers, error)) error {
	for q, more := d.Ask(); more; q, more = d.Ask() {
		a, err := answer(q)
		if err != nil {
			return err
		}
		d.Learn(a)
	}
	return nil
}
