package endtoend

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	lt "nsinspect/internal/livetest"
)

// TestLiveDocuments holds what remount and lab print against docs/json.md and
// the schema: every field, also those that only bytes which are no text have.
func TestLiveDocuments(t *testing.T) {
	needs(t, "freezer", "pids")
	var list []document
	add := func(from string, r lt.Result, status int) {
		t.Helper()
		command, _, _ := strings.Cut(from, " ")
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(r.Stdout))
		if err != nil || r.Status != status {
			t.Fatalf("%s: status %d, want %d, %v\n%s", from, r.Status, status, err, r.Stderr)
		}
		list = append(list, document{command, from, value})
	}
	host := lt.NewHost(t)
	s := oddMounts(t, host)
	pid := strconv.Itoa(s.PID)
	add("remount a plan", lt.Run(t, "remount", "-J", pid), 2)
	add("remount of nothing", lt.Run(t, "remount", "-J", "self"), 0)
	add("remount applied", lt.Run(t, "remount", "-J", "--apply", pid), 2)
	add("remount refused", lt.Run(t, "remount", "-J", strconv.Itoa(sharing(t, host))), 2)
	add("lab of odd names", oddLab(t, host), 0)
	kept := keepLab(t, "freezer", "nsenter", "-t", strconv.Itoa(host.PID), "-m", "--") // there, too
	add("lab kept", lt.Result{Stdout: kept.document, Status: kept.end(t, os.Interrupt)}, 0)
	holdSchema(t, list)
	holdFields(t, list, func(object string) bool { return slices.Contains(liveOnly, object) })
}

// oddMounts is a process with a stale mount and one of a neighbour's, both at
// mount points that are no text.
func oddMounts(t *testing.T, host *lt.Shell) *lt.Shell {
	t.Helper()
	box, neighbour := lt.NewCgroup(t, "freezer"), lt.NewCgroup(t, "pids").Child("\xff")
	s := host.Fork().Join(box, lt.NewCgroup(t, "pids"))
	s.Become("unshare", "-C", "-m", "--propagation", "private", "--")
	s.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/\xff /mnt/x")
	freezer, pids := lt.MountOf(t, "freezer"), lt.MountOf(t, "pids")
	s.Do("mount --bind %s /mnt/\xff && mount --bind %s/%s /mnt/x && umount %s %s", freezer, filepath.Dir(neighbour.Dir), "\xff", freezer, pids)
	return s
}

// sharing is a process whose mount namespace another one uses, which has a name
// that is no text.
func sharing(t *testing.T, host *lt.Shell) int {
	t.Helper()
	host.Do("printf '\xff' >/proc/$$/comm")
	s := host.Fork().Join(lt.NewCgroup(t, "freezer"))
	s.Become("unshare", "-C", "--")
	return s.PID
}

// oddLab walks in a hierarchy that is mounted only in part, from a cgroup whose
// name is no text, at a place whose name is none either.
func oddLab(t *testing.T, host *lt.Shell) lt.Result {
	t.Helper()
	part := lt.NewCgroup(t, "freezer").Child("\xff")
	point := lt.MountOf(t, "freezer")
	host.Do("mount -t tmpfs tmpfs /mnt && mkdir /mnt/\xff && mount --bind %s /mnt/\xff && umount %s", lt.Quote(part.Dir), point)
	return host.Run("lab", "freezer", "-J")
}
