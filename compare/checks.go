package compare

import (
	"fmt"
	"slices"

	"nsinspect/inspect"
)

// Check is one thing that doctor looks for. A new check is one entry here, one
// function, and its text in docs/checks.md.
type Check struct {
	Name string
	// Severity is that of its findings; Also is another one that some of them
	// have, or empty.
	Severity, Also Severity
	run            func(*Diagnosis) []*Finding
	// examined counts the processes that it was able to judge.
	examined func(*Diagnosis) int
	// headline says in a few words what n findings of it mean.
	headline func(n int) string
}

// Checks are all checks, in the order in which they run and are told.
var Checks = []Check{
	{"dead-root", Error, "", (*Diagnosis).deadRoot, ofGroups(sawPaths),
		plural("cgroup namespace root was removed", "cgroup namespace roots were removed")},
	{"stale-mount-root", Error, Warning, (*Diagnosis).staleMountRoot, ofGroups(sawMounts),
		plural("cgroup mount shows the wrong tree", "cgroup mounts show the wrong tree")},
	{"process-outside-root", Error, "", (*Diagnosis).processOutsideRoot, ofGroups(sawPaths),
		plural("cgroup namespace root was left by processes", "cgroup namespace roots were left by processes")},
	{"path-not-under-mount", Error, "", (*Diagnosis).pathNotUnderMount, ofGroups(sawMounts),
		plural("hierarchy cannot be reached through its mounts", "hierarchies cannot be reached through their mounts")},
	{"foreign-mount-root", Warning, "", (*Diagnosis).foreignMountRoot, ofGroups(sawMounts),
		plural("cgroup mount shows a neighbour's tree", "cgroup mounts show a neighbour's tree")},
	{"controller-mount-missing", Warning, Info, (*Diagnosis).controllerMountMissing, ofGroups(sawBothMounts),
		plural("mount namespace lacks a controller's mount", "mount namespaces lack controllers' mounts")},
	{"controller-unscoped", Warning, "", (*Diagnosis).controllerUnscoped, ofGroups(sawContainer),
		plural("container is at the root of a hierarchy", "containers are at the root of hierarchies")},
	{"manager-cgroup-readonly", Error, "", (*Diagnosis).managerCgroupReadonly, ofGroups(sawPlace),
		plural("manager cannot make cgroups", "managers cannot make cgroups")},
	{"cgroup-driver-mismatch", Error, Warning, (*Diagnosis).cgroupDriverMismatch, ofGroups(sawCgroups),
		plural("mix of cgroup drivers", "mixes of cgroup drivers")},
	{"writable-host-hierarchy", Warning, "", (*Diagnosis).writableHostHierarchy, ofGroups(sawPIDNS),
		plural("mount namespace can write the host's hierarchy", "mount namespaces can write the host's hierarchies")},
	{"systemd-root-offset", Warning, "", (*Diagnosis).systemdRootOffset, (*Diagnosis).firstSeen,
		plural("systemd is not at its hierarchy's root", "systemds are not at their hierarchies' roots")},
	{"tighter-ancestor-limit", Info, Warning, (*Diagnosis).tighterAncestorLimit, ofGroups(sawLimits),
		plural("limit is tighter above a cgroup than in it", "limits are tighter above cgroups than in them")},
	{"extra-mount-outside-root", Info, "", (*Diagnosis).extraMountOutsideRoot, ofGroups(sawMounts),
		plural("wider cgroup mount beside a good one", "wider cgroup mounts beside good ones")},
	{"duplicate-hierarchy-mount", Info, Warning, (*Diagnosis).duplicateHierarchyMount, ofGroups(sawMounts),
		plural("mount namespace has a hierarchy twice", "mount namespaces have a hierarchy twice")},
	{"partial-submount", Info, "", (*Diagnosis).partialSubmount, ofGroups(sawPlace),
		plural("mount shows a part where nobody is", "mounts show parts where nobody is")},
	{"bind-leaf", Info, "", (*Diagnosis).bindLeaf, ofGroups(sawPlace),
		plural("mount namespace has its own cgroups bound", "mount namespaces have their own cgroups bound")},
	{"host-cgroupns-in-container", Info, "", (*Diagnosis).hostCgroupnsInContainer, ofGroups(sawContainer),
		plural("container shares the host's cgroup namespace", "containers share the host's cgroup namespace")},
	{"delegation-not-enforced", Info, "", (*Diagnosis).delegationNotEnforced, (*Diagnosis).membersSeen,
		plural("cgroup2 without nsdelegate", "cgroup2 without nsdelegate")},
	{"threads-differ", Info, "", (*Diagnosis).threadsDiffer, (*Diagnosis).threadsSeen,
		plural("process has threads elsewhere", "processes have threads elsewhere")},
	{"namespace-without-process", Info, "", (*Diagnosis).namespaceWithoutProcess, (*Diagnosis).filesSeen,
		plural("cgroup namespace without a process", "cgroup namespaces without a process")},
	{"visitor", Info, "", (*Diagnosis).visitor, ofGroups(sawPaths),
		plural("namespace has visitors", "namespaces have visitors")},
	{"no-cgroup-mount", Info, "", (*Diagnosis).noCgroupMount, ofGroups(sawTable),
		plural("mount namespace without cgroup mounts", "mount namespaces without cgroup mounts")},
	{"reader-not-initial", Info, "", (*Diagnosis).readerNotInitial, (*Diagnosis).readerSeen,
		plural("reader in a private cgroup namespace", "readers in private cgroup namespaces")},
	{"incomplete", Info, "", (*Diagnosis).incomplete, (*Diagnosis).processes,
		plural("part of the host not seen", "parts of the host not seen")},
}

// ofHost are the checks of the host as a whole, which are left out where only
// some processes are judged.
var ofHost = []string{"delegation-not-enforced", "namespace-without-process"}

func (d *Diagnosis) leavesOut(c Check) bool { return d.only != nil && slices.Contains(ofHost, c.Name) }

// Headline says in a few words what n findings of a check mean.
func Headline(check string, n int) string {
	for _, c := range Checks {
		if c.Name == check {
			return c.headline(n)
		}
	}
	return check
}

func plural(one, more string) func(int) string {
	return func(n int) string { return count(n, one, more) }
}

// count is a number of things, in words.
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// faultKey is what one fault belongs to: it is told once for all the processes
// that have it.
type faultKey struct {
	cgroupNS, mntNS uint64
	root            string
	hierarchy       string
	mount           int
}

// faults collects the findings of one check.
type faults struct {
	list []*Finding
	by   map[faultKey]*Finding
}

func newFaults() *faults { return &faults{by: map[faultKey]*Finding{}} }

// at returns the finding for a key, and whether it is new; it then is about g's
// first task. In either case g's tasks are among those it touches.
func (f *faults) at(k faultKey, g *group, tasks []inspect.Task) (*Finding, bool) {
	found, ok := f.by[k]
	if !ok {
		found = &Finding{
			CgroupNS: k.cgroupNS, MntNS: k.mntNS, PID: tasks[0].PID, Evidence: map[string]any{}, task: tasks[0],
		}
		if t := found.task; t.TID != t.PID {
			found.Evidence["thread"] = t.TID
		}
		if g.subject != nil && g.subject.Process.PID == found.PID {
			found.Command = g.subject.Process.Command
		}
		found.Verify = []string{"nsinspect", "doctor", fmt.Sprint(found.PID)}
		f.by[k] = found
		f.list = append(f.list, found)
	}
	found.PIDs = merge(found.PIDs, pids(tasks))
	return found, !ok
}

// merge adds numbers to a sorted list.
func merge(list, more []int) []int {
	list = append(list, more...)
	slices.Sort(list)
	return slices.Compact(list)
}

// eachView runs do for every hierarchy of the groups that were read in their
// own view and are no visitors. Whatever a check tells, it was read there.
func (d *Diagnosis) eachView(do func(*group, *HierarchyView)) {
	for _, g := range d.groups {
		if g.subject == nil || len(g.tasks) == 0 {
			continue
		}
		for i := range g.views {
			do(g, &g.views[i])
		}
	}
}

func mountKey(g *group, v *HierarchyView, m *MountView) faultKey {
	return faultKey{cgroupNS: g.task().CgroupNS, mntNS: g.task().MntNS, root: g.task().Root, hierarchy: v.Hierarchy.Label, mount: m.ID}
}

// paths puts what a view rests on into a finding's evidence.
func (f *Finding) paths(v *HierarchyView, m *MountView) {
	f.Hierarchy = v.Hierarchy
	f.Evidence["host_path"] = v.HostPath
	f.Evidence["namespace_path"] = v.NamespacePath
	f.Evidence["root_directory"] = nil
	if v.RootDirectory != "" {
		f.Evidence["root_directory"] = v.RootDirectory
	}
	if m != nil {
		f.Mount = m
		f.Evidence["namespace_root"] = m.NamespaceRoot
		f.Evidence["mount_point"] = m.MountPoint
	}
}

// probeAt makes a finding ask whether the kernel lists the process where the
// mount point and its path lead to.
func (f *Finding) probeAt(g *group, v *HierarchyView, m *MountView) {
	if v.NamespacePath == "" || v.Outside() {
		f.Evidence["not_confirmed"] = "its path leads outside the namespace's root directory"
		return
	}
	path := "."
	if v.NamespacePath != "/" {
		path = v.NamespacePath[1:]
	}
	f.probe = &inspect.Probe{Task: g.subject.Process.Task, Mount: m.Mount, Path: path}
}
