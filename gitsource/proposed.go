package gitsource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
)

// RegistrationBranch is the branch on which a group's registrations wait for their pull
// request to be merged.
func RegistrationBranch(group string) string { return "reanchor/registrations/" + group }

// baseTrailer ends the message of a commit on such a branch, and names the commit of the base
// branch that it was made on: its only parent.
const baseTrailer = "Reanchor-Base: "

// proposed is a branch that waits to be merged into the one of the repository, the base. It is
// always one commit on top of the base, which holds everything that waits: a further document
// replaces it by one on top of the newest base. What was merged meanwhile is not in it any more,
// however it was merged, nor what the base has something else for. If somebody else commits to
// the branch, nothing of that is replaced: further commits go on top.
type proposed struct {
	base      *Repository
	branch    string
	folder    string // of the devices
	transport transport

	tip     plumbing.Hash // as the rest was learnt
	foreign bool          // somebody else committed
	tree    plumbing.Hash // of the tip, if it is foreign
	waits   map[string]wait
	next    map[string]wait // what waits once the push has landed
}

// wait is a file of the branch that the base has not.
type wait struct {
	was     plumbing.Hash // what stood there in the base; zero: nothing
	content []byte
}

// newProposed prepares to write to the remote's branch; the base is that of the repository.
func newProposed(base *Repository, remote Remote, folder string) (*proposed, error) {
	remote, err := remote.normalise()
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(remote, base.folder)
	return &proposed{base: base, branch: remote.Branch, folder: folder, transport: transport}, err
}

func (p *proposed) pushInTurn(ctx context.Context, decide decision) (*Snapshot, error) {
	snapshot, err := p.push(ctx, decide)
	return snapshot, explainPush(p.branch+" of "+p.base.remote.address(), err)
}

// push makes the branch hold what is decided, besides what waits there. It needs the
// repository's turn.
func (p *proposed) push(ctx context.Context, decide decision) (*Snapshot, error) {
	var last attempt
	for number := range maxAttempts {
		if err := p.base.pause(ctx, number); err != nil {
			return nil, last.doubted(err)
		}
		snapshot, err := p.attempt(ctx, decide, &last)
		if err != nil {
			return nil, last.doubted(err)
		}
		if snapshot != nil {
			return snapshot, nil
		}
	}
	return nil, last.doubted(&failure{kind: ErrBusy, detail: fmt.Sprintf("others were faster %d times, at last: %s", maxAttempts, last.refused), hint: "try again later"})
}

// attempt tries once. Neither a snapshot nor an error: try again.
func (p *proposed) attempt(ctx context.Context, decide decision, last *attempt) (*Snapshot, error) {
	base, err := p.base.pullNext(ctx)
	if err != nil {
		return nil, err
	}
	to, err := p.transport.write(ctx)
	if err != nil {
		return nil, err
	}
	defer to.close()
	if last.refused != nil && !isBusy(last.refused) && to.tip == last.tried.parent {
		return nil, last.refused
	}
	if err := p.follow(ctx, base, to.tip); wasReplaced(err) {
		if last.refused == nil { // of what was sent before, it is still to be told what became
			last.refused = &refusal{reason: "the branch was replaced while it was read", busy: true}
		}
		return nil, ctxEnd(ctx)
	} else if err != nil {
		return nil, err
	}
	made, pack, err := p.make(base, decide)
	if err != nil || pack == nil {
		return made, err
	}
	last.tried = proposal{parent: to.tip, hash: made.commit.Hash, pack: pack}
	if last.refused = to.push(ctx, to.tip, made.commit.Hash, pack); last.refused != nil {
		return nil, ctxEnd(ctx)
	}
	p.landed(made.commit)
	return made, nil
}

// pull is the branch as the next commit would find it: the newest base with what waits. If
// the branch is replaced meanwhile, it is looked at again.
func (p *proposed) pull(ctx context.Context) (*Snapshot, error) {
	for number := 0; ; number++ {
		if err := p.base.pause(ctx, number); err != nil {
			return nil, err
		}
		snapshot, err := p.look(ctx)
		if !wasReplaced(err) || number == maxAttempts {
			return snapshot, err
		}
	}
}

// look at the branch once.
func (p *proposed) look(ctx context.Context) (*Snapshot, error) {
	base, err := p.base.pullNext(ctx)
	if err != nil {
		return nil, err
	}
	from, err := p.transport.read(ctx)
	if err != nil && !errors.Is(err, ErrBranchNotFound) {
		return nil, err
	}
	if err == nil {
		defer from.close()
	}
	if err := p.follow(ctx, base, from.tip); err != nil {
		return nil, err
	}
	files, err := p.waiting(base)
	if err != nil {
		return nil, err
	}
	on, _, err := p.stand(base, files)
	return on, err
}

// follow learns what waits, unless that is known.
func (p *proposed) follow(ctx context.Context, base *Snapshot, tip plumbing.Hash) error {
	if tip == p.tip && !tip.IsZero() && !p.foreign {
		return nil
	}
	return p.learn(ctx, base, tip)
}

// landed remembers what waits now. What is on top of somebody else's commit is read anew.
func (p *proposed) landed(commit *gitobject.Commit) {
	p.tip, p.waits, p.foreign = plumbing.ZeroHash, nil, false
	if isOurs(commit) {
		p.tip, p.waits = commit.Hash, p.next
	}
}

func ctxEnd(ctx context.Context) error {
	if ended := ctx.Err(); ended != nil {
		return stopped(ended)
	}
	return nil
}

// learn reads what waits on the branch: what its commit has that the one before it has not.
func (p *proposed) learn(ctx context.Context, base *Snapshot, tip plumbing.Hash) error {
	p.tip, p.foreign, p.waits = plumbing.ZeroHash, false, map[string]wait{}
	if tip.IsZero() || tip == base.commit.Hash {
		return nil
	}
	from, err := p.transport.read(ctx)
	if err != nil {
		return err
	}
	defer from.close()
	store := base.store
	if !store.hasWithParents(from.tip) {
		err = from.fetch(ctx, store, extent{have: base.commit.Hash, parent: true})
		if err != nil && !isFinal(ctx, err) {
			err = from.fetch(ctx, store, extent{})
		}
	}
	if err == nil {
		err = p.read(store, from.tip, base.limits)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", p.branch, err)
	}
	p.tip = from.tip
	return nil
}

// hasWithParents reports whether a commit is there, and those before it.
func (s *store) hasWithParents(tip plumbing.Hash) bool {
	if !s.has(tip) {
		return false
	}
	commit, err := s.commit(tip)
	return err == nil && !slices.ContainsFunc(commit.ParentHashes, func(parent plumbing.Hash) bool { return !s.has(parent) })
}

// read takes what waits from a commit that is in the store.
func (p *proposed) read(s *store, tip plumbing.Hash, limits Limits) error {
	commit, err := s.commit(tip)
	if err != nil {
		return err
	}
	if p.tree = commit.TreeHash; !isOurs(commit) {
		p.foreign = true
		return nil
	}
	parent, err := s.commit(commit.ParentHashes[0])
	if err != nil {
		return err
	}
	changes := comparison{old: s, new: s, left: limits.Objects, visit: func(path string, was, is entry) error {
		if !isContent(is) || !strings.HasPrefix(path, p.folder+"/") {
			p.foreign = true // whatever it says of itself
			return nil
		}
		content, err := s.content(is.hash)
		p.waits[path] = wait{was: was.hash, content: content}
		return err
	}}
	return changes.folders("", parent.TreeHash, commit.TreeHash)
}

// isOurs reports whether a commit was made here, on top of the base.
func isOurs(commit *gitobject.Commit) bool {
	return len(commit.ParentHashes) == 1 && strings.Contains(commit.Message+"\n", "\n"+baseTrailer+commit.ParentHashes[0].String()+"\n")
}

// make decides on top of what waits, and makes the commit. Without a pack there is nothing to
// push.
func (p *proposed) make(base *Snapshot, decide decision) (*Snapshot, *pack, error) {
	files, err := p.waiting(base)
	if err != nil {
		return nil, nil, err
	}
	on, parent, err := p.stand(base, files)
	if err != nil {
		return nil, nil, err
	}
	commit, err := decide(on)
	if err != nil || len(commit.Files) == 0 {
		return on, nil, err
	}
	maps.Copy(files, commit.Files)
	if p.next, err = waitsOn(base, files); err != nil {
		return nil, nil, err
	}
	edited, err := edit(base.store, parent.TreeHash, files)
	if err != nil {
		return nil, nil, err
	}
	if parent.Hash == base.commit.Hash {
		commit.Message = strings.TrimRight(commit.Message, "\n") + "\n\n" + baseTrailer + parent.Hash.String()
	}
	unsigned := commit.object(edited.root, parent.Hash)
	made, err := p.base.remote.sign(unsigned)
	if err != nil {
		return nil, nil, err
	}
	unsigned.Hash = made.hash
	pack, err := packOf(append(edited.objects, made))
	return p.snapshot(base, unsigned, edited.objects), pack, err
}

// waitsOn is what is to be remembered of files that are on top of the base.
func waitsOn(base *Snapshot, files map[string][]byte) (map[string]wait, error) {
	waits := map[string]wait{}
	for path, content := range files {
		stands, _, err := standing(base.objects(), base.commit.TreeHash, path)
		if err != nil {
			return nil, err
		}
		waits[path] = wait{was: stands.hash, content: content}
	}
	return waits, nil
}

// waiting is what of the files that wait is still to be merged: the base has what it had when
// they were decided.
func (p *proposed) waiting(base *Snapshot) (map[string][]byte, error) {
	files := map[string][]byte{}
	if p.foreign {
		return files, nil
	}
	for path, wait := range p.waits {
		stands, _, err := standing(base.objects(), base.commit.TreeHash, path)
		if err != nil {
			return nil, err
		}
		if stands.hash == wait.was {
			files[path] = wait.content
		}
	}
	return files, nil
}

// stand is the tree that is decided on, and the commit that the next one is made on: the base
// with what waits; or the branch as it is, if somebody else committed to it and not all of that
// is merged.
func (p *proposed) stand(base *Snapshot, files map[string][]byte) (on *Snapshot, parent *gitobject.Commit, err error) {
	merged, err := p.isMerged(base)
	if err != nil {
		return nil, nil, err
	}
	if p.foreign && !merged {
		commit := &gitobject.Commit{Hash: p.tip, TreeHash: p.tree}
		return p.snapshot(base, commit, nil), commit, nil
	}
	if len(files) == 0 {
		return base, base.commit, nil
	}
	edited, err := edit(base.store, base.commit.TreeHash, files)
	return p.snapshot(base, &gitobject.Commit{Hash: p.tip, TreeHash: edited.root}, edited.objects), base.commit, err
}

// isMerged reports whether the base has the very devices of the branch.
func (p *proposed) isMerged(base *Snapshot) (bool, error) {
	if !p.foreign {
		return false, nil
	}
	here, _, err := lookup(base.store, p.tree, p.folder)
	if err != nil {
		return false, err
	}
	there, _, err := base.lookup(p.folder)
	return here == there, err
}

// snapshot is a commit of the branch of which the store lacks some objects.
func (p *proposed) snapshot(base *Snapshot, commit *gitobject.Commit, lacking []object) *Snapshot {
	over := overlay{below: base.store, above: map[plumbing.Hash]object{}}
	for _, one := range lacking {
		over.above[one.hash] = one
	}
	return &Snapshot{store: base.store, over: &over, branch: p.branch, limits: base.limits, commit: commit}
}

// overlay is a store together with objects that are not in it.
type overlay struct {
	below *store
	above map[plumbing.Hash]object
}

func (o *overlay) folderAt(hash plumbing.Hash) ([]entry, error) {
	one, found := o.above[hash]
	if !found {
		return o.below.folderAt(hash)
	}
	return readFolder(func(plumbing.Hash) (plumbing.EncodedObject, error) {
		encoded := new(plumbing.MemoryObject)
		encoded.SetType(one.kind)
		_, err := encoded.Write(one.data)
		return encoded, err
	}, hash)
}

func (o *overlay) size(hash plumbing.Hash) (int64, error) {
	if one, found := o.above[hash]; found {
		return int64(len(one.data)), nil
	}
	return o.below.size(hash)
}

func (o *overlay) content(hash plumbing.Hash) ([]byte, error) {
	if one, found := o.above[hash]; found {
		return one.data, nil
	}
	return o.below.content(hash)
}
