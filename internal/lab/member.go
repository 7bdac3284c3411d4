package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
)

// What a lab can order a member to do.
const (
	doRead   = "read"   // read the file Path
	doMount  = "line"   // find the visible mount at Path in the mountinfo Of
	doCount  = "count"  // how many lines of the file Path are the member's PID
	doInodes = "inodes" // read the cgroup and mnt links in the directory Path
	doEnter  = "enter"  // new cgroup and mount namespaces, nothing propagated
	doUmount = "umount" // unmount Path
	doRemake = "mount"  // mount FSType at Path with Data and Flags
)

// order is what the lab tells a member, report what came of it.
type order struct {
	Do string
	// Path and Of are bytes, which a JSON string may not hold.
	Path   []byte  `json:",omitempty"`
	Of     []byte  `json:",omitempty"`
	FSType string  `json:",omitempty"`
	Source string  `json:",omitempty"`
	Data   string  `json:",omitempty"`
	Flags  uintptr `json:",omitempty"`
	// Outside is the link of the lab's own cgroup namespace: a member that is
	// still in it does not mount. There, mounting cgroup2 without its present
	// options would clear nsdelegate for the whole host.
	Outside string `json:",omitempty"`
}

type report struct {
	// Text is what was read, bytes as they are; ID a mount's number.
	Text []byte
	ID   int
	// Lazy: a busy mount was detached (umount -l).
	Lazy  bool
	Error string
	Errno syscall.Errno
}

// failure gives the error that the member met, as it was there.
func (r *report) failure() error {
	switch {
	case r.Errno != 0:
		return r.Errno
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

func reportOf(err error) report {
	var r report
	if err != nil {
		r.Error = err.Error()
		errors.As(err, &r.Errno)
	}
	return r
}

// memberMain is a process of a walk: it does what it is told until its orders
// end, since then the lab is gone.
func memberMain(args, env []string, orders, reports *os.File) int {
	if len(args) < 4 {
		return 2
	}
	// A name of its own in ps(1); "exe" would tell nobody anything.
	os.WriteFile("/proc/self/comm", []byte(args[3]), 0)
	os.Chdir("/") // so that no mount of the caller's is kept busy
	if args[2] == roleEntered {
		if send(reports, report{}) != nil {
			return exitGone
		}
	}
	in := json.NewDecoder(orders)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return exitGone
		}
		var r report
		if o.Do == doEnter {
			r = reportOf(enter(args, env))
		} else {
			r = obey(o)
		}
		if send(reports, r) != nil {
			return exitGone
		}
	}
}

func obey(o order) (r report) {
	switch o.Do {
	case doRead:
		text, err := os.ReadFile(string(o.Path))
		r = reportOf(err)
		r.Text = text
	case doMount:
		line, id, err := visibleMount(string(o.Of), string(o.Path))
		r = reportOf(err)
		r.Text, r.ID = []byte(line), id
	case doCount:
		n, err := countLines(string(o.Path), fmt.Sprint(os.Getpid()))
		r = reportOf(err)
		r.Text = fmt.Append(nil, n)
	case doInodes:
		text, err := inodes(string(o.Path))
		r = reportOf(err)
		r.Text = []byte(text)
	case doUmount:
		lazy, err := umount(string(o.Path))
		r = reportOf(err)
		r.Lazy = lazy
	case doRemake:
		r = reportOf(remake(o))
	default:
		r.Error = "unknown order"
	}
	return r
}

// enter makes new cgroup and mount namespaces as unshare(1) -Cm does, and
// executes this program once more in them: unshare(2) changes one thread, and
// execve(2) leaves only that one, so that the whole process is inside. It
// returns only if that failed.
func enter(args, env []string) error {
	runtime.LockOSThread() // for good: if it fails midway, this thread is not like the others
	if err := unix.Unshare(unix.CLONE_NEWCGROUP | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := private(); err != nil {
		return err
	}
	argv := append([]string(nil), args...)
	argv[2] = roleEntered
	return fmt.Errorf("exec: %w", syscall.Exec(selfExe, argv, env))
}

// private cuts the mount namespace off from all others, so that nothing that
// is mounted in it is ever seen elsewhere.
func private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount --make-rprivate /: %w", err)
	}
	return nil
}

// umount unmounts path; one that is busy is detached.
func umount(path string) (lazy bool, err error) {
	err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		return true, unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	return false, err
}

func remake(o order) error {
	ns, err := os.Readlink("/proc/thread-self/ns/cgroup")
	if err != nil {
		return err
	}
	if ns == o.Outside || ns == fmt.Sprintf("cgroup:[%d]", inspect.InitialCgroupNS) {
		return fmt.Errorf("%s is not a cgroup namespace of the lab's own", ns)
	}
	return unix.Mount(o.Source, string(o.Path), o.FSType, o.Flags, o.Data)
}

// visibleMount returns the line of a mountinfo file for the cgroup mount that
// is visible at point.
func visibleMount(mountinfo, point string) (line string, id int, err error) {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return "", 0, err
	}
	table, err := inspect.ParseMountInfo(strings.NewReader(string(text)))
	if err != nil {
		return "", 0, err
	}
	for _, m := range table.Cgroup {
		if !m.Visible || m.MountPoint != point {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if strings.HasPrefix(line, fmt.Sprintf("%d ", m.ID)) {
				return line, m.ID, nil
			}
		}
	}
	return "", 0, nil
}

func countLines(path, want string) (n int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	for line := range strings.SplitSeq(string(text), "\n") {
		if line == want {
			n++
		}
	}
	return n, err
}

// inodes reads a process's cgroup and mnt links as readlink(1) prints them, in
// one line.
func inodes(dir string) (string, error) {
	cgroup, err := os.Readlink(dir + "/cgroup")
	if err != nil {
		return "", err
	}
	mnt, err := os.Readlink(dir + "/mnt")
	return cgroup + " " + mnt, err
}
