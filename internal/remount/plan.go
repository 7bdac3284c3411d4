package remount

import (
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
	// Unchanged: it is the mount that it was.
	Unchanged State = "unchanged"
	// Mended: a fresh mount is in its place.
	Mended State = "mended"
	// Restored: mending failed on the way, and a copy of the old mount with all
	// upon it was put in its place.
	Restored State = "restored"
	// Lost: mending failed, and so did putting the old mount back.
	Lost State = "lost"
)

// Mount is one visible cgroup mount of the process: what the plan does with it
// and, in a result, what has become of it.
type Mount struct {
	Hierarchy *inspect.Hierarchy
	// MountID is the mount's in mountinfo, unique on the host.
	MountID int
	// MountPoint is relative to the process's root directory. Any bytes.
	MountPoint string
	// NamespaceRoot is the mount's root in the view of the process's cgroup
	// namespace; empty: not known.
	NamespaceRoot string
	Verdict       compare.Verdict
	Action        Action
	// Reason says why it is kept or refused; empty for a healthy mount.
	Reason string
	// Steps are what mending does, in words.
	Steps []string
	// State and what follows are empty in a plan, but for the hint where it is
	// refused.
	State State
	// After is the mount that is visible there now; nil: none, or not known.
	After *After
	// Error says what failed, Hint what to do next.
	Error, Hint string
	// Notes are what is worth knowing of how it went.
	Notes []string
}

// After is the mount that is at a mount point after mending.
type After struct {
	MountID       int
	NamespaceRoot string
	Verdict       compare.Verdict
}

// Mends tells whether the plan changes this mount.
func (m *Mount) Mends() bool { return m.Action == Replace || m.Action == Cover }

// Sharer is a process in another cgroup namespace that uses the mount namespace.
type Sharer struct {
	PID int
	// Command is its comm name; empty: not known. Any bytes.
	Command  string
	CgroupNS uint64
}

// Options are what a plan may do beyond mending stale mounts.
type Options struct {
	// Foreign lets it replace mounts that may be meant as they are: those of a
	// neighbour's tree, those of a part of the namespace's own tree, and stale
	// ones beside a good one of the same hierarchy.
	Foreign bool
}

// Plan is what mending the cgroup mounts of a process would do.
type Plan struct {
	// Process is the process as it was when the plan was made.
	Process inspect.Process
	// Mounts are its visible cgroup mounts, in the order of hierarchy IDs.
	Mounts []Mount
	// Refusal says why nothing is mended at all; empty: nothing stands against
	// it. Hint says what to do instead.
	Refusal, Hint string
	// Sharers are whom mending would hurt, where that is the refusal.
	Sharers []Sharer
	// Notes are what is worth knowing beside.
	Notes []string
	// Skipped is what could not be read.
	Skipped []inspect.Skipped

	fs      *inspect.FS
	sys     *calls
	options Options
	roots   compare.Roots
	jobs    []*job // one for each mount that is mended
}

// Status is StatusToDo if there is something to mend, StatusFailed if anything
// that shows the wrong tree is refused, or could not be looked at, else
// StatusDone.
func (p *Plan) Status() int {
	if p.Refusal != "" {
		return StatusFailed
	}
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

// Result is a plan that was applied.
type Result struct{ *Plan }

// Status is StatusDone if nothing was refused and nothing failed, so that
// nothing stale is left, else StatusFailed.
func (r Result) Status() int {
	if r.Refusal != "" {
		return StatusFailed
	}
	for i := range r.Mounts {
		if m := &r.Mounts[i]; m.Action == Refuse || m.Error != "" {
			return StatusFailed
		}
	}
	return StatusDone
}
