package gitsource

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"
)

// transport talks to a remote. Each call of read and write lists its refs once.
// The errors of both, and of what they return, are failures, errors of the
// context, or something that a clean clone may cure.
type transport interface {
	read(ctx context.Context) (reading, error)
	write(ctx context.Context) (writing, error)
}

// reading is a listing from which the branch can be fetched.
type reading struct {
	// tip of the branch.
	tip plumbing.Hash
	// fetch adds the tip and all it consists of to a store.
	fetch func(ctx context.Context, into *store, want extent) error
}

// extent is how much of the branch is fetched.
type extent struct {
	// have is a commit that the store holds, with its history back to the store's
	// boundaries: nothing of these needs to be sent. Zero: none.
	have plumbing.Hash
	// shallow leaves out the history, where the remote can do that.
	shallow bool
}

// writing is a listing from which the branch can be pushed to.
type writing struct {
	// tip of the branch.
	tip plumbing.Hash
	// push sends the pack and moves the branch from one commit to the next, if it
	// still stands at the first.
	push func(ctx context.Context, from, to plumbing.Hash, pack []byte) error
}

// refusal is a push that the remote did not accept, in its words.
type refusal struct {
	reason string
	// busy: another push was under way.
	busy bool
}

func (r *refusal) Error() string { return r.reason }
