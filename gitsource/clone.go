package gitsource

import (
	"errors"
	"fmt"
	"sync"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Clone is a repository on this machine in which a person works. It is read as it is:
// neither the worktree nor a reference changes, and no remote is asked.
type Clone struct {
	folder     string
	repository *git.Repository
	objects    *cloned
}

// OpenClone opens the repository that a folder belongs to: its own, or that of a folder
// above it. A linked worktree is one too.
func OpenClone(folder string) (*Clone, error) {
	repository, err := git.PlainOpenWithOptions(folder, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		return nil, &failure{kind: ErrNotRepository, detail: fmt.Sprintf("%s belongs to no Git repository (%v)", folder, err), hint: "give a folder of a clone"}
	}
	worktree, err := repository.Worktree()
	if err != nil {
		return nil, &failure{kind: ErrNotRepository, detail: folder + " has no worktree", hint: "give a folder of a clone that is not bare"}
	}
	return &Clone{folder: worktree.Filesystem.Root(), repository: repository, objects: &cloned{git: opened(repository.Storer)}}, nil
}

// cloneCacheBytes are as many as a fleet's documents have: Git keeps most of them as the
// difference from another, which is asked for again in no order.
const cloneCacheBytes = 192 << 20

// opened is the same storage, which opens each pack once, not for every object anew. The
// runtime closes them once the clone is not in use any more.
func opened(storage storer.EncodedObjectStorer) storer.EncodedObjectStorer {
	onDisk, is := storage.(*filesystem.Storage)
	if !is {
		return storage
	}
	limits := Limits{}.orDefaults()
	return filesystem.NewStorageWithOptions(onDisk.Filesystem(), cache.NewObjectLRU(cloneCacheBytes), filesystem.Options{
		KeepDescriptors: true, LargeObjectThreshold: limits.File, // what is larger is told the size of, and not read
	})
}

// Folder is the root of the worktree.
func (c *Clone) Folder() string { return c.folder }

// At is the commit that a revision names, as git-rev-parse(1) has it: a branch, a tag, a
// hash, "origin/main", "HEAD~1". Its Revision begins with that name.
func (c *Clone) At(revision string) (*Snapshot, error) {
	hash, err := c.resolve(revision)
	if err != nil {
		return nil, err
	}
	commit, err := c.repository.CommitObject(hash)
	if err != nil {
		return nil, notFetched(revision, err)
	}
	return &Snapshot{clone: c.objects, branch: revision, limits: Limits{}.orDefaults(), commit: commit}, nil
}

func (c *Clone) resolve(revision string) (plumbing.Hash, error) {
	hash, err := c.repository.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return plumbing.ZeroHash, notFetched(revision, err)
	}
	return *hash, nil
}

func notFetched(revision string, err error) error {
	return &failure{kind: ErrBranchNotFound, detail: fmt.Sprintf("%q names no commit that is here (%v)", revision, err), hint: "correct it, or fetch it first: git fetch --unshallow, or fetch-depth: 0 in a workflow"}
}

// MergeBase is the hash of the best common ancestor of two revisions, by which git diff
// A...B compares.
func (c *Clone) MergeBase(a, b string) (string, error) {
	first, err := c.At(a)
	if err != nil {
		return "", err
	}
	second, err := c.At(b)
	if err != nil {
		return "", err
	}
	bases, err := first.commit.MergeBase(second.commit)
	if err != nil || len(bases) == 0 {
		return "", notFetched("the common ancestor of "+a+" and "+b, errors.Join(err))
	}
	return bases[0].Hash.String(), nil
}

// defaults are the references by which the default branch of the remote is known.
var defaults = []string{"refs/remotes/" + remoteName + "/HEAD", "refs/remotes/" + remoteName + "/main", "refs/remotes/" + remoteName + "/master"}

// DefaultBranch is the default branch of the remote "origin" as it was fetched last; false
// if there is none.
func (c *Clone) DefaultBranch() (revision string, known bool) {
	for _, name := range defaults {
		if reference, err := storer.ResolveReference(c.repository.Storer, plumbing.ReferenceName(name)); err == nil {
			return reference.Name().String(), true
		}
	}
	return "", false
}

// cloned are the objects of a clone.
type cloned struct {
	git storer.EncodedObjectStorer

	mutex   sync.Mutex // guards what follows, and git
	folders folderCache
}

func (c *cloned) folderAt(hash plumbing.Hash) ([]entry, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if entries, found := c.folders.get(hash); found {
		return entries, nil
	}
	entries, err := readFolder(func(hash plumbing.Hash) (plumbing.EncodedObject, error) {
		return c.git.EncodedObject(plumbing.TreeObject, hash)
	}, hash)
	if err == nil {
		c.folders.put(hash, entries)
	}
	return entries, err
}

// size asks for the object itself, which is not read if it is large: whoever wants the size
// reads the content next, and finds it in the cache.
func (c *cloned) size(hash plumbing.Hash) (int64, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	object, err := c.git.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return 0, err
	}
	return object.Size(), nil
}

func (c *cloned) content(hash plumbing.Hash) ([]byte, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	object, err := c.git.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return nil, err
	}
	return readAll(object)
}
