package render

import (
	"fmt"
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

func TestItemList(t *testing.T) {
	roots := itemList{separator: ";", counted: true}
	pids := itemList{separator: ","}
	for _, c := range []struct {
		list  itemList
		cell  string
		width int
		want  string
	}{
		{roots, "memory=/a/b;pids=/c", 19, "memory=/a/b;pids=/c"},
		{roots, "memory=/a/b;pids=/c", 18, "memory=/a/b +1 more"},
		{roots, "memory=/a/b;pids=/c;cpu=/d", 25, "memory=/a/b +2 more"},
		{roots, "a=/1;b=/2;c=/3;d=/4", 17, "a=/1;b=/2 +2 more"},
		{roots, "a=/1;b=/2;c=/3;d=/4", 16, "a=/1 +3 more"},
		{roots, "freezer=/a/very/long/path", 12, "freezer=/…/path"},
		{pids, "1-5,7,9,11-12", 13, "1-5,7,9,11-12"},
		{pids, "1-5,7,9,11-12", 12, "1-5,7,9,…"},
		{pids, "1-5,7,9,11-12", 8, "1-5,7,…"},
		// A number is never cut, however narrow the column.
		{pids, "4194300-4194304,4194306", 5, "4194300-4194304,…"},
		{pids, "4194304", 3, "4194304"},
	} {
		if got := c.list.shorten(c.cell, c.width); got != c.want {
			t.Errorf("%s in %d columns is %s, want %s", c.cell, c.width, got, c.want)
		}
	}
}

// TestShorten: a path loses whole components in its middle, its last one never.
func TestShorten(t *testing.T) {
	for _, c := range []struct {
		cell  string
		width int
		want  string
	}{
		{"/sys/fs/cgroup/memory", 21, "/sys/fs/cgroup/memory"},
		{"/sys/fs/cgroup/memory", 20, "/sys/fs/…/memory"},
		{"/sys/fs/cgroup/memory", 15, "/sys/…/memory"},
		{"/sys/fs/cgroup/memory", 3, "/…/memory"},
		{"/../../sub2", 10, "/../…/sub2"},
		{"/a/b", 3, "/a/b"}, // nothing would be won
		{"/docker-0123456789.scope", 12, "/docker-0123456789.scope"},
		{"kthreadd", 3, "kthreadd"},
		{"/ä/世界/x", 6, "/ä/…/x"},
	} {
		if got := shorten(c.cell, c.width); got != c.want {
			t.Errorf("%s in %d columns is %s, want %s", c.cell, c.width, got, c.want)
		}
	}
}

// TestNarrow: a table that does not fit is shortened, then loses what is least
// missed and says so, and then has a line for each value. None is too wide.
func TestNarrow(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Width: 36}, "PATH                   VERDICT  MORE\n/sys/fs/cgroup/memory  stale    x\n/b                     ok       yy\n"},
		{Options{Width: 35}, "PATH              VERDICT  MORE\n/sys/fs/…/memory  stale    x\n/b                ok       yy\n"},
		{Options{Width: 24}, "PATH       VERDICT  MORE\n/…/memory  stale    x\n/b         ok       yy\n"},
		{Options{Width: 23}, "PATH           VERDICT\n/sys/…/memory  stale\n/b             ok\n(-o wide has MORE too)\n"},
		{Options{Width: 23, NoHeaders: true}, "/sys/…/memory  stale\n/b             ok\n"},
		{Options{Width: 17}, "PATH     /sys/fs/cgroup/memory\nVERDICT  stale\nMORE     x\n\nPATH     /b\nVERDICT  ok\nMORE     yy\n"},
		{Options{Width: 17, NoHeaders: true}, "/sys/fs/cgroup/memory  stale  x\n/b                     ok     yy\n"},
		{Options{Width: 17, Wide: true}, "PATH                   VERDICT  MORE\n/sys/fs/cgroup/memory  stale    x\n/b                     ok       yy\n"},
	} {
		table := table{header: []string{"PATH", "VERDICT", "MORE"}, flexible: []int{0}, minor: 1}
		table.add("/sys/fs/cgroup/memory", "stale", "x")
		table.add("/b", "ok", "yy")
		var b strings.Builder
		if err := table.write(&b, c.o); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%+v\n%swant\n%s", c.o, b.String(), c.want)
		}
	}
}

// TestSameRoots: one path in all hierarchies is told once, and not only / is.
func TestSameRoots(t *testing.T) {
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{[]string{"/nc-runc", "/nc-runc"}, "/nc-runc"},
		{[]string{"", ""}, "?"},
		{[]string{"/", "/"}, "/"},
		{[]string{"/a", "/", "/a"}, "h0=/a;h2=/a"},
	} {
		n := compare.NamespaceSummary{}
		for i, path := range c.paths {
			n.Roots = append(n.Roots, compare.Root{Hierarchy: &inspect.Hierarchy{Label: fmt.Sprint("h", i)}, Path: path, Known: compare.Entered})
		}
		if got := roots(&n, false); got != c.want {
			t.Errorf("%q: %s, want %s", c.paths, got, c.want)
		}
		if all := roots(&n, true); strings.Count(all, "=") != len(c.paths) {
			t.Errorf("all of %q are %s", c.paths, all)
		}
	}
}

// TestListOnTerminal: what fits is cut between items, and -o wide shows all.
func TestListOnTerminal(t *testing.T) {
	n := compare.NamespaceSummary{NS: 4026532000, First: inspect.Process{Task: inspect.Task{PID: 20}, User: "root", Command: "sleep"}}
	for pid := 4194000; pid < 4194100; pid += 2 {
		n.Processes = append(n.Processes, pid)
	}
	for id, label := range []string{"cpu", "memory", "freezer", "pids"} {
		h := &inspect.Hierarchy{ID: id, Controllers: []string{label}, Label: label}
		n.Roots = append(n.Roots, compare.Root{Hierarchy: h, Path: "/pod/" + label, Known: compare.Entered})
	}
	l := &List{Namespaces: []compare.NamespaceSummary{n}}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Width: 100}, "4026532000  -  50  4194000  root  sleep  cpu=/pod/cpu +3 more  4194000,4194002,…\n"},
		// 82 columns are the least; below, the last one is left out.
		{Options{Width: 82}, "4026532000  -  50  4194000  root  sleep  cpu=/…/cpu +3 more  4194000,…\n"},
		{Options{Width: 81}, "4026532000  -  50  4194000  root  sleep  cpu=/pod/cpu +3 more\n"},
		{Options{Width: 120}, "4026532000  -  50  4194000  root  sleep  cpu=/pod/cpu +3 more  4194000,4194002,4194004,4194006,…\n"},
	} {
		c.o.NoHeaders = true
		if got := listed(t, l, c.o); got != c.want {
			t.Errorf("on %d columns\n%swant\n%s", c.o.Width, got, c.want)
		}
	}
	wide := listed(t, l, Options{Width: 80, Wide: true})
	if wide != listed(t, l, Options{}) || !strings.Contains(wide, ",4194098\n") || !strings.Contains(wide, "pids=/pod/pids") {
		t.Errorf("-o wide on a terminal\n%s", wide)
	}
}

func listed(t *testing.T, l *List, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := ListTable(&b, l, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
