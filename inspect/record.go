package inspect

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// RecordOptions says what goes into a capture.
type RecordOptions struct {
	// Cmdline takes in the command lines, which may hold secrets.
	Cmdline bool
}

// Recording is a capture that is being made.
type Recording struct {
	capture *capture
	tree    *replayTree
	fs      *FS
}

// Record takes a picture of all processes, with the views from within their
// cgroup namespaces.
func (f *FS) Record(ctx context.Context, o RecordOptions) (*Recording, error) {
	return f.recordWithin(ctx, o, maxCaptureTables)
}

func (f *FS) recordWithin(ctx context.Context, o RecordOptions, tables int64) (*Recording, error) {
	r := &recorder{FS: f, options: o, capture: newCapture(), room: tables}
	r.capture.reader = f.Reader
	r.atTop()
	if err := r.processes(ctx); err != nil {
		return nil, err
	}
	if err := r.settleYoung(ctx); err != nil {
		return nil, err
	}
	if err := r.within(ctx); err != nil {
		return nil, err
	}
	r.names()
	r.capture.index()
	tree := newReplayTree(r.capture)
	tree.answers = newRecordSystem(f, r.capture)
	tree.noted = &notes{pids: map[int]bool{}}
	fs := newFS(tree, f.jobs)
	fs.scanning = tree.noted.pause
	return &Recording{capture: r.capture, tree: tree, fs: fs}, nil
}

// FS reads from the picture. What is not in it, since no procfs holds it, is
// asked of the system that the picture is of, and becomes part of it: whatever
// has been read through FS once can be read from the capture.
func (r *Recording) FS() *FS { return r.fs }

// recorder takes a picture.
type recorder struct {
	*FS
	options RecordOptions
	capture *capture
	mu      sync.Mutex // guards capture and room
	room    int64      // bytes that mount tables may still have
}

func (r *recorder) atTop() {
	r.capture.self, _ = r.tree.link("self")
	for _, name := range topFileNames {
		if text, err := r.tree.read(name); err == nil {
			r.capture.top[name] = string(text)
		}
	}
}

// processes takes in all processes that there are.
func (r *recorder) processes(ctx context.Context) error {
	pids, err := r.allPIDs()
	if err != nil {
		return err
	}
	r.total.Store(int64(len(pids)))
	return r.each(ctx, len(pids), func(i int, buf []byte) {
		r.process(pids[i], buf)
		r.done.Add(1)
	})
}

// process takes in a process, anew if it is there, with those of its threads
// that are elsewhere.
func (r *recorder) process(pid int, buf []byte) {
	taken := map[taskID]*taskFiles{}
	if leader := r.task(taskID{pid, pid}); leader != nil {
		taken[taskID{pid, pid}] = leader
		tasks, _ := r.readProcess(pid, Want{Views: true, Threads: true}, buf)
		for _, t := range tasks {
			if t.TID == pid {
				continue
			}
			if files := r.task(taskID{pid, t.TID}); files != nil {
				taken[taskID{pid, t.TID}] = files
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(pid)
	for id, files := range taken {
		if own, ok := files.files["mountinfo"]; ok && !r.fits(own) {
			files.noRoom()
		}
		r.capture.tasks[id] = files
		if id.tid != id.pid {
			r.capture.threads[pid] = append(r.capture.threads[pid], id.tid)
		}
	}
}

// forget drops a process and its threads. The caller holds the lock.
func (r *recorder) forget(pid int) {
	for _, tid := range append(r.capture.threads[pid], pid) {
		id := taskID{pid, tid}
		if t := r.capture.tasks[id]; t != nil {
			r.release(t.files["mountinfo"])
		}
		delete(r.capture.tasks, id)
	}
	delete(r.capture.threads, pid)
}

// task reads a task's directory until nothing changes meanwhile; nil if it has
// ended.
func (r *recorder) task(id taskID) *taskFiles {
	if r.tree.hides(id.pid) {
		t := newTaskFiles()
		t.errs[""] = errHidden
		return t
	}
	d, err := r.tree.process(id.pid, id.tid)
	if err != nil {
		if gone(err) {
			return nil
		}
		t := newTaskFiles()
		t.errs[""] = err
		return t
	}
	defer d.close()
	var t *taskFiles
	for range maxTries {
		t = r.files(d)
		switch settled, err := r.settled(d, t); {
		case err != nil:
			return nil
		case settled:
			return t
		}
	}
	t.errs["ns/cgroup"] = errMoving
	delete(t.links, "ns/cgroup")
	return t
}

// files reads all files of a task once.
func (r *recorder) files(d dir) *taskFiles {
	t := newTaskFiles()
	for _, name := range taskLinkNames {
		text, err := d.link(name)
		t.keep(t.links, name, text, err)
	}
	for _, name := range taskFileNames {
		switch name {
		case "mountinfo":
			r.mountinfo(d, t)
			continue
		case "cmdline":
			if !r.options.Cmdline {
				continue
			}
		}
		text, err := d.read(name, nil)
		t.keep(t.files, name, string(text), err)
	}
	return t
}

// keep notes what was read, or why it could not be.
func (t *taskFiles) keep(in map[string]string, name, text string, err error) {
	switch {
	case err == nil:
		in[name] = text
	case err != unix.ENOENT:
		t.errs[name] = err
	}
}

// settled tells whether the task still is where it was when t was read. The
// error says that it has ended.
func (r *recorder) settled(d dir, t *taskFiles) (bool, error) {
	for _, name := range []string{"ns/cgroup", "ns/mnt", "root"} {
		text, err := d.link(name)
		if err == nil && text != t.links[name] || err == unix.ENOENT && t.links[name] != "" {
			return false, nil
		}
	}
	if now, err := d.read("cgroup", nil); err == nil && string(now) != t.files["cgroup"] {
		return false, nil
	}
	var before, now Process
	err := readStat(d, &now)
	if gone(err) && r.tree.live() {
		return false, err
	}
	if err != nil || parseStat([]byte(t.files["stat"]), &before) != nil {
		return true, nil // it is denied, not in a copy, or as odd as it is
	}
	return before.Exiting == now.Exiting, nil
}

// settleYoung reads processes in other cgroup namespaces than the reader's
// again after a moment, if they have only just been started.
func (r *recorder) settleYoung(ctx context.Context) error {
	now, ok := r.uptime()
	if !ok || !r.tree.live() {
		return nil
	}
	young := map[int]bool{}
	for id, t := range r.capture.tasks {
		var p Process
		err := parseStat([]byte(t.files["stat"]), &p)
		if err == nil && now-time.Duration(p.StartTicks)*tick <= settleAge && t.ns("cgroup") != r.Reader.CgroupNS {
			young[id.pid] = true
		}
	}
	if len(young) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settleWait):
	}
	r.again(young)
	return ctx.Err()
}

// again takes processes in anew, with the mount tables that they have.
func (r *recorder) again(pids map[int]bool) {
	stale := map[tableText]bool{}
	for id, t := range r.capture.tasks {
		if key, ok := t.table(); ok && pids[id.pid] {
			stale[key] = true
			r.release(r.capture.tables[key])
			delete(r.capture.tables, key)
		}
	}
	for pid := range pids {
		r.process(pid, nil)
	}
	// Others may have relied on the table that one of these gave.
	for _, id := range r.capture.ordered() {
		t := r.capture.tasks[id]
		if t == nil {
			continue
		}
		if key, ok := t.table(); ok && stale[key] && r.capture.tables[key] == "" {
			r.process(id.pid, nil)
		}
	}
}

// names looks up the users of all processes.
func (r *recorder) names() {
	for _, t := range r.capture.tasks {
		if st, err := parseStatus([]byte(t.files["status"])); err == nil {
			r.capture.users[st.uid] = r.system.userName(st.uid)
		}
	}
}
