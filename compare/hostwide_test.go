package compare

import (
	"slices"
	"strings"
	"testing"

	"nsinspect/inspect"
)

func TestDelegationNotEnforced(t *testing.T) {
	const check = "delegation-not-enforced"
	for _, c := range []struct {
		name  string
		super string
		mount string // of the host's: what lies on it
		label string
		box   bool // somebody is in a private namespace
		told  bool
	}{
		{"nobody is private", "rw", "", "unified", false, false},
		{"somebody is", "rw", "", "unified", true, true},
		{"somebody is, and it is enforced", "rw,nsdelegate,memory_recursiveprot", "", "unified", true, false},
		{"a mount that is covered", "rw", "tmpfs", "unified", true, false},
		{"v1 has no such thing", "rw,freezer", "", "freezer", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.label)
			w.procs[0].mounts[0].super = c.super
			if c.mount != "" {
				w.procs[0].mounts = append(w.procs[0].mounts, mount{fs: c.mount, point: usual(c.label)})
			}
			if c.box {
				w.add(boxed(70, c.label, "/sub", "/", "/sub", "/"))
			}
			var want []string
			if c.told {
				want = []string{"info " + check}
			}
			w.expects(check, want...)
		})
	}
	w := newWorld(t, "unified")
	w.procs[0].mounts[0].super = "rw"
	w.add(boxed(70, "unified", "/sub", "/", "/sub", "/"), boxed(71, "unified", "/sub", "/", "/sub", "/"))
	w.add(proc{pid: 71, tid: 72, parent: 1, ns: boxNS, mnt: boxMnt, at: []at{{"unified", "/sub/t", "/t"}}}) // a thread is no process
	if f := w.one(w.doctor(), check); f.Evidence["private_processes"] != 2 || f.Evidence["mount_point"] != usual("unified") {
		t.Errorf("%v", f.Evidence)
	}
	r := w.doctor(70)
	if got := checked(r, check); got != nil || r.LeftOut != 2 || w.doctor().LeftOut != 0 {
		t.Errorf("of one process only: %q, left out: %d", got, r.LeftOut)
	}
	// Nor is the number the last word if one more may be private.
	for _, c := range []struct {
		more proc
		says string
	}{
		{proc{pid: 80, parent: 1, at: []at{{"unified", "/", ""}}}, "while 2 processes live in"},
		{proc{pid: 81, parent: 1, noNS: true, at: []at{{"unified", "/", ""}}}, "while at least 2 processes live in"},
	} {
		if f := w.add(c.more).one(w.doctor(), check); !strings.Contains(f.Message, c.says) {
			t.Errorf("want %q: %s", c.says, f.Message)
		}
	}
}

func TestCgroupDriverMismatch(t *testing.T) {
	const check = "cgroup-driver-mismatch"
	pod := func(pid int, path string) proc { return proc{pid: pid, parent: 1, at: []at{{"unified", path, ""}}} }
	const (
		mixed   = "/kubepods-besteffort.slice:cri-containerd:ab12"
		systemd = "/kubepods.slice/kubepods-pod7.slice/cri-containerd-ab12.scope"
		cgroups = "/kubepods/besteffort/pod7/ab12"
	)
	for _, c := range []struct {
		name  string
		paths []string
		want  []string
	}{
		{"a slice that was taken for a name", []string{mixed}, []string{"error " + check + " unified 70"}},
		{"two, told once", []string{mixed, "/system.slice:docker:x"}, []string{"error " + check + " unified 70 71"}},
		{"both drivers", []string{cgroups, systemd}, []string{"warning " + check + " 70 71"}},
		{"both, and a mixed one", []string{cgroups, systemd, mixed}, []string{"error " + check + " unified 72"}},
		{"one driver", []string{cgroups, "/kubepods/burstable/x"}, nil},
		{"the other one", []string{systemd, systemd + "x"}, nil},
		{"a colon elsewhere", []string{"/a.slice/b:c", "/a.slicer:docker:x", "/x.slice:dockerd:y"}, nil},
		{"pods of a node in a container", []string{"/kubelet/kubepods/x", "/kubelet/kubepods.slice/x"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "unified")
			for i, path := range c.paths {
				w.add(pod(70+i, path))
			}
			w.expects(check, c.want...)
		})
	}
}

func TestNamespaceWithoutProcess(t *testing.T) {
	const check = "namespace-without-process"
	w := newWorld(t, "freezer").add(boxed(70, "freezer", "/sub", "/", "/sub", "/"))
	w.open = []inspect.OpenNamespace{
		{PID: 500, FD: 7, NS: boxNS + 1}, {PID: 500, FD: 8, NS: boxNS}, {PID: 500, FD: 9, NS: initNS}, {PID: 501, FD: 3, NS: boxNS + 1},
	}
	f := w.one(w.doctor(), check)
	if f.CgroupNS != boxNS+1 || told(f) != "info "+check || !strings.HasSuffix(f.Message, "kept by file 3 of process 501, file 7 of process 500") {
		t.Errorf("%s: %s", told(f), f.Message)
	}
	if got := checked(w.doctor(70), check); got != nil {
		t.Errorf("of one process only: %q", got)
	}
	// Bind mounts, each told once though two tables have it.
	w.open = nil
	d := NewDiagnosis(w.scan(), nil)
	bind := []inspect.NamespaceMount{{NS: boxNS + 2, MountPoint: "/run/ns/kept"}, {NS: boxNS, MountPoint: "/run/ns/lived-in"}, {NS: initNS, MountPoint: "/run/ns/initial"}}
	d.host.Tables[inspect.TableKey{MntNS: hostMnt, Root: "/"}].Namespaces = bind
	d.host.Tables[inspect.TableKey{MntNS: hostMnt, Root: "/srv"}] = &inspect.MountTable{Namespaces: bind}
	list := d.namespaceWithoutProcess()
	if len(list) != 1 || list[0].CgroupNS != boxNS+2 || !slices.Equal(list[0].Evidence["kept_by"].([]string), []string{"bind mount at /run/ns/kept in mount namespace 4026531832"}) {
		t.Errorf("%+v", list)
	}
}

// TestSearchOpenFiles: all open files of a large host are looked at only where
// that is asked for, and the check says so.
func TestSearchOpenFiles(t *testing.T) {
	w := newWorld(t, "freezer")
	for pid := range 2000 {
		w.add(proc{pid: 10_000 + pid, parent: 1, at: []at{{"freezer", "/", ""}}})
	}
	examined := func(r *Report) int {
		i := slices.IndexFunc(r.Checks, func(c CheckResult) bool { return c.Check == "namespace-without-process" })
		return r.Checks[i].Examined
	}
	if r := w.doctor(); w.asked.OpenNamespaces || examined(r) != 0 {
		t.Errorf("asked: %v, examined %d", w.asked.OpenNamespaces, examined(r))
	}
	d := NewDiagnosis(w.scan(), nil)
	d.SearchOpenFiles()
	for q, more := d.Ask(); more; q, more = d.Ask() {
		d.Learn(w.answer(q))
	}
	if !w.asked.OpenNamespaces || examined(d.Report()) != 2002 {
		t.Errorf("asked: %v, examined %d", w.asked.OpenNamespaces, examined(d.Report()))
	}
	if small := newWorld(t, "freezer"); small.doctor() == nil || !small.asked.OpenNamespaces {
		t.Error("the files of a small host are not looked at")
	}
}
