package compare

import (
	"os"
	"strings"
	"testing"

	"nsinspect/inspect"
)

// TestHierarchyOf: a v1 mount has its controllers, or its name, among its
// superblock's options.
func TestHierarchyOf(t *testing.T) {
	w := newWorld(t)
	c := w.cgroups([]at{{"unified", "/", ""}, {"name=systemd", "/", ""}, {"cpu,cpuacct", "/", ""}, {"net_prio,name=foo", "/", ""}, {"freezer", "/", ""}}, false)
	of := HierarchyOf(c)
	for _, test := range []struct{ fstype, super, want string }{
		{"cgroup2", "rw,nsdelegate", "unified"},
		{"cgroup2", "rw", "unified"},
		{"cgroup", "rw,freezer", "freezer"},
		{"cgroup", "rw,cpu,cpuacct", "cpu,cpuacct"},
		{"cgroup", "rw,cpuacct,cpu", "cpu,cpuacct"},
		{"cgroup", "rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd", "name=systemd"},
		{"cgroup", "rw,net_prio,name=foo", "net_prio,name=foo"},
		{"cgroup", "rw,clone_children,freezer", "freezer"},
		{"cgroup", "rw,hugetlb", ""},      // the process's file does not have it
		{"cgroup", "rw,name=freezer", ""}, // a name is no controller
		{"cgroup", "rw,systemd", ""},
		{"cgroup", "", ""},
	} {
		label := ""
		if h := of(&inspect.Mount{FSType: test.fstype, SuperOptions: strings.Split(test.super, ",")}); h != nil {
			label = h.Label
		}
		if label != test.want {
			t.Errorf("%s %s is %q, want %q", test.fstype, test.super, label, test.want)
		}
	}
	if h := HierarchyOf(nil)(&inspect.Mount{FSType: "cgroup2"}); h != nil {
		t.Errorf("of no cgroup file: %+v", h)
	}
}

// TestLayout has real hosts; who publishes them says what they are.
func TestLayout(t *testing.T) {
	for capture, want := range map[string]string{
		"host-hybrid-ubuntu1804":                "hybrid",
		"host-hybrid-v232-cgroup2-on-systemd":   "hybrid",
		"host-v1-legacy-fedora20":               "legacy",
		"host-v1-rhel8-cpuset-disabled":         "legacy",
		"v1-systemd-named-only":                 "legacy",
		"v2-with-v1-freezer":                    "unified",
		"k8s-v2-pod-gke-containerd":             "unified",
		"podman-v2-rootful-host-cgroupns":       "unified",
		"own-cgroupns-no-remount-inside":        "hybrid",
		"rootless-runtime-rbind-then-overmount": "unified",
	} {
		file, err := os.Open("../testdata/captures/" + capture + "/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		table, err := inspect.ParseMountInfo(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := Layout(table); got != want {
			t.Errorf("%s: %s, want %s", capture, got, want)
		}
	}
	for want, mounts := range map[string][]mount{
		"none":    {{fs: "tmpfs", point: "/sys"}},
		"unified": {{label: "unified", point: "/elsewhere"}},
		"legacy":  {{label: "unified", point: "/sys/fs/cgroup"}, {fs: "tmpfs", point: "/sys/fs/cgroup"}, {label: "freezer", point: "/sys/fs/cgroup/freezer"}},
	} {
		w := newWorld(t)
		if got := Layout(w.table(&proc{rootfs: "8:1 /", mnt: hostMnt, mounts: mounts}, false)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := Layout(nil); got != "" {
		t.Errorf("of what could not be read: %q", got)
	}
}
