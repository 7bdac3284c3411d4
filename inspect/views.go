package inspect

import (
	"bytes"
	"errors"
	"strings"
	"sync"
)

// held is a small file of a task that is held open and read again and again:
// each time it is what the kernel then shows to the thread that reads.
type held interface {
	read(buf []byte) ([]byte, error)
	close()
}

// both reads a task's cgroup file as the reader sees it and as a member of the
// namespace behind g does, both of one moment: outside, inside and outside
// again, as soon after one another as can be, until nothing changed meanwhile.
// Who comes back to where it was in between is found out if its cgroups have
// different names, or the namespace's root would lie elsewhere by them than by
// the reader's own, which it looks at along with them.
func (f *FS) both(g gate, d dir) (host, own *Cgroups, err error) {
	file, err := d.hold("cgroup")
	if err != nil {
		return nil, nil, err
	}
	defer file.close()
	witness, err := f.tree.witness()
	if err != nil {
		return nil, nil, err
	}
	r := readings.Get().(*reading)
	defer readings.Put(r)
	for range maxTries {
		if err := r.read(g, file, witness); err != nil {
			return nil, nil, err
		}
		host, own, err := f.ofOneMoment(r, witness)
		if err != nil || host != nil {
			return host, own, err
		}
	}
	if err := alive(d); err != nil {
		return nil, nil, err
	}
	return nil, nil, errMoving
}

// ofOneMoment returns what was read, or nothing if it cannot be of one moment.
func (f *FS) ofOneMoment(r *reading, witness held) (host, own *Cgroups, err error) {
	if !bytes.Equal(r.before, r.after) {
		return nil, nil, nil
	}
	if host, own, err = f.pair(r.after, r.inside); err != nil || !agree(host, own, f.Reader.Initial()) {
		return nil, nil, err
	}
	if witness == nil {
		return host, own, nil
	}
	home, err := f.atHome(witness)
	if err != nil {
		return nil, nil, err
	}
	there, err := f.intern.passing(r.there)
	if err != nil {
		return nil, nil, err
	}
	if !sameRoot(host, own, home, there) {
		f.home.Store(nil) // it may be the reader that moved
		return nil, nil, nil
	}
	return host, own, nil
}

// atHome is the reader's own cgroups as it sees them itself. It is read but once
// as long as it fits: only how deep the reader lies counts.
func (f *FS) atHome(witness held) (*Cgroups, error) {
	if home := f.home.Load(); home != nil {
		return home, nil
	}
	text, err := witness.read(nil)
	if err != nil {
		return nil, err
	}
	home, err := f.intern.cgroups(text)
	f.home.Store(home)
	return home, err
}

func (f *FS) pair(outside, inside []byte) (host, own *Cgroups, err error) {
	if host, err = f.intern.cgroups(outside); err == nil {
		own, err = f.intern.cgroups(inside)
	}
	return host, own, err
}

// reading is room for what both reads, kept for the next one.
type reading struct{ before, inside, after, there []byte }

var readings = sync.Pool{New: func() any { return &reading{} }}

func (r *reading) read(g gate, file, witness held) (err error) {
	if r.before, err = file.read(r.before); err != nil {
		return err
	}
	err = g.in(func(in lens) (err error) {
		if r.inside, err = in.again(file, r.inside); err == nil && witness != nil {
			r.there, err = in.again(witness, r.there)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.after, err = file.read(r.after)
	return err
}

// sameRoot tells whether a namespace's root directory lies as deep by what it
// shows of one process as by what it shows of another: by as much deeper than
// the reader's as all paths are shorter.
func sameRoot(host, own, home, there *Cgroups) bool {
	for _, m := range own.Memberships {
		label := m.Hierarchy.Label
		a, ok1 := host.Of(label)
		b, ok2 := home.Of(label)
		c, ok3 := there.Of(label)
		if !ok1 || !ok2 || !ok3 || vague(m) || vague(a) || vague(b) || vague(c) {
			continue
		}
		if Depth(a.Path)-Depth(m.Path) != Depth(b.Path)-Depth(c.Path) {
			return false
		}
	}
	return true
}

// vague tells whether a path may be another one than it says: cut off, or that
// of a root directory which was removed.
func vague(m Membership) bool { return m.Cut || m.Path == "/"+removed }

// agree tells whether two views can be of the same moment: what the one shows of
// a cgroup's path behind its leading ".." is the end of what the other does. A
// reader in the initial cgroup namespace sees the whole path, so that no other
// sees more of it.
func agree(host, own *Cgroups, initial bool) bool {
	for _, m := range own.Memberships {
		at, ok := host.Of(m.Hierarchy.Label)
		if !ok || m.Cut || at.Cut {
			continue
		}
		outside, inside := tail(at.Path), tail(m.Path)
		if !strings.HasSuffix(outside, inside) && (initial || !strings.HasSuffix(inside, outside)) {
			return false
		}
	}
	return true
}

// removed is the mark of a cgroup that was removed.
const removed = " (deleted)"

// tail is what is behind a path's leading "..", or nothing: "/a/b". The kernel
// marks the path of a removed cgroup, also if that is the root directory.
func tail(path string) string {
	for Outside(path) {
		path = path[len("/.."):]
	}
	path = strings.TrimSuffix(path, removed)
	if path == "/" {
		return ""
	}
	return path
}

// readInside reads the cgroups in both views, and the mounts as a member of the
// subject's cgroup namespace.
func (f *FS) readInside(g gate, d dir, others []dir, s *Subject) error {
	host, own, err := f.both(g, d)
	if err != nil {
		return err
	}
	view := &View{Cgroups: own}
	s.Process.Cgroups, s.Host.Cgroups = host, host
	for i, o := range others {
		p := &s.Peers[i]
		if host, own, err = f.both(g, o); err != nil {
			return &PeerError{p.Process.PID, err}
		}
		p.Host, p.Own = host, own
	}
	if s.Host.Mounts != nil {
		err = g.in(func(in lens) (err error) {
			view.Mounts, err = tableFrom(in.open(d, "mountinfo"))
			return err
		})
	}
	if err == nil {
		s.Own = view
	}
	return err
}

// refused makes of an error that kept the reader out a reason.
func (s *Subject) refused(err error) error {
	var of *PeerError
	if err == nil || fleeting(err) || errors.As(err, &of) {
		return err
	}
	s.Reason = reason(err)
	s.Skipped = append(s.Skipped, Skipped{PID: s.Process.PID, What: "cgroup namespace", Reason: s.Reason})
	return nil
}

// unchanged tells whether the subject still is where it was. Neither it nor a
// peer may have been exiting.
func (f *FS) unchanged(d dir, others []dir, s *Subject) (bool, error) {
	again, err := f.readCgroups(d, nil)
	if err != nil {
		return false, err
	}
	if ns, err := d.link("ns/cgroup"); err == nil && nsOf(ns, nil) != s.Process.CgroupNS {
		return false, nil
	}
	for i, o := range others {
		if err := alive(o); err != nil {
			return false, &PeerError{s.Peers[i].Process.PID, err}
		}
	}
	if err := alive(d); err != nil {
		return false, err
	}
	return again == s.Host.Cgroups, nil
}

// alive is nil for a task that was not exiting before.
func alive(d dir) error {
	var now Process
	if err := readStat(d, &now); err != nil {
		return err
	}
	if now.Exiting {
		return errNoNamespace
	}
	return nil
}
