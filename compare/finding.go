package compare

import "nsinspect/inspect"

// Severity says how much a finding matters.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

var weight = map[Severity]int{Error: 3, Warning: 2, Info: 1}

// AtLeast tells whether s is as severe as t or more.
func (s Severity) AtLeast(t Severity) bool { return weight[s] >= weight[t] }

// Finding is one fault, told once with all the processes that it touches.
type Finding struct {
	Check    string
	Severity Severity
	// CgroupNS and MntNS are the namespaces that have it; 0: none in particular.
	CgroupNS, MntNS uint64
	// PID is the process that it was examined on, PIDs all that it touches; 0
	// and empty if it is not about processes.
	PID     int
	PIDs    []int
	Command string
	// Hierarchy and Mount are nil where none is meant.
	Hierarchy *inspect.Hierarchy
	Mount     *MountView
	Message   string
	// Evidence is what the finding rests on, by name.
	Evidence map[string]any
	// Confirmed is true if the kernel's own list of the cgroup's processes
	// bears it out, and nil if that could not be tried.
	Confirmed *bool
	Remedy    Remedy
	// Verify is the command that shows whether it is mended.
	Verify []string

	task  inspect.Task   // that it was examined on
	probe *inspect.Probe // what would confirm it; nil: nothing can
}

// Remedy is what mends a fault.
type Remedy struct {
	// Steps are commands to run as root on the host, each only if the one
	// before succeeded.
	Steps [][]string
	// Command is what nsinspect itself mends it with; nil where it would not.
	Command []string
	Notes   []string
	// Safe is nil if it could not be found out whether mending hurts others.
	Safe *bool
}

// Report is what doctor found.
type Report struct {
	Kernel, Layout string
	Reader         inspect.Reader
	Findings       []Finding
	Checks         []CheckResult
	// LeftOut counts those of them that are of the host as a whole and were left
	// out, since only some processes were judged.
	LeftOut  int
	Coverage Coverage
	Skipped  []inspect.Skipped
	// Missed says which of the judged processes could not be looked at, and why.
	// What was skipped of others is not in it.
	Missed []inspect.Skipped
	// Hidden is the host's: there are processes of which nothing is known.
	Hidden bool
}

// CheckResult is what became of one check.
type CheckResult struct {
	Check string
	// Examined counts the processes that it was able to judge.
	Examined int
	Findings int
}

// Coverage says how much of the host was seen.
type Coverage struct {
	Processes, Namespaces, Entered, Skipped int
}

// Count returns the number of findings of one severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Worst returns the highest severity found; ok is false if nothing was found.
func (r *Report) Worst() (s Severity, ok bool) {
	for _, f := range r.Findings {
		if !ok || f.Severity.AtLeast(s) {
			s, ok = f.Severity, true
		}
	}
	return s, ok
}

// Thread is the thread that the fault was examined on: the process's leader,
// whose ID is PID, or one that is elsewhere. 0: it is not about processes.
func (f *Finding) Thread() int {
	if f.task.TID == 0 {
		return f.PID
	}
	return f.task.TID
}

func truth(b bool) *bool { return &b }
