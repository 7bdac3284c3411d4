package inspect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// threaded is a copy of a procfs, made by process 5, in which the threads of
// three processes are in the cgroup namespaces with these numbers; 0: the thread
// has ended, and is a zombie. The leader is the one with the process's number.
// One of process 5 is in another mount namespace, too.
func threaded(t *testing.T) *FS {
	t.Helper()
	proc := t.TempDir()
	failed := os.Symlink("5", filepath.Join(proc, "self"))
	for pid, threads := range map[int]map[int]int{
		5: {5: 100, 6: 101, 15: 101},
		7: {7: 100, 8: 101, 9: 100},
		// Nobody is where its leader was.
		10: {10: 0, 11: 100, 12: 100, 13: 101, 14: 0},
	} {
		for tid, ns := range threads {
			dir := filepath.Join(proc, strconv.Itoa(pid), "task", strconv.Itoa(tid))
			failed = errors.Join(failed, writeTask(dir, pid, ns))
			if tid == pid {
				failed = errors.Join(failed, writeTask(filepath.Join(proc, strconv.Itoa(pid)), pid, ns))
			}
		}
	}
	mnt := filepath.Join(proc, "5", "task", "15", "ns", "mnt")
	if err := errors.Join(failed, os.Remove(mnt), os.Symlink("mnt:[201]", mnt)); err != nil {
		t.Fatal(err)
	}
	f, err := Open(proc, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func writeTask(dir string, pid, ns int) error {
	state := " S "
	if ns == 0 {
		state = " Z "
	}
	err := errors.Join(
		os.MkdirAll(dir+"/ns", 0o755),
		os.WriteFile(dir+"/cgroup", []byte("0::/box\n"), 0o644),
		os.WriteFile(dir+"/mountinfo", nil, 0o644),
		os.WriteFile(dir+"/stat", []byte("42 (cat)"+strings.Replace(statTail, " S ", state, 1)), 0o644),
		os.WriteFile(dir+"/status", fmt.Appendf(nil, "Name:\tcat\nTgid:\t%d\nUid:\t0\t0\t0\t0\n", pid), 0o644),
	)
	if ns == 0 {
		return err
	}
	return errors.Join(err,
		os.Symlink(fmt.Sprintf("cgroup:[%d]", ns), dir+"/ns/cgroup"),
		os.Symlink("mnt:[200]", dir+"/ns/mnt"), os.Symlink("/", dir+"/root"))
}

// TestStrayThreads: of each process those are told that are elsewhere than who
// stands for it, and of the reader none that is only in another cgroup
// namespace.
func TestStrayThreads(t *testing.T) {
	f := threaded(t)
	for name, c := range map[string]struct {
		want Want
		tids []int
	}{
		"none asked for":                {Want{Views: true}, []int{5, 7, 11}},
		"all":                           {Want{Views: true, Threads: true}, []int{5, 15, 7, 8, 11, 13}},
		"all, by links":                 {Want{Threads: true}, []int{5, 7, 8, 11, 13}},
		"the reader's":                  {Want{Views: true, ThreadsOf: []int{5}}, []int{5, 15, 7, 11}},
		"of one whose leader has ended": {Want{ThreadsOf: []int{10}}, []int{5, 7, 11, 13}},
	} {
		h, err := f.Scan(t.Context(), c.want)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, task := range h.Tasks {
			got = append(got, task.TID)
		}
		if diff := cmp.Diff(c.tids, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for pid, want := range map[int][]int{5: {15}, 7: {8}, 10: {13}} {
		s, err := f.Subject(t.Context(), pid, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, task := range s.Threads {
			got = append(got, task.TID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("process %d: threads %v, want %v", pid, got, want)
		}
	}
}

// TestRecordedThreads: a capture has the same ones.
func TestRecordedThreads(t *testing.T) {
	r, err := threaded(t).Record(t.Context(), RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []taskID{{5, 5}, {5, 15}, {7, 7}, {7, 8}, {10, 10}, {10, 11}, {10, 13}}
	if got := r.capture.ordered(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
