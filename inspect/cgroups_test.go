package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unified(path string) Membership {
	return Membership{Hierarchy: &Hierarchy{ID: 0, Controllers: []string{}, Label: "unified"}, Path: path}
}

func freezer(path string) Membership {
	return Membership{Hierarchy: &Hierarchy{ID: 6, Controllers: []string{"freezer"}, Label: "freezer"}, Path: path}
}

func TestParseCgroups(t *testing.T) {
	cut := unified("/" + strings.Repeat("x", 4094))
	cut.Cut = true
	for _, test := range []struct {
		name string
		text string
		want []Membership
	}{
		{"v2", "0::/user.slice\n", []Membership{unified("/user.slice")}},
		{"v1", "6:freezer:/sub\n", []Membership{freezer("/sub")}},
		{"outside the namespace's root", "6:freezer:/../../sub2\n", []Membership{freezer("/../../sub2")}},
		{"colon in the path", "6:freezer:/a:b:/c\n", []Membership{freezer("/a:b:/c")}},
		{"space in the path", "0::/a b \n", []Membership{unified("/a b ")}},
		{"tab in the path", "0::/a\tb\n", []Membership{unified("/a\tb")}},
		{"backslash in the path", "0::/a\\040b\\\n", []Membership{unified(`/a\040b\`)}},
		{"control character in the path", "0::/\x01\x1b[31m\n", []Membership{unified("/\x01\x1b[31m")}},
		{"invalid UTF-8 in the path", "0::/\xff\xfe\n", []Membership{unified("/\xff\xfe")}},
		{"carriage return at the end", "0::/a\r\n", []Membership{unified("/a\r")}},
		{"NUL in the path", "0::/\x00\n", []Membership{unified("/\x00")}},
		{"deleted", "0::/a (deleted)\n", []Membership{unified("/a (deleted)")}},
		{"no newline at the end", "6:freezer:/sub\n0::/a", []Membership{unified("/a"), freezer("/sub")}},
		{"blank line", "0::/a\n\n6:freezer:/sub\n", []Membership{unified("/a"), freezer("/sub")}},
		{"empty file", "", nil},
		{"sorted by ID", "12:pids:/\n6:freezer:/f\n0::/u\n", []Membership{
			unified("/u"),
			freezer("/f"),
			{Hierarchy: &Hierarchy{ID: 12, Controllers: []string{"pids"}, Label: "pids"}, Path: "/"},
		}},
		{"mounted together, unsorted", "4:cpuacct,cpu:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 4, Controllers: []string{"cpu", "cpuacct"}, Label: "cpu,cpuacct"}, Path: "/"},
		}},
		{"only a name", "9:name=systemd:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 9, Controllers: []string{}, Name: "systemd", Label: "name=systemd"}, Path: "/"},
		}},
		{"controller and name", "14:net_prio,name=foo:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 14, Controllers: []string{"net_prio"}, Name: "foo", Label: "net_prio,name=foo"}, Path: "/"},
		}},
		{"name with dots and dashes", "10:name=exp.t-1_x:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 10, Controllers: []string{}, Name: "exp.t-1_x", Label: "name=exp.t-1_x"}, Path: "/"},
		}},
		{"name like an option", "10:name=-x:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 10, Controllers: []string{}, Name: "-x", Label: "name=-x"}, Path: "/"},
		}},
		{"name with a letter of Latin-1", "10:name=caf\xe9:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 10, Controllers: []string{}, Name: "caf\xe9", Label: "name=caf\xe9"}, Path: "/"},
		}},
		{"name of 63 bytes", "10:name=" + strings.Repeat("X", 63) + ":/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 10, Controllers: []string{}, Name: strings.Repeat("X", 63), Label: "name=" + strings.Repeat("X", 63)}, Path: "/"},
		}},
		{"4094 bytes", "0::/" + strings.Repeat("x", 4093) + "\n", []Membership{unified("/" + strings.Repeat("x", 4093))}},
		{"4095 bytes, which may have been more", "0::/" + strings.Repeat("x", 4094) + "\n", []Membership{cut}},
		{"largest ID", "2147483647:freezer:/\n", []Membership{
			{Hierarchy: &Hierarchy{ID: 2147483647, Controllers: []string{"freezer"}, Label: "freezer"}, Path: "/"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseCgroups([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Memberships); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseCgroupsRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, says string }{
		{"one field", "0\n", "line 1: \"0\" has fewer than three fields"},
		{"two fields", "0::/\n6:freezer\n", "line 2: \"6:freezer\" has fewer than three fields"},
		{"no path", "0::\n", `path "" does not begin with /`},
		{"path without a slash", "0::a\n", `path "a" does not begin with /`},
		{"blank before the path", "0:: /a\n", `path " /a" does not begin with /`},
		{"ID not a number", "x:freezer:/\n", `ID "x" is not a number`},
		{"no ID", ":freezer:/\n", `ID "" is not a number`},
		{"ID with a blank", " 6:freezer:/\n", `ID " 6" is not a number`},
		{"+1", "+1:freezer:/\n", `ID "+1" is not a number`},
		{"-1", "-1:freezer:/\n", `ID "-1" is not a number`},
		{"-0", "-0::/\n", `ID "-0" is not a number`},
		{"beyond an int", "2147483648:freezer:/\n", `ID "2147483648" is not a number`},
		{"huge ID", strings.Repeat("9", 400) + ":freezer:/\n", "is not a number"},
		{"ID 0 with controllers", "0:freezer:/\n", "only ID 0, cgroup v2, has none"},
		{"ID 3 without", "3::/\n", "only ID 0, cgroup v2, has none"},
		{"empty name", "3:name=:/\n", "one that no kernel has, or two names"},
		{"empty controller", "3:cpu,,cpuacct:/\n", "one that no kernel has, or two names"},
		{"only a comma", "3:,:/\n", "one that no kernel has, or two names"},
		{"two names", "3:name=a,name=b:/\n", "one that no kernel has, or two names"},
		{"a blank in a name", "3:name=a b:/\n", "one that no kernel has, or two names"},
		{"a name of a shell's", "3:name=$(reboot):/\n", "one that no kernel has, or two names"},
		{"a name of a quote", "3:name=a'b:/\n", "one that no kernel has, or two names"},
		{"a name of 64 bytes", "3:name=" + strings.Repeat("x", 64) + ":/\n", "one that no kernel has, or two names"},
		{"a sign of Latin-1", "3:name=\xd7:/\n", "one that no kernel has, or two names"},
		{"a slash in a controller", "3:cpu/x:/\n", "one that no kernel has, or two names"},
		{"a controller with a value", "3:loop=x:/\n", "one that no kernel has, or two names"},
		{"a controller like an option", "3:cpu,-rf:/\n", "one that no kernel has, or two names"},
		{"the same hierarchy twice", "6:freezer:/a\n0::/\n6:freezer:/b\n", "hierarchy 6 twice"},
		{"cgroup v2 twice", "0::/\n00::/\n", "hierarchy 0 twice"},
		{"two of one number", "6:freezer:/\n6:pids:/\n", "hierarchy 6 twice"},
		{"too many lines", hierarchies(0, 1025), "more than 1024 lines"},
		{"too many blank lines", strings.Repeat("\n", 1025), "more than 1024 lines"},
		{"only a carriage return", "\r\n", "has fewer than three fields"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseCgroups([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%+v, error %v; want an error that says %s", got, err, test.says)
			}
			if len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// hierarchies are the lines of so many, from a number on.
func hierarchies(from, n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%d:a%d:/\n", from+i+1, from+i+1)
	}
	return text.String()
}

// TestManyHierarchies: the hierarchies that many files name are bounded, too.
func TestManyHierarchies(t *testing.T) {
	if c, err := ParseCgroups([]byte(hierarchies(0, 1024))); err != nil || len(c.Memberships) != 1024 {
		t.Fatal(err)
	}
	var in interner
	for i := range 100 {
		_, err := in.cgroups([]byte(hierarchies(i*100, 100)))
		if want := i < 10; want != (err == nil) || !want && !strings.Contains(err.Error(), "one of more than 1024") {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	if in.kept != 1000 {
		t.Errorf("%d lines are kept", in.kept)
	}
	if len(in.hierarchies) > 1024 || len(in.files) != 10 {
		t.Errorf("%d hierarchies of %d files are kept", len(in.hierarchies), len(in.files))
	}
}

// TestManyLines: so are all lines; what is known already costs nothing.
func TestManyLines(t *testing.T) {
	var in interner
	in.kept = maxMemberships - 100
	known := []byte(hierarchies(0, 100))
	for range 2 {
		if _, err := in.cgroups(known); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.cgroups([]byte("0::/\n")); err == nil || !strings.Contains(err.Error(), "one of files with more than 8388608 lines") {
		t.Error(err)
	}
}

func TestCgroupsOf(t *testing.T) {
	c, err := ParseCgroups([]byte("4:cpuacct,cpu:/c\n0::/u\n"))
	if err != nil {
		t.Fatal(err)
	}
	for label, path := range map[string]string{"cpu,cpuacct": "/c", "unified": "/u"} {
		if m, ok := c.Of(label); !ok || m.Path != path {
			t.Errorf("%s: %+v, %v", label, m, ok)
		}
	}
	for _, label := range []string{"cpu", "cpuacct,cpu", ""} {
		if m, ok := c.Of(label); ok {
			t.Errorf("%q: %+v", label, m)
		}
	}
	if _, ok := (*Cgroups)(nil).Of("unified"); ok {
		t.Error("a reading that is not there has a membership")
	}
	if v := c.Memberships[0].Hierarchy.Version(); v != 2 {
		t.Errorf("unified is version %d", v)
	}
	if v := c.Memberships[1].Hierarchy.Version(); v != 1 {
		t.Errorf("cpu,cpuacct is version %d", v)
	}
}

// TestInterner: equal texts are one reading, equal hierarchies one hierarchy.
func TestInterner(t *testing.T) {
	var in interner
	read := func(text string) *Cgroups {
		c, err := in.cgroups([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	buf := []byte("0::/a\n")
	a, err := in.cgroups(buf)
	if err != nil {
		t.Fatal(err)
	}
	copy(buf, "0::/b\n") // what a reader does with its buffer
	b, again := read("0::/b\n"), read("0::/a\n")
	if a != again || a == b {
		t.Errorf("%p and %p for /a, %p for /b", a, again, b)
	}
	if a.Memberships[0].Path != "/a" || b.Memberships[0].Path != "/b" {
		t.Errorf("paths %q and %q", a.Memberships[0].Path, b.Memberships[0].Path)
	}
	if a.Memberships[0].Hierarchy != b.Memberships[0].Hierarchy {
		t.Error("two hierarchies for 0")
	}
	if _, err := in.cgroups([]byte("bad")); err == nil {
		t.Error("a bad text was taken")
	}
	if _, err := in.cgroups([]byte("bad")); err == nil {
		t.Error("a bad text was taken the second time")
	}
}

// captures are the real files of testdata/captures with this name, by folder.
func captures(t testing.TB, name string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../testdata/captures/*/" + name)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	texts := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(filepath.Dir(path))] = text
	}
	return texts
}

// TestCapturedCgroups has, for real files, the labels in the order of IDs and
// the path of one of them, as read by eye.
func TestCapturedCgroups(t *testing.T) {
	texts := captures(t, "cgroup")
	for _, test := range []struct{ capture, labels, label, path string }{
		{
			"host-hybrid-ubuntu1804",
			"unified name=systemd blkio cpuset perf_event rdma cpu,cpuacct freezer net_cls,net_prio memory hugetlb devices pids",
			"cpu,cpuacct", "/system.slice/networkd-dispatcher.service",
		},
		{
			"docker-v1-agent-reads-sibling",
			"cpuset cpu cpuacct blkio memory devices freezer net_cls perf_event net_prio",
			"net_prio", "/docker/b29faf21b7eff959f64b4192c34d5d67a707fe8561e9eaa608cb27693fba4242",
		},
		{"docker-v2-private-hostfs-agent", "unified", "unified", "/../../user-1000.slice/session-520.scope"},
		{"v2-with-v1-freezer", "unified freezer", "unified", "/user.slice/user-1000.slice/session-2.scope"},
		{"host-hybrid-session-user1006", "unified cpu,cpuacct memory hugetlb", "hugetlb", "/"},
		{"own-v1-bind-leaf", "unified cpu cpuacct cpuset devices freezer blkio pids name=systemd", "freezer", "/nsi/dock"},
	} {
		c, err := ParseCgroups(texts[test.capture])
		if err != nil {
			t.Errorf("%s: %v", test.capture, err)
			continue
		}
		var labels []string
		for _, m := range c.Memberships {
			labels = append(labels, m.Hierarchy.Label)
		}
		if want := strings.Fields(test.labels); !slices.Equal(labels, want) {
			t.Errorf("%s: labels %q, want %q", test.capture, labels, want)
		}
		if m, ok := c.Of(test.label); !ok || m.Path != test.path {
			t.Errorf("%s: %s is at %q, want %q", test.capture, test.label, m.Path, test.path)
		}
	}
}

func BenchmarkParseCgroups(b *testing.B) {
	text := captures(b, "cgroup")["host-hybrid-ubuntu1804"]
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseCgroups(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		var in interner
		b.ReportAllocs()
		for b.Loop() {
			if _, err := in.cgroups(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestDepth: the depth of a path is that of where it leads.
func TestDepth(t *testing.T) {
	for path, want := range map[string]int{"/": 0, "/a": 1, "/a/b": 2, "/..": -1, "/../..": -2, "/../x": 0, "/../../x": -1, "/..x": 1, "/a/..": 2} {
		if got := Depth(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// TestOtherRoot: only where the reader's root file system is known can another
// one be told to be another.
func TestOtherRoot(t *testing.T) {
	here := &MountTable{RootDev: "8:1", RootDir: "/"}
	for name, c := range map[string]struct {
		t, than *MountTable
		want    bool
	}{
		"the same":                  {&MountTable{RootDev: "8:1", RootDir: "/"}, here, false},
		"another device":            {&MountTable{RootDev: "0:50", RootDir: "/"}, here, true},
		"another directory":         {&MountTable{RootDev: "8:1", RootDir: "/box"}, here, true},
		"no mount, as in a chroot":  {&MountTable{}, here, true},
		"the reader is in a chroot": {here, &MountTable{}, false},
		"the reader is not known":   {here, nil, false},
	} {
		if got := c.t.OtherRoot(c.than); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
