package compare

import (
	"fmt"
	"slices"
	"strings"

	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// carried are the per-mount options that a fresh mount has to be given again
// (mount(8)); all others are the kernel's defaults, or not the mount's own.
var carried = []string{"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"}

// OwnOptions are those of a mount's options that are its own and no default.
func OwnOptions(m *inspect.Mount) []string {
	var options []string
	for _, flag := range carried {
		if slices.Contains(m.Options, flag) {
			options = append(options, flag)
		}
	}
	return options
}

// HierarchyOptions are what makes a mount one of a hierarchy: of v1 every
// controller (fewer are refused, EPERM: cgroup1_root_to_use in
// kernel/cgroup/cgroup-v1.c) or none, and the name. Super options are never
// copied.
func HierarchyOptions(h *inspect.Hierarchy) []string {
	if h.Version() == 2 {
		return nil
	}
	options := slices.Clone(h.Controllers)
	if len(options) == 0 {
		options = append(options, "none")
	}
	if h.Name != "" {
		options = append(options, "name="+h.Name)
	}
	return options
}

// MountOptions are what mount(8) has to be given to mount a hierarchy in a
// cgroup namespace in the place of an old mount.
func MountOptions(h *inspect.Hierarchy, old *inspect.Mount) []string {
	return append(OwnOptions(old), HierarchyOptions(h)...)
}

// hurt says whom a change of a task's mounts would hurt beside the task itself.
// safe is nil if that could not be found out.
func (d *Diagnosis) hurt(g *group, m *MountView) (safe *bool, notes []string) {
	if d.container(g) {
		return truth(false), []string{"its root file system is not the reader's: a container runtime or a volume made this mount, as it is meant for an agent that looks at the whole host; for any other workload configure it there (a private cgroup namespace, no bind mount of the host's /sys/fs/cgroup), since it is made so again at the next start"}
	}
	if d.host.Own == nil || d.host.Own.RootDev == "" {
		return nil, []string{"whether its root file system is the reader's could not be found out: run it on the host, outside of any chroot and with its own /proc"}
	}
	why := d.refusal(g.task(), m.ID)
	switch {
	case why.Why == "", why.Hurts != nil && !*why.Hurts:
		return truth(true), []string{"no other cgroup namespace uses this mount namespace"}
	case why.Hurts == nil:
		return nil, []string{why.Why + ": " + why.Hint}
	}
	return truth(false), []string{why.Why + ": " + why.Hint}
}

// mend writes the remedy of a stale mount. Steps are given only where they are
// safe to paste and will work.
func (d *Diagnosis) mend(f *Finding, g *group, v *HierarchyView, m *MountView) {
	safe, notes := d.hurt(g, m)
	f.Remedy = Remedy{Safe: safe, Notes: notes, Command: d.command(g, v, m)}
	if safe == nil || !*safe {
		return
	}
	if why := d.unmendable(g, v, m); why != "" {
		f.Remedy.Notes = append(f.Remedy.Notes, why)
		return
	}
	f.Remedy.Steps = steps(g.task(), v.Hierarchy, m)
}

// unmendable says why there are no commands to paste, or nothing.
func (d *Diagnosis) unmendable(g *group, v *HierarchyView, m *MountView) string {
	t := g.task()
	owner := d.owners[t.MntNS]
	switch {
	case v.life != Alive:
		return "no live process proves that the namespace's root directory still exists: a fresh mount might fail or show nothing, so no commands are given"
	case !printable.Is(m.MountPoint) || !printable.Is(m.Parent.MountPoint):
		return "the mount point's name has characters that are not safe to paste, so no commands are given"
	case m.Behind != "":
		return "the mount point lies behind a " + m.Behind + " mount, which may never answer: no commands are given"
	case t.Root != "/":
		return "its root directory is not that of its mount namespace, so the mount point's path would lead elsewhere: no commands are given"
	case owner == 0 || d.readerUserNS() == 0:
		return "who owns its mount namespace could not be found out, so no commands are given"
	case owner != d.readerUserNS() || owner != inspect.InitialUserNS: // for a reader in that one, too
		return "its mount namespace is owned by a user namespace: the inherited mount is locked and cannot be taken away, so make a fresh mount elsewhere in it and move it onto " + m.MountPoint
	case !m.Parent.Known || m.Parent.Shared && !m.Parent.Visible:
		return "the mount that it lies on cannot be named by a path, so whether the change would reach others cannot be controlled: no commands are given"
	case m.Submounts > 0:
		return fmt.Sprintf("%s upon it and would have to be taken away first, so no commands are given: 'nsinspect remount %d' tells whether it can keep what lies there", count(m.Submounts, "mount lies", "mounts lie"), t.TID)
	case stackedOn(v, m):
		return "another mount of the same hierarchy lies under it, which would refuse the fresh one: no commands are given"
	}
	return ""
}

// stackedOn tells whether the mount covers one of the same hierarchy.
func stackedOn(v *HierarchyView, m *MountView) bool {
	for i := range v.Mounts {
		if v.Mounts[i].ID == m.ParentID {
			return true
		}
	}
	return false
}

// steps are the commands: only the host's programs run, in the task's mount
// namespace by file descriptor (-N), and mount(2) is called by a member of its
// cgroup namespace (nsenter -C), which is what gives the new mount its root.
// Whatever changes something is behind the guard, and the mount once more: in
// the initial cgroup namespace it would change the whole host's hierarchy.
func steps(t inspect.Task, h *inspect.Hierarchy, m *MountView) [][]string {
	pid := fmt.Sprint(t.TID) // a thread has namespaces of its own
	inside := func(argv ...string) []string {
		return append([]string{"nsenter", "-t", pid, "-C", "--"}, argv...)
	}
	list := guard(t)
	if m.Parent.Shared {
		list = append(list, inside("mount", "-N", pid, "--make-slave", m.Parent.MountPoint))
	}
	list = append(list, inside("umount", "-N", pid, m.MountPoint))
	mount := []string{"mount", "-N", pid, "-t", m.FSType}
	if options := MountOptions(h, &m.Mount); len(options) > 0 {
		mount = append(mount, "-o", strings.Join(options, ","))
	}
	source := "cgroup2"
	if h.Version() == 1 {
		source = h.Label
		if !strings.HasPrefix(h.Name, "-") { // which would be an option of mount(8)
			source = strings.TrimPrefix(source, "name=")
		}
	}
	return append(append(list, guard(t)...), inside(append(mount, source, m.MountPoint)...))
}

// guard fails unless the task is there and where it was seen.
func guard(t inspect.Task) [][]string {
	in := func(kind string, inode uint64) []string {
		return []string{"sh", "-c", fmt.Sprintf(`test "$(readlink /proc/%d/ns/%s)" = '%s:[%d]'`, t.TID, kind, kind, inode)}
	}
	return [][]string{in("mnt", t.MntNS), in("cgroup", t.CgroupNS)}
}

// readerUserNS is the reader's user namespace, as far as it owns its own mount
// namespace.
func (d *Diagnosis) readerUserNS() uint64 { return d.owners[readerOwner] }

// readerOwner is the key of the reader's user namespace among the owners.
const readerOwner = 0
