package gitsource

import (
	"context"
	"net/url"

	"github.com/go-git/go-git/v5/plumbing"
)

// transport talks to a remote. Each call of read and write lists its refs once.
// The errors of both, and of what they return, are failures, errors of the
// context, or something that a clean clone may cure.
type transport interface {
	read(ctx context.Context) (reading, error)
	write(ctx context.Context) (writing, error)
	// close lets go of connections that wait to be used again.
	close()
}

// reading is a listing from which the branch can be fetched.
type reading struct {
	// tip of the branch.
	tip plumbing.Hash
	// fetch adds the tip and all it consists of to a store.
	fetch func(ctx context.Context, into *store, want extent) error
	// relate tells how the tip stands to another commit, as the remote's history
	// shows. It may fill the scratch store, which is removed afterwards.
	// Where it follows, told gets the commits that tell so, as long as it runs.
	relate func(ctx context.Context, scratch *store, to plumbing.Hash, told func(commits) error) (relation, error)
	// close ends the conversation, if there is one.
	close func()
}

// extent is how much of the branch is fetched.
type extent struct {
	// have is a commit that the store holds, with its history back to the store's
	// boundaries: nothing of these needs to be sent. Zero: none.
	have plumbing.Hash
	// shallow leaves out the history, where the remote can do that.
	shallow bool
	// parent brings the commit before the tip as well, and leaves out what came before
	// that, where the remote can do that.
	parent bool
	// commits leaves out files and folders, where the remote can do that. What
	// comes is of use as history only.
	commits bool
}

// writing is a listing from which the branch can be pushed to.
type writing struct {
	// tip of the branch; zero if there is no such branch.
	tip plumbing.Hash
	// push sends the pack and moves the branch from one commit to the next, if it
	// still stands at the first. From zero it is created.
	push func(ctx context.Context, from, to plumbing.Hash, pack *pack) error
	// close ends the conversation, if there is one.
	close func()
}

// refusal is a push that the remote did not accept, in its words.
type refusal struct {
	reason string
	// busy: another push was under way.
	busy bool
}

func (r *refusal) Error() string { return r.reason }

// newTransport is the way to a remote. In the folder, that of the copy, it may lay a file
// down for a moment.
func newTransport(remote Remote, folder string) (transport, error) {
	address, err := url.Parse(remote.URL)
	if err != nil {
		return nil, err
	}
	switch address.Scheme {
	case "file":
		return newLocal(remote, address, folder), nil
	case "ssh":
		connect, err := newSSH(remote, address, folder)
		return &smart{remote: remote, connect: connect}, err
	}
	connect, err := newHTTPS(remote, address)
	return &smart{remote: remote, connect: connect}, err
}
