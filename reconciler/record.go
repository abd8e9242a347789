package reconciler

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// heads are the heads of a domain's branches, as a turn pulled them.
type heads struct {
	// source holds the documents.
	source Snapshot
	// record holds the record: the same snapshot unless it has a branch of its own,
	// nil if none is kept.
	record Snapshot
}

// recordRevision is the record's revision; empty if none is kept.
func (h heads) recordRevision() string {
	if h.record == nil {
		return ""
	}
	return h.record.Revision()
}

// sourceBranch is the branch that the documents are read from.
func (t *turn) sourceBranch(credentials Credentials) Branch {
	source := t.domain.Spec.Source
	return Branch{Domain: t.ref(), URL: source.URL, Name: source.Ref.Branch, Credentials: credentials}
}

// recordBranch is the branch that the record is read from and written to.
func (t *turn) recordBranch(credentials Credentials) Branch {
	branch := t.sourceBranch(credentials)
	name := recordBranchOf(t.domain.Spec)
	branch.Record, branch.Name = name != branch.Name, name
	if branch.Record {
		branch.Credentials = credentials.ofTheRecord()
	}
	return branch
}

// pullRecord brings the head of the record's branch, which may be the source's.
func (t *turn) pullRecord(ctx context.Context, source Snapshot, credentials Credentials) (Snapshot, error) {
	branch := t.recordBranch(credentials)
	switch {
	case branch.Name == "":
		return nil, nil
	case !branch.Record:
		return source, nil
	}
	snapshot, err := t.pullBranch(ctx, branch)
	if err != nil {
		return nil, fmt.Errorf("the record, on the branch in spec.writeBack.branch: %w", err)
	}
	return snapshot, nil
}

// readRecord reads the record of a snapshot, unless it is the one that was read last.
func (t *turn) readRecord(snapshot Snapshot) error {
	if snapshot == nil || t.memory.recordedIn != nil && t.memory.recordedIn.Revision() == snapshot.Revision() {
		return nil
	}
	record, err := t.Parts.LoadRecord(snapshot.FS(), folderOf(t.domain.Spec))
	if err != nil {
		return failed(ReasonBuildFailed, fmt.Errorf("the record in %s: %w", snapshot.Revision(), err))
	}
	t.memory.record, t.memory.recordedIn = record, snapshot
	return nil
}

// stillLoaded reports whether what was loaded is what would be loaded from a
// snapshot: its kustomization sees no file that reanchor itself writes.
func (t *turn) stillLoaded(snapshot Snapshot) bool {
	m := t.memory
	if m.loaded == nil || !slices.Equal(retiredPairs(m.loadedWith), retiredPairs(m.record)) {
		return false
	}
	if m.loadedRevision() == snapshot.Revision() {
		return true
	}
	changed, err := snapshot.Changed(m.loadedFrom)
	return err == nil && !slices.ContainsFunc(changed, t.isDeclared)
}

// isDeclared reports whether a file may be part of what is declared.
func (t *turn) isDeclared(file string) bool {
	folder := folderOf(t.domain.Spec)
	return !strings.HasPrefix(file, path.Join(folder, planner.RecordFolder)+"/") &&
		!strings.HasPrefix(file, path.Join(folder, v1alpha1.DevicesFolder)+"/")
}

// retiredPairs are the names that are used up: all of the record that a document can
// break a rule about.
func retiredPairs(record planner.Record) []string {
	var pairs []string
	for _, key := range record.Keys {
		if key.Retired {
			pairs = append(pairs, key.Path())
		}
	}
	slices.Sort(pairs)
	return pairs
}

// writeBack makes the record in Git say what the plan says it shall. Whoever changed
// one of its files since it was read is not overwritten: the next turn, which comes
// at once, reads what they wrote.
func (t *turn) writeBack(ctx context.Context, plan planner.Plan) error {
	if !t.hasToRecord(plan) {
		t.memory.problem = ""
		return nil
	}
	if t.memory.problem != "" && t.now.Before(t.memory.pushAgain) {
		return failed(ReasonWriteBackFailed, errors.New(t.memory.problem))
	}
	pushed, err := t.push(ctx, plan)
	t.Metrics.pushed(err)
	switch {
	case errors.Is(err, ErrConflict):
		ctrl.LoggerFrom(ctx).Info("the record was changed meanwhile: it is read again", "error", err.Error())
		t.again = true
		return nil
	case err != nil:
		return t.notRecorded(recordedPaths(plan.Record, plan.LinkRecord...), err)
	}
	t.memory.problem = ""
	if pushed.Revision() != t.heads.recordRevision() {
		t.recorded, t.again = recordedPaths(plan.Record, plan.LinkRecord...), true
	}
	return nil
}

// hasToRecord reports whether a plan has something to say in the record, if one is kept.
func (t *turn) hasToRecord(plan planner.Plan) bool {
	return len(plan.Record)+len(plan.LinkRecord) > 0 && t.heads.record != nil
}

// push commits what a plan says of keys and links to the record that the turn has read.
func (t *turn) push(ctx context.Context, plan planner.Plan) (Snapshot, error) {
	folder := folderOf(t.domain.Spec)
	return t.Parts.Source.Push(ctx, t.recordBranch(*t.memory.credentials), t.heads.record, Commit{
		Author: authorOf(t.domain.Spec), Committer: committerOf(t.domain.Spec), When: t.now,
		Message: recordMessage(folder, plan.Record, plan.LinkRecord...), Files: recordFiles(folder, plan.Record, plan.LinkRecord...),
	})
}

// notRecorded is the failure of a turn that could not push, and remembers its words
// for the planner's.
func (t *turn) notRecorded(paths []string, cause error) error {
	branch, folder := t.recordBranch(Credentials{}), path.Join(folderOf(t.domain.Spec), planner.RecordFolder)
	err := fmt.Errorf("%s cannot be recorded in Git: %w; allow pushes to %s/ on branch %s of %s, name another branch in spec.writeBack.branch, or set spec.writeBack.mode to Disabled",
		list(paths), cause, folder, branch.Name, branch.URL)
	t.memory.problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	t.memory.pushAgain = t.now.Add(retryIntervalOf(t.domain.Spec))
	return failed(ReasonWriteBackFailed, err)
}

// recordedPaths are the files of keys and links, below the domain's folder.
func recordedPaths(keys []planner.RecordedKey, links ...planner.RecordedLink) []string {
	var paths []string
	for _, key := range keys {
		paths = append(paths, key.Path())
	}
	for _, link := range links {
		paths = append(paths, link.Path())
	}
	return paths
}
