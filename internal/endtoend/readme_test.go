package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	lt "nsinspect/internal/livetest"
)

// TestReadmeOneLiners runs the jq commands of the README on the recorded tree in
// which 24437 sees a stale mount. The expected lines follow from the files there:
// its freezer mount has the root /.. and its path is /; no other namespace can be
// entered in a recorded tree, and no commands are given for it.
func TestReadmeOneLiners(t *testing.T) {
	lt.Need(t, lt.Programs("jq"))
	want := []string{
		"error\tstale-mount-root\tfreezer\t24437\t/sys/fs/cgroup/freezer\n",
		"",
		"1 cgroup namespace: a recorded procfs has no namespaces to enter\n",
		"2 4026531835 systemd\n1 4026532611 bash\n",
		"freezer / stale\n",
	}
	commands := jqCommands(t)
	if len(commands) != len(want) {
		t.Fatalf("%d commands, want %d", len(commands), len(want))
	}
	tree, err := filepath.Abs("testdata/proc/stale-inside")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range commands {
		if out := oneLiner(t, line, "NSINSPECT_PROC="+tree); out != want[i] {
			t.Errorf("%s\nprinted %q, want %q", line, out, want[i])
		}
	}
}

// TestLiveReadmeRemedy pastes what the README's second one-liner prints.
func TestLiveReadmeRemedy(t *testing.T) {
	lt.Need(t, lt.Programs("jq"))
	b := newTextbook(t, "freezer", "private")
	stale := staleByKernel(t, b.shell.PID)
	remedies := oneLiner(t, jqCommands(t)[1])
	for _, block := range strings.SplitAfter(remedies, "'\n") {
		if strings.Contains(block, fmt.Sprintf("'-t' '%d'", b.shell.PID)) {
			paste(t, block)
		}
	}
	if left := staleByKernel(t, b.shell.PID); len(stale) == 0 || len(left) > 0 {
		t.Errorf("%v were stale and %v are, after\n%s", stale, left, remedies)
	}
}

// oneLiner runs a command line of a shell that knows nsinspect.
func oneLiner(t *testing.T, line string, env ...string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", "nsinspect() { "+lt.Binary(t)+` "$@"; }; `+line)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// jqCommands are the commands of the README's section on jq.
func jqCommands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok1 := strings.Cut(string(text), "\n## With jq\n")
	_, block, ok2 := strings.Cut(section, "```\n")
	block, _, ok3 := strings.Cut(block, "```")
	if !ok1 || !ok2 || !ok3 {
		t.Fatal("README.md has no block of commands below \"With jq\"")
	}
	var commands []string
	for line := range strings.Lines(block) {
		if strings.HasPrefix(line, "nsinspect ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}
