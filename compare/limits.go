package compare

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"nsinspect/inspect"
)

// limit is a resource whose limit of an ancestor binds its descendants too.
type limit struct {
	name  string // what is limited
	label string // the hierarchy, "unified", or the v1 controller
	files []string
	// parse gives the limit in unit; +Inf for none. ok is false if the files do
	// not say.
	parse func(texts []string) (value float64, ok bool)
	unit  func(float64) string
	// binding is the file that says whether the limit is that of descendants
	// too; empty: it always is.
	binding string
}

var limits = []limit{
	{"memory", "unified", []string{"memory.max"}, parseMax, bytesText, ""},
	{"CPU", "unified", []string{"cpu.max"}, parseCPUMax, cpusText, ""},
	{"memory", "memory", []string{"memory.limit_in_bytes"}, parseLimitInBytes, bytesText, "memory.use_hierarchy"},
	{"CPU", "cpu", []string{"cpu.cfs_quota_us", "cpu.cfs_period_us"}, parseQuota, cpusText, ""},
}

// of tells whether the limit belongs to a hierarchy.
func (l *limit) of(h *inspect.Hierarchy) bool {
	if h.Version() == 2 {
		return l.label == "unified"
	}
	for _, c := range h.Controllers {
		if c == l.label {
			return true
		}
	}
	return false
}

// line is a cgroup and its ancestors, the leaf first, as file questions of one
// limit: what it is and, last, whether it binds.
func (d *Diagnosis) line(l *limit, v *HierarchyView) [][]inspect.FileQuestion {
	m, rel, ok := d.hostMount(v.Hierarchy.Label, v.HostPath)
	if !ok {
		return nil
	}
	var line [][]inspect.FileQuestion
	add := func(at string) {
		var files []inspect.FileQuestion
		for _, name := range l.files {
			files = append(files, inspect.FileQuestion{MountPoint: m.MountPoint, Path: at, Name: name})
		}
		if l.binding != "" {
			files = append(files, inspect.FileQuestion{MountPoint: m.MountPoint, Path: at, Name: l.binding})
		}
		line = append(line, files)
	}
	for at := rel; at != "" && at != "."; at = at[:max(strings.LastIndexByte(at, '/'), 0)] {
		add(at)
	}
	add(".")
	return line
}

// eachLimited runs do for each limit of the confined groups that has others
// above it.
func (d *Diagnosis) eachLimited(do func(*group, *HierarchyView, *limit, [][]inspect.FileQuestion)) {
	for _, g := range d.groups {
		if len(g.tasks) == 0 || !d.confined(g) {
			continue
		}
		for i := range g.views {
			for j := range limits {
				v := &g.views[i]
				if limits[j].of(v.Hierarchy) {
					if line := d.line(&limits[j], v); len(line) > 1 {
						do(g, v, &limits[j], line)
					}
				}
			}
		}
	}
}

// confined tells whether a group cannot see what lies above it: it lives in a
// cgroup namespace other than the reader's, or in a container.
func (d *Diagnosis) confined(g *group) bool {
	return g.task().CgroupNS != d.host.Reader.CgroupNS || d.container(g)
}

// limitFiles are the files that the check on ancestors' limits reads.
func (d *Diagnosis) limitFiles() []inspect.FileQuestion {
	if !d.tells("tighter-ancestor-limit") {
		return nil
	}
	var list []inspect.FileQuestion
	d.eachLimited(func(_ *group, _ *HierarchyView, _ *limit, line [][]inspect.FileQuestion) {
		for _, files := range line {
			list = append(list, files...)
		}
	})
	return list
}

// tighterAncestorLimit finds processes whose cgroup says more than an ancestor
// grants. It is a note where the cgroup sets no limit at all, and a warning
// where it promises one that it cannot keep. The cgroups below one ancestor that
// say the same are told together.
func (d *Diagnosis) tighterAncestorLimit() []*Finding {
	found := newFaults()
	d.eachLimited(func(g *group, v *HierarchyView, l *limit, line [][]inspect.FileQuestion) {
		leaf, ok := d.limitOf(l, line[0])
		if !ok {
			return
		}
		tightest, at := leaf, ""
		for i, files := range line[1:] {
			if value, ok := d.limitOf(l, files); ok && value < tightest && d.binds(l, files) {
				tightest, at = value, ancestor(v.HostPath, i+1)
			}
		}
		if at == "" {
			return
		}
		k := faultKey{cgroupNS: g.task().CgroupNS, mntNS: g.task().MntNS, hierarchy: l.name + " " + l.unit(leaf) + " " + at}
		f, isNew := found.at(k, g, g.tasks)
		if !isNew {
			return
		}
		f.Hierarchy = v.Hierarchy
		f.Evidence["host_path"], f.Evidence["ancestor"] = v.HostPath, at
		f.Evidence["limit"], f.Evidence["ancestor_limit"] = l.unit(leaf), l.unit(tightest)
		f.Message = fmt.Sprintf("their %s limit says %s, but the cgroup %s above grants %s: runtimes that read only their own cgroup size themselves to too much", l.name, l.unit(leaf), at, l.unit(tightest))
		f.Remedy.Notes = []string{"set the limit on their own cgroup too, or tell the runtime (GOMAXPROCS, GOMEMLIMIT, -XX:MaxRAM)"}
		if !math.IsInf(leaf, 1) {
			f.Severity = Warning
		}
	})
	return found.list
}

// ancestor is the directory so many levels above a path.
func ancestor(path string, levels int) string {
	up, names := split(path)
	return join(up, names[:len(names)-levels])
}

// binds tells whether an ancestor's limit is known to be that of its descendants
// too. Since Linux 5.11 that of v1 memory is, and the file always says so.
func (d *Diagnosis) binds(l *limit, files []inspect.FileQuestion) bool {
	if l.binding == "" {
		return true
	}
	a, ok := d.facts.files[files[len(l.files)]]
	return ok && (a.Missing || a.Err == "" && strings.TrimSpace(a.Text) == "1")
}

func (d *Diagnosis) limitOf(l *limit, files []inspect.FileQuestion) (float64, bool) {
	var texts []string
	for _, q := range files[:len(l.files)] {
		a, ok := d.facts.files[q]
		if a.Missing && l.label == "unified" {
			return math.Inf(1), true // the controller is not enabled there (cgroup.subtree_control)
		}
		if !ok || a.Err != "" {
			return 0, false
		}
		texts = append(texts, strings.TrimSpace(a.Text))
	}
	return l.parse(texts)
}

// parseMax reads memory.max of cgroup v2: bytes or "max".
func parseMax(texts []string) (float64, bool) {
	if texts[0] == "max" {
		return math.Inf(1), true
	}
	n, err := strconv.ParseUint(texts[0], 10, 64)
	return float64(n), err == nil
}

// noLimit is where v1's memory.limit_in_bytes begins to mean none: the largest
// whole page (PAGE_COUNTER_MAX).
const noLimit = math.MaxInt64 / 65536 * 65536

// parseLimitInBytes reads memory.limit_in_bytes of cgroup v1.
func parseLimitInBytes(texts []string) (float64, bool) {
	n, err := strconv.ParseUint(texts[0], 10, 64)
	if err == nil && n >= noLimit {
		return math.Inf(1), true
	}
	return float64(n), err == nil
}

// parseCPUMax reads cpu.max of cgroup v2, "QUOTA PERIOD" in microseconds, as a
// number of CPUs.
func parseCPUMax(texts []string) (float64, bool) {
	quota, period, ok := strings.Cut(texts[0], " ")
	if !ok {
		return 0, false
	}
	if quota == "max" {
		return math.Inf(1), true
	}
	return cpus(quota, period)
}

// parseQuota reads cpu.cfs_quota_us and cpu.cfs_period_us of cgroup v1; a
// negative quota is none.
func parseQuota(texts []string) (float64, bool) {
	if strings.HasPrefix(texts[0], "-") {
		return math.Inf(1), true
	}
	return cpus(texts[0], texts[1])
}

func cpus(quota, period string) (float64, bool) {
	q, err1 := strconv.ParseUint(quota, 10, 64)
	p, err2 := strconv.ParseUint(period, 10, 64)
	if err1 != nil || err2 != nil || p == 0 {
		return 0, false
	}
	return float64(q) / float64(p), true
}

func bytesText(n float64) string {
	if math.IsInf(n, 1) {
		return "no limit"
	}
	return fmt.Sprintf("%d bytes", uint64(n))
}

func cpusText(n float64) string {
	if math.IsInf(n, 1) {
		return "no limit"
	}
	if n == 1 {
		return "1 CPU"
	}
	return strconv.FormatFloat(n, 'f', -1, 64) + " CPUs"
}
