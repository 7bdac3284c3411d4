package lab

import (
	"fmt"
	"path/filepath"
	"strings"

	"nsinspect/inspect"
)

func (w *walk) readSelf() error {
	return w.readInside("self", "/", "read its own cgroup from inside", "its cgroup is the root of what it can see")
}

func (w *walk) readOutside() error {
	return w.readInside(fmt.Sprint(w.outside.pid), "/..", "read that of the process above, from inside",
		"what lies outside its root is named by way of ..")
}

func (w *walk) readSub2() error {
	return w.readInside(fmt.Sprint(w.sub2.pid), "/../sub2", "read that of the process in sub2, from inside", "a neighbour")
}

func (w *walk) readInside(pid, path, title, note string) error {
	file := w.c.Proc + "/" + pid + "/cgroup"
	r, err := w.sub.ask(w.ctx, order{Do: doRead, Path: []byte(file)})
	if err != nil {
		return err
	}
	want, have := w.h.line(path), w.h.pick(string(r.Text))
	if err := r.failure(); err != nil {
		have = err.Error()
	}
	return w.step(Step{Title: title, Where: InSub, Command: w.h.grep(quote(file)),
		Expected: want, Answer: have, OK: have == want, Note: note})
}

func (w *walk) readStale() error {
	return w.readMount("/../..", "read the root of its inherited mount, from inside",
		"stale: the mount shows the tree above its root, two levels up here (one in the manual page, where sub is at the top)")
}

func (w *walk) readMended() error {
	return w.readMount("/", "read the root of the new mount, from inside", "the mount now shows the tree that the namespace's paths mean")
}

// readMount asks the process in sub for the line of the mount that it sees.
func (w *walk) readMount(root, title, note string) error {
	return w.tellMount(InSub, "self", root, title, note, func(file string) (string, error) {
		r, err := w.sub.ask(w.ctx, order{Do: doMount, Of: []byte(file), Path: []byte(w.h.mount.MountPoint)})
		if err != nil {
			return "", err
		}
		if err := r.failure(); err != nil {
			return err.Error(), nil
		}
		return string(r.Text), nil
	})
}

func (w *walk) readStaleFromHost() error {
	return w.readMountFromHost(w.h.mount.Root, "read the root of the same mount, from the host",
		"the same line of the same file: the kernel answers for the namespace of whoever reads")
}

func (w *walk) readMendedFromHost() error {
	return w.readMountFromHost(w.h.hostPath(w.cgroup.name+"/sub"), "read the root of the new mount, from the host",
		"seen from here it looks like a bind mount of sub")
}

func (w *walk) readMountFromHost(root, title, note string) error {
	return w.tellMount(OnHost, fmt.Sprint(w.sub.pid), root, title, note, func(file string) (string, error) {
		line, _, err := visibleMount(file, w.h.mount.MountPoint)
		if err != nil {
			return err.Error(), nil
		}
		return line, nil
	})
}

func (w *walk) tellMount(where, pid, root, title, note string, read func(file string) (string, error)) error {
	file := w.c.Proc + "/" + pid + "/mountinfo"
	line, err := read(file)
	if err != nil {
		return err
	}
	have := ""
	if t, err := inspect.ParseMountInfo(strings.NewReader(line + "\n")); err == nil && len(t.Cgroup) == 1 {
		have = t.Cgroup[0].Root
	}
	return w.step(Step{Title: title, Where: where,
		Command:  "grep " + quote(" "+escapeMount(w.h.mount.MountPoint)+" ") + " " + quote(file),
		Expected: "a line whose fourth field is " + root, Answer: line, OK: have == root, Note: note})
}

// escapeMount writes a mount point as mountinfo does (seq_escape).
func escapeMount(s string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(s)
}

func (w *walk) countStale() error {
	return w.count("0", "look for its PID where mount point and path lead, from inside",
		"a tool that joins the two reads another cgroup's files")
}

func (w *walk) countMended() error {
	return w.count("1", "look again for its PID where mount point and path lead, from inside", "now that is its own cgroup")
}

func (w *walk) count(want, title, note string) error {
	file := filepath.Join(w.h.mount.MountPoint, "cgroup.procs")
	r, err := w.sub.ask(w.ctx, order{Do: doCount, Path: []byte(file)})
	if err != nil {
		return err
	}
	have := string(r.Text)
	if err := r.failure(); err != nil {
		have = err.Error()
	}
	return w.step(Step{Title: title, Where: InSub,
		Command:  fmt.Sprintf("grep -cx %d %s", w.sub.pid, quote(file)),
		Expected: want, Answer: have, OK: have == want, Note: note})
}
