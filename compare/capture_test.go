package compare

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nsinspect/inspect"
)

// frame says who read a capture's files, and so in whose view they are.
type frame int

const (
	// hostItself is a process in the initial cgroup namespace, reading itself:
	// the reader is the process, and has no other mounts to compare with.
	hostItself frame = iota
	// hostBeside is the same view, as another process of the host reads it.
	hostBeside
	// inside is a process in a cgroup namespace of its own, reading itself.
	inside
	// fromOutside is a process in a private namespace, as the host reads it.
	fromOutside
	// fromPrivate is a process of the host, as one in a private namespace reads it.
	fromPrivate
)

// captured is a capture and what doctor has to say of it. The process is 812.
type captured struct {
	name  string
	frame frame
	// cgroup is the cgroup file where none was published: what the roots of the
	// mounts leave no doubt of. Where agent is set, the two files are of two
	// processes: mountinfo is that of an agent with this cgroup file, and cgroup
	// that of process 813, whose mounts were not published.
	cgroup, agent string
	// root is the device and directory of the root mount, where its line was cut.
	root string
	// undo is what the publisher put before mount points in place of the second.
	undo [2]string
	// pidNS is set where the process is known to be in one of its own.
	pidNS bool
	want  []string
	why   string
}

const (
	notInitial  = "info reader-not-initial"
	undelegated = "info delegation-not-enforced"
	notEntered  = "info incomplete 812"
	own         = "0::/\n"
	dockerAgent = "/docker/3fc95ce32f84e9346c5fbd3bce38045e478aa5b067603955555cbff8445ba74f"
	dockerScope = "/system.slice/docker-dc4eaa1a34ec4d593bc0125d31eea823a1d76ae483aeb1409cca80304e34da2e.scope"
	podAL2      = "11:memory 10:blkio 9:net_cls,net_prio 8:cpuset 7:hugetlb 6:perf_event 5:cpu,cpuacct 4:freezer 3:pids 2:devices 1:name=systemd 0:"
)

// inAll is a cgroup file with the same path in each hierarchy.
func inAll(path, hierarchies string) string {
	text := ""
	for _, h := range strings.Fields(hierarchies) {
		text += h + ":" + path + "\n"
	}
	return text
}

// Every capture, and what is to be found. What its source says of it is in the
// file SOURCE beside it.
var allCaptured = []captured{
	{name: "host-hybrid-ubuntu1804", frame: hostItself},
	{name: "host-hybrid-session-user1006", frame: hostItself, why: "hugetlb's and cgroup2's mounts were cut; the reader has none either, so nobody misses one"},
	{name: "host-hybrid-v232-cgroup2-on-systemd", frame: hostItself, cgroup: inAll("/user.slice", "11:pids 10:devices 9:cpuset 8:freezer 7:hugetlb 6:perf_event 5:blkio 4:net_cls,net_prio 3:memory 2:cpu,cpuacct 0:")},
	{name: "host-v1-legacy-fedora20", frame: hostItself, cgroup: inAll("/user.slice", "10:hugetlb 9:perf_event 8:blkio 7:net_cls 6:freezer 5:devices 4:memory 3:cpuacct,cpu 2:cpuset 1:name=systemd")},
	{name: "host-v1-rhel8-cpuset-disabled", frame: hostItself, why: "cpuset was disabled at boot, so its cgroup file has no such line, and no mount is missed"},
	{name: "host-v1-bedrock-duplicate-mounts", frame: hostItself, cgroup: inAll("/user.slice", "3:freezer 2:cpu,cpuacct 1:name=systemd"), want: []string{"info duplicate-hierarchy-mount 812"}},
	{name: "v2-with-v1-freezer", frame: hostItself},
	{name: "v1-systemd-named-only", frame: hostItself, cgroup: "1:name=systemd:/user.slice\n", why: "no hierarchy of this kernel has a controller, so none is missed; that v1 controllers are all disabled is not a matter of views"},
	{name: "v1-exited-ns-mount-left", frame: hostBeside, root: "8:1 /", why: "mount point and root end alike, so joined paths lead there"},
	{name: "eks-al2-host-containerd-pod", frame: hostItself, agent: inAll("/system.slice/agent.service", podAL2), undo: [2]string{"testdata/amzn2/", "/"}, want: []string{"info incomplete 813"}, why: "a line 0:: without a cgroup2 mount is usual where cgroup2 was never mounted; the pod's mounts were not published"},

	{name: "docker-v1-host-cgroupns-systemd-driver", frame: hostBeside, cgroup: inAll(dockerScope, "9:perf_event 8:cpu,cpuacct 7:cpuset 6:blkio 5:net_cls,net_prio 4:memory 3:freezer 2:devices 1:name=systemd"), pidNS: true, want: []string{"info bind-leaf 812", "info host-cgroupns-in-container 812"}},
	{name: "k8s-v1-pod-besteffort", frame: hostBeside, root: "0:42 /", pidNS: true, want: []string{"info bind-leaf 812", "info host-cgroupns-in-container 812"}},
	{name: "podman-v2-rootful-host-cgroupns", frame: hostBeside, root: "0:42 /", pidNS: true, want: []string{"info host-cgroupns-in-container 812"}},
	{
		name: "docker-v1-agent-reads-sibling", frame: hostBeside, agent: inAll(dockerAgent, "10:net_prio 9:perf_event 8:net_cls 7:freezer 6:devices 5:memory 4:blkio 3:cpuacct 2:cpu 1:cpuset"),
		undo: [2]string{"testdata/docker/", "/"}, pidNS: true,
		want: []string{"info controller-mount-missing 812", "info bind-leaf 812", "info host-cgroupns-in-container 812", "info incomplete 813"},
		why:  "a process is judged by its own mounts, and the sibling's were not published; the agent's has no net_cls and net_prio, which the reader here has mounted",
	},
	{
		name: "docker-v1-agent-reads-sibling", frame: hostBeside, undo: [2]string{"testdata/docker/", "/"}, pidNS: true,
		want: []string{
			"error path-not-under-mount cpuset 812", "error path-not-under-mount cpu 812", "error path-not-under-mount cpuacct 812", "error path-not-under-mount blkio 812",
			"error path-not-under-mount memory 812", "error path-not-under-mount devices 812", "error path-not-under-mount freezer 812", "error path-not-under-mount perf_event 812",
			"info controller-mount-missing 812", "info host-cgroupns-in-container 812",
		},
		why: "a process that had both files would be found through none of its mounts",
	},
	{name: "ecs-fargate-v1", frame: hostBeside, want: []string{"info incomplete 812"}, why: "without mountinfo a process cannot be judged; whose container it is doctor does not tell"},
	{name: "eks-fargate-v1", frame: hostBeside, want: []string{"info incomplete 812"}, why: "likewise"},

	{name: "docker-v2-private", frame: inside, cgroup: own, pidNS: true, want: []string{notInitial}},
	{name: "docker-desktop-container-self", frame: inside, cgroup: own, pidNS: true, want: []string{undelegated, notInitial}},
	{name: "k8s-v2-pod-gke-containerd", frame: inside, cgroup: own, pidNS: true, want: []string{undelegated, notInitial}},
	{name: "rootless-runtime-rbind-then-overmount", frame: inside, cgroup: own, want: []string{notInitial}, why: "the stale mount is covered by a good one"},
	{name: "k8s-v2-agent-hostpath", frame: inside, cgroup: own, pidNS: true, want: []string{"info extra-mount-outside-root unified 812", "info duplicate-hierarchy-mount 812", undelegated, notInitial}},
	{
		name: "docker-v2-private-hostfs-agent", frame: inside, agent: own, undo: [2]string{"testdata/docker2/", "/hostfs/"}, pidNS: true,
		want: []string{"info extra-mount-outside-root unified 812", "info duplicate-hierarchy-mount 812", notInitial, "info incomplete 813"},
		why:  "of the two mounts at /hostfs/sys/fs/cgroup one covers the other; the host's process could not be looked at from inside",
	},
	{name: "v2-extra-hostpath-mount", frame: inside, cgroup: own, pidNS: true, want: []string{"info extra-mount-outside-root unified 812", notInitial}, why: "a hierarchy is a duplicate if two mounts show the process, and the wide one does not"},
	{name: "v1-unshare-C-second-mount", frame: inside, want: []string{"info extra-mount-outside-root cpu,cpuacct 812", notInitial}, why: "likewise"},
	{name: "v1-unshare-C-no-remount", frame: inside, want: []string{"error stale-mount-root cpu,cpuacct 812", notInitial}},
	{name: "tikv-v2-relative-root", frame: inside, want: []string{"error stale-mount-root unified 812", undelegated, notInitial}},
	{name: "own-cgroupns-no-remount-inside", frame: inside, want: []string{"error stale-mount-root unified 812", "error stale-mount-root freezer 812", undelegated, notInitial}},
	{name: "own-cgroupns-no-remount-nsenter", frame: inside, want: []string{"error stale-mount-root unified 812", undelegated, notInitial}, why: "whoever reads in a cgroup namespace reads what its members do"},
	{name: "own-cgroupns-remounted-inside", frame: inside, want: []string{undelegated, notInitial}},

	{name: "own-cgroupns-no-remount-from-host", frame: fromOutside, want: []string{notEntered}, why: "nothing can be seen in the host's view alone, and that is no healthy verdict"},
	{name: "own-migrated-out-from-host", frame: fromOutside, want: []string{notEntered}, why: "likewise"},
	{name: "own-cgroupns-reads-pid1", frame: fromPrivate, want: []string{notInitial, notEntered}, why: "whether its namespace cannot be read or not be entered, the same is told"},
	{name: "docker-desktop-vm-read-from-private-ns", frame: fromPrivate, cgroup: "0::/../..\n", want: []string{notInitial, notEntered}},
	{name: "agent-private-ns-reads-host-service", frame: fromPrivate, want: []string{notInitial, notEntered}},

	{name: "own-v1-bind-leaf", frame: hostBeside, root: "8:1 /", want: []string{"info bind-leaf 812"}},
	{name: "own-v1-bind-other-cgroup", frame: hostBeside, root: "8:1 /", want: []string{"error path-not-under-mount freezer 812"}},
	{name: "own-no-cgroup-mounts", frame: hostBeside, root: "8:1 /", want: []string{"info no-cgroup-mount 812"}},
	{name: "own-zombie-deleted", frame: hostBeside, why: "a zombie is no evidence"},
}

// TestCaptures has doctor look at every real capture, both as a copy of a procfs
// and as an archive.
func TestCaptures(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCaptured {
		seen[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			files := c.files(t)
			copied, err := inspect.Open(files.directory(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer copied.Close()
			for kind, fs := range map[string]*inspect.FS{"a copy": copied, "an archive": files.archive(t)} {
				if diff := cmp.Diff(c.want, all(diagnosed(t, fs))); diff != "" {
					t.Errorf("%s: not what was to be found (%s):\n%s", kind, c.why, diff)
				}
			}
		})
	}
	there, err := os.ReadDir("../testdata/captures")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		if !seen[e.Name()] {
			t.Errorf("nobody looks at %s", e.Name())
		}
		if _, err := os.Stat(filepath.Join("../testdata/captures", e.Name(), "SOURCE")); err != nil {
			t.Error(err)
		}
	}
}

// diagnosed is what doctor does with a host.
func diagnosed(t *testing.T, fs *inspect.FS) *Report {
	t.Helper()
	host, err := fs.Scan(context.Background(), inspect.Want{Views: true})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDiagnosis(host, nil)
	err = d.Settle(func(q inspect.Questions) (*inspect.Answers, error) { return fs.Answer(context.Background(), q) })
	if err != nil {
		t.Fatal(err)
	}
	return d.Report()
}

// all is what was told, one finding a line.
func all(r *Report) []string {
	var list []string
	for i := range r.Findings {
		list = append(list, told(&r.Findings[i]))
	}
	return list
}

// read returns a capture's file; there may be none.
func read(t *testing.T, capture, file string) (text string, ok bool) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../testdata/captures", capture, file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b), err == nil
}

// tree is a procfs: the texts of files, and of links, which begin with "-> ".
type tree map[string]string

// files is the procfs in which the capture was made: its process, whoever read
// it, and nothing else.
func (c *captured) files(t *testing.T) tree {
	cgroup, published := read(t, c.name, "cgroup")
	if !published || c.agent != "" {
		cgroup = c.cgroup + c.agent
	}
	if cgroup == "" {
		t.Fatal("neither a cgroup file nor what it must have been")
	}
	files := tree{}
	files.process(812, cgroup, c.namespaces())
	if c.name == "own-zombie-deleted" {
		files.process(812, cgroup, nil)
		delete(files, "812/root")
		files["812/stat"] = strings.Replace(files["812/stat"], " S ", " Z ", 1)
	}
	if mountinfo, ok := read(t, c.name, "mountinfo"); ok {
		mountinfo = rootMount(c.root) + mountinfo
		files["812/mountinfo"] = strings.ReplaceAll(mountinfo, " "+or(c.undo[0], "\n"), " "+c.undo[1])
	}
	if c.agent != "" {
		theirs, _ := read(t, c.name, "cgroup")
		files.process(813, theirs, []uint64{initNS, boxMnt + 1, hostPID})
	}
	if c.frame == hostItself || c.frame == inside {
		files["self"] = "-> 812"
		return files
	}
	files["self"] = "-> 900"
	reader := uint64(initNS)
	if c.frame == fromPrivate {
		reader = boxNS
	}
	files.process(900, inAll("/", strings.Join(hierarchiesOf(cgroup), " ")), []uint64{reader, hostMnt, hostPID})
	files["900/mountinfo"] = mountedAll(cgroup)
	return files
}

// rootMount is the line of a root mount that was cut; nothing for "".
func rootMount(root string) string {
	if root == "" {
		return ""
	}
	return "2 1 " + root + " / rw - ext4 /dev/sda rw\n"
}

// namespaces are the cgroup, mount and PID namespace of process 812.
func (c *captured) namespaces() []uint64 {
	ns := []uint64{initNS, boxMnt, hostPID}
	if c.frame == inside || c.frame == fromOutside {
		ns[0] = boxNS
	}
	if c.pidNS {
		ns[2] = boxPID
	}
	return ns
}

// hierarchiesOf are the first two fields of a cgroup file's lines.
func hierarchiesOf(cgroup string) []string {
	var list []string
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(line, ":", 3)
		list = append(list, f[0]+":"+f[1])
	}
	return list
}

// mountedAll is the mountinfo of a host that has mounted all hierarchies.
func mountedAll(cgroup string) string {
	text := "10 1 8:1 / / rw - ext4 /dev/sda rw\n"
	for i, h := range hierarchiesOf(cgroup) {
		_, names, _ := strings.Cut(h, ":")
		fstype := "cgroup"
		if names == "" {
			fstype, names = "cgroup2", "nsdelegate"
		}
		text += fmt.Sprintf("%d 10 0:%d / /sys/fs/cgroup/%d rw - %s none rw,%s\n", 11+i, 30+i, i, fstype, names)
	}
	return text
}

// process adds a process's files; ns are its namespaces, if it has any left.
func (f tree) process(pid int, cgroup string, ns []uint64) {
	at := fmt.Sprintf("%d/", pid)
	for i, n := range ns {
		kind := []string{"cgroup", "mnt", "pid"}[i]
		f[at+"ns/"+kind] = fmt.Sprintf("-> %s:[%d]", kind, n)
	}
	if ns == nil {
		for _, kind := range []string{"cgroup", "mnt", "pid"} {
			delete(f, at+"ns/"+kind)
		}
	}
	f[at+"root"] = "-> /"
	f[at+"cgroup"] = cgroup
	f[at+"stat"] = fmt.Sprintf("%d (sh) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4200 0 0\n", pid)
	f[at+"status"] = fmt.Sprintf("Name:\tsh\nTgid:\t%d\nNSpid:\t%d\nUid:\t0\t0\t0\t0\n", pid, pid)
}

// directory writes the tree as a copy of a procfs.
func (f tree) directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if link, ok := strings.CutPrefix(text, "-> "); ok {
			err = errors.Join(err, os.Symlink(link, at))
		} else {
			err = errors.Join(err, os.WriteFile(at, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// archive packs the tree, and what was seen from within cgroup namespaces
// (views/…), as docs/capture.md has it.
func (f tree) archive(t *testing.T) *inspect.FS {
	t.Helper()
	self := strings.TrimPrefix(f["self"], "-> ")
	ns := strings.Trim(strings.TrimPrefix(f[self+"/ns/cgroup"], "-> cgroup:"), "[]")
	texts := map[string]string{"answers.json": fmt.Sprintf(`{"format":1,"reader":{"pid":%s,"cgroup_ns":%s,"uid":0,"can_enter":true,"same_pids":true}}`, self, ns)}
	for name, text := range f {
		if !strings.HasPrefix(name, "views/") {
			name = "proc/" + name
		}
		texts[name] = text
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, text := range texts {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}
		if link, ok := strings.CutPrefix(text, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, text = tar.TypeSymlink, link, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fs, err := inspect.ReadCapture(&out, t.Name(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// TestCapturedFromBothSides has one process as the host reads it and as it reads
// itself: only together the two views tell what is wrong, and from the host they
// tell more.
func TestCapturedFromBothSides(t *testing.T) {
	c := captured{name: "own-cgroupns-no-remount-from-host", frame: fromOutside, root: "8:1 /"}
	files := c.files(t)
	for _, file := range []string{"cgroup", "mountinfo"} {
		text, _ := read(t, "own-cgroupns-no-remount-inside", file)
		files[fmt.Sprintf("views/%d/812/%s", boxNS, file)] = text
	}
	r := diagnosed(t, files.archive(t))
	if want := []string{"error stale-mount-root unified 812", "error stale-mount-root freezer 812"}; !slices.Equal(all(r)[:2], want) || r.Coverage.Entered != 2 {
		t.Errorf("%q, %+v", all(r), r.Coverage)
	}
	for i, want := range []string{"/nsi/a/b", "/nsi/a"} { // as its SOURCE says
		if got := r.Findings[i].Evidence["root_directory"]; got != want {
			t.Errorf("root directory %v, want %s", got, want)
		}
	}
}

// TestCapturedMigration has two processes of one namespace: one that still is
// where the namespace was made, and one that was moved. How the second sees
// itself follows from the kernel's rule: from /nsi/a/b up to /nsi, and down to
// peer.
func TestCapturedMigration(t *testing.T) {
	c := captured{name: "own-cgroupns-no-remount-from-host", frame: fromOutside, root: "8:1 /"}
	files := c.files(t)
	moved, _ := read(t, "own-migrated-out-from-host", "cgroup")
	files.process(813, moved, c.namespaces())
	mounted, _ := read(t, "own-migrated-out-from-host", "mountinfo")
	files["813/mountinfo"] = rootMount(c.root) + mounted
	view, _ := read(t, "own-cgroupns-no-remount-inside", "cgroup")
	mounts, _ := read(t, "own-cgroupns-no-remount-inside", "mountinfo")
	at := fmt.Sprintf("views/%d/", boxNS)
	files[at+"812/cgroup"], files[at+"812/mountinfo"] = view, mounts
	files[at+"813/cgroup"] = strings.Replace(view, "0::/\n", "0::/../../peer\n", 1)
	r := diagnosed(t, files.archive(t))
	want := []string{
		"error stale-mount-root unified 812 813", "error stale-mount-root freezer 812 813", "error process-outside-root unified 813",
	}
	if !slices.Equal(all(r)[:3], want) {
		t.Errorf("%q", all(r))
	}
}
