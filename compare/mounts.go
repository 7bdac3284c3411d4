package compare

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// controllerMountMissing finds v1 hierarchies that the host has mounted and the
// process, which has others, has not.
func (d *Diagnosis) controllerMountMissing() []*Finding {
	found := newFaults()
	sized := map[*Finding]bool{}
	d.eachView(func(g *group, v *HierarchyView) {
		if !d.missing(g, v) {
			return
		}
		f, isNew := found.at(placeKey(g), g, g.tasks)
		f.note("hierarchies", v.Hierarchy.Label)
		if isNew {
			f.Remedy.Notes = []string{"mount each of them where its tools look for it, with all of its controllers, as the host does"}
		}
		sized[f] = sized[f] || slices.ContainsFunc(v.Hierarchy.Controllers, func(c string) bool { return slices.Contains(sizing, c) })
	})
	for _, f := range found.list {
		hurt := "runtimes and kubelets that need them fail or fall back to the host's size"
		if !sized[f] {
			f.Severity = Info
			hurt = "what manages or measures by them fails"
		}
		f.Message = fmt.Sprintf("no mount of %s is visible to them, though others are: %s", strings.Join(f.noted("hierarchies"), " "), hurt)
	}
	return found.list
}

// sizing are the controllers by which runtimes and kubelets find their size: a
// JVM or a kubelet wants all of them or has none. The others are missed by few.
var sizing = []string{"cpu", "cpuacct", "cpuset", "memory"}

// missing tells whether a process has no mount of a v1 hierarchy, but of others,
// and the host has one.
func (d *Diagnosis) missing(g *group, v *HierarchyView) bool {
	return v.Verdict == VerdictNone && d.onHost(v) && g.mountsV1()
}

// lacksMount tells whether any is missing.
func (d *Diagnosis) lacksMount(g *group) bool {
	for i := range g.views {
		if d.missing(g, &g.views[i]) {
			return true
		}
	}
	return false
}

// onHost tells whether a v1 hierarchy with controllers is mounted where the
// reader is: one that nobody mounts is nobody's fault.
func (d *Diagnosis) onHost(v *HierarchyView) bool {
	if v.Hierarchy.Version() != 1 || len(v.Hierarchy.Controllers) == 0 {
		return false
	}
	_, _, ok := d.hostMount(v.Hierarchy.Label, v.HostPath)
	return ok
}

// mountsV1 tells whether some v1 controller is visibly mounted.
func (g *group) mountsV1() bool {
	for i := range g.views {
		v := &g.views[i]
		if v.Hierarchy.Version() == 1 && len(v.Hierarchy.Controllers) > 0 && v.Verdict != VerdictNone && v.Verdict != VerdictUnknown {
			return true
		}
	}
	return false
}

// bindLeaf finds v1 mounts of just the container's own cgroup, as runtimes bind
// them into a container that keeps the host's cgroup namespace.
func (d *Diagnosis) bindLeaf() []*Finding {
	found := newFaults()
	d.eachPlace(func(g *group) {
		for i := range g.views {
			v := &g.views[i]
			m := v.Good()
			if v.Hierarchy.Version() != 1 || v.RootDirectory != "/" || m == nil || m.NamespaceRoot == "/" {
				continue
			}
			if strings.HasSuffix(m.MountPoint, m.NamespaceRoot) || v.mountedAt(m.MountPoint+m.NamespaceRoot) {
				continue // mount point and path lead there all the same
			}
			f, isNew := found.at(placeKey(g), g, g.tasks)
			f.note("hierarchies", v.Hierarchy.Label)
			if isNew {
				f.Evidence["namespace_path"], f.Evidence["namespace_root"], f.Evidence["mount_point"] = v.NamespacePath, m.NamespaceRoot, m.MountPoint
				f.Message = fmt.Sprintf("their v1 mounts show just %s, with which their path begins too: tools that join mount point and path look for it twice and fail (Go 1.25.4, cadvisor, podman)", m.NamespaceRoot)
				f.Remedy.Notes = []string{"give the container a private cgroup namespace, or cgroup v2; newer runtimes strip the mount's root from the path"}
			}
		}
	})
	return found.list
}

// mountedAt tells whether a visible mount of the hierarchy is at this point.
func (h *HierarchyView) mountedAt(point string) bool {
	for i := range h.Mounts {
		if h.Mounts[i].Visible && h.Mounts[i].MountPoint == point {
			return true
		}
	}
	return false
}

// partialSubmount finds, beside a good mount, one that shows a part of the
// namespace's tree in which the process is not.
func (d *Diagnosis) partialSubmount() []*Finding {
	found := newFaults()
	d.eachPlace(func(g *group) {
		for i := range g.views {
			v := &g.views[i]
			good := v.Good()
			for j := range v.Mounts {
				m := &v.Mounts[j]
				if good == nil || !m.Visible || m.Verdict != VerdictSub || Contains(m.NamespaceRoot, v.NamespacePath) {
					continue
				}
				f, isNew := found.at(mountKey(g, v, m), g, g.tasks)
				if isNew {
					f.paths(v, m)
					f.Message = fmt.Sprintf("it shows %s, where they are not, beside the good mount at %s: a tool that translates every mount of a controller gives up on it (automaxprocs)", m.NamespaceRoot, good.MountPoint)
				}
			}
		}
	})
	return found.list
}

// manyMounts is the number of mounts of one hierarchy from which they look like
// a leak rather than a layout.
const manyMounts = 32

// duplicateHierarchyMount finds hierarchies with several mounts that all show
// the process.
func (d *Diagnosis) duplicateHierarchyMount() []*Finding {
	found := newFaults()
	for _, g := range d.groups {
		if len(g.tasks) == 0 || !g.known() {
			continue
		}
		for i := range g.views {
			v := &g.views[i]
			points := v.goodPoints()
			if len(points) < 2 {
				continue
			}
			f, isNew := found.at(placeKey(g), g, g.tasks)
			f.note("hierarchies", v.Hierarchy.Label)
			if isNew || len(points) > len(f.noted("mount_points")) {
				f.Evidence["mount_points"] = points
				f.Message = fmt.Sprintf("%s is mounted %d times (first %s, last %s): tools take the first or the last, so what one of them sees another may not", v.Hierarchy.Label, len(points), points[0], points[len(points)-1])
			}
			if len(points) > manyMounts {
				f.Severity = Warning
			}
		}
	}
	for _, f := range found.list {
		if more := len(f.noted("hierarchies")) - 1; more > 0 {
			f.Message += " (" + count(more, "more hierarchy likewise", "more hierarchies likewise") + ")"
		}
	}
	return found.list
}

// goodPoints are the distinct mount points through which the process is found.
func (h *HierarchyView) goodPoints() []string {
	var points []string
	seen := map[string]bool{}
	for i := range h.Mounts {
		m := &h.Mounts[i]
		if m.Visible && m.Verdict.Healthy() && !seen[m.MountPoint] && Contains(m.NamespaceRoot, h.NamespacePath) {
			seen[m.MountPoint] = true
			points = append(points, m.MountPoint)
		}
	}
	return points
}

// runtimePath matches the cgroups that container runtimes make.
var runtimePath = regexp.MustCompile(`(^|[/:-])(docker|kubepods|libpod|lxc|ecs|crio|cri-containerd|machine\.slice)([/.:-]|$)`)

// controllerUnscoped finds containers that have their own cgroup in some v1
// hierarchies and sit at the root of others, which they can write.
func (d *Diagnosis) controllerUnscoped() []*Finding {
	found := newFaults()
	d.eachPlace(func(g *group) {
		for _, v := range d.unscoped(g) {
			f, isNew := found.at(placeKey(g), g, g.tasks)
			f.note("hierarchies", v.Hierarchy.Label)
			if isNew {
				f.Evidence["host_path"] = g.runtimePath(1)
				f.Remedy.Notes = []string{"a runtime that knows these controllers scopes them; inside the container, unmount them and remove their mount points"}
			}
		}
	})
	for _, f := range found.list {
		f.Message = fmt.Sprintf("their runtime made no cgroup for them in %s, whose true root they can write: what a nested runtime makes there it leaves on the host, and root there can change all of it, release_agent too with CAP_SYS_ADMIN", strings.Join(f.noted("hierarchies"), " "))
	}
	return found.list
}

// unscoped are the hierarchies whose writable root a container sits at.
func (d *Diagnosis) unscoped(g *group) []*HierarchyView {
	if !d.container(g) || g.runtimePath(1) == "" {
		return nil
	}
	return slices.DeleteFunc(g.writableV1(), func(v *HierarchyView) bool {
		return v.HostPath != "/" || len(v.Hierarchy.Controllers) == 0
	})
}

// runtimePath is the longest path of a cgroup that a container runtime made for
// the group, in a hierarchy of these versions; empty: there is none.
func (g *group) runtimePath(versions ...int) string {
	path := ""
	for i := range g.views {
		v := &g.views[i]
		if slices.Contains(versions, v.Hierarchy.Version()) && runtimePath.MatchString(v.HostPath) && len(v.HostPath) > len(path) {
			path = v.HostPath
		}
	}
	return path
}

// writableRoot tells whether a visible mount shows the hierarchy's true root,
// as far as the reader can tell, and is not read-only.
func (h *HierarchyView) writableRoot() bool {
	for i := range h.Mounts {
		if m := &h.Mounts[i]; m.Visible && m.Root == "/" && !m.ReadOnly() {
			return true
		}
	}
	return false
}
