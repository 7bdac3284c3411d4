package livetest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudoterminal (pts(4)): what is written to tty is read from
// master.
func Terminal(t testing.TB) (master, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		Cannot(t, "no pseudoterminal: %v", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

// ReadUntil reads from a terminal until what was read ends with end, which is
// left out.
func ReadUntil(t testing.TB, master *os.File, end string) string {
	t.Helper()
	var text string
	for buf := make([]byte, 4096); len(text) < len(end) || text[len(text)-len(end):] != end; {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatalf("read a terminal: %v: %q", err, text)
		}
		text += string(buf[:n])
	}
	return text[:len(text)-len(end)]
}
