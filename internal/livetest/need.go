// Package livetest is for tests that try nsinspect on the running kernel: it
// makes cgroups and processes in namespaces, asks the kernel what they see, and
// leaves nothing behind, also when a test fails. Only tests import it.
//
// Whatever a test expects comes from here or from the kernel (InView), never
// from nsinspect.
package livetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Requirement is something that a live test needs; it returns why the host does
// not have it.
type Requirement func() error

// Need skips the test, and says why, where the host lacks what it needs. With
// NSINSPECT_LIVE=require that is a failure instead.
func Need(t testing.TB, what ...Requirement) {
	t.Helper()
	for _, r := range what {
		if err := r(); err != nil {
			Cannot(t, "%v", err)
		}
	}
}

// Cannot ends a live test that this host does not allow: a skip with its
// reason, or a failure with NSINSPECT_LIVE=require.
func Cannot(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("NSINSPECT_LIVE") == "require" {
		t.Fatalf("a live test is required and cannot be done: "+format, args...)
	}
	t.Skipf("not done: "+format, args...)
}

// Root is effective user ID 0 in the initial cgroup namespace.
func Root() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	ns, err := os.Readlink("/proc/self/ns/cgroup")
	if err != nil {
		return err
	}
	if ns != "cgroup:[4026531835]" {
		return fmt.Errorf("it needs the initial cgroup namespace, and this is %s", ns)
	}
	return nil
}

// Programs are found in $PATH.
func Programs(names ...string) Requirement {
	return func() error {
		for _, name := range names {
			if _, err := exec.LookPath(name); err != nil {
				return err
			}
		}
		return nil
	}
}

// Hierarchies are cgroup hierarchies, by their labels, that are mounted
// writable on the host.
func Hierarchies(labels ...string) Requirement {
	return func() error {
		for _, label := range labels {
			if _, err := mountOf(label); err != nil {
				return err
			}
		}
		return nil
	}
}

// Controllers are v1 controllers that this kernel has in a hierarchy of their
// own, or could have: they belong to no hierarchy with other controllers.
func Controllers(names ...string) Requirement {
	return func() error {
		text, err := os.ReadFile("/proc/cgroups")
		if err != nil {
			return err
		}
		for _, name := range names {
			if !strings.Contains("\n"+string(text), "\n"+name+"\t") {
				return fmt.Errorf("this kernel has no cgroup v1 controller %s", name)
			}
		}
		return nil
	}
}

// MountOf is where the host has a hierarchy mounted, whole and writable.
func MountOf(t testing.TB, label string) string {
	t.Helper()
	point, err := mountOf(label)
	if err != nil {
		Cannot(t, "%v", err)
	}
	return point
}

func mountOf(label string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for _, m := range ParseMounts(string(text)) {
		if m.Label == label && m.Root == "/" && unix.Access(m.Point, unix.W_OK) == nil {
			return m.Point, nil
		}
	}
	return "", fmt.Errorf("hierarchy %s is not mounted here, whole and writable", label)
}
