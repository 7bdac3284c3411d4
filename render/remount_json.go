package render

import (
	"io"

	"nsinspect/compare"
)

type jsonRemountMount struct {
	ID                  int               `json:"id"`
	Hierarchy           string            `json:"hierarchy"`
	MountID             int               `json:"mount_id"`
	MountPoint          string            `json:"mount_point"`
	MountPointBase64    string            `json:"mount_point_base64,omitempty"`
	NamespaceRoot       *string           `json:"namespace_root"`
	NamespaceRootBase64 string            `json:"namespace_root_base64,omitempty"`
	Verdict             compare.Verdict   `json:"verdict"`
	Action              string            `json:"action"`
	Reason              *string           `json:"reason"`
	Steps               []string          `json:"steps"`
	State               *string           `json:"state"`
	After               *jsonRemountAfter `json:"after"`
	Error               *string           `json:"error"`
	Hint                *string           `json:"hint"`
	Notes               []string          `json:"notes"`
}

type jsonRemountAfter struct {
	MountID             int             `json:"mount_id"`
	NamespaceRoot       *string         `json:"namespace_root"`
	NamespaceRootBase64 string          `json:"namespace_root_base64,omitempty"`
	Verdict             compare.Verdict `json:"verdict"`
}

type jsonSharer struct {
	PID           int     `json:"pid"`
	Command       *string `json:"command"`
	CommandBase64 string  `json:"command_base64,omitempty"`
	CgroupNS      *uint64 `json:"cgroup_ns"`
}

// RemountJSON writes a plan or a result as one document.
func RemountJSON(w io.Writer, r *Remount) error {
	_, outcome := r.tally()
	document := struct {
		jsonHead
		Process jsonProcess        `json:"process"`
		Applied bool               `json:"applied"`
		Outcome string             `json:"outcome"`
		Refusal *string            `json:"refusal"`
		Hint    *string            `json:"hint"`
		Sharers []jsonSharer       `json:"sharers"`
		Mounts  []jsonRemountMount `json:"mounts"`
		Notes   []string           `json:"notes"`
	}{
		head(r.Reader, r.Skipped), process(r.Process), r.Applied, outcome, orNull(r.Refusal), orNull(r.Hint),
		[]jsonSharer{}, []jsonRemountMount{}, list(r.Notes),
	}
	for _, s := range r.Sharers {
		j := jsonSharer{PID: s.PID, CgroupNS: number(s.CgroupNS)}
		j.Command, j.CommandBase64 = text(s.Command)
		document.Sharers = append(document.Sharers, j)
	}
	for i := range r.Mounts {
		document.Mounts = append(document.Mounts, remountMount(&r.Mounts[i]))
	}
	return writeJSON(w, document)
}

func remountMount(m *RemountMount) jsonRemountMount {
	j := jsonRemountMount{
		ID: m.Hierarchy.ID, Hierarchy: m.Hierarchy.Label, MountID: m.MountID, MountPoint: m.MountPoint, Verdict: m.Verdict,
		Action: m.Action, Reason: orNull(m.Reason), Steps: list(m.Steps), State: orNull(m.State),
		Error: orNull(m.Error), Hint: orNull(m.Hint), Notes: list(m.Notes),
	}
	_, j.MountPointBase64 = text(m.MountPoint)
	j.NamespaceRoot, j.NamespaceRootBase64 = text(m.NamespaceRoot)
	if a := m.After; a != nil {
		j.After = &jsonRemountAfter{MountID: a.MountID, Verdict: a.Verdict}
		j.After.NamespaceRoot, j.After.NamespaceRootBase64 = text(a.NamespaceRoot)
	}
	return j
}
