package endtoend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	lt "nsinspect/internal/livetest"
)

// measured is a program that runs another one, and tells how large that grew and
// how much processor time it took: the kernel counts for a process also how
// large the one was that started it, and the tests' own is large.
func measured() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	state := cmd.ProcessState
	fmt.Fprintf(os.Stderr, "peak %d KiB in %d us\n", state.SysUsage().(*syscall.Rusage).Maxrss, (state.UserTime() + state.SystemTime()).Microseconds())
	os.Exit(state.ExitCode())
}

// measure runs nsinspect and returns its peak memory in MiB and its processor
// time beside what it did.
func measure(t *testing.T, args ...string) (r lt.Result, mib int, took time.Duration) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{lt.Binary(t)}, args...)...)
	cmd.Args[0] = "measured"
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	at := strings.LastIndex(stderr.String(), "peak ")
	if at < 0 {
		t.Fatalf("%v: %s%s", args, stdout.String(), stderr.String())
	}
	var kib, us int
	if _, err := fmt.Sscanf(stderr.String()[at:], "peak %d KiB in %d us", &kib, &us); err != nil {
		t.Fatal(err)
	}
	r = lt.Result{Stdout: stdout.String(), Stderr: stderr.String()[:at], Status: cmd.ProcessState.ExitCode()}
	return r, kib / 1024, time.Duration(us) * time.Microsecond
}

// copied makes a copy of a procfs of processes that are all alike.
type copied struct {
	cgroup, mountinfo string
	processes         int
}

func (c copied) make(t *testing.T) string {
	t.Helper()
	proc := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(proc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(text, name string) {
		if err := os.Symlink(text, filepath.Join(proc, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(proc, "one/ns"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("one/cgroup", c.cgroup)
	write("one/mountinfo", c.mountinfo)
	write("one/stat", "1 (init) S 0 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200 18446744073709551615 0 0 0\n")
	write("one/status", "Name:\tinit\nTgid:\t1\nUid:\t0\t0\t0\t0\nNSpid:\t1\n")
	link("cgroup:[4026531835]", "one/ns/cgroup")
	link("mnt:[4026531841]", "one/ns/mnt")
	link("/", "one/root")
	link("1", "self")
	for pid := range c.processes {
		link("one", strconv.Itoa(pid+1))
	}
	return proc
}

const someMounts = "20 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" +
	"21 20 0:21 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"

// largeHost is a recorded host, with the memory in MiB beyond the usual that to
// know it takes.
type largeHost struct {
	copied
	more int
}

// largeHosts are as large as a host or a container can make its files.
func largeHosts() map[string]largeHost {
	var many, cgroups strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, "%d 20 0:30 / /var/lib/containers/storage/%06d rw,relatime - tmpfs tmpfs rw,size=1024k\n", i+100, i)
	}
	for i := range 30_000 {
		fmt.Fprintf(&cgroups, "%d 20 0:21 / /var/lib/containers/storage/%06d rw,relatime - cgroup2 cgroup2 rw\n", i+100, i)
	}
	long := "1 0 0:1 / /x rw - overlay overlay rw,lowerdir=" + strings.Repeat("/layer:", 1<<20/7) + "\n"
	return map[string]largeHost{
		"100,000 mounts":           {copied{"0::/\n", someMounts + many.String(), 1}, 10},
		"a mount line of 1 MiB":    {copied{"0::/\n", long + someMounts, 1}, 0},
		"a path of 4,095 bytes":    {copied{"0::" + strings.Repeat("/0123456", 512)[:4095] + "\n", someMounts, 1}, 0},
		"30,000 processes":         {copied{"0::/\n", someMounts, 30_000}, 10},
		"30,000 mounts of cgroups": {copied{"0::/\n", someMounts + cgroups.String(), 1}, 35},
	}
}

// usual is the memory that the commands may take on a host of ten thousand
// processes, in MiB.
const usual = 25

// Whatever a host holds: every command answers, soon, and within its memory.
func TestBounded(t *testing.T) {
	for name, c := range largeHosts() {
		t.Run(name, func(t *testing.T) {
			proc := c.make(t)
			for _, command := range []string{"list", "doctor", "compare", "show"} {
				args := []string{command, "--proc", proc, "-J"}
				if command == "compare" || command == "show" {
					args = append(args, "1")
				}
				r, mib, took := measure(t, args...)
				if r.Status != 0 || r.Stderr != "" || !json.Valid([]byte(r.Stdout)) {
					t.Errorf("%s: status %d: %.200s %.200s", command, r.Status, r.Stderr, r.Stdout)
				}
				if mib > usual+c.more || took > 5*time.Second {
					t.Errorf("%s took %d MiB and %v", command, mib, took)
				}
				t.Logf("%s: %d MiB, %v", command, mib, took)
			}
		})
	}
}

// TestInterrupt ends commands by a Ctrl-C at any time, also while nobody takes
// what they write.
func TestInterrupt(t *testing.T) {
	proc := copied{"0::/\n", someMounts, 30_000}.make(t)
	for _, command := range []string{"list", "doctor"} {
		for i, after := range []time.Duration{0, 50, 200, 50} {
			jobs := []string{"1", "1", "1", "99999999999"}[i]
			cmd := exec.Command(lt.Binary(t), command, "--proc", proc, "-J", "-j", jobs)
			blocked, stdout, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout = stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after * time.Millisecond)
			start := time.Now()
			_ = cmd.Process.Signal(os.Interrupt) // it may have ended
			end := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
			err = cmd.Wait()
			end.Stop()
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s went on for %v after a Ctrl-C at %d ms", command, took, after)
			}
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			byItself := err == nil && command == "doctor" // its answer fits into a pipe
			if !byItself && status.ExitStatus() != 130 && status.Signal() != syscall.SIGINT {
				t.Errorf("%s ended with %v after a Ctrl-C at %d ms", command, err, after)
			}
			stdout.Close()
			blocked.Close()
		}
	}
}

// TestLongRun has commands on a terminal take long, since a few links are slow
// to read: they show how far they are, and in the end nothing is left of that.
func TestLongRun(t *testing.T) {
	lt.Need(t, lt.Programs("strace"))
	proc := copied{"0::/\n", someMounts, 1000}.make(t)
	for _, args := range []string{"list", "doctor"} {
		master, tty := lt.Terminal(t)
		cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "inject=readlinkat:delay_enter=100000:when=50..60",
			lt.Binary(t), args, "--proc", proc, "-j", "1", "-J")
		cmd.Stderr = tty
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(tty, "end")
		written := lt.ReadUntil(t, master, "end")
		var done, of int
		if _, err := fmt.Sscanf(written, "\r\x1b[K%d of %d processes, 0 namespaces entered", &done, &of); err != nil || done > of || of > 1000 {
			t.Errorf("%s shows %q: %v", args, written, err)
		}
		if !strings.HasSuffix(written, "\r\x1b[K") {
			t.Errorf("%s leaves something of %q", args, written)
		}
	}
}

// manyThreads is a program with as many threads as it is told, until its
// standard input ends.
func manyThreads() {
	threads, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	debug.SetMaxThreads(2 * threads)
	var started sync.WaitGroup
	started.Add(threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			started.Done()
			select {}
		}()
	}
	started.Wait()
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
}
