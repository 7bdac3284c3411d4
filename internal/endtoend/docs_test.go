package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	add("docs/checks.md", "explain")
	add("docs/checks.md", "explain", "stale-mount-root")
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
func TestSchema(t *testing.T) { holdSchema(t, documents(t)) }

func holdSchema(t *testing.T, list []document) {
	t.Helper()
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
	for _, d := range list {
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
			if twin != strings.HasSuffix(f.kind, "bytes") {
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

// liveOnly are the objects of documents that are printed only where mounts are
// mended and cgroups made: TestLiveDocuments has them.
var liveOnly = []string{"remount", "sharer", "remounted", "after", "lab", "step", "kept"}

// TestEveryFieldIsPrinted holds that each field that the schema, and so
// docs/json.md, has is in real output.
func TestEveryFieldIsPrinted(t *testing.T) {
	holdFields(t, documents(t), func(object string) bool { return !slices.Contains(liveOnly, object) })
}

// nowhere are bytes that no host at hand has: render's TestBytes has them.
var nowhere = []string{"process.user_base64", "listed.user_base64", "remedy.notes_base64", "mount.super_options_base64"}

func holdFields(t *testing.T, list []document, of func(object string) bool) {
	t.Helper()
	schema := readSchema(t)
	w := walker{defs: schema["$defs"].(map[string]any), seen: map[string]bool{}}
	for _, d := range list {
		w.walk(map[string]any{"$ref": "#/$defs/" + d.command}, d.value)
	}
	for name, def := range w.defs {
		properties, _ := def.(map[string]any)["properties"].(map[string]any)
		for p := range properties {
			if of(name) && !w.seen[name+"."+p] && !slices.Contains(nowhere, name+"."+p) {
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

// explained is what explain says of a check as JSON; Parts are the passages that
// each must have.
type explained struct {
	Check, Severity, Also string
	Parts                 map[string]string
}

var explainedParts = []string{"looks_for", "two_views", "who_is_hurt", "how_it_comes_about", "what_mends_it", "without_this_tool"}

func explanations(t *testing.T) []explained {
	t.Helper()
	stdout, stderr, status := run("explain", "--json")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var document struct{ Checks []map[string]*string }
	if err := json.Unmarshal([]byte(stdout), &document); err != nil {
		t.Fatal(err)
	}
	var list []explained
	for _, c := range document.Checks {
		e := explained{Parts: map[string]string{}}
		for key, text := range c {
			if text != nil {
				e.Parts[key] = *text
			}
		}
		e.Check, e.Severity, e.Also = e.Parts["check"], e.Parts["severity"], e.Parts["also"]
		list = append(list, e)
	}
	return list
}

// TestCheckDocs holds that docs/checks.md has a section for each check in their
// order, and none else, with its severities, and that explain finds every
// passage of it.
func TestCheckDocs(t *testing.T) {
	var titles []string
	text := map[string]string{}
	name := ""
	for _, line := range lines(t, "docs/checks.md") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			titles = append(titles, title)
			name, _, _ = strings.Cut(title, " ")
		}
		text[name] += line + "\n"
	}
	var want []string
	list := explanations(t)
	for i, c := range compare.Checks {
		title := fmt.Sprintf("%s (%s)", c.Name, c.Severity)
		if c.Also != "" {
			title = fmt.Sprintf("%s (%s, also %s)", c.Name, c.Severity, c.Also)
		}
		want = append(want, title)
		if len(list) <= i || list[i].Check != c.Name || list[i].Severity != string(c.Severity) || list[i].Also != string(c.Also) {
			t.Fatalf("explain has %+v, want %s", list[i], title)
		}
		isWhole(t, list[i], text[c.Name])
	}
	if !slices.Equal(titles, want) {
		t.Errorf("docs/checks.md has the sections\n%q, want\n%q", titles, want)
	}
}

// isWhole holds that a check is explained with every part, and that nothing of
// its section is left out.
func isWhole(t *testing.T, e explained, section string) {
	t.Helper()
	for _, part := range explainedParts {
		if len(e.Parts[part]) < 20 {
			t.Errorf("docs/checks.md does not say of %s: %s", e.Check, part)
		}
	}
	for key, part := range e.Parts {
		if key == "check" || key == "severity" || key == "also" {
			continue
		}
		if !strings.Contains(section, part) {
			t.Errorf("%s: what explain has as %s is not in docs/checks.md: %q", e.Check, key, part)
		}
		section = strings.Replace(section, part, "", 1)
	}
	if left := regexp.MustCompile(`\*\*[A-Z][^*]+\.\*\*|## .*|\s+`).ReplaceAllString(section, ""); left != "" {
		t.Errorf("%s: explain leaves out %q", e.Check, left)
	}
}

// TestCheckPictures holds that the pictures tell the truth: what stands in the
// namespace view is how a member of a namespace with that root directory sees
// what stands in the host view.
func TestCheckPictures(t *testing.T) {
	trees := 0
	for _, e := range explanations(t) {
		picture := strings.Split(strings.Trim(e.Parts["two_views"], "`\n"), "\n")
		host, own := strings.Index(picture[0], "host view"), strings.Index(picture[0], "namespace view")
		if host < 0 || own < host {
			t.Errorf("%s: no two views in\n%s", e.Check, e.Parts["two_views"])
			continue
		}
		if !strings.HasPrefix(picture[0], "the tree") {
			continue
		}
		trees++
		root, views := "", map[string]string{}
		for _, line := range picture[1:] {
			if line == "" {
				break // the legend
			}
			at := strings.Fields(line[host:])
			views[at[0]] = at[1]
			if slices.Contains(strings.Fields(line[:host]), "R") {
				root = at[0]
			}
			if line[host-1] != ' ' || line[own-1] != ' ' || !strings.HasPrefix(line[own:], at[1]) {
				t.Errorf("%s: out of line: %s", e.Check, line)
			}
		}
		for path, view := range views {
			if want := viewed(root, path); root == "" || view != want {
				t.Errorf("%s: from %q, %s looks like %s, not %s", e.Check, root, path, want, view)
			}
		}
	}
	if trees < 15 {
		t.Errorf("only %d pictures have a tree", trees)
	}
}

// viewed renders a path as kernfs_path_from_node does: up to what it has in
// common with the root, and down again. It is relative file paths' arithmetic.
func viewed(root, name string) string {
	rel, err := filepath.Rel(root, name)
	if err != nil || rel == "." {
		return "/"
	}
	return "/" + rel
}

// TestSeverities holds that the findings of a check have its severity, or the
// other one that it is said to have: what the function of that name assigns.
func TestSeverities(t *testing.T) {
	assigned := map[string][]string{}
	capital := regexp.MustCompile(`[A-Z]`)
	for name, f := range functions(t, "compare") {
		check := capital.ReplaceAllStringFunc(name, func(c string) string { return "-" + strings.ToLower(c) })
		ast.Inspect(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok {
				if s, ok := a.Lhs[0].(*ast.SelectorExpr); ok && s.Sel.Name == "Severity" {
					assigned[check] = append(assigned[check], strings.ToLower(fmt.Sprint(a.Rhs[0])))
				}
			}
			return true
		})
		if _, err := compare.Find(check); err == nil && assigned[check] == nil {
			assigned[check] = []string{}
		}
	}
	for _, c := range compare.Checks {
		want := []string{}
		if c.Also != "" {
			want = append(want, string(c.Also))
		}
		if got := assigned[c.Name]; got == nil || !slices.Equal(got, want) {
			t.Errorf("%s is said to be %q too, its function gives %q", c.Name, want, got)
		}
		delete(assigned, c.Name)
	}
	delete(assigned, "ask") // which gives each its check's own
	if len(assigned) > 0 {
		t.Errorf("severities are given elsewhere: %v", assigned)
	}
}

// functions are those of a package, by name.
func functions(t *testing.T, dir string) map[string]*ast.FuncDecl {
	t.Helper()
	list := map[string]*ast.FuncDecl{}
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no source", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				list[f.Name.Name] = f
			}
		}
	}
	return list
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
