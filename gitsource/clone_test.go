package gitsource_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/gitsource"
)

// worked is a clone with three commits: one on main, one more on the branch topic, and one
// more on main. Its worktree is at topic.
func worked(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	work := func(arguments ...string) {
		t.Helper()
		command := exec.Command("git", append([]string{"-C", folder, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, arguments...)...)
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", arguments, err, output)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(folder, "site"), 0o755), os.WriteFile(filepath.Join(folder, "site", "a.yaml"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		work("add", ".")
		work("commit", "--quiet", "-m", text)
	}
	work("init", "--quiet", "--initial-branch=main")
	write("first")
	work("checkout", "--quiet", "-b", "topic")
	write("topic")
	work("checkout", "--quiet", "main")
	write("second")
	work("update-ref", "refs/remotes/origin/main", "main")
	work("checkout", "--quiet", "topic")
	return folder
}

// Any revision of a clone is read without a change of its worktree.
func TestClonesAreReadAtAnyRevision(t *testing.T) {
	folder := worked(t)
	clone, err := gitsource.OpenClone(filepath.Join(folder, "site"))
	if err != nil {
		t.Fatal(err)
	}
	if root, _ := filepath.EvalSymlinks(folder); clone.Folder() != folder && clone.Folder() != root {
		t.Errorf("its root is %s, want %s", clone.Folder(), folder)
	}
	for revision, want := range map[string]string{"main": "second", "main~1": "first", "HEAD": "topic", "topic": "topic", "origin/main": "second"} {
		snapshot, err := clone.At(revision)
		if err != nil {
			t.Errorf("%s: %v", revision, err)
			continue
		}
		text, err := fs.ReadFile(snapshot.FS(), "site/a.yaml")
		if err != nil || string(text) != want || !strings.HasPrefix(snapshot.Revision(), revision+"@sha1:") {
			t.Errorf("%s is %q, %v, want %q", snapshot.Revision(), text, err, want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(folder, "site", "a.yaml")); err != nil || string(text) != "topic" {
		t.Errorf("the worktree holds %q, %v", text, err)
	}
	main, first := mustBeAt(t, clone, "main"), mustBeAt(t, clone, "main~1")
	if changed, err := main.Changed(first); err != nil || !slices.Equal(changed, []string{"site/a.yaml"}) {
		t.Errorf("changed are %v, %v", changed, err)
	}
	branch, known := clone.DefaultBranch()
	if base, err := clone.MergeBase("HEAD", branch); !known || err != nil || base != first.Commit() {
		t.Errorf("HEAD left %s (%v) at %s, %v, want %s", branch, known, base, err, first.Commit())
	}
}

func mustBeAt(t *testing.T, clone *gitsource.Clone, revision string) *gitsource.Snapshot {
	t.Helper()
	snapshot, err := clone.At(revision)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func TestWhatIsNoClone(t *testing.T) {
	if _, err := gitsource.OpenClone(t.TempDir()); !errors.Is(err, gitsource.ErrNotRepository) {
		t.Errorf("a folder is opened with the error %v", err)
	}
	clone, err := gitsource.OpenClone(worked(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clone.At("nowhere"); !errors.Is(err, gitsource.ErrBranchNotFound) {
		t.Errorf("a revision that is not there gives %v", err)
	}
	if _, err := clone.MergeBase("HEAD", "nowhere"); !errors.Is(err, gitsource.ErrBranchNotFound) {
		t.Errorf("so does an ancestor: %v", err)
	}
}
