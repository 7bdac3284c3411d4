package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupPrefix begins the name of every lab's cgroup; the lab's PID and random
// digits follow.
const cgroupPrefix = "nsinspect-lab-"

// How long a cgroup's last process may take to be gone: that of this lab, and
// that of a dead one, which had time before.
const (
	patience      = 2 * time.Second
	sweepPatience = 500 * time.Millisecond
)

// labCgroup is a lab's cgroup directory. It exists, and lock holds flock(2) on
// it, until remove. The kernel drops the lock with the process, and one inode
// stands for the directory in every namespace (a hierarchy has one superblock),
// so it tells a dead lab from a live one where a PID in the name could not.
type labCgroup struct {
	path, name string
	lock       *os.File
}

// makeCgroup makes a lab's cgroup in dir.
func makeCgroup(dir, prefix string) (*labCgroup, error) {
	defer lockTop(dir)()
	for range 10 {
		var random [4]byte
		rand.Read(random[:])
		name := fmt.Sprintf("%s%d-%s", prefix, os.Getpid(), hex.EncodeToString(random[:]))
		path := filepath.Join(dir, name)
		err := os.Mkdir(path, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, kernelError("make the cgroup", path, err)
		}
		lock, err := lockCgroup(path)
		if err == nil {
			return &labCgroup{path, name, lock}, nil
		}
		// A lab that is clearing up may have taken it between the two calls.
		if !taken(err) {
			os.Remove(path)
			return nil, kernelError("lock the cgroup", path, err)
		}
	}
	return nil, &Error{Kind: ErrKernel, Tried: "make a cgroup in", On: dir, Err: errors.New("ten of them were taken away at once")}
}

// lockTop keeps labs in dir from looking at one another while one has a cgroup
// and not yet its lock. It is a courtesy alone: whoever keeps this lock, for
// longer than a lab would, only brings about that a new cgroup may be swept and
// made once more.
func lockTop(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	for deadline := time.Now().Add(sweepPatience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			break
		}
	}
	return func() { f.Close() }
}

// lockCgroup locks a cgroup's directory, and makes sure that what it locked is
// what the path still leads to.
func lockCgroup(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	var have, there unix.Stat_t
	err = errors.Join(unix.Fstat(fd, &have), unix.Lstat(path, &there))
	if err == nil && (have.Dev != there.Dev || have.Ino != there.Ino) {
		err = unix.ENOENT
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// taken tells whether another lab holds the cgroup, or has removed it.
func taken(err error) bool {
	return errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.ENOENT)
}

// child makes a cgroup in the lab's.
func (c *labCgroup) child(name string) error {
	path := filepath.Join(c.path, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		return kernelError("make the cgroup", path, err)
	}
	return nil
}

// remove removes the cgroup and those in it, then lets go of the lock.
func (c *labCgroup) remove() error {
	defer c.lock.Close()
	if path, err := removeTree(c.path, time.Now().Add(patience)); err != nil {
		return &Error{Kind: ErrLeft, Tried: "remove the cgroup", On: path, Err: cause(err),
			Next: "end or move the processes in it, then rmdir it; 'nsinspect lab' removes it, too, once it is empty"}
	}
	return nil
}

// removeTree removes a cgroup with those below it, and returns the first that
// would not go. A cgroup that still has a process is EBUSY, so this can never
// take one from anybody; a process that is just ending is waited for.
func removeTree(path string, deadline time.Time) (string, error) {
	thaw(path)
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return path, err
	}
	for _, e := range entries {
		if e.IsDir() {
			if path, err := removeTree(filepath.Join(path, e.Name()), deadline); err != nil {
				return path, err
			}
		}
	}
	for {
		err := unix.Rmdir(path)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return "", nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return path, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// thaw lets frozen processes of a lab end: in the v1 freezer not even SIGKILL
// ends them. Other hierarchies have no such file, and nothing is created.
func thaw(path string) {
	for file, text := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
		if f, err := os.OpenFile(filepath.Join(path, file), os.O_WRONLY, 0); err == nil {
			f.WriteString(text)
			f.Close()
		}
	}
}

// swept is what became of the cgroups of dead labs in one directory.
type swept struct {
	removed []string // paths
	busy    []string // paths that still hold a process
}

// sweep removes from dir the cgroups of labs that are no more: those whose name
// is a lab's and whose lock nobody holds.
func sweep(dir, prefix string) (s swept) {
	for _, lock := range abandoned(dir, prefix) {
		if _, err := removeTree(lock.Name(), time.Now().Add(sweepPatience)); err != nil {
			s.busy = append(s.busy, lock.Name())
		} else {
			s.removed = append(s.removed, lock.Name())
		}
		lock.Close()
	}
	return s
}

// abandoned locks the cgroups of dead labs in dir, and returns the locks.
func abandoned(dir, prefix string) (locks []*os.File) {
	defer lockTop(dir)()
	name := regexp.MustCompile("^" + regexp.QuoteMeta(prefix) + "[0-9]+-[0-9a-f]{8}$")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // then no lab can have been there either
	}
	for _, e := range entries {
		if !e.IsDir() || !name.MatchString(e.Name()) {
			continue
		}
		// An error means that it is in use, or gone.
		if lock, err := lockCgroup(filepath.Join(dir, e.Name())); err == nil {
			locks = append(locks, lock)
		}
	}
	return locks
}

// join moves a process, with all its threads, into a cgroup.
func join(path string, pid int) error {
	file := filepath.Join(path, "cgroup.procs")
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", pid)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return kernelError("move a process into", file, err)
	}
	return nil
}

// inheritCPUs gives a v1 cpuset what its parent has: one without CPUs and
// memory nodes takes no process (cpuset_can_attach in kernel/cgroup/cpuset.c).
func inheritCPUs(parent, child string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return kernelError("read", filepath.Join(parent, name), err)
		}
		if err := os.WriteFile(filepath.Join(child, name), text, 0); err != nil {
			return kernelError("write", filepath.Join(child, name), err)
		}
	}
	return nil
}
