package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a kind of namespaces(7) that a run can make anew.
type namespace struct {
	name  string // as --only has it
	alias string // another name for it
	link  string // in /proc/PID/ns
	flag  uintptr
}

var namespaces = []namespace{
	{"uts", "uts", "uts", unix.CLONE_NEWUTS},
	{"ipc", "ipc", "ipc", unix.CLONE_NEWIPC},
	{"pid", "pid", "pid", unix.CLONE_NEWPID},
	{"mount", "mnt", "mnt", unix.CLONE_NEWNS},
	{"user", "user", "user", unix.CLONE_NEWUSER},
	{"network", "net", "net", unix.CLONE_NEWNET},
	{"cgroup", "cgroup", "cgroup", unix.CLONE_NEWCGROUP},
}

// Namespaces are the names that RunConfig.Only takes; "mnt" and "net" mean
// "mount" and "network".
func Namespaces() []string {
	var names []string
	for _, n := range namespaces {
		names = append(names, n.name)
	}
	return names
}

// parseOnly turns the names into clone flags; none at all means every kind.
func parseOnly(only []string) (flags uintptr, err error) {
	named := false
	for _, list := range only {
		for name := range strings.SplitSeq(list, ",") {
			named = true
			n, ok := namespaceOf(strings.TrimSpace(name))
			if !ok {
				return 0, usage("make a namespace of the kind", name,
					"the kinds are "+strings.Join(Namespaces(), ","), "the lab has no such kind")
			}
			flags |= n.flag
		}
	}
	if !named {
		for _, n := range namespaces {
			flags |= n.flag
		}
	}
	return flags, nil
}

func namespaceOf(name string) (namespace, bool) {
	for _, n := range namespaces {
		if name == n.name || name == n.alias {
			return n, true
		}
	}
	return namespace{}, false
}

// readNamespaces reads the links of the process or thread whose directory in
// /proc is given. A link that cannot be read is "?".
func readNamespaces(dir string) map[string]string {
	links := make(map[string]string)
	for _, n := range namespaces {
		links[n.name] = "?"
		if text, err := os.Readlink(filepath.Join(dir, "ns", n.link)); err == nil {
			links[n.name] = strings.TrimSuffix(strings.TrimPrefix(text, n.link+":["), "]")
		}
	}
	return links
}

// forbidden says why the kernel did not make the namespaces, as far as its
// errno and the settings of this host tell.
func forbidden(proc, tried string, flags uintptr, err error) *Error {
	e := &Error{Kind: ErrKernel, Tried: tried, Err: cause(err)}
	user := flags&unix.CLONE_NEWUSER != 0
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		e.Kind = ErrPrivilege
		e.Next = limits(proc, flags)
	case errors.Is(err, unix.EINVAL):
		e.Next = "this kernel may have been built without one of these kinds of namespaces"
	case !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES):
	case !user:
		e.Kind = ErrPrivilege
		e.Next = "without a user namespace it needs CAP_SYS_ADMIN: add user to --only, or run it as root"
	default:
		e.Kind = ErrPrivilege
		e.Next = switches(proc)
	}
	return e
}

// switches looks for the settings that keep ordinary users from user
// namespaces: Debian's, and AppArmor's of Ubuntu 23.10 and later.
func switches(proc string) string {
	if sysctl(proc, "kernel/unprivileged_userns_clone") == "0" {
		return "kernel.unprivileged_userns_clone is 0: 'sysctl kernel.unprivileged_userns_clone=1' as root allows user namespaces"
	}
	if sysctl(proc, "kernel/apparmor_restrict_unprivileged_userns") == "1" {
		return "kernel.apparmor_restrict_unprivileged_userns is 1: it takes an AppArmor profile that allows userns, or root"
	}
	return "a seccomp filter (as in most containers), a chroot or a security module forbids user namespaces: try it on the host, or as root with --only and without user"
}

// limits finds the limit of user namespaces(7) that is reached.
func limits(proc string, flags uintptr) string {
	for _, n := range namespaces {
		name := "max_" + n.alias + "_namespaces"
		if flags&n.flag != 0 && sysctl(proc, "user/"+name) == "0" {
			return "user." + name + " is 0: 'sysctl user." + name + "=10000' as root allows them"
		}
	}
	return "a limit user.max_*_namespaces of this user is reached, or user or PID namespaces are nested 32 deep"
}

func sysctl(proc, name string) string {
	text, err := os.ReadFile(filepath.Join(proc, "sys", name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
