package remount

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"nsinspect/internal/printable"
)

// takeAway unmounts the old mount, which nothing here may hold open then. One
// that is in use, or has mounts upon it, is detached; a process that has its
// working directory or a file in it keeps that.
func (s *swap) takeAway() error {
	s.closeOld()
	err := s.unmount(uint64(s.job.old.ID), 0)
	if errors.Is(err, unix.EBUSY) {
		if len(s.lids) == 0 {
			s.notes = append(s.notes, "the old mount was in use: whoever has a file or a working directory in it keeps that until it lets go")
		}
		err = s.detach()
	}
	s.taken = err == nil
	return err
}

// detach takes the old mount away with all upon it. It is made private before,
// all of it, since from a shared one its submounts' going would reach its
// peers. The copies are in the peer groups still.
func (s *swap) detach() error {
	if err := s.openOld(); err != nil {
		return err
	}
	if err := s.setPropagation(s.old, unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return failed("make private the mount at", s.job.old.MountPoint, err)
	}
	s.closeOld()
	err := s.unmountTop(unix.MNT_DETACH)
	if err != nil {
		s.notes = append(s.notes, "the mount at "+printable.Text(s.job.old.MountPoint)+" and those upon it are private now: what is mounted upon them elsewhere is not seen here")
	}
	return err
}

// unmount unmounts the topmost mount at the mount point if it has this ID.
func (s *swap) unmount(id uint64, flags int) error {
	now, err := s.top()
	if err == nil && now != id {
		err = errOtherMount
	}
	if err != nil {
		return &Error{Kind: ErrChanged, Tried: "find the mount at", On: s.job.old.MountPoint, Err: err}
	}
	return s.unmountTop(flags)
}

// unmountTop names the mount point by one name in a directory that is held open.
func (s *swap) unmountTop(flags int) error {
	if err := s.in(s.dir, func() error { return s.sys.umount(s.name, unix.UMOUNT_NOFOLLOW|flags) }); err != nil {
		return failed("take away the mount at", s.job.old.MountPoint, err)
	}
	return nil
}

// top is the ID of the mount that is visible at the mount point.
func (s *swap) top() (uint64, error) {
	fd, err := s.below(s.dir, s.name, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return s.mountID(fd)
}

// putAt moves a mount that is mounted nowhere to the mount point, if one of
// these is what is there.
func (s *swap) putAt(mount int, upon ...uint64) error {
	at, err := s.below(s.dir, s.name, 0)
	if err != nil {
		return failed("open", s.job.old.MountPoint, err)
	}
	defer unix.Close(at)
	for _, id := range upon {
		if err = s.isMount(at, s.job.old.MountPoint, id); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := s.move(mount, at); err != nil {
		return failed("move a mount to", s.job.old.MountPoint, err)
	}
	return nil
}

func (s *swap) move(mount, at int) error {
	return s.sys.moveMount(mount, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// place moves the fresh mount to the mount point, and makes sure that it is
// what is seen there.
func (s *swap) place() error {
	upon := s.job.old.ParentID
	if s.cover {
		upon = s.job.old.ID
	}
	if err := s.putAt(s.fresh, uint64(upon)); err != nil {
		return err
	}
	s.placed = true
	top, err := s.top()
	if err == nil && top != s.freshID {
		err = errOtherMount
	}
	if err != nil {
		return failed("see the fresh mount at", s.job.old.MountPoint, err)
	}
	return nil
}

// layBack puts the copies of what lay upon the old mount upon the fresh one.
func (s *swap) layBack() error {
	for _, l := range s.lids {
		at, err := s.below(s.fresh, l.at, unix.RESOLVE_NO_XDEV)
		if err == nil {
			err = s.move(l.mount, at)
			unix.Close(at)
		}
		if err != nil {
			return failed("lay back the mount at "+printable.Text(l.at)+" upon", s.job.old.MountPoint, err)
		}
	}
	return nil
}

// undo restores the view after a failure: without the fresh mount and, where
// the old one was taken away, with its copy, if need be over the fresh one.
func (s *swap) undo(cause error) outcome {
	o := outcome{state: Unchanged, err: cause}
	var failure error
	if s.placed {
		failure = s.discard()
	}
	if s.taken {
		if failure != nil {
			s.notes = append(s.notes, "the fresh mount is still there, under the old one's copy: "+failure.Error())
		}
		o.state, failure = Restored, s.putBack()
	}
	if failure != nil {
		o.state, o.err = Lost, fmt.Errorf("%w; then: %w", cause, failure)
	}
	o.notes = s.notes
	return o
}

// putBack puts the copy of the old mount in its place, unless the old one is
// there: then it was another that was taken away, put upon it just before.
func (s *swap) putBack() error {
	if top, err := s.top(); err == nil && top == uint64(s.job.old.ID) {
		return nil
	}
	id, err := s.mountID(s.keep)
	if err == nil {
		s.replaced[s.job.old.ID] = id
	}
	return s.putAt(s.keep, uint64(s.job.old.ParentID), s.freshID)
}

// discard takes the fresh mount away again, private for the same reason as the
// old one in detach.
func (s *swap) discard() error {
	if err := s.setPropagation(s.fresh, unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return failed("make private the mount at", s.job.old.MountPoint, err)
	}
	return s.unmount(s.freshID, unix.MNT_DETACH)
}
