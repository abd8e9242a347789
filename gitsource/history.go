package gitsource

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
)

// After says what a pull has to follow: the commit that was accepted last. It
// outlives the copy on disk: a program that starts anew with an empty folder knows
// what it accepted before.
type After struct {
	// Revision that was accepted last, as [Snapshot.Revision] gives it; empty: any
	// will do. Only its commit counts, not its branch.
	Revision string
	// Accept is a revision that is accepted although it does not follow: the Is of
	// a [RewrittenError] that somebody looked at.
	Accept string
}

// RewrittenError says that a branch does not hold any more what was accepted from
// it: commits were taken back or replaced. It is an [ErrRewritten].
type RewrittenError struct {
	// Was is the revision that was accepted last, Is the one that the branch is at.
	Was, Is string

	movedBack bool
}

// Error names both revisions, and what may be done.
func (e *RewrittenError) Error() string {
	what := "does not descend from it"
	if e.movedBack {
		what = "is older: the branch was moved back"
	}
	return fmt.Sprintf("%s: %s was accepted last, and %s, which the branch is at now, %s: put the branch back, or accept %s if that was meant", ErrRewritten, e.Was, e.Is, what, e.Is)
}

// Unwrap makes it an ErrRewritten.
func (e *RewrittenError) Unwrap() error { return ErrRewritten }

// relation is how a commit stands to one that was there before.
type relation int

const (
	// unknown: too little of the history is there to tell.
	unknown relation = iota
	// follows: it descends from the other, or is the same.
	follows
	// precedes: it is one of those that the other descends from.
	precedes
	// departs: neither.
	departs
)

// commits finds a commit, and says whether it is known.
type commits func(plumbing.Hash) (commit *gitobject.Commit, known bool, err error)

// trace goes from a commit to those before it and looks for another. What find
// does not know, it does not go beyond: then a search in vain is unknown, else it is
// departs.
func trace(ctx context.Context, from, to plumbing.Hash, find commits) (relation, error) {
	otherwise := departs
	seen := map[plumbing.Hash]bool{from: true}
	for next := []plumbing.Hash{from}; len(next) > 0; next = next[1:] {
		if next[0] == to {
			return follows, nil
		}
		if err := ctx.Err(); err != nil {
			return unknown, stopped(err)
		}
		commit, known, err := find(next[0])
		if err != nil {
			return unknown, err
		}
		if !known {
			otherwise = unknown
			continue
		}
		for _, parent := range commit.ParentHashes {
			if !seen[parent] {
				seen[parent] = true
				next = append(next, parent)
			}
		}
	}
	return otherwise, nil
}

// PullAfter is [Repository.Pull] for those who want to know when history was
// rewritten: if the branch is at a commit that does not descend from the one that
// was accepted last, it returns a [RewrittenError] instead. The zero After makes it
// Pull.
//
// A branch that did not move, or moved on, costs no more than with Pull. Only where
// the copy on disk does not show the way from one commit to the other, as after it
// was cloned anew, is the remote asked for it; if it can do that, it sends commits
// only.
func (r *Repository) PullAfter(ctx context.Context, after After) (*Snapshot, error) {
	accepted, err := after.parse()
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", r.remote, err)
	}
	if err := r.enter(ctx); err != nil {
		return nil, fmt.Errorf("pull %s: %w", r.remote, err)
	}
	defer r.leave()
	snapshot, err := r.pull(ctx, accepted)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", r.remote, err)
	}
	return snapshot, nil
}

// accepted is an After whose revisions were read. Zero hashes stand for none.
type accepted struct {
	after    After
	was, now plumbing.Hash
}

func (a After) parse() (accepted, error) {
	was, err := commitOf(a.Revision)
	if err != nil {
		return accepted{}, err
	}
	now, err := commitOf(a.Accept)
	return accepted{after: a, was: was, now: now}, err
}

// commitOf is the commit that a revision names.
func commitOf(revision string) (plumbing.Hash, error) {
	if revision == "" {
		return plumbing.ZeroHash, nil
	}
	_, digits, found := strings.Cut(revision, "@sha1:")
	if _, err := hex.DecodeString(digits); !found || err != nil || !plumbing.IsHash(digits) {
		return plumbing.ZeroHash, fmt.Errorf("%q is not a revision: write it as main@sha1: and 40 hex digits", shortened(revision))
	}
	return plumbing.NewHash(digits), nil
}

// checkHistory refuses a commit that does not follow the one accepted last. What it
// found last it does not look for again.
func (r *Repository) checkHistory(ctx context.Context, from reading, s *Snapshot, a accepted) error {
	is := s.commit.Hash
	if a.was.IsZero() || is == a.was || is == a.now {
		return nil
	}
	if r.compared.was != a.was || r.compared.is != is {
		found, err := r.relate(ctx, from, s.store, a.was)
		if err != nil {
			return err
		}
		r.compared = comparedCommits{was: a.was, is: is, found: found}
	}
	if r.compared.found == follows {
		return nil
	}
	return &RewrittenError{Was: a.after.Revision, Is: s.Revision(), movedBack: r.compared.found == precedes}
}

// lineage is what a Writer has accepted of a branch, and may accept.
type lineage struct {
	// after says what is known from before, and what a person accepts.
	after func() After
	// accepted is the revision that was read or pushed last; empty: none yet.
	accepted string
	// used is what a person accepted and was read: it is no permit to go back to it later, until
	// something else is accepted, or nothing.
	used string
}

// ask what the branch must come after now.
func (l *lineage) ask() (accepted, error) {
	after := l.after()
	after.Revision = cmp.Or(l.accepted, after.Revision)
	if after.Accept != l.used {
		l.used = ""
	} else {
		after.Accept = ""
	}
	return after.parse()
}

// pullNext is pull for a Writer: where there is a lineage, the branch must go on from it, or
// from what a person has accepted in its place. Others may have gone on from that by now.
func (r *Repository) pullNext(ctx context.Context) (*Snapshot, error) {
	if r.lineage == nil {
		return r.pull(ctx, accepted{})
	}
	follows, err := r.lineage.ask()
	if err != nil {
		return nil, err
	}
	snapshot, err := r.pull(ctx, accepted{after: follows.after, was: follows.was})
	if errors.Is(err, ErrRewritten) && !follows.now.IsZero() {
		further, elsewhere := r.pull(ctx, accepted{after: After{Revision: follows.after.Accept}, was: follows.now})
		if elsewhere == nil {
			snapshot, err, r.lineage.used = further, nil, follows.after.Accept
		}
	}
	if err == nil {
		r.lineage.accepted = snapshot.Revision()
	}
	return snapshot, err
}

// isAccepted reports whether the last snapshot may be built on.
func (r *Repository) isAccepted() bool {
	return r.lineage == nil || r.last != nil && r.lineage.accepted == r.last.Revision()
}

// comparedCommits is how one commit stood to another.
type comparedCommits struct {
	was, is plumbing.Hash
	found   relation
}

// relate tells how the tip stands to a commit that was there before: as the store
// shows, or else the remote.
func (r *Repository) relate(ctx context.Context, from reading, s *store, was plumbing.Hash) (relation, error) {
	found, err := trace(ctx, from.tip, was, s.known)
	if found == follows || err != nil {
		return found, err
	}
	back, err := trace(ctx, was, from.tip, s.known)
	if err != nil {
		return unknown, err
	}
	if back == follows {
		return precedes, nil
	}
	if found == departs && back == departs {
		return departs, nil
	}
	return r.askForHistory(ctx, from, was, func(commits) error { return nil })
}

// scratchPrefix begins the name of a folder that holds history for a moment.
const scratchPrefix = "history-"

func (r *Repository) askForHistory(ctx context.Context, from reading, was plumbing.Hash, told func(commits) error) (relation, error) {
	folder, err := os.MkdirTemp(r.folder, scratchPrefix+"*")
	if err != nil {
		return unknown, err
	}
	defer os.RemoveAll(folder)
	scratch, err := createStore(folder, r.remote)
	if err != nil {
		return unknown, err
	}
	return from.relate(ctx, scratch, was, told)
}

// known finds a commit in the store.
func (s *store) known(hash plumbing.Hash) (*gitobject.Commit, bool, error) {
	if !s.has(hash) {
		return nil, false, nil
	}
	commit, err := s.commit(hash)
	return commit, err == nil, err
}

// MessagesSince are the messages of the commits of a snapshot that are new since a revision:
// the snapshot's own, then those of what it merged, then those before it. Where the copy on
// disk does not show the way from one to the other, as after it was cloned anew, the remote is
// asked for it. Of a snapshot that does not descend from the revision, or where there is none,
// it is its own message alone.
func (r *Repository) MessagesSince(ctx context.Context, s *Snapshot, revision string) ([]string, error) {
	told, err := r.messagesSince(ctx, s, revision)
	if err != nil {
		return nil, fmt.Errorf("read the history from %s to %s: %w", revision, s.Revision(), err)
	}
	return told, nil
}

func (r *Repository) messagesSince(ctx context.Context, s *Snapshot, revision string) (told []string, err error) {
	was, err := commitOf(revision)
	if err != nil || was == s.commit.Hash {
		return nil, err
	}
	if was.IsZero() {
		return []string{s.Message()}, nil
	}
	read := func(find commits) error {
		told, err = messagesBetween(was, s.commit.Hash, find)
		return err
	}
	found, err := trace(ctx, s.commit.Hash, was, s.store.known)
	if err == nil && found == follows {
		return told, read(s.store.known)
	}
	if err == nil {
		found, err = r.askWhatFollows(ctx, s, was, read)
	}
	if err == nil && found != follows {
		told = []string{s.Message()}
	}
	return told, err
}

// askWhatFollows asks the remote for the history between two commits.
func (r *Repository) askWhatFollows(ctx context.Context, s *Snapshot, was plumbing.Hash, told func(commits) error) (relation, error) {
	if err := r.enter(ctx); err != nil {
		return unknown, err
	}
	defer r.leave()
	from, err := r.transport.read(ctx)
	if err != nil {
		return unknown, err
	}
	defer from.close()
	if from.tip != s.commit.Hash {
		return unknown, fmt.Errorf("the branch moved on meanwhile, to %s: try again", from.tip)
	}
	return r.askForHistory(ctx, from, was, told)
}

// maxMessages bounds how far back a history is read.
const maxMessages = 10_000

// messagesBetween are those of the commits from one back to another, without that and what
// came before it.
func messagesBetween(was, is plumbing.Hash, find commits) ([]string, error) {
	seen := map[plumbing.Hash]bool{}
	if _, err := messagesFrom(was, find, seen); err != nil {
		return nil, err
	}
	return messagesFrom(is, find, seen)
}

// messagesFrom a commit back, each that was not seen before; what a merge brought before what
// was there.
func messagesFrom(commit plumbing.Hash, find commits, seen map[plumbing.Hash]bool) ([]string, error) {
	var told []string
	for next := []plumbing.Hash{commit}; len(next) > 0 && len(told) < maxMessages; {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		found, known, err := find(at)
		if err != nil {
			return nil, err
		}
		if known {
			told, next = append(told, found.Message), append(next, found.ParentHashes...)
		}
	}
	return told, nil
}
