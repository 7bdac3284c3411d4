package livetest

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Fuse is a file system in the hands of the test (Documentation/filesystems/
// fuse, include/uapi/linux/fuse.h). Every name in it is an empty directory;
// once it is muted it answers nothing at all, as an evil or broken one may.
type Fuse struct {
	file  *os.File
	muted chan struct{}
}

// The requests that it answers, and what it says it speaks.
const (
	fuseLookup, fuseGetattr, fuseInit = 1, 3, 26
	fuseMajor, fuseMinor              = 7, 31
	fuseENOSYS                        = -int32(unix.ENOSYS)
)

// fuseUnanswered are FORGET, INTERRUPT and BATCH_FORGET.
var fuseUnanswered = []uint32{2, 36, 42}

// NewFuse mounts such a file system at a directory that a shell sees. It is
// gone, and whoever waits for it is freed, when the test ends.
func NewFuse(t testing.TB, s *Shell, dir string) *Fuse {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		Cannot(t, "open /dev/fuse: %v", err)
	}
	// mount(8) gets the device as its descriptor 3.
	device := os.NewFile(uintptr(fd), "/dev/fuse")
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(s.PID), "-m", "--",
		"mount", "-i", "-t", "fuse", "-o", "nosuid,nodev,fd=3,rootmode=40000,user_id=0,group_id=0,allow_other", "evil", dir)
	cmd.ExtraFiles = []*os.File{device}
	out, err := cmd.CombinedOutput()
	// Only now can it be waited for (fuse_dev_poll).
	second, dupErr := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err := errors.Join(dupErr, device.Close()); err != nil {
		t.Fatal(err)
	}
	f := &Fuse{os.NewFile(uintptr(second), "/dev/fuse"), make(chan struct{})}
	t.Cleanup(func() {
		if err := f.file.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("mount FUSE: %v\n%s", err, out)
	}
	go f.serve()
	return f
}

// Mute makes it stop answering. It does not even take requests any more: who
// waits for one that was taken could not be killed.
func (f *Fuse) Mute() error {
	err := f.file.SetReadDeadline(time.Now())
	<-f.muted
	return err
}

func (f *Fuse) serve() {
	defer close(f.muted)
	request := make([]byte, 1<<17)
	for {
		n, err := f.file.Read(request)
		if err != nil {
			return // muted, unmounted or closed
		}
		if n < 40 {
			continue
		}
		opcode, unique := binary.LittleEndian.Uint32(request[4:]), binary.LittleEndian.Uint64(request[8:])
		if slices.Contains(fuseUnanswered, opcode) {
			continue
		}
		if _, err := f.file.Write(answer(opcode, unique)); err != nil && !errors.Is(err, unix.ENOENT) {
			return // ENOENT: who asked has gone
		}
	}
}

// answer is a reply: a header of 16 bytes (length, error, which request), and
// the body.
func answer(opcode uint32, unique uint64) []byte {
	var body []byte
	status := int32(0)
	switch opcode {
	case fuseInit:
		body = make([]byte, 64)
		binary.LittleEndian.PutUint32(body, fuseMajor)
		binary.LittleEndian.PutUint32(body[4:], fuseMinor)
		binary.LittleEndian.PutUint32(body[20:], 4096) // max_write
	case fuseLookup: // fuse_entry_out, of which nothing may be remembered
		body = append(make([]byte, 40), directory(2)...)
		binary.LittleEndian.PutUint64(body, 2)
	case fuseGetattr: // fuse_attr_out
		body = append(make([]byte, 16), directory(1)...)
	default:
		status = fuseENOSYS
	}
	reply := make([]byte, 16, 16+len(body))
	binary.LittleEndian.PutUint32(reply, uint32(16+len(body)))
	binary.LittleEndian.PutUint32(reply[4:], uint32(status))
	binary.LittleEndian.PutUint64(reply[8:], unique)
	return append(reply, body...)
}

// directory is a struct fuse_attr.
func directory(inode uint64) []byte {
	attr := make([]byte, 88)
	binary.LittleEndian.PutUint64(attr, inode)
	binary.LittleEndian.PutUint32(attr[60:], unix.S_IFDIR|0o755)
	binary.LittleEndian.PutUint32(attr[64:], 2) // links
	return attr
}
