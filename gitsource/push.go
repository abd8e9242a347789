package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
)

// Author is who a commit is by.
type Author struct{ Name, Email string }

// Commit is files to write and files to delete.
type Commit struct {
	// Author and committer. Neither name nor address may be empty or hold <, > or
	// a line break.
	Author Author
	// Message for people; not empty.
	Message string
	// When the commit is made, to the second.
	When time.Time
	// Files by their paths from the repository's root, with slashes; nil deletes,
	// and to delete what is not there is nothing. Folders come and go with their
	// files. An executable file stays executable.
	Files map[string][]byte
}

// maxAttempts is how often a push is tried while others are faster.
const maxAttempts = 12

// Push commits files to the branch and returns the Snapshot of the commit. A
// commit that changes nothing is not made: Push returns the branch as it stands.
//
// base is the snapshot that the commit was decided on. If one of the commit's
// files was changed to something else since then, Push returns a [ConflictError].
// A nil base overwrites whatever is there.
//
// A commit that landed although its answer was lost, is found by the next attempt
// and not made twice.
func (r *Repository) Push(ctx context.Context, base *Snapshot, commit Commit) (*Snapshot, error) {
	if err := commit.check(r.remote.Limits); err != nil {
		return nil, fmt.Errorf("push to %s: %w", r.remote, err)
	}
	if err := r.enter(ctx); err != nil {
		return nil, fmt.Errorf("push to %s: %w", r.remote, err)
	}
	defer r.leave()
	snapshot, err := r.push(ctx, base, commit)
	if refused, ok := errors.AsType[*refusal](err); ok {
		err = &failure{kind: ErrRejected, detail: refused.reason, hint: "do what the remote asks for, or change its rules for this branch and user"}
	}
	if err != nil {
		return nil, fmt.Errorf("push to %s: %w", r.remote, err)
	}
	return snapshot, nil
}

// push tries until the commit lands, or is refused while the branch stands still.
func (r *Repository) push(ctx context.Context, base *Snapshot, commit Commit) (*Snapshot, error) {
	var last attempt
	for number := range maxAttempts {
		if err := pause(ctx, number); err != nil {
			return nil, err
		}
		snapshot, err := r.attempt(ctx, base, commit, &last)
		if snapshot != nil || err != nil {
			return snapshot, err
		}
		if ended := ctx.Err(); ended != nil {
			return nil, stopped(ended)
		}
	}
	return nil, &failure{
		kind:   ErrRejected,
		detail: fmt.Sprintf("others were faster %d times, at last: %s", maxAttempts, last.refused),
		hint:   "try again later",
	}
}

// attempt is what was tried, and why it did not land; nil: nothing was tried.
type attempt struct {
	tried   proposal
	refused error
}

// attempt puts a commit on top of the branch, once. Neither a snapshot nor an error:
// try again.
func (r *Repository) attempt(ctx context.Context, base *Snapshot, commit Commit, last *attempt) (*Snapshot, error) {
	to, err := r.transport.write(ctx)
	if err != nil {
		return nil, err
	}
	defer to.close()
	if last.refused != nil && to.tip == last.tried.hash {
		return r.land(last.tried)
	}
	if last.refused != nil && to.tip == last.tried.parent && !isBusy(last.refused) {
		return nil, last.refused
	}
	if last.tried, err = r.propose(ctx, to.tip, base, commit); err != nil {
		return nil, err
	}
	if last.tried.isEmpty() {
		return r.last, nil
	}
	if last.refused = to.push(ctx, last.tried.parent, last.tried.hash, last.tried.pack); last.refused == nil {
		return r.land(last.tried)
	}
	return nil, nil
}

func isBusy(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.busy
}

// pause waits before a further attempt, longer each time and never the same, so
// that two writers do not keep in step.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	const shortest, longest = 10 * time.Millisecond, 500 * time.Millisecond
	timer := time.NewTimer(rand.N(min(shortest<<attempt, longest)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return stopped(ctx.Err())
	}
}

// proposal is a commit on top of another, ready to be sent.
type proposal struct {
	parent, hash plumbing.Hash
	pack         []byte
}

func (p proposal) isEmpty() bool { return p.hash == p.parent }

// propose puts a commit on top of the branch, which stood at tip a moment ago.
func (r *Repository) propose(ctx context.Context, tip plumbing.Hash, base *Snapshot, commit Commit) (proposal, error) {
	if !r.standsAt(tip) {
		if _, err := r.pull(ctx, accepted{}); err != nil {
			return proposal{}, err
		}
	}
	if err := checkConflicts(base, r.last, commit.Files); err != nil {
		return proposal{}, err
	}
	parent := r.last.commit
	tree, objects, err := edit(r.last.store, parent.TreeHash, commit.Files)
	if err != nil {
		return proposal{}, err
	}
	if tree == parent.TreeHash {
		return proposal{parent: parent.Hash, hash: parent.Hash}, nil
	}
	made, err := r.remote.sign(commit.object(tree, parent.Hash))
	if err != nil {
		return proposal{}, err
	}
	pack, err := packOf(append(objects, made))
	return proposal{parent: parent.Hash, hash: made.hash, pack: pack}, err
}

// land makes a commit that was pushed the last snapshot.
func (r *Repository) land(p proposal) (*Snapshot, error) {
	store := r.last.store
	err := store.addPack(r.remote.Limits, func(w io.Writer) error {
		_, err := w.Write(p.pack)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("commit %s was pushed, but not stored here: %w: pull to get it", p.hash, err)
	}
	return r.adopt(store, p.hash)
}

// checkConflicts finds the files that are neither as they were nor as they shall be.
func checkConflicts(base, now *Snapshot, files map[string][]byte) error {
	if base == nil || base.commit.Hash == now.commit.Hash {
		return nil
	}
	var conflicts []string
	for path, data := range files {
		was, _, err := base.lookup(path)
		if err != nil {
			return err
		}
		is, there, err := now.lookup(path)
		if err != nil {
			return err
		}
		wanted := there == (data != nil) && (!there || is.hash == plumbing.ComputeHash(plumbing.BlobObject, data))
		if was != is && !wanted {
			conflicts = append(conflicts, path)
		}
	}
	if len(conflicts) == 0 {
		return nil
	}
	slices.Sort(conflicts)
	return &ConflictError{Paths: conflicts}
}

// object is the commit itself (git-commit-tree).
func (c Commit) object(tree, parent plumbing.Hash) *gitobject.Commit {
	by := gitobject.Signature{Name: c.Author.Name, Email: c.Author.Email, When: c.When}
	return &gitobject.Commit{
		Author: by, Committer: by,
		Message:  strings.TrimRight(c.Message, "\n") + "\n",
		TreeHash: tree, ParentHashes: []plumbing.Hash{parent},
	}
}

// check refuses a commit that Git could not hold.
func (c Commit) check(limits Limits) error {
	if c.Author.Name == "" || c.Author.Email == "" || strings.ContainsAny(c.Author.Name+c.Author.Email, "<>\n\r\x00") {
		return invalid("its author is %q <%q>: give a name and an address without <, > and line breaks", c.Author.Name, c.Author.Email)
	}
	if strings.TrimSpace(c.Message) == "" || strings.ContainsRune(c.Message, 0) {
		return invalid("its message is empty or holds a NUL: say what the commit does")
	}
	if c.When.Unix() < 0 {
		return invalid("it was made before 1970: give the current time")
	}
	for path, data := range c.Files {
		if err := checkPath(path); err != nil {
			return err
		}
		if int64(len(data)) > limits.File {
			return fmt.Errorf("%s: %w", path, tooLarge(int64(len(data)), limits.File))
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalidCommit}, args...)...)
}
