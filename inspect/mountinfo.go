package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// Bounds on what one mountinfo may cost: a container can mount as much as its
// memory allows, and it is read as root.
const (
	maxMounts       = 200_000
	maxCgroupMounts = 10_000
	maxMountLine    = 2 << 20  // bytes
	maxMountText    = 64 << 20 // bytes kept of all lines
)

// Mount is one cgroup or cgroup2 line of /proc/PID/mountinfo (proc(5)).
type Mount struct {
	ID, ParentID int
	// Dev is the superblock's "major:minor": one per hierarchy, in every
	// namespace.
	Dev string
	// Root is the directory of the file system that the mount shows (field 4),
	// relative to the cgroup root directory of whoever read it.
	Root string
	// MountPoint is relative to the process's root directory (field 5).
	MountPoint string
	// Options are the per-mount options (field 6), SuperOptions those of the
	// superblock (field 11).
	Options, SuperOptions []string
	// Propagation are the optional fields joined by a blank ("shared:20
	// master:3"), or "private".
	Propagation string
	FSType      string
	Source      string
	// Visible is false if another mount covers it or one of its ancestors, or
	// if its mount point is too long for a path.
	Visible bool
	// Parent is what is known of the mount that it is mounted on.
	Parent ParentMount
	// Behind names the file system type of a mount on the way to it whose
	// server may never answer (FUSE, network, autofs), else it is empty.
	Behind string
	// Submounts counts the mounts upon it.
	Submounts int
}

// ParentMount is the mount that another one is mounted on.
type ParentMount struct {
	// Known is false if the process cannot see the parent mount.
	Known      bool
	MountPoint string
	Shared     bool
	// Visible tells whether the path MountPoint leads to this mount.
	Visible bool
}

// ReadOnly tells whether writing through this mount is refused.
func (m *Mount) ReadOnly() bool {
	return has(m.Options, "ro") || has(m.SuperOptions, "ro")
}

// MountTable is what one mountinfo holds about cgroups.
type MountTable struct {
	// Cgroup are the cgroup mounts, in the order of mountinfo.
	Cgroup []Mount
	// Namespaces are the bind mounts of cgroup namespaces, which keep them alive.
	Namespaces []NamespaceMount
	// RootDev and RootDir identify the file system that the process has as its
	// root directory: superblock and directory in it. They are empty if its
	// root is no mount, as after a plain chroot(2).
	RootDev, RootDir string
	// SomeID is the ID of one of its mounts. Mount IDs are unique on a host,
	// so that it tells mount namespaces apart. 0: there is no mount.
	SomeID int
	// Incomplete says why not all of the file was taken in, or is empty.
	Incomplete string
}

// NamespaceMount is a namespace file (nsfs) that is bind-mounted somewhere.
type NamespaceMount struct {
	NS         uint64
	MountPoint string
}

// errBounds ends the reading of a table that is too large.
var errBounds = fmt.Errorf("mountinfo has more than %d lines, %d cgroup mounts or %d bytes of mount points",
	maxMounts, maxCgroupMounts, maxMountText)

// errMountLine is returned for a line that is not mountinfo's.
var errMountLine = errors.New("not a mountinfo line")

// ParseMountInfo reads the text of /proc/PID/mountinfo and keeps the cgroup
// mounts. It reads line by line and holds of all other mounts only what
// visibility needs: ID, parent and mount point. Past its bounds it stops and
// says so in Incomplete; a line that does not parse is an error.
func ParseMountInfo(r io.Reader) (*MountTable, error) {
	t := &MountTable{}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.reset(r)
	for n := 1; ; n++ {
		line, err := readLine(s.in)
		if err == io.EOF {
			break
		}
		if errors.Is(err, bufio.ErrTooLong) {
			t.Incomplete = fmt.Sprintf("mountinfo line %d is longer than %d bytes", n, maxMountLine)
			break
		}
		if err != nil {
			return nil, err
		}
		if err = errBounds; n <= maxMounts {
			err = t.line(line, s)
		}
		if err == errBounds {
			t.Incomplete = err.Error()
			break
		}
		if err != nil {
			return nil, fmt.Errorf("mountinfo line %d: %w", n, err)
		}
	}
	t.Cgroup = append(t.Cgroup, s.cgroup...)
	s.tree.finish(t)
	return t, nil
}

// scratch is what reading one mountinfo takes, kept for the next one: a host has
// hundreds of them.
type scratch struct {
	in     *bufio.Reader
	tree   mountTree
	cgroup []Mount
	words  vocabulary
}

var scratches = sync.Pool{New: func() any { return &scratch{in: bufio.NewReaderSize(nil, 32<<10)} }}

// keepScratch is the number of mounts up to which a scratch is worth keeping.
const keepScratch = 4096

func (s *scratch) reset(r io.Reader) {
	s.in.Reset(r)
	clear(s.cgroup) // so that it keeps no text alive
	s.cgroup = s.cgroup[:0]
	if cap(s.tree.nodes) > keepScratch || cap(s.tree.points) > keepScratch*256 {
		s.tree, s.cgroup = mountTree{}, nil
		return
	}
	s.tree = mountTree{nodes: s.tree.nodes[:0], points: s.tree.points[:0]}
}

// readLine returns the next line without its newline. The slice is valid until
// the next call unless the line was longer than the buffer.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	long := append([]byte(nil), line...)
	for err == bufio.ErrBufferFull {
		if len(long) > maxMountLine {
			return nil, bufio.ErrTooLong
		}
		line, err = in.ReadSlice('\n')
		long = append(long, line...)
	}
	if err != nil && (err != io.EOF || len(long) == 0) {
		return nil, err
	}
	return bytes.TrimSuffix(long, []byte{'\n'}), nil
}

// line takes in one line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//	(1)(2)(3)   (4)   (5)      (6)      (7)   (8) (9)   (10)         (11)
//
// with any number of optional fields (7) before the separator (8). Super
// options (11) may hold blanks on some file systems, cgroup's do not.
func (t *MountTable) line(line []byte, s *scratch) error {
	l := mountLine{line: line}
	rest, ok := cutFields(line, l.f[:])
	if !ok {
		return fmt.Errorf("%w: %q has fewer than six fields", errMountLine, clip(line))
	}
	var err1, err2 error
	l.id, err1 = mountID(l.f[0])
	l.parent, err2 = mountID(l.f[1])
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%w: %q does not begin with two numbers", errMountLine, clip(line))
	}
	// The separator is looked for among the fields behind the sixth: the
	// source, which comes later, may itself be "-".
	var tail []byte
	if l.optional, tail, ok = cutSeparator(rest); !ok {
		return fmt.Errorf("%w: %q has no separator", errMountLine, clip(line))
	}
	var g [2][]byte
	if l.super, ok = cutFields(tail, g[:]); !ok {
		// An empty source is printed as nothing at all by some file systems.
		g[1] = nil
		if l.super, ok = cutFields(tail, g[:1]); !ok {
			return fmt.Errorf("%w: %q has no file system type", errMountLine, clip(line))
		}
	}
	l.fstype, l.source = g[0], g[1]
	return t.keep(&l, s)
}

// mountLine is one line, cut into its fields.
type mountLine struct {
	line                            []byte
	id, parent                      int32
	f                               [6][]byte // the first fields
	optional, fstype, source, super []byte
}

// keep stores what is wanted of a line.
func (t *MountTable) keep(l *mountLine, s *scratch) error {
	point := unescape(l.f[4])
	isCgroup := string(l.fstype) == "cgroup" || string(l.fstype) == "cgroup2"
	isNamespace := string(l.fstype) == "nsfs" && bytes.HasPrefix(l.f[3], []byte("cgroup:["))
	isTop := len(point) == 1 && point[0] == '/'
	all := &s.tree
	all.text += len(point)
	if isCgroup || isNamespace || isTop {
		all.text += len(l.line)
	}
	if all.text > maxMountText || isCgroup && len(s.cgroup) == maxCgroupMounts {
		return errBounds
	}
	all.add(mountNode{id: l.id, parent: l.parent, shared: bytes.Contains(l.optional, []byte("shared:")), hangs: hangs(l.fstype)}, point, l.fstype)
	t.SomeID = int(l.id)
	if isTop {
		all.roots = append(all.roots, rootMount{id: l.id, dev: string(l.f[2]), dir: string(unescape(l.f[3]))})
	}
	if isNamespace {
		t.Namespaces = append(t.Namespaces, NamespaceMount{NS: nsOf(string(l.f[3]), nil), MountPoint: string(point)})
	}
	if isCgroup {
		s.cgroup = append(s.cgroup, l.mount(point, &s.words))
	}
	return nil
}

// mount is a cgroup mount's line.
func (l *mountLine) mount(point []byte, words *vocabulary) Mount {
	return Mount{
		ID: int(l.id), ParentID: int(l.parent), Dev: words.word(l.f[2]), Root: words.word(unescape(l.f[3])), MountPoint: words.word(point),
		Options: words.options(l.f[5]), SuperOptions: words.options(l.super),
		Propagation: words.propagation(l.optional), FSType: words.word(l.fstype), Source: words.word(unescape(l.source)),
	}
}

// fields cuts the first n blank-separated fields off line.
func fields(line []byte, n int) (f [][]byte, rest []byte, ok bool) {
	f = make([][]byte, n)
	rest, ok = cutFields(line, f)
	return f, rest, ok
}

// cutFields is fields into the places of f.
func cutFields(line []byte, f [][]byte) (rest []byte, ok bool) {
	for n := range f {
		i := bytes.IndexByte(line, ' ')
		if i < 0 {
			f[n] = line
			return nil, len(line) > 0 && n == len(f)-1
		}
		f[n], line = line[:i], line[i+1:]
	}
	return line, true
}

// cutSeparator splits the optional fields from what follows the " - ".
func cutSeparator(rest []byte) (optional, tail []byte, ok bool) {
	if tail, ok = bytes.CutPrefix(rest, []byte("- ")); ok {
		return nil, tail, true
	}
	return bytes.Cut(rest, []byte(" - "))
}

// mountID is a number that the kernel keeps in an int and never has below 0.
func mountID(field []byte) (int32, error) {
	n, err := strconv.ParseUint(string(field), 10, 31)
	return int32(n), err
}

// hangs tells whether a file system's answers come from a server that may
// never give them: a user-space one, the network, or the automounter.
func hangs(fstype []byte) bool {
	base, _, _ := bytes.Cut(fstype, []byte{'.'})
	switch string(base) {
	case "fuse", "fuseblk", "autofs", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs",
		"virtiofs", "lustre", "gfs2", "ocfs2", "glusterfs", "beegfs", "orangefs", "coda", "ncpfs", "vboxsf":
		return true
	}
	return false
}

// unescape undoes the octal escapes of mountinfo: \040 \011 \012 \134 and, in
// some fields, \043. Anything else after a backslash stays as it is.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) && octal(b[i+1], '3') && octal(b[i+2], '7') && octal(b[i+3], '7') {
			out = append(out, (b[i+1]-'0')<<6|(b[i+2]-'0')<<3|(b[i+3]-'0'))
			i += 3
			continue
		}
		out = append(out, b[i])
	}
	return out
}

func octal(c, most byte) bool { return c >= '0' && c <= most }

func has(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}
