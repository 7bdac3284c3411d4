package inspect

import (
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// lostTree is a tree whose threads go into namespaces and cannot come back.
type lostTree struct {
	tree
	home int
}

func (t lostTree) entering(do func(entrant)) {
	Disposable(func() { do(threadEntrant{t.home}) })
}

// inNamespace starts a process in a cgroup namespace of its own.
func inNamespace(t *testing.T) (pid int) {
	t.Helper()
	liveTest(t)
	cmd := exec.Command("unshare", "-C", "--", "sh", "-c", "echo; exec sleep 100")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return cmd.Process.Pid
}

// TestLiveAstray has a thread fail to come back: nothing more is read on it, and
// what was to be read is told as not looked at.
func TestLiveAstray(t *testing.T) {
	pid := inNamespace(t)
	f, err := Open("/proc", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	nowhere, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nowhere)
	if s, err := f.Subject(t.Context(), pid, nil); err != nil || s.Own == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	f.tree = lostTree{f.tree, nowhere}
	if s, err := f.Subject(t.Context(), pid, nil); s != nil || !errors.Is(err, errAstray) {
		t.Errorf("%+v, %v", s, err)
	}
	h, err := f.Scan(t.Context(), Want{})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, ns := range h.Namespaces {
		if ns.NS == h.Reader.CgroupNS {
			continue
		}
		lost++
		if ns.Entered || len(ns.Pairs) > 0 || ns.Reason != errAstray.Error() {
			t.Errorf("%+v", ns)
		}
	}
	told := 0
	for _, s := range h.Skipped {
		if s.What == "cgroup namespace" && s.Reason == errAstray.Error() {
			told++
		}
	}
	if lost == 0 || told != lost {
		t.Errorf("%d namespaces, %d of them told as not looked at", lost, told)
	}
	r, err := f.Record(t.Context(), RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if why := r.capture.tasks[taskID{pid, pid}].errs["ns/cgroup"]; why != errAstray {
		t.Errorf("a capture says of process %d: %v", pid, why)
	}
}

// TestBothChanging has a process's cgroup file change while it is read: a pair
// is given only once nothing changes, and never of two places.
func TestBothChanging(t *testing.T) {
	at := func(path string) string { return "0::" + path + "\n" }
	for name, c := range map[string]struct {
		outside, inside []string // what each reading gives, the last one for ever
		reader          string   // how the namespace sees the reader, who is at /
		host, own       string   // empty: it keeps changing
	}{
		"at rest":                       {[]string{"/a/x"}, []string{"/x"}, "/..", "/a/x", "/x"},
		"moved once":                    {[]string{"/a/x", "/b/y"}, []string{"/x", "/../b/y"}, "/..", "/b/y", "/../b/y"},
		"there and back":                {[]string{"/a/x"}, []string{"/../b/y", "/x"}, "/..", "/a/x", "/x"},
		"always there and back":         {[]string{"/a/x"}, []string{"/../b/y"}, "/..", "", ""},
		"always on the move":            {strings.Split(strings.Repeat("/a/x /b/x ", 20), " "), []string{"/x"}, "/..", "", ""},
		"outside, above what both show": {[]string{"/a"}, []string{"/../.."}, "/../../..", "/a", "/../.."},
		"a root that was removed":       {[]string{"/a/x (deleted)"}, []string{"/ (deleted)"}, "/../..", "/a/x (deleted)", "/ (deleted)"},
		// By the names alone the root would be /, and /a.
		"from / to /r/q, and back":      {[]string{"/x"}, []string{"/x", "/../../x"}, "/../..", "/x", "/../../x"},
		"from /a to /r/q, and back":     {[]string{"/a/x"}, []string{"/x", "/../../a/x"}, "/../..", "/a/x", "/../../a/x"},
		"always from /a to /r/q":        {[]string{"/a/x"}, []string{"/x"}, "/../..", "", ""},
		"above the reader":              {[]string{"/../b"}, []string{"/../../b"}, "/..", "/../b", "/../../b"},
		"always there, where root is /": {[]string{"/a/x"}, []string{"/x"}, "/", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := &changing{outside: c.outside, inside: c.inside, reader: c.reader, home: []string{"/"}}
			f := &FS{Reader: Reader{CgroupNS: InitialCgroupNS}, tree: ground{of: d}}
			host, own, err := f.both(d, d)
			if c.host == "" {
				if err != errMoving || host != nil || own != nil {
					t.Errorf("%v %v %v", host, own, err)
				}
				return
			}
			wantHost, err1 := f.intern.cgroups([]byte(at(c.host)))
			wantOwn, err2 := f.intern.cgroups([]byte(at(c.own)))
			if err := errors.Join(err, err1, err2); err != nil {
				t.Fatal(err)
			}
			if host != wantHost || own != wantOwn {
				t.Errorf("%+v and %+v", host, own)
			}
		})
	}
}

// A reader that is moved is looked at again, and no more often.
func TestBothOfReaderThatMoves(t *testing.T) {
	d := &changing{outside: []string{"/a/x"}, inside: []string{"/x"}, reader: "/../r", home: []string{"/", "/r", "/gone/too/far"}}
	f := &FS{Reader: Reader{CgroupNS: InitialCgroupNS}, tree: ground{of: d}}
	for range 2 {
		if host, own, err := f.both(d, d); err != nil || host.Memberships[0].Path != "/a/x" || own.Memberships[0].Path != "/x" {
			t.Errorf("%+v, %+v, %v", host, own, err)
		}
	}
}

// changing is a process and its cgroup namespace.
type changing struct {
	dir
	outside, inside []string
	reader          string
	home            []string
}

// ground is the tree that it is in, and the reader.
type ground struct {
	tree
	of *changing
}

func (g ground) witness() (held, error) { return witness{g.of}, nil }

// shift gives the next reading.
func shift(list *[]string) []byte {
	path := (*list)[0]
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return []byte("0::" + path + "\n")
}

func (c *changing) hold(string) (held, error)           { return changingFile{c}, nil }
func (c *changing) read(string, []byte) ([]byte, error) { return []byte("7 (x)" + statTail), nil }
func (c *changing) in(do func(lens) error) error        { return do(insider{c}) }
func (c *changing) close()                              {}

// changingFile is its cgroup file, witness the reader's, and insider reads both
// from within.
type (
	changingFile struct{ *changing }
	witness      struct{ *changing }
	insider      struct{ *changing }
)

func (c changingFile) read([]byte) ([]byte, error) { return shift(&c.outside), nil }
func (c witness) read([]byte) ([]byte, error)      { return shift(&c.home), nil }

func (c insider) again(file held, _ []byte) ([]byte, error) {
	if _, ok := file.(witness); ok {
		return []byte("0::" + c.reader + "\n"), nil
	}
	return shift(&c.inside), nil
}
func (c insider) open(dir, string) (io.ReadCloser, error) { return nil, errRecorded }

// TestMayExit: what a cgroup file proves of its process.
func TestMayExit(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                    false,
		"0::/\n":                              false, // v2 has the truth to the end
		"0::/a\n":                             false,
		"3:cpu:/\n0::/a\n":                    true,
		"3:cpu:/\n1:name=systemd:/\n0::/\n":   true,
		"3:cpu:/a\n0::/\n":                    false,
		"3:cpu:/\n1:name=systemd:/x\n0::/\n":  false,
		"3:cpu:/..\n1:name=systemd:/\n0::/\n": false,
	} {
		c, err := ParseCgroups([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := mayExit(c); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestExitedPeer: it is the peer that is told to have ended, not the process
// that it was compared with.
func TestExitedPeer(t *testing.T) {
	s := &Subject{
		Process: Process{Task: Task{PID: 5}, Command: "subject"},
		Peers:   []Peer{{Process: Process{Task: Task{PID: 6}}}, {Process: Process{Task: Task{PID: 7}, Command: "peer"}}},
	}
	for _, c := range []struct {
		err  error
		want string
		is   error
	}{
		{unix.ESRCH, "process 7 peer: it ended while it was read", ErrExited},
		{errNoNamespace, "process 7 peer: it ended while it was read", ErrExited},
		{errMoving, "process 7 peer: " + errMoving.Error(), errMoving},
		{unix.EACCES, "process 7 peer: permission denied", unix.EACCES},
	} {
		err := new(FS).exited(nil, s, &PeerError{7, c.err})
		var of *PeerError
		if err.Error() != c.want || !errors.Is(err, c.is) || !errors.As(err, &of) || of.PID != 7 {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
