package compare

import (
	"nsinspect/inspect"
)

// factRound reads what some checks need beyond the views, and only of the
// processes and cgroups that they are about.
type factRound struct {
	tasks []inspect.Task
	files []inspect.FileQuestion
}

// facts are the answers.
type facts struct {
	processes map[int]*inspect.Process
	files     map[inspect.FileQuestion]inspect.FileAnswer
	open      []inspect.OpenNamespace
}

func (r *factRound) ask(d *Diagnosis) inspect.Questions {
	seen := map[int]bool{}
	for _, t := range d.described() {
		if !seen[t.PID] {
			seen[t.PID] = true
			r.tasks = append(r.tasks, t)
		}
	}
	asked := map[inspect.FileQuestion]bool{}
	for _, q := range d.limitFiles() {
		if !asked[q] {
			asked[q] = true
			r.files = append(r.files, q)
		}
	}
	return inspect.Questions{Processes: r.tasks, Files: r.files, OpenNamespaces: d.looksThroughFiles()}
}

// described are the tasks of which the checks need to know more.
func (d *Diagnosis) described() []inspect.Task {
	var list []inspect.Task
	if t, ok := d.family.tasks.leader(1); ok && d.judged(1) && d.tells("systemd-root-offset") {
		list = append(list, t)
	}
	if d.tells("manager-cgroup-readonly") {
		list = append(list, d.managers()...)
	}
	if d.tells("writable-host-hierarchy") || d.tells("host-cgroupns-in-container") {
		list = append(list, d.privileged()...)
	}
	return list
}

func (r *factRound) learn(d *Diagnosis, a *inspect.Answers) {
	d.facts = facts{processes: map[int]*inspect.Process{}, files: map[inspect.FileQuestion]inspect.FileAnswer{}, open: a.OpenNamespaces}
	for i, t := range r.tasks {
		if i < len(a.Processes) && a.Processes[i] != nil {
			d.facts.processes[t.PID] = a.Processes[i]
		}
	}
	for i, q := range r.files {
		if i < len(a.Files) {
			d.facts.files[q] = a.Files[i]
		}
	}
}

// manyProcesses is the number of processes above which doctor does not look
// through all their open files unasked: it would take as long as all the rest.
const manyProcesses = 2000

// SearchOpenFiles makes the diagnosis look for namespaces that only open files
// keep, however many processes there are.
func (d *Diagnosis) SearchOpenFiles() { d.openFiles = true }

func (d *Diagnosis) looksThroughFiles() bool {
	return d.only == nil && d.tells("namespace-without-process") && (d.openFiles || len(d.family.tasks) <= manyProcesses)
}

// hostMount returns a visible mount of the reader's own that shows a cgroup,
// and the cgroup's path relative to it.
func (d *Diagnosis) hostMount(label, path string) (m *inspect.Mount, rel string, ok bool) {
	if d.host.Own == nil {
		return nil, "", false
	}
	of := HierarchyOf(d.host.OwnCgroups)
	for i := range d.host.Own.Cgroup {
		m := &d.host.Own.Cgroup[i]
		if h := of(m); h == nil || h.Label != label || !m.Visible {
			continue
		}
		if rel, ok := below(m.Root, path); ok {
			return m, rel, true
		}
	}
	return nil, "", false
}

// eachKnown runs do once for each group whose views and mounts are known.
func (d *Diagnosis) eachKnown(do func(*group)) {
	for _, g := range d.groups {
		if len(g.tasks) > 0 && g.table != nil && g.known() && g.task().MntNS != 0 {
			do(g)
		}
	}
}

// eachPlace does so for those that live in a mount namespace of their own, seen
// from the reader's.
func (d *Diagnosis) eachPlace(do func(*group)) {
	host := d.reader().MntNS
	d.eachKnown(func(g *group) {
		if g.task().MntNS != host {
			do(g)
		}
	})
}

// placeKey is one fault for a mount namespace, whatever the hierarchies.
func placeKey(g *group) faultKey {
	return faultKey{cgroupNS: g.task().CgroupNS, mntNS: g.task().MntNS, root: g.task().Root}
}

// note adds a value to a list in a finding's evidence, once.
func (f *Finding) note(key, value string) {
	list, _ := f.Evidence[key].([]string)
	for _, have := range list {
		if have == value {
			return
		}
	}
	f.Evidence[key] = append(list, value)
}

// noted returns such a list.
func (f *Finding) noted(key string) []string {
	list, _ := f.Evidence[key].([]string)
	return list
}
