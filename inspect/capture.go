package inspect

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// capture is what the files of all processes held at one moment, the views from
// within their cgroup namespaces, and the answers to what no procfs holds.
// docs/capture.md describes its archive.
type capture struct {
	made  time.Time         // that of its last entry
	self  string            // the text of proc/self
	top   map[string]string // files at the top of the procfs
	tasks map[taskID]*taskFiles
	views map[uint64]*nsViews
	// tables are the mountinfo files of tasks whose mount namespace is known,
	// one for each.
	tables map[tableText]string
	answers

	// threads and byTID are made of tasks by index.
	threads map[int][]int
	byTID   map[int]taskID
}

// taskID is a process (pid and tid are the same) or one of its threads.
type taskID struct{ pid, tid int }

// taskFiles is one process directory.
type taskFiles struct {
	files, links map[string]string
	// errs are the errors of reading, but that there is no such file; under ""
	// that of opening the directory.
	errs map[string]error
}

// tableText is a task's TableKey as its links have it.
type tableText struct{ mnt, root string }

// nsViews is what a member of a cgroup namespace reads of files, by what the
// reader reads of them: what is the same from outside is the same from within.
type nsViews struct{ cgroups, mounts map[string]view }

// view is a file's text, as it was read of one task.
type view struct {
	of   taskID
	text string
}

// The files that a capture may have of each task; all else in it is refused.
var (
	taskFileNames = []string{"cgroup", "mountinfo", "stat", "status", "comm", "cmdline"}
	topFileNames  = []string{"uptime", "sys/kernel/hostname", "sys/kernel/osrelease"}
	taskLinkNames = func() []string {
		names := []string{"root"}
		for _, ns := range NamespaceNames {
			names = append(names, "ns/"+ns)
		}
		return names
	}()
)

func newCapture() *capture {
	return &capture{
		top: map[string]string{}, tasks: map[taskID]*taskFiles{}, views: map[uint64]*nsViews{},
		tables: map[tableText]string{}, threads: map[int][]int{}, answers: newAnswers(),
	}
}

func newTaskFiles() *taskFiles {
	return &taskFiles{files: map[string]string{}, links: map[string]string{}, errs: map[string]error{}}
}

// of returns the views of a namespace, new ones if it has none yet.
func (c *capture) of(ns uint64) *nsViews {
	if c.views[ns] == nil {
		c.views[ns] = &nsViews{cgroups: map[string]view{}, mounts: map[string]view{}}
	}
	return c.views[ns]
}

// dir is where the task lies in a procfs.
func (t taskID) dir() string {
	if t.pid == t.tid {
		return strconv.Itoa(t.pid)
	}
	return strconv.Itoa(t.pid) + "/task/" + strconv.Itoa(t.tid)
}

func compareTasks(a, b taskID) int {
	if a.pid != b.pid {
		return a.pid - b.pid
	}
	switch { // the leader comes first, whatever its threads' numbers
	case a.tid == b.tid:
		return 0
	case a.tid == a.pid:
		return -1
	case b.tid == b.pid:
		return 1
	}
	return a.tid - b.tid
}

// ordered are the tasks by process and thread.
func (c *capture) ordered() []taskID {
	list := make([]taskID, 0, len(c.tasks))
	for id := range c.tasks {
		list = append(list, id)
	}
	slices.SortFunc(list, compareTasks)
	return list
}

// index makes the tasks findable once they are complete.
func (c *capture) index() {
	c.threads, c.byTID = map[int][]int{}, map[int]taskID{}
	for _, id := range c.ordered() {
		if id.pid != id.tid {
			c.threads[id.pid] = append(c.threads[id.pid], id.tid)
			c.byTID[id.tid] = id
		}
	}
}

// missing is the error of a file that is not there.
func (t *taskFiles) missing(name string) error {
	if err := t.errs[name]; err != nil {
		return err
	}
	return unix.ENOENT
}

// ns is the inode of one of the task's namespaces; 0: not known.
func (t *taskFiles) ns(name string) uint64 { return nsOf(t.links["ns/"+name], nil) }

// table is the key of the task's mount table; ok is false where its mount
// namespace is not known.
func (t *taskFiles) table() (key tableText, ok bool) {
	return tableText{t.links["ns/mnt"], t.links["root"]}, t.ns("mnt") != 0
}

// mountinfo returns the task's mount table: its own, or that of all tasks with
// its mount namespace and root directory.
func (c *capture) mountinfo(t *taskFiles) (string, error) {
	if text, ok := t.files["mountinfo"]; ok {
		return text, nil
	}
	if err := t.errs["mountinfo"]; err != nil {
		return "", err
	}
	if key, ok := t.table(); ok {
		if text, ok := c.tables[key]; ok {
			return text, nil
		}
	}
	return "", unix.ENOENT
}

// named are the views of the files of this name.
func (v *nsViews) named(name string) map[string]view {
	switch name {
	case "cgroup":
		return v.cgroups
	case "mountinfo":
		return v.mounts
	}
	return nil
}

// An error is written as the kernel's name for it, with what failed before it
// ("setns: EPERM"), or as its text.
func errorText(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) && unix.ErrnoName(errno) != "" {
		if what, ok := strings.CutSuffix(err.Error(), errno.Error()); ok {
			return what + unix.ErrnoName(errno)
		}
	}
	return err.Error()
}

// textError is the error that errorText wrote.
func textError(text string) error {
	name := text[strings.LastIndexByte(text, ' ')+1:]
	errno, ok := errnoNames()[name]
	switch {
	case !ok:
		return errors.New(text)
	case name == text:
		return errno
	}
	return fmt.Errorf("%s%w", strings.TrimSuffix(text, name), errno)
}

// maxErrno is MAX_ERRNO of include/linux/err.h, by far more than there are.
const maxErrno = 4095

var errnoNames = sync.OnceValue(func() map[string]unix.Errno {
	names := map[string]unix.Errno{}
	for errno := unix.Errno(1); errno <= maxErrno; errno++ {
		if name := unix.ErrnoName(errno); name != "" {
			names[name] = errno
		}
	}
	return names
})
