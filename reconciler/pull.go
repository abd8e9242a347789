package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// pull brings the heads of the branches, in half of the turn's time: a server that does not
// answer shall leave enough to mend drift.
func (t *turn) pull(ctx context.Context) error {
	most := timeoutOf(t.domain.Spec) / 2
	bounded, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := t.pullHeads(bounded)
	if err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: the pull took longer than half of spec.timeout, %s: raise it if this happens again", err, most)
	}
	return err
}

// pullHeads brings the heads of the branches. A calm turn tries the credentials of the last
// pull first, which saves reading the Secrets; not those that say whose commits to
// trust, for a key may just have been taken away. They are read anew only if others could
// help.
func (t *turn) pullHeads(ctx context.Context) error {
	if remembered := t.memory.credentials; remembered != nil && t.calm && remembered.Verify == nil {
		err := t.pullWith(ctx, *remembered)
		if err == nil || ctx.Err() != nil || !slices.Contains(credentialFailures, reasonOf(err)) {
			return err
		}
	}
	t.memory.credentials = nil
	credentials, err := readCredentials(ctx, t.APIReader, t.domain)
	if err != nil {
		return err
	}
	return t.pullWith(ctx, credentials)
}

// credentialFailures are the reasons of a pull that other credentials may heal.
var credentialFailures = []string{ReasonAuthenticationFailed, ReasonTLSFailed, ReasonHostKeyMismatch, ReasonCredentialsInvalid}

func (t *turn) pullWith(ctx context.Context, credentials Credentials) error {
	source, err := t.pullBranch(ctx, t.sourceBranch(credentials))
	if err != nil {
		return err
	}
	t.revision, t.signer = source.Revision(), source.Signer()
	record, err := t.pullRecord(ctx, source, credentials)
	if err != nil {
		return err
	}
	t.memory.credentials, t.heads = &credentials, heads{source: source, record: record}
	return nil
}

// pullBranch brings the head of a branch, which must come after the one that was read
// last.
func (t *turn) pullBranch(ctx context.Context, branch Branch) (Snapshot, error) {
	snapshot, err := t.Parts.Source.Pull(ctx, branch, t.after(branch.Name))
	if err != nil {
		return nil, t.notPulled(err)
	}
	t.memory.lineage.read(snapshot.Revision())
	t.pulled = append(t.pulled, branch.Name)
	return snapshot, nil
}
