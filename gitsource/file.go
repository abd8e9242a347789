package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// local reads and writes a repository on this machine directly, without a git
// binary. It takes over the tip's objects only, and moves a branch under the lock
// that git itself takes.
type local struct {
	remote Remote
	path   string
	closed []string // folders that hold copies
}

func newLocal(remote Remote, address *url.URL, copies string) *local {
	l := &local{remote: remote, path: filepath.FromSlash(address.Path), closed: []string{copies}}
	if remote.Storage != "" {
		l.closed = append(l.closed, remote.Storage)
	}
	return l
}

// close has nothing to do.
func (l *local) close() {}

// largeObject is the size from which an object is streamed rather than held in
// memory, where it is stored whole.
const largeObject = 1 << 20

// open opens the repository: bare, or the .git folder beside a worktree.
func (l *local) open() (*filesystem.Storage, error) {
	folder, err := l.locate()
	if err != nil {
		return nil, err
	}
	git := filesystem.NewStorageWithOptions(osfs.New(folder), cache.NewObjectLRU(objectCacheBytes), filesystem.Options{
		LargeObjectThreshold: largeObject,
		KeepDescriptors:      true,
	})
	settings, err := git.Config()
	if err != nil {
		return nil, notLocal(err)
	}
	if format := settings.Raw.Section("extensions").Option("objectformat"); format != "" && format != "sha1" {
		return nil, &failure{kind: ErrNotRepository, detail: "it names objects by " + format, hint: "use a repository with SHA-1 names: git init --object-format=sha1"}
	}
	return git, nil
}

// locate finds the repository's folder, without symbolic links on the way.
func (l *local) locate() (string, error) {
	folder := l.path
	if info, err := os.Stat(filepath.Join(folder, ".git")); err == nil && info.IsDir() {
		folder = filepath.Join(folder, ".git")
	}
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return "", notLocal(err)
	}
	if err := l.checkApart(folder); err != nil {
		return "", err
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			return "", notLocal(err)
		}
	}
	return folder, checkOwnObjects(folder)
}

// checkApart refuses a folder in which copies are kept, or that lies above one: what
// another user's credentials fetched is not to be had by its path.
func (l *local) checkApart(folder string) error {
	for _, name := range l.closed {
		name, err := filepath.Abs(name)
		if err == nil {
			name, err = filepath.EvalSymlinks(name)
		}
		if err != nil {
			return err
		}
		if isWithin(folder, name) || isWithin(name, folder) {
			return &failure{kind: ErrNotRepository, detail: "the path leads to where this program keeps its own copies", hint: "give the URL of the repository itself"}
		}
	}
	return nil
}

// isWithin reports whether a folder is another one, or lies in it.
func isWithin(folder, other string) bool {
	relative, err := filepath.Rel(other, folder)
	return err == nil && filepath.IsLocal(relative)
}

// checkOwnObjects refuses a repository that takes its objects from another one (see
// gitrepository-layout(5), objects/info/alternates): that may be any on this machine.
func checkOwnObjects(folder string) error {
	elsewhere, err := os.ReadFile(filepath.Join(folder, "objects", "info", "alternates"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return notLocal(err)
	}
	if len(bytes.TrimSpace(elsewhere)) == 0 {
		return nil
	}
	return &failure{kind: ErrNotRepository, detail: "it takes objects from another repository (objects/info/alternates)", hint: "give the URL of that one, or make this one whole: git repack -a -d, and remove the file"}
}

func notLocal(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &failure{kind: ErrUnreachable, detail: err.Error(), hint: "let this program's user read the repository"}
	}
	return &failure{kind: ErrNotRepository, detail: "the path holds no Git repository", hint: "correct the path, or create one: git init --bare"}
}

// tip resolves the branch.
func (l *local) tip(git storer.ReferenceStorer) (plumbing.Hash, error) {
	reference, err := storer.ResolveReference(git, l.remote.reference())
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return plumbing.ZeroHash, noBranch(l.remote.Branch)
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return reference.Hash(), nil
}

func (l *local) read(ctx context.Context) (reading, error) {
	if err := ctx.Err(); err != nil {
		return reading{}, stopped(err)
	}
	git, err := l.open()
	if err != nil {
		return reading{}, err
	}
	tip, err := l.tip(git)
	if err != nil {
		return reading{}, err
	}
	return reading{
		tip: tip,
		fetch: func(ctx context.Context, into *store, want extent) error {
			return l.fetchWith(ctx, tip, into, want.parent)
		},
		relate: func(ctx context.Context, _ *store, to plumbing.Hash, told func(commits) error) (relation, error) {
			return l.relate(ctx, tip, to, told)
		},
		close: func() {},
	}, nil
}

// relate follows the history that lies there.
func (l *local) relate(ctx context.Context, tip, to plumbing.Hash, told func(commits) error) (relation, error) {
	git, err := l.open()
	if err != nil {
		return unknown, err
	}
	defer git.Close()
	known := func(hash plumbing.Hash) (*gitobject.Commit, bool, error) {
		commit, err := gitobject.GetCommit(git, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		return commit, true, nil
	}
	found, err := trace(ctx, tip, to, known)
	if err == nil && found == follows {
		err = told(known)
	}
	if found == follows || err != nil {
		return found, err
	}
	if back, err := trace(ctx, to, tip, known); back == follows || err != nil {
		return precedes, err
	}
	return departs, nil
}

// fetchWith copies a commit, and the one before it if that is wanted.
func (l *local) fetchWith(ctx context.Context, tip plumbing.Hash, into *store, parent bool) error {
	if err := l.fetch(ctx, tip, into); err != nil || !parent {
		return err
	}
	commit, err := into.commit(tip)
	if err != nil || len(commit.ParentHashes) == 0 || into.has(commit.ParentHashes[0]) {
		return err
	}
	return l.fetch(ctx, commit.ParentHashes[0], into)
}

// fetch copies what the store lacks of a commit. It opens the repository anew each
// time: go-git does not see packs that were added since it looked for them, and a
// look that a push or a repacking disturbs may have missed some.
func (l *local) fetch(ctx context.Context, tip plumbing.Hash, into *store) error {
	git, err := l.open()
	if err != nil {
		return err
	}
	defer git.Close()
	commit, err := gitobject.GetCommit(git, tip)
	if err != nil {
		return err
	}
	lacking := lacking{from: git, into: into, limits: l.remote.Limits, seen: map[plumbing.Hash]bool{}}
	if err := lacking.folder(ctx, "", commit.TreeHash); err != nil {
		return err
	}
	if err := into.addBoundaries([]plumbing.Hash{tip}); err != nil {
		return err
	}
	return into.addPack(l.remote.Limits, func(w io.Writer) error {
		return copyObjects(ctx, w, git, append(lacking.objects, tip))
	})
}

// lacking collects the objects that one repository has and the other has not. A
// folder that the other has is complete there and not looked into.
type lacking struct {
	from    *filesystem.Storage
	into    *store
	limits  Limits
	seen    map[plumbing.Hash]bool
	objects []plumbing.Hash
}

func (l *lacking) folder(ctx context.Context, path string, hash plumbing.Hash) error {
	if err := ctx.Err(); err != nil {
		return stopped(err)
	}
	if hash == emptyTree || !l.add(hash) {
		return nil
	}
	entries, err := readFolder(l.read, hash)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.isFolder() {
			if err := l.folder(ctx, path+e.name+"/", e.hash); err != nil {
				return err
			}
		} else if isContent(e) && l.add(e.hash) {
			if err := l.checkSize(path+e.name, e.hash); err != nil {
				return err
			}
		}
		if len(l.objects) > l.limits.Objects {
			return &failure{kind: ErrTooLarge, detail: fmt.Sprintf("at %s, there are more than %d objects", shortened(path+e.name), l.limits.Objects), hint: "use a smaller repository, or raise the limit of objects"}
		}
	}
	return nil
}

// checkSize refuses a file that would take too much memory, by its path.
func (l *lacking) checkSize(path string, hash plumbing.Hash) error {
	length, err := l.from.EncodedObjectSize(hash)
	if err != nil || length <= l.limits.Object {
		return err
	}
	return fmt.Errorf("%s: %w", shortened(path), tooLargeObject("it is "+size(length), l.limits))
}

func (l *lacking) read(hash plumbing.Hash) (plumbing.EncodedObject, error) {
	return l.from.EncodedObject(plumbing.TreeObject, hash)
}

// add reports whether the object is lacking, and was not yet known to be.
func (l *lacking) add(hash plumbing.Hash) bool {
	if l.seen[hash] || l.into.has(hash) {
		return false
	}
	l.seen[hash] = true
	l.objects = append(l.objects, hash)
	return true
}

// copyObjects writes objects of a repository as a pack.
func copyObjects(ctx context.Context, w io.Writer, from *filesystem.Storage, hashes []plumbing.Hash) error {
	packer, err := newPacker(w, len(hashes))
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := ctx.Err(); err != nil {
			return stopped(err)
		}
		if err := copyObject(packer, from, hash); err != nil {
			return fmt.Errorf("copy object %s: %w", hash, err)
		}
	}
	return packer.close()
}

func copyObject(to *packer, from *filesystem.Storage, hash plumbing.Hash) error {
	object, err := from.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return err
	}
	reader, err := object.Reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	return to.add(object.Type(), object.Size(), reader)
}

func (l *local) write(ctx context.Context) (writing, error) {
	if err := ctx.Err(); err != nil {
		return writing{}, stopped(err)
	}
	git, err := l.open()
	if err != nil {
		return writing{}, err
	}
	tip, err := l.tip(git)
	if err != nil && !errors.Is(err, ErrBranchNotFound) {
		return writing{}, err
	}
	push := func(_ context.Context, from, to plumbing.Hash, pack *pack) error {
		return l.push(git, from, to, pack)
	}
	return writing{tip: tip, push: push, close: func() {}}, nil
}

// push adds the pack and moves the branch, under the branch's lock.
func (l *local) push(git *filesystem.Storage, from, to plumbing.Hash, pack *pack) error {
	if err := l.checkWorktree(git); err != nil {
		return err
	}
	if _, err := pack.keep(filepath.Join(git.Filesystem().Root(), "objects")); err != nil {
		return l.notWritten(err)
	}
	return l.moveBranch(git, from, to)
}

// checkWorktree refuses to move the branch from under a worktree, as git does.
func (l *local) checkWorktree(git *filesystem.Storage) error {
	settings, err := git.Config()
	if err != nil {
		return err
	}
	head, err := git.Reference(plumbing.HEAD)
	if err != nil {
		return err
	}
	if settings.Core.IsBare || head.Target() != l.remote.reference() {
		return nil
	}
	return &refusal{reason: "the branch is checked out there: use a bare repository, or check out another branch"}
}

// moveBranch replaces the branch's file by its lock file, which only one process
// at a time can create.
func (l *local) moveBranch(git *filesystem.Storage, from, to plumbing.Hash) error {
	name := filepath.Join(git.Filesystem().Root(), filepath.FromSlash(l.remote.reference().String()))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return l.notWritten(err)
	}
	lock, err := os.OpenFile(name+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &refusal{reason: "another process holds the lock " + name + ".lock: remove it if there is no such process", busy: true}
	}
	if err != nil {
		return l.notWritten(err)
	}
	defer os.Remove(name + ".lock")
	defer lock.Close()
	tip, err := l.tip(git)
	if err != nil && !errors.Is(err, ErrBranchNotFound) {
		return err
	}
	if tip != from {
		return errors.Join(err, &refusal{reason: "the branch was moved in the meantime", busy: true})
	}
	_, err = fmt.Fprintln(lock, to)
	if err = errors.Join(err, lock.Sync(), lock.Close()); err == nil {
		err = os.Rename(name+".lock", name)
	}
	return l.notWritten(err)
}

func (l *local) notWritten(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &failure{kind: ErrAuthentication, detail: err.Error(), hint: "let this program's user write to the repository"}
	}
	return err
}
