package inspect

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"unicode/utf8"
)

// captureFormat is the version of the archive's layout.
const captureFormat = 1

// answers is what a capture knows that no procfs holds, and what could not be
// read of the procfs.
type answers struct {
	reader Reader
	// only are the processes that the capture was made for; nil: all.
	only    []int
	users   map[int]string
	refused map[uint64]error // cgroup namespaces that could not be entered
	owners  map[uint64]uint64
	open    map[int][]OpenNamespace // by process
	probes  map[probeKey]ProbeAnswer
	dirs    map[DirectoryQuestion]DirectoryAnswer
	files   map[FileQuestion]FileAnswer
}

// probeKey is what tells probes apart.
type probeKey struct {
	task  taskID
	mount int
	point string
	path  string
}

func (p Probe) key() probeKey {
	return probeKey{task: taskID{p.Task.PID, p.Task.TID}, mount: p.Mount.ID, point: p.Mount.MountPoint, path: p.Path}
}

func newAnswers() answers {
	return answers{
		users: map[int]string{}, refused: map[uint64]error{}, owners: map[uint64]uint64{}, open: map[int][]OpenNamespace{},
		probes: map[probeKey]ProbeAnswer{}, dirs: map[DirectoryQuestion]DirectoryAnswer{}, files: map[FileQuestion]FileAnswer{},
	}
}

// octets is text of any bytes: a JSON string if it is valid UTF-8, else an
// object with its base64.
type octets string

type base64Text struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (o octets) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(o)) {
		return json.Marshal(string(o))
	}
	return json.Marshal(base64Text{[]byte(o)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *octets) UnmarshalJSON(text []byte) error {
	var plain string
	err := json.Unmarshal(text, &plain)
	if err == nil {
		*o = octets(plain)
		return nil
	}
	var coded base64Text
	if json.Unmarshal(text, &coded) != nil || coded.Base64 == nil {
		return err
	}
	*o = octets(coded.Base64)
	return nil
}

// answersFile is the layout of answers.json.
type answersFile struct {
	Format    int               `json:"format"`
	Reader    readerEntry       `json:"reader"`
	Processes []int             `json:"processes"`
	Users     map[int]octets    `json:"users"`
	Errors    map[string]string `json:"errors"`
	Refused   map[uint64]string `json:"refused"`
	Owners    map[uint64]uint64 `json:"mount_namespace_owners"`
	Open      []openEntry       `json:"open_namespaces"`
	Probes    []probeEntry      `json:"probes"`
	Dirs      []directoryEntry  `json:"directories"`
	Files     []fileEntry       `json:"cgroup_files"`
}

type readerEntry struct {
	PID       int    `json:"pid"`
	CgroupNS  uint64 `json:"cgroup_ns"`
	UID       int    `json:"uid"`
	CanEnter  bool   `json:"can_enter"`
	SamePIDs  bool   `json:"same_pids"`
	WholeHost bool   `json:"whole_host"`
}

type openEntry struct {
	PID int    `json:"pid"`
	FD  int    `json:"fd"`
	NS  uint64 `json:"cgroup_ns"`
}

type probeEntry struct {
	PID        int    `json:"pid"`
	TID        int    `json:"tid"`
	MountID    int    `json:"mount_id"`
	MountPoint octets `json:"mount_point"`
	Path       octets `json:"path"`
	Tried      bool   `json:"tried"`
	Listed     bool   `json:"listed"`
	List       string `json:"list"`
	Reason     octets `json:"reason"`
	Inode      uint64 `json:"inode"`
}

type directoryEntry struct {
	MountPoint octets       `json:"mount_point"`
	Path       octets       `json:"path"`
	Depth      int          `json:"depth"`
	Error      octets       `json:"error"`
	Found      []foundEntry `json:"found"`
}

type foundEntry struct {
	Path  octets `json:"path"`
	Inode uint64 `json:"inode"`
}

type fileEntry struct {
	MountPoint octets `json:"mount_point"`
	Path       octets `json:"path"`
	Name       octets `json:"name"`
	Text       octets `json:"text"`
	Missing    bool   `json:"missing"`
	Error      octets `json:"error"`
}

// take fills in the answers; the errors of reading go to the tasks.
func (c *capture) take(f *answersFile) error {
	if f.Format != captureFormat {
		return errors.New("it was made by another version of nsinspect")
	}
	c.reader = Reader(f.Reader)
	c.only = f.Processes
	c.owners = f.Owners
	for uid, name := range f.Users {
		c.users[uid] = string(name)
	}
	for ns, text := range f.Refused {
		c.refused[ns] = textError(text)
	}
	for _, o := range f.Open {
		c.open[o.PID] = append(c.open[o.PID], OpenNamespace(o))
	}
	for _, p := range f.Probes {
		k := probeKey{taskID{p.PID, p.TID}, p.MountID, string(p.MountPoint), string(p.Path)}
		c.probes[k] = ProbeAnswer{Tried: p.Tried, Listed: p.Listed, List: p.List, Reason: string(p.Reason), Inode: p.Inode}
	}
	for _, d := range f.Dirs {
		a := DirectoryAnswer{Err: string(d.Error)}
		for _, e := range d.Found {
			a.Directories = append(a.Directories, Directory{Path: string(e.Path), Inode: e.Inode})
		}
		c.dirs[DirectoryQuestion{MountPoint: string(d.MountPoint), Path: string(d.Path), Depth: d.Depth}] = a
	}
	for _, e := range f.Files {
		q := FileQuestion{MountPoint: string(e.MountPoint), Path: string(e.Path), Name: string(e.Name)}
		c.files[q] = FileAnswer{Text: string(e.Text), Missing: e.Missing, Err: string(e.Error)}
	}
	return nil
}

// give is the reverse of take; errs are the errors of reading by path. What
// comes out of maps is put in order, so that equal captures are equal archives.
func (c *capture) give(errs map[string]string) *answersFile {
	f := &answersFile{
		Format: captureFormat, Reader: readerEntry(c.reader), Processes: c.only, Errors: errs, Owners: c.owners,
		Users: map[int]octets{}, Refused: map[uint64]string{},
		Open: []openEntry{}, Probes: []probeEntry{}, Dirs: []directoryEntry{}, Files: []fileEntry{},
	}
	for uid, name := range c.users {
		f.Users[uid] = octets(name)
	}
	for ns, err := range c.refused {
		f.Refused[ns] = errorText(err)
	}
	for _, pid := range slices.Sorted(maps.Keys(c.open)) {
		for _, o := range c.open[pid] {
			f.Open = append(f.Open, openEntry(o))
		}
	}
	for k, a := range c.probes {
		f.Probes = append(f.Probes, probeEntry{
			PID: k.task.pid, TID: k.task.tid, MountID: k.mount, MountPoint: octets(k.point), Path: octets(k.path),
			Tried: a.Tried, Listed: a.Listed, List: a.List, Reason: octets(a.Reason), Inode: a.Inode,
		})
	}
	slices.SortFunc(f.Probes, func(a, b probeEntry) int {
		return cmp.Or(compareTasks(taskID{a.PID, a.TID}, taskID{b.PID, b.TID}), cmp.Compare(a.MountID, b.MountID),
			cmp.Compare(a.MountPoint, b.MountPoint), cmp.Compare(a.Path, b.Path))
	})
	c.giveFiles(f)
	return f
}

func (c *capture) giveFiles(f *answersFile) {
	for q, a := range c.dirs {
		e := directoryEntry{MountPoint: octets(q.MountPoint), Path: octets(q.Path), Depth: q.Depth, Error: octets(a.Err), Found: []foundEntry{}}
		for _, d := range a.Directories {
			e.Found = append(e.Found, foundEntry{Path: octets(d.Path), Inode: d.Inode})
		}
		f.Dirs = append(f.Dirs, e)
	}
	slices.SortFunc(f.Dirs, func(a, b directoryEntry) int {
		return cmp.Or(cmp.Compare(a.MountPoint, b.MountPoint), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Depth, b.Depth))
	})
	for q, a := range c.files {
		f.Files = append(f.Files, fileEntry{
			MountPoint: octets(q.MountPoint), Path: octets(q.Path), Name: octets(q.Name),
			Text: octets(a.Text), Missing: a.Missing, Error: octets(a.Err),
		})
	}
	slices.SortFunc(f.Files, func(a, b fileEntry) int {
		return cmp.Or(cmp.Compare(a.MountPoint, b.MountPoint), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Name, b.Name))
	})
}
