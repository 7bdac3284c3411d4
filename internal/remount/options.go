package remount

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// attributes are the per-mount flags that a mount has of its own (mountinfo's
// field 6, show_mnt_opts in fs/proc_namespace.c) and fsmount(2) takes.
var attributes = []struct {
	option string
	flag   int
}{
	{"ro", unix.MOUNT_ATTR_RDONLY},
	{"nosuid", unix.MOUNT_ATTR_NOSUID},
	{"nodev", unix.MOUNT_ATTR_NODEV},
	{"noexec", unix.MOUNT_ATTR_NOEXEC},
	{"noatime", unix.MOUNT_ATTR_NOATIME},
	{"nodiratime", unix.MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", unix.MOUNT_ATTR_NOSYMFOLLOW},
}

// attributesOf returns a mount's own flags. relatime is what a mount without
// any word on access times gets; one that shows neither it nor noatime is
// strictatime.
func attributesOf(options []string) int {
	attrs := 0
	for _, a := range attributes {
		if slices.Contains(options, a.option) {
			attrs |= a.flag
		}
	}
	if !slices.Contains(options, "noatime") && !slices.Contains(options, "relatime") {
		attrs |= unix.MOUNT_ATTR_STRICTATIME
	}
	return attrs
}

// parameters are what fsconfig(2) is given: words, and keys with a value. All
// controllers of a v1 hierarchy must be named (cgroup1_root_to_use in
// kernel/cgroup/cgroup-v1.c refuses fewer); super options are never copied.
func parameters(h *inspect.Hierarchy, old *inspect.Mount) (words []string, values [][2]string) {
	if old.Source != "" && len(old.Source) < 256 {
		values = append(values, [2]string{"source", old.Source})
	}
	if h.Version() == 2 {
		return nil, values
	}
	words = append(words, h.Controllers...)
	if len(words) == 0 {
		words = append(words, "none")
	}
	if h.Name != "" {
		values = append(values, [2]string{"name", h.Name})
	}
	return words, values
}

// fsType is the file system of a hierarchy.
func fsType(h *inspect.Hierarchy) string {
	if h.Version() == 2 {
		return "cgroup2"
	}
	return "cgroup"
}

// steps words what mending does, in its order.
func (j *job) steps(p inspect.Process) []string {
	at := printable.Text(j.old.MountPoint)
	options := strings.Join(compare.MountOptions(j.hierarchy, &j.old), ",")
	if options == "" {
		options = "no options"
	}
	list := []string{
		fmt.Sprintf("make a fresh %s mount with %s in cgroup namespace %d, mounted nowhere yet", fsType(j.hierarchy), options, p.CgroupNS),
		fmt.Sprintf("go on only if it lists process %d at %s", j.members[0].PID, printable.Text(j.members[0].Path)),
	}
	direct := 0
	for _, m := range j.submounts {
		if m.ParentID == j.old.ID {
			direct++
		}
	}
	if j.plan.Action == Cover {
		if strings.Contains(j.old.Propagation, "shared:") {
			list = append(list, "make the old mount a slave, so that nothing leaves this mount namespace")
		}
		list = append(list, "lay the fresh mount over the old one at "+at+", which cannot be taken away")
	} else {
		if j.old.Parent.Shared {
			list = append(list, fmt.Sprintf("make the mount at %s a slave, that one alone, so that nothing leaves this mount namespace", printable.Text(j.old.Parent.MountPoint)))
		}
		list = append(list, "take the old mount away from "+at+" and move the fresh one there")
	}
	if direct > 0 {
		list = append(list, fmt.Sprintf("lay upon it the same %d mounts as upon the old one", direct))
	}
	return list
}

// relative is the path of a submount below a mount point.
func relative(point, submount string) string {
	return strings.TrimPrefix(strings.TrimPrefix(submount, path.Clean(point)), "/")
}
