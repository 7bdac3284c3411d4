package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nsinspect/inspect"
)

// terminal is a pseudo-terminal (pts(4)): what is written to tty is read from
// master.
func terminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

// shown is what progress writes to a terminal in a time, and what a person then
// sees of it.
func shown(t *testing.T, during time.Duration, interrupt bool) (written, left string) {
	t.Helper()
	master, tty := terminal(t)
	fs, err := inspect.Open("/proc", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	if _, err := fs.Scan(t.Context(), inspect.Want{}); err != nil {
		t.Fatal(err)
	}
	in := &invocation{runner: &runner{process: Process{Stderr: tty}}, fs: fs}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := in.progress(ctx)
	time.Sleep(during)
	if interrupt {
		cancel()
	}
	done()
	fmt.Fprint(tty, "end")
	for buf := make([]byte, 4096); !strings.HasSuffix(written, "end"); {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		written += string(buf[:n])
	}
	written = strings.TrimSuffix(written, "end")
	lines := strings.Split(written, "\r\x1b[K")
	return written, lines[len(lines)-1]
}

// TestProgress holds that a long reading shows how far it is, a short one shows
// nothing, and either leaves nothing behind.
func TestProgress(t *testing.T) {
	t.Parallel()
	if written, _ := shown(t, patience/4, false); written != "" {
		t.Errorf("a short reading shows %q", written)
	}
	for _, interrupt := range []bool{false, true} {
		written, left := shown(t, patience+3*refresh, interrupt)
		var read, of, entered int
		if _, err := fmt.Sscanf(written, "\r\x1b[K%d of %d processes, %d namespaces entered", &read, &of, &entered); err != nil || read == 0 || read != of {
			t.Errorf("%q: %v", written, err)
		}
		if strings.Count(written, "processes") < 2 || left != "" || strings.Contains(written, "\n") {
			t.Errorf("it shows %q and leaves %q", written, left)
		}
	}
}

// TestNoProgress holds that what is no terminal gets no progress.
func TestNoProgress(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	in := &invocation{runner: &runner{process: Process{Stderr: write}}}
	done := in.progress(t.Context())
	time.Sleep(patience + refresh)
	done()
	write.Close()
	if n, err := read.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
