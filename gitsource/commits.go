package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// A history is commits alone. A server that cannot leave the rest out sends it as well:
// files that were too large, and were taken out again, among them. They pass through, and
// nothing of them is kept.

// addCommits adds the commits of the pack that fill writes, and nothing else of it.
func (s *store) addCommits(limits Limits, fill func(io.Writer) error) error {
	file, err := os.CreateTemp(s.folder, "tmp_history_*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // the folder goes with it
	defer file.Close()           //nolint:errcheck // it is only read
	if err := fill(&limitedWriter{to: file, left: limits.Fetch, limit: limits.Fetch}); err != nil {
		return err
	}
	commits, err := commitsIn(file, limits)
	if err != nil || len(commits) == 0 {
		return err
	}
	pack, err := packOf(commits)
	if err != nil {
		return err
	}
	return s.addOwn(pack, edited{})
}

// commitsIn reads the commits of a pack, those that stand as differences from other commits
// included, as far as these came before them.
func commitsIn(pack io.ReadSeeker, limits Limits) ([]object, error) {
	if _, err := pack.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	scanner := packfile.NewScanner(pack)
	_, count, err := scanner.Header()
	if errors.Is(err, packfile.ErrEmptyPackfile) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := packedCommits{limit: limits.Object, byOffset: map[int64]object{}, byHash: map[plumbing.Hash]object{}}
	for range count {
		if err := found.next(scanner); err != nil {
			return nil, err
		}
	}
	return found.all, nil
}

// packedCommits are the commits that were found so far. The limit, in bytes, is on all of
// them together: they are in memory for a moment.
type packedCommits struct {
	limit    int64
	all      []object
	byOffset map[int64]object
	byHash   map[plumbing.Hash]object
}

// next reads the next object of a pack, and keeps it if it is a commit.
func (c *packedCommits) next(scanner *packfile.Scanner) error {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	base, differs := c.base(header)
	if header.Type != plumbing.CommitObject && !differs {
		_, _, err := scanner.NextObject(io.Discard)
		return err
	}
	if c.limit -= header.Length; c.limit < 0 {
		return &failure{kind: ErrTooLarge, detail: "the history's commits are too large together", hint: "use a repository with a shorter history, or raise the limit of an object"}
	}
	var content bytes.Buffer
	if _, _, err := scanner.NextObject(&content); err != nil {
		return err
	}
	data := content.Bytes()
	if differs {
		if data, err = packfile.PatchDelta(base.data, data); err != nil {
			return fmt.Errorf("a commit cannot be made out: %w", err)
		}
	}
	commit := newObject(plumbing.CommitObject, data)
	c.all = append(c.all, commit)
	c.byOffset[header.Offset], c.byHash[commit.hash] = commit, commit
	return nil
}

// base is the commit that an object is a difference from, if it is one.
func (c *packedCommits) base(header *packfile.ObjectHeader) (base object, differs bool) {
	switch header.Type {
	case plumbing.OFSDeltaObject:
		base, differs = c.byOffset[header.OffsetReference]
	case plumbing.REFDeltaObject:
		base, differs = c.byHash[header.Reference]
	}
	return base, differs
}
