package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// host is the situation to make and how often to measure in it.
type host struct {
	n, k, runs int
	stale      bool
	binary     string
}

// hierarchy is a mounted one in which every namespace gets a cgroup.
type hierarchy struct {
	point, fstype, options string
}

// onHost makes the host in a PID and mount namespace of its own, so that only
// it is scanned, and all of it ends with its first process.
func onHost(h host) error {
	binary, err := filepath.Abs(h.binary)
	if err != nil {
		return err
	}
	base := fmt.Sprintf("nsinspect-bench-%d", os.Getpid())
	defer removeCgroups(base)
	cmd := exec.Command("/proc/self/exe", "host", strconv.Itoa(h.n), strconv.Itoa(h.k), strconv.Itoa(h.runs), strconv.FormatBool(h.stale), binary, base)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the parent that Pdeathsig watches is a thread
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// hostStage is the first process of the PID namespace.
func hostStage(args []string) error {
	n, _ := strconv.Atoi(args[0])
	k, _ := strconv.Atoi(args[1])
	runs, _ := strconv.Atoi(args[2])
	h := host{n: n, k: k, runs: runs, stale: args[3] == "true", binary: args[4]}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	began := time.Now()
	for i := range h.k {
		members := h.n / h.k
		if i < h.n%h.k {
			members++
		}
		if err := startLeader(args[5], i, members, h.stale); err != nil {
			return err
		}
	}
	fmt.Printf("\nN = %d processes in K = %d cgroup namespaces, %s (made in %.1f s)\n\n", h.n, h.k, kind(h.stale), time.Since(began).Seconds())
	return measure(h)
}

func kind(stale bool) string {
	if stale {
		return "one mount namespace, stale mounts"
	}
	return "each with its own mount namespace and fresh mounts"
}

// startLeader starts the first member of a namespace and waits until all its
// members run.
func startLeader(base string, i, members int, stale bool) error {
	if members == 0 {
		return nil
	}
	cmd := exec.Command("/proc/self/exe", "leader", fmt.Sprintf("%s/%d", base, i), strconv.Itoa(members), strconv.FormatBool(stale))
	cmd.Stderr = os.Stderr
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil || line != "ready\n" {
		return fmt.Errorf("namespace %d did not start: %q, %v", i, line, err)
	}
	return nil
}

// leaderStage puts itself into its cgroups, makes the namespaces, mounts what
// belongs there, and becomes one of the sleepers that it starts.
func leaderStage(args []string) error {
	runtime.LockOSThread()
	members, _ := strconv.Atoi(args[1])
	all := hierarchies()
	for _, h := range all {
		if err := join(h, args[0]); err != nil {
			return err
		}
	}
	flags := unix.CLONE_NEWCGROUP
	if args[2] != "true" {
		flags |= unix.CLONE_NEWNS
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if args[2] != "true" {
		for _, h := range mounted() {
			if err := remount(h); err != nil {
				return err
			}
		}
	}
	sleeper, argv, err := sleepCommand()
	if err != nil {
		return err
	}
	for range members - 1 {
		// Started from this thread, so in its namespaces.
		if _, err := syscall.ForkExec(sleeper, argv, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{}}); err != nil {
			return fmt.Errorf("start a sleeper: %w", err)
		}
	}
	fmt.Println("ready")
	return syscall.Exec(sleeper, argv, nil)
}

// sleepCommand prefers the smaller program.
func sleepCommand() (string, []string, error) {
	if path, err := exec.LookPath("busybox"); err == nil {
		return path, []string{"busybox", "sleep", "100000"}, nil
	}
	path, err := exec.LookPath("sleep")
	return path, []string{"sleep", "100000"}, err
}

// hierarchies are those in which the namespaces get cgroups: cheap ones.
func hierarchies() []hierarchy {
	var list []hierarchy
	for _, h := range mounted() {
		if h.fstype == "cgroup2" || slices.Contains([]string{"freezer", "pids"}, h.options) {
			list = append(list, h)
		}
	}
	return list
}

// mounted are the cgroup mounts that the process sees.
func mounted() []hierarchy {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil
	}
	var list []hierarchy
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		dash := slices.Index(f, "-")
		if dash < 0 || len(f) < dash+4 || !strings.HasPrefix(f[dash+1], "cgroup") {
			continue
		}
		options := strings.TrimPrefix(strings.TrimPrefix(f[dash+3], "rw"), ",")
		list = append(list, hierarchy{point: f[4], fstype: f[dash+1], options: options})
	}
	return list
}

func join(h hierarchy, name string) error {
	dir := filepath.Join(h.point, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list := "tasks" // this thread alone: the run-time's others are about to end
	if h.fstype == "cgroup2" {
		list = "cgroup.procs"
	}
	if err := os.WriteFile(filepath.Join(dir, list), []byte("0"), 0); err != nil {
		return fmt.Errorf("join %s: %w", dir, err)
	}
	return nil
}

// remount replaces an inherited mount by a fresh one, in this cgroup namespace.
func remount(h hierarchy) error {
	if err := unix.Unmount(h.point, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", h.point, err)
	}
	options := h.options
	if h.fstype == "cgroup2" {
		options = ""
	}
	if err := unix.Mount(h.fstype, h.point, h.fstype, 0, options); err != nil {
		return fmt.Errorf("mount %s: %w", h.point, err)
	}
	return nil
}

// removeCgroups removes what the farm made, deepest first.
func removeCgroups(base string) {
	for _, h := range hierarchies() {
		top := filepath.Join(h.point, base)
		deadline := time.Now().Add(10 * time.Second)
		for time.Now().Before(deadline) {
			children, _ := filepath.Glob(top + "/*/")
			for _, child := range children {
				os.Remove(child)
			}
			if err := os.Remove(top); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}
