package gitsource

import (
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Edit is one file that a [Writer] is to write, and what it was decided on.
type Edit struct {
	// Path from the repository's root, with slashes: devices/<group>/<shard>/<name>.yaml
	// below the Writer's Root.
	Path string
	// Content the file shall have, whole.
	Content []byte
	// Was is the blob that stood there when this was decided, as [Document].Blob says it;
	// empty: the file must not be there.
	Was string
	// Subject tells in a line what it is for: "Register sensor-0042 of sensors". The
	// commit's message lists it.
	Subject string
	// Vet is asked about each tree that the edit is about to be written on, as often as others
	// are faster: an error keeps it out of the commit, and is what the caller gets. It is not
	// asked where the edit stands already, or does not fit. Nil: nothing is asked.
	Vet func(on *Snapshot) error
	// Claims are what no two files may have at once, by names of the caller's own: the key of a
	// device, say. Of two edits of different files with a claim in common, only the first goes
	// into a commit. The second waits for the next one, where Vet sees what the first has
	// written: what is to come of it, Vet says.
	Claims []string
}

func (e Edit) blob() plumbing.Hash { return plumbing.ComputeHash(plumbing.BlobObject, e.Content) }

// outcome is what becomes of an edit in a commit.
type outcome int

const (
	// written: the commit holds it.
	written outcome = iota
	// present: it stood there before, with this very content.
	present
	// conflicting: what stands there is not what the edit was decided on.
	conflicting
	// deferred: another edit of the same commit is in its way, by its place or by a claim. The
	// next commit shall decide.
	deferred
	// impossible: what stands there, or on the way, is no file that can be written.
	impossible
	// vetoed: Vet says no.
	vetoed
)

// merged is what one commit makes of the edits that came together. It is a value: the same
// edits on the same tree make the same.
type merged struct {
	// files to write.
	files map[string][]byte
	// outcomes of the edits, in their order, and what Vet said of those that are vetoed.
	outcomes []outcome
	vetoes   map[int]error
}

// merge looks at every edit on top of a tree, in the order in which they came. Of several for
// one path, or with one claim, the first that fits is written, and the others wait until it is
// there: nobody hears about what is not pushed yet.
func merge(on *Snapshot, edits []Edit) (merged, error) {
	m := merged{files: map[string][]byte{}, outcomes: make([]outcome, len(edits)), vetoes: map[int]error{}}
	claims := claims{folders: map[string]bool{}, files: map[string]plumbing.Hash{}, names: map[string]bool{}}
	for i, edit := range edits {
		wanted := edit.blob()
		if blob, claimed := claims.files[edit.Path]; claimed && blob == wanted {
			continue // written, by its twin
		}
		if claims.forbid(edit.Path) {
			m.outcomes[i] = deferred
			continue
		}
		var err error
		if m.outcomes[i], err = judge(on.objects(), on.commit.TreeHash, edit, wanted); err != nil {
			return merged{}, err
		}
		if m.outcomes[i] != written {
			continue
		}
		if m.outcomes[i], m.vetoes[i] = claims.admit(on, edit); m.outcomes[i] == written {
			m.files[edit.Path] = edit.Content
			claims.add(edit, wanted)
		}
	}
	return m, nil
}

// admit tells what becomes of an edit that fits into the tree.
func (c claims) admit(on *Snapshot, edit Edit) (outcome, error) {
	if slices.ContainsFunc(edit.Claims, func(name string) bool { return c.names[name] }) {
		return deferred, nil
	}
	if edit.Vet != nil {
		if err := edit.Vet(on); err != nil {
			return vetoed, err
		}
	}
	return written, nil
}

// judge compares one edit, and the blob that it wants, with what stands in the tree.
func judge(tree objects, root plumbing.Hash, edit Edit, wanted plumbing.Hash) (outcome, error) {
	stands, open, err := standing(tree, root, edit.Path)
	switch {
	case err != nil:
		return 0, err
	case !open:
		return impossible, nil
	case stands.hash == wanted:
		return present, nil
	case stands.hash != blobHash(edit.Was):
		return conflicting, nil
	}
	return written, nil
}

// blobHash is the hash that a text stands for; the empty one for no file, which has none.
func blobHash(blob string) plumbing.Hash { return plumbing.NewHash(blob) }

// standing finds what is at a path; the zero entry if nothing is. It is not open to a file if
// something else than a file is there, or something else than a folder on the way.
func standing(tree objects, folder plumbing.Hash, path string) (found entry, open bool, err error) {
	name, rest, below := strings.Cut(path, "/")
	entries, err := tree.folderAt(folder)
	if err != nil {
		return entry{}, false, err
	}
	found, there := find(entries, name)
	switch {
	case !there:
		return entry{}, true, nil
	case below && found.isFolder():
		return standing(tree, found.hash, rest)
	case below:
		return entry{}, false, nil
	}
	return found, found.mode == filemode.Regular || found.mode == filemode.Executable, nil
}

// claims are the places that the files of a commit take, so that none of them becomes the
// folder of another, and the names that they claim.
type claims struct {
	folders map[string]bool
	files   map[string]plumbing.Hash
	names   map[string]bool
}

// forbid reports whether a file cannot be written beside those that are claimed.
func (c claims) forbid(path string) bool {
	if _, taken := c.files[path]; taken || c.folders[path] {
		return true
	}
	for folder := range above(path) {
		if _, taken := c.files[folder]; taken {
			return true
		}
	}
	return false
}

func (c claims) add(edit Edit, blob plumbing.Hash) {
	c.files[edit.Path] = blob
	for folder := range above(edit.Path) {
		c.folders[folder] = true
	}
	for _, name := range edit.Claims {
		c.names[name] = true
	}
}

// above are the folders that lead to a path.
func above(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range path {
			if c == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}
