package remount

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// outcome is what has become of one job.
type outcome struct {
	state State
	err   error
	notes []string
}

// swap puts a fresh mount in an old one's place. Its descriptors are -1 where
// nothing is open.
type swap struct {
	*room
	job *job
	// dir is the directory that the mount point is in, name its name there.
	dir  int
	name string
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
	s := &swap{room: r, job: j, dir: -1, old: -1, fresh: -1, keep: -1, cover: j.plan.Action == Cover}
	s.name = path.Base(path.Clean(j.old.MountPoint))
	defer s.close()
	err := s.ready()
	if err == nil {
		err = s.shield()
	}
	if err == nil && !s.cover {
		if err = s.takeAway(); errors.Is(err, unix.EINVAL) {
			err = s.insteadCover()
		}
	}
	if err == nil {
		err = s.place()
	}
	if err == nil {
		err = s.layBack()
	}
	if err != nil {
		return s.undo(err)
	}
	r.replaced[j.old.ID] = s.freshID
	return outcome{state: Mended, notes: s.notes}
}

func (s *swap) close() {
	s.closeOld()
	for _, fd := range []int{s.dir, s.fresh, s.keep} {
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
	s.old, err = s.openMount(s.job.old.MountPoint, uint64(s.job.old.ID))
	return err
}

// ready makes all that is needed before anything changes.
func (s *swap) ready() (err error) {
	point := s.job.old.MountPoint
	if s.dir, err = s.open(path.Dir(path.Clean(point)), unix.O_DIRECTORY); err != nil {
		return failed("open", path.Dir(path.Clean(point)), err)
	}
	if err = s.openOld(); err != nil {
		return err
	}
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
		return failed("keep a copy of the mount at", point, err)
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
		e.hint = "take that mount away first, or make the cgroup that it was mounted on"
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
	if s.cover {
		if !strings.Contains(old.Propagation, "shared:") {
			return nil
		}
		if err := s.setPropagation(s.old, unix.MS_SLAVE); err != nil {
			return failed("make a slave of the mount at", old.MountPoint, err)
		}
		return nil
	}
	if !old.Parent.Shared {
		return nil
	}
	parent, err := s.openMount(old.Parent.MountPoint, uint64(old.ParentID))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if err := s.setPropagation(parent, unix.MS_SLAVE); err != nil {
		return failed("make a slave of the mount at", old.Parent.MountPoint, err)
	}
	s.notes = append(s.notes, "the mount at "+printable(old.Parent.MountPoint)+" was shared and is a slave now: what is mounted there later stays in this mount namespace")
	return nil
}

// insteadCover is the way where the old mount turns out to be locked.
func (s *swap) insteadCover() error {
	s.cover = true
	s.notes = append(s.notes, "the old mount is locked and cannot be taken away: it is covered instead")
	if err := s.openOld(); err != nil {
		return err
	}
	return s.shield()
}
