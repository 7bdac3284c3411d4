package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is a mounted cgroup hierarchy.
type hierarchy struct {
	point, fstype string
	// options are what a fresh mount is given.
	options []string
}

// mounted are the cgroup mounts that the process sees.
func mounted() []hierarchy {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil
	}
	var list []hierarchy
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		dash := slices.Index(f, "-")
		if dash < 0 || len(f) < dash+4 || f[dash+1] != "cgroup" && f[dash+1] != "cgroup2" {
			continue
		}
		h := hierarchy{point: f[4], fstype: f[dash+1]}
		if h.fstype == "cgroup" {
			h.options = slices.DeleteFunc(strings.Split(f[dash+3], ","), func(o string) bool {
				name, _, hasValue := strings.Cut(o, "=")
				return o == "rw" || o == "xattr" || hasValue && name != "name"
			})
		}
		list = append(list, h)
	}
	return list
}

// small are hierarchies in which a cgroup costs next to nothing. The farm's
// namespaces have a root directory of their own in these.
func small() []hierarchy {
	return slices.DeleteFunc(mounted(), func(h hierarchy) bool {
		return h.fstype == "cgroup" && !slices.Equal(h.options, []string{"freezer"}) && !slices.Equal(h.options, []string{"pids"})
	})
}

// join moves this thread into a cgroup; the others of this process are about to
// end.
func (h hierarchy) join(name string) error {
	dir := filepath.Join(h.point, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list := "tasks"
	if h.fstype == "cgroup2" {
		list = "cgroup.procs"
	}
	if err := os.WriteFile(filepath.Join(dir, list), []byte("0"), 0); err != nil {
		return fmt.Errorf("join %s: %w", dir, err)
	}
	return nil
}

// mountAfresh replaces an inherited mount by one made in this cgroup namespace.
func (h hierarchy) mountAfresh() error {
	if err := unix.Unmount(h.point, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", h.point, err)
	}
	if err := unix.Mount(h.fstype, h.point, h.fstype, 0, strings.Join(h.options, ",")); err != nil {
		return fmt.Errorf("mount %s: %w", h.point, err)
	}
	return nil
}

// removeCgroups removes what a farm that has ended made.
func removeCgroups(name string) error {
	var all error
	for _, h := range small() {
		err := remove(filepath.Join(h.point, name))
		for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
			err = remove(filepath.Join(h.point, name))
		}
		all = errors.Join(all, err)
	}
	return all
}

// remove removes a cgroup and those in it.
func remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, unix.Rmdir(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, unix.Rmdir(dir))
}
