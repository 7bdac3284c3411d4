package lab

import (
	"encoding/json"
	"io"
	"os"
)

// childArgument is the hidden first argument that makes this program a process
// of a lab. It is no command: what it needs comes over inherited pipes.
const childArgument = "nsinspect-lab-child"

// Roles of such a process: the second argument.
const (
	roleMember  = "member"  // a process in a cgroup of a walk
	roleEntered = "entered" // the same, executed again in its new namespaces
	roleRun     = "run"     // the first process in the namespaces of a run
)

// Descriptors that a process of a lab inherits.
const (
	fdOrders  = 3 // reads what to do; its end means that the lab is gone
	fdReports = 4 // writes what came of it
)

// exitGone is the status of a process of a lab that was left alone: as if it
// had been killed, which is what happened to the lab.
const exitGone = 137

// selfExe executes this very program, even if its file was replaced or lies
// where the lab's user may not look.
const selfExe = "/proc/self/exe"

// ChildMain runs this process as a part of a lab if args, which is os.Args,
// says that it is one; it returns false if not. It must be called before
// anything else in main (before flags are parsed, goroutines started or
// signals asked for), with os.Environ() as env, and the process must exit with
// the status at once if handled is true. A test binary that runs labs calls it
// from TestMain.
func ChildMain(args, env []string) (handled bool, exit int) {
	if len(args) < 3 || args[1] != childArgument {
		return false, 0
	}
	orders := os.NewFile(fdOrders, "orders")
	reports := os.NewFile(fdReports, "reports")
	// Started by hand, without the pipes, nothing here does anything.
	if !isPipe(orders) || !isPipe(reports) {
		return true, 2
	}
	// Executed as /proc/self/exe, its name for ps(1) would be exe. Where /proc is
	// not there it stays so.
	_ = os.WriteFile("/proc/self/comm", []byte("nsinspect"), 0)
	switch args[2] {
	case roleMember, roleEntered:
		return true, memberMain(args, env, orders, reports)
	case roleRun:
		return true, runMain(args[3:], env, orders, reports)
	}
	return true, 2
}

func isPipe(f *os.File) bool {
	if f == nil {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// pipes are the two pipes between a lab and one of its processes.
type pipes struct {
	orders  *os.File // the lab's end: writes
	reports *os.File // the lab's end: reads
	child   [2]*os.File
}

func newPipes() (*pipes, error) {
	childOrders, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reports, childReports, err := os.Pipe()
	if err != nil {
		childOrders.Close()
		orders.Close()
		return nil, err
	}
	return &pipes{orders, reports, [2]*os.File{childOrders, childReports}}, nil
}

// started closes the ends that are the child's.
func (p *pipes) started() {
	p.child[0].Close()
	p.child[1].Close()
}

func (p *pipes) close() {
	p.orders.Close()
	p.reports.Close()
}

func send(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
