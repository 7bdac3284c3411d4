package main

import (
	"encoding/json"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// The floors are the least that a tool could do to answer; they print nothing.
const (
	floorLinks = "links" // the names in /proc, and one link of each process
	floorEnter = "enter" // that, and one file read in each cgroup namespace
	floorViews = "views" // that, each cgroup file, and each namespace's mounts
)

// floor is one run. It reads through the descriptor of /proc.
type floor struct {
	proc int
	text []byte
	link [64]byte
}

func floorStage(argument string) error {
	var kind string
	if err := json.Unmarshal([]byte(argument), &kind); err != nil {
		return err
	}
	runtime.LockOSThread() // it enters namespaces
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := &floor{proc: proc, text: make([]byte, 64<<10)}
	pids, err := f.names()
	if err != nil {
		return err
	}
	for _, pid := range f.look(pids, kind == floorViews) {
		if kind != floorLinks {
			f.enter(pid)
		}
	}
	return nil
}

// names are the numbered entries of /proc.
func (f *floor) names() ([]string, error) {
	var names []string
	for {
		n, err := unix.ReadDirent(f.proc, f.text)
		if err != nil || n == 0 {
			return names, err
		}
		var some []string
		_, _, some = unix.ParseDirent(f.text[:n], -1, nil)
		for _, name := range some {
			if _, err := strconv.Atoi(name); err == nil {
				names = append(names, name)
			}
		}
	}
}

// look reads one link of each process and returns one process of each cgroup
// namespace. With views it also reads each cgroup file, and one mountinfo for
// each mount namespace.
func (f *floor) look(pids []string, views bool) (first []string) {
	namespaces, mounts := map[string]bool{}, map[string]bool{}
	for _, pid := range pids {
		if f.isNew(pid+"/ns/cgroup", namespaces) {
			first = append(first, pid)
		}
		if !views {
			continue
		}
		f.read(pid + "/cgroup")
		if f.isNew(pid+"/ns/mnt", mounts) {
			f.read(pid + "/mountinfo")
		}
	}
	return first
}

// isNew tells whether a link names a namespace that was not seen before.
func (f *floor) isNew(name string, seen map[string]bool) bool {
	n, err := unix.Readlinkat(f.proc, name, f.link[:])
	if err != nil || seen[string(f.link[:n])] {
		return false
	}
	seen[string(f.link[:n])] = true
	return true
}

func (f *floor) enter(pid string) {
	fd, err := unix.Openat(f.proc, pid+"/ns/cgroup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if unix.Setns(fd, unix.CLONE_NEWCGROUP) == nil {
		f.read(pid + "/cgroup")
	}
	unix.Close(fd)
}

func (f *floor) read(name string) {
	fd, err := unix.Openat(f.proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for {
		if n, err := unix.Read(fd, f.text); n <= 0 || err != nil {
			break
		}
	}
	unix.Close(fd)
}
