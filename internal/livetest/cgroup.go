package livetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the name of every cgroup that this run makes.
func prefix() string { return fmt.Sprintf("nsinspect-test-%d-", os.Getpid()) }

var (
	count atomic.Int64
	// names are those that each test got.
	names sync.Map
)

// UniqueName is a name that nobody else on the host uses, for a cgroup of the
// test's.
func UniqueName(t testing.TB) string {
	name := prefix() + strconv.FormatInt(count.Add(1), 10)
	names.Store(name, t)
	return name
}

// Cgroup is a cgroup of the test's own.
type Cgroup struct {
	t testing.TB
	// Label is the hierarchy, Path the cgroup's path in it as the host sees it.
	Label, Path string
	// Dir is the directory through which the test reaches it.
	Dir string
}

// NewCgroup makes a cgroup of a new name below the root of a hierarchy that the
// host has mounted. It is gone after the test, with all below it and all
// processes in it.
func NewCgroup(t testing.TB, label string) *Cgroup {
	t.Helper()
	return NewCgroupAt(t, label, MountOf(t, label))
}

// NewCgroupAt makes a cgroup at the root of a hierarchy that is mounted at a
// directory, which may be one below /proc/PID/root.
func NewCgroupAt(t testing.TB, label, dir string) *Cgroup {
	t.Helper()
	name := UniqueName(t)
	c := &Cgroup{t, label, "/" + name, filepath.Join(dir, name)}
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(c.Dir); err != nil {
			t.Errorf("remove the cgroup: %v", err)
		}
	})
	return c
}

// RootCgroup is the root of a hierarchy.
func RootCgroup(t testing.TB, label string) *Cgroup {
	t.Helper()
	return &Cgroup{t, label, "/", MountOf(t, label)}
}

// Child makes a cgroup below, also one that was there before and was removed.
func (c *Cgroup) Child(name string) *Cgroup {
	c.t.Helper()
	child := &Cgroup{c.t, c.Label, c.Path + "/" + name, filepath.Join(c.Dir, name)}
	if err := os.Mkdir(child.Dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	return child
}

// Add moves processes into the cgroup.
func (c *Cgroup) Add(pids ...int) {
	c.t.Helper()
	for _, pid := range pids {
		c.Write("cgroup.procs", strconv.Itoa(pid))
	}
}

// Write writes one of the cgroup's files.
func (c *Cgroup) Write(file, value string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.Dir, file), []byte(value), 0); err != nil {
		c.t.Fatal(err)
	}
}

// Remove removes the cgroup, which has no processes. An ended one may still be
// on its way out.
func (c *Cgroup) Remove() {
	c.t.Helper()
	if err := retry(func() error { return unix.Rmdir(c.Dir) }); err != nil {
		c.t.Fatalf("rmdir %s: %v", c.Dir, err)
	}
}

// removeTree ends all processes in a cgroup and below, and removes it.
func removeTree(dir string) error {
	return retry(func() error {
		var list []string
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				list = append(list, path)
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil // somebody else removed it meanwhile
			}
			return err
		})
		for i := len(list) - 1; i >= 0; i-- {
			killMembers(list[i])
			if gone := unix.Rmdir(list[i]); gone != nil && gone != unix.ENOENT {
				err = errors.Join(err, gone)
			}
		}
		return err
	})
}

func killMembers(dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return // a threaded cgroup: its processes are in one above
	}
	for _, f := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// retry tries for some seconds.
func retry(do func() error) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := do()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// RemoveCgroups removes, after the test, all cgroups of a name at the roots of
// the host's hierarchies: what a container runtime left there.
func RemoveCgroups(t testing.TB, name string) {
	t.Helper()
	if !strings.HasPrefix(name, prefix()) {
		t.Fatalf("%s is not a name of the test's own", name)
	}
	mounts := ParseMounts(ReadFile(t, "/proc/self/mountinfo"))
	t.Cleanup(func() {
		for _, m := range mounts {
			if err := removeTree(filepath.Join(m.Point, name)); err != nil {
				t.Errorf("remove what a runtime made: %v", err)
			}
		}
	})
}

// MountNet mounts a hierarchy of two controllers where only a shell sees it,
// and sees to it that the hierarchy is gone after the test if it was not there
// before.
func MountNet(t testing.TB, host *Shell) (point, dir string) {
	t.Helper()
	Need(t, Controllers("net_cls", "net_prio"))
	there := strings.Contains(ReadFile(t, "/proc/self/cgroup"), ":net_cls,net_prio:")
	const make = "mkdir -p /mnt/net && mount -t cgroup -o net_cls,net_prio net /mnt/net"
	host.Do("mount -t tmpfs tmpfs /mnt && %s", make)
	t.Cleanup(func() {
		// The cgroups are removed; what keeps the hierarchy are the last remains
		// of their members. Mounting it again and unmounting it lets it go, which
		// takes the kernel a moment.
		for range 20 {
			host.Do("umount /mnt/net")
			for range 20 {
				if there || !strings.Contains(ReadFile(t, "/proc/self/cgroup"), ":net_cls,net_prio:") {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			host.Do(make)
		}
		t.Error("the hierarchy net_cls,net_prio is left")
	})
	return "/mnt/net", fmt.Sprintf("/proc/%d/root/mnt/net", host.PID)
}
