package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nsinspect/compare"
	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// hierarchy is the one that a walk goes through, and where it is mounted.
type hierarchy struct {
	*inspect.Hierarchy
	// field is the controllers field of /proc/PID/cgroup as the kernel prints
	// it, in its own order; empty for v2.
	field string
	mount inspect.Mount
}

// line is what /proc/PID/cgroup reads for a cgroup path.
func (h *hierarchy) line(path string) string {
	return fmt.Sprintf("%d:%s:%s", h.ID, h.field, path)
}

// pick returns the hierarchy's line of a cgroup file's text, or "".
func (h *hierarchy) pick(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, h.line("")) {
			return line
		}
	}
	return ""
}

// grep is the shell's way to the same line.
func (h *hierarchy) grep(file string) string {
	return "grep " + quote(fmt.Sprintf("^%d:%s:", h.ID, h.field)) + " " + file
}

// hostPath is the path of a cgroup below the mount point, as the caller's own
// cgroup namespace sees it.
func (h *hierarchy) hostPath(below string) string {
	if h.mount.Root == "/" {
		return "/" + below
	}
	return h.mount.Root + "/" + below
}

// super are the options that select the hierarchy in mount(2).
func (h *hierarchy) super() string { return strings.Join(compare.HierarchyOptions(h.Hierarchy), ",") }

// flags are the per-mount flags that the new mount must have, too, as mount(2)
// and as mount(8) name them.
func (h *hierarchy) flags() (bits uintptr, names []string) {
	for _, f := range []struct {
		name string
		bit  uintptr
	}{{"nosuid", unix.MS_NOSUID}, {"nodev", unix.MS_NODEV}, {"noexec", unix.MS_NOEXEC}, {"noatime", unix.MS_NOATIME}} {
		if slices.Contains(h.mount.Options, f.name) {
			bits |= f.bit
			names = append(names, f.name)
		}
	}
	return bits, names
}

// fstype is the file system type, and the source that the lab gives.
func (h *hierarchy) fstype() (fstype, source string) {
	if h.Version() == 2 {
		return "cgroup2", "cgroup2"
	}
	if h.Name != "" {
		return "cgroup", h.Name
	}
	return "cgroup", strings.Join(h.Controllers, ",")
}

// mountCommand is the mount(8) command that equals the lab's mount(2).
func (h *hierarchy) mountCommand() string {
	_, options := h.flags()
	if super := h.super(); super != "" {
		options = append(options, super)
	}
	fstype, source := h.fstype()
	command := "mount -t " + fstype
	if len(options) > 0 {
		command += " -o " + strings.Join(options, ",")
	}
	return command + " " + source + " " + quote(h.mount.MountPoint)
}

// system is what a walk needs to know before it makes anything.
type system struct {
	proc    string
	cgroups *inspect.Cgroups
	fields  map[int]string
	mounts  []inspect.Mount
}

func readSystem(proc string) (*system, error) {
	s := &system{proc: proc, fields: make(map[int]string)}
	path := filepath.Join(proc, "self/cgroup")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, kernelError("read", path, err)
	}
	if s.cgroups, err = inspect.ParseCgroups(text); err != nil {
		return nil, kernelError("read", path, err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		var id int
		if f := strings.SplitN(line, ":", 3); len(f) == 3 {
			fmt.Sscanf(f[0], "%d", &id)
			s.fields[id] = f[1]
		}
	}
	table, err := readMounts(filepath.Join(proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	s.mounts = table.Cgroup
	return s, nil
}

func readMounts(path string) (*inspect.MountTable, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, kernelError("read", path, err)
	}
	defer f.Close()
	table, err := inspect.ParseMountInfo(f)
	if err != nil {
		return nil, kernelError("read", path, err)
	}
	return table, nil
}

// find returns the hierarchy that a user means by label, with the mount that a
// lab can work through.
func (s *system) find(label string) (*hierarchy, error) {
	for _, m := range s.cgroups.Memberships {
		if !means(label, m.Hierarchy) {
			continue
		}
		h := &hierarchy{Hierarchy: m.Hierarchy, field: s.fields[m.Hierarchy.ID]}
		mount, err := s.mountOf(m.Hierarchy)
		if err != nil {
			return nil, err
		}
		h.mount = mount
		return h, nil
	}
	var have []string
	for _, m := range s.cgroups.Memberships {
		have = append(have, m.Hierarchy.Label)
	}
	hint := "this kernel shows no cgroup hierarchy to this process"
	if len(have) > 0 {
		hint = "this host has: " + strings.Join(have, " ")
	}
	return nil, &Error{Kind: ErrNoHierarchy, Tried: "find the hierarchy", On: label,
		Err: errors.New("/proc/self/cgroup does not name it"), Next: hint}
}

// means tells whether label names h: its own label in any order of controllers,
// some of its controllers, or a bare name; cgroup2 is what mount(8) calls unified.
func means(label string, h *inspect.Hierarchy) bool {
	if label == "cgroup2" {
		label = "unified"
	}
	if label == h.Label || h.Version() == 2 || label == "" {
		return label == h.Label
	}
	if label == h.Name {
		return true
	}
	for part := range strings.SplitSeq(label, ",") {
		if !slices.Contains(h.Controllers, part) && (h.Name == "" || part != "name="+h.Name) {
			return false
		}
	}
	return true
}

// mountOf returns the mount of h below which a lab can make its cgroup: visible
// and writable, and rather one of the whole hierarchy than of a part.
func (s *system) mountOf(h *inspect.Hierarchy) (inspect.Mount, error) {
	var best, readOnly *inspect.Mount
	for i := range s.mounts {
		m := &s.mounts[i]
		switch {
		case !m.Visible || !mounts(m, h):
		case m.ReadOnly():
			readOnly = m
		case best == nil || m.Root == "/" && best.Root != "/":
			best = m
		}
	}
	if best != nil {
		return *best, nil
	}
	tried := "make a cgroup in the hierarchy"
	if readOnly != nil {
		return inspect.Mount{}, &Error{Kind: ErrReadOnly, Tried: tried, On: h.Label,
			Err:  fmt.Errorf("%s is mounted read-only", printable.Text(readOnly.MountPoint)),
			Next: "in a container, cgroups can be made only where its runtime mounts them writable"}
	}
	return inspect.Mount{}, &Error{Kind: ErrNoHierarchy, Tried: tried, On: h.Label,
		Err:  errors.New("no mount of it can be seen from here"),
		Next: "the kernel has this hierarchy, but the lab mounts nothing outside namespaces of its own"}
}

// mounts tells whether m is a mount of h: for v1 its super options name all of
// the controllers and the name.
func mounts(m *inspect.Mount, h *inspect.Hierarchy) bool {
	if h.Version() == 2 {
		return m.FSType == "cgroup2"
	}
	if m.FSType != "cgroup" || h.Name != "" && !slices.Contains(m.SuperOptions, "name="+h.Name) {
		return false
	}
	for _, c := range h.Controllers {
		if !slices.Contains(m.SuperOptions, c) {
			return false
		}
	}
	return true
}

// quote makes s one word of a shell.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:=,@%"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
