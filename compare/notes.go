package compare

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"nsinspect/inspect"
)

// visitor tells of processes that entered a namespace from elsewhere, once for
// each namespace.
func (d *Diagnosis) visitor() []*Finding {
	found := newFaults()
	for _, g := range d.groups {
		if len(g.visitors) == 0 {
			continue
		}
		t := g.visitors[0]
		k := faultKey{cgroupNS: t.CgroupNS, mntNS: t.MntNS}
		f, isNew := found.at(k, g, g.visitors)
		if isNew {
			f.Message = "entered this namespace from elsewhere (nsenter, exec, a debug shell), so its cgroup lies outside by design"
			if !g.outside() {
				f.Message = "entered this namespace from elsewhere (nsenter, exec, a debug shell), so its cgroup and its mounts do not belong together by design"
			}
			f.Evidence["host_path"] = outsidePath(g)
		}
	}
	return found.list
}

// outsidePath is the path by which a visitor is told apart.
func outsidePath(g *group) any {
	for i := range g.views {
		if g.views[i].Outside() || g.views[i].Verdict == VerdictUnreachable {
			return g.views[i].HostPath
		}
	}
	return nil
}

// noCgroupMount tells of processes that see no cgroup mount at all. Kernel
// threads have no use for one; devtmpfs's lives in a mount namespace of its own.
func (d *Diagnosis) noCgroupMount() []*Finding {
	found := newFaults()
	for _, g := range d.groups {
		if len(g.tasks) == 0 || !g.mountless() || d.family.kin[g.task().PID].Kernel {
			continue
		}
		t := g.task()
		f, isNew := found.at(faultKey{cgroupNS: t.CgroupNS, mntNS: t.MntNS, root: t.Root}, g, g.tasks)
		if isNew {
			f.Message = "no cgroup mount is visible to them: runtimes size themselves to the whole host (chroots and sandboxes are so by design)"
		}
	}
	return found.list
}

// readerNotInitial tells that the host view is not the host's.
func (d *Diagnosis) readerNotInitial() []*Finding {
	r := d.host.Reader
	if r.CgroupNS == 0 || r.Initial() {
		return nil
	}
	f := &Finding{
		CgroupNS: r.CgroupNS, PID: r.PID, PIDs: []int{}, Evidence: map[string]any{}, task: d.reader(),
		Message: fmt.Sprintf("nsinspect is itself in the private cgroup namespace %d: what is called host view here is that namespace's view, and of other namespaces it can know less", r.CgroupNS),
		Verify:  []string{"nsinspect", "doctor"},
	}
	f.Remedy.Notes = []string{"run it in the initial cgroup namespace to see the host"}
	return []*Finding{f}
}

// incomplete tells what could not be looked at, why, and what would lift it.
func (d *Diagnosis) incomplete() []*Finding {
	missed := d.missed()
	if len(missed) == 0 {
		return nil
	}
	by := map[string][]int{}
	liftable, all := map[int]bool{}, map[int]bool{}
	for _, s := range missed {
		by[s.What+": "+s.Reason] = merge(by[s.What+": "+s.Reason], []int{s.PID})
		all[s.PID] = true
		if Denied(s.Reason) {
			liftable[s.PID] = true
		}
	}
	least := ""
	if d.host.Hidden {
		least = "at least "
	}
	var reasons []string
	for why := range by {
		reasons = append(reasons, why)
	}
	sort.Strings(reasons)
	for i, why := range reasons {
		reasons[i] = some(by[why]) + " (" + why + ")"
	}
	f := &Finding{PIDs: []int{}, Evidence: map[string]any{"processes": len(all)}}
	for pid := range all {
		f.PIDs = append(f.PIDs, pid)
	}
	sort.Ints(f.PIDs)
	f.Message = fmt.Sprintf("%d of %s not looked at: %s", len(all), count(d.processes(), "process", "processes"), strings.Join(reasons, ", "))
	if d.host.Reader.UID != 0 && len(liftable) > 0 {
		f.Message += fmt.Sprintf("; root would see %s%d more", least, len(liftable))
	}
	if len(liftable) > 0 {
		f.Remedy.Notes = []string{ToSee}
	}
	f.Verify = []string{"nsinspect", "doctor"}
	return []*Finding{f}
}

// Denied tells whether a reason is that the reader was not allowed to look.
func Denied(reason string) bool {
	return strings.HasSuffix(reason, "permission denied") || strings.HasSuffix(reason, "operation not permitted")
}

// missed is what was skipped of the processes that are judged. The processes of
// a namespace that could not be entered were all missed.
func (d *Diagnosis) missed() []inspect.Skipped {
	var list []inspect.Skipped
	for _, s := range d.skipped() {
		if s.What != "cgroup namespace" && d.judged(s.PID) {
			list = append(list, s)
		}
	}
	for _, ns := range d.host.Namespaces {
		if ns.Entered {
			continue
		}
		for _, pid := range pids(ns.Members) {
			if d.judged(pid) {
				list = append(list, inspect.Skipped{PID: pid, What: "cgroup namespace", Reason: ns.Reason})
			}
		}
	}
	return list
}

// skipped is what could not be read, first and later.
func (d *Diagnosis) skipped() []inspect.Skipped { return slices.Concat(d.host.Skipped, d.unseen) }

func (d *Diagnosis) judged(pid int) bool { return d.only == nil || d.only[pid] }

// processes counts the processes that were to be judged.
func (d *Diagnosis) processes() int {
	n := 0
	for t := range d.family.tasks.leaders {
		if d.judged(t.PID) {
			n++
		}
	}
	return n
}

// some names the first few of a list of processes.
func some(pids []int) string {
	const most = 5
	var names []string
	for i, pid := range pids {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(pids)-most))
			break
		}
		names = append(names, fmt.Sprint(pid))
	}
	return strings.Join(names, " ")
}
