package inspect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLargeFile: a small file is read whole up to its bound, and no further,
// whatever the buffer.
func TestLargeFile(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := fsDir(fd)
	defer d.close()
	for size, want := range map[int64]error{0: nil, 2048: nil, 5000: nil, 1 << 20: nil, 1<<20 + 1: errLargeFile, 1 << 40: errLargeFile} {
		name := filepath.Join(dir, "cgroup")
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
		file, err := d.hold("cgroup")
		if err != nil {
			t.Fatal(err)
		}
		defer file.close()
		for _, room := range []int{0, 3000, scratchSize} {
			got, err := d.read("cgroup", make([]byte, 0, room))
			held, errHeld := file.read(make([]byte, 0, room))
			if err != want || errHeld != want || want == nil && (int64(len(got)) != size || string(held) != string(got)) {
				t.Errorf("%d bytes, room for %d: %d read, %v; %d read, %v", size, room, len(got), err, len(held), errHeld)
			}
		}
	}
}

// TestLargeFileInCopy: of a process with such a file that is told, and nothing
// of it is taken for a fact.
func TestLargeFileInCopy(t *testing.T) {
	f := threaded(t)
	tree := f.tree.(*fsTree)
	for _, task := range []string{"7", "7/task/7", "7/task/8", "7/task/9"} {
		if err := os.Truncate(filepath.Join(tree.path, task, "cgroup"), 1<<40); err != nil {
			t.Fatal(err)
		}
	}
	h, err := f.Scan(t.Context(), Want{Views: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Skipped{PID: 7, What: "cgroup", Reason: "it is larger than 1 MiB"}); !slices.Contains(h.Skipped, want) {
		t.Errorf("%+v", h.Skipped)
	}
	if _, err := f.Subject(t.Context(), 7, nil); err == nil || !strings.Contains(err.Error(), "process 7: cgroup: it is larger than 1 MiB") {
		t.Error(err)
	}
}
