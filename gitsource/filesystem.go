package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// files is a snapshot as an fs.FS.
type files struct{ snapshot *Snapshot }

var (
	_ fs.ReadDirFS  = files{}
	_ fs.ReadFileFS = files{}
	_ fs.StatFS     = files{}
	_ fs.ReadLinkFS = files{}
)

var (
	errNotFolder = errors.New("not a folder")
	errFolder    = errors.New("is a folder")
	errNotLink   = errors.New("not a symbolic link")
	errLoop      = errors.New("too many symbolic links: is there a loop?")
	errEscape    = errors.New("a symbolic link leads out of the repository: replace it by the file")
	errNotUTF8   = errors.New("a name in the folder is not UTF-8: rename it")
)

// isContent reports whether the entry has content of its own in the store.
func isContent(e entry) bool {
	return e.mode == filemode.Regular || e.mode == filemode.Executable || e.mode == filemode.Symlink
}

// Open opens a file or folder. A file is in memory while it is open.
func (f files) Open(name string) (fs.File, error) {
	at, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := f.info(path.Base(name), at)
	if info.IsDir() {
		entries, err := f.list("open", name, at)
		return &openFolder{info: info, rest: entries}, err
	}
	data, err := f.read("open", name, at)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(data), info: info}, nil
}

// ReadDir lists a folder, sorted by name.
func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !f.info(name, at).IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotFolder}
	}
	return f.list("readdir", name, at)
}

// ReadFile reads a file.
func (f files) ReadFile(name string) ([]byte, error) {
	at, err := f.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if f.info(name, at).IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errFolder}
	}
	return f.read("read", name, at)
}

// Stat describes a file or folder; a symbolic link by what it leads to.
func (f files) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat describes a file, a folder or a symbolic link.
func (f files) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f files) stat(op, name string, follow bool) (fs.FileInfo, error) {
	at, err := f.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return f.info(path.Base(name), at).Info()
}

// ReadLink is what a symbolic link says.
func (f files) ReadLink(name string) (string, error) {
	at, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if at.mode != filemode.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: errNotLink}
	}
	data, err := f.read("readlink", name, at)
	return string(data), err
}

// read is the content of an entry that is no folder.
func (f files) read(op, name string, at entry) ([]byte, error) {
	length, err := f.snapshot.objects().size(at.hash)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if limit := f.snapshot.limits.File; length > limit {
		return nil, &fs.PathError{Op: op, Path: name, Err: tooLarge(length, limit)}
	}
	data, err := f.snapshot.objects().content(at.hash)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return data, nil
}

func tooLarge(length, limit int64) error {
	return &failure{
		kind:   ErrTooLarge,
		detail: size(length) + ", more than " + size(limit),
		hint:   "make the file smaller, or raise the limit of a file",
	}
}

func (f files) list(op, name string, at entry) ([]fs.DirEntry, error) {
	if at.mode == filemode.Submodule {
		return nil, nil
	}
	entries, err := f.snapshot.objects().folderAt(at.hash)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	list := make([]fs.DirEntry, 0, len(entries))
	for _, e := range entries {
		if !utf8.ValidString(e.name) {
			return nil, &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("%w: %q", errNotUTF8, e.name)}
		}
		list = append(list, f.info(e.name, e))
	}
	return list, nil
}

func (f files) info(name string, at entry) fileInfo {
	return fileInfo{name: name, at: at, snapshot: f.snapshot}
}

// maxLinks is how many symbolic links are followed on the way to a file.
const maxLinks = 40

// walk is the way to a file: the folders above it, and the names still to go.
type walk struct {
	files files
	above []entry
	names []string
	links int
}

// find finds what is at a path. Symbolic links to folders are followed, the last
// name only if follow is set.
func (f files) find(op, name string, follow bool) (entry, error) {
	if !fs.ValidPath(name) {
		return entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	root := entry{mode: filemode.Dir, hash: f.snapshot.commit.TreeHash}
	w := walk{files: f, above: []entry{root}, names: names(name)}
	for len(w.names) > 0 {
		if err := w.step(follow); err != nil {
			return entry{}, &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return w.above[len(w.above)-1], nil
}

// step goes to the next name.
func (w *walk) step(follow bool) error {
	name := w.names[0]
	w.names = w.names[1:]
	if name == ".." {
		w.above = w.above[:len(w.above)-1]
		if len(w.above) == 0 {
			return errEscape
		}
		return nil
	}
	here := w.above[len(w.above)-1]
	if !here.isFolder() {
		return fs.ErrNotExist
	}
	entries, err := w.files.snapshot.objects().folderAt(here.hash)
	if err != nil {
		return err
	}
	at, found := find(entries, name)
	if !found {
		return fs.ErrNotExist
	}
	if at.mode == filemode.Symlink && (follow || len(w.names) > 0) {
		return w.follow(at)
	}
	w.above = append(w.above, at)
	return nil
}

// follow puts the names that a symbolic link stands for in its place.
func (w *walk) follow(link entry) error {
	if w.links++; w.links > maxLinks {
		return errLoop
	}
	target, err := w.files.read("readlink", link.name, link)
	if err != nil {
		return err
	}
	if path.IsAbs(string(target)) {
		return errEscape
	}
	w.names = append(names(string(target)), w.names...)
	return nil
}

// names splits a path, leaving out what stands for the folder itself.
func names(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

// fileInfo describes an entry; it is both an fs.FileInfo, once asked for its size,
// and an fs.DirEntry.
type fileInfo struct {
	name     string
	at       entry
	snapshot *Snapshot
	length   int64
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.length }
func (i fileInfo) ModTime() time.Time { return i.snapshot.When() }
func (i fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fileInfo) Type() fs.FileMode  { return i.Mode().Type() }
func (i fileInfo) String() string     { return fs.FormatDirEntry(i) }

// Sys is the hash of what the file or folder holds, in 40 lower-case hex digits: equal
// hashes, equal content. The entries of ReadDir have it too.
func (i fileInfo) Sys() any { return i.at.hash.String() }

func (i fileInfo) Mode() fs.FileMode {
	switch i.at.mode {
	case filemode.Regular:
		return 0o444
	case filemode.Executable:
		return 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	default: // a folder or a submodule
		return fs.ModeDir | 0o555
	}
}

// Info looks up the size.
func (i fileInfo) Info() (fs.FileInfo, error) {
	if i.IsDir() {
		return i, nil
	}
	length, err := i.snapshot.objects().size(i.at.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: i.name, Err: err}
	}
	i.length = length
	return i, nil
}

// openFile is a file that was opened: it reads, seeks, and reads at an offset.
type openFile struct {
	*bytes.Reader
	info fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info.Info() }
func (f *openFile) Close() error               { return nil }

// openFolder is a folder that was opened.
type openFolder struct {
	info fileInfo
	rest []fs.DirEntry
}

func (f *openFolder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFolder) Close() error               { return nil }

func (f *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: errFolder}
}

// ReadDir returns the next n entries, or all that are left if n is not positive.
func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(f.rest) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(f.rest) {
		n = len(f.rest)
	}
	list := f.rest[:n:n]
	f.rest = f.rest[n:]
	return list, nil
}
