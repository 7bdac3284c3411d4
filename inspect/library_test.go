package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// eachProcess calls do for every process of this host until it returns nil, a
// few times: a process may change between two readings. One that has ended is
// passed over.
func eachProcess(t *testing.T, do func(d dir, p procfs.Proc) error) {
	t.Helper()
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	all, err := fs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := openTree("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	done := 0
	for _, p := range all {
		d, err := tree.process(p.PID, p.PID)
		if gone(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		err = do(d, p)
		for range 20 {
			if err == nil {
				break
			}
			err = do(d, p)
		}
		d.close()
		switch {
		case err == nil:
			done++
		case !gone(err):
			t.Errorf("process %d: %v", p.PID, err)
		}
	}
	if done == 0 { // this one is always there
		t.Error("no process was compared")
	}
	t.Logf("%d of %d processes compared", done, len(all))
}

// differ is nil if two readings are the same.
func differ(theirs, ours any) error {
	if diff := cmp.Diff(theirs, ours); diff != "" {
		return errors.New(diff)
	}
	return nil
}

// TestLibraryPIDs lists the processes between two lists of the library's: what
// is in both is in ours.
func TestLibraryPIDs(t *testing.T) {
	tree, err := openTree("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	before, err1 := tree.pids()
	var ours []int
	err2 := tree.eachPIDs(func(pids []int) bool {
		ours = append(ours, pids...)
		return true
	})
	after, err3 := tree.pids()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if len(before) == 0 || !slices.IsSorted(ours) || len(slices.Compact(slices.Clone(ours))) != len(ours) {
		t.Errorf("%d processes, ours %v", len(before), ours)
	}
	for _, pid := range before {
		if slices.Contains(after, pid) && !slices.Contains(ours, pid) {
			t.Errorf("process %d is missing", pid)
		}
	}
	stopped := 0
	if err := tree.eachPIDs(func([]int) bool { stopped++; return false }); err != nil || stopped != 1 {
		t.Errorf("told to stop it went on: %d, %v", stopped, err)
	}
}

func TestLibraryCgroups(t *testing.T) {
	eachProcess(t, func(d dir, p procfs.Proc) error {
		text, err := d.read("cgroup", nil)
		if err != nil {
			return err
		}
		c, err := ParseCgroups(text)
		if err != nil {
			return err
		}
		theirs, err := p.Cgroups()
		if err != nil {
			return err
		}
		return differ(fromLibrary(theirs), fromOurs(c))
	})
}

// TestLibraryCapturedCgroups has both read real files from a copy of a procfs.
func TestLibraryCapturedCgroups(t *testing.T) {
	for name, text := range captures(t, "cgroup") {
		proc := t.TempDir()
		if err := errors.Join(os.Mkdir(proc+"/1", 0o755), os.WriteFile(proc+"/1/cgroup", text, 0o644)); err != nil {
			t.Fatal(err)
		}
		fs, err := procfs.NewFS(proc)
		if err != nil {
			t.Fatal(err)
		}
		one, err := fs.Proc(1)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := one.Cgroups()
		if err != nil {
			t.Fatal(err)
		}
		ours, err := ParseCgroups(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := differ(fromLibrary(theirs), fromOurs(ours)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fromLibrary and fromOurs put both readings in the same words.
func fromLibrary(cgroups []procfs.Cgroup) (lines []string) {
	for _, c := range cgroups {
		parts := slices.DeleteFunc(slices.Clone(c.Controllers), func(s string) bool { return s == "" })
		slices.Sort(parts)
		lines = append(lines, fmt.Sprintf("%d:%q:%q", c.HierarchyID, parts, c.Path))
	}
	slices.Sort(lines)
	return lines
}

func fromOurs(c *Cgroups) (lines []string) {
	for _, m := range c.Memberships {
		parts := slices.Clone(m.Hierarchy.Controllers)
		if m.Hierarchy.Name != "" {
			parts = append(parts, "name="+m.Hierarchy.Name)
		}
		slices.Sort(parts)
		lines = append(lines, fmt.Sprintf("%d:%q:%q", m.Hierarchy.ID, parts, m.Path))
	}
	slices.Sort(lines)
	return lines
}

func TestLibraryStat(t *testing.T) {
	eachProcess(t, func(d dir, p procfs.Proc) error {
		var ours Process
		if err := readStat(d, &ours); err != nil {
			return err
		}
		theirs, err := p.Stat()
		if err != nil {
			return err
		}
		return differ(Process{
			Command: theirs.Comm, State: theirs.State, PPID: theirs.PPID, StartTicks: theirs.Starttime,
			Kernel:  theirs.Flags&0x200000 != 0,
			Exiting: theirs.Flags&4 != 0 || theirs.State == "Z",
		}, ours)
	})
}

func TestLibraryStatus(t *testing.T) {
	eachProcess(t, func(d dir, p procfs.Proc) error {
		ours, err := readStatus(d)
		if err != nil {
			return err
		}
		theirs, err := p.NewStatus()
		if err != nil {
			return err
		}
		first := len(theirs.NSpids) > 0 && theirs.NSpids[len(theirs.NSpids)-1] == 1
		if want := (status{uid: int(theirs.UIDs[1]), tgid: theirs.TGID, first: first}); ours != want {
			return fmt.Errorf("%+v, procfs has %+v", ours, want)
		}
		return nil
	})
}

// TestLibraryUser holds who owns a process's directory against its status file,
// also of a process that may not be dumped, whose other files are root's.
func TestLibraryUser(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	want := os.Geteuid()
	if want == 0 {
		want = 65534
		child := exec.Command("sleep", "60")
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = child.Process.Kill(), child.Wait() }()
	}
	fs, err := Open("/proc", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	users := map[int]bool{}
	eachProcess(t, func(d dir, p procfs.Proc) error {
		ours, err := fs.effectiveUser(d)
		if err != nil {
			return err
		}
		theirs, err := p.NewStatus()
		if err != nil {
			return err
		}
		users[ours] = true
		return differ(int(theirs.UIDs[1]), ours)
	})
	if !users[want] {
		t.Errorf("no process of user %d was compared", want)
	}
}

// TestLibraryMountInfo compares with moby's parser what every process of this
// host has mounted: the same bytes for both.
func TestLibraryMountInfo(t *testing.T) {
	mounts := 0
	eachProcess(t, func(d dir, _ procfs.Proc) error {
		text, err := whole(d, "mountinfo")
		if errors.Is(err, unix.EINVAL) && exiting(d) {
			return nil // a zombie has no mount namespace any more
		}
		if err != nil {
			return err
		}
		mounts += bytes.Count(text, []byte{'\n'})
		return compareMounts(text)
	})
	if mounts == 0 {
		t.Error("no mount was compared")
	}
}

func whole(d dir, name string) ([]byte, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func exiting(d dir) bool {
	var p Process
	return readStat(d, &p) == nil && p.Exiting
}

func TestLibraryCapturedMountInfo(t *testing.T) {
	for name, text := range captures(t, "mountinfo") {
		if err := compareMounts(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// told is a mount in the words of both parsers.
type told struct {
	ID, Parent                                                    int
	Dev, Root, MountPoint, Options, Optional, Type, Source, Super string
}

func compareMounts(text []byte) error {
	theirs, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return err
	}
	all, err := ParseMountInfo(bytes.NewReader(asCgroups(text)))
	if err != nil {
		return err
	}
	cgroups, err := ParseMountInfo(bytes.NewReader(text))
	if err != nil {
		return err
	}
	var wantAll, wantCgroups []told
	for _, m := range theirs {
		optional := m.Optional
		if optional == "" {
			optional = "private"
		}
		one := told{m.ID, m.Parent, fmt.Sprintf("%d:%d", m.Major, m.Minor), m.Root, m.Mountpoint, m.Options, optional, m.FSType, m.Source, m.VFSOptions}
		if m.FSType == "cgroup" || m.FSType == "cgroup2" {
			wantCgroups = append(wantCgroups, one)
		}
		one.Type = "cgroup"
		wantAll = append(wantAll, one)
	}
	return errors.Join(differ(wantAll, tell(all)), differ(wantCgroups, tell(cgroups)))
}

func tell(t *MountTable) (mounts []told) {
	for _, m := range t.Cgroup {
		// moby leaves out what follows a blank in the super options.
		super, _, _ := strings.Cut(strings.Join(m.SuperOptions, ","), " ")
		mounts = append(mounts, told{m.ID, m.ParentID, m.Dev, m.Root, m.MountPoint, strings.Join(m.Options, ","), m.Propagation, m.FSType, m.Source, super})
	}
	return mounts
}
