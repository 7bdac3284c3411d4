package main

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// floorLinks is the least that a list of namespaces costs: the names in /proc
// and one link of each process.
func floorLinks() error {
	pids, proc, err := names()
	if err != nil {
		return err
	}
	var buf [64]byte
	for _, pid := range pids {
		unix.Readlinkat(proc, pid+"/ns/cgroup", buf[:])
	}
	return nil
}

// floorViews enters each cgroup namespace once; with views it also reads the
// cgroup file of each process, and one mountinfo of each mount namespace.
func floorViews(views bool) error {
	runtime.LockOSThread()
	pids, proc, err := names()
	if err != nil {
		return err
	}
	var link [64]byte
	text := make([]byte, 64<<10)
	entered, mounts := map[string]bool{}, map[string]bool{}
	var first []string
	for _, pid := range pids {
		n, err := unix.Readlinkat(proc, pid+"/ns/cgroup", link[:])
		if err != nil {
			continue
		}
		if ns := string(link[:n]); !entered[ns] {
			entered[ns] = true
			first = append(first, pid)
		}
		if !views {
			continue
		}
		read(proc, pid+"/cgroup", text)
		n, err = unix.Readlinkat(proc, pid+"/ns/mnt", link[:])
		if err != nil {
			continue
		}
		if ns := string(link[:n]); !mounts[ns] {
			mounts[ns] = true
			read(proc, pid+"/mountinfo", text)
		}
	}
	for _, pid := range first {
		fd, err := unix.Openat(proc, pid+"/ns/cgroup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		unix.Setns(fd, unix.CLONE_NEWCGROUP)
		unix.Close(fd)
		read(proc, pid+"/cgroup", text)
	}
	return nil
}

func names() ([]string, int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, 0, err
	}
	all, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, 0, err
	}
	var pids []string
	for _, name := range all {
		if _, err := strconv.Atoi(name); err == nil {
			pids = append(pids, name)
		}
	}
	return pids, int(dir.Fd()), nil
}

func read(proc int, name string, buf []byte) {
	fd, err := unix.Openat(proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			break
		}
	}
	unix.Close(fd)
}
