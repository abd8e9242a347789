package gitsource

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// store is a bare Git repository on disk. It may be used by several goroutines.
//
// All of its objects lie in packs, whose indexes are in memory and whose files stay
// open as long as the store is in use. A commit is in it only together with all
// that it consists of, and with its history back to the store's boundaries.
type store struct {
	folder  string
	damaged atomic.Bool

	mutex   sync.Mutex          // guards what follows
	git     *filesystem.Storage // for settings and references
	packs   []*packfile.Packfile
	objects cache.Object
	folders folderCache
	// replaced are the folders of which the last pack that was made here holds others.
	replaced []plumbing.Hash
}

const (
	objectCacheBytes = 16 << 20
	remoteName       = "origin"
)

func storeAt(folder string) *store {
	objects := cache.NewObjectLRU(objectCacheBytes)
	return &store{folder: folder, git: filesystem.NewStorage(osfs.New(folder), objects), objects: objects}
}

// createStore makes an empty store for a remote.
func createStore(folder string, remote Remote) (*store, error) {
	if err := os.MkdirAll(filepath.Join(folder, "objects", "pack"), 0o700); err != nil {
		return nil, err
	}
	s := storeAt(folder)
	settings := config.NewConfig()
	settings.Core.IsBare = true
	settings.Remotes[remoteName] = &config.RemoteConfig{
		Name:  remoteName,
		URLs:  []string{remote.URL},
		Fetch: []config.RefSpec{config.RefSpec("+" + remote.reference() + ":" + remote.reference())},
	}
	head := plumbing.NewSymbolicReference(plumbing.HEAD, remote.reference())
	return s, errors.Join(s.git.Init(), s.git.SetConfig(settings), s.git.SetReference(head))
}

// openStore opens a store of this remote, and tells where its branch stands.
func openStore(folder string, remote Remote) (*store, plumbing.Hash, error) {
	s := storeAt(folder)
	settings, err := s.git.Config()
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	origin := settings.Remotes[remoteName]
	if origin == nil || !slices.Equal(origin.URLs, []string{remote.URL}) {
		return nil, plumbing.ZeroHash, errors.New("it belongs to another remote")
	}
	tip, err := s.git.Reference(remote.reference())
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	return s, tip.Hash(), s.openPacks()
}

// openPacks opens the packs of a store that was left by an earlier process.
func (s *store) openPacks() error {
	names, err := filepath.Glob(filepath.Join(s.folder, "objects", "pack", "pack-*.idx"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.openPack(strings.TrimSuffix(name, ".idx")); err != nil {
			return err
		}
	}
	return nil
}

// openPack makes the objects of a pack part of the store.
func (s *store) openPack(path string) error {
	index, err := readIndex(path + ".idx")
	if err != nil {
		return err
	}
	return s.openIndexed(path, index)
}

// openIndexed is openPack where the index is known. The pack's file is closed by the runtime
// once the store is not in use any more.
func (s *store) openIndexed(path string, index *idxfile.MemoryIndex) error {
	file, err := osfs.New(filepath.Dir(path)).Open(filepath.Base(path) + ".pack")
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.packs = append(s.packs, packfile.NewPackfileWithCache(index, nil, file, s.objects, 0))
	return nil
}

func readIndex(path string) (*idxfile.MemoryIndex, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	index := idxfile.NewMemoryIndex()
	return index, idxfile.NewDecoder(file).Decode(index)
}

// maxPacks is how many packs a store has before it is recycled: each time that it is added
// to adds one, and what became obsolete is never removed.
const maxPacks = 100

// worn reports that the store should be replaced.
func (s *store) worn() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.damaged.Load() || len(s.packs) >= maxPacks
}

// addPack adds the pack that fill writes.
func (s *store) addPack(limits Limits, fill func(io.Writer) error) error {
	path, err := storePack(filepath.Join(s.folder, "objects"), limits, fill)
	if err != nil {
		return err
	}
	return s.openPack(path)
}

// addOwn adds a pack that was made here, and remembers the folders that were encoded for it.
// Those that they replace stay until the next one, for whoever asks what has changed.
func (s *store) addOwn(p *pack, made edited) error {
	path, err := p.keep(filepath.Join(s.folder, "objects"))
	if err != nil {
		return err
	}
	if err := s.openIndexed(path, p.index); err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, hash := range s.replaced {
		s.folders.drop(hash)
	}
	s.replaced = made.replaced
	for hash, entries := range made.folders {
		s.folders.put(hash, entries)
	}
	return nil
}

// setTip records where the branch stands.
func (s *store) setTip(branch plumbing.ReferenceName, tip plumbing.Hash) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.git.SetReference(plumbing.NewHashReference(branch, tip))
}

// boundaries are the commits whose parents are not in the store.
func (s *store) boundaries() ([]plumbing.Hash, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.git.Shallow()
}

// addBoundaries records commits whose parents are not in the store.
func (s *store) addBoundaries(commits []plumbing.Hash) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	known, err := s.git.Shallow()
	if err != nil {
		return err
	}
	return s.git.SetShallow(append(known, commits...))
}

// has reports whether the object is there.
func (s *store) has(hash plumbing.Hash) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	pack, _ := s.find(hash)
	return pack != nil
}

// find returns the pack that holds an object, and where; nil if there is none. The
// newest packs are asked first. It needs the mutex.
func (s *store) find(hash plumbing.Hash) (*packfile.Packfile, int64) {
	for _, pack := range slices.Backward(s.packs) {
		if offset, err := pack.FindOffset(hash); err == nil {
			return pack, offset
		}
	}
	return nil, 0
}

// object reads an object. It needs the mutex.
func (s *store) object(hash plumbing.Hash) (plumbing.EncodedObject, error) {
	pack, _ := s.find(hash)
	if pack == nil {
		return nil, fmt.Errorf("%s: %w", hash, plumbing.ErrObjectNotFound)
	}
	return pack.Get(hash)
}

// size is the object's, in bytes.
func (s *store) size(hash plumbing.Hash) (int64, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	pack, offset := s.find(hash)
	if pack == nil {
		return 0, s.spoilt(fmt.Errorf("%s: %w", hash, plumbing.ErrObjectNotFound))
	}
	size, err := pack.GetSizeByOffset(offset)
	return size, s.spoilt(err)
}

// content is what an object holds, without Git's header.
func (s *store) content(hash plumbing.Hash) ([]byte, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	object, err := s.object(hash)
	if err != nil {
		return nil, s.spoilt(err)
	}
	data, err := readAll(object)
	return data, s.spoilt(err)
}

func readAll(object plumbing.EncodedObject) ([]byte, error) {
	reader, err := object.Reader()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(reader)
}

// commit reads a commit.
func (s *store) commit(hash plumbing.Hash) (*gitobject.Commit, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	object, err := s.object(hash)
	if err != nil {
		return nil, s.spoilt(err)
	}
	commit := new(gitobject.Commit)
	return commit, s.spoilt(commit.Decode(object))
}

// folderAt reads a tree. The slice is shared: it must not be changed.
func (s *store) folderAt(hash plumbing.Hash) ([]entry, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if entries, found := s.folders.get(hash); found {
		return entries, nil
	}
	entries, err := readFolder(s.object, hash)
	if err != nil {
		return nil, s.spoilt(err)
	}
	s.folders.put(hash, entries)
	return entries, nil
}

// spoilt remembers that something could not be read, so that the next pull
// replaces the store.
func (s *store) spoilt(err error) error {
	if err == nil {
		return nil
	}
	s.damaged.Store(true)
	return fmt.Errorf("the store %s is damaged (%w): pull again, which replaces it", s.folder, err)
}

// entry is one name in a folder.
type entry struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

func (e entry) isFolder() bool { return e.mode == filemode.Dir }

// emptyTree is the hash of the tree without entries, which need not be stored.
var emptyTree = plumbing.ComputeHash(plumbing.TreeObject, nil)

// readFolder reads the entries of a tree, sorted by name.
func readFolder(read func(plumbing.Hash) (plumbing.EncodedObject, error), hash plumbing.Hash) ([]entry, error) {
	if hash == emptyTree || hash.IsZero() {
		return nil, nil
	}
	object, err := read(hash)
	if err != nil {
		return nil, err
	}
	var tree gitobject.Tree
	if err := tree.Decode(object); err != nil {
		return nil, fmt.Errorf("tree %s: %w", hash, err)
	}
	entries := make([]entry, 0, len(tree.Entries))
	for _, e := range tree.Entries {
		if e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") {
			return nil, fmt.Errorf("tree %s holds the name %q, which is none", hash, e.Name)
		}
		entries = append(entries, entry{name: e.Name, mode: e.Mode, hash: e.Hash})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for i := range entries[min(1, len(entries)):] {
		if entries[i].name == entries[i+1].name {
			return nil, fmt.Errorf("tree %s holds the name %q twice", hash, entries[i].name)
		}
	}
	return entries, nil
}

func byName(e entry, name string) int { return cmp.Compare(e.name, name) }

// find looks up a name in a sorted folder.
func find(entries []entry, name string) (entry, bool) {
	i, found := slices.BinarySearchFunc(entries, name, byName)
	if !found {
		return entry{}, false
	}
	return entries[i], true
}

// folderCache keeps folders that were read, in two generations: what was used since the
// older one was full outlives it. A folder that is wider than a whole generation is kept as
// long as it is in use, so that a walk through it does not read it again for each file.
type folderCache struct {
	young, old map[plumbing.Hash][]entry
	entries    int // of the young
}

// maxCachedEntries of a generation hold a fleet of 50,000 devices as it is and as it was before
// the last commit, in some 6 MiB.
const maxCachedEntries = 1 << 17

func (c *folderCache) get(hash plumbing.Hash) ([]entry, bool) {
	if entries, found := c.young[hash]; found {
		return entries, true
	}
	entries, found := c.old[hash]
	if found {
		c.put(hash, entries)
	}
	return entries, found
}

func (c *folderCache) put(hash plumbing.Hash, entries []entry) {
	if c.young == nil || c.entries > maxCachedEntries {
		c.young, c.old, c.entries = map[plumbing.Hash][]entry{}, c.young, 0
	}
	c.young[hash] = entries
	c.entries += len(entries) + 1
}

// drop forgets a folder that is not likely to be read again.
func (c *folderCache) drop(hash plumbing.Hash) {
	if entries, found := c.young[hash]; found {
		c.entries -= len(entries) + 1
	}
	delete(c.young, hash)
	delete(c.old, hash)
}
