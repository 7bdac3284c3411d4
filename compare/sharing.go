package compare

import (
	"fmt"

	"nsinspect/inspect"
)

// Sharing says who else uses the mount namespace of a task, and so whose view a
// change of the task's mounts would change too.
type Sharing struct {
	// First tells that it is the host's PID 1's, Reader that it is the reader's
	// own.
	First, Reader bool
	// Others are the tasks in other cgroup namespaces that use it.
	Others []inspect.Task
	// Unknown are tasks of which neither the namespace's link nor a mount table
	// could be read.
	Unknown []inspect.Task
}

// Strangers are the tasks of a host whose mount namespace could not be read.
// Their mount tables may tell it all the same.
func Strangers(h *inspect.Host) []inspect.Task {
	var list []inspect.Task
	for _, t := range h.Tasks {
		if t.MntNS == 0 {
			list = append(list, t)
		}
	}
	return list
}

// SharingOf finds who shares the mount namespace of t, which has the mount with
// this ID. tables are the mount tables of the host's Strangers, nil where they
// could not be read: mount IDs are unique on a host, so whoever sees the mount
// is in its namespace.
func SharingOf(h *inspect.Host, t inspect.Task, mount int, tables []*inspect.MountTable) Sharing {
	s := Sharing{First: isInit(h, t)}
	if t.MntNS == 0 {
		s.Unknown = append(s.Unknown, t) // nothing can be compared with it
	}
	strangers := 0
	for _, o := range h.Tasks {
		shares := t.MntNS != 0 && o.MntNS == t.MntNS
		if o.MntNS == 0 {
			var table *inspect.MountTable
			if strangers < len(tables) {
				table = tables[strangers]
			}
			strangers++
			if table == nil && (o.PID != t.PID || o.TID != t.TID) {
				s.Unknown = append(s.Unknown, o)
			}
			shares = table != nil && sees(table, mount)
		}
		if !shares {
			continue
		}
		s.First = s.First || isInit(h, o)
		s.Reader = s.Reader || o.PID == h.Reader.PID
		if o.CgroupNS != t.CgroupNS {
			s.Others = append(s.Others, o)
		}
	}
	return s
}

// isInit tells whether a task is the host's first process: PID 1, if that is a
// number of the initial PID namespace.
func isInit(h *inspect.Host, t inspect.Task) bool { return t.PID == 1 && h.Reader.WholeHost }

func sees(t *inspect.MountTable, id int) bool {
	for i := range t.Cgroup {
		if t.Cgroup[i].ID == id {
			return true
		}
	}
	return false
}

// Refusal says why the mounts of a task are not to be changed. Why is empty if
// nothing stands against it.
type Refusal struct {
	// Why is a sentence, Hint what to do instead.
	Why, Hint string
	// Hurts tells whether others would be hurt; nil: that could not be found
	// out.
	Hurts *bool
}

// Refusal judges whether the mounts of t may be changed, as nobody of another
// cgroup namespace may get to see that.
func (s Sharing) Refusal(r inspect.Reader, t inspect.Task) Refusal {
	const ownMounts = "start it with a mount namespace of its own: unshare -C -m COMMAND"
	stranger := r.CgroupNS != t.CgroupNS || r.Initial()
	switch {
	case t.MntNS == 0:
		return Refusal{"its mount namespace could not be read, so who else uses it is not known", ToSee(r), nil}
	case s.First:
		return Refusal{"its mount namespace is the host's, and mending its mounts would break those of the host", ownMounts, truth(true)}
	case s.Reader && stranger:
		return Refusal{"its mount namespace is that of nsinspect itself, and mending its mounts would break those of the reader", ownMounts, truth(true)}
	case len(s.Others) > 0:
		return Refusal{
			fmt.Sprintf("processes of other cgroup namespaces use its mount namespace (%s), and mending its mounts would break theirs", some(merge(nil, pids(s.Others)))),
			"give it a mount namespace of its own first: unshare -m COMMAND", truth(true),
		}
	case len(s.Unknown) > 0:
		return Refusal{
			fmt.Sprintf("whether %s its mount namespace could not be found out", count(len(s.Unknown), "process that could not be read uses", "processes that could not be read use")),
			"run it as root on the host", nil,
		}
	case !r.WholeHost:
		return Refusal{"whether processes outside this PID namespace use its mount namespace could not be found out", "run it on the host, with its own /proc", nil}
	case s.Reader:
		return Refusal{"its mount namespace is that of nsinspect itself, which changes nothing of its own", fmt.Sprintf("run 'nsinspect remount %d' in another mount namespace of the host", t.TID), truth(false)}
	}
	return Refusal{}
}

// ToSee says what lets a reader see what was denied to it.
func ToSee(r inspect.Reader) string {
	if r.UID == 0 && r.CanEnter {
		return "even root may not see it here: run it where 'readlink /proc/PID/ns/mnt' answers, without the sandbox or security module that denies it"
	}
	return "run it as root on the host"
}

// refusal is that of a task's mounts, found out once for the findings on one
// task, which come one after the other: on a large host there may be thousands.
// Which mount it is matters only for strangers.
func (d *Diagnosis) refusal(t inspect.Task, mount int) Refusal {
	if len(d.strangers) == 0 {
		mount = 0
	}
	last := &d.lastRefusal
	if last.task != t || last.mount != mount {
		with := SharingOf(d.host, t, mount, d.tables)
		*last = refused{t, mount, with.Refusal(d.host.Reader, t)}
	}
	return last.Refusal
}

// refused is a refusal that was found out.
type refused struct {
	task  inspect.Task
	mount int
	Refusal
}

// Alive tells whether the namespace's root directory is known to exist.
func (h *HierarchyView) Alive() bool { return h.life == Alive }

// Good returns a visible mount through which the process can be found in its
// own part of the tree, or nil.
func (h *HierarchyView) Good() *MountView { return h.good() }
