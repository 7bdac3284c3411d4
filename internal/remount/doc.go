// Package remount mends the cgroup mounts of a process that show the wrong tree
// in its cgroup namespace: it makes a fresh mount of the hierarchy as a member
// of the namespace, whose root is therefore the namespace's own, and puts it in
// the old one's place.
//
// [NewPlan] reads and judges, and changes nothing. [Plan.Apply] does what the
// plan says, on one operating system thread that enters the process's cgroup
// and mount namespaces and is destroyed afterwards. It executes no program,
// opens what it needs from /proc before it enters, follows no symbolic link of
// the process's, and checks by mount ID that what it changes is what the plan
// is about.
//
// It needs root in the initial PID namespace, and Linux 5.8 or later: fsopen,
// fsmount, open_tree and move_mount are of 5.2, openat2 of 5.6, mount IDs in
// statx of 5.8. On older kernels it refuses before anything is changed.
package remount

// What a plan or a result is worth as an exit status.
const (
	// StatusDone: nothing stale is left.
	StatusDone = 0
	// StatusToDo: a plan has something to mend, and refuses nothing.
	StatusToDo = 1
	// StatusFailed: something was refused, or failed.
	StatusFailed = 2
)
