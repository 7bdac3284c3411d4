package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// ShowTable writes one process: who it is, its namespaces, cgroups and cgroup
// mounts, all in the reader's view.
func ShowTable(w io.Writer, s *inspect.Subject, o Options) error {
	if err := title(w, s.Process, o); err != nil {
		return err
	}
	ns := table{header: []string{"NAMESPACE", "INODE"}}
	for _, name := range inspect.NamespaceNames {
		switch inode, known := s.Namespaces[name]; {
		case known:
			ns.add(name, fmt.Sprint(inode))
		case slices.ContainsFunc(s.Skipped, func(sk inspect.Skipped) bool { return sk.What == "ns/"+name }):
			ns.add(name, "?")
		}
	}
	cgroups := table{header: []string{"ID", "HIERARCHY", "VERSION", "HOST PATH"}, flexible: []int{3}}
	for _, m := range s.Host.Cgroups.Memberships {
		cgroups.add(fmt.Sprint(m.Hierarchy.ID), m.Hierarchy.Label, fmt.Sprint(m.Hierarchy.Version()), m.Path)
	}
	mounts := table{
		header:   []string{"MOUNT", "PARENT", "HIERARCHY", "MOUNT POINT", "HOST ROOT", "VISIBLE", "OPTIONS", "PROPAGATION"},
		flexible: []int{3, 4, 6},
		lists:    map[int]itemList{6: {separator: ",", counted: true}},
		minor:    2,
	}
	for _, m := range showMounts(s) {
		visible := "yes"
		if !m.Visible {
			visible = "no"
		}
		mounts.add(fmt.Sprint(m.ID), fmt.Sprint(m.ParentID), m.label(), m.MountPoint, m.Root, visible,
			strings.Join(m.Options, ","), m.Propagation)
	}
	for _, t := range []table{ns, cgroups, mounts} {
		if err := part(w, &t, o); err != nil {
			return err
		}
	}
	return strayThreads(w, s.Threads, o)
}

// title names a process: "24437 bash (root)".
func title(w io.Writer, p inspect.Process, o Options) error {
	if o.NoHeaders {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s, parent %d, state %s\n", who(p), p.PPID, Text(p.State))
	return err
}

func who(p inspect.Process) string {
	name := fmt.Sprintf("%d %s (%s)", p.PID, Text(p.Command), Text(p.User))
	if p.TID != p.PID {
		name = fmt.Sprintf("thread %d of %s", p.TID, name)
	}
	return name
}

// strayThreads tells of threads that are elsewhere than their leader.
func strayThreads(w io.Writer, threads []inspect.Task, o Options) error {
	if len(threads) == 0 || o.NoHeaders {
		return nil
	}
	command := append([]string{"nsinspect", "compare", fmt.Sprint(threads[0].TID)}, o.Source...)
	_, err := fmt.Fprintf(w, "\n%s in other cgroups or namespaces: see '%s'\n", many(len(threads), "of its threads is", "of its threads are"), Shell(command))
	return err
}

// showMount is a mount with its hierarchy; nil: the process is in none of it.
type showMount struct {
	inspect.Mount
	hierarchy *inspect.Hierarchy
}

func (m showMount) label() string {
	if m.hierarchy == nil {
		return ""
	}
	return m.hierarchy.Label
}

func showMounts(s *inspect.Subject) []showMount {
	if s.Host.Mounts == nil {
		return nil
	}
	of := compare.HierarchyOf(s.Host.Cgroups)
	var list []showMount
	for i := range s.Host.Mounts.Cgroup {
		m := &s.Host.Mounts.Cgroup[i]
		list = append(list, showMount{*m, of(m)})
	}
	return list
}

type jsonMembership struct {
	jsonHierarchy
	HostPath       *string `json:"host_path"`
	HostPathBase64 string  `json:"host_path_base64,omitempty"`
	Deleted        bool    `json:"deleted"`
}

type jsonShowMount struct {
	ID               int      `json:"id"`
	ParentID         int      `json:"parent_id"`
	HierarchyID      *int     `json:"hierarchy_id"`
	Hierarchy        *string  `json:"hierarchy"`
	MountPoint       *string  `json:"mount_point"`
	MountPointBase64 string   `json:"mount_point_base64,omitempty"`
	HostRoot         *string  `json:"host_root"`
	HostRootBase64   string   `json:"host_root_base64,omitempty"`
	Visible          bool     `json:"visible"`
	ReadOnly         bool     `json:"read_only"`
	Propagation      string   `json:"propagation"`
	Type             string   `json:"type"`
	Options          []string `json:"options"`
	SuperOptions     []string `json:"super_options"`
	SuperBase64      []string `json:"super_options_base64,omitempty"`
}

// ShowJSON writes the same as one document.
func ShowJSON(w io.Writer, r inspect.Reader, s *inspect.Subject) error {
	document := struct {
		jsonHead
		Process     jsonProcess        `json:"process"`
		Threads     []jsonThread       `json:"threads"`
		Namespaces  map[string]*uint64 `json:"namespaces"`
		Memberships []jsonMembership   `json:"memberships"`
		Mounts      []jsonShowMount    `json:"mounts"`
	}{head(r, s.Skipped), process(s.Process), threads(s.Threads), map[string]*uint64{}, []jsonMembership{}, []jsonShowMount{}}
	for _, name := range inspect.NamespaceNames {
		document.Namespaces[name] = number(s.Namespaces[name])
	}
	for _, m := range s.Host.Cgroups.Memberships {
		// A process that lives holds its cgroup: a path that ends in
		// " (deleted)" is then that cgroup's name.
		j := jsonMembership{jsonHierarchy: hierarchy(m.Hierarchy)}
		j.HostPath, j.HostPathBase64 = text(m.Path)
		document.Memberships = append(document.Memberships, j)
	}
	for _, m := range showMounts(s) {
		document.Mounts = append(document.Mounts, m.json())
	}
	return writeJSON(w, document)
}

func (m showMount) json() jsonShowMount {
	j := jsonShowMount{
		ID: m.ID, ParentID: m.ParentID, Visible: m.Visible, ReadOnly: m.ReadOnly(), Propagation: m.Propagation,
		Type: m.FSType, Options: list(m.Options),
	}
	if m.hierarchy != nil {
		j.HierarchyID, j.Hierarchy = &m.hierarchy.ID, &m.hierarchy.Label
	}
	j.MountPoint, j.MountPointBase64 = text(m.MountPoint)
	j.HostRoot, j.HostRootBase64 = text(m.Root)
	j.SuperOptions, j.SuperBase64 = texts(m.SuperOptions)
	return j
}
