package main

import (
	"io/fs"
	"sync"

	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/policies"
)

// screened is a tree of files of which each that is read is searched for private keys at
// once, so that whoever searches all of them reads none of a fleet's files a second time.
type screened struct {
	fs.FS
	clean *cleanBlobs
}

var (
	_ fs.ReadDirFS  = screened{}
	_ fs.ReadFileFS = screened{}
	_ fs.StatFS     = screened{}
	_ fs.ReadLinkFS = screened{}
)

func (s screened) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(s.FS, name) }
func (s screened) Stat(name string) (fs.FileInfo, error)      { return fs.Stat(s.FS, name) }
func (s screened) Lstat(name string) (fs.FileInfo, error)     { return fs.Lstat(s.FS, name) }
func (s screened) ReadLink(name string) (string, error)       { return fs.ReadLink(s.FS, name) }

// ReadFile reads a file, and remembers what it holds if that is no private key.
func (s screened) ReadFile(name string) ([]byte, error) {
	data, err := fs.ReadFile(s.FS, name)
	if err == nil && len(policies.CheckFile(name, data)) == 0 {
		s.clean.add(inventory.BlobHash(data))
	}
	return data, err
}

// cleanBlobs are the contents, as Git names them, that were found to hold no private key. It
// may be used by several goroutines.
type cleanBlobs struct {
	mu    sync.Mutex
	known map[string]struct{}
}

func newCleanBlobs() *cleanBlobs { return &cleanBlobs{known: map[string]struct{}{}} }

func (c *cleanBlobs) add(hash string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[hash] = struct{}{}
}

// has reports whether Git says of an entry that it is one of them. Of one on a disk it says
// nothing.
func (c *cleanBlobs) has(entry fs.DirEntry) bool {
	named, is := entry.(interface{ Sys() any })
	if !is || c == nil {
		return false
	}
	hash, _ := named.Sys().(string)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.known[hash]
	return known
}
