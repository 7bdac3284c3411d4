package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// machine says what was measured on and with, without naming the host.
func machine(tool string) string {
	var parts []string
	var u syscall.Utsname
	if err := syscall.Uname(&u); err == nil {
		release := make([]byte, len(u.Release))
		for i, c := range u.Release {
			release[i] = byte(c)
		}
		release, _, _ = bytes.Cut(release, []byte{0})
		parts = append(parts, "Linux "+string(release))
	}
	parts = append(parts, fmt.Sprintf("%d × %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name")),
		"memory "+field("/proc/meminfo", "MemTotal"))
	for _, argv := range [][]string{{tool, "--version"}, {"lsns", "--version"}, {"strace", "--version"}} {
		parts = append(parts, version(argv))
	}
	return strings.Join(append(parts, runtime.Version()), ", ")
}

// field is the first value of a name in a file of "name: value" lines.
func field(path, want string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == want {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// version is the first line that a program says of itself.
func version(argv []string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return argv[0] + " of an unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.Replace(line, " -- version ", " ", 1) // as strace has it
}
