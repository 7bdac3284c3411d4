package lab

import (
	"cmp"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is where execvp(3) looks without a PATH (confstr(3), _CS_PATH).
const defaultPath = "/bin:/usr/bin"

// lookUp finds a program as execvp(3) does, by the PATH of this environment: an
// empty element of it is the current directory, and one in which the program may
// not be executed is passed over, but tells why there is none if no other is found.
func lookUp(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, executable(program)
	}
	if program == "" {
		return "", exec.ErrNotFound
	}
	why := exec.ErrNotFound
	for _, dir := range strings.Split(pathOf(env), ":") {
		path := cmp.Or(dir, ".") + "/" + program
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if err != unix.ENOENT && err != unix.ENOTDIR {
			why = err
		}
	}
	return "", why
}

// pathOf is the first PATH of an environment, as getenv(3) finds it.
func pathOf(env []string) string {
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			return list
		}
	}
	return defaultPath
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
