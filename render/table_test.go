package render

import (
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

func TestItemList(t *testing.T) {
	roots := itemList{separator: ";"}
	pids := itemList{separator: ",", numbers: true}
	for _, c := range []struct {
		list  itemList
		cell  string
		width int
		want  string
	}{
		{roots, "memory=/a/b;pids=/c", 19, "memory=/a/b;pids=/c"},
		{roots, "memory=/a/b;pids=/c", 18, "memo…=/a/b +1 more"},
		{roots, "memory=/a/b;pids=/c;cpu=/d", 25, "memory=/a/b +2 more"},
		{roots, "a=/1;b=/2;c=/3;d=/4", 17, "a=/1;b=/2 +2 more"},
		{roots, "a=/1;b=/2;c=/3;d=/4", 16, "a=/1 +3 more"},
		{roots, "freezer=/a/very/long/path", 12, "freez…g/path"},
		// A range stands for all that are in it.
		{pids, "1-5,7,9,11-12", 11, "1-5 +4 more"},
		{pids, "1-5,7,9,11-12", 12, "1-5 +4 more"},
		{pids, "1-5,7,9,11,13", 12, "1-5 +4 more"},
		// A number is never cut, however narrow the column.
		{pids, "4194300-4194304,4194306", 5, "4194300-4194304 +1 more"},
		{pids, "4194304", 3, "4194304"},
	} {
		if got := c.list.shorten(c.cell, c.width); got != c.want {
			t.Errorf("%s in %d columns is %s, want %s", c.cell, c.width, got, c.want)
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
		{Options{Width: 100}, "4026532000  -  50  4194000  root  sleep  cpu=/pod/cpu +3 more  4194000 +49 more\n"},
		{Options{Width: 120}, "4026532000  -  50  4194000  root  sleep  cpu=/pod/cpu +3 more  4194000,4194002,4194004 +47 more\n"},
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
