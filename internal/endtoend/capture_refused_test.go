package endtoend

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// withEntry is a capture with one more entry before its answers.
func withEntry(t *testing.T, archive []byte, more *tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	write := func(h *tar.Header, text []byte) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "answers.json" {
			write(more, []byte("evil")[:more.Size])
		}
		write(h, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// foreign is an archive of something else.
func foreign(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := w.WriteHeader(&tar.Header{Name: "etc/hostname", Typeflag: tar.TypeReg, Size: 5})
	if _, werr := w.Write([]byte("host\n")); errors.Join(err, werr, w.Close()) != nil {
		t.Fatal(err, werr)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestCaptureRefused holds what every command that takes --from does with a
// capture that is cut off, foreign or hostile: one line, exit status 2, and
// nothing is written anywhere.
func TestCaptureRefused(t *testing.T) {
	good, stderr, status := run("capture", "--proc", "testdata/proc/stale-outside")
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	capture := []byte(good)
	packed := gzipped(t, capture)
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"cut":              {capture[:len(capture)/2], "it is cut off"},
		"cut, compressed":  {packed[:len(packed)/2], "it is cut off"},
		"another archive":  {foreign(t), "it is no capture"},
		"a program":        {[]byte("\x7fELF" + strings.Repeat("\x00\x01", 4096)), "it is no capture"},
		"a path upwards":   {withEntry(t, capture, &tar.Header{Name: "proc/1/../../../" + victim, Typeflag: tar.TypeReg, Size: 4}), "which no capture has"},
		"an absolute path": {withEntry(t, capture, &tar.Header{Name: victim, Typeflag: tar.TypeReg, Size: 4}), "which no capture has"},
		"a symbolic link":  {withEntry(t, capture, &tar.Header{Name: "proc/1/comm", Typeflag: tar.TypeSymlink, Linkname: victim}), "it is no capture"},
		"a hard link":      {withEntry(t, capture, &tar.Header{Name: "proc/1/comm", Typeflag: tar.TypeLink, Linkname: victim}), "it is no capture"},
		"a device":         {withEntry(t, capture, &tar.Header{Name: "proc/1/comm", Typeflag: tar.TypeBlock, Devmajor: 254}), "it is no capture"},
	} {
		archive := filepath.Join(dir, "host.tar")
		if err := os.WriteFile(archive, c.archive, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"list"}, {"list", "--json"}, {"show", "1"}, {"compare", "1"}, {"doctor"}, {"doctor", "--json", "1"}} {
			stdout, stderr, status := run(append(args, "--from", archive)...)
			if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "nsinspect: read capture "+archive+": ") || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 || len(stderr) > 500 {
				t.Errorf("%v of %s: exit status %d, %q and %q", args, name, status, stdout, stderr)
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: there are now %v, %v", name, entries, err)
		}
	}
}

// TestLiveCaptureRefused holds the same of the system calls.
func TestLiveCaptureRefused(t *testing.T) {
	lt.Need(t, lt.Programs("strace"))
	good, _, _ := run("capture", "--proc", "testdata/proc/stale-outside")
	dir := t.TempDir()
	archive, trace := filepath.Join(dir, "host.tar"), filepath.Join(dir, "trace")
	evil := withEntry(t, []byte(good), &tar.Header{Name: "proc/1/../../../" + filepath.Join(dir, "victim"), Typeflag: tar.TypeReg, Size: 4})
	if err := os.WriteFile(archive, evil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := lt.Execute(t, "strace", "-f", "-qq", "-e", "trace="+changing, "-o", trace, lt.Binary(t), "doctor", "--from", archive)
	if r.Status != 2 || r.Stdout != "" {
		t.Errorf("exit status %d: %s", r.Status, r.Stdout)
	}
	writesNothing(t, lt.ReadFile(t, trace))
}
