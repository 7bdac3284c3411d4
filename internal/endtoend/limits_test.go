package endtoend

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// mega is 1 MiB; a limit of the kernel's is a whole number of pages.
const mega = 1 << 20

// setMemory and setCPU set a limit of version 1; 0 is none.
func setMemory(c *lt.Cgroup, bytes float64) {
	if bytes > 0 {
		c.Write("memory.limit_in_bytes", strconv.FormatFloat(bytes, 'f', -1, 64))
	}
}

func setCPU(c *lt.Cgroup, cpus float64) {
	if cpus > 0 {
		c.Write("cpu.cfs_period_us", "200000")
		c.Write("cpu.cfs_quota_us", strconv.FormatFloat(cpus*200000, 'f', -1, 64))
	}
}

// limitRead is a limit as the kernel's own files have it: +Inf for none.
func limitRead(t *testing.T, c *lt.Cgroup) float64 {
	t.Helper()
	read := func(file string) float64 {
		n, err := strconv.ParseFloat(strings.TrimSpace(lt.ReadFile(t, path.Join(c.Dir, file))), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	value := 0.0
	if c.Label == "memory" {
		if value = read("memory.limit_in_bytes"); value > math.MaxInt64/2 {
			return math.Inf(1)
		}
		return value
	}
	if value = read("cpu.cfs_quota_us"); value < 0 {
		return math.Inf(1)
	}
	return value / read("cpu.cfs_period_us")
}

// limitText is how a limit is told.
func limitText(label string, value float64) string {
	switch {
	case math.IsInf(value, 1):
		return "no limit"
	case label == "memory":
		return fmt.Sprintf("%.0f bytes", value)
	case value == 1:
		return "1 CPU"
	}
	return fmt.Sprintf("%v CPUs", value)
}

// A process in a private namespace whose cgroup says more than one above it, for
// all combinations that there are of three levels.
func TestLiveTighterAncestorLimit(t *testing.T) {
	for _, c := range []struct {
		label    string
		set      func(*lt.Cgroup, float64)
		top      float64
		mid      float64
		leaf     float64
		severity string
	}{
		{"memory", setMemory, 64 * mega, 0, 0, "info"},
		{"memory", setMemory, 0, 64 * mega, 0, "info"},
		{"memory", setMemory, 64 * mega, 0, 128 * mega, "warning"},
		{"memory", setMemory, 128 * mega, 64 * mega, 96 * mega, "warning"},
		{"memory", setMemory, 64 * mega, 0, 64 * mega, ""},
		{"memory", setMemory, 64 * mega, 32 * mega, 16 * mega, ""},
		{"memory", setMemory, 0, 0, 64 * mega, ""},
		{"memory", setMemory, 0, 0, 0, ""},
		{"cpu", setCPU, 0.5, 0, 0, "info"},
		{"cpu", setCPU, 0, 1, 0, "info"},
		{"cpu", setCPU, 2, 1.5, 0.5, ""},
		{"cpu", setCPU, 0, 0, 1, ""},
		{"cpu", setCPU, 0, 0, 0, ""},
	} {
		t.Run(fmt.Sprintf("%s/%v/%v/%v", c.label, c.top, c.mid, c.leaf), func(t *testing.T) {
			t.Parallel()
			needs(t, c.label)
			host, top := lt.NewHost(t), lt.NewCgroup(t, c.label)
			mid := top.Child("pod")
			leaf := mid.Child("container")
			c.set(top, c.top)
			c.set(mid, c.mid)
			c.set(leaf, c.leaf)
			s := boxed(t, host, leaf)
			freshAll(t, s)
			r := doctor(t, s.PID)
			tighter(t, r, s.PID, c.severity, leaf, mid, top)
		})
	}
}

// tighter holds the one finding, or that there is none, against the limits that
// the kernel has for a cgroup and those above it.
func tighter(t *testing.T, r *report, pid int, severity string, line ...*lt.Cgroup) {
	t.Helper()
	own := limitRead(t, line[0])
	least, at := own, line[0]
	for _, c := range line[1:] {
		if limit := limitRead(t, c); limit < least {
			least, at = limit, c
		}
	}
	if (least < own) != (severity != "") {
		t.Fatalf("the kernel has %v below %v", own, least)
	}
	list := r.about("tighter-ancestor-limit", pid)
	if severity == "" {
		if len(list) > 0 {
			t.Errorf("%s", dump(list))
		}
		return
	}
	if len(list) != 1 || list[0].Severity != severity || list[0].Hierarchy != line[0].Label {
		t.Fatalf("want one %s, but found %s", severity, dump(list))
	}
	label := line[0].Label
	want := map[string]any{"host_path": line[0].Path, "ancestor": at.Path, "limit": limitText(label, own), "ancestor_limit": limitText(label, least)}
	for key, value := range want {
		if list[0].Evidence[key] != value {
			t.Errorf("%s is %v, want %v", key, list[0].Evidence[key], value)
		}
	}
	if !strings.Contains(list[0].Message, fmt.Sprintf("says %s, but the cgroup %s above grants %s:", want["limit"], at.Path, want["ancestor_limit"])) {
		t.Errorf("%s", list[0].Message)
	}
}

// Who is on the host sees what is above it, and a sibling's limit is its own.
func TestLiveTighterNearMiss(t *testing.T) {
	needs(t, "memory")
	host, top := lt.NewHost(t), lt.NewCgroup(t, "memory")
	leaf, sibling := top.Child("leaf"), top.Child("sibling")
	setMemory(sibling, 32*mega)
	s := boxed(t, host, leaf)
	freshAll(t, s)
	doctor(t, s.PID).exactly(t)
	setMemory(top, 64*mega)
	onHost := own(t, host).Join(leaf)
	doctor(t, onHost.PID).exactly(t)
	doctor(t, s.PID).exactly(t, "tighter-ancestor-limit")
}

// Many cgroups below one ancestor that say the same are told once.
func TestLiveTighterTogether(t *testing.T) {
	needs(t, "memory")
	host, top := lt.NewHost(t), lt.NewCgroup(t, "memory")
	setMemory(top, 64*mega)
	s := boxed(t, host, top)
	freshAll(t, s)
	var pids []int
	for _, name := range []string{"a.service", "b.service", "c.service"} {
		pid := s.Sleep()
		top.Child(name).Add(pid)
		pids = append(pids, pid)
	}
	r := doctor(t, append(pids, s.PID)...)
	r.exactly(t, "tighter-ancestor-limit")
	if f := r.one(t, "tighter-ancestor-limit", "info", "memory", pids...); f.Evidence["ancestor"] != top.Path || slices.Contains(f.PIDs, s.PID) {
		t.Errorf("%s", dump(f))
	}
}

// Real containers below a cgroup with a memory limit: what they are told to have
// is what they read themselves, and what they get is what the kernel has above.
func TestLiveContainerLimits(t *testing.T) {
	for name, c := range map[string]struct {
		own      float64
		severity string
		run      func(t *testing.T, host *lt.Shell, top *lt.Cgroup, own float64) int
	}{
		"runc, more":        {64 * mega, "warning", runcBelow(true)},
		"runc, none":        {0, "info", runcBelow(true)},
		"runc, less":        {16 * mega, "", runcBelow(true)},
		"runc, on the host": {64 * mega, "warning", runcBelow(false)},
		"podman, more":      {64 * mega, "warning", podmanBelow},
		"nspawn, none":      {0, "info", nspawnBelow},
		"bwrap, none":       {0, "info", bwrapBelow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, "memory")
			host, top := lt.NewHost(t), lt.NewCgroup(t, "memory")
			lt.RemoveCgroups(t, strings.Trim(top.Path, "/")) // of this name in other hierarchies
			setMemory(top, 32*mega)
			pid := c.run(t, host, top, c.own)
			at := lt.HostView(t, pid).Paths()["memory"]
			leaf := &lt.Cgroup{Label: "memory", Path: at, Dir: path.Join(lt.MountOf(t, "memory"), at)}
			tighter(t, doctor(t, pid), pid, c.severity, leaf, top)
			for _, m := range ownReading(t, pid).Mounts() {
				if m.Label != "memory" {
					continue
				}
				rest := strings.TrimPrefix(ownReading(t, pid).Paths()["memory"], strings.TrimSuffix(m.Root, "/"))
				reads := strings.TrimSpace(inside(t, pid, path.Join(m.Point, rest, "memory.limit_in_bytes")).Stdout)
				if want := strings.TrimSpace(lt.ReadFile(t, path.Join(leaf.Dir, "memory.limit_in_bytes"))); reads != want {
					t.Errorf("it reads %q, and its cgroup has %q", reads, want)
				}
			}
		})
	}
}

func runcBelow(private bool) func(*testing.T, *lt.Shell, *lt.Cgroup, float64) int {
	return func(t *testing.T, host *lt.Shell, top *lt.Cgroup, own float64) int {
		lt.Need(t, lt.Programs("runc"))
		id := lt.UniqueName(t)
		_, _, pid := runRunc(t, host, id, bundle(t, private, func(config map[string]any) {
			linux := config["linux"].(map[string]any)
			linux["cgroupsPath"] = path.Join(top.Path, id)
			if own > 0 {
				linux["resources"].(map[string]any)["memory"] = map[string]any{"limit": int(own)}
			}
		}))
		return pid
	}
}

func podmanBelow(t *testing.T, host *lt.Shell, top *lt.Cgroup, own float64) int {
	return runPodman(t, host, podman(t, host), strings.Trim(top.Path, "/"), fmt.Sprintf("--cgroupns private --memory %.0f", own))
}

func nspawnBelow(t *testing.T, host *lt.Shell, top *lt.Cgroup, _ float64) int {
	return runNspawn(t, host, host.Fork().Join(top.Child("machine")))
}

func bwrapBelow(t *testing.T, host *lt.Shell, top *lt.Cgroup, _ float64) int {
	lt.Need(t, lt.Programs("bwrap"))
	s := host.Fork().Join(top.Child("sandbox"))
	return s.Background("sleep", "bwrap", "--die-with-parent", "--bind", busyboxRoot(t), "/", "--ro-bind", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "sleep", "10000")
}
