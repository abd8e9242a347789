package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/reconciler"
)

// newBare makes a bare repository with the branches main and anchors.
func newBare(t *testing.T) (url string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "pki.git")
	git(t, "", "init", "--quiet", "--bare", "--initial-branch=main", folder)
	script := ""
	for _, branch := range []string{"main", "anchors"} {
		script += "commit refs/heads/" + branch + "\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 5\nfirst\nM 100644 inline site/README.md\ndata " +
			map[string]string{"main": "4\nmain\n", "anchors": "7\nanchors\n"}[branch]
	}
	git(t, script, "-C", folder, "fast-import", "--quiet")
	return "file://" + folder
}

func git(t *testing.T, stdin string, args ...string) {
	t.Helper()
	command := exec.Command("git", args...)
	command.Stdin = strings.NewReader(stdin)
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func pull(t *testing.T, s *source, branch reconciler.Branch) reconciler.Snapshot {
	t.Helper()
	pulled, err := s.Pull(t.Context(), branch)
	if err != nil {
		t.Fatal(err)
	}
	return pulled
}

func write(files map[string][]byte) reconciler.Commit {
	return reconciler.Commit{
		Author: v1alpha1.CommitAuthor{Name: "reanchor", Email: "noreply@reanchor.dev"}, Message: "Record root 2026",
		When: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Files: files,
	}
}

// The source's branch and the record's have a copy each, and neither is in the
// other's way.
func TestBranchesOfADomain(t *testing.T) {
	domain := planner.Ref{Namespace: "plant", Name: "fleet"}
	documents := reconciler.Branch{Domain: domain, URL: newBare(t), Name: "main"}
	record := documents
	record.Name, record.Record = "anchors", true
	s := &source{folder: t.TempDir()}
	base := pull(t, s, documents)
	anchors := pull(t, s, record)
	pushed, err := s.Push(t.Context(), record, anchors, write(map[string][]byte{"site/anchors/root/2026.pem": []byte("2026")}))
	if err != nil {
		t.Fatal(err)
	}
	if again := pull(t, s, record); again != pushed || !strings.HasPrefix(again.Revision(), "anchors@sha1:") {
		t.Errorf("a pull after the push gave %s, want %s", again.Revision(), pushed.Revision())
	}
	if changed, err := pushed.Changed(anchors); err != nil || !slices.Equal(changed, []string{"site/anchors/root/2026.pem"}) {
		t.Errorf("changed %q (%v)", changed, err)
	}
	if again := pull(t, s, documents); again != base {
		t.Errorf("the source's branch moved to %s", again.Revision())
	}
	if text, err := fs.ReadFile(base.FS(), "site/README.md"); err != nil || string(text) != "main" {
		t.Errorf("the source's branch holds %q (%v)", text, err)
	}
}

// The reconciler tells a conflict from a failure.
func TestAConflictIsToldAsOne(t *testing.T) {
	branch := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "fleet"}, URL: newBare(t), Name: "main"}
	ours, theirs := &source{folder: t.TempDir()}, &source{folder: t.TempDir()}
	base := pull(t, ours, branch)
	if _, err := theirs.Push(t.Context(), branch, pull(t, theirs, branch), write(map[string][]byte{"site/x": []byte("theirs"), "site/y": []byte("theirs")})); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Push(t.Context(), branch, base, write(map[string][]byte{"site/x": []byte("ours")})); !errors.Is(err, reconciler.ErrConflict) || !strings.Contains(err.Error(), "site/x") {
		t.Errorf("another content of the same file: %v", err)
	}
	landed, err := ours.Push(t.Context(), branch, base, write(map[string][]byte{"site/z": []byte("ours")}))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := landed.Changed(base); err != nil || !slices.Equal(changed, []string{"site/x", "site/y", "site/z"}) {
		t.Errorf("beside another file: changed %q (%v)", changed, err)
	}

	absent := branch
	absent.Name, absent.Record = "absent", true
	if _, err := ours.Push(t.Context(), absent, base, write(map[string][]byte{"x": nil})); err == nil || errors.Is(err, reconciler.ErrConflict) || !strings.Contains(err.Error(), "git push origin HEAD:absent") {
		t.Errorf("a branch that is not there: %v", err)
	}
}
