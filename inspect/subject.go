package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// What keeps a process that was asked for from being looked at.
var (
	ErrNoProcess = errors.New("no such process")
	ErrZombie    = errors.New("it is a zombie")
	ErrExited    = errors.New("it ended while it was read")
	// ErrHidden is given where the procfs hides processes of other users
	// (hidepid), so that it cannot be told from one that is not there.
	ErrHidden = errors.New("there is none that this procfs shows to this user (hidepid)")
)

// View is what a reader in one cgroup namespace reads of a process.
type View struct {
	Cgroups *Cgroups
	// Mounts is nil if mountinfo could not be read.
	Mounts *MountTable
}

// Subject is one process in both views, read while it stayed where it was.
type Subject struct {
	Process Process
	// Namespaces has the inode of each namespace by its name in /proc/PID/ns
	// (namespaces(7)); one that could not be read is missing.
	Namespaces map[string]uint64
	// Threads are those that are in other cgroups or namespaces than Process.
	Threads []Task
	Host    View
	// Own is what a member of the process's cgroup namespace reads; nil if the
	// reader could not look, and Reason says why.
	Own    *View
	Reason string
	Peers  []Peer
	// Skipped is what could not be read.
	Skipped []Skipped
}

// Peer is another process, as the reader and as the subject's cgroup namespace
// sees its cgroups. Own is nil where the subject's is.
type Peer struct {
	Process   Process
	Host, Own *Cgroups
}

// NamespaceNames are the namespaces of a process, as namespaces(7) names them.
var NamespaceNames = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// Subject reads the process, or thread, with this ID, and how its cgroup
// namespace sees its peers. The error wraps ErrNoProcess, ErrZombie or
// ErrExited, or says what could not be read.
func (f *FS) Subject(ctx context.Context, pid int, peers []int) (*Subject, error) {
	return f.readTaskWhole(ctx, Task{PID: pid, TID: pid}, peers)
}

func (f *FS) readTaskWhole(ctx context.Context, t Task, peers []int) (s *Subject, err error) {
	err = errAstray
	f.tree.entering(func(e entrant) { s, err = f.subject(ctx, e, t.PID, t.TID, peers) })
	return s, err
}

func (f *FS) subject(ctx context.Context, e entrant, pid, tid int, peers []int) (*Subject, error) {
	s := &Subject{Process: Process{Task: Task{PID: pid, TID: tid}}}
	d, err := f.openSubject(&s.Process)
	if err != nil {
		return nil, err
	}
	defer d.close()
	others, err := f.openPeers(s, peers)
	defer func() {
		for _, o := range others {
			o.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	for range maxTries {
		settled, err := f.readSubject(e, d, others, s)
		if err != nil {
			return nil, f.exited(d, s, err)
		}
		if settled {
			s.Threads = f.strayThreads(s.Process.Task, true, nil)
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("process %d: %w", pid, errMoving)
}

// openSubject opens the directory of p.PID and describes it. Where only its
// leader has ended, a thread stands for the process.
func (f *FS) openSubject(p *Process) (dir, error) {
	pid := p.PID
	d, err := f.tree.process(p.PID, p.TID)
	if err != nil {
		if gone(err) && !f.tree.hides(1) {
			return nil, fmt.Errorf("process %d: %w", pid, ErrNoProcess)
		}
		if gone(err) {
			err = ErrHidden
		}
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	if err := f.describe(d, p); err != nil {
		d.close()
		switch {
		case gone(err) && f.tree.hides(1):
			err = ErrHidden
		case gone(err):
			return nil, fmt.Errorf("process %d: %w", pid, ErrExited)
		}
		return nil, fmt.Errorf("read process %d: %w", pid, err)
	}
	if st, err := readStatus(d); err == nil && p.PID == p.TID {
		p.PID = st.tgid // the number of a thread leads to its directory too
	}
	if p.State != "Z" && p.State != "X" {
		return d, nil
	}
	d.close()
	if t, ok := f.livingThread(pid, true, nil); ok && p.PID == p.TID {
		p.Task = t
		return f.openSubject(p)
	}
	return nil, fmt.Errorf("process %d %s: %w", pid, p.Command, ErrZombie)
}

func (f *FS) openPeers(s *Subject, peers []int) ([]dir, error) {
	var open []dir
	for _, pid := range peers {
		peer := Peer{Process: Process{Task: Task{PID: pid, TID: pid}}}
		d, err := f.openSubject(&peer.Process)
		if err != nil {
			return open, &PeerError{pid, err}
		}
		open = append(open, d)
		s.Peers = append(s.Peers, peer)
	}
	return open, nil
}

// exited gives an error its reason: a process that has ended explains all.
func (f *FS) exited(d dir, s *Subject, err error) error {
	var of *PeerError
	if errors.As(err, &of) {
		if err = of.Err; fleeting(err) && !errors.Is(err, errMoving) {
			err = ErrExited
		}
		i := slices.IndexFunc(s.Peers, func(p Peer) bool { return p.Process.PID == of.PID })
		return &PeerError{of.PID, fmt.Errorf("process %d %s: %w", of.PID, s.Peers[i].Process.Command, err)}
	}
	var now Process
	if stat := readStat(d, &now); gone(err) || stat != nil || now.Exiting {
		return fmt.Errorf("process %d %s: %w", s.Process.PID, s.Process.Command, ErrExited)
	}
	return fmt.Errorf("read process %d: %w", s.Process.PID, err)
}

// PeerError says of a peer why it could not be read.
type PeerError struct {
	PID int
	Err error
}

// Error names the process.
func (e *PeerError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *PeerError) Unwrap() error { return e.Err }

// readSubject reads everything once; settled is false if the process moved
// meanwhile, so that what was read belongs to different moments.
func (f *FS) readSubject(e entrant, d dir, others []dir, s *Subject) (settled bool, err error) {
	s.Skipped = nil
	if err := f.readHere(d, others, s); err != nil {
		return false, err
	}
	s.Own, s.Reason = nil, ""
	for i := range s.Peers {
		s.Peers[i].Own = nil
	}
	ns := s.Process.CgroupNS
	switch {
	case ns == 0:
		s.Reason = "its cgroup namespace could not be read"
		if len(s.Skipped) > 0 {
			s.Reason = s.Skipped[0].What + ": " + s.Skipped[0].Reason
		}
	case ns == f.Reader.CgroupNS:
		own := s.Host
		s.Own = &own
		for i := range s.Peers {
			s.Peers[i].Own = s.Peers[i].Host
		}
	default:
		// While it is open the namespace lives on, so that no other one can get
		// its number, by which it is told whether the process changed over.
		g, err := e.open(d, ns)
		if err == nil {
			defer g.close()
			err = f.readInside(g, d, others, s)
		}
		if errors.Is(err, errChanged) {
			return false, nil
		}
		if err := s.refused(err); err != nil {
			return false, err
		}
	}
	return f.unchanged(d, others, s)
}

// readHere reads what the reader's own view shows.
func (f *FS) readHere(d dir, others []dir, s *Subject) error {
	s.Namespaces = map[string]uint64{}
	p := &s.Process
	for _, name := range NamespaceNames {
		text, err := d.link("ns/" + name)
		if err == nil {
			s.Namespaces[name] = nsOf(text, nil)
		} else if denied(err) {
			s.Skipped = append(s.Skipped, Skipped{PID: p.PID, What: "ns/" + name, Reason: reason(err)})
		}
	}
	p.CgroupNS, p.MntNS = s.Namespaces["cgroup"], s.Namespaces["mnt"]
	p.PIDNS, p.UserNS = s.Namespaces["pid"], s.Namespaces["user"]
	p.Root, _ = d.link("root")
	var err error
	if s.Host.Cgroups, err = f.readCgroups(d, nil); err != nil {
		return &readError{"cgroup", err}
	}
	p.Cgroups = s.Host.Cgroups
	if s.Host.Mounts, err = mountTable(d); err != nil {
		if !denied(err) {
			return &readError{"mountinfo", err}
		}
		s.Skipped = append(s.Skipped, Skipped{PID: p.PID, What: "mountinfo", Reason: reason(err)})
	} else if s.Host.Mounts.Incomplete != "" {
		s.Skipped = append(s.Skipped, Skipped{PID: p.PID, What: "mountinfo", Reason: s.Host.Mounts.Incomplete})
	}
	for i, o := range others {
		if s.Peers[i].Host, err = f.readCgroups(o, nil); err != nil {
			return &PeerError{s.Peers[i].Process.PID, err}
		}
	}
	return nil
}
