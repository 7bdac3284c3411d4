package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// pathLimit is the length from which a path in /proc/PID/cgroup may have been
// cut: the kernel renders it into a buffer of PATH_MAX bytes and, since 6.8 or
// so, truncates silently (proc_cgroup_show in kernel/cgroup/cgroup.c).
const pathLimit = 4095

// Bounds on what cgroup files may cost: no host has as many, but a recorded one
// may say so.
const (
	maxHierarchies = 1024    // lines of a file, and hierarchies of all
	maxMemberships = 8 << 20 // lines that are kept of all files
)

// Hierarchy is one cgroup hierarchy, as the first two fields of a line of
// /proc/PID/cgroup name it (cgroups(7)).
type Hierarchy struct {
	// ID is the hierarchy's number: 0 for cgroup v2, else one that may change
	// from boot to boot.
	ID int
	// Controllers are the v1 controllers bound to it, sorted; empty for v2 and
	// for a hierarchy that has only a name.
	Controllers []string
	// Name is the name of a named v1 hierarchy ("systemd"), else empty.
	Name string
	// Label identifies the hierarchy across boots: "freezer", "cpu,cpuacct"
	// (sorted), "name=systemd" or "unified".
	Label string
}

// Version is 2 for the unified hierarchy and 1 for every other.
func (h *Hierarchy) Version() int {
	if h.ID == 0 {
		return 2
	}
	return 1
}

// Membership is one line of /proc/PID/cgroup: the cgroup of a task in one
// hierarchy, relative to the cgroup root directory of whoever read it.
type Membership struct {
	Hierarchy *Hierarchy
	// Path is the third field's bytes as they are; the kernel escapes nothing.
	Path string
	// Cut is true if Path is so long that the kernel may have cut its end off.
	Cut bool
}

// Cgroups is one reading of /proc/PID/cgroup, in the order of hierarchy IDs.
// Readings with the same bytes share one Cgroups, so that pointers compare.
type Cgroups struct {
	Memberships []Membership
}

// Of returns the membership in the hierarchy with this label.
func (c *Cgroups) Of(label string) (Membership, bool) {
	if c != nil {
		for _, m := range c.Memberships {
			if m.Hierarchy.Label == label {
				return m, true
			}
		}
	}
	return Membership{}, false
}

// ParseCgroups parses the text of /proc/PID/cgroup: lines
// "ID:controllers:path", where the path may hold any byte but a newline. An
// empty text is a process without cgroups, not an error.
func ParseCgroups(text []byte) (*Cgroups, error) {
	return new(interner).cgroups(text)
}

// interner keeps one copy of each distinct cgroup file and hierarchy: ten
// thousand processes have a few hundred of them.
type interner struct {
	mu          sync.Mutex
	files       map[string]*Cgroups
	kept        int // lines of them
	hierarchies map[string]*Hierarchy
}

func (in *interner) cgroups(text []byte) (*Cgroups, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c, ok := in.files[string(text)]; ok {
		return c, nil
	}
	file := string(text) // which all paths are parts of
	c, err := in.parse(file)
	if err != nil {
		return nil, err
	}
	if in.files == nil {
		in.files = make(map[string]*Cgroups)
	}
	in.files[file] = c
	in.kept += len(c.Memberships)
	return c, nil
}

// passing is for a text that is looked at once and not kept.
func (in *interner) passing(text []byte) (*Cgroups, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.parse(string(text))
}

func (in *interner) parse(file string) (*Cgroups, error) {
	lines := strings.Count(file, "\n")
	if lines > maxHierarchies {
		return nil, fmt.Errorf("it has more than %d lines", maxHierarchies)
	}
	if in.kept+lines > maxMemberships {
		return nil, fmt.Errorf("it is one of files with more than %d lines", maxMemberships)
	}
	c := &Cgroups{}
	if lines > 0 {
		c.Memberships = make([]Membership, 0, lines)
	}
	n := 0
	for line := range strings.SplitSeq(file, "\n") {
		if n++; line == "" {
			continue
		}
		m, err := in.membership(line)
		if err != nil {
			return nil, fmt.Errorf("cgroup line %d: %w", n, err)
		}
		c.Memberships = append(c.Memberships, m)
	}
	slices.SortStableFunc(c.Memberships, func(a, b Membership) int { return cmp.Compare(a.Hierarchy.ID, b.Hierarchy.ID) })
	for i := 1; i < len(c.Memberships); i++ {
		if id := c.Memberships[i].Hierarchy.ID; id == c.Memberships[i-1].Hierarchy.ID {
			return nil, fmt.Errorf("it has hierarchy %d twice", id) // proc_cgroup_show has a line for each
		}
	}
	return c, nil
}

// membership splits one line on its first two colons: a hierarchy's name
// cannot hold one, a path can.
func (in *interner) membership(line string) (Membership, error) {
	id, rest, ok1 := strings.Cut(line, ":")
	controllers, path, ok2 := strings.Cut(rest, ":")
	if !ok1 || !ok2 {
		return Membership{}, fmt.Errorf("%q has fewer than three fields", clip(line))
	}
	if path == "" || path[0] != '/' {
		return Membership{}, fmt.Errorf("path %q does not begin with /", clip(path))
	}
	h, err := in.hierarchy(line[:len(id)+1+len(controllers)], id, controllers)
	if err != nil {
		return Membership{}, err
	}
	return Membership{Hierarchy: h, Path: path, Cut: len(path) >= pathLimit}, nil
}

// hierarchy returns the one that the first two fields of a line, together key,
// name.
func (in *interner) hierarchy(key, id, controllers string) (*Hierarchy, error) {
	if h, ok := in.hierarchies[key]; ok {
		return h, nil
	}
	n, err := strconv.ParseUint(id, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("hierarchy ID %q is not a number", clip(id))
	}
	if (n == 0) != (controllers == "") {
		return nil, fmt.Errorf("hierarchy %d with controllers %q: only ID 0, cgroup v2, has none", n, clip(controllers))
	}
	if n != 0 && !named(controllers) {
		return nil, fmt.Errorf("hierarchy %d with controllers %q: one that no kernel has, or two names", n, clip(controllers))
	}
	if len(in.hierarchies) >= maxHierarchies {
		return nil, fmt.Errorf("hierarchy %d: one of more than %d", n, maxHierarchies)
	}
	h := newHierarchy(int(n), strings.Clone(controllers))
	if in.hierarchies == nil {
		in.hierarchies = make(map[string]*Hierarchy)
	}
	in.hierarchies[strings.Clone(key)] = h
	return h, nil
}

// named tells whether every controller has a name, and the hierarchy at most one.
func named(controllers string) bool {
	names := 0
	for c := range strings.SplitSeq(controllers, ",") {
		name, isName := strings.CutPrefix(c, "name=")
		if isName {
			names++
		}
		if !isName && strings.HasPrefix(c, "-") || !isHierarchyName(name) || names > 1 {
			return false
		}
	}
	return true
}

// isHierarchyName tells what the kernel takes as a hierarchy's name
// (cgroup1_parse_param in kernel/cgroup/cgroup-v1.c): letters, which are those of
// Latin-1 (lib/ctype.c), digits and three signs. Controllers have names of fewer
// characters.
func isHierarchyName(name string) bool {
	const maxName = 63 // MAX_CGROUP_ROOT_NAMELEN - 1
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		case c >= 0xc0 && c != 0xd7 && c != 0xf7:
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func newHierarchy(id int, controllers string) *Hierarchy {
	h := &Hierarchy{ID: id, Controllers: []string{}, Label: "unified"}
	if id == 0 {
		return h
	}
	for _, c := range strings.Split(controllers, ",") {
		if name, ok := strings.CutPrefix(c, "name="); ok {
			h.Name = name
		} else {
			h.Controllers = append(h.Controllers, c)
		}
	}
	sort.Strings(h.Controllers)
	h.Label = strings.Join(h.Controllers, ",")
	if h.Name != "" {
		if h.Label != "" {
			h.Label += ","
		}
		h.Label += "name=" + h.Name
	}
	return h
}

// clip keeps what an error quotes of a hostile line readable.
func clip[T string | []byte](text T) T { return text[:min(len(text), 64)] }
