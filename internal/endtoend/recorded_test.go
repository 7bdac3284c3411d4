package endtoend

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Situations of hosts that this one is not, as captures written by hand after
// docs/capture.md: a cgroup v2 host with systemd, seen by a reader that is PID 1.

// recorded is such a capture.
type recorded struct {
	t       *testing.T
	archive bytes.Buffer
	tar     *tar.Writer
	files   []map[string]any
}

// The namespaces of the host, as their inodes are on all hosts.
const (
	hostCgroupNS, hostUserNS = 4026531835, 4026531837
	hostPIDNS, hostMntNS     = 4026531836, 4026531841
)

// recordedProcess is one of its processes. It lives on the host unless ns is
// set, which is then the number of all its namespaces but the user namespace.
type recordedProcess struct {
	pid    int
	comm   string
	cgroup string
	ns     int
	root   string // in its own view its cgroup is below this directory
}

const cgroup2Options = "rw,nsdelegate,memory_recursiveprot"

func newRecorded(t *testing.T, first recordedProcess, options string) *recorded {
	t.Helper()
	r := &recorded{t: t}
	r.tar = tar.NewWriter(&r.archive)
	r.link("proc/self", "1")
	r.file("proc/uptime", "100000.00 90000.00\n")
	r.file("proc/sys/kernel/osrelease", "6.1.0\n")
	r.add(first, options)
	return r
}

func (r *recorded) write(h *tar.Header, text string) {
	r.t.Helper()
	h.Size, h.Mode = int64(len(text)), 0o644
	if err := r.tar.WriteHeader(h); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.tar.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *recorded) file(name, text string) {
	r.t.Helper()
	r.write(&tar.Header{Name: name, Typeflag: tar.TypeReg}, text)
}

func (r *recorded) link(name, text string) {
	r.t.Helper()
	r.write(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: text}, "")
}

// add takes in a process.
func (r *recorded) add(p recordedProcess, options string) {
	r.t.Helper()
	at := fmt.Sprintf("proc/%d/", p.pid)
	cgroupNS, mntNS, pidNS, numbers := hostCgroupNS, hostMntNS, hostPIDNS, fmt.Sprint(p.pid)
	if p.ns != 0 {
		cgroupNS, mntNS, pidNS, numbers = p.ns, p.ns+1, p.ns+2, fmt.Sprintf("%d\t1", p.pid)
	}
	for name, ns := range map[string]int{"cgroup": cgroupNS, "mnt": mntNS, "pid": pidNS, "user": hostUserNS} {
		r.link(at+"ns/"+name, fmt.Sprintf("%s:[%d]", name, ns))
	}
	r.link(at+"root", "/")
	r.file(at+"cgroup", "0::"+p.cgroup+"\n")
	r.file(at+"stat", fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 9000 0 0\n", p.pid, p.comm, min(p.pid-1, 1)))
	r.file(at+"status", fmt.Sprintf("Name:\t%s\nTgid:\t%d\nNSpid:\t%s\nUid:\t0\t0\t0\t0\n", p.comm, p.pid, numbers))
	if p.ns == 0 {
		if p.pid == 1 {
			r.file(at+"mountinfo", mounts("8:1", "/", "rw", options))
		}
		return
	}
	r.file(at+"mountinfo", mounts(fmt.Sprintf("0:%d", p.pid), p.root, "ro", options))
	view := fmt.Sprintf("views/%d/%d/", cgroupNS, p.pid)
	r.file(view+"cgroup", "0::"+path.Clean("/"+strings.TrimPrefix(p.cgroup, p.root))+"\n")
	r.file(view+"mountinfo", mounts(fmt.Sprintf("0:%d", p.pid), "/", "ro", options))
}

// mounts are a root file system and cgroup2 in it.
func mounts(device, root, flags, options string) string {
	return fmt.Sprintf("23 1 %s / / rw - ext4 /dev/root rw\n30 23 0:26 %s /sys/fs/cgroup %s,nosuid - cgroup2 cgroup2 %s\n", device, root, flags, options)
}

// cgroupFile has a cgroup's file say a text; one that says nothing is missing.
func (r *recorded) cgroupFile(cgroup, name, text string) {
	r.files = append(r.files, map[string]any{
		"mount_point": "/sys/fs/cgroup", "path": strings.TrimPrefix(cgroup, "/"), "name": name,
		"text": text, "missing": text == "", "error": map[bool]string{true: "no such file or directory"}[text == ""],
	})
}

// doctor is what doctor says of it.
func (r *recorded) doctor(args ...string) *report {
	r.t.Helper()
	answers, err := json.Marshal(map[string]any{
		"format":       1,
		"reader":       map[string]any{"pid": 1, "cgroup_ns": hostCgroupNS, "uid": 0, "can_enter": true, "same_pids": true, "whole_host": true},
		"cgroup_files": r.files,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.file("answers.json", string(answers))
	if err := r.tar.Close(); err != nil {
		r.t.Fatal(err)
	}
	name := filepath.Join(r.t.TempDir(), "host.tar")
	if err := os.WriteFile(name, r.archive.Bytes(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	stdout, stderr, _ := run(append([]string{"doctor", "-J", "--from", name}, args...)...)
	var d report
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || fromCapture(r.t, name, stderr) != "" {
		r.t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	if d.Coverage.Skipped > 0 || len(d.Skipped) > 0 {
		r.t.Fatalf("not all of it was looked at: %s", dump(d))
	}
	return &d
}

var systemd = recordedProcess{pid: 1, comm: "systemd", cgroup: "/init.scope"}

// A node where pods of two cgroup drivers live.
func TestRecordedTwoDrivers(t *testing.T) {
	const cgroupfs, systemds = "/kubepods/burstable/pod1f2e/9a8b", "/kubepods.slice/kubepods-pod3c4d.slice/cri-containerd-7e6f.scope"
	for name, c := range map[string]struct {
		cgroups []string
		told    bool
	}{
		"both":        {[]string{cgroupfs, systemds}, true},
		"cgroupfs":    {[]string{cgroupfs, "/system.slice/kubelet.service"}, false},
		"systemd":     {[]string{systemds, "/system.slice/kubelet.service"}, false},
		"kind's node": {[]string{"/docker/5b6a" + cgroupfs, systemds}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorded(t, systemd, cgroup2Options)
			for i, cgroup := range c.cgroups {
				r.add(recordedProcess{pid: 70 + i, comm: "app", cgroup: cgroup, ns: 4026532000 + 10*i, root: cgroup}, cgroup2Options)
			}
			d := r.doctor()
			if !c.told {
				d.exactly(t)
				return
			}
			d.exactly(t, "cgroup-driver-mismatch")
			if f := d.one(t, "cgroup-driver-mismatch", "warning", "", 70, 71); f.Evidence["host_path"] != cgroupfs || f.Evidence["systemd_path"] != systemds {
				t.Errorf("%s", dump(f))
			}
		})
	}
}

// cgroup2 with nsdelegate and without, with a private namespace and without.
func TestRecordedDelegation(t *testing.T) {
	for _, private := range []bool{true, false} {
		for _, options := range []string{cgroup2Options, "rw,memory_recursiveprot", "rw"} {
			t.Run(fmt.Sprintf("%v/%s", private, options), func(t *testing.T) {
				r := newRecorded(t, systemd, options)
				if private {
					r.add(recordedProcess{pid: 70, comm: "app", cgroup: "/docker/1f2e", ns: 4026532000, root: "/docker/1f2e"}, options)
				}
				d := r.doctor()
				if !private || options == cgroup2Options {
					d.exactly(t)
					return
				}
				d.exactly(t, "delegation-not-enforced")
				if f := d.one(t, "delegation-not-enforced", "info", ""); f.Evidence["private_processes"] != 1.0 || f.Evidence["mount_point"] != "/sys/fs/cgroup" {
					t.Errorf("%s", dump(f))
				}
			})
		}
	}
}

// Where systemd is on a host, and where WSL put it.
func TestRecordedSystemdRootOffset(t *testing.T) {
	for cgroup, told := range map[string]bool{
		"/init.scope": false, "/": false, "/wsl-user/distro-280/init.scope": true, "/system.slice/init.scope": true,
	} {
		t.Run(cgroup, func(t *testing.T) {
			r := newRecorded(t, recordedProcess{pid: 1, comm: "systemd", cgroup: cgroup}, cgroup2Options)
			r.add(recordedProcess{pid: 70, comm: "systemd", cgroup: "/user.slice/user-1000.slice/user@1000.service/init.scope"}, cgroup2Options)
			d := r.doctor()
			if !told {
				d.exactly(t)
				return
			}
			d.exactly(t, "systemd-root-offset")
			if f := d.one(t, "systemd-root-offset", "warning", "unified", 1); f.Evidence["host_path"] != cgroup {
				t.Errorf("%s", dump(f))
			}
		})
	}
}

// Limits of cgroup v2 on a pod and on the container in it.
func TestRecordedTighterAncestorLimit(t *testing.T) {
	const all, pod, leaf = "/kubepods.slice", "/kubepods.slice/kubepods-pod1f2e.slice", "/kubepods.slice/kubepods-pod1f2e.slice/cri-containerd-9a8b.scope"
	for name, c := range map[string]struct {
		file           string
		all, pod, leaf string // empty: the controller is not enabled there
		severity       string
		at, says       string
		grants         string
	}{
		"a pod's memory":            {"memory.max", "max", "1073741824", "max", "info", pod, "no limit", "1073741824 bytes"},
		"the node's memory":         {"memory.max", "8589934592", "max", "max", "info", all, "no limit", "8589934592 bytes"},
		"more than the pod's":       {"memory.max", "8589934592", "1073741824", "2147483648", "warning", pod, "2147483648 bytes", "1073741824 bytes"},
		"memory, not enabled":       {"memory.max", "8589934592", "1073741824", "", "info", pod, "no limit", "1073741824 bytes"},
		"less than the pod's":       {"memory.max", "8589934592", "1073741824", "1073741823", "", "", "", ""},
		"no memory limit":           {"memory.max", "max", "max", "max", "", "", "", ""},
		"a pod's CPU":               {"cpu.max", "max 100000", "150000 100000", "max 100000", "info", pod, "no limit", "1.5 CPUs"},
		"another period":            {"cpu.max", "max 100000", "50000 100000", "50000 50000", "warning", pod, "1 CPU", "0.5 CPUs"},
		"the same, another period":  {"cpu.max", "max 100000", "50000 100000", "25000 50000", "", "", "", ""},
		"CPU, not enabled anywhere": {"cpu.max", "", "", "", "", "", "", ""},
		"not a limit":               {"cpu.max", "max 100000", "50000", "max 100000", "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorded(t, systemd, cgroup2Options)
			r.add(recordedProcess{pid: 70, comm: "app", cgroup: leaf, ns: 4026532000, root: leaf}, cgroup2Options)
			for _, f := range []struct{ cgroup, text string }{{all, c.all}, {pod, c.pod}, {leaf, c.leaf}} {
				if f.text != "" {
					f.text += "\n"
				}
				r.cgroupFile(f.cgroup, c.file, f.text)
			}
			d := r.doctor()
			if c.severity == "" {
				d.exactly(t)
				return
			}
			d.exactly(t, "tighter-ancestor-limit")
			f := d.one(t, "tighter-ancestor-limit", c.severity, "unified", 70)
			for key, want := range map[string]string{"host_path": leaf, "ancestor": c.at, "limit": c.says, "ancestor_limit": c.grants} {
				if f.Evidence[key] != want {
					t.Errorf("%s is %v, want %s", key, f.Evidence[key], want)
				}
			}
		})
	}
}
