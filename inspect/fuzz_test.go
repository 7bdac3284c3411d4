package inspect

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseCgroups: what was parsed, joined again, is the lines that were given.
func FuzzParseCgroups(f *testing.F) {
	for _, text := range captures(f, "cgroup") {
		f.Add(text)
	}
	f.Add([]byte("14:net_prio,name=foo:/a:b\n4:cpuacct,cpu:/\xff\r\n\n0::/../.. x (deleted)"))
	f.Add([]byte("+1:cpu:/\n"))
	f.Add([]byte("3::/\n0:cpu:/\n-0::/"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCgroups(text)
		if err != nil {
			if c != nil {
				t.Errorf("an error (%v) and %+v", err, c)
			}
			return
		}
		var given []string
		for line := range strings.SplitSeq(string(text), "\n") {
			if line != "" {
				given = append(given, canonical(line))
			}
		}
		var parsed []string
		for i, m := range c.Memberships {
			parts := slices.Clone(m.Hierarchy.Controllers)
			if m.Hierarchy.Name != "" {
				parts = append(parts, "name="+m.Hierarchy.Name)
			}
			slices.Sort(parts)
			parsed = append(parsed, fmt.Sprintf("%d:%s:%s", m.Hierarchy.ID, strings.Join(parts, ","), m.Path))
			if m.Hierarchy.Label == "" || m.Cut != (len(m.Path) >= 4095) || m.Path[0] != '/' {
				t.Errorf("%+v of %+v", m, m.Hierarchy)
			}
			if i > 0 && c.Memberships[i-1].Hierarchy.ID > m.Hierarchy.ID {
				t.Errorf("%d before %d", c.Memberships[i-1].Hierarchy.ID, m.Hierarchy.ID)
			}
		}
		slices.Sort(given)
		slices.Sort(parsed)
		if diff := cmp.Diff(given, parsed); diff != "" {
			t.Error(diff)
		}
	})
}

// canonical is a line with its controllers sorted and no zeros before its ID.
func canonical(line string) string {
	id, rest, _ := strings.Cut(line, ":")
	controllers, path, _ := strings.Cut(rest, ":")
	parts := strings.Split(controllers, ",")
	slices.Sort(parts)
	if id = strings.TrimLeft(id, "0"); id == "" {
		id = "0"
	}
	return id + ":" + strings.Join(parts, ",") + ":" + path
}

// FuzzParseMountInfo: every cgroup line is found, with its fields, whatever the
// pieces that it is read in; and two mounts cannot be seen at one place.
func FuzzParseMountInfo(f *testing.F) {
	for _, text := range captures(f, "mountinfo") {
		f.Add(text)
		f.Add(asCgroups(text))
	}
	f.Add([]byte(`1 1 0:2 / / rw - rootfs rootfs rw
2 1 0:3 /a\040b /c\134040 rw,ro shared:1 master:2 - cgroup - rw - x
3 2 0:3 / /c\134040 rw - cgroup2  rw
4 3 0:4 cgroup:[4026532278] /ns rw - nsfs nsfs rw`))
	f.Add([]byte("4294967297 1 0:1 / / rw - cgroup x rw\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := ParseMountInfo(bytes.NewReader(text))
		pieces, errPieces := ParseMountInfo(iotest.OneByteReader(bytes.NewReader(text)))
		if fmt.Sprint(err) != fmt.Sprint(errPieces) {
			t.Fatalf("at once: %v, byte by byte: %v", err, errPieces)
		}
		if diff := cmp.Diff(table, pieces); diff != "" {
			t.Fatalf("byte by byte: %s", diff)
		}
		if err != nil {
			if table != nil {
				t.Errorf("an error (%v) and %+v", err, table)
			}
			return
		}
		if table.Incomplete != "" {
			t.Errorf("%d bytes, incomplete: %s", len(text), table.Incomplete)
		}
		var want, got []string
		for line := range strings.Lines(string(text)) {
			if told, ok := cgroupLine(strings.TrimSuffix(line, "\n")); ok {
				want = append(want, told)
			}
		}
		for _, m := range table.Cgroup {
			got = append(got, fmt.Sprintf("%d %d %q %q %q %q", m.ID, m.ParentID, m.Dev, m.Root, m.MountPoint, strings.Join(m.Options, ",")))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		checkVisible(t, text)
	})
}

// cgroupLine tells a cgroup mount's line by splitting it at every blank.
func cgroupLine(line string) (string, bool) {
	f := strings.Split(line, " ")
	separator := slices.Index(f[6:], "-") + 6
	if fstype := f[separator+1]; fstype != "cgroup" && fstype != "cgroup2" {
		return "", false
	}
	number := func(s string) string {
		if s = strings.TrimLeft(s, "0"); s == "" {
			return "0"
		}
		return s
	}
	return fmt.Sprintf("%s %s %q %q %q %q", number(f[0]), number(f[1]), f[2], decode.Replace(f[3]), decode.Replace(f[4]), f[5]), true
}

var decode = strings.NewReplacer(escapes()...)

// escapes are all escapes of one byte, with the byte.
func escapes() (pairs []string) {
	for b := range 256 {
		pairs = append(pairs, fmt.Sprintf(`\%03o`, b), string([]byte{byte(b)}))
	}
	return pairs
}

// checkVisible: of a table that hangs together, one mount at most is visible at
// each mount point, and the one that is the root directory is at /.
func checkVisible(t *testing.T, text []byte) {
	table, err := ParseMountInfo(bytes.NewReader(asCgroups(text)))
	if err != nil || !coherent(table) {
		return
	}
	visible := map[string]int{}
	for _, m := range table.Cgroup {
		if !m.Visible {
			continue
		}
		if other, ok := visible[m.MountPoint]; ok {
			t.Errorf("%d and %d are both visible at %q", other, m.ID, m.MountPoint)
		}
		visible[m.MountPoint] = m.ID
	}
	if _, ok := visible["/"]; ok != (table.RootDev != "") {
		t.Errorf("visible at /: %v, but the root directory's file system is %q", ok, table.RootDev)
	}
}

// coherent tells whether a table could be a kernel's: each ID once, all unseen
// parents one, each mount point a path at or below its parent's, and one mount
// on each directory of a parent.
func coherent(table *MountTable) bool {
	points, unseen, on := map[int]string{}, map[int]bool{}, map[string]bool{}
	for _, m := range table.Cgroup {
		if _, twice := points[m.ID]; twice || !cleanPath(m.MountPoint) || m.Dev == "" {
			return false
		}
		points[m.ID] = m.MountPoint
	}
	for _, m := range table.Cgroup {
		above, listed := points[m.ParentID]
		if !listed || m.ParentID == m.ID {
			unseen[m.ParentID] = true
		}
		if listed && above != "/" && m.MountPoint != above && !strings.HasPrefix(m.MountPoint, above+"/") {
			return false
		}
		place := fmt.Sprint(m.ParentID, m.MountPoint)
		if m.ParentID != m.ID && on[place] {
			return false
		}
		on[place] = on[place] || m.ParentID != m.ID
		if m.ParentID == m.ID && m.MountPoint != "/" {
			return false
		}
	}
	return len(unseen) <= 1
}

func cleanPath(path string) bool {
	return path == "/" || strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//")
}

// FuzzParseStat: any bytes may be a command's name, and none of them is taken
// for a field.
func FuzzParseStat(f *testing.F) {
	for _, name := range []string{"cat", "", ") R 1", "a b\n", "((sd-pam))", "\x00\xff)"} {
		f.Add([]byte(name))
		f.Add([]byte("42 (" + name + ")" + statTail))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Process
		if err := parseStat([]byte("42 ("+string(text)+")"+statTail), &p); err != nil {
			t.Fatalf("%q as a name: %v", text, err)
		}
		if diff := cmp.Diff(Process{Command: string(text), State: "S", PPID: 7, StartTicks: 123456}, p); diff != "" {
			t.Errorf("%q as a name: %s", text, diff)
		}
		p = Process{}
		if err := parseStat(text, &p); err != nil {
			if diff := cmp.Diff(Process{}, p); diff != "" {
				t.Errorf("refused (%v), but half taken: %s", err, diff)
			}
			return
		}
		i := bytes.LastIndexByte(text, ')')
		if !bytes.HasSuffix(text[:i], []byte("("+p.Command)) || bytes.Fields(text[i+1:])[0][0] != p.State[0] {
			t.Errorf("%q: command %q, state %q", text, p.Command, p.State)
		}
	})
}

// FuzzParseStatus: a name, escaped as the kernel does, changes no other field.
func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Add([]byte("x\nUid:\t0\t0\t0\t0\nTgid:\t1\nNSpid:\t1\n"))
	f.Add([]byte("\nTgid:\t1\nUid:\t\t\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		escaped := strings.NewReplacer("\n", `\n`, `\`, `\\`).Replace(string(text))
		got, err := parseStatus([]byte(strings.Replace(statusText, "cat", escaped, 1)))
		if want := (status{uid: 1001, tgid: 42, first: true}); err != nil || got != want {
			t.Errorf("%q as a name: %+v, error %v", text, got, err)
		}
		got, err = parseStatus(text)
		if err != nil {
			if got != (status{}) {
				t.Errorf("an error (%v) and %+v", err, got)
			}
			return
		}
		for _, field := range []string{"\nUid:", "\nTgid:"} {
			if !bytes.Contains(text, []byte(field)) {
				t.Errorf("taken without %q: %+v", field, got)
			}
		}
		if got.uid < 0 || got.tgid < 0 {
			t.Errorf("%+v", got)
		}
	})
}
