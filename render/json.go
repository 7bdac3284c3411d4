package render

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"unicode/utf8"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// schemaVersion is that of every document; docs/json.md describes its fields.
const schemaVersion = 1

// writeJSON writes one document.
func writeJSON(w io.Writer, document any) error {
	in := newIndenter(w)
	if err := json.NewEncoder(in).Encode(document); err != nil {
		return err
	}
	return in.end()
}

// text is a string as JSON has it: null if it is not known. A value that is not
// valid UTF-8 has its bytes in a second key beside it.
func text(s string) (value *string, base64Value string) {
	if s == "" {
		return nil, ""
	}
	if !utf8.ValidString(s) {
		return &s, base64.StdEncoding.EncodeToString([]byte(s))
	}
	return &s, ""
}

// texts is the same of a list, never null: where a value in it is not valid
// UTF-8, a second list has the bytes of each.
func texts(l []string) (values, base64Values []string) {
	if !slices.ContainsFunc(l, func(s string) bool { return !utf8.ValidString(s) }) {
		return list(l), nil
	}
	for _, s := range l {
		base64Values = append(base64Values, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	return l, base64Values
}

// number is null where 0 means that it is not known.
func number[T int | uint64](n T) *T {
	if n == 0 {
		return nil
	}
	return &n
}

// orNull is null for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// list is never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

type jsonHead struct {
	SchemaVersion int           `json:"schema_version"`
	Reader        jsonReader    `json:"reader"`
	Skipped       []jsonSkipped `json:"skipped"`
}

type jsonReader struct {
	PID      *int    `json:"pid"`
	CgroupNS *uint64 `json:"cgroup_ns"`
	Initial  *bool   `json:"initial"`
	UID      *int    `json:"uid"`
	CanEnter bool    `json:"can_enter"`
}

type jsonSkipped struct {
	PID    int    `json:"pid"`
	What   string `json:"what"`
	Reason string `json:"reason"`
}

func head(r inspect.Reader, skipped []inspect.Skipped) jsonHead {
	h := jsonHead{SchemaVersion: schemaVersion, Skipped: []jsonSkipped{}}
	h.Reader = jsonReader{PID: number(r.PID), CgroupNS: number(r.CgroupNS), CanEnter: r.CanEnter}
	if r.CgroupNS != 0 {
		initial := r.Initial()
		h.Reader.Initial = &initial
	}
	if r.UID >= 0 {
		h.Reader.UID = &r.UID
	}
	for _, s := range skipped {
		h.Skipped = append(h.Skipped, jsonSkipped(s))
	}
	return h
}

// jsonHierarchy is how every object names the hierarchy that it is about.
type jsonHierarchy struct {
	ID          int      `json:"id"`
	Hierarchy   string   `json:"hierarchy"`
	Version     int      `json:"version"`
	Controllers []string `json:"controllers"`
	Name        *string  `json:"name"`
}

func hierarchy(h *inspect.Hierarchy) jsonHierarchy {
	return jsonHierarchy{ID: h.ID, Hierarchy: h.Label, Version: h.Version(), Controllers: list(h.Controllers), Name: orNull(h.Name)}
}

type jsonProcess struct {
	PID           int     `json:"pid"`
	TID           int     `json:"tid"`
	PPID          int     `json:"ppid"`
	UID           int     `json:"uid"`
	User          string  `json:"user"`
	UserBase64    string  `json:"user_base64,omitempty"`
	Command       *string `json:"command"`
	CommandBase64 string  `json:"command_base64,omitempty"`
	State         string  `json:"state"`
	StartTicks    uint64  `json:"start_ticks"`
	CgroupNS      *uint64 `json:"cgroup_ns"`
	MntNS         *uint64 `json:"mnt_ns"`
	PIDNS         *uint64 `json:"pid_ns"`
	UserNS        *uint64 `json:"user_ns"`
}

func process(p inspect.Process) jsonProcess {
	j := jsonProcess{
		PID: p.PID, TID: p.TID, PPID: p.PPID, UID: p.UID, User: p.User, State: p.State, StartTicks: p.StartTicks,
		CgroupNS: number(p.CgroupNS), MntNS: number(p.MntNS), PIDNS: number(p.PIDNS), UserNS: number(p.UserNS),
	}
	_, j.UserBase64 = text(p.User)
	j.Command, j.CommandBase64 = text(p.Command)
	return j
}

type jsonThread struct {
	TID      int     `json:"tid"`
	CgroupNS *uint64 `json:"cgroup_ns"`
	MntNS    *uint64 `json:"mnt_ns"`
}

func threads(tasks []inspect.Task) []jsonThread {
	l := []jsonThread{}
	for _, t := range tasks {
		l = append(l, jsonThread{TID: t.TID, CgroupNS: number(t.CgroupNS), MntNS: number(t.MntNS)})
	}
	return l
}

type jsonMount struct {
	ID                  int             `json:"id"`
	ParentID            int             `json:"parent_id"`
	MountPoint          *string         `json:"mount_point"`
	MountPointBase64    string          `json:"mount_point_base64,omitempty"`
	HostRoot            *string         `json:"host_root"`
	HostRootBase64      string          `json:"host_root_base64,omitempty"`
	NamespaceRoot       *string         `json:"namespace_root"`
	NamespaceRootBase64 string          `json:"namespace_root_base64,omitempty"`
	Visible             bool            `json:"visible"`
	ReadOnly            bool            `json:"read_only"`
	Propagation         string          `json:"propagation"`
	Verdict             compare.Verdict `json:"verdict"`
}

func mount(m *compare.MountView) *jsonMount {
	if m == nil {
		return nil
	}
	j := &jsonMount{
		ID: m.ID, ParentID: m.ParentID, Visible: m.Visible, ReadOnly: m.ReadOnly(),
		Propagation: m.Propagation, Verdict: m.Verdict,
	}
	j.MountPoint, j.MountPointBase64 = text(m.MountPoint)
	j.HostRoot, j.HostRootBase64 = text(m.Root)
	j.NamespaceRoot, j.NamespaceRootBase64 = text(m.NamespaceRoot)
	return j
}
