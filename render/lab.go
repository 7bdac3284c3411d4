package render

import (
	"fmt"
	"io"
	"strings"
)

// Lab is a walk through the textbook's example.
type Lab struct {
	Hierarchy string
	Steps     []Step
	// Kept is what to look at while the lab waits; nil if it does not.
	Kept *Kept
}

// Step is one step of a walk. Command is the shell command that it equals,
// Answer what the kernel really said, OK whether that was Expected.
type Step struct {
	Number                    int
	Title                     string
	Where                     string
	Command, Expected, Answer string
	OK                        bool
	Note                      string
}

// Kept is what a lab keeps for another terminal: the processes in sub, in sub2
// and outside both, and the commands to try.
type Kept struct {
	Hierarchy          string
	MountPoint, Cgroup string
	Sub, Sub2, Outside int
	Commands           [][]string
}

// LabStep writes a step: what it does, the command that it equals, and what the
// kernel answered.
func LabStep(w io.Writer, s Step, o Options) error {
	var b strings.Builder
	prose(&b, fmt.Sprintf("%2d  ", s.Number), Text(s.Title), "    ", o)
	prompt := "#"
	if s.Where != "host" {
		prompt = s.Where + "#"
	}
	fmt.Fprintf(&b, "    %s %s\n", prompt, Text(s.Command))
	for _, line := range strings.Split(strings.TrimRight(s.Answer, "\n"), "\n") {
		if line != "" {
			fmt.Fprintf(&b, "    %s\n", Text(line))
		}
	}
	if !s.OK {
		prose(&b, "    ", "not the answer that was expected: "+Text(s.Expected), "    ", o)
	}
	if s.Note != "" {
		prose(&b, "    ", "("+Text(s.Note)+")", "    ", o)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// LabKept writes what to try in another terminal.
func LabKept(w io.Writer, k Kept, o Options) error {
	var b strings.Builder
	prose(&b, "", fmt.Sprintf("kept in %s: process %d in sub, %d in sub2, %d outside both", Text(k.Cgroup), k.Sub, k.Sub2, k.Outside), "  ", o)
	b.WriteString("try in another terminal:\n")
	for _, argv := range k.Commands {
		fmt.Fprintf(&b, "  %s\n", Shell(argv))
	}
	b.WriteString("Ctrl-C ends the lab and removes all that it made\n")
	_, err := io.WriteString(w, b.String())
	return err
}

type jsonStep struct {
	Number         int     `json:"number"`
	Title          string  `json:"title"`
	Where          string  `json:"where"`
	Command        string  `json:"command"`
	CommandBase64  string  `json:"command_base64,omitempty"`
	Expected       string  `json:"expected"`
	ExpectedBase64 string  `json:"expected_base64,omitempty"`
	Answer         string  `json:"answer"`
	AnswerBase64   string  `json:"answer_base64,omitempty"`
	OK             bool    `json:"ok"`
	Note           *string `json:"note"`
}

type jsonKept struct {
	Hierarchy        string     `json:"hierarchy"`
	MountPoint       string     `json:"mount_point"`
	MountPointBase64 string     `json:"mount_point_base64,omitempty"`
	Cgroup           string     `json:"cgroup"`
	CgroupBase64     string     `json:"cgroup_base64,omitempty"`
	Sub              int        `json:"sub"`
	Sub2             int        `json:"sub2"`
	Outside          int        `json:"outside"`
	Commands         [][]string `json:"commands"`
}

// LabJSON writes a walk as one document.
func LabJSON(w io.Writer, l Lab) error {
	document := struct {
		SchemaVersion int        `json:"schema_version"`
		Hierarchy     string     `json:"hierarchy"`
		Steps         []jsonStep `json:"steps"`
		Kept          *jsonKept  `json:"kept"`
	}{schemaVersion, l.Hierarchy, []jsonStep{}, nil}
	for _, s := range l.Steps {
		j := jsonStep{
			Number: s.Number, Title: s.Title, Where: s.Where, Command: s.Command, Expected: s.Expected,
			Answer: s.Answer, OK: s.OK, Note: orNull(s.Note),
		}
		_, j.CommandBase64 = text(s.Command)
		_, j.ExpectedBase64 = text(s.Expected)
		_, j.AnswerBase64 = text(s.Answer)
		document.Steps = append(document.Steps, j)
	}
	if k := l.Kept; k != nil {
		document.Kept = &jsonKept{
			Hierarchy: k.Hierarchy, MountPoint: k.MountPoint, Cgroup: k.Cgroup,
			Sub: k.Sub, Sub2: k.Sub2, Outside: k.Outside, Commands: k.Commands,
		}
		_, document.Kept.MountPointBase64 = text(k.MountPoint)
		_, document.Kept.CgroupBase64 = text(k.Cgroup)
	}
	return writeJSON(w, document)
}
