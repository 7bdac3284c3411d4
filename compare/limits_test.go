package compare

import (
	"math"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// TestParseLimits has what the kernel prints in these files.
func TestParseLimits(t *testing.T) {
	none := math.Inf(1)
	for _, c := range []struct {
		name  string
		parse func([]string) (float64, bool)
		texts []string
		want  float64 // NaN: the files do not say
	}{
		{"memory.max", parseMax, []string{"max"}, none},
		{"memory.max", parseMax, []string{"536870912"}, 536870912},
		{"memory.max", parseMax, []string{"0"}, 0},
		{"memory.max", parseMax, []string{""}, math.NaN()},
		{"memory.max", parseMax, []string{"-1"}, math.NaN()},
		{"memory.max", parseMax, []string{"1.5"}, math.NaN()},
		{"memory.limit_in_bytes", parseLimitInBytes, []string{"9223372036854771712"}, none}, // pages of 4 KiB
		{"memory.limit_in_bytes", parseLimitInBytes, []string{"9223372036854710272"}, none}, // pages of 64 KiB
		{"memory.limit_in_bytes", parseLimitInBytes, []string{"18446744073709551615"}, none},
		{"memory.limit_in_bytes", parseLimitInBytes, []string{"536870912"}, 536870912},
		{"memory.limit_in_bytes", parseLimitInBytes, []string{"max"}, math.NaN()},
		{"cpu.max", parseCPUMax, []string{"max 100000"}, none},
		{"cpu.max", parseCPUMax, []string{"50000 100000"}, 0.5},
		{"cpu.max", parseCPUMax, []string{"250000 100000"}, 2.5},
		{"cpu.max", parseCPUMax, []string{"max"}, math.NaN()},
		{"cpu.max", parseCPUMax, []string{"1000 0"}, math.NaN()},
		{"cpu.max", parseCPUMax, []string{"x 100000"}, math.NaN()},
		{"cpu.max", parseCPUMax, []string{"50000 y"}, math.NaN()},
		{"cpu.cfs_quota_us", parseQuota, []string{"-1", "100000"}, none},
		{"cpu.cfs_quota_us", parseQuota, []string{"150000", "100000"}, 1.5},
		{"cpu.cfs_quota_us", parseQuota, []string{"150000", ""}, math.NaN()},
	} {
		got, ok := c.parse(c.texts)
		if ok == math.IsNaN(c.want) || ok && got != c.want {
			t.Errorf("%s %q: %v, %v; want %v", c.name, c.texts, got, ok, c.want)
		}
	}
	for want, got := range map[string]string{
		"536870912 bytes": bytesText(536870912), "no limit": bytesText(none), "0.5 CPUs": cpusText(0.5), "2 CPUs": cpusText(2),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// limited is a container at /pod/ctr, and the limits of it and of those above.
func limited(t *testing.T, label string, files map[string]string) *world {
	p := docker(70, label)
	p.at[0].host, p.mounts[0].root = "/pod/ctr", "/pod/ctr"
	w := newWorld(t, label).add(p)
	for name, text := range files {
		w.files[usual(label)+name] = text + "\n"
	}
	return w
}

func TestTighterAncestorLimit(t *testing.T) {
	const check = "tighter-ancestor-limit"
	for _, c := range []struct {
		name  string
		label string
		files map[string]string
		want  string // severity; "": nothing is told
	}{
		{"the pod has less", "unified", map[string]string{"/pod/ctr/memory.max": "max", "/pod/memory.max": "536870912"}, "info"},
		{"the container promises more", "unified", map[string]string{"/pod/ctr/memory.max": "536870913", "/pod/memory.max": "536870912"}, "warning"},
		{"both have the same", "unified", map[string]string{"/pod/ctr/memory.max": "536870912", "/pod/memory.max": "536870912"}, ""},
		{"the pod has more", "unified", map[string]string{"/pod/ctr/memory.max": "1", "/pod/memory.max": "2"}, ""},
		{"neither has any", "unified", map[string]string{"/pod/ctr/memory.max": "max", "/pod/memory.max": "max"}, ""},
		{"the pod's cannot be read", "unified", map[string]string{"/pod/ctr/memory.max": "max"}, ""},
		{"the pod's is odd", "unified", map[string]string{"/pod/ctr/memory.max": "max", "/pod/memory.max": "?"}, ""},
		{"the controller ends at the pod", "unified", map[string]string{"/pod/memory.max": "536870912"}, "info"},
		{"v1 has the file everywhere", "memory", map[string]string{"/pod/memory.limit_in_bytes": "1048576"}, ""},
		{"CPU", "unified", map[string]string{"/pod/ctr/cpu.max": "max 100000", "/pod/cpu.max": "200000 100000"}, "info"},
		{"CPU in other periods", "unified", map[string]string{"/pod/ctr/cpu.max": "50000 50000", "/pod/cpu.max": "100000 100000"}, ""},
		{"v1 memory", "memory", map[string]string{"/pod/ctr/memory.limit_in_bytes": "9223372036854771712", "/pod/memory.limit_in_bytes": "1048576"}, "info"},
		{"v1 memory, of all together", "memory", map[string]string{
			"/pod/ctr/memory.limit_in_bytes": "1048577", "/pod/memory.limit_in_bytes": "1048576", "/pod/ctr/memory.use_hierarchy": "0", "/pod/memory.use_hierarchy": "1",
		}, "warning"},
		{"v1 memory, of each alone", "memory", map[string]string{
			"/pod/ctr/memory.limit_in_bytes": "1048577", "/pod/memory.limit_in_bytes": "1048576", "/pod/ctr/memory.use_hierarchy": "1", "/pod/memory.use_hierarchy": "0",
		}, ""},
		{"v1 CPU", "cpu,cpuacct", map[string]string{
			"/pod/ctr/cpu.cfs_quota_us": "-1", "/pod/ctr/cpu.cfs_period_us": "100000", "/pod/cpu.cfs_quota_us": "150000", "/pod/cpu.cfs_period_us": "100000",
		}, "info"},
		{"v1 CPU, half read", "cpu,cpuacct", map[string]string{
			"/pod/ctr/cpu.cfs_quota_us": "-1", "/pod/ctr/cpu.cfs_period_us": "100000", "/pod/cpu.cfs_quota_us": "150000",
		}, ""},
		{"another controller", "freezer", map[string]string{"/pod/ctr/memory.max": "max", "/pod/memory.max": "1"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []string
			if c.want != "" {
				want = []string{c.want + " " + check + " " + c.label + " 70"}
			}
			limited(t, c.label, c.files).expects(check, want...)
		})
	}
}

// Whether an ancestor's limit binds at all may not be known: then it is not told.
func TestUnknownBinding(t *testing.T) {
	w := limited(t, "memory", map[string]string{"/pod/ctr/memory.limit_in_bytes": "2", "/pod/memory.limit_in_bytes": "1"})
	w.answered = func(a *inspect.Answers) {
		for i, q := range w.asked.Files[len(w.asked.Files)-len(a.Files):] {
			if q.Name == "memory.use_hierarchy" {
				a.Files[i] = inspect.FileAnswer{Err: "permission denied"}
			}
		}
	}
	w.expects("tighter-ancestor-limit")
	w.answered = nil // there is no such file: the kernel knows no other way
	w.expects("tighter-ancestor-limit", "warning tighter-ancestor-limit memory 70")
}

// The tightest of several, and where it is.
func TestTightestAncestor(t *testing.T) {
	w := limited(t, "unified", map[string]string{
		"/.a/b/..ctr/memory.max": "max", "/.a/b/memory.max": "400", "/.a/memory.max": "300", "/.a/b/cpu.max": "max 100000", "/.a/b/..ctr/cpu.max": "max 100000",
	})
	w.procs[2].at[0].host, w.procs[2].mounts[0].root = "/.a/b/..ctr", "/.a/b/..ctr"
	f := w.one(w.doctor(), "tighter-ancestor-limit")
	if f.Evidence["ancestor"] != "/.a" || f.Evidence["ancestor_limit"] != "300 bytes" || f.Evidence["limit"] != "no limit" || f.Evidence["host_path"] != "/.a/b/..ctr" {
		t.Errorf("%v", f.Evidence)
	}
	if !strings.Contains(f.Message, "memory limit says no limit, but the cgroup /.a above grants 300 bytes") {
		t.Error(f.Message)
	}
}

// A reader whose own mount shows a part of the hierarchy tells the paths as they
// are called in its view, and what the mount's root grants.
func TestAncestorOfPartialReader(t *testing.T) {
	w := limited(t, "unified", map[string]string{"/a/ctr/memory.max": "max", "/a/memory.max": "300"})
	w.procs[0].mounts[0].root = "/pod"
	w.procs[2].at[0].host, w.procs[2].mounts[0].root = "/pod/a/ctr", "/pod/a/ctr"
	if f := w.one(w.doctor(), "tighter-ancestor-limit"); f.Evidence["ancestor"] != "/pod/a" {
		t.Errorf("%v", f.Evidence)
	}
	w.files["/sys/fs/cgroup/unified/memory.max"] = "200"
	if f := w.one(w.doctor(), "tighter-ancestor-limit"); f.Evidence["ancestor"] != "/pod" || f.Evidence["ancestor_limit"] != "200 bytes" {
		t.Errorf("%v", f.Evidence)
	}
}

// Paths that no kernel makes, as a recorded procfs may hold, lead to no end.
func TestLimitsOfOddPaths(t *testing.T) {
	for _, path := range []string{"//pod", "//", "/pod//ctr/", "/.//..", "/pod/../ctr"} {
		w := limited(t, "unified", nil)
		w.procs[2].at[0].host = path
		w.expects("tighter-ancestor-limit")
		if n := len(w.asked.Files); n > 10 {
			t.Errorf("%q: %d files are asked for", path, n)
		}
	}
}

// Who sees what lies above is not told; nor is anything read for it.
func TestLimitsOfTheHostItself(t *testing.T) {
	w := limited(t, "unified", map[string]string{"/pod/ctr/memory.max": "max", "/pod/memory.max": "1"})
	w.procs[2].rootfs = "8:1 /"
	w.expects("tighter-ancestor-limit")
	if len(w.asked.Files) != 0 {
		t.Errorf("%v", w.asked.Files)
	}
	w.procs[2].ns, w.procs[2].at[0].own, w.procs[2].mounts[0].own = boxNS, "/", "/"
	w.expects("tighter-ancestor-limit", "info tighter-ancestor-limit unified 70")
}
