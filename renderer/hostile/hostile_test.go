package hostile_test

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/renderer"
	"github.com/reanchor/reanchor/renderer/hostile"
)

// refusal is what a tree is refused with, and by whom; zero if it is taken.
type refusal struct {
	by  hostile.Guard
	why string
}

// judge gives a tree to every guard in turn, as a turn of the loop does.
func judge(tree hostile.Tree) refusal {
	if why := scanned(tree); why != "" {
		return refusal{hostile.Scan, why}
	}
	record, err := renderer.LoadRecord(tree.Files, tree.Folder, renderer.Limits{})
	if err != nil {
		return refusal{hostile.Record, err.Error()}
	}
	loaded, err := renderer.Load(tree.Files, tree.Folder, renderer.Options{Record: record})
	if err != nil {
		return refusal{hostile.Load, err.Error()}
	}
	target := loaded.EndState(record)
	manifests, err := loaded.Render(target, planner.Ref{Namespace: "reanchor", Name: "plant"})
	if err != nil {
		return refusal{hostile.Render, err.Error()}
	}
	if why := told(policies.Check(policies.Input{Plan: planner.Plan{Target: target}, Manifests: manifests, Documents: loaded.Documents})); why != "" {
		return refusal{hostile.Check, why}
	}
	return refusal{}
}

// scanned looks for private keys in every file that is not beyond the limit of a pull, and
// in one of those that share their content.
func scanned(tree hostile.Tree) string {
	const pulled = 8 << 20
	var found []policies.Violation
	seen := map[*fstest.MapFile]bool{}
	for _, name := range slices.Sorted(maps.Keys(tree.Files)) {
		file := tree.Files[name]
		if file.Mode&fs.ModeSymlink == 0 && len(file.Data) <= pulled && !seen[file] {
			found = append(found, policies.CheckFile(name, file.Data)...)
		}
		seen[file] = true
	}
	return told(found)
}

func told(violations []policies.Violation) string {
	var lines []string
	for _, violation := range policies.Denied(violations) {
		lines = append(lines, violation.String())
	}
	return strings.Join(lines, "\n")
}

func TestHostileTreesAreRefused(t *testing.T) {
	names := map[string]bool{}
	for _, tree := range hostile.Trees() {
		t.Run(tree.Name, func(t *testing.T) {
			if names[tree.Name] {
				t.Errorf("there are two trees of this name")
			}
			names[tree.Name] = true
			if got := judge(tree); got.by != tree.By || got.why != tree.Want {
				t.Errorf("refused by %q:\n%s\nwant by %q:\n%s", got.by, got.why, tree.By, tree.Want)
			}
		})
	}
}

func TestGoodTreesAreTaken(t *testing.T) {
	for _, tree := range hostile.Good() {
		if got := judge(tree); got != (refusal{}) {
			t.Errorf("%s: refused by %q:\n%s", tree.Name, got.by, got.why)
		}
	}
}

// What is too large is refused without being read: it costs neither memory nor time that
// grows with it.
func TestRefusingIsCheap(t *testing.T) {
	const (
		memory  = 128 << 20
		patient = 10 * time.Second // far above what it takes, for the sake of slow machines
	)
	for _, tree := range hostile.Trees() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		record, err := renderer.LoadRecord(tree.Files, tree.Folder, renderer.Limits{})
		if err == nil {
			_, _ = renderer.Load(tree.Files, tree.Folder, renderer.Options{Record: record})
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > memory || took > patient {
			t.Errorf("%s: took %d MiB and %s", tree.Name, used>>20, took)
		}
	}
}

// On disk, a tree is what it is in memory.
func TestWrite(t *testing.T) {
	for _, tree := range append(hostile.Good(), hostile.Trees()...) {
		if len(tree.Files) > 1000 {
			continue // the others show as much
		}
		folder := t.TempDir()
		if err := tree.Write(folder); err != nil {
			t.Fatal(err)
		}
		written := 0
		err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				written++
				sameFile(t, filepath.Join(folder, name), tree.Files[name])
			}
			return err
		})
		if err != nil || written != len(tree.Files) {
			t.Errorf("%s: %d files were written, want %d (%v)", tree.Name, written, len(tree.Files), err)
		}
	}
}

func sameFile(t *testing.T, name string, want *fstest.MapFile) {
	t.Helper()
	if want == nil {
		t.Errorf("%s is not of the tree", name)
		return
	}
	if want.Mode&fs.ModeSymlink != 0 {
		if target, err := os.Readlink(name); err != nil || target != string(want.Data) {
			t.Errorf("%s leads to %q, want %q (%v)", name, target, want.Data, err)
		}
		return
	}
	info, err := os.Stat(name)
	if err != nil || info.Size() != int64(len(want.Data)) {
		t.Errorf("%s: want a file of %d bytes (%v)", name, len(want.Data), err)
	}
}

func TestTheProgramKnowsNothingOfIt(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/reanchor/reanchor/cmd/reanchor").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "reanchor/renderer\n") || strings.Contains(string(out), "renderer/hostile") {
		t.Error("the program is linked with the trees of its tests")
	}
}
