package inspect

import (
	"slices"
	"strconv"
	"strings"
)

// entry is what the name of an entry means.
type entry struct {
	ns   uint64 // of a view; 0: it is what the reader reads
	task taskID // none at the top of the procfs
	file string // below the task's directory, or the procfs
}

func (p entry) isLink() bool {
	return p.ns == 0 && (p.file == "self" || slices.Contains(taskLinkNames, p.file))
}

// parseEntry knows every name that an entry may have:
//
//	proc/self  proc/uptime  proc/sys/kernel/hostname  proc/sys/kernel/osrelease
//	proc/PID/FILE  proc/PID/task/TID/FILE
//	views/NS/PID/FILE  views/NS/PID/task/TID/FILE
//	answers.json
func parseEntry(name string) (p entry, ok bool) {
	if name == answersName {
		return entry{file: name}, true
	}
	top, rest, _ := strings.Cut(name, "/")
	files := taskFileNames
	switch top {
	case "proc":
		if rest == "self" || slices.Contains(topFileNames, rest) {
			return entry{file: rest}, true
		}
		files = slices.Concat(files, taskLinkNames)
	case "views":
		var ns string
		ns, rest, _ = strings.Cut(rest, "/")
		n, err := strconv.ParseUint(ns, 10, 64)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != ns {
			return entry{}, false
		}
		p.ns, files = n, []string{"cgroup", "mountinfo"}
	default:
		return entry{}, false
	}
	pid, rest, _ := strings.Cut(rest, "/")
	if p.task.pid, ok = parseID(pid); !ok {
		return entry{}, false
	}
	p.task.tid, p.file = p.task.pid, rest
	if tid, file, ok := strings.Cut(strings.TrimPrefix(rest, "task/"), "/"); ok && strings.HasPrefix(rest, "task/") {
		if p.task.tid, ok = parseID(tid); !ok || p.task.tid == p.task.pid {
			return entry{}, false
		}
		p.file = file
	}
	return p, slices.Contains(files, p.file)
}

func parseID(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n <= maxCapturePID && strconv.Itoa(n) == text
}

// parseFailure knows the names that errors have in answers.json: those of a
// task's files, its directory (the file is "") and that of its threads.
func parseFailure(name string) (id taskID, file string, ok bool) {
	if p, ok := parseEntry(name); ok {
		return p.task, p.file, p.ns == 0 && p.task != taskID{}
	}
	dir, isTask := strings.CutSuffix(name, "/task")
	if isTask {
		file = "task"
	}
	p, ok := parseEntry(dir + "/stat")
	return p.task, file, ok
}
