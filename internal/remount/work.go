package remount

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"nsinspect/inspect"
	"nsinspect/internal/printable"
)

// answerTime is how long one mount may take. A target can put a file system on
// the way that never answers, and the thread that waits for it cannot be freed.
const answerTime = 5 * time.Second

// work is the mending of all mounts, done by one thread and followed by
// another, which gives up on it if the target does not answer or somebody
// interrupts.
type work struct {
	jobs  []*job
	done  chan outcome // of each job, in order; has room for all
	phase atomic.Int32
}

// The phases of a work. Only while it looks can it be given up without a trace.
const (
	looking = iota
	changing
	abandoned
)

var (
	errInterrupted = errors.New("not tried: interrupted")
	errSilent      = fmt.Errorf("a file system of the target's gave no answer within %v", answerTime)
)

// do is the thread that enters and mends.
func (w *work) do(ctx context.Context, sys *calls, h *inspect.Handles, p inspect.Process) {
	r, err := enter(sys, h, p)
	if err == nil {
		defer r.leave()
		r.change = func() error { return w.change(ctx) }
		if ctx.Err() != nil {
			err = ErrInterrupted
		}
	}
	if err != nil {
		w.done <- outcome{err: err}
		return
	}
	for _, j := range w.jobs {
		o := outcome{state: Unchanged, err: errInterrupted}
		if ctx.Err() == nil {
			o = r.mend(j)
		}
		w.done <- o // first, so that none is lost that has changed something
		w.phase.CompareAndSwap(changing, looking)
		if o.state == Lost {
			return
		}
	}
}

// change is called before anything is changed; it says no to a work that was
// interrupted or given up.
func (w *work) change(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	if !w.phase.CompareAndSwap(looking, changing) {
		return errSilent
	}
	return nil
}

// follow waits for what becomes of each job and tells it. Its error says that
// nothing was changed.
func (w *work) follow(ctx context.Context) error {
	for i, j := range w.jobs {
		o := w.next(ctx)
		if o.state == "" {
			return o.err
		}
		interrupted := errors.Is(o.err, errInterrupted)
		if interrupted && i == 0 {
			return ErrInterrupted
		}
		j.tell(o)
		if interrupted || o.state == Lost || errors.Is(o.err, errSilent) {
			why := errInterrupted
			if !interrupted {
				why = fmt.Errorf("not tried after what happened at %s", printable.Text(j.old.MountPoint))
			}
			for _, left := range w.jobs[i+1:] {
				left.tell(outcome{state: Unchanged, err: why})
			}
			break
		}
	}
	return nil
}

// next is what has become of the next job, or that it was interrupted or there
// is no answer. Once something has been changed it is waited for, however long
// that takes: nothing of the target's can keep it, and left alone it would be
// left half done.
func (w *work) next(ctx context.Context) outcome {
	why := errInterrupted
	select {
	case o := <-w.done:
		return o
	case <-ctx.Done():
	case <-time.After(answerTime):
		why = failed("go on", "", errSilent)
	}
	if !w.phase.CompareAndSwap(looking, abandoned) && w.phase.Load() != abandoned {
		return <-w.done
	}
	select {
	case o := <-w.done: // just in time
		return o
	default:
		return outcome{state: Unchanged, err: why}
	}
}
