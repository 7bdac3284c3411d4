package main

import (
	"bytes"
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nsinspect/compare"
	"nsinspect/internal/command"
)

// document is one JSON document that a command printed.
type document struct {
	command, from string
	value         any
}

// run runs a command line in this process.
func run(args ...string) (stdout, stderr string, status int) {
	var out, err bytes.Buffer
	status = command.Run(context.Background(), command.Process{
		Args: append([]string{"nsinspect"}, args...), Env: func(string) (string, bool) { return "", false },
		Version: "test", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err,
	})
	return out.String(), err.String(), status
}

// documents are what the commands print for the host that the test runs on, and
// for every process of the recorded trees.
func documents(t *testing.T) []document {
	t.Helper()
	var list []document
	add := func(from string, args ...string) {
		t.Helper()
		line := append(args, "--json")
		if args[0] == "doctor" {
			line = append(line, "--fail-on=never")
		}
		stdout, stderr, status := run(line...)
		if status != 0 {
			t.Fatalf("%v on %s: status %d: %s", args, from, status, stderr)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(stdout))
		if err != nil {
			t.Fatalf("%v on %s: %v", args, from, err)
		}
		list = append(list, document{args[0], from, value})
	}
	trees, err := filepath.Glob("testdata/proc/*")
	if err != nil || len(trees) == 0 {
		t.Fatalf("no recorded trees: %v", err)
	}
	for _, tree := range append(trees, "/proc") {
		add(tree, "list", "--proc", tree)
		add(tree, "doctor", "--proc", tree)
		pids := []string{"self"}
		if tree != "/proc" {
			pids = processes(t, tree)
		}
		for _, pid := range pids {
			add(tree, "show", "--proc", tree, pid)
			add(tree, append([]string{"compare", "--proc", tree, pid}, pids...)...)
		}
	}
	return list
}

func processes(t *testing.T, tree string) []string {
	t.Helper()
	entries, err := os.ReadDir(tree)
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, e.Name())
		}
	}
	return pids
}

func readSchema(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchema checks what the commands print against the JSON Schema.
func TestSchema(t *testing.T) {
	schema, err := jsonschema.UnmarshalJSON(open(t, "testdata/schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource("schema.json", schema); err != nil {
		t.Fatal(err)
	}
	for _, d := range documents(t) {
		s, err := c.Compile("schema.json#/$defs/" + d.command)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(d.value); err != nil {
			t.Errorf("%s on %s: %v", d.command, d.from, err)
		}
	}
}

// TestSchemaIsStrict holds that the schema would catch a field that is new, or
// left out: without that the test above could not fail.
func TestSchemaIsStrict(t *testing.T) {
	for name, def := range readSchema(t)["$defs"].(map[string]any) {
		def := def.(map[string]any)
		properties, isObject := def["properties"].(map[string]any)
		if !isObject {
			continue
		}
		if def["additionalProperties"] != false {
			t.Errorf("%s allows additional properties", name)
		}
		required := map[string]bool{}
		for _, r := range def["required"].([]any) {
			required[r.(string)] = true
		}
		for p := range properties {
			twin, isTwin := strings.CutSuffix(p, "_base64")
			if required[p] == isTwin {
				t.Errorf("%s.%s: required is %v", name, p, required[p])
			}
			if _, ok := properties[twin]; !ok {
				t.Errorf("%s.%s stands beside nothing", name, p)
			}
		}
	}
}

// field is one row of a table of docs/json.md.
type field struct {
	kind     string
	nullable bool
}

var (
	heading = regexp.MustCompile(`^##+ ([a-z_]+)$`)
	row     = regexp.MustCompile("^\\| `([a-z_0-9]+)` \\| ([^|]+) \\| [^|]{2,} \\|$")
)

// documented reads docs/json.md: the fields of each object.
func documented(t *testing.T) map[string]map[string]field {
	t.Helper()
	objects := map[string]map[string]field{}
	object := ""
	for _, line := range lines(t, "docs/json.md") {
		if m := heading.FindStringSubmatch(line); m != nil {
			object = m[1]
		}
		if m := row.FindStringSubmatch(line); m != nil && object != "" {
			if objects[object] == nil {
				objects[object] = map[string]field{}
			}
			kind, nullable := strings.CutSuffix(m[2], " or null")
			objects[object][m[1]] = field{kind, nullable}
		}
	}
	return objects
}

// TestJSONDocs holds docs/json.md and the schema together, both ways: the
// objects, their fields, which may be null and which may have a base64 twin.
func TestJSONDocs(t *testing.T) {
	docs := documented(t)
	seen := 0
	for name, def := range readSchema(t)["$defs"].(map[string]any) {
		properties, isObject := def.(map[string]any)["properties"].(map[string]any)
		if !isObject {
			continue
		}
		for p, s := range properties {
			if strings.HasSuffix(p, "_base64") {
				continue
			}
			seen++
			f, ok := docs[name][p]
			if !ok {
				t.Errorf("docs/json.md does not have %s of %s", p, name)
				continue
			}
			if f.nullable != nullable(s.(map[string]any)) {
				t.Errorf("%s.%s: docs/json.md and the schema differ in whether it may be null", name, p)
			}
			_, twin := properties[p+"_base64"]
			if twin != (f.kind == "bytes") {
				t.Errorf("%s.%s is %s, but base64 twin is %v", name, p, f.kind, twin)
			}
			delete(docs[name], p)
		}
		if len(docs[name]) > 0 {
			t.Errorf("docs/json.md has for %s what the schema has not: %v", name, slices.Sorted(maps.Keys(docs[name])))
		}
		delete(docs, name)
	}
	if seen < 100 {
		t.Errorf("the schema has only %d fields", seen)
	}
	for _, other := range []string{"known", "verdicts", "evidence"} {
		delete(docs, other)
	}
	if len(docs) > 0 {
		t.Errorf("docs/json.md has objects that the schema has not: %v", slices.Sorted(maps.Keys(docs)))
	}
}

func nullable(s map[string]any) bool {
	if types, ok := s["type"].([]any); ok {
		return slices.Contains(types, any("null"))
	}
	if values, ok := s["enum"].([]any); ok {
		return slices.Contains(values, nil)
	}
	for _, s := range asList(s["anyOf"]) {
		if s.(map[string]any)["type"] == "null" {
			return true
		}
	}
	return false
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

// TestEveryFieldIsPrinted holds that each field that the schema, and so
// docs/json.md, has is in real output.
func TestEveryFieldIsPrinted(t *testing.T) {
	schema := readSchema(t)
	w := walker{defs: schema["$defs"].(map[string]any), seen: map[string]bool{}}
	for _, d := range documents(t) {
		w.walk(map[string]any{"$ref": "#/$defs/" + d.command}, d.value)
	}
	for name, def := range w.defs {
		properties, _ := def.(map[string]any)["properties"].(map[string]any)
		for p := range properties {
			if !w.seen[name+"."+p] {
				t.Errorf("no document has %s.%s", name, p)
			}
		}
	}
}

// walker follows values along their schema and notes which fields they have.
type walker struct {
	defs map[string]any
	seen map[string]bool
}

func (w *walker) walk(schema map[string]any, value any) {
	name := ""
	if ref, ok := schema["$ref"].(string); ok {
		name = strings.TrimPrefix(ref, "#/$defs/")
		schema = w.defs[name].(map[string]any)
	}
	for _, s := range asList(schema["anyOf"]) {
		if value != nil {
			w.walk(s.(map[string]any), value)
		}
	}
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			if items, ok := schema["items"].(map[string]any); ok {
				w.walk(items, v)
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for k, v := range value {
			if p, ok := properties[k].(map[string]any); ok {
				w.seen[name+"."+k] = true
				w.walk(p, v)
			}
		}
	}
}

// TestJSONValues holds the tables of values in docs/json.md against the schema.
func TestJSONValues(t *testing.T) {
	defs := readSchema(t)["$defs"].(map[string]any)
	for heading, def := range map[string]string{"known": "known", "verdicts": "verdict"} {
		var want []string
		for _, v := range defs[def].(map[string]any)["enum"].([]any) {
			want = append(want, v.(string))
		}
		if got := section(t, "docs/json.md", heading); !slices.Equal(got, want) {
			t.Errorf("docs/json.md has %v for %s, the schema %v", got, heading, want)
		}
	}
}

// TestEvidenceDocs holds the table of evidence in docs/json.md against the
// names that package compare gives it, both ways.
func TestEvidenceDocs(t *testing.T) {
	var used []string
	packages, err := filepath.Glob("compare/*.go")
	if err != nil || len(packages) == 0 {
		t.Fatal("no source", err)
	}
	for _, name := range packages {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			used = append(used, evidenceNames(n)...)
			return true
		})
	}
	slices.Sort(used)
	used = slices.Compact(used)
	docs := slices.Sorted(slices.Values(section(t, "docs/json.md", "evidence")))
	if !slices.Equal(used, docs) {
		t.Errorf("docs/json.md has the evidence\n%v\nbut package compare gives\n%v", docs, used)
	}
}

// evidenceNames are the names in x.Evidence["name"], in Evidence:
// map[string]any{"name": …} and in x.note("name", …).
func evidenceNames(n ast.Node) []string {
	var exprs []ast.Expr
	switch n := n.(type) {
	case *ast.IndexExpr:
		if s, ok := n.X.(*ast.SelectorExpr); ok && s.Sel.Name == "Evidence" {
			exprs = append(exprs, n.Index)
		}
	case *ast.CallExpr:
		if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "note" && len(n.Args) > 0 {
			exprs = append(exprs, n.Args[0])
		}
	case *ast.KeyValueExpr:
		lit, isLit := n.Value.(*ast.CompositeLit)
		if k, ok := n.Key.(*ast.Ident); ok && isLit && k.Name == "Evidence" {
			for _, e := range lit.Elts {
				exprs = append(exprs, e.(*ast.KeyValueExpr).Key)
			}
		}
	}
	var names []string
	for _, e := range exprs {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if name, err := strconv.Unquote(lit.Value); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// section returns the first cells of the tables below a heading.
func section(t *testing.T, file, title string) []string {
	t.Helper()
	cell := regexp.MustCompile("^\\| `([a-z_]+)` \\|")
	var cells []string
	in := false
	for _, line := range lines(t, file) {
		if m := heading.FindStringSubmatch(line); m != nil {
			in = m[1] == title
		}
		if m := cell.FindStringSubmatch(line); m != nil && in {
			cells = append(cells, m[1])
		}
	}
	return cells
}

// checkParts are what docs/checks.md has to say of every check.
var checkParts = []string{"Looks for", "Why it matters", "How it comes about", "What mends it", "To see it without this tool"}

// TestCheckDocs holds docs/checks.md against the checks, both ways, and that
// each has its severity and every part.
func TestCheckDocs(t *testing.T) {
	title := regexp.MustCompile(`^## ([a-z0-9-]+) \((error|warning|info)\)$`)
	type entry struct {
		severity string
		text     string
	}
	docs := map[string]entry{}
	name := ""
	for _, line := range lines(t, "docs/checks.md") {
		if m := title.FindStringSubmatch(line); m != nil {
			name = m[1]
			docs[name] = entry{severity: m[2]}
		} else if name != "" {
			e := docs[name]
			e.text += line + "\n"
			docs[name] = e
		}
	}
	for _, c := range compare.Checks {
		e, ok := docs[c.Name]
		if !ok {
			t.Errorf("docs/checks.md does not have %s", c.Name)
			continue
		}
		delete(docs, c.Name)
		if e.severity != string(c.Severity) {
			t.Errorf("docs/checks.md says that %s is %s, it is %s", c.Name, e.severity, c.Severity)
		}
		for _, part := range checkParts {
			_, text, found := strings.Cut(e.text, "**"+part+".** ")
			text, _, _ = strings.Cut(text, "\n")
			if !found || len(text) < 20 {
				t.Errorf("docs/checks.md does not say of %s: %s", c.Name, part)
			}
		}
	}
	if len(docs) > 0 {
		t.Errorf("docs/checks.md has checks that do not exist: %v", slices.Sorted(maps.Keys(docs)))
	}
}

func open(t *testing.T, name string) io.Reader {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(text)
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}
