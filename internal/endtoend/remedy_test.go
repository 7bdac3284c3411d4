package endtoend

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// Where mending would hurt others, or cannot work as usual, no commands are
// given, and it is said why.

// The mount namespace is used from another cgroup namespace too.
func TestLiveRemedySharedNamespace(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box := lt.NewHost(t), lt.NewCgroup(t, label)
			s := host.Fork().Join(box)
			s.Become("unshare", "-C", "--")
			if lt.Namespace(t, s.PID, "mnt") != lt.Namespace(t, host.PID, "mnt") {
				t.Fatal("it has a mount namespace of its own")
			}
			f := doctor(t, s.PID).one(t, "stale-mount-root", "error", label, s.PID)
			if !isTrue(f.Confirmed) || f.Remedy.Safe == nil || *f.Remedy.Safe || len(f.Remedy.Steps) > 0 || !strings.Contains(strings.Join(f.Remedy.Notes, " "), strconv.Itoa(host.PID)) {
				t.Errorf("%s", dump(f))
			}
		})
	}
}

// In a user namespace the inherited mount is locked: umount(2) is refused.
func TestLiveRemedyUserNamespace(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, box, point := lt.NewHost(t), lt.NewCgroup(t, label), lt.MountOf(t, label)
			s := host.Fork().Join(box)
			s.Become("unshare", "-U", "-r", "-C", "-m", "--")
			if _, status := s.Try("umount %s", point); status == 0 {
				t.Fatal("the mount is not locked")
			}
			f := doctor(t, s.PID).one(t, "stale-mount-root", "error", label, s.PID)
			if !isTrue(f.Confirmed) || len(f.Remedy.Steps) > 0 || !strings.Contains(strings.Join(f.Remedy.Notes, " "), "locked") {
				t.Errorf("%s", dump(f))
			}
			likeKernel(t, s.PID)
			insideUser(t, s, label)
			// What the note says, done by hand.
			s.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/fresh && %s && mount --move /mnt/fresh %s", mountCommand(label, "/mnt/fresh"), point)
			if r := doctor(t, s.PID); len(r.of("stale-mount-root", label)) > 0 || !kernelLists(t, s.PID, point) {
				t.Errorf("afterwards: %s", dump(r.Findings))
			}
		})
	}
}

// insideUser finds the fault from inside, where there is no privilege over the
// host at all.
func insideUser(t *testing.T, s *lt.Shell, label string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nsinspect-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(s.PID)
	r := doctorBy(t, s.Execute(lt.CopyBinary(t, dir), "doctor", "-J", pid))
	f := r.one(t, "stale-mount-root", "error", label, s.PID)
	if f.Mount.NamespaceRoot != "/.." || len(f.Remedy.Steps) > 0 && f.Remedy.Safe != nil && *f.Remedy.Safe {
		t.Errorf("inside: %s", dump(f))
	}
	if len(r.of("reader-not-initial", "")) != 1 {
		t.Errorf("inside: %s", dump(r.Findings))
	}
}

// Commands that are pasted too late, or whose process changes its namespaces
// between two of them, mount nothing and say so.
func TestLiveRemedyTooLate(t *testing.T) {
	needs(t, "freezer")
	for _, shell := range []string{"sh", "bash --norc -i", "sh 2>&-"} {
		for _, done := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s after %d steps", shell, done), func(t *testing.T) {
				s := boxed(t, lt.NewHost(t), lt.NewCgroup(t, "freezer"))
				f := doctor(t, s.PID).one(t, "stale-mount-root", "error", "freezer", s.PID)
				block := textRemedies(lt.Run(t, "doctor", strconv.Itoa(s.PID)).Stdout)[f.Mount.MountPoint]
				late := strings.Join(strings.SplitAfter(block, "\n")[done:], "")
				f.Remedy.Steps = f.Remedy.Steps[:done]
				paste(t, jsonRemedy(f))
				s.Become("unshare", "-C", "--")
				before := lt.HostView(t, s.PID).Mountinfo
				r := lt.Execute(t, "sh", "-c", `printf '%s\n' "$1" | `+shell, "sh", late)
				said := slices.Contains(strings.Split(r.Stderr, "\n"), "not mended")
				if r.Status == 0 || said == strings.HasSuffix(shell, "2>&-") {
					t.Errorf("status %d\n%s", r.Status, r.Stderr)
				}
				if after := lt.HostView(t, s.PID).Mountinfo; after != before {
					t.Errorf("the mounts changed from\n%s\nto\n%s", before, after)
				}
			})
		}
	}
}

// A dead root directory that cannot be told from an empty neighbour is not
// called dead, and is no less an error.
func TestLiveMaybeDeadRoot(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, top := lt.NewHost(t), lt.NewCgroup(t, label)
			box := top.Child("box")
			top.Child("empty")
			s := boxed(t, host, box)
			top.Add(s.PID)
			box.Remove()
			r := doctor(t, s.PID)
			f := r.one(t, "process-outside-root", "error", label, s.PID)
			if !strings.Contains(strings.Join(f.Remedy.Notes, " "), "could not be told") || f.Evidence["root_directory"] != nil {
				t.Errorf("%s", dump(f))
			}
			for _, f := range r.of("stale-mount-root", label) {
				if len(f.Remedy.Steps) > 0 {
					t.Errorf("steps that may not work: %s", dump(f))
				}
			}
		})
	}
}
