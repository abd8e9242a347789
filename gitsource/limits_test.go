package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// load runs a script of git fast-import that is too long for differences to be looked
// for.
func (o *origin) load(t *testing.T, script *bytes.Buffer) {
	t.Helper()
	for key, value := range map[string]string{"core.bigFileThreshold": "1m", "pack.window": "0", "pack.threads": "1"} {
		o.git(t, "config", key, value)
	}
	run(t, script.String(), "git", "-C", o.folder, "fast-import", "--quiet", "--date-format=raw", "--depth=0")
}

// A file of 200 MB is refused by its name before it is in memory; where it may lie in
// the repository, only to open it is an error.
func TestHugeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	const huge = 200_000_000
	server := newServer(t)
	origin := newOrigin(t, filepath.Join(server.root, "pki.git"))
	var script bytes.Buffer
	fmt.Fprintf(&script, "commit refs/heads/main\ncommitter Ada <ada@example.com> %d +0000\ndata 3\nbig\nM 100644 inline small.yaml\ndata 2\nok\nM 100644 inline images/huge.iso\ndata %d\n", testTime.Unix(), huge)
	script.Write(make([]byte, huge))
	script.WriteString("\n")
	origin.load(t, &script)
	blob := origin.git(t, "rev-parse", "main:images/huge.iso")

	over := server.remote("pki.git")
	_, err := open(t, over).Pull(context.Background())
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, over, "the repository holds blob "+blob+" of 190.7 MiB, more than 64.0 MiB: git ls-tree -r -l shows which file it is")
	_, err = open(t, origin.remote()).Pull(context.Background())
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, origin.remote(), "images/huge.iso: too large: it is 190.7 MiB, more than 64.0 MiB")

	over.Limits.Object = 256 << 20
	snapshot := pull(t, open(t, over))
	if data, err := fs.ReadFile(snapshot.FS(), "small.yaml"); err != nil || string(data) != "ok" {
		t.Errorf("the other file reads %q (%v)", data, err)
	}
	_, err = fs.ReadFile(snapshot.FS(), "images/huge.iso")
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "images/huge.iso") {
		t.Errorf("got %v", err)
	}
}

// More files than the limit are refused, in the fetch and in the commit.
func TestTooManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	const many = 100_000
	server := newServer(t)
	origin := newOrigin(t, filepath.Join(server.root, "pki.git"))
	var script bytes.Buffer
	fmt.Fprintf(&script, "commit refs/heads/main\ncommitter Ada <ada@example.com> %d +0000\ndata 4\nmany\n", testTime.Unix())
	for i := range many {
		fmt.Fprintf(&script, "M 100644 inline devices/%02x/%06d.yaml\ndata 7\n%07d\n", i%256, i, i)
	}
	origin.load(t, &script)
	for name, remote := range map[string]Remote{"https": server.remote("pki.git"), "file": origin.remote()} {
		remote.Limits.Objects = 50_000
		folder := t.TempDir()
		_, err := openIn(t, folder, remote).Pull(context.Background())
		if !errors.Is(err, ErrTooLarge) {
			t.Fatalf("%s: got %v", name, err)
		}
		says := map[string]string{"https": "a fetch brings 100259 objects, more than 50000: use a smaller repository", "file": "at devices/"}[name]
		wantTold(t, err, remote, says)
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%s left %v behind (%v)", name, left, err)
		}
	}
}

// The same files over and over are few objects, but many files.
func TestManyFilesOfFewObjects(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("%02d/a", i)], files[fmt.Sprintf("%02d/b", i)] = "1", "2"
	}
	remote := newOriginWith(t, files).remote()
	remote.Limits.Objects = 60
	_, err := open(t, remote).Pull(context.Background())
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, remote, "at 20, there are more files and folders than the limit")
}

func TestDeepFolders(t *testing.T) {
	remote := newOriginWith(t, map[string]string{strings.Repeat("d/", maxDepth+2) + "file": "x"}).remote()
	_, err := open(t, remote).Pull(context.Background())
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, remote, "at d/d/d/")
	wantTold(t, err, remote, "folders are more than 256 deep")
}
