package livetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Churn keeps the host busy until the test ends: processes start and end, others
// are moved between cgroups, cgroup namespaces come and go, and one process
// changes its namespace and its cgroup all the time.
type Churn struct {
	// Movers are processes that are moved between the cgroups Places.
	Movers []int
	Places [2]*Cgroup
	// Restless is a process that moves between Corners and makes a cgroup
	// namespace in each, with the same process ID.
	Restless int
	Corners  [2]*Cgroup

	t       testing.TB
	stopped chan struct{}
	began   time.Time
	forks   int
}

// NewChurn starts it, in the mount namespace of a host shell.
func NewChurn(t testing.TB, host *Shell, label string) *Churn {
	t.Helper()
	c := &Churn{t: t, stopped: make(chan struct{}), began: time.Now(), forks: forks(t)}
	top := NewCgroup(t, label)
	c.Places = [2]*Cgroup{top.Child("here"), top.Child("there")}
	c.Corners = [2]*Cgroup{top.Child("one"), top.Child("two")}
	for range 2 {
		host.Fork().Join(top).Loop("(:); (:); (:); (:)")
	}
	host.Fork().Join(top).Loop("unshare -C -- true")
	host.Fork().Join(top).Loop("unshare -m --propagation private -- unshare -C -- sleep 0.02")
	c.restless(host.Fork())
	for range 4 {
		c.Movers = append(c.Movers, host.Fork().Sleep())
	}
	var busy sync.WaitGroup
	t.Cleanup(busy.Wait)
	t.Cleanup(func() { close(c.stopped) })
	busy.Go(c.move)
	return c
}

// restless makes a shell the process that never stays.
func (c *Churn) restless(s *Shell) {
	script := filepath.Join(c.t.TempDir(), "restless")
	text := `echo $$ >"$1/cgroup.procs"; exec unshare -C -- sh "$0" "$2" "$1"`
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.Restless = s.PID
	s.send("exec sh " + Quote(script, c.Corners[0].Dir, c.Corners[1].Dir) + "\n")
}

// move moves the movers.
func (c *Churn) move() {
	for i := 0; ; i++ {
		select {
		case <-c.stopped:
			return
		default:
		}
		for _, pid := range c.Movers {
			_ = os.WriteFile(filepath.Join(c.Places[i%2].Dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// Rate is how many processes and threads the host has started in a second since
// the churn began.
func (c *Churn) Rate() int {
	return int(float64(forks(c.t)-c.forks) / time.Since(c.began).Seconds())
}

// forks counts the processes and threads that the host has started.
func forks(t testing.TB) int {
	t.Helper()
	for line := range strings.Lines(ReadFile(t, "/proc/stat")) {
		var n int
		if _, err := fmt.Sscanf(line, "processes %d", &n); err == nil {
			return n
		}
	}
	t.Fatal("/proc/stat does not count processes")
	return 0
}
