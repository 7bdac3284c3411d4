package inspect

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// TestOrigin: a capture knows when and of which kernel it was made; a procfs is
// no capture.
func TestOrigin(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 7, 12, 0, time.UTC)
	fs, err := Open("../testdata/proc/stale-inside", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	if o, ok := fs.Origin(); ok {
		t.Errorf("a recorded procfs is called a capture: %+v", o)
	}
	recording, err := fs.Record(t.Context(), RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := recording.Write(&archive, at); err != nil {
		t.Fatal(err)
	}
	read, err := ReadCapture(&archive, "capture", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if o, ok := read.Origin(); !ok || !o.Made.Equal(at) || o.Kernel != "6.18.0" || o.Host != "" {
		t.Errorf("%+v, %v", o, ok)
	}
}

// TestOriginHost: a host tells its name, and a capture of it does too.
func TestOriginHost(t *testing.T) {
	fs, err := Open("/proc", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	recording, err := fs.Record(t.Context(), RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := recording.FS().Origin(); !ok || o.Host != want || want == "" {
		t.Errorf("%+v, %v; want host %q", o, ok, want)
	}
}
