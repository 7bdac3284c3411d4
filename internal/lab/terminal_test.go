package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
)

func hierarchyOf(t *testing.T, field string) *hierarchy {
	t.Helper()
	id := 1
	if field == "" {
		id = 0
	}
	c, err := inspect.ParseCgroups(fmt.Appendf(nil, "%d:%s:/\n", id, field))
	if err != nil {
		t.Fatal(err)
	}
	return &hierarchy{Hierarchy: c.Memberships[0].Hierarchy, field: field}
}

// session is a program on a terminal of its own.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	seen   bytes.Buffer
}

func startSession(t *testing.T, args ...string) *session {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		skip(t, "no pseudoterminal: "+err.Error())
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, master: master, cmd: exec.Command(args[0], args[1:]...)}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.Env = append(os.Environ(), "PS1=$ ", "TERM=dumb", "HISTFILE=")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait(); master.Close() })
	return s
}

// expect reads until the terminal shows text, and forgets what it has read.
func (s *session) expect(text string) {
	s.t.Helper()
	s.master.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1000)
	for {
		if _, after, ok := strings.Cut(s.seen.String(), text); ok {
			s.seen.Reset()
			s.seen.WriteString(after)
			return
		}
		n, err := s.master.Read(buf)
		s.seen.Write(buf[:n])
		if err != nil {
			s.t.Fatalf("no %q: %v, but %q", text, err, s.seen.String())
		}
	}
}

func (s *session) write(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

func needBash(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		skip(t, "no bash")
	}
}

// A typed Ctrl-C reaches the command once, not once more through the lab.
func TestLiveTerminalInterrupt(t *testing.T) {
	needUserNamespaces(t)
	for _, only := range []string{"", "uts"} {
		s := startSession(t, testBinary(t), helperArgument, "run", only, "sh", "-c",
			`n=0; trap 'n=$((n+1))' INT; echo ready; i=0; while [ $i -lt 6 ]; do sleep 0.05; i=$((i+1)); done; echo "caught $n"; exit 4`)
		s.expect("ready")
		s.write("\x03")
		s.expect("caught 1\r\n")
		if s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != 4 {
			t.Errorf("only %q: %v", only, s.cmd.ProcessState)
		}
		// And ends one that does not catch it, though init is PID 1.
		s = startSession(t, testBinary(t), helperArgument, "run", only, "sh", "-c", "echo ready; exec sleep 100")
		s.expect("ready")
		s.write("\x03")
		if s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("only %q: %v", only, s.cmd.ProcessState)
		}
	}
}

// Ctrl-Z stops lab and command, fg continues both. The shell inside starts no
// program while it is stopped: where it does so by vfork(2), it hangs.
func TestLiveTerminalStop(t *testing.T) {
	needUserNamespaces(t)
	needBash(t)
	for _, only := range []string{"", "uts"} {
		s := startSession(t, "bash", "--norc", "-c",
			`set -m; "$0" `+helperArgument+` run "`+only+`" sh -c 'trap "echo resumed" CONT; sleep 20 & echo ready; while :; do wait; done'; echo "status $?"; fg; echo "end $?"`, testBinary(t))
		s.expect("ready")
		s.write("\x1a")
		s.expect("status 148")
		s.expect("resumed\r\n") // not the job's text, which fg prints before
		s.write("\x03")
		s.expect("end 130")
	}
}

// An interactive shell inside has job control and keeps it while its own jobs
// come and go; afterwards the caller has its terminal back.
func TestLiveTerminalShell(t *testing.T) {
	needUserNamespaces(t)
	needBash(t)
	for _, only := range []string{"", "uts"} {
		s := startSession(t, "bash", "--norc", "-c",
			`"$0" `+helperArgument+` run "`+only+`" bash --norc -i; echo "status $?"; read x; echo "got $x"`, testBinary(t))
		s.expect("# ")
		s.write("echo jobs $-\n")
		s.expect("jobs h")
		s.write("sh -c 'echo u$((0))p; exec sleep 100'\n")
		s.expect("u0p")
		s.write("\x1a")
		s.expect("Stopped")
		s.write("kill %1; suspend; echo still $((40+2))\n")
		s.expect("still 42")
		s.write("sh -c 'echo u$((0))p; exec sleep 100'\n")
		s.expect("u0p")
		s.write("\x03")
		s.write("exit 5\n")
		s.expect("status 5")
		s.write("line\n")
		s.expect("got line")
	}
}

// A shell that looks for its own process group on the terminal finds it, and
// gives it back: its exit status is passed through, Ctrl-C and Ctrl-Z work on
// its jobs.
func TestLiveTerminalDash(t *testing.T) {
	needUserNamespaces(t)
	needBash(t)
	for _, only := range []string{"", "uts"} {
		s := startSession(t, "bash", "--norc", "-c",
			`"$0" `+helperArgument+` run "`+only+`" dash -i; echo "status $?"; read x; echo "got $x"`, testBinary(t))
		s.expect("# ")
		s.write("sh -c 'echo u$((0))p; exec sleep 100'\n")
		s.expect("u0p")
		s.write("\x03")
		s.expect("# ")
		s.write("sh -c 'echo u$((0))p; exec sed -u s/^/got-/'\n")
		s.expect("u0p")
		s.write("\x1a")
		s.expect("Stopped")
		s.expect("# ")
		s.write("fg\nword\n")
		s.expect("got-word")
		s.write("\x03")
		s.expect("# ")
		s.write("exit 3\n")
		s.expect("status 3")
		s.write("line\n")
		s.expect("got line")
	}
}

// Whatever ends the command, the caller has its terminal back and the status
// says by which signal.
func TestLiveTerminalCrash(t *testing.T) {
	needUserNamespaces(t)
	needBash(t)
	for _, only := range []string{"", "uts"} {
		for _, shell := range []string{"dash", "bash --norc"} {
			s := startSession(t, "bash", "--norc", "-c",
				`"$0" `+helperArgument+` run "`+only+`" `+shell+` -i; echo "status $?"; read x; echo "got $x"`, testBinary(t))
			s.expect("# ")
			s.write("kill -9 $$\n")
			s.expect("status 137")
			s.write("line\n")
			s.expect("got line")
		}
	}
}

// A job that runs on in the background does not take the terminal from whoever
// has it, neither when it is stopped for reading there nor when it ends.
func TestLiveTerminalBackground(t *testing.T) {
	needUserNamespaces(t)
	needBash(t)
	for _, only := range []string{"", "uts"} {
		s := startSession(t, "bash", "--norc", "-i")
		run := testBinary(t) + " " + helperArgument + " run '" + only + "' "
		s.expect("$ ")
		s.write(run + "bash -c 'echo u$((0))p; sleep 1; echo d$((0))ne; exit 4'\n")
		s.expect("u0p")
		s.write("\x1a")
		s.expect("Stopped")
		s.write("bg\n")
		s.expect("d0ne")
		s.write("echo still $((40+2)); wait %1; echo status $?\n")
		s.expect("still 42")
		s.expect("status 4")
		// One that reads is stopped, and reads once it is in front.
		s.write(run + "bash -c 'echo u$((0))p; sleep 0.5; read x; echo g$((0))t $x' &\n")
		s.expect("u0p")
		s.write("sleep 1\n")
		s.write("jobs; echo l$((0))st\n")
		s.expect("Stopped")
		s.expect("l0st")
		s.write("fg\n")
		s.expect("bash -c")
		s.write("line\n")
		s.expect("g0t line")
		s.write("exit 5\n")
		s.cmd.Wait()
		if s.cmd.ProcessState.ExitCode() != 5 {
			t.Errorf("only %q: %v", only, s.cmd.ProcessState)
		}
	}
}
