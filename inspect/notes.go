package inspect

import "sync"

// notes are the processes that are looked at one by one, and not only since all
// are. A nil one notes nothing.
type notes struct {
	mu     sync.Mutex
	pids   map[int]bool
	paused bool
}

func (n *notes) add(pid int) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.paused {
		n.pids[pid] = true
	}
}

func (n *notes) has(pid int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pids[pid]
}

// pause is called when all processes begin to be read, and when they have been.
func (n *notes) pause(paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = paused
}
