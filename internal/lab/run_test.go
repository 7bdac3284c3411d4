package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var ordinary = &syscall.Credential{Uid: 65534, Gid: 65534}

// runHelper is this test binary as "nsinspect lab run".
func runHelper(cred *syscall.Credential, only string, command ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{helperArgument, "run", only}, command...)...)
	cmd.Dir = "/"
	if cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	}
	return cmd
}

type result struct {
	out, err string
	exit     int
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return result{out.String(), withoutCoverage(stderr.String()), cmd.ProcessState.ExitCode()}
}

// withoutCoverage leaves out what a covered test binary says as an ordinary
// user, who may not write to go test's directory.
func withoutCoverage(text string) string {
	var kept strings.Builder
	for line := range strings.SplitAfterSeq(text, "\n") {
		if !strings.HasPrefix(line, "error: coverage ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

const inside = `id -u; echo $$; for n in uts ipc pid mnt user net cgroup; do readlink /proc/self/ns/$n; done; ls -d /proc/[0-9]* | head -1; exit 7`

func TestLiveRunAll(t *testing.T) {
	needUserNamespaces(t)
	unchanged(t, prefixOf(t))
	host := readNamespaces("/proc/self")
	for name, cred := range map[string]*syscall.Credential{"root": nil, "ordinary": ordinary} {
		t.Run(name, func(t *testing.T) {
			r := finish(t, runHelper(cred, "", "sh", "-c", inside))
			lines := strings.Split(strings.TrimSpace(r.out), "\n")
			if r.exit != 7 || len(lines) != 10 || lines[0] != "0" || len(lines[1]) > 2 || lines[9] != "/proc/1" {
				t.Fatalf("status %d, %q, %s", r.exit, lines, r.err)
			}
			told := strings.Split(strings.TrimSpace(r.err), "\n")
			for i, n := range namespaces {
				has := strings.TrimSuffix(strings.TrimPrefix(lines[2+i], n.link+":["), "]")
				want := fmt.Sprintf("nsinspect: %-7s  %s -> %s", n.name, host[n.name], has)
				if len(told) != 7 || told[i] != want || has == host[n.name] {
					t.Errorf("told %q, want %q", told, want)
				}
			}
		})
	}
}

func TestLiveRunOnly(t *testing.T) {
	needUserNamespaces(t)
	unchanged(t, prefixOf(t))
	host := readNamespaces("/proc/self")
	for _, c := range []struct {
		cred *syscall.Credential
		only string
		pid  bool   // it has a new PID namespace
		says string // on stderr
	}{
		{nil, "uts,cgroup", false, "nsinspect: network"},
		{nil, "pid,mount", true, ""},
		{nil, "pid", true, "hint: /proc stays the outer one"},
		{nil, "mnt,net", false, ""},
		{nil, "user", false, ""},
		{ordinary, "user,cgroup", false, ""},
		{ordinary, "user,pid", true, "hint: /proc stays the outer one"},
		{ordinary, "user,mount", false, ""},
	} {
		r := finish(t, runHelper(c.cred, c.only, "sh", "-c", "readlink /proc/self/ns/pid; test -r /proc/self/cgroup"))
		if r.exit != 0 || c.pid == strings.Contains(r.out, "pid:["+host["pid"]+"]\n") || !strings.Contains(r.err, c.says) {
			t.Errorf("--only %s: %+v", c.only, r)
		}
		kept := strings.Count(r.err, "(kept)")
		if made := strings.Count(c.only, ",") + 1; kept != 7-made {
			t.Errorf("--only %s: %s", c.only, r.err)
		}
	}
}

func TestLiveRunForbidden(t *testing.T) {
	needUserNamespaces(t)
	unchanged(t, prefixOf(t))
	r := finish(t, runHelper(ordinary, "uts", "true"))
	if r.exit != 2 || r.err != "error: cannot make the namespaces uts: operation not permitted\nhint: without a user namespace it needs CAP_SYS_ADMIN: add user to --only, or run it as root\n" {
		t.Errorf("%+v", r)
	}
	// A limit of 0 that holds in a user namespace of the test's own alone.
	inner := runHelper(nil, "user,mount", "sh", "-c",
		`echo 0 > /proc/sys/user/max_user_namespaces; exec "$0" `+helperArgument+` run user true`, testBinary(t))
	r = finish(t, inner)
	if r.exit != 2 || !strings.Contains(r.err, "hint: user.max_user_namespaces is 0: ") {
		t.Errorf("%+v", r)
	}
	// A covered part of /proc keeps the kernel from giving out a new one.
	inner = runHelper(nil, "mount", "sh", "-c",
		`mount -t tmpfs none /proc/sys && exec "$0" `+helperArgument+` run "" true`, testBinary(t))
	r = finish(t, inner)
	if r.exit != 2 || !strings.Contains(r.err, "cannot mount /proc: operation not permitted\nhint: where parts of the outer /proc are covered") {
		t.Errorf("%+v", r)
	}
}

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForbiddenHints(t *testing.T) {
	for _, c := range []struct {
		file, text string
		err        error
		want       string
	}{
		{"kernel/unprivileged_userns_clone", "0\n", unix.EPERM, "kernel.unprivileged_userns_clone is 0"},
		{"kernel/apparmor_restrict_unprivileged_userns", "1\n", unix.EACCES, "AppArmor"},
		{"user/max_cgroup_namespaces", "0\n", unix.ENOSPC, "user.max_cgroup_namespaces is 0"},
		{"kernel/other", "0\n", unix.EPERM, "seccomp"},
		{"kernel/other", "0\n", unix.EUSERS, "32 deep"},
		{"kernel/other", "0\n", unix.EINVAL, "this kernel"},
	} {
		proc := t.TempDir()
		path := filepath.Join(proc, "sys", c.file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(c.text), 0o644)); err != nil {
			t.Fatal(err)
		}
		e := forbidden(proc, "make", unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP, c.err)
		if !strings.Contains(e.Hint(), c.want) || !errors.Is(e, c.err) {
			t.Errorf("%s, %v: %q", c.file, c.err, e.Hint())
		}
	}
}

func TestRunUsage(t *testing.T) {
	for _, only := range []string{"frob", "uts,", ",", "user,\x1b"} {
		exit, err := Run(context.Background(), RunConfig{Only: []string{only}})
		if exit != 2 || !errors.Is(err, ErrUsage) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %d, %v", only, exit, err)
		}
	}
	exit, err := Run(context.Background(), RunConfig{Command: []string{"no-such-program"}, Env: os.Environ()})
	if exit != 2 || !errors.Is(err, ErrCommand) || err.Error() != "cannot run no-such-program: executable file not found in $PATH" {
		t.Errorf("%d, %v", exit, err)
	}
}

func TestChildMainByHand(t *testing.T) {
	if handled, _ := ChildMain([]string{"nsinspect", "list"}, nil); handled {
		t.Error("list handled")
	}
	for _, role := range []string{roleMember, roleRun, "x"} {
		cmd := exec.Command("/proc/self/exe", childArgument, role, "{}", "/bin/true", "true")
		if r := finish(t, cmd); r.exit != 2 || r.out+r.err != "" {
			t.Errorf("%s: %+v", role, r)
		}
	}
}

// A program that is there when it is looked up and cannot be executed.
func TestLiveRunExecFails(t *testing.T) {
	needUserNamespaces(t)
	path := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(path, []byte("not a program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, only := range [][]string{nil, {"uts"}} {
		exit, err := Run(context.Background(), RunConfig{Only: only, Command: []string{path}})
		if exit != 2 || !errors.Is(err, unix.ENOEXEC) || !errors.Is(err, ErrCommand) {
			t.Errorf("only %v: %d, %v", only, exit, err)
		}
	}
}

func TestLiveRunSignals(t *testing.T) {
	needUserNamespaces(t)
	for _, only := range []string{"", "uts"} {
		for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1} {
			exit, _ := signalled(t, only, sig, "echo ready; exec sleep 100")
			if exit != 128+int(sig) {
				t.Errorf("only %q: default of %v: status %d", only, sig, exit)
			}
			exit, _ = signalled(t, only, sig, fmt.Sprintf("sleep 100 & trap 'kill $!; exit 9' %d; echo ready; wait", int(sig)))
			if exit != 9 {
				t.Errorf("only %q: trap of %v: status %d", only, sig, exit)
			}
		}
		r := finish(t, runHelper(nil, only, "sh", "-c", "kill -SEGV $$"))
		if r.exit != 128+int(unix.SIGSEGV) {
			t.Errorf("only %q: %+v", only, r)
		}
	}
}

// signalled starts a script, waits for its first line, and signals the lab.
func signalled(t *testing.T, only string, sig syscall.Signal, script string) (exit int, line string) {
	t.Helper()
	cmd := runHelper(nil, only, "sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _ := out.Read(buf)
	cmd.Process.Signal(sig)
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(string(buf[:n]))
}

// Killed outright, the lab takes the command with it.
func TestLiveRunKilled(t *testing.T) {
	needUserNamespaces(t)
	for _, only := range []string{"pid", "user,pid", "uts", "user"} {
		// The outer /proc tells the shell's PID outside.
		_, line := signalled(t, only, unix.SIGKILL,
			"while read k v; do [ $k = Pid: ] && echo $v; done < /proc/self/status; exec sleep 100")
		var pid int
		fmt.Sscan(line, &pid)
		if pid < 2 {
			t.Fatalf("only %s: PID %q", only, line)
		}
		waitGone(t, pid)
	}
}

func TestLiveRunContext(t *testing.T) {
	needUserNamespaces(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	exit, err := Run(ctx, RunConfig{Command: []string{"sleep", "100"}, Env: os.Environ()})
	if exit != 2 || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("%d, %v", exit, err)
	}
}

// Orphans are reaped: a zombie would stay until the namespace ends.
func TestLiveRunReaps(t *testing.T) {
	needUserNamespaces(t)
	r := finish(t, runHelper(nil, "", "sh", "-c",
		`(sh -c 'exec sleep 0.05 & :') ; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z '; true`))
	if r.out != "0\n" {
		t.Errorf("%+v", r)
	}
}

// TestLookUp finds programs by the PATH that is given, not by the caller's own.
func TestLookUp(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{a + "/text": 0o644, b + "/text": 0o755, b + "/program": 0o755} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(a+"/program", 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=" + a, "PATH=" + a + ":" + b}
	t.Chdir(b)
	for _, c := range []struct {
		program, want, why string
		env                []string
	}{
		{"text", b + "/text", "", env},
		{"program", b + "/program", "", env},
		{"missing", "", "not found", env},
		{"", "", "not found", env},
		{"sh", "", "not found", env},
		{"text", "", "permission denied", []string{"PATH=" + a, "PATH=" + b}},
		{"program", "", "is a directory", []string{"PATH=" + a + "/text:" + a}},
		// Without a PATH there is a default one, and an empty element is where one is.
		{"sh", "/bin/sh", "", []string{"HOME=" + a + ":" + b}},
		{"program", "", "not found", nil},
		{"program", "./program", "", []string{"PATH="}},
		{"program", "./program", "", []string{"PATH=" + a + ":"}},
		{b + "/program", b + "/program", "", nil},
		{a + "/program", a + "/program", "is a directory", env},
		{a + "/missing", a + "/missing", "no such file", env},
		{a + "/text", a + "/text", "permission denied", env},
	} {
		got, err := lookUp(c.program, c.env)
		if got != c.want || (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %q, %v", c.program, got, err)
		}
	}
}
