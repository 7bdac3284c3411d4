package remount

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"nsinspect/internal/printable"
)

// outcome is what has become of one job. Without a state it is an error that
// came before all jobs.
type outcome struct {
	state State
	err   error
	notes []string
}

// swap puts a fresh mount in an old one's place. Its descriptors are -1 where
// nothing is open. What takes a walk along a path of the target's is opened
// before anything changes; later only the mount point's own name is looked up.
type swap struct {
	*room
	job *job
	// dir is the directory that the mount point is in, name its name there.
	dir  int
	name string
	// parent is the mount that is to be made a slave.
	parent int
	// old is open only while it does not have to be free of users.
	old     int
	fresh   int
	freshID uint64
	// keep is a copy of the old mount and all upon it, mounted nowhere, to be
	// put back if mending fails.
	keep int
	// lids are copies of what lies upon the old mount.
	lids  []lid
	cover bool
	// taken and placed tell how far it has come.
	taken, placed bool
	notes         []string
}

// lid is a copy of a mount that lies upon the old one, with all upon itself.
type lid struct {
	at    string // relative to the mount point
	mount int
}

// mend replaces or covers the job's mount. Whatever fails, the view is then as
// it was, or the state says that it is not.
func (r *room) mend(j *job) outcome {
	point := path.Clean(j.old.MountPoint)
	s := &swap{room: r, job: j, dir: -1, parent: -1, old: -1, fresh: -1, keep: -1, cover: j.plan.Action == Cover, name: path.Base(point)}
	defer s.close()
	for _, step := range []func() error{s.open, s.prepare, s.change, s.shield, s.clearPoint, s.place, s.layBack} {
		if err := step(); err != nil {
			return s.undo(err)
		}
	}
	r.replaced[j.old.ID] = s.freshID
	return outcome{state: Mended, notes: s.notes}
}

func (s *swap) close() {
	s.closeOld()
	for _, fd := range []int{s.dir, s.parent, s.fresh, s.keep} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	for _, l := range s.lids {
		unix.Close(l.mount)
	}
}

func (s *swap) closeOld() {
	if s.old >= 0 {
		unix.Close(s.old)
	}
	s.old = -1
}

func (s *swap) openOld() (err error) {
	s.closeOld()
	// Only a directory: a single file of a cgroup may be mounted, too.
	if s.old, err = s.below(s.dir, s.name+"/", 0); err != nil {
		return failed("open", s.job.old.MountPoint, err)
	}
	return s.isMount(s.old, s.job.old.MountPoint, uint64(s.job.old.ID))
}

// open opens what the swap works on.
func (s *swap) open() (err error) {
	old := &s.job.old
	dir := path.Dir(path.Clean(old.MountPoint))
	if s.dir, err = s.walk(dir, unix.O_DIRECTORY); err != nil {
		return failed("open", dir, err)
	}
	// Where the old mount does not lie right upon its parent's root, this
	// directory is the parent's.
	if old.Parent.Known && path.Clean(old.Parent.MountPoint) != path.Clean(old.MountPoint) {
		if err := s.isMount(s.dir, dir, uint64(old.ParentID)); err != nil {
			return err
		}
	}
	if !s.cover && old.Parent.Shared {
		if s.parent, err = s.openMount(old.Parent.MountPoint, uint64(old.ParentID)); err != nil {
			return err
		}
	}
	return s.openOld()
}

// prepare makes all that is needed before anything changes.
func (s *swap) prepare() (err error) {
	if s.fresh, err = s.room.fresh(s.job); err != nil {
		return err
	}
	if s.freshID, err = s.mountID(s.fresh); err != nil {
		return failed("identify the fresh mount of", s.job.hierarchy.Label, err)
	}
	if err = s.copyLids(); err != nil || s.cover {
		return err
	}
	if s.keep, err = s.copy(s.old); err != nil {
		return failed("keep a copy of the mount at", s.job.old.MountPoint, err)
	}
	return nil
}

// copy clones an open mount with all upon it, mounted nowhere. A copy of a
// shared mount is of the same peer group, so that nothing is cut off by it.
func (s *swap) copy(mount int) (int, error) {
	return s.sys.openTree(mount, "", unix.OPEN_TREE_CLONE|unix.O_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
}

// copyLids copies the mounts upon the old one, and makes sure that the fresh
// one has a place for each: the same path, since that is by which they are
// known to whoever uses them.
func (s *swap) copyLids() error {
	for _, m := range s.job.submounts {
		if m.ParentID != s.job.old.ID {
			continue // copied with the one that it lies upon
		}
		at := relative(s.job.old.MountPoint, m.MountPoint)
		id := uint64(m.ID)
		if now, ok := s.replaced[m.ID]; ok {
			id = now
		}
		fd, err := s.below(s.old, at, 0)
		if err != nil {
			return failed("open the mount at", m.MountPoint, err)
		}
		var copied int
		if err = s.isMount(fd, m.MountPoint, id); err == nil {
			err = s.fits(at, m.MountPoint, fd)
		}
		if err == nil {
			if copied, err = s.copy(fd); err != nil {
				err = failed("copy the mount at", m.MountPoint, err)
			}
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
		s.lids = append(s.lids, lid{at: at, mount: copied})
	}
	return nil
}

// below opens a path below a mount, without links.
func (s *swap) below(mount int, at string, resolve uint64) (int, error) {
	return s.sys.openat2(mount, at, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: resolve | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

var errNoPlace = errors.New("it lies upon the old mount, and the fresh one has nothing at this path to mount it on")

// fits makes sure that the fresh mount has a directory, or a file, where the
// mount that is open as fd shows one.
func (s *swap) fits(at, point string, fd int) error {
	place, err := s.below(s.fresh, at, unix.RESOLVE_NO_XDEV)
	if err == nil {
		defer unix.Close(place)
		var theirs, ours unix.Statx_t
		if err = errors.Join(s.kind(fd, &theirs), s.kind(place, &ours)); err == nil {
			if (theirs.Mode^ours.Mode)&unix.S_IFMT != 0 && (theirs.Mode&unix.S_IFMT == unix.S_IFDIR || ours.Mode&unix.S_IFMT == unix.S_IFDIR) {
				err = unix.ENOTDIR
			}
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		e := failed("keep the mount at", point, errNoPlace)
		e.Next = "take that mount away first, or make the cgroup that it was mounted on"
		return e
	case err != nil:
		return failed("keep the mount at", point, err)
	}
	return nil
}

func (s *swap) kind(fd int, st *unix.Statx_t) error {
	return s.sys.statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, st)
}

// shield keeps the change in this mount namespace: what is mounted or taken
// away upon a shared mount is so in all its peers. A slave passes nothing on.
func (s *swap) shield() error {
	old := &s.job.old
	mount, point := s.parent, old.Parent.MountPoint
	if s.cover {
		mount, point = s.old, old.MountPoint
		if !strings.Contains(old.Propagation, "shared:") {
			return nil
		}
	}
	if mount < 0 {
		return nil
	}
	if err := s.setPropagation(mount, unix.MS_SLAVE); err != nil {
		return failed("make a slave of the mount at", point, err)
	}
	s.notes = append(s.notes, "the mount at "+printable.Text(point)+" was shared and is a slave now: what is mounted on it later stays in this mount namespace")
	return nil
}

// clearPoint takes the old mount away where that is the way. One that turns out
// to be locked is covered after all.
func (s *swap) clearPoint() error {
	if s.cover {
		return nil
	}
	err := s.takeAway()
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	s.cover = true
	s.notes = append(s.notes, "the old mount is locked and cannot be taken away: it is covered instead")
	if err := s.openOld(); err != nil {
		return err
	}
	return s.shield()
}
