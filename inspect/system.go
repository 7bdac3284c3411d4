package inspect

import "context"

// system answers what is not in a procfs, or only in pieces too many to keep.
type system interface {
	// userName is a user's name on this host, else its number.
	userName(uid int) string
	// mountNSOwner is the user namespace that owns a task's mount namespace; 0:
	// not known.
	mountNSOwner(t Task) uint64
	// openNamespaces are the cgroup namespaces among a process's open files.
	openNamespaces(pid int) []OpenNamespace
	probe(ctx context.Context, p Probe) ProbeAnswer
	directories(q DirectoryQuestion) DirectoryAnswer
	cgroupFile(q FileQuestion) FileAnswer
}

// system is the kernel that runs, or in a copy of a procfs none.
func (t *fsTree) system() system {
	bare := bareSystem{tree: t, users: &userNames{}}
	if t.real {
		return liveSystem{bareSystem: bare, samePIDs: t.reader().SamePIDs}
	}
	return bare
}

// bareSystem has no more than a copy of a procfs, and the names of this host.
type bareSystem struct {
	tree  *fsTree
	users *userNames
}

const noCgroupfs = "a recorded procfs has no cgroup file system"

func (s bareSystem) userName(uid int) string { return s.users.name(uid) }

func (bareSystem) mountNSOwner(Task) uint64 { return 0 }

func (bareSystem) probe(context.Context, Probe) ProbeAnswer { return ProbeAnswer{Reason: noCgroupfs} }

func (bareSystem) directories(DirectoryQuestion) DirectoryAnswer {
	return DirectoryAnswer{Err: noCgroupfs}
}

func (bareSystem) cgroupFile(FileQuestion) FileAnswer { return FileAnswer{Err: noCgroupfs} }

// liveSystem asks the kernel.
type liveSystem struct {
	bareSystem
	// samePIDs is Reader.SamePIDs.
	samePIDs bool
}

func (s liveSystem) mountNSOwner(t Task) uint64 {
	d, err := s.tree.process(t.PID, t.TID)
	if err != nil {
		return 0
	}
	defer d.close()
	owner, err := nsOwner(d, "ns/mnt", t.MntNS)
	if err != nil {
		return 0
	}
	return owner
}
