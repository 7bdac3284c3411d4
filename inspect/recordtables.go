package inspect

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// maxCaptureTables bounds what all mount tables of a capture may have, with the
// views of them, in bytes: half of what it may hold, so that it can be written
// without those that do not fit.
const maxCaptureTables = maxCaptureContent / 2

// errNoRoom says of a mount table that it was left out.
var errNoRoom = errors.New("the mount tables of all processes have too many bytes for a capture")

// fits takes room for a mount table, unless there is none, and release gives it
// back. The caller holds the lock.
func (r *recorder) fits(text string) bool {
	fits := int64(len(text)) <= r.room
	if fits {
		r.room -= int64(len(text))
	}
	return fits
}

func (r *recorder) release(text string) { r.room += int64(len(text)) }

// noRoom notes that the task's mount table was left out.
func (t *taskFiles) noRoom() {
	delete(t.files, "mountinfo")
	t.errs["mountinfo"] = errNoRoom
}

// mountinfo reads the task's mount table, unless another task with the same
// mount namespace and root directory has given it.
func (r *recorder) mountinfo(d dir, t *taskFiles) {
	if t.links["ns/mnt"] == "" && t.missing("ns/mnt") == unix.ENOENT {
		return // it has ended, or is a zombie
	}
	key, known := t.table()
	if known {
		r.mu.Lock()
		_, have := r.capture.tables[key]
		r.mu.Unlock()
		if have {
			return
		}
	}
	text, err := readBounded(d.open("mountinfo"))
	if err != nil || !known {
		t.keep(t.files, "mountinfo", text, err)
		return
	}
	// It counts only if the task did not change over meanwhile.
	if mnt, err := d.link("ns/mnt"); err != nil || mnt != key.mnt {
		return
	}
	if root, _ := d.link("root"); root != key.root {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, have := r.capture.tables[key]; have {
		return
	}
	if !r.fits(text) {
		t.noRoom()
		return
	}
	r.capture.tables[key] = text
}

// readBounded reads a file of a size that the process itself decides on.
func readBounded(file io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxCaptureFile+1))
	if err == nil && len(text) > maxCaptureFile {
		err = fmt.Errorf("it is larger than %d MiB", maxCaptureFile>>20)
	}
	return string(text), err
}

// keep takes in what a file is from within.
func (r *recorder) keep(p *inside, s sight, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.file == "mountinfo" && !r.fits(text) {
		p.full = append(p.full, s.outside)
		return
	}
	r.capture.views[p.ns].named(s.file)[s.outside] = view{of: s.task, text: text}
}

// leaveOut notes of the members whose mount tables have no room from within that
// they were left out.
func (r *recorder) leaveOut(p *inside) {
	for _, id := range p.members {
		t := r.capture.tasks[id]
		if text, err := r.capture.mountinfo(t); err == nil && slices.Contains(p.full, text) {
			r.release(t.files["mountinfo"])
			t.noRoom()
		}
	}
}

// unseen notes why members could not be looked at from within.
func (r *recorder) unseen(p *inside, s sight) {
	for _, id := range p.members {
		t := r.capture.tasks[id]
		text, ok := t.files[s.file]
		if s.file == "mountinfo" {
			var err error
			text, err = r.capture.mountinfo(t)
			ok = err == nil
		}
		if ok && text == s.outside {
			t.errs["ns/cgroup"] = p.missed
			delete(t.links, "ns/cgroup")
		}
	}
}
