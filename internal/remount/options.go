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

// attributes are what fsmount(2) takes for a mount's own options.
var attributes = map[string]int{
	"ro":          unix.MOUNT_ATTR_RDONLY,
	"nosuid":      unix.MOUNT_ATTR_NOSUID,
	"nodev":       unix.MOUNT_ATTR_NODEV,
	"noexec":      unix.MOUNT_ATTR_NOEXEC,
	"noatime":     unix.MOUNT_ATTR_NOATIME,
	"nodiratime":  unix.MOUNT_ATTR_NODIRATIME,
	"nosymfollow": unix.MOUNT_ATTR_NOSYMFOLLOW,
}

// attributesOf returns a mount's own flags. relatime is what a mount without
// any word on access times gets; one that shows neither it nor noatime is
// strictatime.
func attributesOf(m *inspect.Mount) int {
	attrs := 0
	for _, option := range compare.OwnOptions(m) {
		attrs |= attributes[option]
	}
	if !slices.Contains(m.Options, "noatime") && !slices.Contains(m.Options, "relatime") {
		attrs |= unix.MOUNT_ATTR_STRICTATIME
	}
	return attrs
}

// steps words what mending does, in its order.
func (j *job) steps(p inspect.Process) []string {
	at := printable.Text(j.old.MountPoint)
	options := strings.Join(compare.MountOptions(j.hierarchy, &j.old), ",")
	if options == "" {
		options = "no options"
	}
	list := []string{
		fmt.Sprintf("make a fresh %s mount with %s in cgroup namespace %d, mounted nowhere yet", j.old.FSType, options, p.CgroupNS),
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
