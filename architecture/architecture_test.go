// Package architecture holds the lines between the packages: imports run downward
// only, decisions are pure, and the clock is read by commands alone.
//
//	cmd → {reconciler, receiver, importer, registrar, dashboard}
//	    → {applier, inventory, renderer, gitsource, forge, policies, prober} → planner → api → pki
//
// enrolment stands on pki alone: it runs on devices.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/reanchor/reanchor"

// storeys are the packages of the house, from the ground up: a package imports
// only from storeys below its own.
var storeys = [][]string{
	{"pki", "config"},
	{"api/v1alpha1", "enrolment"},
	{"planner"},
	{"applier", "inventory", "renderer", "gitsource", "forge", "policies", "prober"},
	{"reconciler", "receiver", "importer", "registrar", "dashboard"},
	{"cmd/"},
}

// pure are the packages that decide: they have no effects and talk to nobody.
var pure = []string{"api/v1alpha1", "pki", "planner", "policies", "registrar/admission"}

// impure are the parts of the standard library that a pure package does not import
// itself.
var impure = []string{"context", "os", "net", "net/http", "os/exec", "log", "log/slog", "time/tzdata", "syscall"}

// keepers name who alone knows a module.
var keepers = map[string][]string{
	"github.com/go-git/":      {"gitsource"},
	"sigs.k8s.io/kustomize/":  {"renderer"},
	"github.com/fluxcd/pkg/":  {"reconciler", "cmd/"},
	"github.com/prometheus/":  {"reconciler", "receiver", "registrar", "dashboard", "cmd/"},
	"github.com/spf13/cobra":  {"cmd/"},
	"k8s.io/client-go":        {"applier", "inventory", "reconciler", "registrar", "dashboard", "cmd/"},
	"sigs.k8s.io/controller-": {"applier", "inventory", "reconciler", "importer", "registrar", "dashboard", "cmd/"},
}

// light are the packages that others build into programs of their own, and all that they may
// depend on beside the standard library.
var light = map[string][]string{
	"enrolment": {module + "/pki", "github.com/smallstep/pkcs7"},
}

// clocks may read the time: commands, and what stands around the product.
var clocks = []string{"cmd/", "fixtures/", "bench/"}

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// name of a package in the house; "" for one that is not ours.
func name(path string) string {
	if path == module {
		return "."
	}
	ours, _ := strings.CutPrefix(path, module+"/")
	if ours == path {
		return ""
	}
	return ours
}

// product lists our packages without tests, but for what stands around the product.
var product = sync.OnceValues(func() ([]listed, error) {
	command := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,Imports,Deps", module+"/...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, errors.New(stderr.String())
	}
	var all []listed
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var one listed
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if !isGenerator(one) {
			all = append(all, one)
		}
	}
})

// isGenerator reports whether a package is a program beside the product's own, one
// that writes files of the repository say.
func isGenerator(p listed) bool { return p.Name == "main" && !in(name(p.ImportPath), []string{"cmd/"}) }

func packages(t *testing.T) []listed {
	t.Helper()
	all, err := product()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

// in reports whether a package is one of names, or lies in one that ends in "/" or
// is a folder of it.
func in(pkg string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return pkg == n || strings.HasPrefix(pkg, strings.TrimSuffix(n, "/")+"/")
	})
}

// storey of a package; -1 for one that stands around the product.
func storey(pkg string) int {
	return slices.IndexFunc(storeys, func(names []string) bool { return in(pkg, names) })
}

func TestImportsRunDownward(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		from := storey(name(p.ImportPath))
		if from < 0 {
			continue
		}
		for _, path := range p.Deps {
			imported := name(path)
			if imported == "" || in(imported, []string{house(name(p.ImportPath))}) {
				continue
			}
			checked++
			if to := storey(imported); to < 0 || to >= from {
				t.Errorf("%s imports %s, which does not lie below it: move what both need further down, or declare an interface where it is used", name(p.ImportPath), imported)
			}
		}
	}
	if checked == 0 {
		t.Fatal("no import among our packages was seen: go list told nothing")
	}
}

// house is the package that a package belongs to: planner for planner/simulation.
func house(pkg string) string {
	for _, names := range storeys {
		for _, n := range names {
			if in(pkg, []string{n}) {
				return n
			}
		}
	}
	return pkg
}

func TestDecisionsArePure(t *testing.T) {
	for _, p := range packages(t) {
		if !in(name(p.ImportPath), pure) {
			continue
		}
		for _, path := range p.Imports {
			if slices.Contains(impure, path) {
				t.Errorf("%s imports %s: it decides, and takes what it needs as values", name(p.ImportPath), path)
			}
		}
	}
}

func TestModulesHaveKeepers(t *testing.T) {
	for _, p := range packages(t) {
		ours := name(p.ImportPath)
		if storey(ours) < 0 {
			continue
		}
		paths := p.Imports
		if in(ours, pure) {
			paths = p.Deps // not even by way of another package
		}
		for _, prefix := range slices.Sorted(maps.Keys(keepers)) {
			for _, path := range paths {
				if strings.HasPrefix(path, prefix) && !in(ours, keepers[prefix]) {
					t.Errorf("%s depends on %s, which only %s may know", ours, path, strings.Join(keepers[prefix], ", "))
				}
			}
		}
	}
}

func TestLightPackagesStayLight(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		ours := name(p.ImportPath)
		for _, path := range p.Deps {
			first, _, _ := strings.Cut(path, "/")
			if light[ours] == nil || !strings.Contains(first, ".") {
				continue // of the standard library, whose paths begin without a dot
			}
			checked++
			if !slices.ContainsFunc(light[ours], func(allowed string) bool { return path == allowed || strings.HasPrefix(path, allowed+"/") }) {
				t.Errorf("%s depends on %s: it is built into programs of devices, and needs %s alone", ours, path, strings.Join(light[ours], ", "))
			}
		}
	}
	if checked == 0 {
		t.Fatal("no dependency was seen: go list told nothing")
	}
}

func TestOnlyCommandsReadTheClock(t *testing.T) {
	scanned := 0
	for _, p := range packages(t) {
		if in(name(p.ImportPath), clocks) {
			continue
		}
		for _, file := range p.GoFiles {
			scanned++
			for _, where := range clockReads(t, filepath.Join(p.Dir, file)) {
				t.Errorf("%s: time is a value here: let the caller pass it in, or a func() time.Time", where)
			}
		}
	}
	if scanned == 0 {
		t.Fatal("no file was scanned: go list told nothing")
	}
}

// clockReads finds the uses of time.Now, time.Since and time.Until in a file.
func clockReads(t *testing.T, path string) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		t.Fatalf("parse %s: %v", path, err)
	}
	clock := timeIn(file)
	if clock == "" {
		return nil
	}
	var found []string
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if base, ok := selector.X.(*ast.Ident); ok && base.Name == clock && slices.Contains([]string{"Now", "Since", "Until"}, selector.Sel.Name) {
			found = append(found, files.Position(selector.Pos()).String()+": time."+selector.Sel.Name)
		}
		return true
	})
	return found
}

// timeIn is the name under which a file imports package time; "" if it does not.
func timeIn(file *ast.File) string {
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err != nil || path != "time" {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return "time"
	}
	return ""
}

func TestClockReadsAreFound(t *testing.T) {
	for name, test := range map[string]struct {
		source string
		want   int
	}{
		"plain":      {"package x\nimport \"time\"\nvar _ = time.Now()", 1},
		"as a value": {"package x\nimport \"time\"\nvar clock = time.Now", 1},
		"renamed":    {"package x\nimport clock \"time\"\nvar _ = clock.Since(clock.Time{})", 1},
		"values":     {"package x\nimport \"time\"\nvar _ = time.Unix(0, 0).Add(time.Second)", 0},
		"another":    {"package x\nimport time \"example/time\"\nvar _ = time.Now()", 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.go")
			if err := os.WriteFile(path, []byte(test.source), 0o600); err != nil {
				t.Fatal(err)
			}
			if found := clockReads(t, path); len(found) != test.want {
				t.Errorf("found %v, want %d", found, test.want)
			}
		})
	}
}
