package inspect

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// Only leaves in the capture these processes and what their verdicts need: the
// processes that were looked at one by one, the members of their namespaces but
// the reader's, the reader itself, and PID 1.
func (r *Recording) Only(pids []int) {
	c := r.capture
	c.only = slices.Sorted(slices.Values(pids))
	cgroup, mnt := map[uint64]bool{}, map[uint64]bool{}
	for id, t := range c.tasks {
		if slices.Contains(pids, id.pid) {
			cgroup[t.ns("cgroup")], mnt[t.ns("mnt")] = true, true
		}
	}
	delete(cgroup, 0)
	delete(mnt, 0)
	if reader := c.tasks[taskID{c.reader.PID, c.reader.PID}]; reader != nil {
		delete(cgroup, reader.ns("cgroup"))
		delete(mnt, reader.ns("mnt"))
	}
	keep := map[int]bool{1: true, c.reader.PID: true}
	for id, t := range c.tasks {
		if slices.Contains(pids, id.pid) || r.tree.noted.has(id.pid) || cgroup[t.ns("cgroup")] || mnt[t.ns("mnt")] {
			keep[id.pid] = true
		}
	}
	for id := range c.tasks {
		if !keep[id.pid] {
			delete(c.tasks, id)
		}
	}
	for pid := range c.open {
		if !keep[pid] {
			delete(c.open, pid)
		}
	}
	c.index()
}

// Write writes the capture as a tar archive. Its entries are of the given time
// and of nobody in particular.
func (r *Recording) Write(w io.Writer, at time.Time) error {
	p := &packer{capture: r.capture, tar: tar.NewWriter(w), time: at, tables: map[tableText]bool{}, errs: map[string]string{}}
	for _, step := range []func() error{p.top, p.tasks, p.views, p.answers, p.tar.Close} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// packer writes one archive.
type packer struct {
	capture *capture
	tar     *tar.Writer
	time    time.Time
	tables  map[tableText]bool // those written
	errs    map[string]string
	entries int
	bytes   int64
}

// header begins an entry, if whoever reads the archive would accept it.
func (p *packer) header(h *tar.Header) error {
	p.entries++
	p.bytes += 512 + (h.Size+511)/512*512
	if p.entries > maxCaptureEntries || p.bytes > maxCaptureArchive {
		return fmt.Errorf("the capture takes more than %d files or %d MiB; choose processes with --pid", maxCaptureEntries, maxCaptureArchive>>20)
	}
	h.ModTime, h.Mode = p.time, 0o444
	return p.tar.WriteHeader(h)
}

func (p *packer) file(name, text string) error {
	if err := p.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := io.WriteString(p.tar, text)
	return err
}

func (p *packer) link(name, text string) error {
	return p.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: text})
}

func (p *packer) top() error {
	if p.capture.self != "" {
		if err := p.link("proc/self", p.capture.self); err != nil {
			return err
		}
	}
	for _, name := range topFileNames {
		if text, ok := p.capture.top[name]; ok {
			if err := p.file("proc/"+name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packer) tasks() error {
	for _, id := range p.capture.ordered() {
		if err := p.task("proc/"+id.dir(), p.capture.tasks[id]); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) task(dir string, t *taskFiles) error {
	for _, name := range taskLinkNames {
		if text, ok := t.links[name]; ok {
			if err := p.link(dir+"/"+name, text); err != nil {
				return err
			}
		}
	}
	for _, name := range taskFileNames {
		text, ok := t.files[name]
		if key, known := t.table(); name == "mountinfo" && !ok && known && !p.tables[key] && t.errs[name] == nil {
			text, ok = p.capture.tables[key]
			p.tables[key] = ok
		}
		if ok {
			if err := p.file(dir+"/"+name, text); err != nil {
				return err
			}
		}
	}
	for name, err := range t.errs {
		if name == "" {
			p.errs[dir] = errorText(err)
		} else {
			p.errs[dir+"/"+name] = errorText(err)
		}
	}
	return nil
}

// views writes each view under a process that has it, and is in the capture.
func (p *packer) views() error {
	has := map[string]map[string]taskID{"cgroup": {}, "mountinfo": {}}
	lives := map[uint64]bool{}
	for _, id := range p.capture.ordered() {
		t := p.capture.tasks[id]
		lives[t.ns("cgroup")] = true
		texts := map[string]string{"cgroup": t.files["cgroup"]}
		texts["mountinfo"], _ = p.capture.mountinfo(t)
		for name, text := range texts {
			if _, ok := has[name][text]; !ok && text != "" {
				has[name][text] = id
			}
		}
	}
	var list []uint64
	for ns := range p.capture.views {
		if lives[ns] {
			list = append(list, ns)
		}
	}
	slices.Sort(list)
	for _, ns := range list {
		for _, name := range []string{"cgroup", "mountinfo"} {
			if err := p.viewsOf(ns, name, has[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packer) viewsOf(ns uint64, name string, has map[string]taskID) error {
	texts := map[taskID]string{}
	var ids []taskID
	for outside, v := range p.capture.views[ns].named(name) {
		if id, ok := has[outside]; ok {
			texts[id] = v.text
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareTasks)
	for _, id := range ids {
		if err := p.file("views/"+strconv.FormatUint(ns, 10)+"/"+id.dir()+"/"+name, texts[id]); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) answers() error {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	if err := out.Encode(p.capture.give(p.errs)); err != nil {
		return err
	}
	if text.Len() > maxCaptureFile {
		return fmt.Errorf("the answers take more than %d MiB; choose processes with --pid", maxCaptureFile>>20)
	}
	return p.file(answersName, text.String())
}
