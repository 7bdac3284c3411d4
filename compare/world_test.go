package compare

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nsinspect/inspect"
)

// The namespaces of the fabricated hosts: those of the host itself, and those of
// one that is boxed in.
const (
	initNS   = inspect.InitialCgroupNS
	hostMnt  = 4026531832
	hostPID  = 4026531836
	hostUser = 4026531837
	boxNS    = 4026532700
	boxMnt   = 4026532701
	boxPID   = 4026532702
)

// readerPID is the reader's process ID where a test does not say otherwise.
const readerPID = 900

// lines are the first two fields of the lines of /proc/PID/cgroup, by label.
var lines = map[string]string{
	"unified": "0:", "name=systemd": "1:name=systemd", "memory": "2:memory", "cpu,cpuacct": "3:cpuacct,cpu",
	"freezer": "6:freezer", "net_cls,net_prio": "8:net_cls,net_prio", "rdma": "10:rdma", "net_prio,name=foo": "14:net_prio,name=foo", "name=-f": "15:name=-f",
}

// at is a line of /proc/PID/cgroup: the cgroup's path as the reader has it, and
// as the process's own namespace does; "" is the same path.
type at struct{ label, host, own string }

// mount is a line of /proc/PID/mountinfo. Its root is given as the reader has
// it and as the process's own namespace does; "" is the same.
type mount struct {
	label, point, root, own string
	options                 string // default: rw
	super                   string // default: rw and what names the hierarchy
	tags                    string // as shared:4
	fs                      string // of a mount that is no cgroup's
}

// proc is a process or, with a tid, a thread. Without namespaces it is in the
// host's. Without mounts it has those that another process has in its mount
// namespace.
type proc struct {
	pid, tid, parent int
	ns, mnt          uint64
	at               []at
	mounts           []mount
	root             string // its root directory's link; default: /
	rootfs           string // what is mounted there; default: "8:1 /"
	command          string
	pidNS, userNS    uint64
	first, kernel    bool
	noNS, noMnt      bool // its links could not be read
	noTable          bool // nor its mountinfo
	partial          bool // mountinfo was too long
	ended, moved     bool // since it was first seen
	apart            bool // a thread that the first reading has not got
}

// world is a fabricated host. It stands in for package inspect: it gives the
// first reading, and answers what a diagnosis asks.
type world struct {
	t       *testing.T
	reader  inspect.Reader
	procs   []*proc
	texts   map[string]*inspect.Cgroups
	skipped []inspect.Skipped
	// refused are cgroup namespaces that cannot be entered, and why.
	refused map[uint64]string
	// sees are processes as the members of a cgroup namespace see them, where
	// that is not the process's own.
	sees map[uint64]map[int][]at
	// inodes are the cgroups that exist, by label and the reader's path.
	inodes map[string]map[string]uint64
	// files are those of cgroups, by their path on the host.
	files map[string]string
	// probe is what the kernel lists; nil: it cannot be asked.
	probe  func(inspect.Probe) inspect.ProbeAnswer
	owners map[uint64]uint64 // of mount namespaces; default: the initial one
	open   []inspect.OpenNamespace
	asked  inspect.Questions // all that was asked
	// answered changes answers before they are given; nil: they stay.
	answered func(*inspect.Answers)
}

// newWorld is a host at rest: the reader, who is on it, and its mounts of these
// hierarchies.
func newWorld(t *testing.T, labels ...string) *world {
	w := &world{
		t: t, reader: inspect.Reader{PID: readerPID, CgroupNS: initNS, CanEnter: true, SamePIDs: true, WholeHost: true},
		texts: map[string]*inspect.Cgroups{}, refused: map[uint64]string{}, sees: map[uint64]map[int][]at{},
		inodes: map[string]map[string]uint64{}, files: map[string]string{}, owners: map[uint64]uint64{},
	}
	one := proc{pid: 1, command: "init"}
	reader := proc{pid: readerPID, parent: 1, command: "nsinspect"}
	for _, label := range labels {
		one.at = append(one.at, at{label, "/", ""})
		reader.at = append(reader.at, at{label, "/", ""})
		one.mounts = append(one.mounts, mount{label: label, point: usual(label), root: "/"})
	}
	return w.add(one, reader)
}

// usual is where a hierarchy is mounted.
func usual(label string) string {
	if label == "unified" {
		return "/sys/fs/cgroup/unified"
	}
	return "/sys/fs/cgroup/" + strings.TrimPrefix(label, "name=")
}

func (w *world) add(procs ...proc) *world {
	for _, p := range procs {
		p.tid = or(p.tid, p.pid)
		p.ns, p.mnt, p.pidNS, p.userNS = or(p.ns, initNS), or(p.mnt, hostMnt), or(p.pidNS, hostPID), or(p.userNS, hostUser)
		p.root, p.rootfs, p.command = or(p.root, "/"), or(p.rootfs, "8:1 /"), or(p.command, "sleep")
		w.procs = append(w.procs, &p)
	}
	return w
}

func or[T comparable](v, otherwise T) T {
	var none T
	if v == none {
		return otherwise
	}
	return v
}

// boxed is a process in a cgroup namespace of its own, with root in one
// hierarchy, and with a mount namespace of its own.
func boxed(pid int, label, root, own, mountRoot, mountOwn string) proc {
	return proc{
		pid: pid, parent: 1, ns: boxNS, mnt: boxMnt, at: []at{{label, root, own}},
		mounts: []mount{{label: label, point: usual(label), root: mountRoot, own: mountOwn}},
	}
}

// cgroups is a reading of a cgroup file; the same text is the same reading.
func (w *world) cgroups(list []at, own bool) *inspect.Cgroups {
	text := ""
	for _, a := range list {
		p := a.host
		if own && a.own != "" {
			p = a.own
		}
		if lines[a.label] == "" {
			w.t.Fatalf("no hierarchy %s", a.label)
		}
		text += lines[a.label] + ":" + p + "\n"
	}
	if w.texts[text] == nil {
		c, err := inspect.ParseCgroups([]byte(text))
		if err != nil {
			w.t.Fatal(err)
		}
		w.texts[text] = c
	}
	return w.texts[text]
}

var escapes = strings.NewReplacer("\\", `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)

// table is a reading of mountinfo. Mounts get their numbers, and the mounts that
// they lie on, as if they had been mounted in their order.
func (w *world) table(p *proc, own bool) *inspect.MountTable {
	var text strings.Builder
	id := w.firstID(p.mnt)
	if p.rootfs != "none" {
		fmt.Fprintf(&text, "%d 1 %s / rw - ext4 /dev/sda rw\n", id, p.rootfs)
	}
	mounts := w.mountsOf(p)
	on := lie(mounts)
	for i, m := range mounts {
		root := or(m.root, "/")
		if own && m.own != "" {
			root = m.own
		}
		number, names, _ := strings.Cut(lines[m.label], ":")
		fstype, super := or(m.fs, "cgroup"), or(m.super, "rw,"+names)
		if m.label == "unified" {
			fstype, super = "cgroup2", or(m.super, "rw,nsdelegate")
		}
		tags := m.tags
		if tags != "" {
			tags += " "
		}
		fmt.Fprintf(&text, "%d %d 0:%s %s %s %s %s- %s %s %s\n", id+1+i, id+on[i], or(number, "99"),
			escapes.Replace(root), escapes.Replace(m.point), or(m.options, "rw"), tags, fstype, fstype, super)
	}
	t, err := inspect.ParseMountInfo(strings.NewReader(text.String()))
	if err != nil {
		w.t.Fatalf("%v in\n%s", err, text.String())
	}
	if p.partial {
		t.Incomplete = "mountinfo was too long"
	}
	return t
}

// lie finds for each mount the one that it lies on, as the kernel does when it
// is mounted: by walking to its mount point across the mounts that are there.
// It is given by its place, from 1; 0 is the root file system.
func lie(mounts []mount) []int {
	on := make([]int, len(mounts))
	for i, m := range mounts {
		for end := range len(m.point) + 1 {
			if end < len(m.point) && m.point[end] != '/' {
				continue
			}
			for j := 0; j < i; j++ {
				if on[j] == on[i] && mounts[j].point == m.point[:end] {
					on[i], j = j+1, -1 // across, and perhaps on to one upon it
				}
			}
		}
	}
	return on
}

// firstID numbers the mounts of each mount namespace apart.
func (w *world) firstID(mnt uint64) int {
	var seen []uint64
	for _, p := range w.procs {
		if !slices.Contains(seen, p.mnt) {
			seen = append(seen, p.mnt)
		}
	}
	return 20 + 1000*slices.Index(seen, mnt)
}

func (w *world) mountsOf(p *proc) []mount {
	if p.mounts != nil {
		return p.mounts
	}
	for _, q := range w.procs {
		if q.mnt == p.mnt && q.mounts != nil {
			return q.mounts
		}
	}
	return nil
}

// task is a process as a reading of the whole host has it.
func (w *world) task(p *proc) inspect.Task {
	t := inspect.Task{PID: p.pid, TID: p.tid, CgroupNS: p.ns, MntNS: p.mnt, Root: p.root, Cgroups: w.cgroups(p.at, false)}
	if p.noNS {
		t.CgroupNS = 0
	}
	if p.noMnt {
		t.MntNS, t.Root = 0, ""
	}
	return t
}

// scan is the first reading of the whole host.
func (w *world) scan() *inspect.Host {
	h := &inspect.Host{Reader: w.reader, Kernel: "6.18.0", Tables: map[inspect.TableKey]*inspect.MountTable{}, Skipped: w.skipped}
	by := map[uint64]*inspect.Namespace{}
	for _, p := range w.procs {
		if p.apart {
			continue
		}
		t := w.task(p)
		h.Tasks = append(h.Tasks, t)
		if p.pid == w.reader.PID {
			h.Own, h.OwnCgroups = w.table(p, false), t.Cgroups
		}
		if t.CgroupNS == 0 {
			h.Skipped = append(h.Skipped, inspect.Skipped{PID: p.pid, What: "ns/cgroup", Reason: "permission denied"})
			continue
		}
		if t.MntNS != 0 && h.Tables[t.Table()] == nil && !p.noTable {
			h.Tables[t.Table()] = w.table(p, false)
			if p.partial {
				h.Skipped = append(h.Skipped, inspect.Skipped{PID: p.pid, What: "mountinfo", Reason: "it was too long"})
			}
		}
		ns := by[t.CgroupNS]
		if ns == nil {
			reason := w.refused[t.CgroupNS]
			ns = &inspect.Namespace{NS: t.CgroupNS, Entered: reason == "", Reason: reason}
			by[t.CgroupNS] = ns
			h.Namespaces = append(h.Namespaces, ns)
		}
		ns.Members = append(ns.Members, t)
		if ns.Entered && ns.NS != w.reader.CgroupNS {
			ns.Pairs = append(ns.Pairs, inspect.Pair{PID: p.pid, Host: t.Cgroups, Own: w.cgroups(p.at, true)})
		}
	}
	slices.SortFunc(h.Namespaces, func(a, b *inspect.Namespace) int { return int(a.NS) - int(b.NS) })
	slices.SortStableFunc(h.Tasks, func(a, b inspect.Task) int { return a.PID - b.PID })
	return h
}

func (w *world) find(pid, tid int) *proc {
	for _, p := range w.procs {
		if p.pid == pid && p.tid == tid {
			return p
		}
	}
	return nil
}

// process is what is told of a process.
func (w *world) process(p *proc) inspect.Process {
	return inspect.Process{
		Task: w.task(p), PPID: p.parent, Command: p.command, State: "S",
		First: p.first, Kernel: p.kernel, PIDNS: p.pidNS, UserNS: p.userNS,
	}
}

func (w *world) subject(q inspect.SubjectQuestion) *inspect.Subject {
	p := w.find(q.Task.PID, q.Task.TID)
	if p == nil || p.ended {
		return nil
	}
	s := &inspect.Subject{Process: w.process(p), Host: inspect.View{Cgroups: w.cgroups(p.at, false)}}
	if !p.noTable {
		s.Host.Mounts = w.table(p, false)
	}
	if s.Reason = w.refused[p.ns]; s.Reason == "" {
		s.Own = &inspect.View{Cgroups: w.cgroups(p.at, p.ns != w.reader.CgroupNS)}
		if !p.noTable {
			s.Own.Mounts = w.table(p, p.ns != w.reader.CgroupNS)
		}
	}
	for _, pid := range q.Peers {
		peer := w.find(pid, pid)
		view := inspect.Peer{Process: w.process(peer), Host: w.cgroups(peer.at, false)}
		if seen := w.sees[p.ns][pid]; seen != nil {
			view.Host, view.Own = w.cgroups(seen, false), w.cgroups(seen, true)
		} else if peer.ns == p.ns {
			view.Own = w.cgroups(peer.at, true)
		}
		s.Peers = append(s.Peers, view)
	}
	return s
}

// answer answers what a diagnosis asks.
func (w *world) answer(q inspect.Questions) *inspect.Answers {
	a := &inspect.Answers{Kin: map[int]inspect.Kin{}}
	for _, s := range q.Subjects {
		a.Subjects = append(a.Subjects, w.subject(s))
	}
	for _, pid := range q.Kin {
		for p := w.find(pid, pid); p != nil; p = w.find(p.parent, p.parent) {
			a.Kin[p.pid] = inspect.Kin{Parent: p.parent, Started: uint64(p.pid), Kernel: p.kernel, PIDNS: p.pidNS}
		}
	}
	for _, d := range q.Directories {
		a.Directories = append(a.Directories, w.directories(d))
	}
	for _, p := range q.Probes {
		answer := inspect.ProbeAnswer{Reason: "it cannot be asked here"}
		if w.probe != nil {
			answer = w.probe(p)
		}
		a.Probes = append(a.Probes, answer)
	}
	for _, t := range q.Owners {
		a.Owners = append(a.Owners, or(w.owners[w.find(t.PID, t.TID).mnt], hostUser))
	}
	w.answerTasks(q, a)
	for _, p := range w.procs {
		if p.apart && len(q.Threads) > 0 && (p.noMnt || slices.Contains(q.Threads, p.mnt)) {
			a.Threads = append(a.Threads, w.task(p))
		}
	}
	for _, f := range q.Files {
		text, ok := w.files[path.Join(f.MountPoint, f.Path, f.Name)]
		answer := inspect.FileAnswer{Text: text}
		if !ok {
			answer = inspect.FileAnswer{Missing: true, Err: "no such file or directory"}
		}
		a.Files = append(a.Files, answer)
	}
	if q.OpenNamespaces {
		a.OpenNamespaces = w.open
	}
	w.remember(q)
	if w.answered != nil {
		w.answered(a)
	}
	return a
}

func (w *world) answerTasks(q inspect.Questions, a *inspect.Answers) {
	for _, t := range q.Tables {
		var table *inspect.MountTable
		if p := w.find(t.PID, t.TID); !p.noTable {
			table = w.table(p, false)
		}
		a.Tables = append(a.Tables, table)
	}
	for _, t := range q.Still {
		p := w.find(t.PID, t.TID)
		a.Still = append(a.Still, !p.ended && !p.moved)
	}
	for _, t := range q.Processes {
		var process *inspect.Process
		if p := w.find(t.PID, t.TID); p != nil && !p.ended {
			told := w.process(p)
			process = &told
		}
		a.Processes = append(a.Processes, process)
	}
}

func (w *world) remember(q inspect.Questions) {
	w.asked.Subjects = append(w.asked.Subjects, q.Subjects...)
	w.asked.Probes = append(w.asked.Probes, q.Probes...)
	w.asked.Directories = append(w.asked.Directories, q.Directories...)
	w.asked.Processes = append(w.asked.Processes, q.Processes...)
	w.asked.Files = append(w.asked.Files, q.Files...)
	w.asked.OpenNamespaces = w.asked.OpenNamespaces || q.OpenNamespaces
}

// directories looks through a mount of the reader's.
func (w *world) directories(q inspect.DirectoryQuestion) (a inspect.DirectoryAnswer) {
	for _, m := range w.mountsOf(w.find(w.reader.PID, w.reader.PID)) {
		if m.point != q.MountPoint {
			continue
		}
		for at, inode := range w.inodes[m.label] {
			rel, shown := strings.CutPrefix(trimmed(at), trimmed(m.root))
			below, ok := strings.CutPrefix(rel, trimmed("/"+q.Path))
			if shown && ok && strings.Count(below, "/") == q.Depth && (below == "" || below[0] == '/') {
				a.Directories = append(a.Directories, inspect.Directory{Path: or(strings.TrimPrefix(rel, "/"), "."), Inode: inode})
			}
		}
		slices.SortFunc(a.Directories, func(a, b inspect.Directory) int { return strings.Compare(a.Path, b.Path) })
		return a
	}
	w.t.Fatalf("the reader has no mount at %s", q.MountPoint)
	return a
}

// trimmed is a path to put another one behind: nothing for the root.
func trimmed(p string) string { return strings.TrimSuffix(strings.TrimSuffix(p, "/."), "/") }

// doctor works through a diagnosis.
func (w *world) doctor(only ...int) *Report {
	w.t.Helper()
	d := NewDiagnosis(w.scan(), only)
	for q, more := d.Ask(); more; q, more = d.Ask() {
		d.Learn(w.answer(q))
	}
	return d.Report()
}

// told is a finding in a few words: severity, check, hierarchy, processes.
func told(f *Finding) string {
	words := []string{string(f.Severity), f.Check}
	if f.Hierarchy != nil {
		words = append(words, f.Hierarchy.Label)
	}
	for _, pid := range f.PIDs {
		words = append(words, fmt.Sprint(pid))
	}
	return strings.Join(words, " ")
}

// finds holds that just these findings are told, in their order.
func (w *world) finds(want ...string) *Report {
	w.t.Helper()
	r := w.doctor()
	var got []string
	for i := range r.Findings {
		got = append(got, told(&r.Findings[i]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("not what was to be found:\n%s", diff)
	}
	return r
}

// one returns the only finding of a check.
func (w *world) one(r *Report, check string) *Finding {
	w.t.Helper()
	var found *Finding
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Check == check {
			if found != nil {
				w.t.Fatalf("%s is told more than once", check)
			}
			found = f
		}
	}
	if found == nil {
		w.t.Fatalf("no %s", check)
	}
	return found
}

// TestWorldAtRest holds that the fabricated host itself is no fault.
func TestWorldAtRest(t *testing.T) {
	w := newWorld(t, "freezer", "unified", "name=systemd", "net_cls,net_prio")
	r := w.finds()
	if r.Layout != "hybrid" || r.Coverage != (Coverage{Processes: 2, Namespaces: 1, Entered: 1}) {
		t.Errorf("layout %s, coverage %+v", r.Layout, r.Coverage)
	}
	// Nor is anything read again of who is well.
	w.add(boxed(70, "freezer", "/box", "/", "/box", "/"))
	if w.finds(); len(w.asked.Subjects)+len(w.asked.Probes)+len(w.asked.Directories) > 0 {
		t.Errorf("%+v", w.asked)
	}
}
