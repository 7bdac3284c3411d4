package compare

import "nsinspect/inspect"

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
	s := usersOf(h, t, mount, tables)
	users := s.Others
	s.Others = nil
	for _, o := range users {
		if o.CgroupNS != t.CgroupNS {
			s.Others = append(s.Others, o)
		}
	}
	return s
}

// usersOf is SharingOf with all who use the mount namespace among the others.
func usersOf(h *inspect.Host, t inspect.Task, mount int, tables []*inspect.MountTable) Sharing {
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
		if shares {
			s.First = s.First || isInit(h, o)
			s.Reader = s.Reader || o.PID == h.Reader.PID
			s.Others = append(s.Others, o)
		}
	}
	return s
}

// placeOfMount is a mount in a mount namespace.
type placeOfMount struct {
	mntNS uint64
	mount int
}

// users is usersOf, found out once for all findings on a mount: on a large host
// there may be thousands.
func (d *Diagnosis) users(t inspect.Task, mount int) Sharing {
	key := placeOfMount{t.MntNS, mount}
	s, known := d.sharing[key]
	if !known || t.MntNS == 0 {
		s = usersOf(d.host, t, mount, d.tables)
		d.sharing[key] = s
	}
	return s
}

// elsewhere are those of the tasks, in the order of their IDs, that are in other
// cgroup namespaces.
func elsewhere(tasks []inspect.Task, ns uint64) []int {
	list := make([]int, 0, len(tasks))
	for _, t := range tasks {
		if t.CgroupNS != ns && (len(list) == 0 || list[len(list)-1] != t.PID) {
			list = append(list, t.PID)
		}
	}
	return list
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

// Alive tells whether the namespace's root directory is known to exist.
func (h *HierarchyView) Alive() bool { return h.life == Alive }

// Good returns a visible mount through which the process can be found in its
// own part of the tree, or nil.
func (h *HierarchyView) Good() *MountView { return h.good() }
