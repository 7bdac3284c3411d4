package compare

import (
	"slices"

	"nsinspect/inspect"
)

// A root directory that no member proves alive has either been left by all, or
// removed. It was removed if nothing is left where it would have to be: no
// directory of that name or, if its name is not known, none at that depth which
// could be it. A directory made again under the old name is another one: it has
// another inode, and what lies in it lies outside.

// rootQuestion is the search for one root directory.
type rootQuestion struct {
	ns        uint64
	root      *Root
	group     *group
	mount     *inspect.Mount // of the reader's, to look through
	shown     *inspect.Mount // a mount of the namespace's that shows its root
	directory inspect.DirectoryQuestion
	left      []string // directories that could be the root, in the reader's view
	inodes    []uint64
}

// rootRound looks for the root directories that no member proves.
type rootRound struct{ questions []*rootQuestion }

func (r *rootRound) ask(d *Diagnosis) inspect.Questions {
	var q inspect.Questions
	asked := map[*Root]bool{}
	for _, g := range d.groups {
		if g.subject == nil || g.subject.Own == nil {
			continue
		}
		for _, root := range d.roots[g.subject.Process.CgroupNS] {
			if root.Life != LifeUnknown || asked[root] {
				continue
			}
			if rq := d.search(g, root); rq != nil {
				asked[root] = true
				r.questions = append(r.questions, rq)
				q.Directories = append(q.Directories, rq.directory)
				if rq.shown != nil {
					q.Probes = append(q.Probes, inspect.Probe{Task: g.subject.Process.Task, Mount: *rq.shown, Path: "."})
				}
			}
		}
	}
	return q
}

// search says where to look for a root: under its name if a mount of the
// namespace's gives it, else wherever it could be.
func (d *Diagnosis) search(g *group, root *Root) *rootQuestion {
	rq := &rootQuestion{ns: g.subject.Process.CgroupNS, root: root, group: g}
	base, depth := root.base, root.below
	if name, shown, ok := g.named(root.Hierarchy.Label); ok {
		root.Path, root.Known = name, Entered
		base, depth, rq.shown = name, 0, shown
	}
	if base == "" {
		return nil
	}
	m, rel, ok := d.hostMount(root.Hierarchy.Label, base)
	if !ok {
		return nil
	}
	rq.mount = m
	rq.directory = inspect.DirectoryQuestion{MountPoint: m.MountPoint, Path: rel, Depth: depth}
	return rq
}

// named returns the root directory's name as a mount gives it whose root the
// namespace sees without "..", and a visible mount that shows just the root.
func (g *group) named(label string) (name string, shown *inspect.Mount, ok bool) {
	for i := range g.views {
		if g.views[i].Hierarchy.Label != label {
			continue
		}
		for j := range g.views[i].Mounts {
			m := &g.views[i].Mounts[j]
			if m.NamespaceRoot == "" || inspect.Outside(m.NamespaceRoot) {
				continue
			}
			base, _, exact := Constrain(m.Root, m.NamespaceRoot)
			if !exact {
				continue
			}
			name, ok = base, true
			if m.NamespaceRoot == "/" && m.Visible {
				return name, &m.Mount, true
			}
		}
	}
	return name, nil, ok
}

func (r *rootRound) learn(d *Diagnosis, a *inspect.Answers) {
	probes := a.Probes
	for i, rq := range r.questions {
		var shown inspect.ProbeAnswer
		if rq.shown != nil {
			shown, probes = probes[0], probes[1:]
		}
		answer := a.Directories[i]
		if answer.Err != "" {
			continue
		}
		for _, dir := range answer.Directories {
			rq.left = append(rq.left, lower(rq.mount.Root, dir.Path))
			rq.inodes = append(rq.inodes, dir.Inode)
		}
		rq.conclude(shown.Inode)
	}
	d.rounds = append([]round{&residentRound{questions: r.questions}}, d.rounds...)
}

// conclude decides what the directories alone can. inode is that of the root as
// the namespace's own mount shows it; 0: not known.
func (rq *rootQuestion) conclude(inode uint64) {
	root := rq.root
	switch {
	case len(rq.left) == 0:
		root.Life = Dead
	case root.Path != "" && inode != 0 && inode == rq.inodes[0]:
		root.Life = Alive
	case root.Path != "" && inode != 0:
		root.Life = Dead
	default:
		rq.exclude(rq.group.subject.Host.Cgroups, rq.group.subject.Own.Cgroups)
	}
}

// exclude strikes out the directories from which a process would look otherwise
// than it does from within the namespace: none of them is its root.
func (rq *rootQuestion) exclude(host, own *inspect.Cgroups) {
	label := rq.root.Hierarchy.Label
	at, ok1 := host.Of(label)
	seen, ok2 := own.Of(label)
	if !ok1 || !ok2 || at.Cut || seen.Cut {
		return
	}
	rq.left = slices.DeleteFunc(rq.left, func(dir string) bool {
		view, ok := Rel(dir, at.Path)
		return ok && view != seen.Path
	})
	if len(rq.left) == 0 && rq.root.Life == LifeUnknown {
		rq.root.Life = Dead
	}
}

// mayHold tells whether a process lives in one of the directories that are left.
func (rq *rootQuestion) mayHold(cgroups *inspect.Cgroups) bool {
	at, ok := cgroups.Of(rq.root.Hierarchy.Label)
	return ok && slices.ContainsFunc(rq.left, func(dir string) bool { return Contains(dir, at.Path) })
}

// residentRound asks how the namespace sees processes that live in directories
// which could be its root.
type residentRound struct {
	questions []*rootQuestion
	asked     []*rootQuestion
}

// maxResidents bounds the processes that are read for one root directory.
const maxResidents = 256

func (r *residentRound) ask(d *Diagnosis) inspect.Questions {
	var q inspect.Questions
	for _, rq := range r.questions {
		if rq.root.Life != LifeUnknown || len(rq.left) == 0 {
			continue
		}
		if peers := d.residents(rq); len(peers) > 0 {
			r.asked = append(r.asked, rq)
			q.Subjects = append(q.Subjects, inspect.SubjectQuestion{Task: rq.group.subject.Process.Task, Peers: peers})
		}
	}
	return q
}

// residents are processes in the directories that are left, one for each.
func (d *Diagnosis) residents(rq *rootQuestion) []int {
	var peers []int
	taken := map[string]bool{}
	for _, t := range d.host.Tasks {
		at, ok := t.Cgroups.Of(rq.root.Hierarchy.Label)
		if !ok || t.PID != t.TID || len(peers) == maxResidents {
			continue
		}
		for _, dir := range rq.left {
			if !taken[dir] && Contains(dir, at.Path) {
				taken[dir] = true
				peers = append(peers, t.PID)
				break
			}
		}
	}
	return peers
}

func (r *residentRound) learn(d *Diagnosis, a *inspect.Answers) {
	for i, rq := range r.asked {
		if a.Subjects[i] == nil {
			continue
		}
		for _, p := range a.Subjects[i].Peers {
			if !rq.mayHold(p.Host) {
				continue // it moved, or ends: the kernel then shows "/", whoever reads
			}
			d.roots[rq.ns].learn(inspect.Pair{PID: p.Process.PID, Host: p.Host, Own: p.Own})
			rq.exclude(p.Host, p.Own)
		}
	}
	for _, g := range d.groups {
		if g.subject != nil {
			g.judge(d.host.Reader, d.roots[g.subject.Process.CgroupNS])
		}
	}
}
