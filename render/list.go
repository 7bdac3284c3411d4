package render

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// List is what list found.
type List struct {
	Reader     inspect.Reader
	Layout     string
	Namespaces []compare.NamespaceSummary
	Skipped    []inspect.Skipped
}

// ListTable writes a line for each cgroup namespace. Root directories other
// than / are named by hierarchy unless all are the same; with Wide all are.
func ListTable(w io.Writer, l *List, o Options) error {
	t := table{
		header:   []string{"NS", "INITIAL", "NPROCS", "PID", "USER", "COMMAND", "ROOT DIRECTORIES", "PIDS"},
		flexible: []int{6, 7},
		lists:    map[int]itemList{6: {separator: ";", counted: true}, 7: {separator: ","}},
		minor:    1,
	}
	for i := range l.Namespaces {
		n := &l.Namespaces[i]
		initial := "-"
		if n.Initial {
			initial = "yes"
		}
		t.add(fmt.Sprint(n.NS), initial, fmt.Sprint(len(n.Processes)), fmt.Sprint(n.Processes[0]),
			n.First.User, n.First.Command, roots(n, o.Wide), ranges(n.Processes))
	}
	return t.write(w, o)
}

// roots is "freezer=/sub;memory=/x", or one path if all are the same.
func roots(n *compare.NamespaceSummary, all bool) string {
	var parts, paths []string
	for _, r := range n.Roots {
		path := r.Path
		switch {
		case path == "":
			path = "?"
		case r.Known == compare.Likely:
			path = "?" + path
		}
		paths = append(paths, path)
		if all || path != "/" {
			parts = append(parts, r.Hierarchy.Label+"="+path)
		}
	}
	switch same := slices.Compact(paths); {
	case len(same) == 0:
		return "?"
	case len(same) == 1 && !all:
		return same[0]
	}
	return strings.Join(parts, ";")
}

// ranges joins numbers in order, consecutive ones as a range: 2-45,47.
func ranges(list []int) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, list[i])
		if j > i {
			fmt.Fprintf(&b, "-%d", list[j])
		}
		i = j + 1
	}
	return b.String()
}

type jsonNamespace struct {
	NS            uint64     `json:"ns"`
	Type          string     `json:"type"`
	Initial       bool       `json:"initial"`
	NProcs        int        `json:"nprocs"`
	PID           int        `json:"pid"`
	PPID          *int       `json:"ppid"`
	UID           *int       `json:"uid"`
	User          *string    `json:"user"`
	UserBase64    string     `json:"user_base64,omitempty"`
	Command       *string    `json:"command"`
	CommandBase64 string     `json:"command_base64,omitempty"`
	PIDs          []int      `json:"pids"`
	Roots         []jsonRoot `json:"roots"`
}

type jsonRoot struct {
	jsonHierarchy
	RootDirectory       *string       `json:"root_directory"`
	RootDirectoryBase64 string        `json:"root_directory_base64,omitempty"`
	Known               compare.Known `json:"known"`
}

// ListJSON writes the same as one document, one namespace after the other, since
// there may be thousands.
func ListJSON(w io.Writer, l *List) error {
	text, err := json.Marshal(struct {
		jsonHead
		Layout     *string         `json:"layout"`
		Namespaces []jsonNamespace `json:"namespaces"`
	}{head(l.Reader, l.Skipped), orNull(l.Layout), []jsonNamespace{}})
	if err != nil {
		return err
	}
	before, after := text[:len(text)-len("]}")], text[len(text)-len("]}"):]
	in := newIndenter(w)
	in.Write(before) // end tells its error
	encoder := json.NewEncoder(in)
	for i := range l.Namespaces {
		if i > 0 {
			in.Write([]byte{','})
		}
		if err := encoder.Encode(namespace(&l.Namespaces[i])); err != nil {
			return err
		}
	}
	in.Write(after)
	return in.end()
}

func namespace(n *compare.NamespaceSummary) jsonNamespace {
	j := jsonNamespace{
		NS: n.NS, Type: "cgroup", Initial: n.Initial, NProcs: len(n.Processes), PID: n.Processes[0],
		PIDs: n.Processes, Roots: make([]jsonRoot, 0, len(n.Roots)),
	}
	if p := n.First; p.PID != 0 {
		j.PPID, j.UID = &p.PPID, &p.UID
		j.User, j.UserBase64 = text(p.User)
		j.Command, j.CommandBase64 = text(p.Command)
	}
	for _, r := range n.Roots {
		root := jsonRoot{jsonHierarchy: hierarchy(r.Hierarchy), Known: r.Known}
		root.RootDirectory, root.RootDirectoryBase64 = text(r.Path)
		j.Roots = append(j.Roots, root)
	}
	return j
}
