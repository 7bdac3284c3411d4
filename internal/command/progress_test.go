package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"nsinspect/inspect"
	lt "nsinspect/internal/livetest"
)

// shown is what progress writes to a terminal in a time, and what a person then
// sees of it.
func shown(t *testing.T, during time.Duration, interrupt bool) (written, left string) {
	t.Helper()
	master, tty := lt.Terminal(t)
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
	written = lt.ReadUntil(t, master, "end")
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
