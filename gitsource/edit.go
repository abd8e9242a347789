package gitsource

import (
	"cmp"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// edited is a tree that was made of another.
type edited struct {
	root plumbing.Hash
	// objects that the other tree has not, and the folders among them.
	objects []object
	folders map[plumbing.Hash][]entry
	// replaced are the folders in whose place they stand.
	replaced []plumbing.Hash
}

// edit writes and deletes files in a tree. It reads the folders on the way to the files, and
// no others.
func edit(s *store, root plumbing.Hash, files map[string][]byte) (edited, error) {
	e := editor{store: s, known: map[plumbing.Hash]bool{root: true}, made: edited{folders: map[plumbing.Hash][]entry{}}}
	changes := make([]change, 0, len(files))
	for _, path := range slices.Sorted(maps.Keys(files)) {
		changes = append(changes, change{path: path, rest: path, data: files[path]})
	}
	base, err := s.folderAt(root)
	if err != nil {
		return edited{}, err
	}
	entries, err := e.folder(base, changes)
	if err != nil {
		return edited{}, err
	}
	e.made.root = e.addFolder(entries)
	e.made.replaced = append(e.made.replaced, root)
	return e.made, nil
}

type editor struct {
	store *store
	known map[plumbing.Hash]bool // what need not be added
	made  edited
}

// change is what becomes of one file: its content, or nil to delete it. rest is
// its path below the folder that is edited.
type change struct {
	path, rest string
	data       []byte
}

func (c change) deletes() bool { return c.data == nil }

// add keeps an object, once, unless it stood in the same place before.
func (e *editor) add(o object) plumbing.Hash {
	if !e.known[o.hash] {
		e.known[o.hash] = true
		e.made.objects = append(e.made.objects, o)
	}
	return o.hash
}

// addFolder adds a folder of these entries, sorted by name.
func (e *editor) addFolder(entries []entry) plumbing.Hash {
	hash := e.add(newFolder(encodeFolder(entries)))
	e.made.folders[hash] = entries
	return hash
}

// amended is a folder of which some entries have changed: what stands in the place of those
// of the same name, nothing if its hash is zero.
type amended struct {
	base    []entry // sorted by name
	changed map[string]entry
}

func (a amended) find(name string) (entry, bool) {
	if now, found := a.changed[name]; found {
		return now, !now.hash.IsZero()
	}
	return find(a.base, name)
}

func (a amended) remove(name string) { a.changed[name] = entry{name: name} }

// entries of the folder as it is now, sorted by name.
func (a amended) entries() []entry {
	all := make([]entry, 0, len(a.base)+len(a.changed))
	before := a.base
	for _, name := range slices.Sorted(maps.Keys(a.changed)) {
		at, found := slices.BinarySearchFunc(before, name, byName)
		all = append(all, before[:at]...)
		if now := a.changed[name]; !now.hash.IsZero() {
			all = append(all, now)
		}
		if before = before[at:]; found {
			before = before[1:]
		}
	}
	return append(all, before...)
}

// folder applies changes to the entries of a folder.
func (e *editor) folder(base []entry, changes []change) ([]entry, error) {
	here, below := split(changes)
	entries := amended{base: base, changed: map[string]entry{}}
	for _, c := range here {
		if err := e.file(entries, c, below[c.rest]); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		if err := e.below(entries, name, below[name]); err != nil {
			return nil, err
		}
	}
	return entries.entries(), nil
}

// split separates the changes to files in a folder from those in its folders.
func split(changes []change) (here []change, below map[string][]change) {
	below = map[string][]change{}
	for _, c := range changes {
		name, rest, deeper := strings.Cut(c.rest, "/")
		if !deeper {
			here = append(here, c)
			continue
		}
		c.rest = rest
		below[name] = append(below[name], c)
	}
	return here, below
}

// file writes or deletes one file. under are changes to files below the same name.
func (e *editor) file(entries amended, c change, under []change) error {
	old, there := entries.find(c.rest)
	if there && old.isFolder() {
		return invalid("%s is a folder: name the files in it", c.path)
	}
	if c.deletes() {
		entries.remove(c.rest)
		return nil
	}
	if i := slices.IndexFunc(under, func(c change) bool { return !c.deletes() }); i >= 0 {
		return invalid("%s would be both a file and the folder of %s: rename one", c.path, under[i].path)
	}
	mode := filemode.Regular
	if there {
		mode = old.mode
	}
	if mode != filemode.Regular && mode != filemode.Executable {
		return invalid("%s is a symbolic link or a submodule: delete it first, in a commit of its own", c.path)
	}
	e.known[old.hash] = true
	entries.changed[c.rest] = entry{name: c.rest, mode: mode, hash: e.add(newObject(plumbing.BlobObject, c.data))}
	return nil
}

// below applies changes to the folder of that name, which comes with its first
// file and goes with its last.
func (e *editor) below(entries amended, name string, changes []change) error {
	old, there := entries.find(name)
	if there && !old.isFolder() {
		if i := slices.IndexFunc(changes, func(c change) bool { return !c.deletes() }); i >= 0 {
			return invalid("%s cannot be written: %s above it is a file", changes[i].path, name)
		}
		return nil
	}
	base, err := e.store.folderAt(old.hash)
	if err != nil {
		return err
	}
	inside, err := e.folder(base, changes)
	if err != nil {
		return err
	}
	if len(inside) == 0 {
		entries.remove(name)
		return nil
	}
	e.known[old.hash] = true
	e.made.replaced = append(e.made.replaced, old.hash)
	entries.changed[name] = entry{name: name, mode: filemode.Dir, hash: e.addFolder(inside)}
	return nil
}

// encodeFolder is a tree object's content, of entries sorted by name. Git sorts a folder as
// if its name ended in a slash.
func encodeFolder(entries []entry) []byte {
	sortName := func(e entry) string {
		if e.isFolder() {
			return e.name + "/"
		}
		return e.name
	}
	if slices.ContainsFunc(entries, entry.isFolder) {
		entries = slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return cmp.Compare(sortName(a), sortName(b)) })
	}
	size := 0
	for _, e := range entries {
		size += len("100644 ") + len(e.name) + 1 + len(e.hash)
	}
	data := make([]byte, 0, size)
	for _, e := range entries {
		data = strconv.AppendUint(data, uint64(e.mode), 8)
		data = append(append(data, ' '), e.name...)
		data = append(append(data, 0), e.hash[:]...)
	}
	return data
}

// The longest path and name that common file systems hold, in bytes.
const (
	maxPath = 4095
	maxName = 255
)

// checkPath refuses paths that lead out of a repository or into its .git folder,
// on any file system that it may be checked out to: those that fold case, drop
// trailing dots and spaces, know short names and streams (NTFS), or ignore
// characters that cannot be seen (HFS+).
func checkPath(path string) error {
	if path == "." || len(path) > maxPath || !fs.ValidPath(path) {
		return invalid("%q is not the path of a file: write it relative to the repository's root, with slashes, without . and ..", shortened(path))
	}
	if strings.ContainsFunc(path, func(c rune) bool { return c == '\\' || c == ':' || unicode.In(c, unicode.C) }) {
		return invalid("%q holds a backslash, a colon or a character that cannot be seen: leave it out", shortened(path))
	}
	for name := range strings.SplitSeq(path, "/") {
		if len(name) > maxName || isGitFolder(name) {
			return invalid("%q holds the name %q, which no file may have: choose another", shortened(path), shortened(name))
		}
	}
	return nil
}

func isGitFolder(name string) bool {
	name = strings.ToLower(strings.TrimRight(name, ". "))
	return name == "" || name == ".git" || name == "git~1"
}

func shortened(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
