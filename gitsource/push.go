package gitsource

import (
	"context"
	"errors"
	"fmt"
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
	// Committer, if it is somebody else.
	Committer Author
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
	return r.pushDecided(ctx, func(now *Snapshot) (Commit, error) {
		return commit, checkConflicts(base, now, commit.Files)
	})
}

// decision is the commit that is right on top of a snapshot, the newest of the branch. It is
// asked again whenever somebody else was faster.
type decision func(now *Snapshot) (Commit, error)

// pushDecided waits for its turn, and pushes what is decided on top of the branch.
func (r *Repository) pushDecided(ctx context.Context, decide decision) (*Snapshot, error) {
	if err := r.enter(ctx); err != nil {
		return nil, fmt.Errorf("push to %s: %w", r.remote, err)
	}
	defer r.leave()
	return r.pushInTurn(ctx, decide)
}

func (r *Repository) pushInTurn(ctx context.Context, decide decision) (*Snapshot, error) {
	snapshot, err := r.push(ctx, decide)
	return snapshot, explainPush(r.remote.String(), err)
}

// explainPush says what was pushed to, and what to do about it if it was refused.
func explainPush(remote string, err error) error {
	if refused, ok := errors.AsType[*refusal](err); ok {
		err = &failure{kind: ErrRejected, detail: refused.reason, hint: "do what the remote asks for, or change its rules for this branch and user"}
	}
	if err != nil {
		return fmt.Errorf("push to %s: %w", remote, err)
	}
	return nil
}

// push tries until the commit lands, or is refused while the branch stands still.
func (r *Repository) push(ctx context.Context, decide decision) (*Snapshot, error) {
	var last attempt
	for number := range maxAttempts {
		if err := r.pause(ctx, number); err != nil {
			return nil, last.doubted(err)
		}
		snapshot, err := r.attempt(ctx, decide, &last)
		if err != nil {
			return nil, last.doubted(err)
		}
		if snapshot != nil {
			return snapshot, nil
		}
		if ended := ctx.Err(); ended != nil {
			return nil, last.doubted(stopped(ended))
		}
	}
	return nil, last.doubted(&failure{
		kind:   ErrBusy,
		detail: fmt.Sprintf("others were faster %d times, at last: %s", maxAttempts, last.refused),
		hint:   "try again later",
	})
}

// attempt is what was tried, and why it did not land; nil: nothing was tried.
type attempt struct {
	tried   proposal
	refused error
}

// doubted adds to an error, where it is so, that the commit may have landed all the same: it
// was sent, and the answer never came.
func (a attempt) doubted(err error) error {
	if a.refused == nil {
		return err
	}
	if _, refused := errors.AsType[*refusal](a.refused); refused {
		return err
	}
	for _, certain := range []error{ErrAuthentication, ErrTLS, ErrHostKey, ErrRedirect} {
		if errors.Is(a.refused, certain) {
			return err
		}
	}
	return &doubt{err}
}

// doubt is the failure of a push that may have landed.
type doubt struct{ cause error }

func (d *doubt) Error() string {
	return d.cause.Error() + ": " + ErrOutcomeUnknown.Error() + ": push the same again, which finds it if it did"
}

func (d *doubt) Unwrap() []error { return []error{d.cause, ErrOutcomeUnknown} }

// attempt puts a commit on top of the branch, once. Neither a snapshot nor an error:
// try again.
func (r *Repository) attempt(ctx context.Context, decide decision, last *attempt) (*Snapshot, error) {
	to, err := r.transport.write(ctx)
	if err != nil {
		return nil, err
	}
	defer to.close()
	if to.tip.IsZero() {
		return nil, noBranch(r.remote.Branch)
	}
	if last.refused != nil && to.tip == last.tried.hash {
		return r.land(last.tried)
	}
	if last.refused != nil && to.tip == last.tried.parent && !isBusy(last.refused) {
		return nil, last.refused
	}
	if last.tried, err = r.propose(ctx, to.tip, decide); err != nil {
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
func (r *Repository) pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	const shortest, longest = 10 * time.Millisecond, 500 * time.Millisecond
	timer := time.NewTimer(r.jitter(min(shortest<<attempt, longest)))
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
	pack         *pack
	made         edited // what the pack holds besides the commit
}

func (p proposal) isEmpty() bool { return p.hash == p.parent }

// propose puts a commit on top of the branch, which stood at tip a moment ago.
func (r *Repository) propose(ctx context.Context, tip plumbing.Hash, decide decision) (proposal, error) {
	if !r.standsAt(tip) || !r.isAccepted() {
		if _, err := r.pullNext(ctx); err != nil {
			return proposal{}, err
		}
	}
	commit, err := decide(r.last)
	if err != nil {
		return proposal{}, err
	}
	parent := r.last.commit
	made, err := edit(r.last.store, parent.TreeHash, commit.Files)
	if err != nil {
		return proposal{}, err
	}
	if made.root == parent.TreeHash {
		return proposal{parent: parent.Hash, hash: parent.Hash}, nil
	}
	signed, err := r.remote.sign(commit.object(made.root, parent.Hash))
	if err != nil {
		return proposal{}, err
	}
	pack, err := packOf(append(made.objects, signed))
	return proposal{parent: parent.Hash, hash: signed.hash, pack: pack, made: made}, err
}

// land makes a commit that was pushed the last snapshot. It is not looked through: the one before
// was complete, and the pack holds the rest.
func (r *Repository) land(p proposal) (*Snapshot, error) {
	r.recycleIfWorn()
	store := r.last.store
	if err := store.addOwn(p.pack, p.made); err != nil {
		return nil, fmt.Errorf("commit %s was pushed, but not stored here: %w: pull to get it", p.hash, err)
	}
	landed, err := snapshotOf(store, p.hash, r.remote)
	if err != nil {
		return nil, err
	}
	if err := r.stand(landed); err != nil {
		return nil, err
	}
	if r.lineage != nil {
		r.lineage.accepted = landed.Revision()
	}
	return landed, nil
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

func (a Author) at(when time.Time) gitobject.Signature {
	return gitobject.Signature{Name: a.Name, Email: a.Email, When: when}
}

// check refuses a name that a commit could not hold.
func (a Author) check(role string) error {
	if a.Name == "" || a.Email == "" || strings.ContainsAny(a.Name+a.Email, "<>\n\r\x00") {
		return invalid("its %s is %q <%q>: give a name and an address without <, > and line breaks", role, a.Name, a.Email)
	}
	return nil
}

// object is the commit itself (git-commit-tree).
func (c Commit) object(tree, parent plumbing.Hash) *gitobject.Commit {
	committer := c.Committer
	if committer == (Author{}) {
		committer = c.Author
	}
	return &gitobject.Commit{
		Author: c.Author.at(c.When), Committer: committer.at(c.When),
		Message:  strings.TrimRight(c.Message, "\n") + "\n",
		TreeHash: tree, ParentHashes: []plumbing.Hash{parent},
	}
}

// check refuses a commit that Git could not hold.
func (c Commit) check(limits Limits) error {
	if err := c.Author.check("author"); err != nil {
		return err
	}
	if c.Committer != (Author{}) {
		if err := c.Committer.check("committer"); err != nil {
			return err
		}
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
