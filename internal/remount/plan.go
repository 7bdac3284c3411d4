package remount

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// Action is what a plan does with a mount.
type Action string

// The actions.
const (
	// Keep: nothing, since it is healthy or may be meant; Reason says which.
	Keep Action = "keep"
	// Replace: the old mount is taken away and a fresh one put in its place.
	Replace Action = "replace"
	// Cover: a fresh mount is laid over the old one, which cannot be taken away
	// or not without reaching others.
	Cover Action = "cover"
	// Refuse: it shows the wrong tree, and is not mended; Reason says why.
	Refuse Action = "refuse"
)

// State is what has become of a mount.
type State string

// The states.
const (
	// Unchanged: it is as it was.
	Unchanged State = "unchanged"
	// Mended: a fresh mount is in its place.
	Mended State = "mended"
	// Restored: mending failed on the way and the old view was put back.
	Restored State = "restored"
	// Lost: mending failed and so did putting back: nothing is mounted there.
	Lost State = "lost"
)

// Text is a string that is null in JSON where it is empty: not known, or none.
type Text string

// MarshalJSON writes null for an empty text.
func (t Text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(t))
}

// Mount is one visible cgroup mount of the process: what the plan does with it
// and, in a result, what has become of it.
type Mount struct {
	// ID and Hierarchy name the hierarchy: its number and its label.
	ID        int    `json:"id"`
	Hierarchy string `json:"hierarchy"`
	// MountID is the mount's in mountinfo, unique on the host.
	MountID int `json:"mount_id"`
	// MountPoint is relative to the process's root directory. Any bytes.
	MountPoint string `json:"mount_point"`
	// NamespaceRoot is the mount's root in the view of the process's cgroup
	// namespace; empty: not known.
	NamespaceRoot Text            `json:"namespace_root"`
	Verdict       compare.Verdict `json:"verdict"`
	Action        Action          `json:"action"`
	// Reason says why it is kept or refused; empty for a healthy mount.
	Reason Text `json:"reason"`
	// Steps are what mending does, in words.
	Steps []string `json:"steps"`
	// State and what follows are empty in a plan.
	State Text `json:"state"`
	// After is the mount that is visible there now; nil: none, or not known.
	After *After `json:"after"`
	// Error says what failed, Hint what to do next.
	Error Text `json:"error"`
	Hint  Text `json:"hint"`
	// Notes are what is worth knowing of how it went.
	Notes []string `json:"notes"`
}

// After is the mount that is at a mount point after mending.
type After struct {
	MountID       int             `json:"mount_id"`
	NamespaceRoot Text            `json:"namespace_root"`
	Verdict       compare.Verdict `json:"verdict"`
}

// MarshalJSON adds mount_point_base64 where the mount point is not valid UTF-8.
func (m Mount) MarshalJSON() ([]byte, error) {
	type plain Mount
	bytes := ""
	if !utf8.ValidString(m.MountPoint) {
		bytes = base64.StdEncoding.EncodeToString([]byte(m.MountPoint))
	}
	if m.Steps == nil {
		m.Steps = []string{}
	}
	if m.Notes == nil {
		m.Notes = []string{}
	}
	return json.Marshal(struct {
		plain
		MountPointBase64 string `json:"mount_point_base64,omitempty"`
	}{plain(m), bytes})
}

// Mends tells whether the plan changes this mount.
func (m *Mount) Mends() bool { return m.Action == Replace || m.Action == Cover }

// Sharer is a process in another cgroup namespace that uses the mount namespace.
type Sharer struct {
	PID      int    `json:"pid"`
	Command  string `json:"command"`
	CgroupNS uint64 `json:"cgroup_ns"`
}

// Options are what a plan may do beyond mending stale mounts.
type Options struct {
	// Include may hold IncludeForeign.
	Include []string
}

// IncludeForeign lets a plan replace mounts that may be meant as they are:
// those of a neighbour's tree, those of a part of the namespace's own tree, and
// stale ones beside a good one of the same hierarchy.
const IncludeForeign = "foreign"

// Plan is what mending the cgroup mounts of a process would do.
type Plan struct {
	// Process is the process as it was when the plan was made.
	Process inspect.Process `json:"-"`
	// Mounts are its visible cgroup mounts, in the order of hierarchy IDs.
	Mounts []Mount `json:"mounts"`
	// Refusal says why nothing is mended at all; empty: nothing stands against
	// it. Hint says what to do instead.
	Refusal Text `json:"refusal"`
	Hint    Text `json:"hint"`
	// Sharers are whom mending would hurt, where that is the refusal.
	Sharers []Sharer `json:"sharers"`
	// Notes are what is worth knowing before it is applied.
	Notes []string `json:"notes"`
	// Skipped is what could not be read.
	Skipped []inspect.Skipped `json:"-"`

	fs      *inspect.FS
	sys     *calls
	options Options
	roots   compare.Roots
	jobs    []*job // one for each mount that is mended
}

// Status is StatusToDo if there is something to mend, StatusFailed if anything
// that shows the wrong tree is refused, else StatusDone.
func (p *Plan) Status() int {
	status := StatusDone
	for i := range p.Mounts {
		switch {
		case p.Mounts[i].Action == Refuse:
			return StatusFailed
		case p.Mounts[i].Mends():
			status = StatusToDo
		}
	}
	return status
}

// Result is what applying a plan has done.
type Result struct {
	Process inspect.Process `json:"-"`
	Mounts  []Mount         `json:"mounts"`
	// Notes say what could not be read again.
	Notes []string `json:"notes"`
}

// Status is StatusDone if nothing was refused and nothing failed, so that
// nothing stale is left, else StatusFailed.
func (r *Result) Status() int {
	for i := range r.Mounts {
		if m := &r.Mounts[i]; m.Action == Refuse || m.Error != "" {
			return StatusFailed
		}
	}
	return StatusDone
}
