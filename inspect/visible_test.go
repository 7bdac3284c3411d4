package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asCgroups makes every mount of a mountinfo a cgroup mount, so that what is
// said of a cgroup mount's visibility is said of all.
func asCgroups(text []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		f := bytes.Split(line, []byte{' '})
		for i := 6; i < len(f)-1; i++ {
			if string(f[i]) == "-" {
				f[i+1] = []byte("cgroup" + string(f[i+1][len(bytes.TrimSuffix(f[i+1], []byte{'\n'})):]))
				break
			}
		}
		out.Write(bytes.Join(f, []byte{' '}))
	}
	return out.Bytes()
}

// TestVisible has mount trees as the kernel lists them, with what a walk from
// the process's root directory comes upon. Every one of them is also made for
// the running kernel to judge in TestLiveVisible.
func TestVisible(t *testing.T) {
	for _, test := range []struct {
		name    string
		mounts  string // ID, parent, mount point
		visible []int
	}{
		{"no mounts", "", nil},
		{"root alone", "1 0 /", []int{1}},
		{"a chain", "1 0 /\n2 1 /a\n3 2 /a/b", []int{1, 2, 3}},
		{"stacked on one point", "1 0 /\n2 1 /a\n3 2 /a\n4 3 /a", []int{1, 4}},
		{"upon a covered mount", "1 0 /\n2 1 /a\n3 2 /a/b\n4 2 /a", []int{1, 4}},
		{"moved below a covering mount", "1 0 /\n2 1 /a\n4 2 /a\n3 4 /a/b", []int{1, 4, 3}},
		{"over an ancestor", "1 0 /\n2 1 /a/b\n3 1 /a", []int{1, 3}},
		{"over an ancestor below another mount", "1 0 /\n2 1 /m\n3 2 /m/a/b/c\n4 2 /m/a/b", []int{1, 2, 4}},
		{"a neighbour with the same beginning is not in the way", "1 0 /\n2 1 /ab/c\n3 1 /a", []int{1, 2, 3}},
		{"a sibling that sorts between", "1 0 /\n2 1 /a/b\n3 1 /a-b\n4 1 /a", []int{1, 3, 4}},
		{"a sibling with another byte for the slash", "1 0 /\n2 1 /a/b/c\n3 1 /a-b\n4 1 /a/b-c", []int{1, 2, 3, 4}},
		{"the same point on different parents", "1 0 /\n2 1 /a\n3 1 /a/b\n4 2 /a/b", []int{1, 2, 4}},
		{"over the root directory", "1 0 /\n2 1 /\n3 2 /a\n4 1 /a", []int{1, 4}},
		{"initramfs: the top is its own parent", "1 1 /\n2 1 /a\n3 2 /a/b\n4 1 /c", []int{1, 2, 3, 4}},
		{"initramfs with a root over it", "1 1 /\n2 1 /\n3 2 /a\n4 1 /a", []int{1, 4}},
		{"a mount point in an unlisted mount", "2 9 /a\n3 9 /a/b\n4 2 /a/b\n5 9 /c", []int{2, 4, 5}},
		{"over a root directory that is no mount", "2 9 /\n3 2 /a\n4 9 /a\n5 9 /b", []int{4, 5}},
		{"a ring", "2 3 /a\n3 2 /a/b", nil},
		{"numbers from high to low", "9 0 /\n8 9 /a\n7 8 /a", []int{9, 7}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var visible []int
			for _, m := range tableOf(t, test.mounts).Cgroup {
				if m.Visible {
					visible = append(visible, m.ID)
				}
			}
			slices.Sort(visible)
			want := slices.Sorted(slices.Values(test.visible))
			if !slices.Equal(visible, want) {
				t.Errorf("visible: %v, want %v", visible, want)
			}
		})
	}
}

// tableOf parses a mountinfo that is told by ID, parent and mount point.
func tableOf(t *testing.T, mounts string) *MountTable {
	t.Helper()
	var text strings.Builder
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		fmt.Fprintf(&text, "%s %s 0:%s /root%s %s rw - cgroup cgroup rw\n", f[0], f[1], f[0], f[0], f[2])
	}
	table, err := ParseMountInfo(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestRootDirectory(t *testing.T) {
	for _, test := range []struct{ name, mounts, dev, dir string }{
		{"a mount", "5 4 /\n6 5 /a", "0:5", "/root5"},
		{"a mount that is covered", "5 4 /\n6 5 /", "0:5", "/root5"},
		{"its own parent", "5 5 /\n6 5 /a", "0:5", "/root5"},
		{"no mount", "6 4 /a\n7 4 /b", "", ""},
		{"no mount, with one over it", "6 4 /a\n7 4 /", "", ""},
		{"no mounts", "", "", ""},
	} {
		if table := tableOf(t, test.mounts); table.RootDev != test.dev || table.RootDir != test.dir {
			t.Errorf("%s: root directory is %q of %q, want %q of %q", test.name, table.RootDir, table.RootDev, test.dir, test.dev)
		}
	}
}

func TestSurroundings(t *testing.T) {
	const text = `1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
2 1 0:5 / /sys rw - tmpfs tmpfs rw
3 2 0:6 / /sys/cgroup rw master:7 - cgroup2 cgroup2 rw
4 3 0:7 / /sys/cgroup/under rw - cgroup freezer rw,freezer
5 3 0:7 / /sys/cgroup/beside rw - cgroup freezer rw,freezer
6 1 0:8 / /far rw - fuse.sshfs host: rw
7 6 0:9 / /far/near rw - tmpfs tmpfs rw
8 7 0:7 / /far/near/cgroup rw - cgroup freezer rw,freezer
9 8 0:7 / /far/near/cgroup rw - cgroup freezer rw,freezer
10 77 0:7 / /stray rw - cgroup freezer rw,freezer
`
	table, err := ParseMountInfo(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	type surroundings struct {
		Parent    ParentMount
		Behind    string
		Submounts int
	}
	want := map[int]surroundings{
		3:  {ParentMount{Known: true, MountPoint: "/sys", Visible: true}, "", 2},
		4:  {ParentMount{Known: true, MountPoint: "/sys/cgroup", Visible: true}, "", 0},
		5:  {ParentMount{Known: true, MountPoint: "/sys/cgroup", Visible: true}, "", 0},
		8:  {ParentMount{Known: true, MountPoint: "/far/near", Visible: true}, "fuse.sshfs", 1},
		9:  {ParentMount{Known: true, MountPoint: "/far/near/cgroup"}, "fuse.sshfs", 0},
		10: {ParentMount{}, "", 0},
	}
	for _, m := range table.Cgroup {
		if got := (surroundings{m.Parent, m.Behind, m.Submounts}); got != want[m.ID] {
			t.Errorf("mount %d: %+v, want %+v", m.ID, got, want[m.ID])
		}
		delete(want, m.ID)
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
	// A mount upon the root directory knows that its parent is shared.
	table, err = ParseMountInfo(strings.NewReader("1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n2 1 0:7 / /c rw - cgroup2 none rw\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p := table.Cgroup[0].Parent; p != (ParentMount{Known: true, MountPoint: "/", Shared: true, Visible: true}) {
		t.Errorf("parent: %+v", p)
	}
}

// TestLongMountPoint: no path of PATH_MAX bytes leads anywhere.
func TestLongMountPoint(t *testing.T) {
	for length, visible := range map[int]bool{4095: true, 4096: false} {
		point := "/" + strings.Repeat("x", length-1)
		if m := tableOf(t, "1 0 /\n2 1 "+point).Cgroup[1]; m.Visible != visible || m.MountPoint != point {
			t.Errorf("a mount point of %d bytes: visible %v, want %v", length, m.Visible, visible)
		}
	}
}

// TestVisibleScales: ten times the mounts may not take much more than ten
// times as long, however they lie.
func TestVisibleScales(t *testing.T) {
	deep := strings.Repeat("/d", 1900)
	for _, shape := range []struct {
		name string
		line func(i, n int) (fstype string, parent int, point string)
	}{
		{"stacked", func(i, n int) (string, int, string) { return "cgroup", i - 1, "/a" }},
		{"side by side", func(i, n int) (string, int, string) { return "cgroup", 1, fmt.Sprintf("/a/%d", i) }},
		{"a chain", func(i, n int) (string, int, string) { return "cgroup", i - 1, "/a" + strings.Repeat("/", i%2) + "a" }},
		{"upon a stack", func(i, n int) (string, int, string) {
			if i < n/2 {
				return "tmpfs", i - 1, "/a"
			}
			return "cgroup", n/2 - 1, fmt.Sprintf("/a/%d", i)
		}},
		{"twins", func(i, n int) (string, int, string) { return "cgroup", 1, "/a" }},
		{"deep", func(i, n int) (string, int, string) { return "cgroup", 1, fmt.Sprintf("%s/%d", deep, i) }},
	} {
		t.Run(shape.name, func(t *testing.T) {
			cost := func(n int) time.Duration {
				var text strings.Builder
				text.WriteString("1 0 0:1 / / rw - tmpfs tmpfs rw\n")
				for i := 2; i <= n; i++ {
					fstype, parent, point := shape.line(i, n)
					fmt.Fprintf(&text, "%d %d 0:2 / %s rw - %s none rw\n", i, parent, point, fstype)
				}
				best := time.Hour
				for range 2 {
					best = min(best, processorTime(t, func() {
						if _, err := ParseMountInfo(strings.NewReader(text.String())); err != nil {
							t.Fatal(err)
						}
					}))
				}
				return best
			}
			// Below a few milliseconds the clock says little.
			small, large := max(cost(2000), 5*time.Millisecond), cost(20_000)
			if large > 30*small {
				t.Errorf("20000 mounts took %v, 2000 took %v", large, small)
			}
		})
	}
}

// processorTime is what do costs on its thread: on a busy host it takes longer.
func processorTime(t *testing.T, do func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	do()
	return used() - before
}

// walk is what the kernel does with a path, told once more and otherwise than
// in visible.go: one component after the other, crossing to what is mounted
// there. It works on a list of mounts as they were made.
type walk struct {
	root      modelPlace
	mounts    []modelMount
	mountedOn map[modelPlace]int // by the directory covered: the mount upon it
	initramfs bool
}

type modelPlace struct {
	mount int
	dir   string // within the mount: "" is its root
}

type modelMount struct {
	id int
	on modelPlace
}

func (w *walk) cross(at modelPlace) modelPlace {
	for {
		m, ok := w.mountedOn[at]
		if !ok {
			return at
		}
		at = modelPlace{m, ""}
	}
}

func (w *walk) to(path string) modelPlace {
	at := w.root
	for name := range strings.SplitSeq(path, "/") {
		if name != "" {
			at = w.cross(modelPlace{at.mount, at.dir + "/" + name})
		}
	}
	return at
}

// path is the mount point as mountinfo has it; ok is false if the root
// directory is not above it.
func (w *walk) path(m modelMount) (string, bool) {
	path := ""
	for at := (modelPlace{m.id, ""}); ; {
		if rest, below := strings.CutPrefix(at.dir, w.root.dir); at.mount == w.root.mount && below && (rest == "" || rest[0] == '/') {
			if path = rest + path; path == "" {
				path = "/"
			}
			return path, true
		}
		path = at.dir + path
		on := w.mounts[at.mount].on
		if on.mount == at.mount {
			return "", false
		}
		at = on
	}
}

// parent is what mountinfo has for it: the top's is itself, or out of sight.
func (w *walk) parent(m modelMount) int {
	if m.id == 0 && !w.initramfs {
		return 0
	}
	return m.on.mount + 1
}

// newWalk makes a tree of mounts from bytes: each three of them are a mount
// upon some directory of an earlier one; what is mounted there is covered.
func newWalk(seed []byte) *walk {
	w := &walk{mountedOn: map[modelPlace]int{}, mounts: []modelMount{{0, modelPlace{}}}}
	dir := func(b byte) string {
		d := ""
		for ; b > 0; b /= 4 {
			d += "/" + []string{"a", "b", "a-b", "a"}[b%4] // none to four names
		}
		return d
	}
	w.initramfs = len(seed)%2 == 0
	for len(seed) >= 3 && len(w.mounts) < 40 {
		on := modelPlace{int(seed[0]) % len(w.mounts), dir(seed[1])}
		if seed[2]%2 == 0 {
			on = w.cross(on)
		}
		if _, taken := w.mountedOn[on]; !taken {
			id := len(w.mounts)
			w.mounts = append(w.mounts, modelMount{id, on})
			w.mountedOn[on] = id
		}
		if seed[2] >= 250 {
			w.root = modelPlace{int(seed[0]) % len(w.mounts), dir(seed[1] % 16)}
		}
		seed = seed[3:]
	}
	return w
}

// mountinfo lists the mounts that the root directory reaches.
func (w *walk) mountinfo() string {
	var text strings.Builder
	for _, m := range w.mounts {
		if path, ok := w.path(m); ok {
			fmt.Fprintf(&text, "%d %d 0:1 / %s rw - cgroup none rw\n", m.id+1, w.parent(m), path)
		}
	}
	return text.String()
}

// lone tells whether one listed mount lies over a root directory that is no
// mount, with no other beside it. mountinfo has the same lines then as if that
// mount were the root directory.
func (w *walk) lone() bool {
	if w.root.dir == "" {
		return false
	}
	upon, over := 0, false
	for _, m := range w.mounts {
		if path, ok := w.path(m); ok && m.on.mount == w.root.mount {
			upon++
			over = over || path == "/"
		}
	}
	return over && upon == 1
}

func (w *walk) check(t *testing.T) {
	t.Helper()
	if w.lone() {
		return
	}
	text := w.mountinfo()
	table, err := ParseMountInfo(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range table.Cgroup {
		at := w.to(m.MountPoint)
		if want := at == (modelPlace{m.ID - 1, ""}); m.Visible != want {
			t.Fatalf("mount %d: visible %v, but the walk ends at %+v; root directory %+v in\n%s", m.ID, m.Visible, at, w.root, text)
		}
	}
}

// TestVisibleAsTheWalk compares visibility with a model of the kernel's walk,
// which runs everywhere; TestLiveVisibleRandom compares it with the kernel.
func TestVisibleAsTheWalk(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 5000 {
		seed := make([]byte, random.Intn(120))
		random.Read(seed)
		newWalk(seed).check(t)
	}
}

func FuzzVisible(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 1, 0, 1, 1, 1})
	f.Add([]byte{0, 5, 0, 0, 1, 0, 0, 5, 255})
	f.Add(bytes.Repeat([]byte{1, 0, 0}, 12))
	f.Fuzz(func(t *testing.T, seed []byte) { newWalk(seed).check(t) })
}

// mounter makes mounts below a directory in a mount namespace of its own, and
// asks the kernel where their mount points lead.
type mounter struct {
	base          string
	root          int // the thread's first root directory
	proc          int
	seen, skipped int
	wrong         error // the first disagreement with the kernel
}

func newMounter(t *testing.T) (*mounter, error) {
	m := &mounter{base: t.TempDir()}
	var err error
	if m.root, err = unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if m.proc, err = unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	return m, m.tmpfs("")
}

// names have what mountinfo escapes, and what it does not.
var names = []string{"a", "b c", "d\\040e", "f\tg#"}

func (m *mounter) at(dir string) string { return filepath.Join(m.base, dir) }

func (m *mounter) tmpfs(dir string) error {
	if err := unix.Mount("tmpfs", m.at(dir), "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("tmpfs on %q: %w", dir, err)
	}
	return fill(m.at(dir))
}

func fill(dir string) error {
	for _, x := range names {
		for _, y := range names {
			if err := os.MkdirAll(dir+"/"+x+"/"+y, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mounter) bind(from, to string, flags uintptr) error {
	return unix.Mount(m.at(from), m.at(to), "", unix.MS_BIND|flags, "")
}

func (m *mounter) move(from, to string) error {
	return unix.Mount(m.at(from), m.at(to), "", unix.MS_MOVE, "")
}

// chroot makes dir the thread's root directory, and runs do there.
func (m *mounter) chroot(dir string, do func() error) error {
	if err := unix.Chroot(m.at(dir)); err != nil {
		return err
	}
	err := do()
	back := unix.Fchdir(m.root)
	if back == nil {
		back = unix.Chroot(".")
	}
	if back != nil {
		m.wrong = back
	}
	return errors.Join(err, back)
}

func (m *mounter) mountinfo() ([]byte, error) {
	fd, err := unix.Openat(m.proc, "thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "mountinfo")
	defer f.Close()
	return io.ReadAll(f)
}

func mountAt(path string) (id int, dev string, err error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st); err != nil {
		return 0, "", err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, "", errors.New("statx has no mount IDs before Linux 5.8")
	}
	return int(st.Mnt_id), fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor), nil
}

// compare asks the kernel of every mount that the thread's mountinfo lists.
func (m *mounter) compare() error {
	err := m.compareAll()
	if m.wrong == nil {
		m.wrong = err
	}
	return err
}

func (m *mounter) compareAll() error {
	text, err := m.mountinfo()
	if err != nil {
		return err
	}
	table, err := ParseMountInfo(bytes.NewReader(asCgroups(text)))
	if err != nil {
		return err
	}
	rootID, rootDev, err := mountAt("/")
	if err != nil {
		return err
	}
	ids := map[int]Mount{}
	for _, mount := range table.Cgroup {
		ids[mount.ID] = mount
	}
	if _, listed := ids[rootID]; !listed && loneOverRoot(table) {
		m.skipped++
		return nil
	} else if listed && table.RootDev != rootDev || !listed && table.RootDev != "" {
		return fmt.Errorf("root directory: %q, the kernel has mount %d (listed: %v) on %q in\n%s", table.RootDev, rootID, listed, rootDev, text)
	}
	for _, mount := range ids {
		id, _, err := mountAt(mount.MountPoint)
		if err != nil && !hidden(err) {
			return fmt.Errorf("%q: %w", mount.MountPoint, err)
		}
		if want := err == nil && id == mount.ID; mount.Visible != want {
			return fmt.Errorf("mount %d: visible %v, but %q leads to %d (%v); root directory %d in\n%s",
				mount.ID, mount.Visible, mount.MountPoint, id, err, rootID, text)
		}
		m.seen++
	}
	return nil
}

// hidden is how a walk ends that another mount leads away from the mount point.
func hidden(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// loneOverRoot: see walk.lone.
func loneOverRoot(t *MountTable) bool {
	parents, listed := map[int]int{}, map[int]bool{}
	for _, m := range t.Cgroup {
		listed[m.ID] = true
		parents[m.ParentID]++
	}
	for _, m := range t.Cgroup {
		if m.MountPoint == "/" && !listed[m.ParentID] && parents[m.ParentID] == 1 {
			return true
		}
	}
	return false
}

func (m *mounter) do(steps ...error) error {
	if err := errors.Join(steps...); err != nil {
		return err
	}
	return m.compare()
}

func TestLiveVisible(t *testing.T) {
	liveTest(t)
	for name, build := range map[string]func(m *mounter) error{
		"stacked": func(m *mounter) error {
			return m.do(m.tmpfs("a"), m.tmpfs("a"), m.tmpfs("a"))
		},
		"upon a covered mount": func(m *mounter) error {
			return m.do(m.tmpfs("a"), m.tmpfs("a/a"), m.tmpfs("a"), m.tmpfs("a/b c"))
		},
		"over an ancestor": func(m *mounter) error {
			return m.do(m.tmpfs("a/a"), m.tmpfs("a"), m.tmpfs("a/a"))
		},
		"over the base": func(m *mounter) error {
			return m.do(m.tmpfs("a"), m.tmpfs("a/a"), m.tmpfs(""), m.tmpfs("a"))
		},
		"bind of a subdirectory with a mount upon it": func(m *mounter) error {
			return m.do(m.tmpfs("a/a"), m.bind("a", "b c", unix.MS_REC), m.tmpfs("a"), m.bind("b c/a", "a/a", 0))
		},
		"moved": func(m *mounter) error {
			return m.do(m.tmpfs("a"), m.tmpfs("a/a"), m.tmpfs("b c"), m.move("a", "b c/a"), m.move("b c/a/a", "b c"))
		},
		"a mount beneath goes away": func(m *mounter) error {
			return m.do(m.tmpfs("a"), m.tmpfs("a/a"), m.tmpfs("a"), unix.Unmount(m.at("a"), 0))
		},
		"a root directory that is a mount": func(m *mounter) error {
			return m.do(m.tmpfs("a"), m.tmpfs("a/a"), m.chroot("a", func() error {
				return m.do(unix.Mount("t", "/b c", "tmpfs", 0, ""), unix.Mount("t", "/", "tmpfs", 0, ""), unix.Mount("t", "/a", "tmpfs", 0, ""))
			}))
		},
		"a root directory that is none": func(m *mounter) error {
			return m.do(m.tmpfs("a/a"), m.tmpfs("a/b c"), m.chroot("a", func() error {
				return m.do(m.compare(), unix.Mount("t", "/", "tmpfs", 0, ""), m.compare(), unix.Mount("t", "/a", "tmpfs", 0, ""))
			}))
		},
		"a long name": func(m *mounter) error {
			long := "a/" + strings.Repeat("x", 255)
			return m.do(os.Mkdir(m.at(long), 0o755), m.tmpfs(long), m.tmpfs("b c"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			ownMounts(t, func() error {
				m, err := newMounter(t)
				if err != nil {
					return err
				}
				if err := build(m); err != nil {
					return err
				}
				if m.seen == 0 {
					return errors.New("no mount was compared")
				}
				return nil
			})
		})
	}
}

// TestLiveVisibleOnRootfs has the top of a mount namespace, which is its own
// parent, as root directory: so do processes of a system that runs from its
// initramfs.
func TestLiveVisibleOnRootfs(t *testing.T) {
	unlike := ""
	ownMounts(t, func() error {
		m, err := newMounter(t)
		if err != nil {
			return err
		}
		ns, err := unix.Openat(m.proc, "thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// With the real root gone, entering the namespace anew leads to its top.
		if err := unix.Unmount("/", unix.MNT_DETACH); err != nil {
			return err
		}
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return err
		}
		entries, err := os.ReadDir("/")
		if err != nil {
			return err
		}
		var dirs []string
		for _, e := range entries {
			if e.IsDir() {
				dirs = append(dirs, "/"+e.Name())
			}
		}
		text, err := m.mountinfo()
		if err != nil {
			return err
		}
		var id, parent int
		if _, err := fmt.Sscanf(string(text), "%d %d", &id, &parent); err != nil || id != parent || len(dirs) == 0 {
			unlike = fmt.Sprintf("the top of its mount namespace is of another kind: %q, directories %q", text, dirs)
			return nil
		}
		for _, dir := range append(dirs, dirs[0]) {
			if err := unix.Mount("t", dir, "tmpfs", 0, ""); err != nil {
				return err
			}
		}
		if err := m.compare(); err != nil {
			return err
		}
		if err := unix.Mount("t", "/", "tmpfs", 0, ""); err != nil {
			return err
		}
		return m.compare()
	})
	if unlike != "" {
		cannot(t, unlike)
	}
}

// TestLiveVisibleRandom mounts, binds, moves and unmounts at random, and
// compares with the kernel after each step, from two root directories.
func TestLiveVisibleRandom(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	done := map[string]int{}
	ownMounts(t, func() error {
		m, err := newMounter(t)
		if err != nil {
			return err
		}
		for range 600 {
			op, err := m.step(random)
			if err == nil {
				done[op]++
			}
			err = errors.Join(m.compare(), m.chroot(someDir(random), m.compare))
			if m.wrong != nil || err != nil && !hidden(err) {
				return fmt.Errorf("seed %d, after %s: %w", seed, op, errors.Join(m.wrong, err))
			}
		}
		t.Logf("%v; %d mounts compared, %d tables that cannot be told", done, m.seen, m.skipped)
		if m.seen < 4000 || m.skipped > 200 || len(done) < 5 {
			return fmt.Errorf("too little was compared: %d mounts, %d tables not, operations %v", m.seen, m.skipped, done)
		}
		return nil
	})
}

func someDir(random *rand.Rand) string {
	dir := ""
	for range random.Intn(4) {
		dir = filepath.Join(dir, names[random.Intn(len(names))])
	}
	return dir
}

func (m *mounter) step(random *rand.Rand) (string, error) {
	one, two := someDir(random), someDir(random)
	if points := m.points(); len(points) > 0 && random.Intn(2) == 0 {
		one = points[random.Intn(len(points))]
	}
	if len(m.points()) == 0 {
		return "tmpfs", m.tmpfs("")
	}
	if m.many() {
		return "umount", unix.Unmount(m.at(one), unix.MNT_DETACH)
	}
	switch random.Intn(14) {
	case 0, 1, 2:
		return "tmpfs", m.tmpfs(one)
	case 3, 4:
		return "bind", m.bind(one, two, 0)
	case 5:
		return "rbind", m.bind(one, two, unix.MS_REC)
	case 6, 7, 8, 9:
		return "move", m.move(one, two)
	case 10:
		return "umount", unix.Unmount(m.at(one), unix.MNT_DETACH)
	case 11, 12:
		return "over /", m.chroot(one, func() error {
			err := unix.Mount("t", "/", "tmpfs", 0, "")
			return errors.Join(err, fill("/.."), m.compare())
		})
	default:
		return "umount below", m.chroot(one, func() error { return unix.Unmount("/"+names[0], unix.MNT_DETACH) })
	}
}

// points are the mount points from the base on.
func (m *mounter) points() (points []string) {
	text, err := m.mountinfo()
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(text) {
		if dir, ok := strings.CutPrefix(string(unescape(bytes.Fields(line)[4])), m.base); ok {
			points = append(points, dir)
		}
	}
	return points
}

// many keeps the recursive binds from multiplying without end.
func (m *mounter) many() bool {
	text, err := m.mountinfo()
	return err == nil && bytes.Count(text, []byte{'\n'}) > 150
}
