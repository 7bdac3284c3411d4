package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxReplayed bounds the bytes that are read from a capture in memory: one of
// few megabytes may be made so that its files are read again and again.
const maxReplayed = 4 << 30

// What a capture has no answer to.
var (
	errReplayed = fmt.Errorf("what is in the capture takes more than %d GiB to read", maxReplayed>>30)
	errNoView   = errors.New("the capture has no view from within it")
	// errNotSeen is of one file, errNoView of a whole namespace.
	errNotSeen = errors.New("the capture has no view of it from within that cgroup namespace")
)

const notAnswered = "the capture has no answer to it"

// OpenCapture opens the capture in a file, as Open does a procfs; it is all
// read into memory. Its error says why there is no capture in the file.
func OpenCapture(path string, jobs int) (*FS, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture %s: %w", path, archiveError(err))
	}
	defer file.Close()
	return ReadCapture(file, path, jobs)
}

// ReadCapture reads a capture from r, which messages call by name.
func ReadCapture(r io.Reader, name string, jobs int) (*FS, error) {
	c, err := unpack(r)
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", name, err)
	}
	return newFS(newReplayTree(c), jobs), nil
}

// Origin is where a capture comes from, as it says itself. Empty strings are not
// known.
type Origin struct {
	Host   string // its name, as the reader's UTS namespace had it
	Kernel string // its release
	Made   time.Time
}

// Origin returns that of a capture; ok is false for a procfs.
func (f *FS) Origin() (o Origin, ok bool) {
	t, ok := f.tree.(*replayTree)
	if !ok {
		return Origin{}, false
	}
	text := func(name string) string { return strings.TrimSpace(t.capture.top[name]) }
	return Origin{Host: text("sys/kernel/hostname"), Kernel: text("sys/kernel/osrelease"), Made: t.capture.made}, true
}

// Captured are the processes that a capture was made for, and recorded is false
// if it was made for all or is none.
func (f *FS) Captured() (pids []int, some bool) {
	if t, ok := f.tree.(*replayTree); ok && t.capture.only != nil {
		return slices.Clone(t.capture.only), true
	}
	return nil, false
}

// replayTree reads from a capture.
type replayTree struct {
	capture *capture
	answers system
	left    atomic.Int64
	// noted is for a capture that is being made; else it is nil.
	noted *notes
}

func newReplayTree(c *capture) *replayTree {
	t := &replayTree{capture: c, answers: replaySystem{c}}
	t.left.Store(maxReplayed)
	return t
}

func (t *replayTree) reader() Reader         { return t.capture.reader }
func (t *replayTree) witness() (held, error) { return nil, nil }
func (t *replayTree) system() system         { return t.answers }
func (t *replayTree) live() bool             { return false }
func (t *replayTree) close() error           { return nil }

func (t *replayTree) pids() ([]int, error) {
	var pids []int
	for id := range t.capture.tasks {
		if id.pid == id.tid {
			pids = append(pids, id.pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func (t *replayTree) eachPIDs(give func([]int) bool) error {
	pids, err := t.pids()
	if err == nil {
		give(pids)
	}
	return err
}

// threads returns only the threads that the capture has: the leader, and those
// that are elsewhere.
func (t *replayTree) threads(pid int) ([]int, error) {
	leader := t.capture.tasks[taskID{pid, pid}]
	if leader == nil {
		return nil, unix.ENOENT
	}
	if err := leader.errs["task"]; err != nil {
		return nil, err
	}
	return append([]int{pid}, t.capture.threads[pid]...), nil
}

func (t *replayTree) hides(pid int) bool {
	files := t.capture.tasks[taskID{pid, pid}]
	return files != nil && files.errs[""] != nil && files.errs[""].Error() == errHidden.Error()
}

func (t *replayTree) process(pid, tid int) (dir, error) {
	id := taskID{pid, tid}
	files := t.capture.tasks[id]
	if files == nil && pid == tid {
		// The number of a thread leads to its directory too (proc(5)).
		id = t.capture.byTID[tid]
		files = t.capture.tasks[id]
	}
	if files == nil {
		return nil, unix.ENOENT
	}
	if err := files.errs[""]; err != nil {
		return nil, err
	}
	t.noted.add(id.pid)
	return &replayDir{tree: t, taskFiles: files}, nil
}

// link answers for proc/self, and for PID/NAME.
func (t *replayTree) link(name string) (string, error) {
	if name == "self" && t.capture.self != "" {
		return t.capture.self, nil
	}
	number, rest, _ := strings.Cut(name, "/")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return "", unix.ENOENT
	}
	d, err := t.process(pid, pid)
	if err != nil {
		return "", err
	}
	return d.link(rest)
}

func (t *replayTree) read(name string) ([]byte, error) {
	text, ok := t.capture.top[name]
	if !ok {
		return nil, unix.ENOENT
	}
	return []byte(text), nil
}

// spend counts what is read.
func (t *replayTree) spend(text string) error {
	if t.left.Add(-int64(len(text))) < 0 {
		return errReplayed
	}
	return nil
}

// replayDir is a process directory of a capture.
type replayDir struct {
	tree *replayTree
	*taskFiles
}

func (d *replayDir) link(name string) (string, error) {
	if text, ok := d.links[name]; ok {
		return text, nil
	}
	return "", d.missing(name)
}

// text returns a file; all tasks that share a mount table have one mountinfo.
func (d *replayDir) text(name string) (string, error) {
	if name == "mountinfo" {
		return d.tree.capture.mountinfo(d.taskFiles)
	}
	if text, ok := d.files[name]; ok {
		return text, nil
	}
	return "", d.missing(name)
}

func (d *replayDir) read(name string, buf []byte) ([]byte, error) {
	text, err := d.text(name)
	if err == nil {
		err = d.tree.spend(text)
	}
	if err != nil {
		return nil, err
	}
	return append(buf[:0], text...), nil
}

func (d *replayDir) open(name string) (io.ReadCloser, error) {
	text, err := d.text(name)
	if err == nil {
		err = d.tree.spend(text)
	}
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (d *replayDir) hold(name string) (held, error) { return replayFile{d, name}, nil }

// replayFile is a file that never changes.
type replayFile struct {
	dir  *replayDir
	name string
}

func (f replayFile) read(buf []byte) ([]byte, error) { return f.dir.read(f.name, buf) }
func (f replayFile) close()                          {}

func (d *replayDir) names(string) ([]string, error) { return nil, unix.ENOENT }

func (d *replayDir) close() {}

// replayEntrant goes where whoever made the capture could go.
type replayEntrant struct{ capture *capture }

func (t *replayTree) entering(do func(entrant)) { do(replayEntrant{t.capture}) }

func (e replayEntrant) open(d dir, ns uint64) (gate, error) {
	if nsOf(d.link("ns/cgroup")) != ns {
		return nil, errChanged
	}
	if err := e.capture.refused[ns]; err != nil {
		return nil, err
	}
	views := e.capture.views[ns]
	if views == nil {
		return nil, errNoView
	}
	return replayGate{views}, nil
}

type replayGate struct{ views *nsViews }

func (g replayGate) in(do func(lens) error) error { return do(replayLens(g)) }

func (replayGate) close() {}

// replayLens finds what a member of a namespace reads by what the reader reads.
type replayLens struct{ views *nsViews }

func (l replayLens) text(d dir, name string) (string, error) {
	at := d.(*replayDir)
	outside, err := at.text(name)
	if err != nil {
		return "", err
	}
	inside, ok := l.views.named(name)[outside]
	if !ok {
		return "", errNotSeen
	}
	return inside.text, at.tree.spend(inside.text)
}

func (l replayLens) again(file held, buf []byte) ([]byte, error) {
	of := file.(replayFile)
	text, err := l.text(of.dir, of.name)
	if err != nil {
		return nil, err
	}
	return append(buf[:0], text...), nil
}

func (l replayLens) open(d dir, name string) (io.ReadCloser, error) {
	text, err := l.text(d, name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// replaySystem has the answers that the capture has.
type replaySystem struct{ capture *capture }

func (s replaySystem) userName(uid int) string {
	if name, ok := s.capture.users[uid]; ok {
		return name
	}
	return strconv.Itoa(uid)
}

func (s replaySystem) mountNSOwner(t Task) uint64 {
	if files := s.capture.tasks[taskID{t.PID, t.TID}]; files != nil {
		return s.capture.owners[files.ns("mnt")]
	}
	return 0
}

func (s replaySystem) openNamespaces(pid int) []OpenNamespace {
	return s.capture.open[pid]
}

func (s replaySystem) probe(_ context.Context, p Probe) ProbeAnswer {
	if a, ok := s.capture.probes[p.key()]; ok {
		return a
	}
	return ProbeAnswer{Reason: notAnswered}
}

func (s replaySystem) directories(q DirectoryQuestion) DirectoryAnswer {
	if a, ok := s.capture.dirs[q]; ok {
		return a
	}
	return DirectoryAnswer{Err: notAnswered}
}

func (s replaySystem) cgroupFile(q FileQuestion) FileAnswer {
	if a, ok := s.capture.files[q]; ok {
		return a
	}
	return FileAnswer{Err: notAnswered}
}
