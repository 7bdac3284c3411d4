package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of the program. One may import those below it.
var floors = map[string]int{
	"nsinspect":                    5,
	"nsinspect/internal/command":   4,
	"nsinspect/internal/remount":   3,
	"nsinspect/internal/lab":       3,
	"nsinspect/render":             3,
	"nsinspect/compare":            2,
	"nsinspect/inspect":            1,
	"nsinspect/docs":               1,
	"nsinspect/internal/printable": 0,
	"nsinspect/internal/tried":     1,
}

// workshop are packages that are no part of the program: helpers of tests and
// measurements. The program does not import them.
var workshop = []string{"nsinspect/internal/bench", "nsinspect/internal/endtoend", "nsinspect/internal/livetest"}

// listed is what go list says of a package, without its tests.
type listed struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func program(t *testing.T) []listed {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(workshop, p.ImportPath) {
			packages = append(packages, p)
		}
	}
	if len(packages) < 5 {
		t.Fatalf("go list names %d packages only", len(packages))
	}
	return packages
}

// TestImportsRunOneWay holds the order of the floors.
func TestImportsRunOneWay(t *testing.T) {
	for _, p := range program(t) {
		floor, ok := floors[p.ImportPath]
		if !ok {
			t.Errorf("%s has no floor in the house", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, "nsinspect") {
				continue
			}
			below, ok := floors[i]
			if !ok || below >= floor {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, i)
			}
		}
	}
}

// Who is who in the rules.
var (
	readers = []string{"nsinspect/inspect", "nsinspect/internal/remount", "nsinspect/internal/lab"}
	door    = []string{"nsinspect", "nsinspect/internal/command"}
	nobody  []string
)

// mayImport says who may import a package and all below it. Of two rules the
// longer path counts; what is not here anybody may.
var mayImport = map[string][]string{
	"github.com/olekukonko/tablewriter": {"nsinspect/render"},
	"github.com/fatih/color":            {"nsinspect/render"},
	"github.com/urfave/cli":             door,
	// The system.
	"io/fs":                        readers,
	"os/exec":                      {"nsinspect/internal/lab"},
	"os/user":                      readers,
	"github.com/prometheus/procfs": readers,
	"github.com/moby/sys":          readers,
	"golang.org/x/sys":             readers,
	"net":                          nobody,
	"plugin":                       nobody,
	"unsafe":                       nobody,
	// Pages that are part of the program.
	"embed": {"nsinspect/docs"},
	// The process's own streams and signals. What command uses of os is held
	// below.
	"os":                slices.Concat(door, readers),
	"syscall":           slices.Concat(door, readers),
	"golang.org/x/term": slices.Concat(door, readers),
	// Presentation writes to an io.Writer; judgement does not even do that.
	"io":      slices.Concat(door, readers, []string{"nsinspect/render"}),
	"bufio":   slices.Concat(door, readers, []string{"nsinspect/render"}),
	"context": slices.Concat(door, readers),
	"time":    slices.Concat(door, readers),
	// Messages go through one function of command.
	"log":     nobody,
	"testing": nobody,
}

// TestImports holds which package may import what.
func TestImports(t *testing.T) {
	for _, p := range program(t) {
		for _, i := range p.Imports {
			if !allowed(p.ImportPath, i) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// allowed looks up the longest rule for an import.
func allowed(who, what string) bool {
	for path := what; path != "."; path = filepath.Dir(path) {
		if list, ok := mayImport[path]; ok {
			return slices.Contains(list, who)
		}
	}
	return true
}

// TestAllowed holds the rule itself, so that it cannot allow everything.
func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		who, what string
		want      bool
	}{
		{"nsinspect/compare", "os", false},
		{"nsinspect/compare", "io", false},
		{"nsinspect/compare", "golang.org/x/sys/unix", false},
		{"nsinspect/compare", "github.com/prometheus/procfs", false},
		{"nsinspect/compare", "strings", true},
		{"nsinspect/render", "os", false},
		{"nsinspect/render", "io", true},
		{"nsinspect/render", "golang.org/x/sys/unix", false},
		{"nsinspect/inspect", "golang.org/x/sys/unix", true},
		{"nsinspect/inspect", "os/exec", false},
		{"nsinspect/inspect", "github.com/olekukonko/tablewriter/tw", false},
		{"nsinspect/internal/command", "os", true},
		{"nsinspect/internal/command", "os/exec", false},
		{"nsinspect/internal/command", "golang.org/x/sys/unix", false},
		{"nsinspect/internal/command", "github.com/urfave/cli/v2", true},
		{"nsinspect/internal/lab", "os/exec", true},
		{"nsinspect/internal/lab", "github.com/urfave/cli/v2", false},
		{"nsinspect", "log/slog", false},
		{"nsinspect/inspect", "net/http", false},
		{"nsinspect/compare", "embed", false},
	} {
		if got := allowed(c.who, c.what); got != c.want {
			t.Errorf("%s importing %s: allowed is %v, want %v", c.who, c.what, got, c.want)
		}
	}
}

// ofOS is what command may use of package os: the types of its own streams and
// errors. What opens, reads or changes a file belongs below.
var ofOS = []string{"File", "PathError", "Signal", "Interrupt", "Kill", "ErrDeadlineExceeded", "ErrClosed", "ErrNotExist"}

// TestCalls holds that no package but main reads the environment or ends the
// process, and that nobody prints to the process's own streams.
func TestCalls(t *testing.T) {
	onlyMain := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv", "Exit", "Args", "Stdin", "Stdout", "Stderr"}
	for _, p := range program(t) {
		for _, use := range uses(t, p) {
			path, name, _ := strings.Cut(use.what, "#")
			switch {
			case path == "os" && slices.Contains(onlyMain, name) && p.ImportPath != "nsinspect",
				path == "syscall" && (slices.Contains(onlyMain, name) || name == "Exec" && p.ImportPath != "nsinspect/internal/lab"),
				path == "os/exec" && (name == "LookPath" || strings.HasPrefix(name, "Command")), // they read PATH
				path == "os" && p.ImportPath == "nsinspect/internal/command" && !slices.Contains(ofOS, name),
				path == "fmt" && (strings.HasPrefix(name, "Print") || strings.HasPrefix(name, "Scan")):
				t.Errorf("%s: %s.%s has no place in %s", use.where, path, name, p.ImportPath)
			}
		}
	}
}

// use is one "package#Name" in a file.
type use struct{ where, what string }

// uses are the names that a package's files use of those they import.
func uses(t *testing.T, p listed) []use {
	t.Helper()
	var list []use
	for _, name := range p.GoFiles {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		imported := map[string]string{}
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			local := path[strings.LastIndex(path, "/")+1:]
			if i.Name != nil {
				local = i.Name.Name
				if local == "." {
					t.Errorf("%s imports %s with a dot", name, path)
				}
			}
			imported[local] = path
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && imported[x.Name] != "" {
				list = append(list, use{set.Position(s.Pos()).String(), imported[x.Name] + "#" + s.Sel.Name})
			}
			return true
		})
	}
	if len(list) == 0 && p.ImportPath != "nsinspect/docs" { // it is a page and no code
		t.Fatalf("%s uses nothing", p.ImportPath)
	}
	return list
}

// TestUsesIsSeen holds that uses finds what main, and only main, may do.
func TestUsesIsSeen(t *testing.T) {
	for _, p := range program(t) {
		if p.ImportPath != "nsinspect" {
			continue
		}
		for _, want := range []string{"os#Exit", "os#LookupEnv", "os#Stdout"} {
			if !slices.ContainsFunc(uses(t, p), func(u use) bool { return u.what == want }) {
				t.Errorf("main was not seen to use %s", want)
			}
		}
		return
	}
	t.Error("no package nsinspect")
}
