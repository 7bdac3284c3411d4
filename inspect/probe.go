package inspect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// probeTime bounds one look into a file system that the target controls, which
// may never answer.
const probeTime = time.Second

// Probe asks whether a task is listed in the cgroup where its mount point and
// its path lead to. It needs no path arithmetic, so it confirms or refutes what
// was concluded from paths.
type Probe struct {
	Task  Task
	Mount Mount
	// Path is the cgroup's directory, relative to the mount: "." or "a/b".
	Path string
}

// ProbeAnswer is what was found.
type ProbeAnswer struct {
	// Tried is false, and Reason says why, if it could not be found out.
	Tried  bool
	Listed bool
	// List is the file that was looked into: tasks, cgroup.threads or
	// cgroup.procs.
	List   string
	Reason string
	// Inode is that of the directory that the mount shows; 0: not known.
	Inode uint64
}

func (s liveSystem) probe(ctx context.Context, p Probe) ProbeAnswer {
	if !s.samePIDs {
		return ProbeAnswer{Reason: "the procfs numbers processes otherwise than cgroup.procs does here"}
	}
	if p.Mount.Behind != "" {
		return ProbeAnswer{Reason: "the mount point lies behind a " + p.Mount.Behind + " mount, which may never answer"}
	}
	answer, err := inTime(ctx, func() (ProbeAnswer, error) { return s.lookFor(p), nil }, func(ProbeAnswer) {})
	if err != nil {
		return ProbeAnswer{Reason: err.Error()}
	}
	return answer
}

// What ends a wait.
var (
	errInterrupted = errors.New("interrupted")
	errNoAnswer    = fmt.Errorf("no answer within %v", probeTime)
)

// inTime returns what look does, if it does so within probeTime. What it returns
// later is dropped.
func inTime[A any](ctx context.Context, look func() (A, error), drop func(A)) (A, error) {
	type result struct {
		answer A
		err    error
	}
	results := make(chan result, 1)
	go func() {
		answer, err := look()
		results <- result{answer, err}
	}()
	var why error
	select {
	case r := <-results:
		return r.answer, r.err
	case <-ctx.Done():
		why = errInterrupted
	case <-time.After(probeTime):
		why = errNoAnswer
	}
	go func() {
		if r := <-results; r.err == nil {
			drop(r.answer)
		}
	}()
	var none A
	return none, why
}

// lookFor opens the mount point without trusting anything that the target may
// have put on the way: no symbolic link is followed, the walk stays below the
// target's root directory, and what is found must be the cgroup mount that
// mountinfo told of.
func (s liveSystem) lookFor(p Probe) ProbeAnswer {
	d, err := s.tree.process(p.Task.PID, p.Task.TID)
	if err != nil {
		return ProbeAnswer{Reason: reason(err)}
	}
	defer d.close()
	mount, inode, err := openMount(d, &p.Mount)
	if err != nil {
		return ProbeAnswer{Reason: "open " + p.Mount.MountPoint + ": " + reason(err)}
	}
	defer unix.Close(mount)
	listed, list, err := listedBelow(mount, p)
	if err != nil {
		return ProbeAnswer{Reason: reason(err), Inode: inode}
	}
	return ProbeAnswer{Tried: true, Listed: listed, List: list, Inode: inode}
}

var errOtherMount = errors.New("another mount is there")

// openMount returns a descriptor of the directory that the mount shows.
func openMount(d dir, m *Mount) (fd int, inode uint64, err error) {
	at, ok := d.(fsDir)
	if !ok {
		return -1, 0, errRecorded
	}
	root, err := unix.Openat(int(at), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, 0, err
	}
	defer unix.Close(root)
	fd, err = unix.Openat2(root, "."+path.Clean(m.MountPoint), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, 0, err
	}
	var stx unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID|unix.STATX_INO, &stx)
	if err == nil && (stx.Mask&unix.STATX_MNT_ID == 0 || stx.Mnt_id != uint64(m.ID) || !isCgroupfs(fd)) {
		err = errOtherMount
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	return fd, stx.Ino, nil
}

func isCgroupfs(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false
	}
	return st.Type == unix.CGROUP_SUPER_MAGIC || st.Type == unix.CGROUP2_SUPER_MAGIC
}

// listedBelow looks the task up in the list of its cgroup, by the number of its
// thread: "tasks" of v1, "cgroup.threads" of v2. "cgroup.procs" of v2 is no
// proof, since that of a domain has the processes of its threaded descendants
// too; it is for kernels that have no other (before 4.14). A cgroup that is not
// there, or has been removed (ENODEV), lists nothing.
func listedBelow(mount int, p Probe) (listed bool, list string, err error) {
	list = "tasks"
	if p.Mount.FSType == "cgroup2" {
		list = "cgroup.threads"
	}
	listed, err = listedIn(mount, path.Join(p.Path, list), p.Task.TID)
	if errors.Is(err, unix.ENOENT) && list != "tasks" {
		list = "cgroup.procs"
		listed, err = listedIn(mount, path.Join(p.Path, list), p.Task.PID)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOTDIR) {
		return false, list, nil
	}
	return listed, list, err
}

func listedIn(mount int, name string, id int) (bool, error) {
	file, err := openBelow(mount, name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	return lists(file, id)
}

// openBelow opens a file below a cgroup mount, and nothing that lies elsewhere.
func openBelow(mount int, name string) (fsFile, error) {
	fd, err := unix.Openat2(mount, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	return fsFile(fd), err
}

// lists tells whether a list of numbers, one a line, has id.
func lists(r io.Reader, id int) (bool, error) {
	want := strconv.Itoa(id)
	in := bufio.NewScanner(r)
	for in.Scan() {
		if in.Text() == want {
			return true, nil
		}
	}
	return false, in.Err()
}

// DirectoryQuestion asks which directories a cgroup tree has at some depth.
type DirectoryQuestion struct {
	// MountPoint is a cgroup mount of the reader's own.
	MountPoint string
	// Path is a directory relative to it, Depth how far below that to look; 0
	// asks for the directory itself.
	Path  string
	Depth int
}

// DirectoryAnswer is what is there.
type DirectoryAnswer struct {
	// Err is empty, or why it could not be found out. That Path does not exist
	// is an answer: no directories.
	Err         string
	Directories []Directory
}

// Directory is a cgroup's directory.
type Directory struct {
	// Path is relative to the mount.
	Path  string
	Inode uint64
}

// maxDirectories bounds how many cgroups are looked through.
const maxDirectories = 20_000

var errManyDirectories = fmt.Errorf("more than %d cgroups to look through", maxDirectories)

func (liveSystem) directories(q DirectoryQuestion) DirectoryAnswer {
	fd, err := unix.Open(q.MountPoint, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return DirectoryAnswer{Err: reason(err)}
	}
	defer unix.Close(fd)
	if !isCgroupfs(fd) {
		return DirectoryAnswer{Err: q.MountPoint + " is no cgroup file system"}
	}
	var a DirectoryAnswer
	rel := "." + path.Clean("/"+q.Path)
	if err := collect(fsDir(fd), rel, q.Depth, &a.Directories); err != nil && !gone(err) {
		return DirectoryAnswer{Err: reason(err)}
	}
	return a
}

// collect adds the directories depth levels below rel.
func collect(mount fsDir, rel string, depth int, into *[]Directory) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(mount), rel, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if depth == 0 {
		if len(*into) >= maxDirectories {
			return errManyDirectories
		}
		*into = append(*into, Directory{Path: strings.TrimPrefix(path.Clean(rel), "./"), Inode: st.Ino})
		return nil
	}
	names, err := mount.names(rel)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := collect(mount, rel+"/"+name, depth-1, into); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
