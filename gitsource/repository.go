package gitsource

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Repository is a branch of a remote and its copy on disk. It may be used by
// several goroutines; they take turns.
type Repository struct {
	folder    string
	remote    Remote
	transport transport
	turn      chan struct{} // holds a token while somebody pulls or pushes
	jitter    Jitter        // between attempts to push

	// last is the newest snapshot; its store is the one that is added to. Nil
	// before the first pull.
	last *Snapshot
	// refused is the commit of which the signature was not accepted last, and why.
	refused refusedCommit
	// compared is how the history was seen to run last.
	compared comparedCommits
	// lineage is what a Writer follows; nil: the branch is taken for what it is.
	lineage *lineage
}

// Jitter is how long to wait before another attempt: at least nothing, and less than the
// most, which is more than nothing. It is asked by one goroutine at a time.
type Jitter func(most time.Duration) time.Duration

// refusedCommit is a commit that need not be fetched again to be refused.
type refusedCommit struct {
	tip plumbing.Hash
	err error
}

// Open opens the copy of a remote that is kept in a folder, and creates the
// folder if it is not there. A copy that is damaged, or of another remote, is
// removed; the next pull makes a new one. Open does not talk to the remote.
//
// The folder belongs to one Repository at a time, and to nothing else. Opening it
// again ends the use of snapshots that were pulled before, if their store had been
// replaced since.
func Open(folder string, remote Remote) (*Repository, error) {
	remote, err := remote.normalise()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", remote, err)
	}
	r := &Repository{folder: folder, remote: remote, turn: make(chan struct{}, 1), jitter: rand.N[time.Duration]}
	if err := r.resume(); err != nil {
		return nil, fmt.Errorf("open the copy of %s in %s: %w: let this program's user write there", remote, folder, err)
	}
	if r.transport, err = newTransport(remote, folder); err != nil {
		return nil, fmt.Errorf("open %s: %w", remote, err)
	}
	return r, nil
}

// Close lets go of the connections that wait to be used again. Nothing else holds on
// to the remote between calls: a Repository that is not needed any more needs no more
// than this, and one that is used again afterwards connects anew. Snapshots stay
// readable.
func (r *Repository) Close() { r.transport.close() }

// storePrefix begins the name of a store's folder. A number follows, higher in each
// store that replaces another, and something random, so that no name is used twice:
// an old store may be removed late.
const storePrefix = "store-"

// resume takes up the newest store that is whole and removes the others.
func (r *Repository) resume() error {
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return err
	}
	if err := r.tidy(); err != nil {
		return err
	}
	stores, err := r.stores()
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(stores) {
		folder := filepath.Join(r.folder, name)
		if r.last == nil {
			r.last = reopen(folder, r.remote)
			if r.last != nil {
				continue
			}
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what a program that was killed may have left.
func (r *Repository) tidy() error {
	left, err := filepath.Glob(filepath.Join(r.folder, scratchPrefix+"*"))
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return err
}

// stores lists the folders of stores, the oldest first.
func (r *Repository) stores() ([]string, error) {
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), storePrefix) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// reopen returns the snapshot that a store stands at, or nil if it is damaged or
// of another remote.
func reopen(folder string, remote Remote) *Snapshot {
	store, tip, err := openStore(folder, remote)
	if err != nil {
		return nil
	}
	snapshot, err := newSnapshot(store, tip, remote, nil)
	if err != nil {
		return nil
	}
	return snapshot
}

// newStore makes the next store.
func (r *Repository) newStore() (*store, error) {
	names, err := r.stores()
	if err != nil {
		return nil, err
	}
	number := 0
	if len(names) > 0 {
		_, _ = fmt.Sscanf(names[len(names)-1], storePrefix+"%d", &number)
	}
	folder, err := os.MkdirTemp(r.folder, fmt.Sprintf("%s%08d-*", storePrefix, number+1))
	if err != nil {
		return nil, err
	}
	return createStore(folder, r.remote)
}

// enter waits for the turn.
func (r *Repository) enter(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another pull or push is under way: %w", ctx.Err())
	}
}

func (r *Repository) leave() { <-r.turn }

// Pull returns the branch as it stands. If it did not move since the last pull or
// push, that is the Snapshot returned then, at the cost of one listing of refs. A
// pull that fails leaves the earlier snapshots as they are.
//
// It takes the branch for what it is. Who wants to know when history was rewritten
// calls PullAfter.
func (r *Repository) Pull(ctx context.Context) (*Snapshot, error) {
	return r.PullAfter(ctx, After{})
}

func (r *Repository) pull(ctx context.Context, after accepted) (*Snapshot, error) {
	from, err := r.transport.read(ctx)
	if err != nil {
		return nil, err
	}
	defer from.close()
	snapshot, err := r.bring(ctx, from)
	if err == nil {
		err = r.checkHistory(ctx, from, snapshot, after)
	}
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

// bring makes a snapshot of the tip, unless there is one.
func (r *Repository) bring(ctx context.Context, from reading) (*Snapshot, error) {
	if r.standsAt(from.tip) {
		return r.last, nil
	}
	if r.refused.tip == from.tip {
		return nil, r.refused.err
	}
	snapshot, err := r.fetch(ctx, from)
	if errors.Is(err, ErrSignature) {
		r.refused = refusedCommit{tip: from.tip, err: err}
	}
	return snapshot, err
}

// fetch adds the tip to the store, or clones it into a new one.
func (r *Repository) fetch(ctx context.Context, from reading) (*Snapshot, error) {
	r.recycleIfWorn()
	if r.last != nil && !r.last.store.worn() {
		snapshot, err := r.update(ctx, from)
		if err == nil || isFinal(ctx, err) {
			return snapshot, err
		}
	}
	snapshot, err := r.clone(ctx, from, extent{shallow: true})
	if err != nil && !isFinal(ctx, err) && !errors.Is(err, ErrTooLarge) {
		snapshot, err = r.clone(ctx, from, extent{})
	}
	return snapshot, r.advised(err)
}

// recycleIfWorn recycles the store when it is due. If that fails, the next fetch clones instead.
func (r *Repository) recycleIfWorn() {
	if r.last == nil || !r.last.store.worn() || r.last.store.damaged.Load() {
		return
	}
	if r.recycle() != nil {
		r.last.store.damaged.Store(true)
	}
}

// advised adds what to do about an error that says nothing about it.
func (r *Repository) advised(err error) error {
	if _, ok := errors.AsType[*failure](err); ok || err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: check the disk that holds %s, and run git fsck in the remote repository", err, r.folder)
}

// standsAt reports whether the last snapshot is of that commit, and readable.
func (r *Repository) standsAt(tip plumbing.Hash) bool {
	return r.last != nil && r.last.commit.Hash == tip && !r.last.store.damaged.Load()
}

// isFinal reports whether another way to fetch would fail as well.
func isFinal(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	for _, final := range []error{ErrAuthentication, ErrTLS, ErrHostKey, ErrRedirect, ErrSignature} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// update adds the tip to the store at hand, and what came before it since the last
// pull: only so does a server leave out what the store has. A commit that is in it
// already, since the branch was moved back, needs no fetch.
func (r *Repository) update(ctx context.Context, from reading) (*Snapshot, error) {
	store := r.last.store
	if !store.has(from.tip) {
		if err := from.fetch(ctx, store, extent{have: r.last.commit.Hash}); err != nil {
			return nil, err
		}
	}
	return r.adopt(store, from.tip)
}

// clone fetches the tip into a new store.
func (r *Repository) clone(ctx context.Context, from reading, want extent) (*Snapshot, error) {
	store, err := r.newStore()
	if err != nil {
		return nil, err
	}
	old := r.last
	err = from.fetch(ctx, store, want)
	var snapshot *Snapshot
	if err == nil {
		snapshot, err = r.adopt(store, from.tip)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(store.folder))
	}
	if old != nil {
		removeUnused(old.store)
	}
	return snapshot, nil
}

// removeUnused removes a store that was replaced as soon as no snapshot of it is
// in use.
func removeUnused(s *store) {
	runtime.AddCleanup(s, func(folder string) { _ = os.RemoveAll(folder) }, s.folder)
}

// adopt makes a commit of a store the last snapshot.
func (r *Repository) adopt(s *store, tip plumbing.Hash) (*Snapshot, error) {
	snapshot, err := newSnapshot(s, tip, r.remote, r.last)
	if err != nil {
		return nil, err
	}
	if err := r.stand(snapshot); err != nil {
		return nil, err
	}
	return snapshot, nil
}

// stand makes a snapshot the last one.
func (r *Repository) stand(at *Snapshot) error {
	if err := at.store.setTip(r.remote.reference(), at.commit.Hash); err != nil {
		return err
	}
	r.last = at
	return nil
}
