package gitsource

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
)

// Snapshot is a branch at one commit. It is immutable, may be used by several
// goroutines, and stays readable whatever becomes of the branch.
type Snapshot struct {
	// store that it was pulled into, or the clone that it was found in.
	store  *store
	clone  *cloned
	over   *overlay // of the store, for a commit that is not in it
	branch string
	limits Limits
	commit *gitobject.Commit
	signer string
}

// objects are where a snapshot's files are read from.
type objects interface {
	folderAt(plumbing.Hash) ([]entry, error)
	size(plumbing.Hash) (int64, error)
	content(plumbing.Hash) ([]byte, error)
}

func (s *Snapshot) objects() objects {
	switch {
	case s.clone != nil:
		return s.clone
	case s.over != nil:
		return s.over
	}
	return s.store
}

// Revision is the branch and the commit in the form that Flux uses:
// "main@sha1:" and 40 lower-case hex digits.
func (s *Snapshot) Revision() string { return s.branch + "@sha1:" + s.Commit() }

// Commit is the commit's hash in 40 lower-case hex digits.
func (s *Snapshot) Commit() string { return s.commit.Hash.String() }

// Author is who wrote the commit, as the commit says.
func (s *Snapshot) Author() Author {
	return Author{Name: s.commit.Author.Name, Email: s.commit.Author.Email}
}

// When is the time at which the commit was made, as the commit says. It is
// the modification time of every file.
func (s *Snapshot) When() time.Time { return s.commit.Committer.When }

// Message is the commit's message.
func (s *Snapshot) Message() string { return s.commit.Message }

// Signer is who signed the commit, by a key of the remote's Verification:
// "OpenPGP 3AA5C34371567BD2 (Jane <jane@example.com>)", with the ID of the primary
// key, or "SSH SHA256:… (jane@example.com)". It is empty if nothing is verified.
func (s *Snapshot) Signer() string { return s.signer }

// FS is the commit's files. It implements [fs.ReadDirFS], [fs.ReadFileFS],
// [fs.StatFS] and [fs.ReadLinkFS].
//
// A file larger than the remote's Limits.File can be listed and told the size of,
// but to open it is an [ErrTooLarge].
func (s *Snapshot) FS() fs.FS { return files{s} }

// Document is a file of a snapshot, and how Git names its content.
type Document struct {
	// Path from the repository's root, with slashes.
	Path string
	// Blob is the hash of its content in 40 lower-case hex digits (git hash-object).
	Blob string
	// Content of the file.
	Content []byte
	// Revision of the branch that it was read from.
	Revision string
}

// Document reads one file, without following symbolic links. One that is not there is an
// [fs.ErrNotExist], and so is a folder.
func (s *Snapshot) Document(path string) (Document, error) {
	found, there, err := s.lookup(path)
	if err != nil {
		return Document{}, err
	}
	if !there || !isContent(found) {
		return Document{}, fmt.Errorf("%s: %w in %s", shortened(path), fs.ErrNotExist, s.Revision())
	}
	size, err := s.objects().size(found.hash)
	if err != nil {
		return Document{}, err
	}
	if size > s.limits.File {
		return Document{}, fmt.Errorf("%s: %w", shortened(path), tooLarge(size, s.limits.File))
	}
	content, err := s.objects().content(found.hash)
	return Document{Path: path, Blob: found.hash.String(), Content: content, Revision: s.Revision()}, err
}

// conflict tells what stands at a path.
func (s *Snapshot) conflict(path string) error {
	stands, err := s.Document(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &EditConflictError{Path: path}
	case err != nil:
		return err
	}
	return &EditConflictError{Path: path, Stands: &stands}
}

// Changed lists the files that were added, modified or deleted since an earlier
// snapshot, sorted; all files if since is nil. A changed mode is a modification, a
// symbolic link and a submodule count as files. Folders that are the same in both
// are not read.
func (s *Snapshot) Changed(since *Snapshot) ([]string, error) {
	var paths []string
	comparison := comparison{old: s.objects(), new: s.objects(), left: s.limits.Objects, visit: func(path string, _, _ entry) error {
		paths = append(paths, path)
		return nil
	}}
	var old plumbing.Hash
	subject := "every file of " + s.Revision()
	if since != nil {
		comparison.old, old = since.objects(), since.commit.TreeHash
		subject = since.Revision() + " with " + s.Revision()
	}
	if err := comparison.folders("", old, s.commit.TreeHash); err != nil {
		return nil, fmt.Errorf("compare %s: %w", subject, err)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// maxDepth of folders in folders.
const maxDepth = 256

// comparison walks two trees at once and visits the files in which they differ.
type comparison struct {
	old, new objects
	// left is how many more entries may be seen.
	left int
	// visit gets the file as it was and as it is; the zero entry where it is not.
	visit func(path string, old, new entry) error
}

// folders compares two folders; a zero hash stands for one that is not there.
func (c *comparison) folders(path string, old, new plumbing.Hash) error {
	if old == new {
		return nil
	}
	if strings.Count(path, "/") > maxDepth {
		return c.tooLarge(path, fmt.Sprintf("folders are more than %d deep", maxDepth))
	}
	before, err := c.old.folderAt(old)
	if err != nil {
		return err
	}
	after, err := c.new.folderAt(new)
	if err != nil {
		return err
	}
	for len(before) > 0 || len(after) > 0 {
		var was, is entry
		was, is, before, after = next(before, after)
		if was == is {
			continue
		}
		if err := c.entries(path, was, is); err != nil {
			return err
		}
	}
	return nil
}

// next takes the first name off both folders; the entry is zero in the one that
// has no such name.
func next(before, after []entry) (was, is entry, restBefore, restAfter []entry) {
	switch {
	case len(after) == 0 || len(before) > 0 && before[0].name < after[0].name:
		return before[0], entry{}, before[1:], after
	case len(before) == 0 || after[0].name < before[0].name:
		return entry{}, after[0], before, after[1:]
	}
	return before[0], after[0], before[1:], after[1:]
}

// entries compares two entries of one name: the folders in them, then the files.
func (c *comparison) entries(path string, was, is entry) error {
	if c.left--; c.left < 0 {
		return c.tooLarge(path+max(was.name, is.name), "there are more files and folders than the limit")
	}
	path += max(was.name, is.name)
	var wasFolder, isFolder plumbing.Hash
	if was.isFolder() {
		wasFolder, was = was.hash, entry{}
	}
	if is.isFolder() {
		isFolder, is = is.hash, entry{}
	}
	if was != is {
		if err := c.visit(path, was, is); err != nil {
			return err
		}
	}
	return c.folders(path+"/", wasFolder, isFolder)
}

func (c *comparison) tooLarge(path, detail string) error {
	return &failure{kind: ErrTooLarge, detail: "at " + shortened(path) + ", " + detail, hint: "use a smaller repository, or raise the limit of objects"}
}

// errIncomplete says that a fetch did not bring all that it should have.
var errIncomplete = errors.New("the commit came without all of its files")

// newSnapshot reads a commit and makes sure that all of it is in the store. What
// it has in common with a known snapshot of the same store is taken for granted.
func newSnapshot(s *store, hash plumbing.Hash, remote Remote, known *Snapshot) (*Snapshot, error) {
	commit, err := s.commit(hash)
	if err != nil {
		return nil, err
	}
	check := comparison{old: s, new: s, left: remote.Limits.Objects, visit: func(path string, _, is entry) error {
		if isContent(is) && !s.has(is.hash) {
			return fmt.Errorf("%w: %s", errIncomplete, path)
		}
		return nil
	}}
	var old plumbing.Hash
	if known != nil && known.store == s {
		old = known.commit.TreeHash
	}
	if err := check.folders("", old, commit.TreeHash); err != nil {
		return nil, err
	}
	return snapshotOf(s, hash, remote)
}

// snapshotOf is a commit of which all is in the store.
func snapshotOf(s *store, hash plumbing.Hash, remote Remote) (*Snapshot, error) {
	commit, err := s.commit(hash)
	if err != nil {
		return nil, err
	}
	signer, err := signerOf(s, commit, remote)
	if err != nil {
		return nil, err
	}
	return &Snapshot{store: s, branch: remote.Branch, limits: remote.Limits, commit: commit, signer: signer}, nil
}

// signerOf is who signed a commit of a store, if the remote wants to know.
func signerOf(s *store, commit *gitobject.Commit, remote Remote) (string, error) {
	if remote.keys == nil {
		return "", nil
	}
	data, err := s.content(commit.Hash)
	if err != nil {
		return "", err
	}
	signer, err := remote.keys.verify(data, commit.Committer.When)
	if known, ok := errors.AsType[*failure](err); ok {
		known.detail = "commit " + commit.Hash.String() + ": " + known.detail
	}
	return signer, err
}

// lookup finds what is at a path, without following symbolic links.
func (s *Snapshot) lookup(path string) (entry, bool, error) {
	return lookup(s.objects(), s.commit.TreeHash, path)
}

func lookup(s objects, folder plumbing.Hash, path string) (entry, bool, error) {
	name, rest, below := strings.Cut(path, "/")
	entries, err := s.folderAt(folder)
	if err != nil {
		return entry{}, false, err
	}
	found, ok := find(entries, name)
	if !ok || !below {
		return found, ok, nil
	}
	if !found.isFolder() {
		return entry{}, false, nil
	}
	return lookup(s, found.hash, rest)
}
