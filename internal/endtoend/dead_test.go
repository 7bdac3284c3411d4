package endtoend

import (
	"fmt"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// boxed is a shell with a cgroup namespace whose root directory is box, in a
// mount namespace of its own.
func boxed(t *testing.T, host *lt.Shell, box *lt.Cgroup) *lt.Shell {
	t.Helper()
	s := host.Fork().Join(box)
	s.Become("unshare", "-C", "-m", "--propagation", "private", "--")
	return s
}

// A namespace whose root directory was removed: its process had to leave it
// first, and wherever it went, nothing can be mounted in its place.
func TestLiveDeadRoot(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, to := range []string{"parent", "root", "sibling"} {
			for _, mounted := range []string{"inherited", "fresh"} {
				t.Run(label+"/"+to+"/"+mounted, func(t *testing.T) {
					needs(t, label)
					host, top := lt.NewHost(t), lt.NewCgroup(t, label)
					// From the hierarchy's root only the depth of the namespace's is
					// known, so it lies where no other cgroup is.
					for range 8 {
						top = top.Child("deep")
					}
					box := top.Child("box")
					s := boxed(t, host, box)
					if mounted == "fresh" {
						fresh(s, label, lt.MountOf(t, label))
					}
					switch to {
					case "parent":
						top.Add(s.PID)
					case "root":
						lt.RootCgroup(t, label).Add(s.PID)
					case "sibling":
						sibling := top.Child("sibling")
						sibling.Add(s.PID, host.Sleep())
					}
					box.Remove()
					deadRoot(t, host, s, label)
				})
			}
		}
	}
}

// deadRoot holds that just this is told of a hierarchy, and that the kernel
// bears it out: a fresh mount fails, or does not show the root.
func deadRoot(t *testing.T, host, s *lt.Shell, label string) {
	t.Helper()
	r := doctor(t, s.PID)
	f := r.one(t, "dead-root", "error", label, s.PID)
	if len(f.Remedy.Steps) > 0 || len(f.Remedy.Notes) == 0 || f.CgroupNS != lt.Namespace(t, s.PID, "cgroup") {
		t.Errorf("%s", dump(f))
	}
	r.only(t, label, "dead-root")
	h := likeKernel(t, s.PID).at(t, label)
	if h.Verdict != "dead" {
		t.Errorf("compare: %s", dump(h))
	}
	try := host.Fork()
	try.Become("nsenter", "-t", fmt.Sprint(s.PID), "-C", "--")
	try.Become("unshare", "-m", "--propagation", "private", "--")
	try.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/fresh")
	out, status := try.Try("%s", mountCommand(label, "/mnt/fresh"))
	if status == 0 {
		// It is found by the old name, and is not the namespace's root.
		if root := lt.InView(t, try.PID, try.PID).RootAt(t, "/mnt/fresh"); root != "/../box" {
			t.Errorf("but the root of a fresh mount is %s", root)
		}
	} else if !strings.Contains(out, "does not exist") && !strings.Contains(out, "No such file") {
		t.Errorf("a fresh mount: %s", out)
	}
}

// The same name is not the same directory.
func TestLiveDeadRootMadeAgain(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, mounted := range []string{"inherited", "fresh"} {
			t.Run(label+"/"+mounted, func(t *testing.T) {
				t.Parallel()
				needs(t, label)
				host, top := lt.NewHost(t), lt.NewCgroup(t, label)
				box := top.Child("box")
				s := boxed(t, host, box)
				if mounted == "fresh" {
					fresh(s, label, lt.MountOf(t, label))
				}
				top.Add(s.PID)
				box.Remove()
				top.Child("box").Add(s.PID)
				if host, own := lt.HostView(t, s.PID).Paths()[label], lt.InView(t, s.PID, s.PID).Paths()[label]; host != box.Path || own != "/../box" {
					t.Fatalf("the kernel shows %s and %s", host, own)
				}
				deadRoot(t, host, s, label)
			})
		}
	}
}

// A root directory that lives is not called dead, whoever is in it.
func TestLiveProcessOutsideRoot(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		for _, to := range []string{"sibling", "root", "parent"} {
			for _, left := range []string{"nobody", "child", "neighbour"} {
				if to == "root" && left == "neighbour" {
					continue // as a visitor of the test's would be: see below
				}
				t.Run(label+"/"+to+"/"+left+" stays", func(t *testing.T) {
					t.Parallel()
					needs(t, label)
					host, top := lt.NewHost(t), lt.NewCgroup(t, label)
					box := top.Child("box")
					s := boxed(t, host, box)
					freshAll(t, s)
					stays := 0
					switch left {
					case "child":
						stays = s.Sleep()
					case "neighbour":
						stays = host.Sleep("nsenter", "-t", fmt.Sprint(s.PID), "-C", "-m", "--")
						box.Add(stays)
					}
					want := map[string]string{"sibling": "/../sibling", "root": "/../..", "parent": "/.."}[to]
					switch to {
					case "sibling":
						top.Child("sibling").Add(s.PID)
					case "root":
						lt.RootCgroup(t, label).Add(s.PID)
					case "parent":
						top.Add(s.PID)
					}
					r := doctor(t, s.PID)
					f := r.one(t, "process-outside-root", "error", label, s.PID)
					if f.Evidence["namespace_path"] != want || f.CgroupNS != lt.Namespace(t, s.PID, "cgroup") || len(f.Remedy.Steps) > 0 {
						t.Errorf("%s", dump(f))
					}
					r.only(t, label, "process-outside-root")
					h := likeKernel(t, s.PID).at(t, label)
					if !h.Outside || h.NamespacePath != want {
						t.Errorf("compare: %s", dump(h))
					}
					if stays != 0 {
						nothingSerious(t, stays)
						if h.root() != box.Path {
							t.Errorf("root directory %s, want %s", h.root(), box.Path)
						}
					}
				})
			}
		}
	}
}

// A process that was moved out is no visitor, though it is where a visitor
// would be: its parent lives inside.
func TestLiveMovedOutChild(t *testing.T) {
	for _, label := range []string{"freezer", "unified"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			needs(t, label)
			host, top := lt.NewHost(t), lt.NewCgroup(t, label)
			s := boxed(t, host, top.Child("box"))
			freshAll(t, s)
			child := s.Sleep()
			lt.RootCgroup(t, label).Add(child)
			r := doctor(t, child)
			r.one(t, "process-outside-root", "error", label, child)
			if v := r.of("visitor", ""); len(v) > 0 {
				t.Errorf("%s", dump(v))
			}
			nothingSerious(t, s.PID)
		})
	}
}

// Nor is one whose parent is elsewhere than it was moved to.
func TestLiveMovedOutBesideNeighbour(t *testing.T) {
	needs(t, "freezer")
	host, top := lt.NewHost(t), lt.NewCgroup(t, "freezer")
	box := top.Child("box")
	launcher := host.Fork().Join(top.Child("launcher"))
	moved := launcher.Background("sleep", "sh", "-c", "echo $$ >"+box.Dir+"/cgroup.procs && exec unshare -C -m sleep 10000")
	neighbour := host.Sleep("nsenter", "-t", fmt.Sprint(moved), "-C", "-m", "--")
	box.Add(neighbour)
	lt.RootCgroup(t, "freezer").Add(moved)
	if own := lt.InView(t, neighbour, moved).Paths()["freezer"]; own != "/../.." {
		t.Fatalf("the kernel shows %s", own)
	}
	r := doctor(t, moved, neighbour)
	r.one(t, "process-outside-root", "error", "freezer", moved)
	if v := r.of("visitor", ""); len(v) > 0 {
		t.Errorf("%s", dump(v))
	}
}
