package render

import (
	"fmt"
	"io"
	"strings"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// CompareTable writes a process's two views side by side: the hierarchies that
// differ or have a fault, all with Wide; then how its namespace sees the peers.
func CompareTable(w io.Writer, r inspect.Reader, c *compare.Comparison, o Options) error {
	if !o.NoHeaders {
		var b strings.Builder
		for _, line := range headline(r, c) {
			prose(&b, "", line, "  ", o)
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	t := table{
		header:   []string{"ID", "CONTROLLERS", "HOST PATH", "NAMESPACE PATH", "ROOT DIRECTORY", "MOUNT POINT", "HOST ROOT", "NAMESPACE ROOT", "VERDICT"},
		flexible: []int{2, 3, 4, 5, 6, 7},
		paint:    func(cell string) string { return paintVerdict(cell, o) },
	}
	shown := map[string]bool{}
	hidden := 0
	for i := range c.Hierarchies {
		h := &c.Hierarchies[i]
		if !o.Wide && unremarkable(h) {
			hidden++
			continue
		}
		shown[h.Hierarchy.Label] = true
		rows(&t, h, o.Wide)
	}
	if err := part(w, &t, o); err != nil {
		return err
	}
	if err := rest(w, hidden, len(c.Hierarchies), o); err != nil {
		return err
	}
	if err := peers(w, c, shown, o); err != nil {
		return err
	}
	return strayThreads(w, c.Threads, o)
}

// paintVerdict colours a fault as doctor does.
func paintVerdict(cell string, o Options) string {
	switch compare.Verdict(cell) {
	case compare.VerdictDead, compare.VerdictStale, compare.VerdictUnreachable:
		return severityColour(cell, compare.Error, o)
	case compare.VerdictForeign:
		return severityColour(cell, compare.Warning, o)
	}
	return cell
}

// unremarkable tells whether both views agree and nothing is wrong.
func unremarkable(h *compare.HierarchyView) bool {
	return h.Verdict.Healthy() && h.HostPath == h.NamespacePath
}

// headline says who it is, and whose view is called the host's where it is not.
func headline(r inspect.Reader, c *compare.Comparison) []string {
	line := who(c.Process) + ": "
	switch {
	case c.Namespace == 0:
		line += "its cgroup namespace is not known"
	case c.SameAsReader:
		line += fmt.Sprintf("cgroup namespace %d, nsinspect's own too%s", c.Namespace, initial(c.Namespace))
	default:
		line += fmt.Sprintf("cgroup namespace %d%s; nsinspect's own is %s", c.Namespace, initial(c.Namespace), readerNS(r))
	}
	lines := []string{line}
	switch {
	case c.Known == compare.Likely:
		lines = append(lines, "its view could not be entered and is only likely: "+Text(c.Reason))
	case c.Known == compare.Unknown && c.Reason != "":
		lines = append(lines, "its view, of itself and of others, is not known: "+Text(c.Reason))
	}
	switch {
	case r.Initial():
	case r.CgroupNS == 0:
		lines = append(lines, "what is called host is nsinspect's own view, and it is not known whether that is the host's")
	default:
		lines = append(lines, fmt.Sprintf("what is called host is nsinspect's own view from cgroup namespace %d, not the host's", r.CgroupNS))
	}
	return lines
}

func initial(ns uint64) string {
	if ns == inspect.InitialCgroupNS {
		return " (initial)"
	}
	return ""
}

func readerNS(r inspect.Reader) string {
	if r.CgroupNS == 0 {
		return "not known"
	}
	return fmt.Sprint(r.CgroupNS) + initial(r.CgroupNS)
}

// rows adds a line for each mount of a hierarchy, or one if there is none.
func rows(t *table, h *compare.HierarchyView, all bool) {
	none := true
	for i := range h.Mounts {
		m := &h.Mounts[i]
		if !m.Visible && !all {
			continue
		}
		none = false
		verdict := string(m.Verdict)
		if !m.Visible {
			verdict += ",covered"
		}
		t.add(fmt.Sprint(h.Hierarchy.ID), h.Hierarchy.Label, h.HostPath, unknown(h.NamespacePath), unknown(h.RootDirectory),
			m.MountPoint, m.Root, unknown(m.NamespaceRoot), verdict)
	}
	if none {
		t.add(fmt.Sprint(h.Hierarchy.ID), h.Hierarchy.Label, h.HostPath, unknown(h.NamespacePath), unknown(h.RootDirectory),
			"", "", "", string(h.Verdict))
	}
}

// unknown marks a path that is not known.
func unknown(path string) string {
	if path == "" {
		return "?"
	}
	return path
}

// part writes a table below a blank line, if it has rows.
func part(w io.Writer, t *table, o Options) error {
	if len(t.rows) == 0 {
		return nil
	}
	if !o.NoHeaders {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return t.write(w, o)
}

// rest counts the hierarchies that have nothing to tell.
func rest(w io.Writer, hidden, all int, o Options) error {
	if hidden == 0 || o.NoHeaders {
		return nil
	}
	count := fmt.Sprintf("%d more hierarchies have", hidden)
	switch {
	case hidden == all && all == 1:
		count = "its one hierarchy has"
	case hidden == all:
		count = fmt.Sprintf("all %d hierarchies have", all)
	case hidden == 1:
		count = "1 more hierarchy has"
	}
	_, err := fmt.Fprintf(w, "%s the same path in both views and no fault\n", count)
	return err
}

// peers has those hierarchies that are shown above, or in which a peer's path
// differs. Of a namespace whose view is not known there is nothing to tell.
func peers(w io.Writer, c *compare.Comparison, shown map[string]bool, o Options) error {
	if len(c.Peers) == 0 || c.Known != compare.Entered && !o.Wide {
		return nil
	}
	t := table{header: []string{"PID", "COMMAND", "ID", "CONTROLLERS", "HOST PATH", "NAMESPACE PATH"}, flexible: []int{4, 5}}
	for _, p := range c.Peers {
		for _, path := range p.Paths {
			if o.Wide || shown[path.Hierarchy.Label] || path.HostPath != path.NamespacePath && path.NamespacePath != "" {
				t.add(fmt.Sprint(p.Process.PID), p.Process.Command, fmt.Sprint(path.Hierarchy.ID), path.Hierarchy.Label,
					path.HostPath, unknown(path.NamespacePath))
			}
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	if !o.NoHeaders {
		if _, err := fmt.Fprintln(w, "\nas this namespace sees other processes"); err != nil {
			return err
		}
	}
	return t.write(w, o)
}

type jsonHierarchyView struct {
	jsonHierarchy
	HostPath            *string         `json:"host_path"`
	HostPathBase64      string          `json:"host_path_base64,omitempty"`
	NamespacePath       *string         `json:"namespace_path"`
	NamespacePathBase64 string          `json:"namespace_path_base64,omitempty"`
	Outside             *bool           `json:"outside"`
	RootDirectory       *string         `json:"root_directory"`
	RootDirectoryBase64 string          `json:"root_directory_base64,omitempty"`
	Known               compare.Known   `json:"known"`
	Verdict             compare.Verdict `json:"verdict"`
	Mounts              []*jsonMount    `json:"mounts"`
}

type jsonPeer struct {
	PID           int            `json:"pid"`
	Command       *string        `json:"command"`
	CommandBase64 string         `json:"command_base64,omitempty"`
	Paths         []jsonPeerPath `json:"paths"`
}

type jsonPeerPath struct {
	ID                  int     `json:"id"`
	Hierarchy           string  `json:"hierarchy"`
	HostPath            *string `json:"host_path"`
	HostPathBase64      string  `json:"host_path_base64,omitempty"`
	NamespacePath       *string `json:"namespace_path"`
	NamespacePathBase64 string  `json:"namespace_path_base64,omitempty"`
}

type jsonComparedNS struct {
	NS           *uint64       `json:"ns"`
	Initial      *bool         `json:"initial"`
	SameAsReader *bool         `json:"same_as_reader"`
	Known        compare.Known `json:"known"`
	Reason       *string       `json:"reason"`
}

// CompareJSON writes all hierarchies as one document.
func CompareJSON(w io.Writer, r inspect.Reader, c *compare.Comparison, skipped []inspect.Skipped) error {
	document := struct {
		jsonHead
		Process     jsonProcess         `json:"process"`
		Threads     []jsonThread        `json:"threads"`
		Namespace   jsonComparedNS      `json:"namespace"`
		Hierarchies []jsonHierarchyView `json:"hierarchies"`
		Peers       []jsonPeer          `json:"peers"`
		Verdict     compare.Verdict     `json:"verdict"`
	}{head(r, skipped), process(c.Process), threads(c.Threads), comparedNS(r, c), []jsonHierarchyView{}, []jsonPeer{}, c.Verdict}
	for i := range c.Hierarchies {
		document.Hierarchies = append(document.Hierarchies, hierarchyView(&c.Hierarchies[i]))
	}
	for _, p := range c.Peers {
		document.Peers = append(document.Peers, peer(p))
	}
	return writeJSON(w, document)
}

func comparedNS(r inspect.Reader, c *compare.Comparison) jsonComparedNS {
	j := jsonComparedNS{NS: number(c.Namespace), Known: c.Known, Reason: orNull(c.Reason)}
	if c.Namespace != 0 {
		first := c.Namespace == inspect.InitialCgroupNS
		j.Initial = &first
		if r.CgroupNS != 0 {
			j.SameAsReader = &c.SameAsReader
		}
	}
	return j
}

func hierarchyView(h *compare.HierarchyView) jsonHierarchyView {
	j := jsonHierarchyView{jsonHierarchy: hierarchy(h.Hierarchy), Known: h.Known, Verdict: h.Verdict, Mounts: []*jsonMount{}}
	j.HostPath, j.HostPathBase64 = text(h.HostPath)
	j.NamespacePath, j.NamespacePathBase64 = text(h.NamespacePath)
	j.RootDirectory, j.RootDirectoryBase64 = text(h.RootDirectory)
	if h.NamespacePath != "" {
		outside := h.Outside()
		j.Outside = &outside
	}
	for i := range h.Mounts {
		j.Mounts = append(j.Mounts, mount(&h.Mounts[i]))
	}
	return j
}

func peer(p compare.PeerView) jsonPeer {
	j := jsonPeer{PID: p.Process.PID, Paths: []jsonPeerPath{}}
	j.Command, j.CommandBase64 = text(p.Process.Command)
	for _, path := range p.Paths {
		k := jsonPeerPath{ID: path.Hierarchy.ID, Hierarchy: path.Hierarchy.Label}
		k.HostPath, k.HostPathBase64 = text(path.HostPath)
		k.NamespacePath, k.NamespacePathBase64 = text(path.NamespacePath)
		j.Paths = append(j.Paths, k)
	}
	return j
}
