package gitsource

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// A store only grows: each push and each fetch adds a pack, and the folders that it made
// obsolete stay. What a store that was added to often still needs goes into a new one, beside
// it, without asking the remote. Packs that hold much of it are linked, since copying them each
// time would cost as much as the repository is large; the rest is copied into one pack.

// keptShare is which part of all live objects a pack holds at least, if it is linked.
const keptShare = 8

// recycle replaces the store of the last snapshot by one that holds what that needs, and
// nothing else.
func (r *Repository) recycle() error {
	old, tip := r.last.store, r.last.commit.Hash
	fresh, err := r.newStore()
	if err != nil {
		return err
	}
	if err = fresh.inherit(old, tip, r.remote.Limits); err == nil {
		_, err = r.adopt(fresh, tip)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh.folder))
	}
	removeUnused(old)
	return nil
}

// inherit fills an empty store with a commit of another.
func (s *store) inherit(from *store, tip plumbing.Hash, limits Limits) error {
	live, err := from.live(tip)
	if err != nil {
		return err
	}
	from.mutex.Lock()
	kept, rest, err := from.share(live)
	from.mutex.Unlock()
	if err != nil {
		return err
	}
	for _, pack := range kept {
		if err := s.link(from, pack); err != nil {
			return err
		}
	}
	if err := s.addBoundaries([]plumbing.Hash{tip}); err != nil || len(rest) == 0 {
		return err
	}
	return s.addPack(limits, func(w io.Writer) error { return from.copyTo(w, rest) })
}

// live lists a commit and all that it consists of, without what came before it.
func (s *store) live(tip plumbing.Hash) ([]plumbing.Hash, error) {
	commit, err := s.commit(tip)
	if err != nil {
		return nil, err
	}
	found, seen := []plumbing.Hash{tip}, map[plumbing.Hash]bool{emptyTree: true}
	folders := []plumbing.Hash{commit.TreeHash}
	for len(folders) > 0 {
		folder := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		if seen[folder] {
			continue
		}
		seen[folder] = true
		found = append(found, folder)
		entries, err := s.folderAt(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.isFolder() {
				folders = append(folders, e.hash)
			} else if isContent(e) && !seen[e.hash] {
				seen[e.hash] = true
				found = append(found, e.hash)
			}
		}
	}
	return found, nil
}

// share divides objects among the packs that are worth keeping as they are, and the rest. It
// needs the mutex.
func (s *store) share(live []plumbing.Hash) (kept []*packfile.Packfile, rest []plumbing.Hash, err error) {
	held := map[*packfile.Packfile][]plumbing.Hash{}
	for _, hash := range live {
		pack, _ := s.find(hash)
		if pack == nil {
			return nil, nil, fmt.Errorf("%s: %w", hash, plumbing.ErrObjectNotFound)
		}
		held[pack] = append(held[pack], hash)
	}
	for _, pack := range s.packs {
		all, err := pack.Count()
		if err != nil {
			return nil, nil, err
		}
		mine := held[pack]
		delete(held, pack)
		if len(mine)*keptShare >= len(live) && 2*int64(len(mine)) >= all {
			kept = append(kept, pack)
		} else {
			rest = append(rest, mine...)
		}
	}
	return kept, rest, nil
}

// link makes a pack of another store one of this store as well.
func (s *store) link(from *store, pack *packfile.Packfile) error {
	from.mutex.Lock()
	sum, err := pack.ID()
	from.mutex.Unlock()
	if err != nil {
		return err
	}
	name := filepath.Join("objects", "pack", "pack-"+sum.String())
	for _, extension := range []string{".idx", ".pack"} {
		if err := os.Link(filepath.Join(from.folder, name+extension), filepath.Join(s.folder, name+extension)); err != nil {
			return err
		}
	}
	return s.openPack(filepath.Join(s.folder, name))
}

// copyTo writes objects as a pack.
func (s *store) copyTo(w io.Writer, hashes []plumbing.Hash) error {
	packer, err := newPacker(w, len(hashes))
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := s.copyObject(packer, hash); err != nil {
			return fmt.Errorf("copy object %s: %w", hash, err)
		}
	}
	return packer.close()
}

func (s *store) copyObject(to *packer, hash plumbing.Hash) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	object, err := s.object(hash)
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
