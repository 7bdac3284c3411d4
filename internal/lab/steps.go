package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// all goes through the example, step by step, until one fails or tells it to
// stop. clear is for what it leaves.
func (w *walk) all() error {
	steps := []func() error{
		w.makeCgroups, w.giveCPUs, w.startOutside, w.startSub2, w.startSub, w.unshare,
		w.readSelf, w.readOutside, w.readSub2, w.readStale, w.readStaleFromHost, w.countStale,
	}
	if w.c.Keep {
		steps = append(steps, w.keep)
	} else {
		steps = append(steps, w.unmount, w.mount, w.readMended, w.readMendedFromHost, w.countMended)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) makeCgroups() error {
	at := w.h.mount.MountPoint
	var err error
	if w.cgroup, err = makeCgroup(at, w.c.prefix); err != nil {
		return err
	}
	for _, name := range []string{"sub", "sub2"} {
		if err := w.cgroup.child(name); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(w.cgroup.path)
	if err != nil {
		return kernelError("list", w.cgroup.path, err)
	}
	var have []string
	for _, e := range entries {
		if e.IsDir() {
			have = append(have, e.Name()+"/")
		}
	}
	lab := quote(w.cgroup.path)
	return w.step(Step{
		Title: "make the cgroups sub and sub2 in one of the lab's own", Where: OnHost,
		Command:  fmt.Sprintf("mkdir -p %s/sub %s/sub2 && cd %s && ls -d */", lab, lab, lab),
		Expected: "sub/ sub2/", Answer: strings.Join(have, " "), OK: slices.Equal(have, []string{"sub/", "sub2/"}),
		Note: "the manual page makes them at the top of the hierarchy; the lab's own cgroup lies between, so that nobody else's is touched",
	})
}

// giveCPUs is for the v1 cpuset hierarchy alone.
func (w *walk) giveCPUs() error {
	if !slices.Contains(w.h.Controllers, "cpuset") {
		return nil
	}
	at, lab := w.h.mount.MountPoint, w.cgroup.path
	for _, pair := range [][2]string{{at, lab}, {lab, filepath.Join(lab, "sub")}, {lab, filepath.Join(lab, "sub2")}} {
		if err := inheritCPUs(pair[0], pair[1]); err != nil {
			return err
		}
	}
	read := func(dir string) string {
		cpus, _ := os.ReadFile(filepath.Join(dir, "cpuset.cpus"))
		mems, _ := os.ReadFile(filepath.Join(dir, "cpuset.mems"))
		return strings.TrimSpace(string(cpus)) + " " + strings.TrimSpace(string(mems))
	}
	want, have := read(at), read(filepath.Join(lab, "sub"))
	return w.step(Step{
		Title: "give them the CPUs and memory nodes of the hierarchy's top", Where: OnHost,
		Command: fmt.Sprintf("cd %s && for d in %s %s/sub %s/sub2; do for f in cpuset.cpus cpuset.mems; do cat $f > $d/$f; done; done; cd %s/sub && echo $(cat cpuset.cpus) $(cat cpuset.mems)",
			quote(at), w.cgroup.name, w.cgroup.name, w.cgroup.name, w.cgroup.name),
		Expected: want, Answer: have, OK: have == want,
		Note: "a new cpuset has none, and then takes no process",
	})
}

func (w *walk) startOutside() error {
	return w.start(&w.outside, "nsinspect-lab", "", "put a process into the lab's cgroup",
		"it stands for the processes above sub, as init does in the manual page")
}

func (w *walk) startSub2() error {
	return w.start(&w.sub2, "nsinspect-sub2", "sub2", "put a process into sub2", "")
}

func (w *walk) startSub() error {
	return w.start(&w.sub, "nsinspect-sub", "sub", "put a process into sub", "this one will get namespaces of its own")
}

// start starts a member, moves it to a cgroup below the lab's and reads where
// it is, as the host sees it.
func (w *walk) start(m **member, name, dir, title, note string) (err error) {
	if *m, err = startMember(name); err != nil {
		return err
	}
	path := filepath.Join(w.cgroup.path, dir)
	if err := join(path, (*m).pid); err != nil {
		return err
	}
	file := fmt.Sprintf("%s/%d/cgroup", w.c.Proc, (*m).pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return kernelError("read", file, err)
	}
	want := w.h.line(w.h.hostPath(filepath.Join(w.cgroup.name, dir)))
	have := w.h.pick(string(text))
	return w.step(Step{
		Title: title, Where: OnHost,
		Command:  fmt.Sprintf("sleep inf & echo $! > %s/cgroup.procs; %s", quote(path), w.h.grep(fmt.Sprintf("%s/%d/cgroup", quote(w.c.Proc), (*m).pid))),
		Expected: want, Answer: have, OK: have == want, Note: note,
	})
}

func (w *walk) unshare() error {
	links := order{Do: doInodes, Path: []byte(w.c.Proc + "/self/ns")}
	before, err := w.demand("read", links)
	if err != nil {
		return err
	}
	const tried = "make new cgroup and mount namespaces"
	if _, err := w.demand(tried, order{Do: doEnter}); errors.Is(err, unix.ENOSPC) {
		return forbidden(w.c.Proc, tried, unix.CLONE_NEWCGROUP|unix.CLONE_NEWNS, err)
	} else if err != nil {
		return err
	}
	after, err := w.demand("read", links)
	if err != nil {
		return err
	}
	had, has := strings.Fields(string(before.Text)), strings.Fields(string(after.Text))
	ok := len(had) == 2 && len(has) == 2 && had[0] != has[0] && had[1] != has[1]
	return w.step(Step{
		Title: "give the process in sub new cgroup and mount namespaces", Where: InSub,
		Command:  "exec unshare --cgroup --mount --propagation private sh -c 'echo $(readlink " + quote(w.c.Proc) + "/self/ns/cgroup " + quote(w.c.Proc) + "/self/ns/mnt)'",
		Expected: "other inodes than " + strings.Join(had, " "), Answer: strings.Join(has, " "), OK: ok,
		Note: "what was its cgroup becomes its cgroup root directory, in every hierarchy",
	})
}

// demand asks the process in sub for what the walk cannot go on without.
func (w *walk) demand(tried string, o order) (report, error) {
	r, err := w.sub.ask(w.ctx, o)
	if err != nil {
		return r, err
	}
	if err := r.failure(); err != nil {
		return r, kernelError(tried, string(o.Path), err)
	}
	return r, nil
}

func (w *walk) unmount() error {
	r, err := w.sub.ask(w.ctx, order{Do: doUmount, Path: []byte(w.h.mount.MountPoint)})
	if err != nil {
		return err
	}
	// Seen from a user namespace, mounts made outside of it are one whole that
	// cannot be taken apart (MNT_LOCKED in fs/namespace.c).
	if err := r.failure(); errors.Is(err, unix.EINVAL) {
		return &Error{Kind: ErrPrivilege, Tried: "unmount", On: w.h.mount.MountPoint, Err: err,
			Next: "in a user namespace, mounts inherited from outside are locked: run it as root on the host"}
	}
	command := "umount "
	if r.Lazy {
		command = "umount -l " // a plain one was busy
	}
	return w.change("take the inherited mount away, inside", command+quote(w.h.mount.MountPoint), r,
		"its mount namespace is private: the host keeps its mount")
}

func (w *walk) mount() error {
	inodes, err := inodes(w.c.Proc + "/thread-self/ns")
	if err != nil {
		return kernelError("read", w.c.Proc+"/thread-self/ns", err)
	}
	fstype, source := w.h.fstype()
	flags, _ := w.h.flags()
	r, err := w.sub.ask(w.ctx, order{Do: doRemake, Path: []byte(w.h.mount.MountPoint), FSType: fstype, Source: source,
		Data: w.h.super(), Flags: flags, Outside: strings.Fields(inodes)[0]})
	if err != nil {
		return err
	}
	return w.change("mount the hierarchy again, inside", w.h.mountCommand(), r,
		"a new mount shows the tree from the cgroup root directory of whoever mounts")
}

// change tells a step that answers with nothing but success.
func (w *walk) change(title, command string, r report, note string) error {
	const done = "0"
	answer := done
	if err := r.failure(); err != nil {
		answer = err.Error()
	}
	return w.step(Step{Title: title, Where: InSub, Command: command + "; echo $?",
		Expected: done, Answer: answer, OK: answer == done, Note: note})
}

// keep hands out what there is to look at, and waits for the end.
func (w *walk) keep() error {
	sub, sub2, outside := fmt.Sprint(w.sub.pid), fmt.Sprint(w.sub2.pid), fmt.Sprint(w.outside.pid)
	k := Kept{
		Hierarchy: w.h.Label, MountPoint: w.h.mount.MountPoint, Cgroup: w.h.hostPath(w.cgroup.name),
		Sub: w.sub.pid, Sub2: w.sub2.pid, Outside: w.outside.pid,
		Commands: [][]string{
			{"nsinspect", "compare", sub, outside, sub2},
			{"nsinspect", "doctor", sub},
			{"nsinspect", "remount", sub},
			{"nsinspect", "remount", sub, "--apply"},
		},
	}
	if w.c.Kept != nil {
		if w.told = w.c.Kept(k); w.told != nil {
			return w.told
		}
	}
	select {
	case <-w.ctx.Done():
		return w.ended()
	case <-w.sub.gone:
		return w.sub.died()
	case <-w.sub2.gone:
		return w.sub2.died()
	case <-w.outside.gone:
		return w.outside.died()
	}
}

// ended is why the waiting ended: nothing if it was by a Ctrl-C or by the
// caller, as it should.
func (w *walk) ended() error {
	var by *Interrupted
	if errors.As(context.Cause(w.ctx), &by) && by.Signal != unix.SIGINT {
		return by
	}
	return nil
}
