package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// member is the lab's side of one process of a walk.
type member struct {
	name  string // for ps(1), and for messages
	pid   int
	cmd   *exec.Cmd
	pipes *pipes
	in    *json.Decoder
	gone  chan struct{} // closed when the process was reaped
}

// startMember starts a process that waits for orders in the lab's own cgroup.
func startMember(name string) (*member, error) {
	p, err := newPipes()
	if err != nil {
		return nil, kernelError("make a pipe for", name, err)
	}
	cmd := &exec.Cmd{
		Path:       selfExe,
		Args:       []string{"nsinspect", childArgument, roleMember, name},
		Dir:        "/",
		ExtraFiles: p.child[:],
		// Its own process group: a Ctrl-C is the lab's to answer.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	err = cmd.Start()
	p.started()
	if err != nil {
		p.close()
		return nil, kernelError("start the process", name, err)
	}
	m := &member{name, cmd.Process.Pid, cmd, p, json.NewDecoder(p.reports), make(chan struct{})}
	go func() {
		cmd.Wait()
		close(m.gone)
	}()
	return m, nil
}

// ask gives an order and waits for its report. An error is the lab's; what the
// kernel answered to the member is in the report.
func (m *member) ask(ctx context.Context, o order) (report, error) {
	type answer struct {
		r   report
		err error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		if a.err = send(m.pipes.orders, o); a.err == nil {
			a.err = m.in.Decode(&a.r)
		}
		done <- a
	}()
	select {
	case <-ctx.Done():
		return report{}, context.Cause(ctx)
	case a := <-done:
		if a.err != nil {
			return report{}, m.died()
		}
		return a.r, nil
	}
}

func (m *member) died() error {
	return &Error{Kind: ErrKernel, Tried: "go on with the process", On: fmt.Sprintf("%d %s", m.pid, m.name),
		Err: errors.New("it was ended by someone else")}
}

// stop ends the process and returns when it was reaped.
func (m *member) stop() {
	m.pipes.orders.Close()
	select {
	case <-m.gone:
	case <-time.After(500 * time.Millisecond):
		m.cmd.Process.Kill()
		<-m.gone
	}
	m.pipes.reports.Close()
}
