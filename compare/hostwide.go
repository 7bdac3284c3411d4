package compare

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"nsinspect/inspect"
)

// delegationNotEnforced tells once for the host that cgroup2 lacks nsdelegate
// while processes live in private cgroup namespaces.
func (d *Diagnosis) delegationNotEnforced() []*Finding {
	if d.host.Own == nil {
		return nil
	}
	private := 0
	for _, ns := range d.host.Namespaces {
		if ns.NS != inspect.InitialCgroupNS {
			private += len(pids(ns.Members))
		}
	}
	for i := range d.host.Own.Cgroup {
		m := &d.host.Own.Cgroup[i]
		if m.FSType != "cgroup2" || !m.Visible || slices.Contains(m.SuperOptions, "nsdelegate") || private == 0 {
			continue
		}
		return []*Finding{{
			PIDs: []int{}, Evidence: map[string]any{"mount_point": m.MountPoint, "private_processes": private},
			Message: fmt.Sprintf("cgroup2 is mounted without nsdelegate while %s%s in private cgroup namespaces: these only hide what is outside, file permissions alone keep root inside from changing its own limits or moving out", d.least(), count(private, "process lives", "processes live")),
			Remedy:  Remedy{Steps: nil, Notes: []string{"mount cgroup2 with nsdelegate at boot, with all the options that it has now: a mount in the initial cgroup namespace sets them for the whole host"}},
			Verify:  []string{"nsinspect", "doctor"},
		}}
	}
	return nil
}

// least stands before a number of processes by their cgroup namespaces if that
// of some, perhaps of all that are hidden, could not be read.
func (d *Diagnosis) least() string {
	if slices.ContainsFunc(d.host.Tasks, func(t inspect.Task) bool { return t.CgroupNS == 0 }) {
		return "at least "
	}
	return ""
}

// mixedDriver matches a systemd slice with a cgroupfs driver's container in it.
var mixedDriver = regexp.MustCompile(`\.slice:(cri-containerd|crio|docker):`)

// cgroupDriverMismatch finds nodes on which kubelet and runtime use different
// cgroup drivers.
func (d *Diagnosis) cgroupDriverMismatch() []*Finding {
	found := newFaults()
	var cgroupfs, systemd *group
	var paths [2]string
	for _, g := range d.groups {
		for i := range g.views {
			path := g.views[i].HostPath
			switch {
			case len(g.tasks) == 0:
			case mixedDriver.MatchString(path):
				f, isNew := found.at(faultKey{hierarchy: "mixed"}, g, g.tasks)
				if isNew {
					f.CgroupNS, f.Hierarchy = g.task().CgroupNS, g.views[i].Hierarchy
					f.Evidence["host_path"] = path
					f.Message = fmt.Sprintf("their cgroup %s is a systemd path that the runtime took for a plain one: the kubelet uses the systemd driver and the runtime cgroupfs, so two managers share one tree", path)
					f.Remedy.Notes = []string{"set the runtime to the systemd driver (SystemdCgroup = true), restart it, and drain the node"}
				}
			case strings.HasPrefix(path, "/kubepods/"):
				cgroupfs, paths[0] = g, path
			case strings.HasPrefix(path, "/kubepods.slice/"):
				systemd, paths[1] = g, path
			}
		}
	}
	if len(found.list) == 0 && cgroupfs != nil && systemd != nil {
		f, _ := found.at(faultKey{hierarchy: "both"}, cgroupfs, cgroupfs.tasks)
		f.PIDs = merge(f.PIDs, pids(systemd.tasks))
		f.Severity = Warning
		f.Evidence["host_path"], f.Evidence["systemd_path"] = paths[0], paths[1]
		f.Message = fmt.Sprintf("pods live both below /kubepods and below /kubepods.slice (%s, %s): two cgroup drivers were used on this node, perhaps one before the other", paths[0], paths[1])
		f.Remedy.Notes = []string{"if it is not being drained, set kubelet and runtime to the same driver and restart both"}
	}
	return found.list
}

// namespaceWithoutProcess tells of cgroup namespaces that no process is in, but
// a bind mount or an open file keeps.
func (d *Diagnosis) namespaceWithoutProcess() []*Finding {
	where := map[uint64][]string{}
	for key, table := range d.host.Tables {
		for _, m := range table.Namespaces {
			place := fmt.Sprintf("bind mount at %s in mount namespace %d", m.MountPoint, key.MntNS)
			if d.namespace(m.NS) == nil && !slices.Contains(where[m.NS], place) {
				where[m.NS] = append(where[m.NS], place)
			}
		}
	}
	for _, o := range d.facts.open {
		if d.namespace(o.NS) == nil {
			where[o.NS] = append(where[o.NS], fmt.Sprintf("file %d of process %d", o.FD, o.PID))
		}
	}
	delete(where, d.host.Reader.CgroupNS)
	delete(where, inspect.InitialCgroupNS)
	var list []*Finding
	for ns, places := range where {
		sort.Strings(places)
		list = append(list, &Finding{
			CgroupNS: ns, PIDs: []int{}, Evidence: map[string]any{"kept_by": places},
			Message: fmt.Sprintf("cgroup namespace %d has no process that could be seen, but is kept by %s", ns, strings.Join(firstOf(places), ", ")),
			Verify:  []string{"nsinspect", "doctor"},
		})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].CgroupNS < list[j].CgroupNS })
	return list
}

// firstOf names the first few of a list, and how many more there are: a bind
// mount is in every mount namespace that was made since.
func firstOf(list []string) []string {
	const most = 3
	if len(list) <= most {
		return list
	}
	return append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
}
