package compare

import (
	"cmp"
	"slices"
	"strings"

	"nsinspect/inspect"
)

// HierarchyOf returns a function that finds the hierarchy of a mount. A v1
// mount names its controllers, or its name, among the superblock's options.
func HierarchyOf(cgroups *inspect.Cgroups) func(*inspect.Mount) *inspect.Hierarchy {
	var unified *inspect.Hierarchy
	by := map[string]*inspect.Hierarchy{}
	if cgroups != nil {
		for _, m := range cgroups.Memberships {
			h := m.Hierarchy
			if h.ID == 0 {
				unified = h
			}
			for _, c := range h.Controllers {
				by[c] = h
			}
			if h.Name != "" {
				by["name="+h.Name] = h
			}
		}
	}
	return func(m *inspect.Mount) *inspect.Hierarchy {
		if m.FSType == "cgroup2" {
			return unified
		}
		for _, option := range m.SuperOptions {
			if h := by[option]; h != nil {
				return h
			}
		}
		return nil
	}
}

func sortByHierarchy[T any](list []T, of func(T) *inspect.Hierarchy) {
	slices.SortStableFunc(list, func(x, y T) int {
		a, b := of(x), of(y)
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Label, b.Label))
	})
}

// Layout says which kinds of hierarchies a mount table shows: unified, legacy,
// hybrid or none (systemd's words). A host whose /sys/fs/cgroup is cgroup2 is
// unified, also if a v1 hierarchy is mounted beside.
func Layout(t *inspect.MountTable) string {
	if t == nil {
		return ""
	}
	var v1, v2 bool
	for _, m := range t.Cgroup {
		if !m.Visible {
			continue
		}
		if m.FSType == "cgroup2" {
			if strings.TrimRight(m.MountPoint, "/") == "/sys/fs/cgroup" {
				return "unified"
			}
			v2 = true
		} else {
			v1 = true
		}
	}
	switch {
	case v1 && v2:
		return "hybrid"
	case v1:
		return "legacy"
	case v2:
		return "unified"
	}
	return "none"
}
