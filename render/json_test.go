package render

import (
	"fmt"
	"io"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// largeList is a list of ten thousand processes in five hundred namespaces.
func largeList() *List {
	l := &List{Reader: inspect.Reader{PID: 1, CgroupNS: inspect.InitialCgroupNS}, Layout: "hybrid"}
	labels := []string{"unified", "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "name=systemd"}
	for i := range 500 {
		n := compare.NamespaceSummary{NS: uint64(4026532000 + i), First: inspect.Process{Task: inspect.Task{PID: 20 * i}, User: "root", Command: "sleep"}}
		for j := range 20 {
			n.Processes = append(n.Processes, 20*i+j)
		}
		for id, label := range labels {
			h := &inspect.Hierarchy{ID: id, Controllers: []string{label}, Label: label}
			n.Roots = append(n.Roots, compare.Root{Hierarchy: h, Path: fmt.Sprintf("/some/cgroup/%d", i), Known: compare.Entered})
		}
		l.Namespaces = append(l.Namespaces, n)
	}
	return l
}

func BenchmarkListJSON(b *testing.B) {
	l := largeList()
	b.ReportAllocs()
	for b.Loop() {
		if err := ListJSON(io.Discard, l); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListTable(b *testing.B) {
	l := largeList()
	b.ReportAllocs()
	for b.Loop() {
		if err := ListTable(io.Discard, l, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
