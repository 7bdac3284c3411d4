package compare

import (
	"fmt"
	"slices"

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
	// Unknown are tasks that may be such: of which neither the namespace's link
	// nor a whole mount table could be read, or not the cgroup namespace.
	Unknown []inspect.Task
}

// Neighbours are all who may share a mount namespace with one another.
type Neighbours struct {
	reader inspect.Reader
	tasks  []inspect.Task
	// Strangers are those whose mount namespace could not be read, as many as
	// it is sensible to look at. Their mount tables may tell it all the same.
	Strangers []inspect.Task
	// Tables are theirs, nil where they could not be read.
	Tables []*inspect.MountTable
}

// maxStrangers bounds how many mount tables are read for that: whoever may not
// see the processes of others may not see their threads either, each of them.
const maxStrangers = 10_000

// NewNeighbours are the tasks of a host and those threads that its reading has
// not got.
func NewNeighbours(h *inspect.Host, threads []inspect.Task) Neighbours {
	n := Neighbours{reader: h.Reader, tasks: slices.Clone(h.Tasks)}
	known := make(map[int]bool, len(h.Tasks))
	for _, t := range h.Tasks {
		known[t.TID] = true
	}
	n.tasks = append(n.tasks, slices.DeleteFunc(slices.Clone(threads), func(t inspect.Task) bool { return known[t.TID] })...)
	for _, t := range n.tasks {
		if t.MntNS == 0 && len(n.Strangers) < maxStrangers {
			n.Strangers = append(n.Strangers, t)
		}
	}
	return n
}

// Of finds who shares the mount namespace of t, which has the mount with this
// ID: mount IDs are unique on a host, so whoever sees the mount is in its
// namespace.
func (n *Neighbours) Of(t inspect.Task, mount int) Sharing {
	s := Sharing{First: n.isInit(t)}
	if t.MntNS == 0 {
		s.Unknown = append(s.Unknown, t) // nothing can be compared with it
	}
	strangers := 0
	for _, o := range n.tasks {
		shares := t.MntNS != 0 && o.MntNS == t.MntNS
		if o.MntNS == 0 {
			var table *inspect.MountTable
			if strangers < len(n.Tables) {
				table = n.Tables[strangers]
			}
			strangers++
			shares = table != nil && sees(table, mount)
			if !shares && (table == nil || table.Incomplete != "") && (o.PID != t.PID || o.TID != t.TID) {
				s.Unknown = append(s.Unknown, o)
			}
		}
		if !shares {
			continue
		}
		s.First = s.First || n.isInit(o)
		s.Reader = s.Reader || o.PID == n.reader.PID
		switch o.CgroupNS {
		case t.CgroupNS:
		case 0:
			s.Unknown = append(s.Unknown, o)
		default:
			s.Others = append(s.Others, o)
		}
	}
	return s
}

// isInit tells whether a task is the host's first process: PID 1, if that is a
// number of the initial PID namespace.
func (n *Neighbours) isInit(t inspect.Task) bool { return t.PID == 1 && n.reader.WholeHost }

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
		return Refusal{"its mount namespace could not be read, so who else uses it is not known", ToSee, nil}
	case s.First:
		return Refusal{"its mount namespace is the host's, and mending its mounts would break those of the host", ownMounts, truth(true)}
	case s.Reader && stranger:
		return Refusal{"its mount namespace is that of nsinspect itself, and mending its mounts would break those of the reader", ownMounts, truth(true)}
	case len(s.Others) > 0:
		return Refusal{
			fmt.Sprintf("processes of other cgroup namespaces use its mount namespace (%s), and mending its mounts would break theirs", some(merge(nil, pids(s.Others)))),
			"restart it with a mount namespace of its own: unshare -m COMMAND", truth(true),
		}
	case len(s.Unknown) > 0:
		return Refusal{
			fmt.Sprintf("whether processes of other cgroup namespaces use its mount namespace could not be found out: %s", unread(merge(nil, pids(s.Unknown)))),
			ToSee, nil,
		}
	case !r.WholeHost:
		return Refusal{"whether processes outside this PID namespace use its mount namespace could not be found out", "run it on the host, with its own /proc", nil}
	case s.Reader:
		const where = "in another mount namespace of the host"
		hint := fmt.Sprintf("run 'nsinspect remount %d' %s", t.TID, where)
		if t.PID == r.PID { // which is nobody's by then
			hint = "run 'nsinspect remount PID' " + where + ", with the PID of a process here that lives on, such as your shell's"
		}
		return Refusal{"its mount namespace is that of nsinspect itself, which changes nothing of its own", hint, truth(false)}
	}
	return Refusal{}
}

// unread names the first few of some processes that could not be read.
func unread(pids []int) string {
	return fmt.Sprintf("%s could not be read (%s)", count(len(pids), "process", "processes"), some(pids))
}

// ToSee is what lets a reader see what was denied to it. Root of a container may
// not see the host, nor the host's own where a security module forbids it.
const ToSee = "run it as root on the host, outside of any sandbox that denies it"

// refusal is that of a task's mounts, found out once for the findings on one
// task, which come one after the other: on a large host there may be thousands.
// Which mount it is matters only for strangers.
func (d *Diagnosis) refusal(t inspect.Task, mount int) Refusal {
	if len(d.neighbours.Strangers) == 0 {
		mount = 0
	}
	last := &d.lastRefusal
	if last.task != t || last.mount != mount {
		with := d.neighbours.Of(t, mount)
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
