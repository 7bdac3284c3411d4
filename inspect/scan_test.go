package inspect

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// largeCopy makes a copy of a procfs with many processes of some kinds: each
// kind has its namespaces, cgroups and mounts.
func largeCopy(tb testing.TB, kinds, processes int) string {
	tb.Helper()
	proc := tb.TempDir()
	var failed error
	try := func(err error) { failed = errors.Join(failed, err) }
	mounts := captures(tb, "mountinfo")["docker-v2-private"]
	for k := range kinds {
		dir := filepath.Join(proc, fmt.Sprintf("kind-%d", k))
		try(os.MkdirAll(dir+"/ns", 0o755))
		try(os.Symlink(fmt.Sprintf("cgroup:[%d]", 4026532000+k), dir+"/ns/cgroup"))
		try(os.Symlink(fmt.Sprintf("mnt:[%d]", 4026534000+k), dir+"/ns/mnt"))
		try(os.Symlink("/", dir+"/root"))
		try(os.WriteFile(dir+"/cgroup", fmt.Appendf(nil, "4:memory:/box/%d\n3:cpu:/\n1:name=systemd:/\n0::/box/%d\n", k, k), 0o644))
		try(os.WriteFile(dir+"/mountinfo", mounts, 0o644))
		try(os.WriteFile(dir+"/stat", []byte("42 (cat)"+statTail), 0o644))
		try(os.WriteFile(dir+"/status", []byte(statusText), 0o644))
	}
	for pid := range processes {
		try(os.Symlink(fmt.Sprintf("kind-%d", pid%kinds), filepath.Join(proc, strconv.Itoa(pid+1))))
	}
	if failed != nil {
		tb.Fatal(failed)
	}
	return proc
}

// TestScanLarge: every process is found once, in its place, and described.
func TestScanLarge(t *testing.T) {
	f, err := Open(largeCopy(t, 7, 1000), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := f.Scan(t.Context(), Want{Views: true, First: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Tasks) != 1000 || len(h.Namespaces) != 7 || len(h.Tables) != 7 {
		t.Fatalf("%d tasks, %d namespaces, %d tables", len(h.Tasks), len(h.Namespaces), len(h.Tables))
	}
	for i, task := range h.Tasks {
		kind := i % 7
		if box, _ := task.Cgroups.Of("memory"); task.PID != i+1 || task.CgroupNS != uint64(4026532000+kind) || task.MntNS != uint64(4026534000+kind) || box.Path != fmt.Sprintf("/box/%d", kind) {
			t.Errorf("%+v", task)
		}
	}
	for i, ns := range h.Namespaces {
		want := (1000 + 6 - i) / 7
		if len(ns.Members) != want || ns.First.PID != i+1 || ns.First.Command != "cat" || ns.First.UID != 1001 || ns.Entered || ns.Reason != errRecorded.Error() {
			t.Errorf("%d members, want %d, of %+v", len(ns.Members), want, ns)
		}
	}
	if p := f.Progress(); p.Processes != 1000 || p.Of != 1000 || p.Entered != 7 {
		t.Errorf("%+v", p)
	}
}

// TestManyJobs: however many readers are asked for, there are no more than there
// is work, and never very many.
func TestManyJobs(t *testing.T) {
	f, err := Open(largeCopy(t, 1, 300), math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n, want := range map[int]int64{0: 0, 3: 3, 1 << 20: 1024} {
		var workers atomic.Int64
		if err := f.share(t.Context(), n, func(func() (int, bool)) { workers.Add(1) }); err != nil || workers.Load() != want {
			t.Errorf("%d workers for %d things to do, want %d; %v", workers.Load(), n, want, err)
		}
	}
	scanned := make(chan error, 1)
	go func() {
		_, err := f.Scan(t.Context(), Want{})
		scanned <- err
	}()
	select {
	case err := <-scanned:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a reading of 300 processes does not end")
	}
}

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name string
		want Want
	}{{"links", Want{}}, {"list", Want{First: true}}, {"views", Want{Views: true}}} {
		f, err := Open(largeCopy(b, 100, 2000), 1)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Scan(b.Context(), c.want); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
