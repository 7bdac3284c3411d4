// Package inspect reads facts about cgroup namespaces from /proc and cgroupfs.
// It enters cgroup namespaces to read there what their members read. It judges
// nothing, prints nothing and changes nothing.
package inspect

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// InitialCgroupNS is the inode of the initial cgroup namespace, the same on
// every host since Linux 4.6 (enum init_ns_ino in include/uapi/linux/nsfs.h).
const InitialCgroupNS = 4026531835

// InitialPIDNS is the inode of the initial PID namespace, the same since Linux
// 3.8 (there too).
const InitialPIDNS = 4026531836

// InitialUserNS is the inode of the initial user namespace, likewise. A mount
// namespace that another one owns has its inherited mounts locked.
const InitialUserNS = 4026531837

// FS is a procfs to read from.
type FS struct {
	// Reader says in whose view everything is read.
	Reader Reader

	tree   tree
	system system
	intern interner
	home   atomic.Pointer[Cgroups] // see atHome
	// scanning, if there is one, is told when a whole-host reading begins and
	// ends.
	scanning func(bool)
	jobs     int
	done     atomic.Int64
	total    atomic.Int64
	inside   atomic.Int64
}

// Reader is whoever reads: this process, in a recorded procfs the one that its
// self link names, or whoever made a capture.
type Reader struct {
	// PID is its process ID in the PID namespace of the procfs; 0: not known.
	PID int
	// CgroupNS is the inode of its cgroup namespace; 0: not known.
	CgroupNS uint64
	UID      int
	// CanEnter tells whether it has CAP_SYS_ADMIN, without which no cgroup
	// namespace can be entered. The owner of the namespace may still refuse.
	CanEnter bool
	// SamePIDs tells whether the numbers in the procfs are those that this
	// process itself sees, in cgroup.procs for instance.
	SamePIDs bool
	// WholeHost tells whether the procfs is that of the initial PID namespace,
	// which has all processes in it (pid_namespaces(7)).
	WholeHost bool
}

// Initial tells whether the reader is in the initial cgroup namespace.
func (r Reader) Initial() bool { return r.CgroupNS == InitialCgroupNS }

// Skipped is something that could not be read.
type Skipped struct {
	PID int
	// What names the file below /proc/PID, or what was tried.
	What string
	// Reason is the kernel's, in lower case.
	Reason string
}

// Progress is how far a whole-host reading has come.
type Progress struct {
	Processes, Of, Entered int64
}

// Open opens the procfs at path with the given number of parallel readers (0:
// one for each processor; at most 1,024). Its error says why path is none.
func Open(path string, jobs int) (*FS, error) {
	t, err := openTree(path)
	if err != nil {
		return nil, fmt.Errorf("open procfs %s: %w", path, err)
	}
	f := newFS(t, jobs)
	if err := f.check(path); err != nil {
		t.close()
		return nil, err
	}
	return f, nil
}

// maxJobs bounds the parallel readers. Each may take a thread of its own, of
// which the run-time allows 10,000 (runtime/debug.SetMaxThreads).
const maxJobs = 1024

func newFS(t tree, jobs int) *FS {
	f := &FS{Reader: t.reader(), tree: t, system: t.system(), jobs: min(jobs, maxJobs)}
	if f.jobs <= 0 {
		f.jobs = runtime.GOMAXPROCS(0)
	}
	return f
}

// Close releases the procfs.
func (f *FS) Close() error { return f.tree.close() }

// Progress may be called while another goroutine reads.
func (f *FS) Progress() Progress {
	return Progress{Processes: f.done.Load(), Of: f.total.Load(), Entered: f.inside.Load()}
}

// check refuses a directory that is no procfs and no copy of one. A real procfs
// needs no look: its file system type is proof enough.
func (f *FS) check(path string) error {
	if f.tree.live() {
		return nil
	}
	pids, err := f.tree.pids()
	if err != nil {
		return fmt.Errorf("read procfs %s: %w", path, err)
	}
	if len(pids) == 0 {
		return fmt.Errorf("%s is no procfs: it holds no process", path)
	}
	for _, pid := range pids {
		d, err := f.tree.process(pid, pid)
		if err != nil {
			continue
		}
		_, errCgroup := d.read("cgroup", nil)
		_, errLink := d.link("ns/cgroup")
		d.close()
		if errCgroup == nil || errLink == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is no procfs: no numbered directory in it has a cgroup file", path)
}

// reader is this process or, in a copy of a procfs, the one that its self link
// names.
func (t *fsTree) reader() Reader {
	r := Reader{UID: -1}
	self, err := t.link("self")
	if err == nil {
		r.PID, _ = strconv.Atoi(self)
	}
	if t.real {
		// A procfs of another PID namespace does not show this process; the
		// kernel's own one, under its usual name, then does.
		r.UID = os.Geteuid()
		r.SamePIDs = r.PID == os.Getpid()
		// A process of the initial PID namespace is in no other procfs.
		r.WholeHost = r.PID != 0 && nsOf(t.link("thread-self/ns/pid")) == InitialPIDNS
		r.CgroupNS = nsOf(t.link("thread-self/ns/cgroup"))
		if r.CgroupNS == 0 {
			r.CgroupNS = nsOf(os.Readlink("/proc/thread-self/ns/cgroup"))
		}
		r.CanEnter = CanEnter()
		return r
	}
	if r.PID > 0 {
		if d, err := t.process(r.PID, r.PID); err == nil {
			defer d.close()
			r.CgroupNS = nsOf(d.link("ns/cgroup"))
			r.WholeHost = nsOf(d.link("ns/pid")) == InitialPIDNS
			if st, err := readStatus(d); err == nil {
				r.UID = st.uid
			}
		}
	}
	return r
}

// uptime returns how long ago the host was booted, by proc_uptime(5).
func (f *FS) uptime() (time.Duration, bool) {
	text, err := f.tree.read("uptime")
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(string(text), " ")
	up, err := time.ParseDuration(first + "s")
	return up, err == nil
}

// CanEnter tells whether this thread has CAP_SYS_ADMIN in effect (capget(2)),
// which making and entering namespaces takes.
func CanEnter() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// nsOf turns the text of a namespace link, "cgroup:[4026531835]", into its
// inode; 0 if there is none.
func nsOf(text string, err error) uint64 {
	if err != nil {
		return 0
	}
	_, number, ok := strings.Cut(text, ":[")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// reason is an error without the names that the report already has.
func reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		if wrapped := err.Error(); strings.HasPrefix(wrapped, "setns") {
			return wrapped
		}
		return errno.Error()
	}
	return err.Error()
}
