package inspect

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"
)

// maxMates bounds for how many tasks that see the same a probe is made, so that
// a diagnosis of any of them alone finds its answer.
const maxMates = 256

// recordSystem asks the system that a picture is of, and keeps the answers.
type recordSystem struct {
	replaySystem
	from *FS
	mu   sync.Mutex
	// mates are the tasks that see the same.
	mates map[mateKey][]taskID
}

type mateKey struct {
	ns     uint64
	table  tableText
	cgroup string
}

func newRecordSystem(f *FS, c *capture) *recordSystem {
	s := &recordSystem{replaySystem: replaySystem{c}, from: f, mates: map[mateKey][]taskID{}}
	for _, id := range c.ordered() {
		key := mates(c.tasks[id])
		s.mates[key] = append(s.mates[key], id)
	}
	return s
}

func mates(t *taskFiles) mateKey {
	key, _ := t.table()
	return mateKey{ns: t.ns("cgroup"), table: key, cgroup: t.files["cgroup"]}
}

// same tells whether a task of the picture is still there.
func (s *recordSystem) same(id taskID) bool {
	t := s.capture.tasks[id]
	d, err := s.from.tree.process(id.pid, id.tid)
	if err != nil || t == nil {
		return false
	}
	defer d.close()
	var before, now Process
	if parseStat([]byte(t.files["stat"]), &before) != nil || readStat(d, &now) != nil {
		return false
	}
	return before.StartTicks == now.StartTicks && !now.Exiting
}

func (s *recordSystem) mountNSOwner(t Task) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := s.capture.tasks[taskID{t.PID, t.TID}]
	if files == nil || files.ns("mnt") == 0 {
		return 0
	}
	ns := files.ns("mnt")
	if owner := s.capture.owners[ns]; owner != 0 {
		return owner
	}
	t.MntNS = ns
	if owner := s.from.system.mountNSOwner(t); owner != 0 && s.same(taskID{t.PID, t.TID}) {
		s.capture.owners[ns] = owner
	}
	return s.capture.owners[ns]
}

func (s *recordSystem) openNamespaces(pid int) []OpenNamespace {
	s.mu.Lock()
	open, asked := s.capture.open[pid]
	s.mu.Unlock()
	if asked {
		return open
	}
	open = s.from.system.openNamespaces(pid)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capture.open[pid] = open
	return open
}

func (s *recordSystem) probe(ctx context.Context, p Probe) ProbeAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.capture.probes[p.key()]; ok {
		return a
	}
	id := taskID{p.Task.PID, p.Task.TID}
	first := s.ask(ctx, p)
	s.capture.probes[p.key()] = first
	files := s.capture.tasks[id]
	if files == nil {
		return first
	}
	for i, mate := range s.mates[mates(files)] {
		if i == maxMates {
			break
		}
		p.Task.PID, p.Task.TID = mate.pid, mate.tid
		if _, ok := s.capture.probes[p.key()]; ok {
			continue
		}
		answer := first
		if first.Tried {
			answer = s.ask(ctx, p)
		}
		s.capture.probes[p.key()] = answer
	}
	return first
}

// ask makes a probe for a task that is still there.
func (s *recordSystem) ask(ctx context.Context, p Probe) ProbeAnswer {
	id := taskID{p.Task.PID, p.Task.TID}
	if s.from.tree.live() && !s.same(id) {
		return ProbeAnswer{Reason: unix.ESRCH.Error()}
	}
	return s.from.system.probe(ctx, p)
}

func (s *recordSystem) directories(q DirectoryQuestion) DirectoryAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.capture.dirs[q]
	if !ok {
		a = s.from.system.directories(q)
		s.capture.dirs[q] = a
	}
	return a
}

func (s *recordSystem) cgroupFile(q FileQuestion) FileAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.capture.files[q]
	if !ok {
		a = s.from.system.cgroupFile(q)
		s.capture.files[q] = a
	}
	return a
}
