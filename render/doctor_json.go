package render

import (
	"io"

	"nsinspect/compare"
)

type jsonFinding struct {
	Check         string           `json:"check"`
	Severity      compare.Severity `json:"severity"`
	CgroupNS      *uint64          `json:"cgroup_ns"`
	MntNS         *uint64          `json:"mnt_ns"`
	PID           *int             `json:"pid"`
	PIDs          []int            `json:"pids"`
	Command       *string          `json:"command"`
	CommandBase64 string           `json:"command_base64,omitempty"`
	ID            *int             `json:"id"`
	Hierarchy     *string          `json:"hierarchy"`
	Mount         *jsonMount       `json:"mount"`
	Message       string           `json:"message"`
	MessageBase64 string           `json:"message_base64,omitempty"`
	Evidence      map[string]any   `json:"evidence"`
	Confirmed     *bool            `json:"confirmed"`
	Remedy        jsonRemedy       `json:"remedy"`
	Verify        []string         `json:"verify"`
}

type jsonRemedy struct {
	Steps       [][]string `json:"steps"`
	Command     []string   `json:"command"`
	Notes       []string   `json:"notes"`
	NotesBase64 []string   `json:"notes_base64,omitempty"`
	Safe        *bool      `json:"safe"`
}

type jsonHost struct {
	Kernel *string `json:"kernel"`
	Layout *string `json:"layout"`
}

type jsonCheck struct {
	Check    string `json:"check"`
	Examined int    `json:"examined"`
	Findings int    `json:"findings"`
}

type jsonCoverage struct {
	Processes  int `json:"processes"`
	Namespaces int `json:"namespaces"`
	Entered    int `json:"entered"`
	Skipped    int `json:"skipped"`
}

// DoctorJSON writes a report as one document.
func DoctorJSON(w io.Writer, r *compare.Report) error {
	document := struct {
		jsonHead
		Host     jsonHost      `json:"host"`
		Verdict  string        `json:"verdict"`
		Findings []jsonFinding `json:"findings"`
		Checks   []jsonCheck   `json:"checks"`
		Coverage jsonCoverage  `json:"coverage"`
	}{head(r.Reader, r.Skipped), jsonHost{orNull(r.Kernel), orNull(r.Layout)}, verdict(r), []jsonFinding{}, []jsonCheck{}, jsonCoverage(r.Coverage)}
	for i := range r.Findings {
		document.Findings = append(document.Findings, findingJSON(&r.Findings[i]))
	}
	for _, c := range r.Checks {
		document.Checks = append(document.Checks, jsonCheck(c))
	}
	return writeJSON(w, document)
}

func findingJSON(f *compare.Finding) jsonFinding {
	j := jsonFinding{
		Check: f.Check, Severity: f.Severity, CgroupNS: number(f.CgroupNS), MntNS: number(f.MntNS), PID: number(f.PID),
		PIDs: list(f.PIDs), Mount: mount(f.Mount), Message: f.Message, Evidence: evidence(f.Evidence), Confirmed: f.Confirmed,
		Remedy: jsonRemedy{Steps: list(f.Remedy.Steps), Command: list(f.Remedy.Command), Safe: f.Remedy.Safe},
		Verify: list(f.Verify),
	}
	j.Remedy.Notes, j.Remedy.NotesBase64 = texts(f.Remedy.Notes)
	j.Command, j.CommandBase64 = text(f.Command)
	if _, bytes := text(f.Message); bytes != "" {
		j.MessageBase64 = bytes
	}
	if f.Hierarchy != nil {
		j.ID, j.Hierarchy = &f.Hierarchy.ID, &f.Hierarchy.Label
	}
	return j
}

// evidence gives what is no UTF-8 among it, also in a list, its bytes beside.
func evidence(e map[string]any) map[string]any {
	out := make(map[string]any, len(e))
	for k, v := range e {
		out[k] = v
		switch v := v.(type) {
		case string:
			if _, bytes := text(v); bytes != "" {
				out[k+"_base64"] = bytes
			}
		case []string:
			if _, bytes := texts(v); bytes != nil {
				out[k+"_base64"] = bytes
			}
		}
	}
	return out
}
