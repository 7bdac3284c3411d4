// Package lab makes the textbook situations of cgroup_namespaces(7) on this
// host: [Run] starts a command in new namespaces, [Walk] goes through the
// manual page's example in one cgroup hierarchy. Together with internal/remount
// it is the only code of nsinspect that changes the system.
//
// What a walk makes is one cgroup of its own, directly below the visible mount
// of the hierarchy, and the mount namespace of one of its processes. Both end
// with the walk: every process of a lab reads a pipe that only the lab writes
// to, so it ends even if the lab is killed, and the lab holds flock(2) on its
// cgroup's directory, so that the next lab can tell an abandoned cgroup from
// one in use, in whatever PID namespace its owner runs.
//
// The processes are this same program, executed again with a hidden first
// argument: main must call [ChildMain] before anything else.
package lab
