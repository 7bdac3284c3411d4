package render

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/fatih/color"

	"nsinspect/compare"
	"nsinspect/docs"
)

// passage is a part of what docs/checks.md says of a check, as Markdown.
type passage struct{ title, text string }

// passageTitle begins one.
var passageTitle = regexp.MustCompile(`(?m)^\*\*([^*]+)\.\*\*`)

// explanation returns the passages of a check's section in their order.
func explanation(check string) []passage {
	_, section, _ := strings.Cut(docs.Checks, "\n## "+check+" (")
	section, _, _ = strings.Cut(section, "\n## ")
	titles := passageTitle.FindAllStringSubmatchIndex(section, -1)
	list := make([]passage, len(titles))
	for i, at := range titles {
		end := len(section)
		if i+1 < len(titles) {
			end = titles[i+1][0]
		}
		list[i] = passage{section[at[2]:at[3]], strings.TrimSpace(section[at[1]:end])}
	}
	return list
}

// ExplainTable writes a line for each check: the first sentence on it.
func ExplainTable(w io.Writer, checks []compare.Check, o Options) error {
	t := table{
		header:   []string{"CHECK", "SEVERITY", "LOOKS FOR"},
		flexible: []int{2},
		lists:    map[int]itemList{2: {separator: " "}},
	}
	for _, c := range checks {
		severity := string(c.Severity)
		if c.Also != "" {
			severity += "," + string(c.Also)
		}
		sentence, _, _ := strings.Cut(explanation(c.Name)[0].text, ". ")
		// The sentence is as it is: awk finds the names before it.
		t.rows = append(t.rows, []string{c.Name, severity, strings.TrimSuffix(sentence, ".")})
	}
	return t.write(w, o)
}

// pageWidth is how wide prose gets, in columns, also on a wider terminal.
const pageWidth = 80

// ExplainText writes what there is to say of a check.
func ExplainText(w io.Writer, c compare.Check, o Options) error {
	width := pageWidth
	if o.Width > 0 {
		width = min(width, o.Width)
	}
	severity := string(c.Severity)
	if c.Also != "" {
		severity += ", also " + string(c.Also)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", colour(c.Name, o, color.Bold), severity)
	for _, p := range explanation(c.Name) {
		fmt.Fprintf(&b, "\n%s\n", colour(p.title, o, color.Bold))
		page(&b, p.text, width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// page sets Markdown for people: prose is wrapped, what stands between fences
// is left as it is, and a little further in.
func page(b *strings.Builder, text string, width int) {
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line == "```":
			fenced = !fenced
		case line == "":
			b.WriteString("\n")
		case fenced:
			fmt.Fprintf(b, "    %s\n", line)
		default:
			wrap(b, "  ", line, "  ", width)
		}
	}
}

type jsonExplanation struct {
	Check           string            `json:"check"`
	Severity        compare.Severity  `json:"severity"`
	Also            *compare.Severity `json:"also"`
	LooksFor        *string           `json:"looks_for"`
	TwoViews        *string           `json:"two_views"`
	WhoIsHurt       *string           `json:"who_is_hurt"`
	HowItComesAbout *string           `json:"how_it_comes_about"`
	WhatMendsIt     *string           `json:"what_mends_it"`
	LeavesAlone     *string           `json:"leaves_alone"`
	WithoutThisTool *string           `json:"without_this_tool"`
}

// ExplainJSON writes the same as one document.
func ExplainJSON(w io.Writer, checks []compare.Check) error {
	document := struct {
		SchemaVersion int               `json:"schema_version"`
		Checks        []jsonExplanation `json:"checks"`
	}{schemaVersion, []jsonExplanation{}}
	for _, c := range checks {
		document.Checks = append(document.Checks, explanationJSON(c))
	}
	return writeJSON(w, document)
}

func explanationJSON(c compare.Check) jsonExplanation {
	j := jsonExplanation{Check: c.Name, Severity: c.Severity}
	if c.Also != "" {
		j.Also = &c.Also
	}
	for _, p := range explanation(c.Name) {
		switch p.title {
		case "Looks for":
			j.LooksFor = &p.text
		case "The two views":
			j.TwoViews = &p.text
		case "Who is hurt":
			j.WhoIsHurt = &p.text
		case "How it comes about":
			j.HowItComesAbout = &p.text
		case "What mends it":
			j.WhatMendsIt = &p.text
		case "What it leaves alone":
			j.LeavesAlone = &p.text
		case "To see it without this tool":
			j.WithoutThisTool = &p.text
		}
	}
	return j
}
