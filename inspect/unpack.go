package inspect

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// Bounds on what a capture may cost whoever reads it: it comes from elsewhere.
// Nothing is read past them, whatever the archive says of itself.
const (
	maxCaptureInput   = 512 << 20 // bytes of the file, compressed or not …
	maxCaptureArchive = 512 << 20 // … and of the tar archive in it
	// maxCaptureContent is for the sum of all files, of which a sparse one costs
	// the archive nothing.
	maxCaptureContent = maxCaptureArchive
	maxCaptureEntries = 600_000
	maxCaptureFile    = 64 << 20     // bytes of mountinfo and of answers.json
	maxCaptureSmall   = maxSmallFile // bytes of every other file
	maxCaptureLink    = 4096         // bytes of a link's text
	maxCapturePID     = 1 << 22      // PID_MAX_LIMIT of include/linux/threads.h
)

// bounds are those of a whole capture.
type bounds struct {
	input, archive, content int64
	entries                 int
}

var captureBounds = bounds{maxCaptureInput, maxCaptureArchive, maxCaptureContent, maxCaptureEntries}

const answersName = "answers.json"

// errNoCapture says that an archive is none of ours.
var errNoCapture = errors.New("it is no capture")

// errCutOff says that an archive ends before its end.
var errCutOff = errors.New("it is cut off")

// errTooMuch says that an archive exceeds a bound.
var errTooMuch = errors.New("it is too large")

// unpack reads a capture's archive, gzipped or not, into memory.
func unpack(r io.Reader) (*capture, error) { return unpackWithin(r, captureBounds) }

func unpackWithin(r io.Reader, most bounds) (*capture, error) {
	in := bufio.NewReaderSize(limited(r, most.input), 64<<10)
	var archive io.Reader = in
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, archiveError(err)
		}
		archive = z
	}
	u := &unpacker{
		capture: newCapture(), seen: map[string]bool{},
		tar: tar.NewReader(limited(archive, most.archive)), most: most, left: most.content,
	}
	for {
		h, err := u.tar.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = u.entry(h)
		}
		if err != nil {
			if u.entries == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
				err = tar.ErrHeader
			}
			return nil, archiveError(err)
		}
	}
	return u.finish()
}

// archiveError says what the libraries' errors mean for the archive.
func archiveError(err error) error {
	var path *os.PathError
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCutOff
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: it is not a tar archive", errNoCapture)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("%w: its compression is broken", errNoCapture)
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// bounded is a reader that fails past so many bytes, and does not just end.
type bounded struct {
	r          io.Reader
	most, left int64
}

func limited(r io.Reader, most int64) *bounded { return &bounded{r: r, most: most, left: most} }

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d MiB", errTooMuch, b.most>>20)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// unpacker is the reading of one archive.
type unpacker struct {
	capture *capture
	tar     *tar.Reader
	most    bounds
	entries int
	left    int64 // bytes that files may still have
	seen    map[string]bool
	viewed  []viewedFile
	answers []byte
}

// viewedFile is a file as it is seen from within a namespace.
type viewedFile struct {
	entry
	text string
}

// entry takes in one entry, if it is one that a capture has.
func (u *unpacker) entry(h *tar.Header) error {
	if u.entries++; u.entries > u.most.entries {
		return fmt.Errorf("%w: more than %d entries", errTooMuch, u.most.entries)
	}
	name := strings.TrimSuffix(h.Name, "/")
	if h.Typeflag == tar.TypeDir && path.Clean(name) == name && isLocal(name) {
		return nil // tar(1) adds them when it packs an unpacked capture again
	}
	p, ok := parseEntry(name)
	if !ok || name != h.Name {
		return fmt.Errorf("%w: it holds %q, which no capture has", errNoCapture, clip([]byte(h.Name)))
	}
	if u.seen[name] {
		return fmt.Errorf("%w: it holds %q twice", errNoCapture, name)
	}
	u.seen[name] = true
	if h.Typeflag == tar.TypeSymlink && p.isLink() {
		if len(h.Linkname) > maxCaptureLink {
			return fmt.Errorf("%w: the link %s is longer than %d bytes", errTooMuch, name, maxCaptureLink)
		}
		u.link(p, h.Linkname)
		return nil
	}
	if h.Typeflag != tar.TypeReg || p.isLink() || isSparse(h) {
		return fmt.Errorf("%w: %s is of a kind (%q) that it has in no capture", errNoCapture, name, h.Typeflag)
	}
	text, err := u.content(h, p)
	if err != nil {
		return err
	}
	u.capture.made = h.ModTime
	u.file(p, text)
	return nil
}

// isLocal tells directories that lie where a capture has some.
func isLocal(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return top == "proc" || top == "views"
}

// isSparse tells files whose holes the library would fill in.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// content reads a file within its bounds.
func (u *unpacker) content(h *tar.Header, p entry) ([]byte, error) {
	most := int64(maxCaptureSmall)
	if p.file == "mountinfo" || p.file == answersName {
		most = maxCaptureFile
	}
	if h.Size > most {
		return nil, fmt.Errorf("%w: %s claims %d bytes, and may have %d", errTooMuch, h.Name, h.Size, most)
	}
	if u.left -= h.Size; u.left < 0 {
		return nil, fmt.Errorf("%w: its files have more than %d MiB", errTooMuch, u.most.content>>20)
	}
	// The buffer grows with what there is, not with what is claimed.
	var text bytes.Buffer
	if _, err := io.Copy(&text, u.tar); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// task returns what is known of a task, which may be nothing yet.
func (c *capture) task(id taskID) *taskFiles {
	if c.tasks[id] == nil {
		c.tasks[id] = newTaskFiles()
	}
	return c.tasks[id]
}

func (u *unpacker) link(p entry, text string) {
	if p.task == (taskID{}) {
		u.capture.self = text
		return
	}
	u.capture.task(p.task).links[p.file] = text
}

func (u *unpacker) file(p entry, text []byte) {
	switch {
	case p.file == answersName:
		u.answers = text
	case p.ns != 0:
		u.viewed = append(u.viewed, viewedFile{p, string(text)})
	case p.task == (taskID{}):
		u.capture.top[p.file] = string(text)
	default:
		u.capture.task(p.task).files[p.file] = string(text)
	}
}

// finish puts together what belongs together, once all has been read.
func (u *unpacker) finish() (*capture, error) {
	c := u.capture
	if u.answers == nil {
		if len(c.tasks) > 0 {
			return nil, fmt.Errorf("%w: it has no %s, which comes last", errCutOff, answersName)
		}
		return nil, fmt.Errorf("%w: it has no %s", errNoCapture, answersName)
	}
	if err := c.decode(u.answers); err != nil {
		return nil, fmt.Errorf("%s: %w", answersName, err)
	}
	if len(c.tasks) == 0 {
		return nil, fmt.Errorf("%w: it holds no process", errNoCapture)
	}
	c.index()
	for _, id := range c.ordered() {
		t := c.tasks[id]
		if text, ok := t.files["mountinfo"]; ok {
			if key, ok := t.table(); ok && c.tables[key] == "" {
				c.tables[key] = text
			}
		}
	}
	return c, c.relate(u.viewed)
}

// decode takes in answers.json and nothing behind it.
func (c *capture) decode(text []byte) error {
	var f answersFile
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&f); err != nil {
		return jsonError(err)
	}
	if _, err := in.Token(); err != io.EOF {
		return errors.New("something follows its end")
	}
	for name, text := range f.Errors {
		id, file, ok := parseFailure(name)
		if !ok {
			return fmt.Errorf("it has an error of %q, which no capture has", clip([]byte(name)))
		}
		c.task(id).errs[file] = textError(text)
	}
	return c.take(&f)
}

func jsonError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errCutOff
	}
	return err
}

// relate makes the views findable by what the reader reads of the same file. They
// must be of a process and of a namespace that the capture has.
func (c *capture) relate(viewed []viewedFile) error {
	lives := map[uint64]bool{}
	for _, t := range c.tasks {
		lives[t.ns("cgroup")] = true
	}
	for _, p := range viewed {
		if !lives[p.ns] {
			return fmt.Errorf("%w: it has views of cgroup namespace %d, in which it has no process", errNoCapture, p.ns)
		}
		t := c.tasks[p.task]
		if t == nil {
			return fmt.Errorf("%w: it has views of process %d, and not the process", errNoCapture, p.task.tid)
		}
		seen, ok := t.files[p.file]
		if p.file == "mountinfo" {
			text, err := c.mountinfo(t)
			seen, ok = text, err == nil
		}
		if !ok {
			return fmt.Errorf("%w: it has a view of %s of process %d, and not the file", errNoCapture, p.file, p.task.tid)
		}
		c.of(p.ns).named(p.file)[seen] = view{of: p.task, text: p.text}
	}
	return nil
}
