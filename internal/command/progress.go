package command

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"nsinspect/inspect"
)

// A reading that takes longer than patience shows how far it is.
const (
	patience = 500 * time.Millisecond
	refresh  = 100 * time.Millisecond
)

// scan reads the host, showing its progress.
func (in *invocation) scan(ctx context.Context, want inspect.Want) (*inspect.Host, error) {
	done := in.progress(ctx)
	defer done()
	return in.fs.Scan(ctx, want)
}

// progress shows on a terminal how far the reading is, until done is called,
// and leaves nothing behind.
func (in *invocation) progress(ctx context.Context) (done func()) {
	stderr, ok := in.process.Stderr.(*os.File)
	if !ok || !term.IsTerminal(int(stderr.Fd())) {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		shown := false
		wait := time.NewTimer(patience)
		defer wait.Stop()
		for {
			select {
			case <-wait.C:
				p := in.fs.Progress()
				fmt.Fprintf(stderr, "\r\x1b[K%d of %d processes, %d namespaces entered", p.Processes, p.Of, p.Entered)
				shown = true
				wait.Reset(refresh)
				continue
			case <-ctx.Done():
			case <-stop:
			}
			if shown {
				fmt.Fprint(stderr, "\r\x1b[K")
			}
			return
		}
	}()
	return func() { close(stop); <-stopped }
}
