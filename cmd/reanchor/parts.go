package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/reconciler"
	"github.com/reanchor/reanchor/renderer"
)

// parts of a turn, from the packages that make them.
func parts(cluster client.Client, flags controllerFlags) reconciler.Parts {
	return reconciler.Parts{
		Source: &source{folder: flags.storagePath},
		LoadRecord: func(files fs.FS, folder string) (planner.Record, error) {
			return renderer.LoadRecord(files, folder, renderer.Limits{})
		},
		Load: func(files fs.FS, folder string, record planner.Record) (reconciler.Loaded, error) {
			return load(files, folder, renderer.Options{ClusterResourceNamespace: flags.clusterResourceNamespace, Record: record})
		},
		Observe: func(ctx context.Context, reader client.Reader, domain planner.Ref, desired planner.Desired, since []planner.Gate) (planner.Observed, error) {
			observer := applier.Observer{Reader: reader, ClusterResourceNamespace: flags.clusterResourceNamespace, Now: time.Now}
			return observer.Observe(ctx, domain, desired, since)
		},
		Plan:      planner.Next,
		CheckFile: policies.CheckFile,
		Check:     policies.Check,
		Cluster:   hand{applier.Applier{Reader: cluster, Writer: cluster, ClusterResourceNamespace: flags.clusterResourceNamespace}},
	}
}

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
func (s *source) Pull(ctx context.Context, from reconciler.Branch) (reconciler.Snapshot, error) {
	opened, err := s.open(from)
	if err != nil {
		return nil, err
	}
	pulled, err := opened.Pull(ctx)
	if err != nil {
		return nil, err
	}
	return snapshot{pulled}, nil
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
	folder := s.copyOf(branch)
	remote := gitsource.Remote{
		URL: branch.URL, Branch: branch.Name,
		Username: branch.Credentials.Username, Password: branch.Credentials.Password, CA: branch.Credentials.CAs,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.copies[folder]; ok && sameRemote(known.remote, remote) {
		return known.Repository, nil
	}
	opened, err := gitsource.Open(folder, remote)
	if err != nil {
		return nil, err
	}
	if s.copies == nil {
		s.copies = map[string]repository{}
	}
	s.copies[folder] = repository{opened, remote}
	return opened, nil
}

// copyOf is the folder of a branch's copy. No domain has an @ in its name.
func (s *source) copyOf(branch reconciler.Branch) string {
	name := branch.Domain.Name
	if branch.Record {
		name += "@record"
	}
	return filepath.Join(s.folder, branch.Domain.Namespace, name)
}

func sameRemote(a, b gitsource.Remote) bool {
	return a.URL == b.URL && a.Branch == b.Branch && a.Username == b.Username &&
		a.Password == b.Password && string(a.CA) == string(b.CA)
}

// snapshot is a gitsource snapshot as the reconciler takes it.
type snapshot struct{ *gitsource.Snapshot }

// Changed lists the files that differ from an earlier snapshot.
func (s snapshot) Changed(since reconciler.Snapshot) ([]string, error) {
	earlier, _ := since.(snapshot)
	return s.Snapshot.Changed(earlier.Snapshot)
}

// loaded is what the renderer loaded, as the reconciler takes it.
type loaded struct{ *renderer.Loaded }

func load(files fs.FS, folder string, options renderer.Options) (reconciler.Loaded, error) {
	read, err := renderer.Load(files, folder, options)
	if err != nil {
		return nil, err
	}
	return loaded{read}, nil
}

// Desired is what the documents declare.
func (l loaded) Desired() planner.Desired { return l.Loaded.Desired }

// Warnings are those of the documents.
func (l loaded) Warnings() []string { return words(l.Loaded.Warnings) }

// hand writes to the cluster.
type hand struct{ applier.Applier }

// Apply writes the manifests and tells what it did in words.
func (h hand) Apply(ctx context.Context, domain planner.Ref, manifests []*unstructured.Unstructured, options reconciler.ApplyOptions) (reconciler.Result, error) {
	result, err := h.Applier.Apply(ctx, domain, manifests, applier.Options(options))
	return reconciler.Result{
		Applied: words(result.Applied), Pruned: words(result.Pruned), Conflicts: words(result.Conflicts), Kinds: result.Kinds,
	}, err
}

// Act carries out the actions and tells which of them wrote something.
func (h hand) Act(ctx context.Context, domain planner.Ref, actions []planner.Action, now time.Time) ([]planner.Action, error) {
	outcomes, err := h.Applier.Act(ctx, domain, actions, now)
	var acted []planner.Action
	for _, outcome := range outcomes {
		if outcome.Done {
			acted = append(acted, outcome.Action)
		}
	}
	return acted, err
}

// words of things that print themselves.
func words[T any](things []T) []string {
	var all []string
	for _, thing := range things {
		all = append(all, fmt.Sprint(thing))
	}
	return all
}
