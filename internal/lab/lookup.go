package lab

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lookUp finds a program as execvp(3) does, by the PATH of this environment.
func lookUp(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, executable(program)
	}
	for _, v := range env {
		list, ok := strings.CutPrefix(v, "PATH=")
		for _, dir := range filepath.SplitList(list) {
			path := cmp.Or(dir, ".") + "/" + program
			if ok && program != "" && executable(path) == nil {
				return path, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return cause(err)
	case info.IsDir():
		return unix.EISDIR
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
