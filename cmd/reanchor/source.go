package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/reconciler"
)

// source keeps a copy of each branch that a domain uses in a folder of its own. Whatever
// takes long in one folder holds up no other.
type source struct {
	folder string

	mu     sync.Mutex
	copies map[string]*place // by their folders
}

// place is a folder for a copy, and the copy that is open there, if one is, with what it was
// opened with. Whoever opens or removes the copy holds the turn.
type place struct {
	turn chan struct{}
	gone bool
	*gitsource.Repository
	remote gitsource.Remote
}

// Pull returns the head of a branch.
func (s *source) Pull(ctx context.Context, from reconciler.Branch, after reconciler.After) (reconciler.Snapshot, error) {
	opened, err := s.open(ctx, from)
	if err != nil {
		return nil, err
	}
	pulled, err := opened.PullAfter(ctx, gitsource.After(after))
	if err != nil {
		return nil, named(err)
	}
	return snapshot{pulled}, nil
}

// named gives an error of a pull the reason that the reconciler tells.
func named(err error) error {
	if rewritten, ok := errors.AsType[*gitsource.RewrittenError](err); ok {
		return &reconciler.RewrittenError{Was: rewritten.Was, Is: rewritten.Is}
	}
	for _, known := range []struct {
		err    error
		reason string
	}{
		{gitsource.ErrBranchNotFound, reconciler.ReasonBranchNotFound},
		{gitsource.ErrAuthentication, reconciler.ReasonAuthenticationFailed},
		{gitsource.ErrNotRepository, reconciler.ReasonNotARepository},
		{gitsource.ErrUnreachable, reconciler.ReasonRemoteUnreachable},
		{gitsource.ErrRedirect, reconciler.ReasonRedirected},
		{gitsource.ErrHostKey, reconciler.ReasonHostKeyMismatch},
		{gitsource.ErrTLS, reconciler.ReasonTLSFailed},
		{gitsource.ErrSignature, reconciler.ReasonCommitNotVerified},
		{gitsource.ErrTooLarge, reconciler.ReasonRepositoryTooLarge},
	} {
		if errors.Is(err, known.err) {
			return &reconciler.SourceError{Reason: known.reason, Err: err}
		}
	}
	return err
}

// MessagesSince are the messages of a snapshot's commits since a revision.
func (s *source) MessagesSince(ctx context.Context, from reconciler.Branch, of reconciler.Snapshot, revision string) ([]string, error) {
	opened, err := s.open(ctx, from)
	if err != nil {
		return nil, err
	}
	messages, err := opened.MessagesSince(ctx, of.(snapshot).Snapshot, revision)
	return messages, named(err)
}

// Push adds a commit to a branch.
func (s *source) Push(ctx context.Context, to reconciler.Branch, base reconciler.Snapshot, commit reconciler.Commit) (reconciler.Snapshot, error) {
	opened, err := s.open(ctx, to)
	if err != nil {
		return nil, err
	}
	pushed, err := opened.Push(ctx, base.(snapshot).Snapshot, gitsource.Commit{
		Author: gitsource.Author(commit.Author), Committer: gitsource.Author(commit.Committer), Message: commit.Message, When: commit.When, Files: commit.Files,
	})
	if conflict, ok := errors.AsType[*gitsource.ConflictError](err); ok {
		return nil, fmt.Errorf("%w: %w", reconciler.ErrConflict, conflict)
	}
	if err != nil {
		return nil, err
	}
	return snapshot{pushed}, nil
}

// open returns the open copy of a branch, opened anew if the remote or its credentials
// are others than before.
func (s *source) open(ctx context.Context, branch reconciler.Branch) (*gitsource.Repository, error) {
	folder, remote := s.copyOf(branch.Domain, branch.Record), remoteOf(branch)
	remote.Storage = s.folder // that no file:// URL leads to other copies
	p, err := s.enter(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("wait for the copy of branch %s of TrustDomain %s: %w", branch.Name, branch.Domain, err)
	}
	defer p.leave()
	if p.Repository != nil && reflect.DeepEqual(p.remote, remote) {
		return p.Repository, nil
	}
	opened, err := gitsource.Open(folder, remote)
	if err != nil {
		return nil, unusable(err)
	}
	p.close()
	p.Repository, p.remote = opened, remote
	return opened, nil
}

// enter takes the turn at a folder's place, within ctx.
func (s *source) enter(ctx context.Context, folder string) (*place, error) {
	for {
		p := s.placeOf(folder)
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !p.gone {
			return p, nil
		}
		p.leave() // it was removed while this one waited: there is another by now
	}
}

// placeOf a folder, made when it is asked for first.
func (s *source) placeOf(folder string) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == nil {
		s.copies = map[string]*place{}
	}
	if s.copies[folder] == nil {
		s.copies[folder] = &place{turn: make(chan struct{}, 1)}
	}
	return s.copies[folder]
}

func (p *place) leave() { <-p.turn }

// close the copy that is open, if one is.
func (p *place) close() {
	if p.Repository != nil {
		p.Repository.Close()
	}
}

// Forget closes a domain's copies and removes them from the disk.
func (s *source) Forget(domain planner.Ref) error {
	return errors.Join(s.remove(s.copyOf(domain, false)), s.ForgetRecord(domain))
}

// ForgetRecord does so with the copy of the record's own branch.
func (s *source) ForgetRecord(domain planner.Ref) error {
	return s.remove(s.copyOf(domain, true))
}

// remove a folder's copy, and its place.
func (s *source) remove(folder string) error {
	p, err := s.enter(context.Background(), folder) // whoever is there only opens, or removes
	if err != nil {
		return err
	}
	defer p.leave()
	p.close()
	p.gone = true
	s.mu.Lock()
	delete(s.copies, folder)
	s.mu.Unlock()
	return os.RemoveAll(folder)
}

// unusable says of an error of opening whose fault it is: the disk's, or that of
// credentials that cannot be read, for a spec was found valid before.
func unusable(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return &reconciler.SourceError{Reason: reconciler.ReasonCredentialsInvalid, Err: err}
}

// remoteOf a branch, with the credentials to reach it.
func remoteOf(branch reconciler.Branch) gitsource.Remote {
	c := branch.Credentials
	remote := gitsource.Remote{
		URL: branch.URL, Branch: branch.Name,
		Username: c.Username, Password: c.Password, BearerToken: c.BearerToken, GitHubApp: (*gitsource.GitHubApp)(c.GitHubApp),
		CA: c.CAs, ClientCertificate: c.ClientCertificate, ClientKey: c.ClientKey,
		SSHKey: c.SSHKey, SSHPassphrase: c.SSHPassphrase, KnownHosts: c.KnownHosts,
		Proxy: gitsource.Proxy(c.Proxy), Verify: (*gitsource.Verification)(c.Verify), SigningKey: (*gitsource.SigningKey)(c.SigningKey),
	}
	return remote
}

// copyOf is the folder of the copy of a domain's branch, the source's or the record's own. No
// domain has an @ in its name.
func (s *source) copyOf(domain planner.Ref, record bool) string {
	name := domain.Name
	if record {
		name += "@record"
	}
	return filepath.Join(s.folder, domain.Namespace, name)
}

// snapshot is a gitsource snapshot as the reconciler takes it.
type snapshot struct{ *gitsource.Snapshot }

// Changed lists the files that differ from an earlier snapshot.
func (s snapshot) Changed(since reconciler.Snapshot) ([]string, error) {
	earlier, _ := since.(snapshot)
	return s.Snapshot.Changed(earlier.Snapshot)
}
