package livetest

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// InMountNamespace does something on a thread that is in a process's mount
// namespace. The thread ends with it.
func InMountNamespace(pid int, do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		result <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
				return err
			}
			return do()
		}()
	}()
	return <-result
}
