package inspect

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// item is one entry of an archive that a test makes.
type item struct {
	name, text string
	kind       byte // 0: a file
	link       string
	size       int64 // that it claims, if it is not 0
	pax        map[string]string
}

const (
	initStat     = "1 (init) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 2 0 0\n"
	shellStat    = "70 (sh) S 1 70 70 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 9000 0 0\n"
	rootStatus   = "Name:\tinit\nTgid:\t1\nNSpid:\t1\nUid:\t0\t0\t0\t0\n"
	userStatus   = "Name:\tsh\nTgid:\t70\nNSpid:\t70\nUid:\t1001\t1001\t0\t0\n"
	hostMounts   = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	insideMounts = "30 1 0:26 /../.. /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	noAnswers    = `{"format":1,"reader":{"pid":1,"cgroup_ns":4026531835,"uid":0,"can_enter":true,"same_pids":true}}`
)

// small is a capture written by hand after docs/capture.md: PID 1 on the host,
// and a shell with the cgroup namespace 4026532000, whose root is /a/b.
func small() []item {
	return []item{
		{name: "proc/self", kind: tar.TypeSymlink, link: "1"},
		{name: "proc/uptime", text: "100.00 90.00\n"},
		{name: "proc/sys/kernel/osrelease", text: "6.1.0\n"},
		{name: "proc/1/root", kind: tar.TypeSymlink, link: "/"},
		{name: "proc/1/ns/cgroup", kind: tar.TypeSymlink, link: "cgroup:[4026531835]"},
		{name: "proc/1/ns/mnt", kind: tar.TypeSymlink, link: "mnt:[4026531832]"},
		{name: "proc/1/cgroup", text: "0::/init\n"},
		{name: "proc/1/mountinfo", text: hostMounts},
		{name: "proc/1/stat", text: initStat},
		{name: "proc/1/status", text: rootStatus},
		{name: "proc/70/root", kind: tar.TypeSymlink, link: "/"},
		{name: "proc/70/ns/cgroup", kind: tar.TypeSymlink, link: "cgroup:[4026532000]"},
		{name: "proc/70/ns/mnt", kind: tar.TypeSymlink, link: "mnt:[4026531832]"},
		{name: "proc/70/cgroup", text: "0::/a/b/c\n"},
		{name: "proc/70/stat", text: shellStat},
		{name: "proc/70/status", text: userStatus},
		{name: "views/4026532000/1/cgroup", text: "0::/../../init\n"},
		{name: "views/4026532000/70/cgroup", text: "0::/c\n"},
		{name: "views/4026532000/70/mountinfo", text: insideMounts},
		{name: "answers.json", text: `{"format":1,
			"reader":{"pid":1,"cgroup_ns":4026531835,"uid":0,"can_enter":true,"same_pids":true},
			"processes":null,"users":{"0":"root","1001":"ann"},
			"errors":{"proc/70/ns/user":"EACCES","proc/70/task":"EPERM"},
			"refused":{},"mount_namespace_owners":{"4026531832":4026531837},
			"open_namespaces":[{"pid":70,"fd":5,"cgroup_ns":4026532001}],
			"probes":[{"pid":70,"tid":70,"mount_id":30,"mount_point":"/sys/fs/cgroup","path":"c","tried":true,"listed":false,"reason":"","inode":7}],
			"directories":[{"mount_point":"/sys/fs/cgroup","path":"a","depth":1,"error":"","found":[{"path":"a/b","inode":9}]}],
			"cgroup_files":[{"mount_point":"/sys/fs/cgroup","path":{"base64":"L//+"},"name":"memory.max","text":"max\n","missing":false,"error":""}]}`},
	}
}

// pack makes an archive.
func pack(t testing.TB, items []item) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Typeflag: i.kind, Linkname: i.link, Mode: 0o644, Size: int64(len(i.text)), PAXRecords: i.pax}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if i.size != 0 {
			h.Size = i.size
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.text); err != nil {
			t.Fatal(err)
		}
		if i.size != 0 {
			return out.Bytes() // it never gets what it claims
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func compress(t testing.TB, text []byte) []byte {
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

func openCapture(t testing.TB, archive []byte) *FS {
	t.Helper()
	fs, err := ReadCapture(bytes.NewReader(archive), "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestReadCapture(t *testing.T) {
	for name, archive := range map[string][]byte{"plain": pack(t, small()), "gzip": compress(t, pack(t, small()))} {
		t.Run(name, func(t *testing.T) {
			fs := openCapture(t, archive)
			want := Reader{PID: 1, CgroupNS: InitialCgroupNS, UID: 0, CanEnter: true, SamePIDs: true}
			if fs.Reader != want {
				t.Errorf("the reader is %+v, want %+v", fs.Reader, want)
			}
			h, err := fs.Scan(context.Background(), Want{Views: true, Threads: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(h.Tasks) != 2 || h.Tasks[1].CgroupNS != 4026532000 || h.Tasks[1].MntNS != 4026531832 || h.Kernel != "6.1.0" {
				t.Errorf("%+v", h)
			}
			ns := h.Namespaces[1]
			if !ns.Entered || len(ns.Pairs) != 1 || ns.Pairs[0].Own.Memberships[0].Path != "/c" {
				t.Errorf("the namespace from within: %+v", ns)
			}
			s, err := fs.Subject(context.Background(), 70, []int{1})
			if err != nil {
				t.Fatal(err)
			}
			if s.Process.User != "ann" || s.Process.Command != "sh" || s.Host.Mounts.Cgroup[0].Root != "/" || s.Own.Mounts.Cgroup[0].Root != "/../.." {
				t.Errorf("%+v", s)
			}
			if p := s.Peers[0]; p.Process.PID != 1 || p.Host.Memberships[0].Path != "/init" || p.Own.Memberships[0].Path != "/../../init" {
				t.Errorf("the peer: %+v", p)
			}
			if len(s.Skipped) != 1 || s.Skipped[0] != (Skipped{PID: 70, What: "ns/user", Reason: "permission denied"}) {
				t.Errorf("skipped: %+v", s.Skipped)
			}
		})
	}
}

func TestCaptureAnswers(t *testing.T) {
	fs := openCapture(t, pack(t, small()))
	shell := Task{PID: 70, TID: 70}
	probe := Probe{Task: shell, Mount: Mount{ID: 30, MountPoint: "/sys/fs/cgroup"}, Path: "c"}
	other := probe
	other.Path = "d"
	a, err := fs.Answer(context.Background(), Questions{
		Probes:      []Probe{probe, other},
		Owners:      []Task{shell, {PID: 9, TID: 9}},
		Directories: []DirectoryQuestion{{MountPoint: "/sys/fs/cgroup", Path: "a", Depth: 1}, {MountPoint: "/"}},
		Files: []FileQuestion{
			{MountPoint: "/sys/fs/cgroup", Path: "/\xff\xfe", Name: "memory.max"}, {MountPoint: "/etc", Name: "passwd"},
		},
		OpenNamespaces: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	unknown := "the capture has no answer to it"
	for _, c := range []struct{ got, want any }{
		{a.Probes, []ProbeAnswer{{Tried: true, Inode: 7}, {Reason: unknown}}},
		{a.Owners, []uint64{4026531837, 0}},
		{a.Directories, []DirectoryAnswer{{Directories: []Directory{{Path: "a/b", Inode: 9}}}, {Err: unknown}}},
		{a.Files, []FileAnswer{{Text: "max\n"}, {Err: unknown}}},
		{a.OpenNamespaces, []OpenNamespace{{PID: 70, FD: 5, NS: 4026532001}}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%+v, want %+v", c.got, c.want)
		}
	}
}

// with is the small capture with more entries in front of its answers.
func with(more ...item) []item {
	all := small()
	last := len(all) - 1
	return append(append(all[:last:last], more...), all[last])
}

// instead is the small capture with other answers.
func instead(answers string) []item {
	all := small()
	all[len(all)-1].text = answers
	return all
}

// hostile is what an archive from elsewhere may hold, and what is said of it.
var hostile = map[string]struct {
	items []item
	want  string // of the error
}{
	"nothing":              {nil, "it is no capture: it has no answers.json"},
	"another archive":      {[]item{{name: "etc/passwd", text: "root"}}, `it is no capture: it holds "etc/passwd", which no capture has`},
	"absolute path":        {with(item{name: "/proc/1/comm", text: "x"}), `it holds "/proc/1/comm"`},
	"path upwards":         {with(item{name: "proc/1/../2/comm", text: "x"}), `it holds "proc/1/../2/comm"`},
	"path out":             {with(item{name: "../../etc/cron.d/x", text: "x"}), `it holds "../../etc/cron.d/x"`},
	"directory out":        {with(item{name: "proc/../../x/", kind: tar.TypeDir}), `it holds "proc/../../x/"`},
	"another file":         {with(item{name: "proc/1/environ", text: "x"}), `it holds "proc/1/environ"`},
	"no number":            {with(item{name: "proc/01/comm", text: "x"}), `it holds "proc/01/comm"`},
	"a huge number":        {with(item{name: "proc/99999999999999999999/comm", text: "x"}), `it holds "proc/99999999999999999999/comm"`},
	"leader as thread":     {with(item{name: "proc/1/task/1/comm", text: "x"}), `it holds "proc/1/task/1/comm"`},
	"huge name":            {with(item{name: "proc/1/" + huge, text: "x"}), `it holds "proc/1/xxx`},
	"huge link":            {with(item{name: "proc/1/ns/net", kind: tar.TypeSymlink, link: huge}), "it is too large: the link proc/1/ns/net is longer than 4096 bytes"},
	"twice":                {with(item{name: "proc/1/cgroup", text: "0::/\n"}), `it holds "proc/1/cgroup" twice`},
	"link twice":           {with(item{name: "proc/1/root", kind: tar.TypeSymlink, link: "/etc"}), `it holds "proc/1/root" twice`},
	"symlink for a file":   {with(item{name: "proc/1/comm", kind: tar.TypeSymlink, link: "/etc/shadow"}), `proc/1/comm is of a kind ('2')`},
	"file for a link":      {with(item{name: "proc/1/ns/net", text: "net:[1]"}), `proc/1/ns/net is of a kind ('0')`},
	"hard link":            {with(item{name: "proc/1/comm", kind: tar.TypeLink, link: "/etc/shadow"}), `proc/1/comm is of a kind ('1')`},
	"character device":     {with(item{name: "proc/1/comm", kind: tar.TypeChar}), `proc/1/comm is of a kind ('3')`},
	"block device":         {with(item{name: "proc/1/comm", kind: tar.TypeBlock}), `proc/1/comm is of a kind ('4')`},
	"fifo":                 {with(item{name: "proc/1/comm", kind: tar.TypeFifo}), `proc/1/comm is of a kind ('6')`},
	"10 GiB":               {with(item{name: "proc/1/comm", size: 10 << 30}), "it is too large: proc/1/comm claims 10737418240 bytes, and may have 1048576"},
	"10 GiB of mounts":     {with(item{name: "proc/70/mountinfo", size: 10 << 30}), "it is too large: proc/70/mountinfo claims 10737418240 bytes, and may have 67108864"},
	"less than it claims":  {with(item{name: "proc/1/comm", text: "x", size: 4096}), "it is cut off"},
	"view of no namespace": {with(item{name: "views/4026532999/1/cgroup", text: "0::/\n"}), "it has views of cgroup namespace 4026532999, in which it has no process"},
	"view of no process":   {with(item{name: "views/4026532000/5/cgroup", text: "0::/\n"}), "it has views of process 5, and not the process"},
	"view of no file":      {with(item{name: "proc/5/comm", text: "x"}, item{name: "views/4026532000/5/cgroup", text: "0::/\n"}), "it has a view of cgroup of process 5, and not the file"},
	"view of a stat":       {with(item{name: "views/4026532000/1/stat", text: initStat}), `it holds "views/4026532000/1/stat"`},
	"namespace 0":          {with(item{name: "views/0/1/cgroup", text: "0::/\n"}), `it holds "views/0/1/cgroup"`},
	"no answers":           {small()[:len(small())-1], "it is cut off: it has no answers.json, which comes last"},
	"no process":           {[]item{{name: "answers.json", text: noAnswers}}, "it is no capture: it holds no process"},
	"answers twice":        {append(small(), item{name: "answers.json", text: noAnswers}), `it holds "answers.json" twice`},
	"answers of a future":  {instead(`{"format":2}`), "answers.json: it was made by another version of nsinspect"},
	"answers of anything":  {instead(`[]`), "answers.json: json: cannot unmarshal array"},
	"answers not JSON":     {instead("\x00\xff"), "answers.json: invalid character"},
	"answers cut off":      {instead(`{"format":1,`), "answers.json: it is cut off"},
	"answers empty":        {instead(""), "answers.json: it is cut off"},
	"answers and more":     {instead(noAnswers + "{}"), "answers.json: something follows its end"},
	"answers unknown":      {instead(`{"format":1,"exec":"/bin/sh"}`), `answers.json: json: unknown field "exec"`},
	"answers of nothing":   {instead(`{"format":1,"errors":{"etc/passwd":"EACCES"}}`), `answers.json: it has an error of "etc/passwd", which no capture has`},
	"answers nested":       {instead(strings.Repeat("[", 1<<20)), "answers.json: "},
}

// huge is longer than any name or link may be.
var huge = strings.Repeat("x", 300<<10)

// TestHostileCapture holds that each is refused, plain and compressed.
func TestHostileCapture(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			for _, archive := range [][]byte{pack(t, c.items), compress(t, pack(t, c.items))} {
				fs, err := ReadCapture(bytes.NewReader(archive), "test", 1)
				if err == nil {
					t.Fatalf("it is read: %+v", fs)
				}
				if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read capture test: ") || len(err.Error()) > 300 {
					t.Errorf("error %q, want %q", err, c.want)
				}
			}
		})
	}
}

// TestTruncatedCapture cuts a capture at every byte: it is never taken for whole
// before all of its entries are there.
func TestTruncatedCapture(t *testing.T) {
	whole := pack(t, small())
	whole = whole[:len(whole)-1024] // the end of a tar archive is 1024 zeros
	for n := range len(whole) - len(whole)%512 - 512 {
		if _, err := unpack(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("%d bytes of %d are read", n, len(whole))
		}
	}
	packed := compress(t, whole)
	for n := range packed {
		if _, err := unpack(bytes.NewReader(packed[:n])); err == nil && n < len(packed)-8 {
			t.Fatalf("%d bytes of %d are read, compressed", n, len(packed))
		}
	}
	if _, err := unpack(bytes.NewReader(whole)); err != nil {
		t.Errorf("but whole: %v", err)
	}
}

func TestForeignCapture(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"zip":         {"PK\x03\x04" + strings.Repeat("\x00\x01", 800), "it is no capture: it is not a tar archive"},
		"text":        {"0::/\n", "it is no capture: it is not a tar archive"},
		"long text":   {strings.Repeat("0::/\n", 1000), "it is no capture: it is not a tar archive"},
		"broken gzip": {"\x1f\x8bnothing of the kind, but long enough for a header", "it is no capture: its compression is broken"},
		"short gzip":  {"\x1f\x8b", "it is cut off"},
		"zeros":       {strings.Repeat("\x00", 1<<20), "it is no capture: it has no answers.json"},
	} {
		_, err := unpack(strings.NewReader(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// endless gives the same bytes for ever, and counts how many it gave.
type endless struct {
	text []byte
	at   int
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m := copy(p[n:], e.text[e.at:])
		n += m
		e.at = (e.at + m) % len(e.text)
	}
	e.read += int64(n)
	return n, nil
}

// TestCaptureBounds has archives that go on and on.
func TestCaptureBounds(t *testing.T) {
	t.Run("a million entries", func(t *testing.T) {
		dir := pack(t, []item{{name: "proc/1/", kind: tar.TypeDir}})[:512]
		in := &endless{text: dir}
		_, err := unpack(in)
		if want := fmt.Sprintf("it is too large: more than %d entries", maxCaptureEntries); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
		if in.read > (maxCaptureEntries+1000)*512 {
			t.Errorf("%d bytes were read for it", in.read)
		}
	})
	t.Run("limit", func(t *testing.T) {
		in := &endless{text: []byte{0}}
		n, err := io.Copy(io.Discard, limited(in, 3<<20))
		if !errors.Is(err, errTooMuch) || err.Error() != "it is too large: more than 3 MiB" || n != 3<<20 || in.read != 3<<20 {
			t.Errorf("%d bytes, %d read: %v", n, in.read, err)
		}
	})
	t.Run("read again and again", func(t *testing.T) {
		fs := openCapture(t, pack(t, small()))
		tree := fs.tree.(*replayTree)
		tree.left.Store(int64(len(hostMounts)) + 20)
		d, err := tree.process(70, 70)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mountTable(d); err != nil {
			t.Fatal(err)
		}
		if _, err := mountTable(d); !errors.Is(err, errReplayed) {
			t.Errorf("error %v, want %v", err, errReplayed)
		}
	})
}

// TestGzipBomb has an archive of 16 MiB in a few kilobytes.
func TestGzipBomb(t *testing.T) {
	most := captureBounds
	most.archive = 8 << 20
	var items []item
	for pid := range 16 {
		items = append(items, item{name: fmt.Sprintf("proc/%d/mountinfo", pid+1), text: strings.Repeat("\n", 1<<20)})
	}
	bomb := compress(t, pack(t, items))
	if len(bomb) > 64<<10 {
		t.Fatalf("a bomb of %d bytes is none", len(bomb))
	}
	_, err := unpackWithin(bytes.NewReader(bomb), most)
	if want := "it is too large: more than 8 MiB"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	most = captureBounds
	most.content = 8 << 20
	_, err = unpackWithin(bytes.NewReader(bomb), most)
	if want := "it is too large: its files have more than 8 MiB"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	most = captureBounds
	most.input = 100
	_, err = unpackWithin(bytes.NewReader(bomb), most)
	if !errors.Is(err, errTooMuch) {
		t.Errorf("error %v, want %v", err, errTooMuch)
	}
}

// TestSparseCapture has a file that is 10 GiB of holes.
func TestSparseCapture(t *testing.T) {
	plain := pack(t, []item{{name: "proc/1/comm", text: "init\n"}})
	header := plain[:512]
	header[156] = tar.TypeGNUSparse
	copy(header[257:], "ustar  \x00")
	copy(header[386:], "00000000000\x0000000000005\x00") // one piece of five bytes …
	copy(header[483:], "120000000000\x00")               // … of 10 GiB
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	_, err := unpack(bytes.NewReader(plain))
	if err == nil || !errors.Is(err, errNoCapture) || !strings.Contains(err.Error(), "proc/1/comm") {
		t.Errorf("error %v", err)
	}
}

// TestErrorTexts holds that errors come back as they were.
func TestErrorTexts(t *testing.T) {
	for text, want := range map[string]error{
		"EACCES": unix.EACCES, "ESRCH": unix.ESRCH, "setns: EPERM": unix.EPERM,
	} {
		got := textError(text)
		if !errors.Is(got, want) || errorText(got) != text {
			t.Errorf("%q: %v, written %q", text, got, errorText(got))
		}
	}
	for err, want := range map[error]string{
		unix.EACCES: "permission denied", fmt.Errorf("setns: %w", unix.EPERM): "setns: operation not permitted",
		errMoving: errMoving.Error(), errors.New("E"): "E", errors.New(""): "",
	} {
		back := textError(errorText(err))
		if back.Error() != err.Error() || back.Error() != want && reason(back) != want {
			t.Errorf("%v comes back as %v", err, back)
		}
		var errno unix.Errno
		if errors.As(err, &errno) && !errors.Is(back, errno) {
			t.Errorf("%v comes back as %v, without %v", err, back, errno)
		}
	}
	if textError("EACCES") != error(unix.EACCES) {
		t.Error("an error without more is not the kernel's own")
	}
}

// TestRecordCopy records a copy of a procfs and holds the capture against it.
func TestRecordCopy(t *testing.T) {
	copied, err := Open("../testdata/proc/hostile-names", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	recording, err := copied.Record(context.Background(), RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var archive, again bytes.Buffer
	at := time.Unix(1700000000, 0)
	if err := errors.Join(recording.Write(&archive, at), recording.Write(&again, at)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("the same capture is written in two ways")
	}
	fs := openCapture(t, archive.Bytes())
	if fs.Reader != copied.Reader {
		t.Errorf("the reader is %+v, want %+v", fs.Reader, copied.Reader)
	}
	pids, err := copied.tree.pids()
	if err != nil || len(pids) < 3 {
		t.Fatalf("processes %v, error %v", pids, err)
	}
	for _, pid := range pids {
		for _, name := range []string{"cgroup", "stat", "status", "mountinfo"} {
			want, errWant := os.ReadFile(fmt.Sprintf("../testdata/proc/hostile-names/%d/%s", pid, name))
			d, err := fs.tree.process(pid, pid)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.read(name, nil)
			if errWant == nil != (err == nil) || !bytes.Equal(got, want) {
				t.Errorf("%d/%s: %q, %v; want %q, %v", pid, name, got, err, want, errWant)
			}
		}
	}
}

// TestRecordWithoutRoom: a mount table, or a view of one, for which there is no
// room is left out of a capture, which says so.
func TestRecordWithoutRoom(t *testing.T) {
	one, both := int64(len(hostMounts)), int64(len(hostMounts)+len(insideMounts))
	for _, c := range []struct {
		name        string
		room        int64
		host, shell string // why their mount tables are not there
	}{
		{"for both", both, "", ""},
		{"not for the view", both - 1, "", errNoRoom.Error()},
		{"for none", one - 1, errNoRoom.Error(), errNoRoom.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := openCapture(t, pack(t, small())).recordWithin(t.Context(), RecordOptions{}, c.room)
			if err != nil {
				t.Fatal(err)
			}
			var archive bytes.Buffer
			if err := r.Write(&archive, time.Unix(1700000000, 0)); err != nil {
				t.Fatal(err)
			}
			f := openCapture(t, archive.Bytes())
			for pid, want := range map[int]string{1: c.host, 70: c.shell} {
				d, err := f.tree.process(pid, pid)
				if err != nil {
					t.Fatal(err)
				}
				_, err = d.open("mountinfo")
				if why := fmt.Sprint(err); want == "" && err != nil || want != "" && why != want {
					t.Errorf("process %d: %v, want %q", pid, err, want)
				}
			}
			s, err := f.Subject(t.Context(), 70, nil)
			if c.shell != "" {
				if err == nil || !strings.Contains(err.Error(), c.shell) {
					t.Errorf("%+v, %v", s, err)
				}
				return
			}
			if err != nil || s.Own == nil || s.Own.Mounts == nil {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// meddled is a task's directory to which something happens when its mount table
// is opened.
type meddled struct {
	dir
	meanwhile func(*meddled)
	mnt       string // its mount namespace then; empty: as before
}

func (d *meddled) open(name string) (io.ReadCloser, error) {
	d.meanwhile(d)
	return d.dir.open(name)
}

func (d *meddled) link(name string) (string, error) {
	if d.mnt != "" && name == "ns/mnt" {
		return d.mnt, nil
	}
	return d.dir.link(name)
}

// TestRecordRoom: only the mount tables that a capture keeps take up room in it.
func TestRecordRoom(t *testing.T) {
	const room = 1 << 20
	r := &recorder{FS: openCapture(t, pack(t, small())), capture: newCapture(), room: room}
	used := func(what, want string) {
		t.Helper()
		if got := room - r.room; got != int64(len(want)) {
			t.Errorf("%s: %d bytes are used up, want %d", what, got, len(want))
		}
	}
	d, err := r.tree.process(70, 70)
	if err != nil {
		t.Fatal(err)
	}
	r.files(&meddled{dir: d, meanwhile: func(d *meddled) { d.mnt = "mnt:[4026532999]" }})
	used("that of one who changed over", "")
	r.files(&meddled{dir: d, meanwhile: func(*meddled) { r.files(d) }})
	used("read by two at once", hostMounts)
	if err := r.processes(t.Context()); err != nil {
		t.Fatal(err)
	}
	used("that of all processes", hostMounts)
	r.again(map[int]bool{1: true, 70: true})
	used("read again", hostMounts)
	if err := r.within(t.Context()); err != nil {
		t.Fatal(err)
	}
	used("with the view from within", hostMounts+insideMounts)
	r.refuse(4026532000, errRecorded)
	used("without it", hostMounts)
}

// TestRecordRoomAlone: the mount table of a task in a mount namespace that is
// not known is its own, and goes with it.
func TestRecordRoomAlone(t *testing.T) {
	items := small()
	for i := range items {
		if items[i].name == "proc/1/ns/mnt" || items[i].name == "proc/70/ns/mnt" {
			items[i].link = "odd"
		}
	}
	items = slices.Insert(items, 8, item{name: "proc/70/mountinfo", text: hostMounts})
	r := &recorder{FS: openCapture(t, pack(t, items)), capture: newCapture(), room: int64(len(hostMounts))}
	for range 3 {
		r.process(1, nil)
		if _, err := r.capture.mountinfo(r.capture.tasks[taskID{1, 1}]); err != nil || r.room != 0 {
			t.Errorf("%v, room for %d bytes", err, r.room)
		}
	}
	r.process(70, nil)
	if _, err := r.capture.mountinfo(r.capture.tasks[taskID{70, 70}]); !errors.Is(err, errNoRoom) {
		t.Errorf("two tables where there is room for one: %v", err)
	}
}

// TestAgree has pairs of cgroup files that can and cannot be of one moment.
func TestAgree(t *testing.T) {
	for _, c := range []struct {
		outside, within string
		want            bool
	}{
		{"0::/a/b", "0::/b", true},
		{"0::/a/b", "0::/", true},
		{"0::/a/b", "0::/..", true},
		{"0::/a/b", "0::/../b", true},
		{"0::/a/b", "0::/../../a/b", true},
		{"0::/", "0::/../..", true},
		{"0::/a/b", "0::/c", false},
		{"0::/a/b", "0::/../c", false},
		{"0::/ab", "0::/b", false},
		{"0::/a/..b", "0::/..b", true},
		{"2:freezer:/a\n0::/b", "2:freezer:/\n0::/x", false},
		{"0::/gone (deleted)", "0::/../gone (deleted)", true},
		{"not a cgroup file", "0::/", true},
	} {
		r := &recorder{FS: &FS{Reader: Reader{CgroupNS: InitialCgroupNS}}}
		if got := r.agree(&inside{}, sight{file: "cgroup", outside: c.outside}, c.within); got != c.want {
			t.Errorf("%q and %q: %v, want %v", c.outside, c.within, got, c.want)
		}
		r.Reader.CgroupNS = 4026532000
		if !r.agree(&inside{}, sight{file: "cgroup", outside: c.outside}, c.within) {
			t.Errorf("%q and %q are refused to a reader who cannot know", c.outside, c.within)
		}
	}
	// Nor can the root lie less deep than the reader sees it from there.
	r := &recorder{FS: &FS{}}
	home, there, err := r.pair([]byte("0::/\n"), []byte("0::/../..\n"))
	if err != nil {
		t.Fatal(err)
	}
	for within, want := range map[string]bool{"0::/..": true, "0::/../..": false, "0::/a": false, "0::/": false} {
		if got := r.agree(&inside{home: home, there: there}, sight{file: "cgroup", outside: "0::/a"}, within); got != want {
			t.Errorf("/a and %q: %v", within, got)
		}
	}
}

// TestCaptureDocs holds docs/capture.md to the bounds and fields that there are.
func TestCaptureDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/capture.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{
		fmt.Sprintf("| the file, compressed or not | %d MiB |", maxCaptureInput>>20),
		fmt.Sprintf("| the tar archive in it, and the sum of its files | %d MiB |", maxCaptureArchive>>20),
		fmt.Sprintf("| entries | %d,000 |", maxCaptureEntries/1000),
		fmt.Sprintf("| `mountinfo`, `answers.json` | %d MiB each |", maxCaptureFile>>20),
		fmt.Sprintf("| every other file | %d MiB |", maxCaptureSmall>>20),
		fmt.Sprintf("more than %[1]d,%03[2]d lines, with a hierarchy twice, or with one of more than %[1]d,%03[2]d in all", maxHierarchies/1000, maxHierarchies%1000),
		fmt.Sprintf("would have more than %d,%03d,%03d lines together", maxMemberships/1000/1000, maxMemberships/1000%1000, maxMemberships%1000),
		fmt.Sprintf("All mount tables, with the views of them, may have %d MiB:", maxCaptureTables>>20),
		fmt.Sprintf("| the text of a link | %d,%03d bytes |", maxCaptureLink/1000, maxCaptureLink%1000),
		fmt.Sprintf("| bytes read from it in memory, again and again | %d GiB |", maxReplayed>>30),
		fmt.Sprintf("more than %d,000,", maxForeignViews/1000),
		fmt.Sprintf("| `format` | %d;", captureFormat),
	}
	fields := reflect.TypeFor[answersFile]()
	for i := range fields.NumField() {
		rows = append(rows, "| `"+fields.Field(i).Tag.Get("json")+"` | ")
	}
	for _, name := range append(append([]string{}, taskFileNames...), topFileNames...) {
		rows = append(rows, strings.TrimPrefix(name, "sys/"))
	}
	for _, row := range rows {
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/capture.md has no %q", row)
		}
	}
}
