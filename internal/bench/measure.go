package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// contender is a command that is timed as a whole process.
type contender struct {
	name string
	argv []string
	// ok is an exit status other than 0 that is not a failure.
	ok   int
	wall []time.Duration
	rss  []int64 // KiB
}

// measure times the contenders in turn, so that a drift of the machine's speed
// meets all of them alike, and prints medians and ratios.
func measure(h host) error {
	pid, err := someMember()
	if err != nil {
		return err
	}
	self := "/proc/self/exe"
	list := []*contender{
		{name: "nsinspect list --json", argv: []string{h.binary, "list", "--json"}},
		{name: "nsinspect doctor --json", argv: []string{h.binary, "doctor", "--json"}, ok: 1},
		{name: "nsinspect compare PID --json", argv: []string{h.binary, "compare", pid, "--json"}},
		{name: "lsns -t cgroup --json", argv: []string{"lsns", "-t", "cgroup", "--json"}},
		{name: "floor 1: one link of each process", argv: []string{self, "floor1"}},
		{name: "floor 1 and entering each namespace", argv: []string{self, "floor2"}},
		{name: "floor 2: also cgroup files and mountinfo", argv: []string{self, "floor3"}},
		{name: "nsenter -t PID -C cat /proc/PID/cgroup", argv: []string{"nsenter", "-t", pid, "-C", "cat", "/proc/" + pid + "/cgroup"}},
	}
	for i := range h.runs + 1 {
		for _, c := range list {
			if err := c.run(i > 0); err != nil {
				return err
			}
		}
	}
	printTable(h, list)
	return nil
}

// someMember is a process in a namespace of the farm.
func someMember() (string, error) {
	own, err := os.Readlink("/proc/self/ns/cgroup")
	if err != nil {
		return "", err
	}
	pids, _, err := names()
	if err != nil {
		return "", err
	}
	for _, pid := range pids {
		if ns, err := os.Readlink("/proc/" + pid + "/ns/cgroup"); err == nil && ns != own {
			return pid, nil
		}
	}
	return "", fmt.Errorf("no process in another cgroup namespace")
}

func (c *contender) run(count bool) error {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if err != nil && cmd.ProcessState.ExitCode() != c.ok {
		return fmt.Errorf("%s: %w: %s", c.name, err, stderr.String())
	}
	if count {
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		c.wall = append(c.wall, wall)
		c.rss = append(c.rss, usage.Maxrss)
	}
	return nil
}

func median[T int64 | time.Duration](l []T) T {
	l = append([]T(nil), l...)
	sort.Slice(l, func(i, j int) bool { return l[i] < l[j] })
	return l[len(l)/2]
}

// ratio is the median of the ratios of runs that followed one another.
func ratio(a, b *contender) float64 {
	var l []float64
	for i := range a.wall {
		l = append(l, float64(a.wall[i])/float64(b.wall[i]))
	}
	sort.Float64s(l)
	return l[len(l)/2]
}

func printTable(h host, list []*contender) {
	fmt.Println("| command | wall, median | least | most | peak memory | system calls per process |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, c := range list {
		sort.Slice(c.rss, func(i, j int) bool { return c.rss[i] < c.rss[j] })
		least, most := c.wall[0], c.wall[0]
		for _, w := range c.wall {
			least, most = min(least, w), max(most, w)
		}
		fmt.Printf("| %s | %s | %s | %s | %.1f MiB | %s |\n", c.name, ms(median(c.wall)), ms(least), ms(most),
			float64(median(c.rss))/1024, c.calls(h.n))
	}
	fmt.Println("\n| ratio of wall times, median of pairs | |")
	fmt.Println("|---|---|")
	for _, r := range []struct{ a, b int }{{0, 3}, {0, 5}, {1, 3}, {1, 6}, {2, 7}} {
		fmt.Printf("| %s / %s | %.2f |\n", list[r.a].name, list[r.b].name, ratio(list[r.a], list[r.b]))
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// calls counts the system calls of one run (strace -c), for each process of the
// host.
func (c *contender) calls(n int) string {
	out, err := os.CreateTemp("", "nsinspect-bench-")
	if err != nil {
		return "not counted"
	}
	out.Close()
	defer os.Remove(out.Name())
	argv := append([]string{"-f", "-c", "-U", "calls", "-o", out.Name()}, c.argv...)
	if c.argv[0] == "/proc/self/exe" {
		self, err := os.Executable()
		if err != nil {
			return "not counted"
		}
		argv[5] = self
	}
	exec.Command("strace", argv...).Run()
	text, err := os.ReadFile(out.Name())
	if err != nil {
		return "not counted"
	}
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) == 2 && f[1] == "total" {
			if total, err := strconv.Atoi(f[0]); err == nil {
				return fmt.Sprintf("%.1f", float64(total)/float64(n))
			}
		}
	}
	return "not counted"
}

// machine says what was measured on.
func machine() string {
	var u syscall.Utsname
	syscall.Uname(&u)
	release := make([]byte, 0, 64)
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, line := range strings.Split(string(text), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	lsns, _ := exec.Command("lsns", "--version").Output()
	number, _, _ := strings.Cut(string(release), "-")
	return fmt.Sprintf("Linux %s, %s, %d processors, %s", number, cpu, runtime.NumCPU(), strings.TrimSpace(string(lsns)))
}
