package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// freezerMount is the mount of most lines below, with what differs set by change.
func freezerMount(change func(m *Mount)) []Mount {
	m := Mount{
		ID: 36, ParentID: 35, Dev: "0:34", Root: "/", MountPoint: "/sys/fs/cgroup/freezer",
		Options: []string{"rw", "relatime"}, SuperOptions: []string{"rw", "freezer"},
		Propagation: "private", FSType: "cgroup", Source: "cgroup", Visible: true,
	}
	if change != nil {
		change(&m)
	}
	return []Mount{m}
}

func TestParseMountInfo(t *testing.T) {
	const plain = "36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
	overlay := "30 1 0:30 / /merged rw - overlay overlay rw,lowerdir=" + strings.Repeat("/var/lib/docker/overlay2/l/ABCDEFGHIJ:", 3000) + "\n"
	mebibyte := "30 1 0:30 / /merged rw - overlay overlay rw,lowerdir=" + strings.Repeat("x", 1<<20) + "\n"
	for _, test := range []struct {
		name, text string
		want       []Mount
	}{
		{"plain", plain, freezerMount(nil)},
		{"empty file", "", nil},
		{"no cgroup", "24 1 0:5 / /proc rw - proc proc rw\n", nil},
		{"cgroup2", "36 35 0:34 / /c rw - cgroup2 none rw,nsdelegate\n", freezerMount(func(m *Mount) {
			m.MountPoint, m.Options, m.SuperOptions, m.FSType, m.Source = "/c", []string{"rw"}, []string{"rw", "nsdelegate"}, "cgroup2", "none"
		})},
		{"no newline at the end", strings.TrimSuffix(plain, "\n"), freezerMount(nil)},
		{"space in root and mount point", `36 35 0:34 /a\040b /c\040d rw,relatime - cgroup cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = "/a b", "/c d"
		})},
		{"tab, newline, backslash and hash", `36 35 0:34 /a\011b\134 /c\012d\043 rw,relatime - cgroup cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = "/a\tb\\", "/c\nd#"
		})},
		{"an escaped backslash before digits", `36 35 0:34 /a\134040b / rw,relatime - cgroup cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = `/a\040b`, "/"
		})},
		{"no escape", `36 35 0:34 /a\04 /b\x\999\400\ rw,relatime - cgroup cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = `/a\04`, `/b\x\999\400\`
		})},
		{"an escaped byte beyond ASCII", `36 35 0:34 /a\377 /b rw,relatime - cgroup cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = "/a\xff", "/b"
		})},
		{"raw bytes", "36 35 0:34 /\x01\xff#\r\v /\x1b[31m rw,relatime - cgroup cgroup rw,freezer", freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = "/\x01\xff#\r\v", "/\x1b[31m"
		})},
		{"root outside the namespace", "36 35 0:34 /../../a /b rw,relatime - cgroup cgroup rw,freezer", freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = "/../../a", "/b"
		})},
		{"root removed", `36 35 0:34 /a//deleted /b rw,relatime - cgroup cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Root, m.MountPoint = "/a//deleted", "/b"
		})},
		{"a mount point called -", "36 35 0:34 / /- rw,relatime - cgroup cgroup rw,freezer", freezerMount(func(m *Mount) { m.MountPoint = "/-" })},
		{"source -", "36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup - rw,freezer\n", freezerMount(func(m *Mount) { m.Source = "-" })},
		{"source - behind optional fields", "36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime shared:9 - cgroup - rw,freezer\n", freezerMount(func(m *Mount) {
			m.Source, m.Propagation = "-", "shared:9"
		})},
		{"source with a space", `36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup my\040cgroup rw,freezer`, freezerMount(func(m *Mount) {
			m.Source = "my cgroup"
		})},
		{"empty source", "36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup  rw,freezer\n", freezerMount(func(m *Mount) { m.Source = "" })},
		{"nothing behind the type", "36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup\n", freezerMount(func(m *Mount) {
			m.Source, m.SuperOptions = "", []string{}
		})},
		{"no super options", "36 35 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup\n", freezerMount(func(m *Mount) {
			m.SuperOptions = []string{}
		})},
		{"one optional field", strings.Replace(plain, " - ", " shared:20 - ", 1), freezerMount(func(m *Mount) { m.Propagation = "shared:20" })},
		{"three optional fields", strings.Replace(plain, " - ", " shared:20 master:3 propagate_from:2 - ", 1), freezerMount(func(m *Mount) {
			m.Propagation = "shared:20 master:3 propagate_from:2"
		})},
		{"unknown optional field", strings.Replace(plain, " - ", " what:ever - ", 1), freezerMount(func(m *Mount) { m.Propagation = "what:ever" })},
		{"unbindable", strings.Replace(plain, " - ", " unbindable - ", 1), freezerMount(func(m *Mount) { m.Propagation = "unbindable" })},
		{"blanks in the super options of another file system", "31 21 0:23 / /DATA rw - cifs //foo/B\\040A/ rw,unc=\\\\foo\\B A - C,username=x\n" + plain, freezerMount(nil)},
		{"a type that begins like cgroup's", "36 35 0:34 / /a rw - cgroup.sub none rw\n37 35 0:34 / /b rw - cgroup3 none rw\n", nil},
		{"line over 64 KiB", overlay + plain, freezerMount(nil)},
		{"line of 1 MiB", mebibyte + plain, freezerMount(nil)},
		{"line that just fills the buffer", "30 1 0:30 / /m rw - overlay overlay rw,lowerdir=" + strings.Repeat("x", 32768-49) + "\n" + plain, freezerMount(nil)},
		{"largest ID", "2147483647 0 0:34 / /c rw,relatime - cgroup cgroup rw,freezer\n", freezerMount(func(m *Mount) {
			m.ID, m.ParentID, m.MountPoint = 2147483647, 0, "/c"
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once":                   strings.NewReader(test.text),
				"half by half":              iotest.HalfReader(strings.NewReader(test.text)),
				"end of file with the data": iotest.DataErrReader(strings.NewReader(test.text)),
			} {
				table, err := ParseMountInfo(r)
				if err != nil {
					t.Fatalf("read %s: %v", how, err)
				}
				if diff := cmp.Diff(test.want, table.Cgroup); diff != "" {
					t.Errorf("read %s: %s", how, diff)
				}
				if table.Incomplete != "" {
					t.Errorf("read %s: incomplete: %s", how, table.Incomplete)
				}
			}
		})
	}
}

func TestParseMountInfoRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, says string }{
		{"blank line", "\n", "line 1: not a mountinfo line: \"\" has fewer than six fields"},
		{"one field", "36\n", "has fewer than six fields"},
		{"five fields", "36 35 0:34 / /a\n", "has fewer than six fields"},
		{"six fields", "36 35 0:34 / /a rw\n", "has no separator"},
		{"no separator", "36 35 0:34 / /a rw shared:1 cgroup cgroup rw\n", "has no separator"},
		{"a separator that is no field", "36 35 0:34 / /a rw shared:1- cgroup cgroup rw\n", "has no separator"},
		{"nothing behind the separator", "36 35 0:34 / /a rw -\n", "has no separator"},
		{"a blank behind the separator", "36 35 0:34 / /a rw - \n", "has no file system type"},
		{"ID not a number", "x 35 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"parent not a number", "36 x 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"no ID", " 35 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"negative ID", "-1 35 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"+36", "+36 35 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"ID beyond an int", "4294967332 35 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"parent beyond an int", "36 2147483648 0:34 / /a rw - cgroup cgroup rw\n", "does not begin with two numbers"},
		{"the second line", "36 35 0:34 / /a rw - cgroup cgroup rw\n" + strings.Repeat("y", 3000), "line 2: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := ParseMountInfo(strings.NewReader(test.text))
			if !errors.Is(err, errMountLine) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%+v, error %v; want an error that says %s", table, err, test.says)
			}
			if len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// TestMountInfoReadError: half a table is not taken for a whole one.
func TestMountInfoReadError(t *testing.T) {
	const text = "36 35 0:34 / /a rw - cgroup cgroup rw\n37 35 0:34 / /b rw - cgr"
	table, err := ParseMountInfo(io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !errors.Is(err, io.ErrUnexpectedEOF) || table != nil {
		t.Errorf("%+v, error %v", table, err)
	}
}

func TestMountReadOnly(t *testing.T) {
	for line, want := range map[string]bool{
		"rw,relatime - cgroup cgroup rw,freezer":   false,
		"ro,relatime - cgroup cgroup rw,freezer":   true,
		"rw,relatime - cgroup cgroup ro,freezer":   true,
		"rw,relatime - cgroup cgroup rw,name=ro":   false,
		"relatime,rw - cgroup2 cgroup2 freezer,ro": true,
	} {
		table, err := ParseMountInfo(strings.NewReader("36 35 0:34 / /a " + line))
		if err != nil {
			t.Fatal(err)
		}
		if got := table.Cgroup[0].ReadOnly(); got != want {
			t.Errorf("%s: read-only %v, want %v", line, got, want)
		}
	}
}

func TestNamespaceMounts(t *testing.T) {
	const text = `40 1 0:4 cgroup:[4026532278] /run/cg\040ns rw - nsfs nsfs rw
41 1 0:4 net:[4026532279] /run/netns/x rw - nsfs nsfs rw
42 1 0:50 /cgroup:[4026532280] /run/other rw - tmpfs tmpfs rw
`
	table, err := ParseMountInfo(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []NamespaceMount{{NS: 4026532278, MountPoint: "/run/cg ns"}}
	if diff := cmp.Diff(want, table.Namespaces); diff != "" {
		t.Error(diff)
	}
	if table.SomeID != 42 {
		t.Errorf("some ID is %d, want that of the last line", table.SomeID)
	}
}

func TestHangs(t *testing.T) {
	for fstype, want := range map[string]bool{
		"fuse": true, "fuse.sshfs": true, "fuseblk": true, "autofs": true, "nfs": true, "nfs4": true, "9p": true, "smb3": true,
		"fusectl": false, "nfsd": false, "ext4": false, "overlay": false, "tmpfs": false, "cgroup2": false, "": false,
	} {
		if got := hangs([]byte(fstype)); got != want {
			t.Errorf("%q: %v, want %v", fstype, got, want)
		}
	}
}

// TestMountInfoBounds: what is left out is said, and what is not is not.
func TestMountInfoBounds(t *testing.T) {
	const cgroup, other = "%d 1 0:1 / /c/%d rw - cgroup none rw\n", "%d 1 0:1 / /o/%d rw - tmpfs none rw\n"
	table := func(lines ...io.Reader) *MountTable {
		t.Helper()
		table, err := ParseMountInfo(io.MultiReader(lines...))
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	full := table(&repeated{line: cgroup, lines: maxCgroupMounts}, &repeated{line: other, lines: 10, n: 5})
	if len(full.Cgroup) != maxCgroupMounts || full.Incomplete != "" {
		t.Errorf("as many as are kept: %d, incomplete: %q", len(full.Cgroup), full.Incomplete)
	}
	over := table(&repeated{line: cgroup, lines: maxCgroupMounts + 1})
	if len(over.Cgroup) != maxCgroupMounts || !strings.Contains(over.Incomplete, "10000 cgroup mounts") {
		t.Errorf("one more: %d, incomplete: %q", len(over.Cgroup), over.Incomplete)
	}
	lines := table(&repeated{line: other, lines: maxMounts - 1}, &repeated{line: cgroup, lines: maxMounts, n: maxMounts - 1})
	if len(lines.Cgroup) != 1 || lines.Incomplete != "" {
		t.Errorf("as many lines as are read: %d, incomplete: %q", len(lines.Cgroup), lines.Incomplete)
	}
	long := "30 1 0:30 / /m rw - overlay overlay rw,lowerdir=" + strings.Repeat("x", 2<<20+64<<10) + "\n"
	tooLong := table(&repeated{line: cgroup, lines: 3}, strings.NewReader(long), &repeated{line: cgroup, lines: 20, n: 10})
	if len(tooLong.Cgroup) != 3 || tooLong.Incomplete != "mountinfo line 4 is longer than 2097152 bytes" {
		t.Errorf("a line too long: %d mounts, incomplete: %q", len(tooLong.Cgroup), tooLong.Incomplete)
	}
}

// TestScratch: a table does not change when the memory that it was read with is
// used again.
func TestScratch(t *testing.T) {
	first, err := ParseMountInfo(strings.NewReader("1 0 8:1 / / rw - ext4 d rw\n2 1 0:1 /aaaa /bbbb rw shared:4 - cgroup cccc rw,dddd\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Mount{
		ID: 2, ParentID: 1, Dev: "0:1", Root: "/aaaa", MountPoint: "/bbbb", Options: []string{"rw"}, SuperOptions: []string{"rw", "dddd"},
		Propagation: "shared:4", FSType: "cgroup", Source: "cccc", Visible: true, Parent: ParentMount{Known: true, MountPoint: "/", Visible: true},
	}
	for range 10 {
		if _, err := ParseMountInfo(&repeated{line: "%d 1 9:9 /zzzz /yyyy%d rw master:8 - cgroup xxxx rw,wwww\n", lines: 100}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]Mount{want}, first.Cgroup); diff != "" || first.RootDev != "8:1" || first.RootDir != "/" {
		t.Errorf("root %q of %q, %s", first.RootDir, first.RootDev, diff)
	}
}

// TestHugeTable: a container may mount a hundred thousand times, on mount
// points as long as it likes.
func TestHugeTable(t *testing.T) {
	for _, test := range []struct {
		name   string
		line   string
		lines  int
		said   string
		memory uint64
	}{
		{"100000 lines", "%d 1 0:1 / /some/directory/of/a/container/%d rw,relatime - tmpfs tmpfs rw,size=1024k\n", 100_000, "", 40 << 20},
		{"250000 lines", "%d 1 0:1 / /some/directory/of/a/container/%d rw,relatime - tmpfs tmpfs rw,size=1024k\n", 250_000, "lines", 80 << 20},
		{"long mount points", "%d 1 0:1 / " + strings.Repeat("/0123456", 500) + "/%d rw - tmpfs tmpfs rw\n", 100_000, "bytes", 400 << 20},
		{"roots over roots", "%d 1 0:1 " + strings.Repeat("/0123456", 500) + "/%d / rw - tmpfs tmpfs rw\n", 100_000, "bytes", 400 << 20},
		{"cgroup mounts with long roots", "%d 1 0:1 " + strings.Repeat("/0123456", 900) + "/%d /a rw - cgroup2 none rw\n", 9_990, "bytes", 400 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var table *MountTable
			var err error
			took := processorTime(t, func() { table, err = ParseMountInfo(&repeated{line: test.line, lines: test.lines}) })
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if test.said == "" != (table.Incomplete == "") || !strings.Contains(table.Incomplete, test.said) {
				t.Errorf("incomplete: %q, want it to name %q", table.Incomplete, test.said)
			}
			if took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			// What the garbage collector has not returned counts too.
			if grown := after.HeapSys - min(before.HeapSys, after.HeapSys); grown > test.memory {
				t.Errorf("the heap grew by %d MiB, more than %d", grown>>20, test.memory>>20)
			}
		})
	}
}

// repeated is a file of many lines that is nowhere whole.
type repeated struct {
	line     string
	lines, n int
	rest     []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.n == r.lines {
			return 0, io.EOF
		}
		r.n++
		r.rest = fmt.Appendf(r.rest[:0], r.line, r.n+1, r.n)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestCapturedMounts has, for every real table, how many cgroup mounts it has,
// and which of them are covered, as counted and read by eye.
func TestCapturedMounts(t *testing.T) {
	type counted struct {
		mounts  int
		covered []int
	}
	want := map[string]counted{
		"docker-desktop-container-self":          {1, nil},
		"docker-desktop-vm-read-from-private-ns": {1, nil},
		"docker-v1-agent-reads-sibling":          {10, nil},
		"docker-v1-host-cgroupns-systemd-driver": {9, nil},
		"docker-v2-private":                      {1, nil},
		"docker-v2-private-hostfs-agent":         {4, []int{961}},
		"eks-al2-host-containerd-pod":            {11, nil},
		"host-hybrid-session-user1006":           {2, nil},
		"host-hybrid-ubuntu1804":                 {13, nil},
		"host-hybrid-v232-cgroup2-on-systemd":    {11, nil},
		"host-v1-bedrock-duplicate-mounts":       {15, nil},
		"host-v1-legacy-fedora20":                {10, nil},
		"host-v1-rhel8-cpuset-disabled":          {11, nil},
		"k8s-v1-pod-besteffort":                  {11, nil},
		"k8s-v2-agent-hostpath":                  {3, nil},
		"k8s-v2-pod-gke-containerd":              {1, nil},
		"own-cgroupns-no-remount-from-host":      {9, nil},
		"own-cgroupns-no-remount-inside":         {9, nil},
		"own-cgroupns-no-remount-nsenter":        {9, nil},
		"own-cgroupns-reads-pid1":                {9, nil},
		"own-cgroupns-remounted-inside":          {9, nil},
		"own-migrated-out-from-host":             {9, nil},
		"own-no-cgroup-mounts":                   {0, nil},
		"own-v1-bind-leaf":                       {10, []int{116}},
		"own-v1-bind-other-cgroup":               {10, []int{116}},
		"podman-v2-rootful-host-cgroupns":        {1, nil},
		"rootless-runtime-rbind-then-overmount":  {2, []int{628}},
		"tikv-v2-relative-root":                  {1, nil},
		"v1-exited-ns-mount-left":                {1, nil},
		"v1-systemd-named-only":                  {1, nil},
		"v1-unshare-C-no-remount":                {1, nil},
		"v1-unshare-C-second-mount":              {2, nil},
		"v2-extra-hostpath-mount":                {2, nil},
		"v2-with-v1-freezer":                     {2, nil},
	}
	for name, text := range captures(t, "mountinfo") {
		table, err := ParseMountInfo(bytes.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var covered []int
		for _, m := range table.Cgroup {
			if !m.Visible {
				covered = append(covered, m.ID)
			}
		}
		if w, ok := want[name]; !ok || len(table.Cgroup) != w.mounts || !slices.Equal(covered, w.covered) || table.Incomplete != "" {
			t.Errorf("%s: %d cgroup mounts, covered: %v, incomplete: %q; want %+v", name, len(table.Cgroup), covered, table.Incomplete, w)
		}
		delete(want, name)
	}
	if len(want) != 0 {
		t.Errorf("captures that are gone: %v", want)
	}
}

// TestReadLine holds the reader of lines against bufio's, on lines around the
// size of the buffer.
func TestReadLine(t *testing.T) {
	var text strings.Builder
	for _, n := range []int{0, 1, 14, 15, 16, 17, 31, 32, 33, 0, 0, 100, 5} {
		text.WriteString(strings.Repeat("x", n) + "\n")
	}
	for _, end := range []string{"", "y", strings.Repeat("y", 16), strings.Repeat("y", 40)} {
		want := strings.Split(strings.TrimSuffix(text.String()+end, "\n"), "\n")
		var got []string
		in := bufio.NewReaderSize(strings.NewReader(text.String()+end), 16)
		for {
			line, err := readLine(in)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if !slices.Equal(got, want) {
			t.Errorf("ending in %q: %q, want %q", end, got, want)
		}
	}
}

func BenchmarkParseMountInfo(b *testing.B) {
	small := captures(b, "mountinfo")["docker-v2-private"] // 22 mounts
	var large bytes.Buffer
	large.WriteString("1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n")
	for i := 2; i <= 1000; i++ {
		fstype := "overlay"
		if i%100 == 0 {
			fstype = "cgroup2"
		}
		fmt.Fprintf(&large, "%d 1 0:%d / /var/lib/containers/%d/merged rw,relatime shared:%d - %s none rw,lowerdir=/var/lib/a:/var/lib/b\n", i, i, i, i, fstype)
	}
	for name, text := range map[string][]byte{"mounts=22": small, "mounts=1000": large.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := ParseMountInfo(bytes.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
