package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/reanchor/reanchor/policies"
)

// read takes in what the branches hold: the record, and the documents beside it.
func (t *turn) read(ctx context.Context) (Loaded, error) {
	if err := t.scan(t.heads.source); err != nil {
		return nil, err
	}
	if err := t.readRecord(t.heads.record); err != nil {
		return nil, err
	}
	loaded, err := t.load(ctx, t.heads.source)
	if err != nil {
		return nil, err
	}
	return loaded, t.readDevices(loaded)
}

// load reads the documents of a snapshot, unless they are what they were when they
// were last read. New ones count once they are let in.
func (t *turn) load(ctx context.Context, snapshot Snapshot) (Loaded, error) {
	m := t.memory
	if t.stillLoaded(snapshot) {
		if m.loadedRevision() == snapshot.Revision() {
			t.warnings = append(t.warnings, m.loaded.Warnings()...) // the turn that loaded them may have ended untold
		}
		m.loadedFrom, m.loadedWith = snapshot, m.record
		return m.loaded, nil
	}
	loaded, err := t.Parts.Load(snapshot.FS(), folderOf(t.domain.Spec), m.record)
	if err != nil {
		return nil, failed(ReasonBuildFailed, err)
	}
	if err := t.letIn(ctx, snapshot, loaded); err != nil {
		return nil, err
	}
	m.loaded, m.loadedFrom, m.loadedWith = loaded, snapshot, m.record
	t.warnings = append(t.warnings, loaded.Warnings()...)
	return loaded, nil
}

// scan checks the files that are new since the last snapshot that was harmless: none
// of them may be one that must never stand in Git.
func (t *turn) scan(snapshot Snapshot) error {
	if t.memory.scanned != nil && t.memory.scanned.Revision() == t.revision {
		return nil
	}
	paths, err := changedFiles(snapshot, t.memory.scanned)
	if err != nil {
		return failed(ReasonBuildFailed, fmt.Errorf("list the files of %s: %w", t.revision, err))
	}
	var violations []policies.Violation
	for _, path := range paths {
		data, err := readRegular(snapshot.FS(), path)
		if err != nil {
			return failed(ReasonBuildFailed, fmt.Errorf("read %s of %s, to see that it holds no private key: %w", path, t.revision, err))
		}
		violations = append(violations, t.Parts.CheckFile(path, data)...)
	}
	warnings, err := judge(violations)
	t.warnings = append(t.warnings, warnings...)
	if err != nil {
		return err
	}
	t.memory.scanned = snapshot
	return nil
}

// changedFiles lists what is new since an earlier snapshot: everything, if that one
// cannot be read any more.
func changedFiles(snapshot, since Snapshot) ([]string, error) {
	if since != nil {
		if paths, err := snapshot.Changed(since); err == nil {
			return paths, nil
		}
	}
	return snapshot.Changed(nil)
}

// readRegular reads a regular file. One that is gone is empty, and so is a symbolic
// link: what it leads to is a file of its own.
func readRegular(files fs.FS, path string) ([]byte, error) {
	info, err := fs.Lstat(files, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return fs.ReadFile(files, path)
}
