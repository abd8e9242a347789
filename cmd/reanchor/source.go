package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/reconciler"
)

// source keeps a copy of each branch that a domain uses in a folder of its own.
type source struct {
	folder string

	mu     sync.Mutex
	copies map[string]repository // by their folders
}

// repository is an open copy, and what it was opened with.
type repository struct {
	*gitsource.Repository
	remote gitsource.Remote
}

// Pull returns the head of a branch.
func (s *source) Pull(ctx context.Context, from reconciler.Branch, after reconciler.After) (reconciler.Snapshot, error) {
	opened, err := s.open(from)
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

// Push adds a commit to a branch.
func (s *source) Push(ctx context.Context, to reconciler.Branch, base reconciler.Snapshot, commit reconciler.Commit) (reconciler.Snapshot, error) {
	opened, err := s.open(to)
	if err != nil {
		return nil, err
	}
	pushed, err := opened.Push(ctx, base.(snapshot).Snapshot, gitsource.Commit{
		Author: gitsource.Author(commit.Author), Message: commit.Message, When: commit.When, Files: commit.Files,
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
func (s *source) open(branch reconciler.Branch) (*gitsource.Repository, error) {
	folder, remote := s.copyOf(branch), remoteOf(branch)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.copies[folder]
	if ok && reflect.DeepEqual(known.remote, remote) {
		return known.Repository, nil
	}
	opened, err := gitsource.Open(folder, remote)
	if err != nil {
		return nil, unusable(err)
	}
	if ok {
		known.Close()
	}
	if s.copies == nil {
		s.copies = map[string]repository{}
	}
	s.copies[folder] = repository{opened, remote}
	return opened, nil
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

// copyOf is the folder of a branch's copy. No domain has an @ in its name.
func (s *source) copyOf(branch reconciler.Branch) string {
	name := branch.Domain.Name
	if branch.Record {
		name += "@record"
	}
	return filepath.Join(s.folder, branch.Domain.Namespace, name)
}

// snapshot is a gitsource snapshot as the reconciler takes it.
type snapshot struct{ *gitsource.Snapshot }

// Changed lists the files that differ from an earlier snapshot.
func (s snapshot) Changed(since reconciler.Snapshot) ([]string, error) {
	earlier, _ := since.(snapshot)
	return s.Snapshot.Changed(earlier.Snapshot)
}
