package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// contender is a command that is timed as a whole process.
type contender struct {
	Key, Title string
	argv       []string
	// Wall are the times of the runs, in their order; CPU is the processor time
	// that each took, on all processors together.
	Wall, CPU []time.Duration
	// Memory is the largest resident set of any run, in KiB.
	Memory int64
	// Calls is the number of system calls of one run.
	Calls int
}

// contenders are what is timed: the tool, what people use today, and floors.
func (j job) contenders(pid string) ([]*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	list := []*contender{
		{Key: "list", Title: "`nsinspect list --json`", argv: []string{j.Tool, "list", "--json"}},
		{Key: "doctor", Title: "`nsinspect doctor --json`", argv: []string{j.Tool, "doctor", "--json", "--fail-on=never"}},
		{Key: "compare", Title: "`nsinspect compare PID --json`", argv: []string{j.Tool, "compare", "--json", pid}},
		{Key: "lsns", Title: "`lsns -t cgroup --json`", argv: []string{"lsns", "-t", "cgroup", "--json"}},
		{Key: "nsenter", Title: "`nsenter -t PID -C cat /proc/PID/cgroup`", argv: []string{"nsenter", "-t", pid, "-C", "cat", "/proc/" + pid + "/cgroup"}},
	}
	for _, f := range []struct{ kind, title string }{
		{floorLinks, "first floor: names and one link each"},
		{floorEnter, "first floor and entering each namespace"},
		{floorViews, "second floor: also cgroup files and mountinfo"},
	} {
		argument, err := json.Marshal(f.kind)
		if err != nil {
			return nil, err
		}
		list = append(list, &contender{Key: f.kind, Title: f.title, argv: []string{self, "floor", string(argument)}})
	}
	return list, nil
}

// measure times the contenders in turn, so that a drift of the machine's speed
// meets all of them alike.
func (j job) measure() (*measured, error) {
	pid, err := someMember()
	if err != nil {
		return nil, err
	}
	list, err := j.contenders(pid)
	if err != nil {
		return nil, err
	}
	for i := range j.Runs + 1 {
		for _, c := range slices.Concat(list[i%len(list):], list[:i%len(list)]) {
			if err := c.run(i > 0); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range list {
		if c.Calls, err = c.count(); err != nil {
			return nil, err
		}
	}
	return &measured{Farm: j.Farm, List: list, Own: ownMemory()}, nil
}

// measured is what was measured on one farm.
type measured struct {
	Farm farm
	List []*contender
	// Own is the peak memory of who started the contenders, in KiB, which the
	// kernel counts for them too.
	Own int64
}

func (m *measured) of(key string) *contender {
	for _, c := range m.List {
		if c.Key == key {
			return c
		}
	}
	return nil
}

func ownMemory() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss
}

// someMember is a process in a namespace of the farm.
func someMember() (string, error) {
	own, err := os.Readlink("/proc/self/ns/cgroup")
	if err != nil {
		return "", err
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return "", err
	}
	defer proc.Close()
	for {
		names, err := proc.Readdirnames(256)
		if err != nil {
			return "", fmt.Errorf("a process in another cgroup namespace: %w", err)
		}
		for _, name := range names {
			if ns, err := os.Readlink("/proc/" + name + "/ns/cgroup"); err == nil && ns != own {
				return name, nil
			}
		}
	}
}

func (c *contender) run(counts bool) error {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	var stderr bytes.Buffer
	var printed size
	cmd.Stderr = &stderr
	if !counts {
		cmd.Stdout = &printed // else nobody need take it
	}
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", c.Title, err, stderr.String())
	}
	if !counts {
		if printed == 0 && c.argv[1] != "floor" {
			return fmt.Errorf("%s printed nothing", c.Title)
		}
		return nil
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("this system does not tell what a process used")
	}
	c.Wall = append(c.Wall, wall)
	c.CPU = append(c.CPU, cmd.ProcessState.SystemTime()+cmd.ProcessState.UserTime())
	c.Memory = max(c.Memory, usage.Maxrss)
	return nil
}

// size counts what is written.
type size int

func (s *size) Write(text []byte) (int, error) {
	*s += size(len(text))
	return len(text), nil
}

// count counts the system calls of one run.
func (c *contender) count() (int, error) {
	out, err := os.CreateTemp("", "nsinspect-bench-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.Command("strace", append([]string{"-f", "-c", "-U", "calls,name", "-o", out.Name()}, c.argv...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("strace %s: %w: %s", c.Title, err, text[:min(len(text), 200)])
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == "total" {
			return strconv.Atoi(f[0])
		}
	}
	return 0, fmt.Errorf("strace %s: no total", c.Title)
}

func median[T cmp.Ordered](l []T) T {
	l = slices.Sorted(slices.Values(l))
	return l[len(l)/2]
}

// ratio is the median of the ratios of runs that followed one another.
func ratio(a, b *contender) float64 {
	l := make([]float64, len(a.Wall))
	for i := range a.Wall {
		l[i] = float64(a.Wall[i]) / float64(b.Wall[i])
	}
	return median(l)
}
