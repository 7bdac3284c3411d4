package endtoend

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	lt "nsinspect/internal/livetest"
)

// world is a script for the first process of a PID namespace, so that nothing
// comes or goes between a live answer and one from a capture. $F is a cgroup of
// the test's, $M the mount that shows it, $O a directory for the answers.
const world = `
set -e
into() { # CGROUP COMMAND...: a child in that cgroup, which must be there
	cg=$1; shift
	sh -c 'echo 0 > "$0/cgroup.procs"; exec "$@"' "$F/$cg" "$@" &
	pid=$!
}
fresh='umount "$M" && mount -t cgroup -o freezer freezer "$M" && exec sleep 600'
mkdir "$F/stale" "$F/healthy" "$F/moved" "$F/elsewhere" "$F/dead" "$F/dead/root" "$F/host"
into stale unshare -C -m --propagation private sleep 600; stale=$pid
into healthy unshare -C -m --propagation private sh -c "$fresh"; healthy=$pid
into moved unshare -C -m --propagation private sh -c "$fresh"; moved=$pid
into dead/root unshare -C -m --propagation private sh -c "$fresh"; dead=$pid
sleep 0.7
nsenter -t $stale -C -m sleep 600 & visitor=$!
into host setpriv --reuid 65534 --regid 65534 --clear-groups sleep 600; plain=$pid
echo $moved > "$F/elsewhere/cgroup.procs"
echo $dead > "$F/dead/cgroup.procs"
rmdir "$F/dead/root"
sleep 2.3 # none of them is new any more
run() { echo 4999 > /proc/sys/kernel/ns_last_pid; "$N" "$@"; } # always as process 5000
run capture > "$O/host.tar"
run capture -z > "$O/host.tar.gz"
run capture --pid $stale > "$O/one.tar"
echo "stale=$stale healthy=$healthy moved=$moved dead=$dead visitor=$visitor plain=$plain" > "$O/pids"
n=0
ask() {
	status=0
	run "$@" > "$O/$n.want" 2> "$O/$n.err" || status=$?
	echo "$status $*" >> "$O/asked"
	n=$((n + 1))
}
for p in $stale $healthy $moved $dead $visitor $plain 1; do
	for o in table json; do
		ask show -o $o $p
		ask compare -o $o $p
		ask compare -o $o $p $stale $plain
		ask doctor -o $o $p
	done
done
for o in table wide json; do
	ask list -o $o
	ask list --threads -o $o
	ask doctor -o $o
	ask doctor --threads -o $o
	ask doctor --open-files --fail-on info -o $o
done
kill $stale $healthy $moved $dead $visitor $plain
wait
`

// inWorld runs that script and returns where it left its answers, and the IDs
// of its processes.
func inWorld(t *testing.T) (dir string, pids map[string]int) {
	t.Helper()
	lt.Need(t, lt.Root, lt.Hierarchies("freezer"), lt.Programs("unshare", "nsenter", "setpriv", "mount", "umount"))
	cg := lt.NewCgroup(t, "freezer")
	mount := lt.MountOf(t, "freezer")
	dir = t.TempDir()
	env := fmt.Sprintf("N=%s F=%s M=%s O=%s", lt.Quote(lt.CopyBinary(t, dir)), lt.Quote(cg.Dir), lt.Quote(mount), lt.Quote(dir))
	out := lt.Execute(t, "unshare", "-p", "-f", "-m", "--propagation", "private", "--mount-proc", "--kill-child",
		"sh", "-c", "export "+env+"\n"+world)
	if out.Status != 0 {
		t.Fatalf("exit status %d\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
	pids = map[string]int{}
	for _, f := range strings.Fields(lt.ReadFile(t, filepath.Join(dir, "pids"))) {
		name, number, _ := strings.Cut(f, "=")
		var pid int
		if _, err := fmt.Sscan(number, &pid); err != nil {
			t.Fatal(err)
		}
		pids[name] = pid
	}
	return dir, pids
}

// TestLiveCapture holds what the commands answer live against what they answer
// from a capture: as root, as nobody, compressed, and through a pipe.
func TestLiveCapture(t *testing.T) {
	dir, pids := inWorld(t)
	holdsSituation(t, filepath.Join(dir, "host.tar"), pids)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	parents(t, dir)
	nobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"}
	binary := filepath.Join(dir, "nsinspect")
	asked := strings.Split(strings.TrimSpace(lt.ReadFile(t, filepath.Join(dir, "asked"))), "\n")
	if len(asked) != 7*2*4+3*5 {
		t.Fatalf("%d questions were asked", len(asked))
	}
	for n, line := range asked {
		f := strings.Fields(line)
		want := lt.ReadFile(t, filepath.Join(dir, fmt.Sprint(n)+".want"))
		wantErr := lt.ReadFile(t, filepath.Join(dir, fmt.Sprint(n)+".err"))
		for _, how := range [][]string{
			append(append([]string{binary}, f[1:]...), "--from", filepath.Join(dir, "host.tar")),
			append(append(slices.Concat(nobody, []string{binary}), f[1:]...), "--from", filepath.Join(dir, "host.tar.gz")),
		} {
			got := lt.Execute(t, how...)
			got.Stderr = fromCapture(t, how[len(how)-1], got.Stderr)
			if got.Stdout != want || got.Stderr != wantErr || fmt.Sprint(got.Status) != f[0] {
				t.Errorf("%q:\n%s", how, difference(want+wantErr+"status "+f[0], got.Stdout+got.Stderr+fmt.Sprint("status ", got.Status)))
			}
		}
	}
	pipe := lt.Execute(t, "sh", "-c", lt.Quote(binary)+" doctor --from - < "+lt.Quote(filepath.Join(dir, "host.tar")))
	if file := lt.Execute(t, binary, "doctor", "--from", filepath.Join(dir, "host.tar")); pipe != file {
		t.Errorf("through a pipe:\n%s", difference(file.Stdout, pipe.Stdout))
	}
	partial(t, dir, binary, pids["stale"])
}

// fromCapture is what is said live: a line less, and commands to go on with do
// not name the archive.
func fromCapture(t *testing.T, archive, stderr string) string {
	t.Helper()
	first, rest, _ := strings.Cut(stderr, "\n")
	if !strings.HasPrefix(first, "nsinspect: this is a capture") {
		t.Errorf("it does not say that this is a capture: %s", stderr)
	}
	return strings.ReplaceAll(rest, " --from "+archive, "")
}

// parents lets others pass through the test's directories.
func parents(t *testing.T, dir string) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// holdsSituation holds that what is compared is what it should be: the capture
// tells the faults that the script made, each of its process.
func holdsSituation(t *testing.T, archive string, pids map[string]int) {
	t.Helper()
	var r report
	out := lt.Run(t, "doctor", "--json", "--from", archive)
	if err := json.Unmarshal([]byte(out.Stdout), &r); err != nil || out.Status != 1 {
		t.Fatalf("exit status %d, %v\n%s%s", out.Status, err, out.Stdout, out.Stderr)
	}
	for check, name := range map[string]string{"stale-mount-root": "stale", "dead-root": "dead", "process-outside-root": "moved", "visitor": "visitor"} {
		var of []int
		for _, f := range r.Findings {
			if f.Check == check && f.Hierarchy == "freezer" || f.Check == check && check == "visitor" {
				of = append(of, f.PIDs...)
				if check == "stale-mount-root" && (!isTrue(f.Confirmed) || f.Remedy.Safe != nil || len(f.Remedy.Notes) == 0) {
					// Who lives outside the PID namespace of the script is not known.
					t.Errorf("%s is told without its confirmation, or as safe to mend: %s", check, dump(f))
				}
			}
		}
		if !slices.Contains(of, pids[name]) {
			t.Errorf("%s is told of %v, and not of %d", check, of, pids[name])
		}
		if check != "visitor" && slices.Contains(of, pids["healthy"]) {
			t.Errorf("%s is told of a healthy process", check)
		}
	}
}

// partial holds that a capture of one process gives its verdict, and has no more
// than that takes.
func partial(t *testing.T, dir, binary string, pid int) {
	t.Helper()
	one := filepath.Join(dir, "one.tar")
	for _, command := range []string{"show", "compare", "doctor"} {
		whole := lt.Execute(t, binary, command, "--json", fmt.Sprint(pid), "--from", filepath.Join(dir, "host.tar"))
		part := lt.Execute(t, binary, command, "--json", fmt.Sprint(pid), "--from", one)
		if whole.Stdout != part.Stdout || whole.Status != part.Status {
			t.Errorf("%s, from a capture of one process:\n%s", command, difference(whole.Stdout, part.Stdout))
		}
	}
	var r report
	if err := json.Unmarshal([]byte(lt.Execute(t, binary, "doctor", "--json", "--from", one).Stdout), &r); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.PID != 0 && f.PID != pid && f.Check != "visitor" {
			t.Errorf("a capture of %d tells of %d: %s", pid, f.PID, dump(f))
		}
	}
}

// difference shows the lines around the first one that differs.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	n := 0
	for n < min(len(w), len(g)) && w[n] == g[n] {
		n++
	}
	part := func(lines []string) string {
		return strings.Join(lines[max(0, min(n, len(lines))-3):min(len(lines), n+8)], "\n")
	}
	return fmt.Sprintf("line %d, live:\n%s\nfrom the capture:\n%s", n+1, part(w), part(g))
}

// TestLiveCaptureBusy makes captures while a process is moved to and fro: its two
// views must be of the same moment.
func TestLiveCaptureBusy(t *testing.T) {
	lt.Need(t, lt.Root, lt.Hierarchies("freezer"), lt.Programs("unshare"))
	host, top := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	box := top.Child("box")
	places := []*lt.Cgroup{box.Child("a"), box.Child("b"), top.Child("elsewhere")}
	views := map[string]string{"/box/a": "/a", "/box/b": "/b", "/elsewhere": "/../elsewhere", "/box": "/"}
	s := boxed(t, host, box)
	pid := fmt.Append(nil, s.PID)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := os.WriteFile(filepath.Join(places[n%len(places)].Dir, "cgroup.procs"), pid, 0); err != nil {
				stopped <- err
				return
			}
			time.Sleep(time.Duration(n%5) * time.Millisecond)
		}
	}()
	known := 0
	archive := filepath.Join(t.TempDir(), "host.tar")
	for range 12 {
		out := lt.Run(t, "capture")
		if out.Status != 0 || os.WriteFile(archive, []byte(out.Stdout), 0o600) != nil {
			t.Fatalf("exit status %d: %s", out.Status, out.Stderr)
		}
		var c comparison
		seen := lt.Run(t, "compare", "--json", fmt.Sprint(s.PID), "--from", archive)
		if err := json.Unmarshal([]byte(seen.Stdout), &c); err != nil || seen.Status != 0 {
			t.Fatalf("exit status %d, %v: %s", seen.Status, err, seen.Stderr)
		}
		h := c.at(t, "freezer")
		if h.NamespacePath == "" {
			continue // it said that the process moved too fast
		}
		known++
		if want, ok := views[strings.TrimPrefix(h.HostPath, top.Path)]; !ok || h.NamespacePath != want {
			t.Errorf("%s is seen as %s from within, want %s", h.HostPath, h.NamespacePath, want)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if known == 0 {
		t.Error("it was never seen from within")
	}
}

// changing are the system calls that open files, or change something.
const changing = "open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,mknod,mknodat,mount,umount2,execve,kill"

// TestLiveCapturePrivacy holds what a capture does not have unless asked for,
// and that making one writes nothing anywhere.
func TestLiveCapturePrivacy(t *testing.T) {
	lt.Need(t, lt.Root, lt.Programs("strace"))
	host := lt.NewHost(t)
	host.Do("export NSINSPECT_SECRET=envirosecret")
	pid := host.Background("sleep", "sleep", "86400.125")
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	for _, with := range [][]string{nil, {"--with-cmdline"}} {
		archive := filepath.Join(dir, "host.tar")
		out := lt.Execute(t, append([]string{"strace", "-f", "-qq", "-e", "trace=" + changing, "-o", trace, lt.Binary(t), "capture"}, with...)...)
		if out.Status != 0 || out.Stderr != "" {
			t.Fatalf("exit status %d: %s", out.Status, out.Stderr)
		}
		if err := os.WriteFile(archive, []byte(out.Stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		names := entries(t, archive)
		cmdline, ok := names[fmt.Sprintf("proc/%d/cmdline", pid)]
		if ok != (with != nil) || ok && cmdline != "sleep\x0086400.125\x00" {
			t.Errorf("with %v the command line is %q, %v", with, cmdline, ok)
		}
		for name, text := range names {
			if strings.Contains(text, "envirosecret") || strings.HasSuffix(name, "/environ") {
				t.Errorf("%s holds an environment", name)
			}
		}
		if want := lt.ReadFile(t, fmt.Sprintf("/proc/%d/cgroup", pid)); names[fmt.Sprintf("proc/%d/cgroup", pid)] != want {
			t.Errorf("proc/%d/cgroup is %q, want %q", pid, names[fmt.Sprintf("proc/%d/cgroup", pid)], want)
		}
		writesNothing(t, lt.ReadFile(t, trace))
		if replayed := lt.Execute(t, "strace", "-f", "-qq", "-e", "trace="+changing, "-o", trace, lt.Binary(t), "doctor", "--from", archive); replayed.Status > 1 {
			t.Errorf("doctor: %s", replayed.Stderr)
		}
		writesNothing(t, lt.ReadFile(t, trace))
	}
}

// writesNothing looks for a call that could change anything: nsinspect's own
// start is the only program that is executed.
func writesNothing(t *testing.T, trace string) {
	t.Helper()
	opened := 0
	call := regexp.MustCompile(`^\d+ +(\w+)\(`)
	for _, line := range strings.Split(trace, "\n") {
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue // the second half of a call, or a signal
		}
		switch m[1] {
		case "open", "openat", "openat2":
			opened++
			if regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE`).MatchString(line) {
				t.Errorf("it writes: %s", line)
			}
		case "execve":
			if !strings.Contains(line, "/proc/") && !strings.Contains(line, "nsinspect") {
				t.Errorf("it executes: %s", line)
			}
		default:
			t.Errorf("it changes something: %s", line)
		}
	}
	if opened < 1 {
		t.Errorf("nothing was seen to be opened in %d bytes of trace", len(trace))
	}
}

// entries are an archive's files.
func entries(t *testing.T, archive string) map[string]string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = string(text) + h.Linkname
	}
}

// TestCaptureToTerminal holds that no archive is ever written to a terminal.
func TestCaptureToTerminal(t *testing.T) {
	out := lt.Execute(t, "script", "-qec", lt.Quote(lt.Binary(t), "capture"), "/dev/null")
	want := "nsinspect: standard output is a terminal, and a capture is for a file: nsinspect capture > host.tar\r\n"
	if out.Stdout != want || out.Status != 2 {
		t.Errorf("exit status %d, %q; want 2, %q", out.Status, out.Stdout, want)
	}
}
