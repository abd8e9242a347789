package renderer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// tree reads files of the repository, each once, within the limits. What it has
// read is all that a build can see.
type tree struct {
	fsys   fs.FS
	limits Limits
	files  map[string][]byte
	modes  map[string]fs.FileMode
	bytes  int64
}

func newTree(fsys fs.FS, limits Limits) *tree {
	return &tree{fsys: fsys, limits: limits, files: map[string][]byte{}, modes: map[string]fs.FileMode{}}
}

// isFolder reports whether the name is a folder rather than a regular file. A
// symbolic link is neither, wherever on the way it lies.
func (t *tree) isFolder(name string) (bool, error) {
	if name == "." {
		return true, nil
	}
	parent := path.Dir(name)
	if err := t.errNotFolder(parent); err != nil {
		return false, err
	}
	mode, err := t.mode(name)
	switch {
	case err != nil:
		return false, err
	case mode&fs.ModeSymlink != 0:
		return false, fmt.Errorf("%s: is a symbolic link; put the file itself there", name)
	case !mode.IsDir() && !mode.IsRegular():
		return false, fmt.Errorf("%s: is neither a file nor a folder (%s); take it out", name, mode.Type())
	}
	return mode.IsDir(), nil
}

// errNotFolder refuses what is no folder.
func (t *tree) errNotFolder(name string) error {
	folder, err := t.isFolder(name)
	if err == nil && !folder {
		return fmt.Errorf("%s: is not a folder", name)
	}
	return err
}

// errNotDomain refuses a path of a domain that leads to no folder. One that leads nowhere
// is [fs.ErrNotExist].
func (t *tree) errNotDomain(name string) error {
	folder, err := t.isFolder(name)
	if err == nil && !folder {
		return fmt.Errorf("%s: is a file, and the path of a domain leads to the folder of its kustomization.yaml; write %s", name, path.Dir(name))
	}
	return err
}

func (t *tree) mode(name string) (fs.FileMode, error) {
	if mode, seen := t.modes[name]; seen {
		return mode, nil
	}
	info, err := fs.Lstat(t.fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w in the repository; commit it, or take out what names it", name, fs.ErrNotExist)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	t.modes[name] = info.Mode()
	return info.Mode(), nil
}

// exists reports whether there is anything of that name.
func (t *tree) exists(name string) (bool, error) {
	_, err := t.mode(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// read returns the content of a regular file.
func (t *tree) read(name string) ([]byte, error) {
	if data, seen := t.files[name]; seen {
		return data, nil
	}
	switch folder, err := t.isFolder(name); {
	case err != nil:
		return nil, err
	case folder:
		return nil, fmt.Errorf("%s: is a folder where a file is wanted", name)
	}
	data, err := t.readLimited(name)
	if err != nil {
		return nil, err
	}
	return data, t.keep(name, data)
}

func (t *tree) readLimited(name string) ([]byte, error) {
	file, err := t.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	if info, err := file.Stat(); err == nil && info.Size() > t.limits.FileBytes {
		return nil, t.tooLarge(name)
	}
	data, err := io.ReadAll(io.LimitReader(file, t.limits.FileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(data)) > t.limits.FileBytes {
		return nil, t.tooLarge(name)
	}
	return data, nil
}

func (t *tree) tooLarge(name string) error {
	return fmt.Errorf("%s: is larger than %d bytes; split it", name, t.limits.FileBytes)
}

func (t *tree) keep(name string, data []byte) error {
	t.files[name] = data
	t.bytes += int64(len(data))
	if len(t.files) > t.limits.Files {
		return fmt.Errorf("%s: is one file too many (at most %d are composed); split the domain", name, t.limits.Files)
	}
	if t.bytes > t.limits.TotalBytes {
		return fmt.Errorf("%s: brings the files over %d bytes in all; split the domain", name, t.limits.TotalBytes)
	}
	return nil
}

// within reports whether name is the folder or lies in it.
func within(name, folder string) bool {
	return folder == "." || name == folder || strings.HasPrefix(name, folder+"/")
}
