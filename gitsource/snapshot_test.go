package gitsource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
)

func TestFS(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"README.md": "read me\n", "empty": "", "run.sh": "100755|#!/bin/sh\n", "a/b/c/d": "deep\n", "a.b": "1", "a-b": "2", "a/b.yaml": "3",
		"link": "120000|a/b/c/d", "a/up": "120000|../README.md", "folder": "120000|a/b",
	}
	for i := range 300 {
		files[fmt.Sprintf("many/%03d", i)] = fmt.Sprint(i)
	}
	snapshot := pull(t, open(t, newOriginWith(t, files).remote()))
	if err := fstest.TestFS(snapshot.FS(), slices.Collect(maps.Keys(files))...); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]fs.FileMode{"README.md": 0o444, "run.sh": 0o555, "a": fs.ModeDir | 0o555, "link": fs.ModeSymlink | 0o777} {
		info, err := fs.Lstat(snapshot.FS(), path)
		if err != nil || info.Mode() != want || !info.ModTime().Equal(testTime) {
			t.Errorf("%s is %v (%v), want %v", path, info, err, want)
		}
	}
	for path, want := range map[string]string{"link": "deep\n", "a/up": "read me\n", "folder/c/d": "deep\n"} {
		if data, err := fs.ReadFile(snapshot.FS(), path); err != nil || string(data) != want {
			t.Errorf("%s reads %q (%v), want %q", path, data, err, want)
		}
	}
}

func TestFSErrors(t *testing.T) {
	t.Parallel()
	snapshot := pull(t, open(t, newOriginWith(t, map[string]string{
		"file": "1", "folder/x": "2",
		"absolute": "120000|/etc/passwd", "escape": "120000|folder/../../x", "folder/escape": "120000|../../etc/passwd", "loop": "120000|loop",
		"dangling": "120000|nowhere", "outside": "120000|..",
	}).remote()))
	read := func(path string) error { _, err := fs.ReadFile(snapshot.FS(), path); return err }
	list := func(path string) error { _, err := fs.ReadDir(snapshot.FS(), path); return err }
	for _, c := range []struct {
		path string
		do   func(string) error
		want error
	}{
		{"absent", read, fs.ErrNotExist},
		{"file/below", read, fs.ErrNotExist},
		{"../x", read, fs.ErrInvalid},
		{"/file", read, fs.ErrInvalid},
		{"folder", read, errFolder},
		{"file", list, errNotFolder},
		{"absolute", read, errEscape},
		{"escape", read, errEscape},
		{"folder/escape", read, errEscape},
		{"outside", list, errEscape},
		{"outside/x", read, errEscape},
		{"loop", read, errLoop},
		{"dangling", read, fs.ErrNotExist},
		{"file", func(path string) error { _, err := fs.ReadLink(snapshot.FS(), path); return err }, errNotLink},
		{"folder", func(path string) error {
			f, err := snapshot.FS().Open(path)
			if err == nil {
				_, err = f.Read(nil)
			}
			return err
		}, errFolder},
	} {
		err := c.do(c.path)
		_, isPath := errors.AsType[*fs.PathError](err)
		if !errors.Is(err, c.want) || !isPath {
			t.Errorf("%s gave %v, want %v", c.path, err, c.want)
		}
	}
}

func TestSubmoduleIsAnEmptyFolder(t *testing.T) {
	t.Parallel()
	snapshot := pull(t, open(t, newOriginWith(t, map[string]string{"a": "1", "vendor/module": "160000|" + strings.Repeat("1", 40)}).remote()))
	if err := fstest.TestFS(snapshot.FS(), "a", "vendor", "vendor/module"); err != nil {
		t.Error(err)
	}
	if entries, err := fs.ReadDir(snapshot.FS(), "vendor/module"); err != nil || len(entries) > 0 {
		t.Errorf("it holds %v (%v)", entries, err)
	}
	changed, err := snapshot.Changed(nil)
	if want := []string{"a", "vendor/module"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
}

// Names that git itself would not make, but a hostile server can send.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, site)
	blob := run(t, "content", "git", "-C", origin.folder, "hash-object", "-w", "--stdin")
	hash := make([]byte, 20)
	if _, err := fmt.Sscanf(blob, "%x", &hash); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tree string
		want string
	}{
		"parent folder": {"100644 ..\x00" + string(hash), "which is none"},
		"slash":         {"100644 a/../../b\x00" + string(hash), "which is none"},
		"twice":         {"100644 a\x00" + string(hash) + "100644 a\x00" + string(hash), "twice"},
		"cut off":       {"100644 a\x00" + string(hash[:7]), "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := run(t, c.tree, "git", "-C", origin.folder, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
			origin.git(t, "update-ref", "refs/heads/main", run(t, "hostile", "git", "-C", origin.folder, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree))
			if _, err := open(t, origin.remote()).Pull(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
	t.Run("not UTF-8", func(t *testing.T) {
		tree := run(t, "100644 \xff\x00"+string(hash), "git", "-C", origin.folder, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
		origin.git(t, "update-ref", "refs/heads/main", run(t, "odd", "git", "-C", origin.folder, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree))
		if _, err := fs.ReadDir(pull(t, open(t, origin.remote())).FS(), "."); !errors.Is(err, errNotUTF8) {
			t.Errorf("got %v", err)
		}
	})
}

// A tree of ten folders in each of ten levels takes a kilobyte and stands for ten
// thousand million files.
func TestTreeBomb(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"0": "boom"})
	tree := origin.git(t, "rev-parse", "main^{tree}")
	for range 10 {
		var level strings.Builder
		for i := range 10 {
			fmt.Fprintf(&level, "040000 tree %s\t%d\n", tree, i)
		}
		tree = run(t, level.String(), "git", "-C", origin.folder, "mktree")
	}
	origin.git(t, "update-ref", "refs/heads/main", run(t, "bomb", "git", "-C", origin.folder, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree))
	remote := origin.remote()
	remote.Limits.Objects = 10_000
	if _, err := open(t, remote).Pull(context.Background()); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	large := make([]byte, 3<<20) // packs small, as zeros do
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	origin := server.repository(t, "pki.git", map[string]string{"large": string(large), "random": string(random), "a/small": "small"})
	for _, remote := range []Remote{server.remote("pki.git"), origin.remote()} {
		scheme, _, _ := strings.Cut(remote.URL, ":")
		t.Run(scheme, func(t *testing.T) {
			remote.Limits.File = 2 << 20
			snapshot := pull(t, open(t, remote))
			if _, err := fs.ReadFile(snapshot.FS(), "large"); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "read large: too large: 3.0 MiB, more than 2.0 MiB") {
				t.Errorf("to read a large file gave %v", err)
			}
			if info, err := fs.Stat(snapshot.FS(), "large"); err != nil || info.Size() != 3<<20 {
				t.Errorf("a large file is %v (%v)", info, err)
			}
			if data, err := fs.ReadFile(snapshot.FS(), "random"); err != nil || string(data) != string(random) {
				t.Errorf("a file was read wrong (%v)", err)
			}
			for name, c := range map[string]struct {
				limits Limits
				says   string
			}{
				"object":  {Limits{Object: 2 << 20}, "3.0 MiB, more than 2.0 MiB"},
				"fetch":   {Limits{Fetch: 1 << 19}, "more than 512.0 KiB"},
				"objects": {Limits{Objects: 3}, "more than 3"},
			} {
				remote := remote
				remote.Limits = c.limits
				folder := t.TempDir()
				_, err := openIn(t, folder, remote).Pull(context.Background())
				if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("limit of %s: %v", name, err)
				}
				if left, _ := os.ReadDir(folder); len(left) > 0 {
					t.Errorf("limit of %s: left behind %v", name, left)
				}
			}
		})
	}
}

// Changed is compared with git diff-tree, over random trees that turn files into
// folders and back and change modes.
func TestChangedMatchesGit(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"a": "0"})
	repository := open(t, origin.remote())
	random := rand.New(rand.NewPCG(1, 2))
	snapshots := []*Snapshot{pull(t, repository)}
	for range 16 {
		files := map[string]string{}
		for range 40 {
			path := []string{"a", "b", "a.c", "d"}[random.IntN(4)]
			for range random.IntN(4) {
				path += "/" + []string{"x", "y", "x.y"}[random.IntN(3)]
			}
			content := fmt.Sprint(random.IntN(3))
			files[path] = []string{content, content, "100755|" + content, "120000|" + content, "-"}[random.IntN(5)]
		}
		origin.commit(t, files)
		snapshots = append(snapshots, pull(t, repository))
	}
	for i, old := range snapshots {
		for _, new := range snapshots[i:] {
			diff := origin.git(t, "diff-tree", "-r", "-z", "--name-only", "--no-renames", old.Commit(), new.Commit())
			want := slices.Compact(slices.Sorted(strings.FieldsFuncSeq(diff, func(c rune) bool { return c == 0 })))
			got, err := new.Changed(old)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s to %s: got %q (%v), want %q", old.Commit(), new.Commit(), got, err, want)
			}
			back, err := old.Changed(new)
			if err != nil || !slices.Equal(back, want) {
				t.Fatalf("%s to %s: got %q (%v), want %q", new.Commit(), old.Commit(), back, err, want)
			}
		}
	}
}

func TestChangedOverThousandsOfFiles(t *testing.T) {
	t.Parallel()
	files := manyFiles(5000)
	origin := newOriginWith(t, files)
	repository := open(t, origin.remote())
	before := pull(t, repository)
	all, err := before.Changed(nil)
	if want := slices.Sorted(maps.Keys(files)); err != nil || !slices.Equal(all, want) {
		t.Fatalf("%d files (%v), want %d", len(all), err, len(want))
	}
	origin.commit(t, map[string]string{"devices/group/07/device-00007.yaml": "-", "devices/group/08/device-00008.yaml": "100755|" + files["devices/group/08/device-00008.yaml"], "new/file": "x"})
	after := pull(t, repository)
	after.store.folders = folderCache{}
	changed, err := after.Changed(before)
	if want := []string{"devices/group/07/device-00007.yaml", "devices/group/08/device-00008.yaml", "new/file"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
	// The roots, devices, group, 07 and 08 of both, and new.
	if read := len(after.store.folders.young); read != 2*5+1+1 {
		t.Errorf("it read %d folders", read)
	}
}

func TestChangedBetweenRepositories(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, site)
	before := pull(t, open(t, origin.remote()))
	origin.commit(t, map[string]string{"authorities/root.yaml": "changed"})
	after := pull(t, open(t, origin.remote()))
	changed, err := after.Changed(before)
	if want := []string{"authorities/root.yaml"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", manyFiles(200))
	repository := open(t, server.remote("pki.git"))
	snapshot := pull(t, repository)
	want := manyFiles(200)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if got := contents(t, snapshot); !maps.Equal(got, want) {
				t.Errorf("read %d files", len(got))
			}
		})
	}
	group.Go(func() {
		for i := range 3 {
			origin.commit(t, map[string]string{"new": fmt.Sprint(i)})
			if _, err := repository.Pull(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
}

func TestMemoryIsBounded(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("file-%02d", i)] = strings.Repeat(fmt.Sprintf("%08d", i), 1<<17)
	}
	repository := open(t, newOriginWith(t, files).remote())
	snapshot := pull(t, repository)
	for name := range files {
		if _, err := fs.ReadFile(snapshot.FS(), name); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > 32<<20 {
		t.Errorf("after reading 40 MiB, %d MiB are held", memory.HeapAlloc>>20)
	}
	runtime.KeepAlive(snapshot)
}

func TestRemoteShowsNoCredentials(t *testing.T) {
	remote := Remote{URL: "https://jane:hunter22@git.example/pki.git?token=hunter22#hunter22", Branch: "main", Username: "joe", Password: "hunter33"}
	encoded, err := json.Marshal(remote)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{remote.String(), fmt.Sprint(remote), fmt.Sprintf("%v %+v %#v %s %q", remote, remote, remote, remote, remote), fmt.Sprintf("%+v", &remote), fmt.Sprintf("%+v", []Remote{remote}), string(encoded)} {
		if !strings.Contains(text, "main of https://git.example/pki.git") {
			t.Errorf("%q does not name the remote", text)
		}
		for _, secret := range []string{"hunter22", "hunter33", "jane", "joe"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q holds %s", text, secret)
			}
		}
	}
}

func TestCredentialsInTheURL(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	remote := server.remote("pki.git")
	remote.URL = "https://" + testUser + ":s3cr%2Ft%20pass&word@" + strings.TrimPrefix(remote.URL, "https://") + "/"
	remote.Username, remote.Password = "", ""
	folder := t.TempDir()
	wantContents(t, pull(t, openIn(t, folder, remote)), site)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "s3cr") {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOpenFileSeeks(t *testing.T) {
	t.Parallel()
	f, err := pull(t, open(t, newOriginWith(t, map[string]string{"f": "0123456789"}).remote())).FS().Open("f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.(io.Seeker).Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(f); err != nil || string(rest) != "789" {
		t.Errorf("read %q (%v)", rest, err)
	}
}

// A folder that is wider than the whole cache is not read again for each of its files, and
// neither is the one above it.
func TestWideFoldersStayCached(t *testing.T) {
	folders := map[string][]entry{"wide": make([]entry, 3*maxCachedEntries), "above": make([]entry, 2)}
	for i := range 100 {
		folders[fmt.Sprintf("once-%d", i)] = make([]entry, maxCachedEntries/50)
	}
	var cache folderCache
	reads := map[string]int{}
	read := func(name string) {
		hash := plumbing.ComputeHash(plumbing.TreeObject, []byte(name))
		if _, found := cache.get(hash); !found {
			reads[name]++
			cache.put(hash, folders[name])
		}
	}
	for i := range 1000 {
		read("above")
		read("wide")
		if i%10 == 0 {
			read(fmt.Sprintf("once-%d", i/10))
		}
	}
	if reads["above"] > 1 || reads["wide"] > 1 {
		t.Errorf("the wide folder was read %d times, the one above it %d times", reads["wide"], reads["above"])
	}
	held := 0
	for _, generation := range []map[plumbing.Hash][]entry{cache.young, cache.old} {
		for _, entries := range generation {
			held += len(entries)
		}
	}
	if most := 2 * (len(folders["wide"]) + 2*maxCachedEntries); held > most {
		t.Errorf("the cache holds %d entries, more than %d", held, most)
	}
}
