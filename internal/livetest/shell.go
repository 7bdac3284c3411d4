package livetest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Shell is a living /bin/sh, in whatever cgroups and namespaces the test puts
// it, that does one command at a time. It ends with the test, and with the test
// process: by PDEATHSIG, or at the end of its standard input.
type Shell struct {
	t   testing.TB
	PID int

	cmd  *exec.Cmd
	in   *os.File
	out  *bufio.Reader
	file *os.File
	// children were started in the background.
	children []int
}

// mark ends the output of a command; its exit status follows.
const mark = "\x01end "

// hello makes the program at the end of an argument vector a shell that says
// when it is there.
var hello = []string{"/bin/sh", "-c", "echo ready; exec /bin/sh"}

// Start starts a shell through a program that executes one and does not fork:
//
//	Start(t)                        a shell on the host
//	Start(t, "unshare", "-m", "--") one in a mount namespace of its own
func Start(t testing.TB, through ...string) *Shell {
	t.Helper()
	s := &Shell{t: t}
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	s.in, s.file, s.out = in, out, bufio.NewReader(out)
	argv := append(through[:len(through):len(through)], hello...)
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = stdin, stdout, stdout
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := onLastingThread(s.cmd.Start); err != nil {
		t.Fatal(err)
	}
	s.PID = s.cmd.Process.Pid
	t.Cleanup(s.End)
	s.ready()
	return s
}

// onLastingThread does something on a thread that ends with the test process:
// PDEATHSIG comes when the thread ends that started a process, and one that
// enters namespaces is not used again.
func onLastingThread(do func() error) error {
	result := make(chan error)
	lastingThread() <- func() { result <- do() }
	return <-result
}

var lastingThread = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

// Launch starts a program that ends with the test, and with the test process.
func Launch(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := onLastingThread(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // no error if it has ended
		_ = cmd.Wait()
	})
}

// NewHost starts a shell in a mount namespace of its own, with private
// propagation: what it mounts, the host does not see. It also holds that the
// host is unchanged when the test has ended.
func NewHost(t testing.TB) *Shell {
	t.Helper()
	Need(t, Root, Programs("unshare", "nsenter", "mount"))
	HostUnchanged(t)
	return Start(t, "unshare", "-m", "--propagation", "private", "--")
}

// Fork starts another shell in the same namespaces as s: its mount namespace,
// and its cgroup namespace, but in the test's own cgroups.
func (s *Shell) Fork() *Shell {
	s.t.Helper()
	return Start(s.t, "nsenter", "-t", strconv.Itoa(s.PID), "-m", "-C", "--")
}

// Become makes the shell another one, with the same process ID, through a
// program such as unshare.
func (s *Shell) Become(through ...string) {
	s.t.Helper()
	argv := append(through[:len(through):len(through)], hello...)
	s.send("exec " + Quote(argv...) + "\n")
	s.ready()
}

// Join moves the shell into cgroups.
func (s *Shell) Join(cgroups ...*Cgroup) *Shell {
	s.t.Helper()
	for _, c := range cgroups {
		c.Add(s.PID)
	}
	return s
}

// Do does shell commands that have to succeed, and returns what they print.
func (s *Shell) Do(format string, args ...any) string {
	s.t.Helper()
	out, status := s.Try(format, args...)
	if status != 0 {
		s.t.Fatalf("%s: exit status %d\n%s", fmt.Sprintf(format, args...), status, out)
	}
	return out
}

// Loop has the shell do commands over and over, until it ends. It does nothing
// else any more.
func (s *Shell) Loop(commands string) {
	s.t.Helper()
	s.send("while :; do\n" + commands + "\ndone </dev/null >/dev/null 2>&1\n")
}

// Try does shell commands and returns what they print and their exit status.
func (s *Shell) Try(format string, args ...any) (string, int) {
	s.t.Helper()
	s.send(fmt.Sprintf("{\n%s\n} </dev/null 2>&1; printf '\\001end %%d\\n' $?\n", fmt.Sprintf(format, args...)))
	var b strings.Builder
	for {
		line := s.line()
		if before, status, ok := strings.Cut(line, mark); ok {
			n, err := strconv.Atoi(strings.TrimSpace(status))
			if err != nil {
				s.t.Fatalf("a shell's answer: %q", line)
			}
			return b.String() + before, n
		}
		b.WriteString(line)
	}
}

// Run runs nsinspect as a child of the shell: in its cgroups and namespaces.
func (s *Shell) Run(args ...string) Result {
	s.t.Helper()
	return s.Execute(append([]string{Binary(s.t)}, args...)...)
}

// Execute runs a program as a child of the shell.
func (s *Shell) Execute(argv ...string) Result {
	s.t.Helper()
	dir := s.t.TempDir()
	stdout, stderr := filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
	_, status := s.Try("%s >%s 2>%s", Quote(argv...), Quote(stdout), Quote(stderr))
	return Result{ReadFile(s.t, stdout), ReadFile(s.t, stderr), status}
}

// Background starts a program as a child of the shell, through others such as
// nsenter that execute it or fork, and returns its process ID once it runs: that
// of the process whose name (comm) is the one given.
func (s *Shell) Background(name string, argv ...string) int {
	s.t.Helper()
	out := s.Do("%s </dev/null >/dev/null 2>&1 & echo $!", Quote(argv...))
	first, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		s.t.Fatalf("start %q: %s", argv, out)
	}
	s.children = append(s.children, first)
	pid := Descendant(s.t, first, name)
	if pid != first {
		s.children = append(s.children, pid)
	}
	return pid
}

// Sleep starts a process that does nothing, as a child of the shell, through
// programs such as nsenter if any are given.
func (s *Shell) Sleep(through ...string) int {
	s.t.Helper()
	return s.Background("sleep", append(through[:len(through):len(through)], "sleep", "10000")...)
}

// Descendant waits until a process or one that descends from it has a name, and
// returns its ID.
func Descendant(t testing.TB, pid int, name string) int {
	t.Helper()
	found := 0
	err := retry(func() error {
		var err error
		found, err = named(pid, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func named(pid int, name string) (int, error) {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(string(comm)) == name {
		return pid, nil
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, f := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		if found, err := named(child, name); err == nil {
			return found, nil
		}
	}
	return 0, fmt.Errorf("process %d (%s) has no descendant %s", pid, strings.TrimSpace(string(comm)), name)
}

// End ends the shell and the children that it started, and waits for them.
func (s *Shell) End() {
	if s.cmd == nil {
		return
	}
	for _, pid := range s.children {
		Kill(pid)
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // its status is that it was killed
	s.cmd = nil
	s.in.Close()
	s.file.Close()
}

// Kill ends a process that the test started, and waits until nothing is left of
// it but a zombie.
func Kill(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	_ = gone(pid)
}

// Gone waits until nothing is left of a process but a zombie.
func Gone(t testing.TB, pid int) {
	t.Helper()
	if err := gone(pid); err != nil {
		t.Error(err)
	}
}

func gone(pid int) error {
	return retry(func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil // gone
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X") {
			return fmt.Errorf("process %d has not ended", pid)
		}
		return nil
	})
}

func (s *Shell) send(text string) {
	s.t.Helper()
	if _, err := s.in.WriteString(text); err != nil {
		s.t.Fatalf("tell a shell: %v", err)
	}
}

func (s *Shell) line() string {
	s.t.Helper()
	if err := s.file.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("a shell does not answer: %v: %q", err, line)
	}
	return line
}

func (s *Shell) ready() {
	s.t.Helper()
	if line := s.line(); line != "ready\n" {
		s.t.Fatalf("start a shell: %s", line)
	}
}

// Quote makes a command line of an argument vector.
func Quote(argv ...string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
