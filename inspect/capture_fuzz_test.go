package inspect_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// patience is how long the reading of one small capture may take.
const patience = 20 * time.Second

// FuzzReplay reads and judges whatever is given to it as a capture: it may be
// refused, and does no harm.
func FuzzReplay(f *testing.F) {
	trees, err := filepath.Glob("../testdata/proc/*")
	if err != nil || len(trees) == 0 {
		f.Fatalf("no recorded procfs: %v", err)
	}
	for _, tree := range trees {
		archive := record(f, tree)
		f.Add(archive)
		f.Add(archive[:len(archive)/2])
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(archive); err != nil {
			f.Fatal(err)
		}
		if err := z.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(packed.Bytes())
	}
	for _, text := range scripts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if bytes.HasPrefix(input, []byte("-- ")) {
			input = packed(string(input))
		}
		replay(t, input)
		replay(t, summed(input))
	})
}

// packed makes an archive of texts, which can be mutated further than the blocks
// of an archive can. A text behind an arrow is a symbolic link.
func packed(texts string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range strings.Split("\n"+texts, "\n-- ")[1:] {
		name, text, _ := strings.Cut(file, " --\n")
		text += "\n"
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text))}
		if link, ok := strings.CutPrefix(text, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, text = tar.TypeSymlink, strings.TrimSpace(link), 0, ""
		}
		if w.WriteHeader(h) != nil {
			break // a name that no archive can hold: what is there so far has to do
		}
		if _, err := io.WriteString(w, text); err != nil {
			break
		}
	}
	_ = w.Flush() // as far as it came
	return append(out.Bytes(), make([]byte, 1024)...)
}

// scripts are captures as texts: a stale mount, a process outside its
// namespace's root, and a removed root.
var scripts = []string{
	script("0::/a/b", "0::/", "/", "/../..", 0),
	script("0::/a", "0::/..", "/a/b", "/", 0),
	script("0::/x/y", "0::/../../x/y", "/", "/../..", 1),
	script("0::/a/b\n3:cpu,cpuacct:/a\n1:name=systemd:/", "0::/\n3:cpu,cpuacct:/\n1:name=systemd:/..", "/", "/..", 2),
}

func script(host, own, hostRoot, ownRoot string, directories int) string {
	mount := "-- %s/mountinfo --\n20 1 8:1 / / rw - ext4 /dev/sda rw\n30 20 0:26 %s /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n" +
		"31 20 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
	text := "-- proc/self --\n-> 1\n-- proc/uptime --\n9.1 2\n-- proc/sys/kernel/osrelease --\n6.1\n"
	for _, p := range [][2]int{{1, 4026531835}, {70, 4026532000}} {
		pid, ns := p[0], p[1]
		at := fmt.Sprintf("proc/%d", pid)
		text += fmt.Sprintf("-- %s/ns/cgroup --\n-> cgroup:[%d]\n-- %s/ns/mnt --\n-> mnt:[%d]\n-- %s/root --\n-> /\n", at, ns, at, ns, at)
		text += fmt.Sprintf("-- %s/stat --\n%d (sh) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 2 0 0\n", at, pid)
		text += fmt.Sprintf("-- %s/status --\nName:\tsh\nTgid:\t%d\nNSpid:\t%d\t1\nUid:\t0\t0\t0\t0\n", at, pid, pid)
	}
	text += "-- proc/1/cgroup --\n0::/\n" + fmt.Sprintf(mount, "proc/1", "/")
	text += "-- proc/70/cgroup --\n" + host + "\n" + fmt.Sprintf(mount, "proc/70", hostRoot)
	text += "-- views/4026532000/70/cgroup --\n" + own + "\n" + fmt.Sprintf(mount, "views/4026532000/70", ownRoot)
	found := strings.TrimSuffix(strings.Repeat(`{"path":"x","inode":5},`, directories), ",")
	return text + `-- answers.json --
{"format":1,"reader":{"pid":1,"cgroup_ns":4026531835,"uid":0,"can_enter":true,"same_pids":true},
"probes":[{"pid":70,"tid":70,"mount_id":30,"mount_point":"/sys/fs/cgroup","path":".","tried":true,"listed":false}],
"directories":[{"mount_point":"/sys/fs/cgroup","path":".","depth":2,"found":[` + found + `]}],
"cgroup_files":[{"mount_point":"/sys/fs/cgroup","path":"a","name":"memory.max","text":"7\n"}]}
`
}

// record makes a capture of a copy of a procfs.
func record(f *testing.F, tree string) []byte {
	f.Helper()
	fs, err := inspect.Open(tree, 1)
	if err != nil {
		f.Fatal(err)
	}
	defer fs.Close()
	recording, err := fs.Record(context.Background(), inspect.RecordOptions{})
	if err != nil {
		f.Fatal(err)
	}
	var archive bytes.Buffer
	if err := recording.Write(&archive, time.Unix(0, 0)); err != nil {
		f.Fatal(err)
	}
	return archive.Bytes()
}

// summed gives the headers of an archive their checksums, without which the
// mutated ones would never be read.
func summed(archive []byte) []byte {
	out := bytes.Clone(archive)
	for at := 0; at+512 <= len(out); {
		h := out[at : at+512]
		copy(h[148:156], "        ")
		sum := 0
		for _, b := range h {
			sum += int(b)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		size := 0
		if _, err := fmt.Sscanf(string(h[124:135]), "%o", &size); err != nil || size < 0 {
			size = 0
		}
		at += 512 + (size+511)/512*512
		if at < 0 || at > len(out) || bytes.Equal(out[at:min(at+512, len(out))], make([]byte, min(512, len(out)-at))) {
			break
		}
	}
	return out
}

// replay does with a capture all that the commands do.
func replay(t *testing.T, archive []byte) {
	t.Helper()
	fs, err := inspect.ReadCapture(bytes.NewReader(archive), "it", 2)
	if err != nil {
		if fs != nil || len(err.Error()) > 1000 {
			t.Fatalf("%v with an error of %d bytes", fs, len(err.Error()))
		}
		return
	}
	defer fs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, want := range []inspect.Want{{}, {Views: true}, {Views: true, Threads: true}} {
		host, err := fs.Scan(ctx, want)
		if err != nil {
			t.Fatal(err)
		}
		only, _ := fs.Captured()
		report := diagnose(ctx, t, fs, compare.NewDiagnosis(host, only))
		if len(report.Checks) != len(compare.Checks) {
			t.Errorf("the report has %d checks, want %d", len(report.Checks), len(compare.Checks))
		}
		for _, task := range host.Tasks {
			s, err := fs.Subject(ctx, task.PID, []int{task.TID})
			if err != nil {
				continue // it says what the capture lacks
			}
			d := compare.NewRootSearch(host, s.Process.PID)
			diagnose(ctx, t, fs, d)
			compare.Compare(fs.Reader, s, d.Roots(s.Process.CgroupNS))
		}
	}
	if ctx.Err() != nil {
		t.Errorf("%d bytes took longer than %v", len(archive), patience)
	}
}

func diagnose(ctx context.Context, t *testing.T, fs *inspect.FS, d *compare.Diagnosis) *compare.Report {
	t.Helper()
	err := d.Settle(func(q inspect.Questions) (*inspect.Answers, error) { return fs.Answer(ctx, q) })
	if err != nil {
		t.Fatal(err)
	}
	return d.Report()
}
