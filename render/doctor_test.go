package render

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"nsinspect/compare"
	"nsinspect/inspect"
)

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// TestDoctorOnTerminal: what is read is broken between words to fit a terminal,
// what is pasted is not, and into a pipe nothing is.
func TestDoctorOnTerminal(t *testing.T) {
	const (
		message = "its root is /.. in their view: it shows the tree above /wörter, so what they read and write there is not theirs at all"
		command = "nsenter -t 24437 -C -- mount -N 24437 -t cgroup -o freezer freezer /sys/fs/cgroup/a/long/way/down"
		remount = "nsinspect remount 24437 --apply"
	)
	report := found(63, 0, "stale-mount-root", compare.Error, 1, "cgroup-driver-mismatch", compare.Warning, 1, "incomplete", compare.Info, 1)
	f := &report.Findings[0]
	f.PID, f.PIDs, f.Message = 24437, []int{24437}, message
	f.Remedy = compare.Remedy{
		Steps: [][]string{strings.Fields(command)}, Command: strings.Fields(remount),
		Notes: []string{"no other cgroup namespace uses this mount namespace"},
	}
	report.Findings[1].Message, report.Findings[2].Message = message, message
	print := func(width int) string {
		var b, painted strings.Builder
		if err := errors.Join(DoctorText(&b, report, Options{Width: width}), DoctorText(&painted, report, Options{Width: width, Color: true})); err != nil {
			t.Fatal(err)
		}
		if bare := escapes.ReplaceAllString(painted.String(), ""); bare != b.String() || bare == painted.String() {
			t.Errorf("in colours it is\n%s\nand else\n%s", bare, b.String())
		}
		return b.String()
	}
	wide := print(0)
	if strings.Count(wide, message+"\n") != 3 {
		t.Errorf("into a pipe it is\n%s", wide)
	}
	for _, width := range []int{60, 80, 100} {
		text := print(width)
		_, below, _ := strings.Cut(text, "\n") // the verdict is one line, of 80 bytes at most
		for line := range strings.Lines(below) {
			if n := utf8.RuneCountInString(line) - 1; n > width && !strings.Contains(line, "nsenter") {
				t.Errorf("%d columns on %d: %s", n, width, line)
			}
		}
		if !strings.Contains(text, command+" || {") || !strings.Contains(text, "\n           "+remount+"\n") {
			t.Errorf("on %d columns the command is broken:\n%s", width, text)
		}
		if words := strings.Join(strings.Fields(text), " "); strings.Count(words, message) != 3 {
			t.Errorf("on %d columns words are lost:\n%s", width, text)
		}
	}
}

// TestDoctorHostile: no name from outside acts on the terminal or makes a line,
// wherever it stands.
func TestDoctorHostile(t *testing.T) {
	const evil = "/x\x1b]0;pwn\a\nerror    y\xff"
	report := found(63, 0, "stale-mount-root", compare.Error, 1, "tighter-ancestor-limit", compare.Warning, 1)
	for i := range report.Findings {
		f := &report.Findings[i]
		f.PID, f.PIDs, f.Command, f.Message = 7, []int{7}, evil, evil
		f.Hierarchy = &inspect.Hierarchy{Label: evil}
		f.Evidence = map[string]any{"not_confirmed": evil}
		f.Remedy = compare.Remedy{Notes: []string{evil}, Command: []string{"nsinspect", evil}, Steps: [][]string{{"umount", evil}, {"sh", "-c", evil}}}
		f.Verify = []string{"nsinspect", evil}
	}
	report.Findings[0].Mount = &compare.MountView{Mount: inspect.Mount{MountPoint: evil}}
	var b strings.Builder
	if err := DoctorText(&b, report, Options{Wide: true}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "error    y") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\a\n") || !utf8.ValidString(line) {
			t.Errorf("%q", line)
		}
	}
	if n := strings.Count(b.String(), `/x\033]0;pwn\007\012error    y\377`); n != 17 {
		t.Errorf("the name is there %d times:\n%s", n, b.String())
	}
}
