package endtoend

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	lt "nsinspect/internal/livetest"
)

// within holds that something ends soon, whatever the target does.
func within(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > limit {
		t.Errorf("it took %v", took)
	}
}

// A FIFO where the cgroup's file would be: who opens it waits for ever.
func TestLiveHostileFIFO(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	point := lt.MountOf(t, "freezer")
	s := boxed(t, host, box)
	s.Do("mount -t tmpfs tmpfs %[1]s && mkfifo %[1]s/cgroup.procs %[1]s/tasks %[1]s/cgroup.threads", point)
	within(t, 5*time.Second, func() {
		likeKernel(t, s.PID)
		r := doctor(t, s.PID)
		if f := r.of("stale-mount-root", "freezer"); len(f) > 0 {
			t.Errorf("the mount is covered: %s", dump(f))
		}
		if f := r.of("controller-mount-missing", ""); len(f) != 1 || !slices.Equal(f[0].PIDs, []int{s.PID}) {
			t.Errorf("%s", dump(r.Findings))
		}
	})
}

// A FUSE file system above the mount point that never answers again: it is not
// asked, and that is said.
func TestLiveHostileFUSE(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	point := lt.MountOf(t, "freezer")
	s := boxed(t, host, box)
	freshOthers(t, s, "freezer")
	fuse := lt.NewFuse(t, s, "/mnt")
	s.Do("mount --bind %s /mnt/deep && umount %s", point, point)
	if err := fuse.Mute(); err != nil {
		t.Fatal(err)
	}
	if r := lt.Execute(t, "timeout", "1", "nsenter", "-t", strconv.Itoa(s.PID), "-m", "--", "stat", "/mnt/deep"); r.Status != 124 {
		t.Fatalf("it does answer: %+v", r)
	}
	within(t, 5*time.Second, func() {
		likeKernel(t, s.PID)
		f := doctor(t, s.PID).one(t, "stale-mount-root", "error", "freezer", s.PID)
		why, _ := f.Evidence["not_confirmed"].(string)
		if f.Confirmed != nil || !strings.Contains(why, "fuse") || f.Mount.MountPoint != "/mnt/deep" {
			t.Errorf("%s", dump(f))
		}
	})
}

// What the target calls mount, umount, nsenter or sh is never run.
func TestLiveHostilePrograms(t *testing.T) {
	needs(t, "freezer")
	lt.Need(t, lt.Programs("busybox"))
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	dir := t.TempDir()
	evil, trace := filepath.Join(dir, "evil"), filepath.Join(dir, "trace")
	if err := os.WriteFile(evil, []byte("#!/bin/busybox sh\necho \"$0\" >>"+trace+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := boxed(t, host, box)
	point := lt.MountOf(t, "freezer")
	freshOthers(t, s, "freezer")
	var plant []string
	for _, program := range []string{"umount", "nsenter", "readlink", "mount"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		plant = append(plant, "mount --bind "+evil+" "+path)
	}
	s.Do("%s", strings.Join(plant, " && "))
	f := doctor(t, s.PID).one(t, "stale-mount-root", "error", "freezer", s.PID)
	paste(t, jsonRemedy(f))
	if !kernelLists(t, s.PID, point) {
		t.Error("it is not mended")
	}
	if text, err := os.ReadFile(trace); !os.IsNotExist(err) {
		t.Errorf("the target's programs were run: %s %v", text, err)
	}
	if r := doctor(t, s.PID); len(r.Findings) > 0 {
		t.Errorf("%s", dump(r.Findings))
	}
}

// hostileNames are legal names of cgroups and processes. The kernel allows all
// bytes in them but "/" and, in cgroups, a newline.
var hostileNames = map[string]string{
	"escape":  "a\x1b]0;owned\x07\x1b[2J",
	"c1":      "c1-\u009b31m",
	"bidi":    "bidi-\u202egnp.exe",
	"bytes":   "bytes-\xff\xfe",
	"space":   "a b\tc",
	"octal":   `back\040slash`,
	"colon":   "pod.slice:cri:1,2",
	"deleted": "x (deleted)",
	"up":      "..x",
}

// Whatever things are called, a terminal sees text and JSON has the bytes.
func TestLiveHostileNames(t *testing.T) {
	for kind, name := range hostileNames {
		labels := []string{"freezer"}
		if kind == "bytes" || kind == "deleted" {
			labels = append(labels, "unified") // which marks what is deleted so
		}
		for _, label := range labels {
			t.Run(kind+"/"+label, func(t *testing.T) {
				t.Parallel()
				needs(t, label)
				host := lt.NewHost(t)
				box := lt.NewCgroup(t, label).Child(name)
				s := boxed(t, host, box)
				s.Do("printf %%s %s >/proc/$$/comm", lt.Quote(name[:min(len(name), 15)]))
				pid := strconv.Itoa(s.PID)
				if got := lt.HostView(t, s.PID).Paths()[label]; got != box.Path {
					t.Fatalf("the kernel shows %q, want %q", got, box.Path)
				}
				for _, args := range [][]string{{"list"}, {"show", pid}, {"compare", pid}, {"doctor", pid}} {
					for _, format := range []string{"table", "wide", "json"} {
						r := lt.Run(t, append(args, "-o", format)...)
						harmless(t, r.Stdout, format == "json")
						harmless(t, r.Stderr, false)
					}
				}
				pathBytes(t, lt.Run(t, "compare", "-J", pid).Stdout, label, box.Path)
				doctor(t, s.PID).one(t, "stale-mount-root", "error", label, s.PID)
			})
		}
	}
}

// harmless holds that nothing acts on a terminal. JSON escapes what it must by
// its own rules.
func harmless(t *testing.T, out string, isJSON bool) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("not UTF-8: %q", out)
	}
	for _, r := range out {
		bad := r < ' ' && r != '\n' || r == 0x7f
		if !isJSON {
			bad = bad || unicode.Is(unicode.Cc, r) && r != '\n' || unicode.Is(unicode.Bidi_Control, r)
		}
		if bad {
			t.Errorf("%U in %q", r, out)
			return
		}
	}
}

// pathBytes holds that JSON gives a path exactly, by its bytes where it is no
// UTF-8.
func pathBytes(t *testing.T, document, label, path string) {
	t.Helper()
	var c struct {
		Hierarchies []struct {
			Hierarchy      string
			HostPath       string `json:"host_path"`
			HostPathBase64 string `json:"host_path_base64"`
		}
	}
	if err := json.Unmarshal([]byte(document), &c); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.Hierarchies {
		if h.Hierarchy != label {
			continue
		}
		got := h.HostPath
		if !utf8.ValidString(path) {
			bytes, err := base64.StdEncoding.DecodeString(h.HostPathBase64)
			if err != nil {
				t.Fatal(err)
			}
			got = string(bytes)
		}
		if got != path {
			t.Errorf("%s: %q, want %q", label, got, path)
		}
		return
	}
	t.Errorf("no hierarchy %s in %s", label, document)
}

// A mount point with a control character in its name is told, but no commands
// are given to paste.
func TestLiveHostileMountPoint(t *testing.T) {
	needs(t, "freezer")
	host, box := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	point := lt.MountOf(t, "freezer")
	s := boxed(t, host, box)
	freshOthers(t, s, "freezer")
	name := "/mnt/a\x1b[31m\nrm -rf x"
	s.Do("mount -t tmpfs tmpfs /mnt && mkdir %[2]s && mount --bind %[1]s %[2]s && umount %[1]s", point, lt.Quote(name))
	f := doctor(t, s.PID).one(t, "stale-mount-root", "error", "freezer", s.PID)
	if f.Mount.MountPoint != name || !isTrue(f.Confirmed) || len(f.Remedy.Steps) > 0 || len(f.Remedy.Notes) == 0 {
		t.Errorf("%s", dump(f))
	}
	text := lt.Run(t, "doctor", strconv.Itoa(s.PID))
	harmless(t, text.Stdout, false)
	if strings.Contains(text.Stdout, "\nrm -rf") || strings.Contains(text.Stdout, "nsenter") || text.Status != 1 {
		t.Errorf("exit status %d\n%s", text.Status, text.Stdout)
	}
}

// Processes that are not there to be looked at: one line, status 2, no output.
func TestLiveNoSuchProcess(t *testing.T) {
	needs(t)
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := zombie.Wait(); err != nil {
			t.Error(err)
		}
	}()
	waitZombie(t, zombie.Process.Pid)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]string{zombie.Process.Pid: "zombie", gone.Process.Pid: "no such process"} {
		for _, command := range []string{"show", "compare", "doctor"} {
			for _, format := range []string{"table", "json"} {
				r := lt.Run(t, command, "-o", format, strconv.Itoa(pid))
				if r.Status != 2 || r.Stdout != "" || strings.Count(r.Stderr, "\n") != 1 || !strings.HasPrefix(r.Stderr, "nsinspect: ") || !strings.Contains(r.Stderr, want) {
					t.Errorf("%s -o %s, %s: %+v", command, format, want, r)
				}
			}
		}
	}
}

func waitZombie(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if strings.Contains(lt.ReadFile(t, fmt.Sprintf("/proc/%d/stat", pid)), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d does not end", pid)
}

// A kernel thread is a process like others.
func TestLiveKernelThread(t *testing.T) {
	needs(t)
	if comm := lt.ReadFile(t, "/proc/2/comm"); comm != "kthreadd\n" {
		lt.Cannot(t, "process 2 is %s", comm)
	}
	nothingSerious(t, 2)
	if r := lt.Run(t, "show", "2"); r.Status != 0 || !strings.Contains(r.Stdout, "kthreadd") || r.Stderr != "" {
		t.Errorf("%+v", r)
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// Standard output that is full is an error, one that is closed is not.
func TestLiveStandardOutput(t *testing.T) {
	needs(t)
	for _, args := range []string{"list", "show self", "compare self", "doctor self", "doctor -J self", "--help"} {
		r := lt.Execute(t, "sh", "-c", lt.Binary(t)+" "+args+" >/dev/full")
		if last := lastLine(r.Stderr); r.Status != 2 || !strings.HasPrefix(last, "nsinspect: write standard output: ") || !strings.Contains(last, "no space left on device") {
			t.Errorf("%s into a full device: %+v", args, r)
		}
		r = lt.Execute(t, "bash", "-c", lt.Binary(t)+" "+args+" | head -c 1; exit ${PIPESTATUS[0]}")
		if r.Status != 0 || strings.Contains(r.Stderr, "write") || strings.Contains(r.Stderr, "pipe") || len(r.Stdout) != 1 {
			t.Errorf("%s into a closed pipe: %+v", args, r)
		}
	}
}
