package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Task is a process, or one of its threads, as a whole-host reading sees it.
type Task struct {
	// PID is the process's, TID the thread's ID: the same for the leader.
	PID, TID int
	// CgroupNS and MntNS are namespace inodes; 0: not known, or not read.
	CgroupNS, MntNS uint64
	// Root is the text of the root link: "/" if the task's root directory is
	// that of its mount namespace. Empty: not known, or not read.
	Root string
	// Cgroups is in the reader's view; nil if not read.
	Cgroups *Cgroups
}

// Process is a task with what is told of it.
type Process struct {
	Task
	PPID int
	UID  int
	// User is UID's name where this host has one for it, else the number.
	User string
	// Command is the comm name (proc_pid_comm(5)), any bytes.
	Command string
	// State is the letter of proc_pid_stat(5): R, S, D, Z, …
	State string
	// StartTicks is when it started, in clock ticks since boot: with the PID
	// it identifies a process.
	StartTicks uint64
	// Exiting is true from when the kernel began to end the task (PF_EXITING).
	// What /proc says of its cgroups is no evidence then.
	Exiting bool
	// Kernel is true for a kernel thread (PF_KTHREAD).
	Kernel bool
	// First is true for the first process of its PID namespace, its init.
	First bool
	// PIDNS and UserNS are namespace inodes; 0: not known.
	PIDNS, UserNS uint64
}

// Flags of include/linux/sched.h, as stat has them.
const (
	pfExiting = 0x4      // PF_EXITING
	pfKthread = 0x200000 // PF_KTHREAD
)

var errStat = errors.New("not a line of /proc/PID/stat")

// readStat reads what /proc/PID/stat has of p. procfs's Stat panics on a
// malformed line and reads by PID, which may meanwhile be another process's.
func readStat(d dir, p *Process) error {
	return readSmall(d, "stat", func(text []byte) error { return parseStat(text, p) })
}

// readSmall reads a small file that parse keeps nothing of.
func readSmall(d dir, name string, parse func([]byte) error) error {
	buf := smallFiles.Get().(*[]byte)
	defer smallFiles.Put(buf)
	text, err := d.read(name, *buf)
	if err != nil {
		return err
	}
	return parse(text)
}

var smallFiles = sync.Pool{New: func() any { buf := make([]byte, 0, smallFile); return &buf }}

// parseStat takes fields 2, 3, 4, 9 and 22. The command name (2) may itself
// hold blanks and parentheses, so it ends at the last one.
func parseStat(text []byte, p *Process) error {
	open, last := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || last < open {
		return fmt.Errorf("%w: no command name in %q", errStat, clip(text))
	}
	var f [20][]byte // fields 3 to 22
	n := 0
	for field := range bytes.FieldsSeq(text[last+1:]) {
		f[n] = field
		if n++; n == len(f) {
			break
		}
	}
	if n < len(f) {
		return fmt.Errorf("%w: %d fields behind the command name", errStat, n)
	}
	ppid, err1 := strconv.Atoi(string(f[1]))
	flags, err2 := strconv.ParseUint(string(f[6]), 10, 64)
	start, err3 := strconv.ParseUint(string(f[19]), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("%w: %w", errStat, err)
	}
	p.Command = string(text[open+1 : last])
	p.State, p.PPID, p.StartTicks = string(f[0]), ppid, start
	p.Kernel = flags&pfKthread != 0
	p.Exiting = flags&pfExiting != 0 || p.State == "Z" || p.State == "X"
	return nil
}

// status is what /proc/PID/status has and stat has not.
type status struct {
	uid   int // effective
	tgid  int
	first bool // 1 is its number in its own PID namespace
}

var errStatus = errors.New("not the text of /proc/PID/status")

// readStatus reads by the open directory for the same reasons as readStat.
func readStatus(d dir) (st status, err error) {
	err = readSmall(d, "status", func(text []byte) (err error) {
		st, err = parseStatus(text)
		return err
	})
	return st, err
}

func parseStatus(text []byte) (status, error) {
	uid := statusField(text, "\nUid:", 1)
	tgid := statusField(text, "\nTgid:", 0)
	if uid < 0 || tgid < 0 {
		return status{}, fmt.Errorf("%w: no Uid or Tgid line", errStatus)
	}
	return status{uid: uid, tgid: tgid, first: innermost(text) == "1"}, nil
}

// innermost is the last number of the NSpid line: the process's own PID in the
// PID namespace that it is in (Linux 4.1).
func innermost(text []byte) string {
	_, rest, _ := bytes.Cut(text, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	f := bytes.Fields(line)
	if len(f) == 0 {
		return ""
	}
	return string(f[len(f)-1])
}

// statusField returns the nth number of a line; -1: there is none.
func statusField(text []byte, name string, n int) int {
	_, rest, ok := bytes.Cut(text, []byte(name))
	if !ok {
		return -1
	}
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	f := bytes.Fields(line)
	if len(f) <= n {
		return -1
	}
	v, err := strconv.Atoi(string(f[n]))
	if err != nil {
		return -1
	}
	return v
}

// describe fills in what is told of a task whose directory is open.
func (f *FS) describe(d dir, p *Process) error {
	if err := readStat(d, p); err != nil {
		return err
	}
	st, err := readStatus(d)
	if err != nil {
		return err
	}
	p.UID, p.User, p.First = st.uid, f.system.userName(st.uid), st.first
	return nil
}

// introduce fills in what is told of a task in a list: all but what takes the
// status file, which is slow to read.
func (f *FS) introduce(d dir, p *Process) (err error) {
	if p.UID, err = f.effectiveUser(d); err != nil {
		return err
	}
	p.User = f.system.userName(p.UID)
	return readStat(d, p) // last: it fails if the task has ended meanwhile
}

// effectiveUser is who owns the task's directory (task_dump_owner in
// fs/proc/base.c), but root where the task has ended; not so in a copy.
func (f *FS) effectiveUser(d dir) (int, error) {
	at, ok := d.(fsDir)
	if !ok || !f.tree.live() {
		st, err := readStatus(d)
		return st.uid, err
	}
	var st unix.Stat_t
	err := unix.Fstat(int(at), &st)
	return int(st.Uid), err
}

// Describe returns what is told of a process that a whole-host reading met. ok
// is false if it has ended since, or cannot be read.
func (f *FS) Describe(t Task) (p Process, ok bool) {
	p, err := f.describeMember(t)
	return p, err == nil
}

func (f *FS) describeMember(t Task) (Process, error) {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return Process{}, err
	}
	defer d.close()
	p := Process{Task: t}
	if err := f.describe(d, &p); err != nil {
		return Process{}, err
	}
	if p.State == "Z" {
		return Process{}, errNoNamespace
	}
	if t.CgroupNS != 0 && nsOf(d.link("ns/cgroup")) != t.CgroupNS {
		return Process{}, errChanged
	}
	return p, nil
}

// userNames looks each user ID up once.
type userNames struct {
	mu    sync.Mutex
	names map[int]string
}

func (u *userNames) name(uid int) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if name, ok := u.names[uid]; ok {
		return name
	}
	name := strconv.Itoa(uid)
	if known, err := user.LookupId(name); err == nil {
		name = known.Username
	}
	if u.names == nil {
		u.names = make(map[int]string)
	}
	u.names[uid] = name
	return name
}

// nsOwner returns the inode of the user namespace that owns the namespace that
// name links to (NS_GET_USERNS, ioctl_ns(2)). That must be ns, if it is not 0.
func nsOwner(d dir, name string, ns uint64) (uint64, error) {
	at, ok := d.(fsDir)
	if !ok {
		return 0, errRecorded
	}
	open := at.file
	if ns != 0 {
		open = func(name string) (int, error) { return at.namespace(name, ns) }
	}
	fd, err := open(name)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err != nil {
		return 0, err
	}
	defer unix.Close(owner)
	var st unix.Stat_t
	if err := unix.Fstat(owner, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// Exists tells whether a task's directory can still be opened.
func (f *FS) Exists(t Task) bool {
	d, err := f.tree.process(t.PID, t.TID)
	if err != nil {
		return false
	}
	defer d.close()
	_, err = cgroupNS(d)
	return err == nil
}
