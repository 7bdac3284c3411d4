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

// Ctrl-Z stops lab and command, fg continues both.
func TestLiveTerminalStop(t *testing.T) {
	needUserNamespaces(t)
	needBash(t)
	for _, only := range []string{"", "uts"} {
		s := startSession(t, "bash", "--norc", "-c",
			`set -m; "$0" `+helperArgument+` run "`+only+`" sh -c 'trap "echo resumed" CONT; echo ready; while :; do sleep 0.1; done'; echo "status $?"; fg; echo "end $?"`, testBinary(t))
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
