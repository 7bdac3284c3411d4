// Package compare judges what package inspect read: it does the arithmetic of
// cgroup paths, finds cgroup root directories, gives verdicts on mounts, and
// runs the checks. It is pure: it reads no file, enters no namespace and prints
// nothing.
package compare

import (
	"strings"

	"nsinspect/inspect"
)

// A path as a reader sees it is some levels up from the reader's own cgroup
// root directory, and then names: "/../../a/b". This is how
// kernfs_path_from_node in fs/kernfs/dir.c renders every cgroup's path, so ".."
// only ever leads.

// split returns how many levels up a path begins, and the names behind.
func split(path string) (up int, names []string) {
	rest := strings.TrimPrefix(path, "/")
	if rest == "" {
		return 0, nil
	}
	names = strings.Split(rest, "/")
	for len(names) > 0 && names[0] == ".." {
		up++
		names = names[1:]
	}
	return up, names
}

// join is the inverse of split.
func join(up int, names []string) string {
	if up == 0 && len(names) == 0 {
		return "/"
	}
	var b strings.Builder
	for range up {
		b.WriteString("/..")
	}
	for _, name := range names {
		b.WriteByte('/')
		b.WriteString(name)
	}
	return b.String()
}

// Rel returns how path looks from inside a cgroup namespace whose cgroup root
// directory is root, both as one reader sees them. ok is false where that takes
// names that the reader cannot know: those of its own root's ancestors.
func Rel(root, path string) (view string, ok bool) {
	if root == "/" {
		return path, true
	}
	if root == path {
		return "/", true
	}
	rootUp, rootNames := split(root)
	pathUp, pathNames := split(path)
	if pathUp < rootUp {
		return "", false
	}
	if pathUp > rootUp {
		// Where a path leaves the reader's own line of ancestors, its next name
		// is not of that line, so the two part there.
		return join(len(rootNames)+pathUp-rootUp, pathNames), true
	}
	common := 0
	for common < len(rootNames) && common < len(pathNames) && rootNames[common] == pathNames[common] {
		common++
	}
	return join(len(rootNames)-common, pathNames[common:]), true
}

// Constrain returns what one cgroup's two paths say of the namespace's cgroup
// root directory: host as the reader sees it, view as a member of the namespace
// does. The root lies below levels below base, and if below is 0, it is base.
// ok is false if the two are not of one cgroup, as after a move between the
// two readings.
func Constrain(host, view string) (base string, below int, ok bool) {
	if view == "/" {
		return host, 0, true
	}
	below, tail := split(view)
	up, names := split(host)
	n := min(len(tail), len(names))
	for i := 1; i <= n; i++ {
		if tail[len(tail)-i] != names[len(names)-i] {
			return "", 0, false
		}
	}
	if len(tail) > len(names) {
		// The namespace knows names of the reader's own ancestors.
		return join(up+len(tail)-len(names), nil), below, true
	}
	return join(up, names[:len(names)-len(tail)]), below, true
}

// Above tells whether a mount root in a namespace's view is only "..": a
// directory above the namespace's root.
func Above(view string) bool {
	up, names := split(view)
	return up > 0 && len(names) == 0
}

// Contains tells whether the cgroup at path is the directory dir or lies below
// it, both in one reader's view.
func Contains(dir, path string) bool {
	dirUp, dirNames := split(dir)
	pathUp, pathNames := split(path)
	if len(dirNames) == 0 {
		return pathUp <= dirUp
	}
	if dirUp != pathUp || len(pathNames) < len(dirNames) {
		return false
	}
	for i, name := range dirNames {
		if pathNames[i] != name {
			return false
		}
	}
	return true
}

// below returns path relative to dir, which contains it, as a path below a
// mount: "." or "a/b". ok is false where that takes unknown names.
func below(dir, path string) (string, bool) {
	if !Contains(dir, path) {
		return "", false
	}
	view, ok := Rel(dir, path)
	if !ok || inspect.Outside(view) {
		return "", false
	}
	if rel := strings.TrimPrefix(view, "/"); rel != "" {
		return rel, true
	}
	return ".", true
}

// lower is the inverse of below.
func lower(dir, rel string) string {
	if rel == "." {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + rel
}
