package livetest

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Fuse is a file system in the hands of the test (Documentation/filesystems/
// fuse, include/uapi/linux/fuse.h). Every name in it is an empty directory;
// once it is muted it answers nothing at all, as an evil or broken one may.
type Fuse struct {
	file  *os.File
	muted atomic.Bool
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
	file, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		Cannot(t, "%v", err)
	}
	f := &Fuse{file: file}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	mount(t, s, file, dir)
	go f.serve()
	return f
}

// mount makes the mount in the shell's mount namespace from a thread that is in
// it: the device has to be the caller's own open file.
func mount(t testing.TB, s *Shell, file *os.File, dir string) {
	t.Helper()
	err := InMountNamespace(s.PID, func() error {
		options := "fd=" + strconv.Itoa(int(file.Fd())) + ",rootmode=40000,user_id=0,group_id=0,allow_other"
		return unix.Mount("evil", dir, "fuse.evil", unix.MS_NOSUID|unix.MS_NODEV, options)
	})
	if err != nil {
		t.Fatalf("mount FUSE: %v", err)
	}
}

// Mute makes it stop answering.
func (f *Fuse) Mute() { f.muted.Store(true) }

func (f *Fuse) serve() {
	request := make([]byte, 1<<17)
	for {
		n, err := f.file.Read(request)
		if err != nil {
			return // unmounted or closed
		}
		if n < 40 || f.muted.Load() {
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
