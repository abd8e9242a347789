// Package hostile makes repositories that must be refused, each with the words in which
// it is, and good ones beside them. It is for tests alone, of every layer that reads a
// repository, and is never part of the program.
//
//	for _, tree := range hostile.Trees() {
//		_, err := renderer.Load(tree.Files, tree.Folder, renderer.Options{})
//		…                                     // tree.By says who refuses it, tree.Want how
//	}
//
// A [Tree] is held in memory; [Tree.Write] puts it on disk, to be committed or given to a
// command. The certificates are the same in every run, and so are the private keys that
// some trees leak: they are made as the test runs, and open nothing.
package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// Guard is who refuses a tree. They look in this order, and the first one that finds
// something ends the turn.
type Guard string

// The guards.
const (
	// Scan is policies.CheckFile, over every file.
	Scan Guard = "scan"
	// Record is renderer.LoadRecord.
	Record Guard = "record"
	// Load is renderer.Load.
	Load Guard = "load"
	// Render is [renderer.Loaded.Render] of the end state.
	Render Guard = "render"
	// Check is policies.Check, over what was rendered.
	Check Guard = "check"
)

// Tree is one repository.
type Tree struct {
	// Name of the case, in words.
	Name string
	// Files of the repository; nothing but regular files and symbolic links.
	Files fstest.MapFS
	// Folder of the domain, spec.source.path.
	Folder string
	// By is who refuses it; empty for a good one.
	By Guard
	// Want is the whole error. Of a guard that finds several things, they stand in
	// lines.
	Want string
}

// Write puts the tree into a folder on disk. A large file that holds nothing is sparse.
func (t Tree) Write(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("write the tree %s: %w", t.Name, err)
	}
	defer root.Close() //nolint:errcheck // what matters is closed below
	for _, name := range slices.Sorted(maps.Keys(t.Files)) {
		if err := write(root, name, t.Files[name]); err != nil {
			return fmt.Errorf("write the tree %s: %w", t.Name, err)
		}
	}
	return nil
}

func write(root *os.Root, name string, file *fstest.MapFile) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if file.Mode&fs.ModeSymlink != 0 {
		return root.Symlink(string(file.Data), name)
	}
	made, err := root.Create(name)
	if err != nil {
		return err
	}
	if len(bytes.Trim(file.Data, "\x00")) == 0 {
		return errors.Join(made.Truncate(int64(len(file.Data))), made.Close())
	}
	_, err = made.Write(file.Data)
	return errors.Join(err, made.Close())
}

// files are those of a txtar archive (https://pkg.go.dev/golang.org/x/tools/txtar).
func files(archive string) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	return tree
}

// with is the good fleet, with files added or replaced.
func with(archive string) fstest.MapFS {
	tree := files(Fleet)
	maps.Copy(tree, files(archive))
	return tree
}

// beside is with, and files of any content.
func beside(archive string, others map[string][]byte) fstest.MapFS {
	tree := with(archive)
	for name, data := range others {
		tree[name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	return tree
}

// linked is with, and a symbolic link.
func linked(archive, name, target string) fstest.MapFS {
	tree := with(archive)
	tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	return tree
}

// block is text as a block of YAML, indented by so many blanks.
func block(blanks int, text []byte) string {
	indent := "\n" + strings.Repeat(" ", blanks)
	return "|" + indent + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", indent)
}
