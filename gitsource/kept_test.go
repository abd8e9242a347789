package gitsource

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"pgregory.net/rapid"
)

// A writer remembers the folders that it wrote. Whatever becomes of the branch in between, the
// next commit is on top of what stands there, and nothing that stands nowhere is told of.
func TestWriterForgetsWhatDoesNotStand(t *testing.T) {
	t.Parallel()
	theirs := func(name string) map[string]string {
		return map[string]string{devicePath("sensors", name): "kind: Device\n# theirs\n"}
	}
	// All in one folder, so that each commit replaces the same.
	names := sameShard(4)
	for name, between := range map[string]func(t *testing.T, server *server, origin *origin, writer *Writer, before string){
		"nothing":               func(*testing.T, *server, *origin, *Writer, string) {},
		"another writer's push": func(t *testing.T, _ *server, origin *origin, _ *Writer, _ string) { origin.commit(t, theirs(names[2])) },
		"the branch set back": func(t *testing.T, _ *server, origin *origin, _ *Writer, before string) {
			origin.git(t, "update-ref", "refs/heads/main", before)
		},
		"set back and committed": func(t *testing.T, _ *server, origin *origin, _ *Writer, before string) {
			origin.git(t, "update-ref", "refs/heads/main", before)
			origin.commit(t, theirs(names[2]))
		},
		"the document deleted": func(t *testing.T, _ *server, origin *origin, _ *Writer, _ string) {
			origin.commit(t, map[string]string{devicePath("sensors", names[1]): "-"})
		},
		"a push that is rejected": func(t *testing.T, server *server, _ *origin, writer *Writer, _ string) {
			server.reject(t)
			if _, err := writer.Put(t.Context(), registration(names[2])); err == nil {
				t.Error("a push that was rejected was told to have landed")
			}
			server.answer(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			origin := server.repository(t, "pki.git", fleetOf(300))
			writer := testWriter(t, server.remote("pki.git"))
			put(t, writer, registration(names[0]))
			before := origin.head("main")
			put(t, writer, registration(names[1]))
			between(t, server, origin, writer, before)
			want := filesOf(t, origin)
			last := registration(names[3])
			put(t, writer, last)
			want = append(want, last.Path)
			slices.Sort(want)
			if got := filesOf(t, origin); !slices.Equal(got, want) {
				t.Errorf("the branch holds %q, want %q", difference(got, want), difference(want, got))
			}
			told, err := writer.Newest().Changed(nil)
			if err != nil || !slices.Equal(told, want) {
				t.Errorf("the writer tells of %q and not of %q (%v)", difference(told, want), difference(want, told), err)
			}
			run(t, "", "git", "-C", writer.Newest().store.folder, "fsck", "--strict", "--no-dangling")
			origin.check(t)
		})
	}
}

// sameShard gives names of devices whose documents lie in one folder.
func sameShard(count int) []string {
	var names []string
	for i := 0; len(names) < count; i++ {
		if name := fmt.Sprint("device-", i); shardOf(name) == 7 {
			names = append(names, name)
		}
	}
	return names
}

// filesOf the branch, as git itself lists them, sorted.
func filesOf(t *testing.T, o *origin) []string {
	t.Helper()
	files := strings.Fields(o.git(t, "ls-tree", "-r", "--name-only", "main"))
	slices.Sort(files)
	return files
}

// difference is what the first has and the second has not.
func difference(first, second []string) []string {
	return slices.DeleteFunc(slices.Clone(first), func(one string) bool { return slices.Contains(second, one) })
}

// reject answers each push as a server does whose hook says no.
func (s *server) reject(t *testing.T) {
	t.Helper()
	s.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			http.Error(w, "no", http.StatusForbidden)
			return true
		}
		return false
	})
}

// All that may wait goes into one commit.
func TestWriterTakesAllThatWait(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	came, release := server.hold()
	defer release()
	var callers sync.WaitGroup
	callers.Go(func() { put(t, writer, registration("first")) })
	<-came
	most := writer.options.Queue
	for i := range most {
		callers.Go(func() { put(t, writer, registration(fmt.Sprintf("device-%04d", i))) })
	}
	eventually(t, "all wait", func() bool { return writer.waits() == most })
	release()
	callers.Wait()
	if count := origin.git(t, "rev-list", "--count", "main"); count != "3" {
		t.Errorf("there are %s commits, want the root and two groups", count)
	}
	if got, want := len(filesOf(t, origin)), len(site)+1+most; got != want {
		t.Errorf("there are %d files, want %d", got, want)
	}
}

// A folder's hash is the one that Git gives it.
func TestFolderHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		if got, want := newFolder(data), newObject(plumbing.TreeObject, data); got.hash != want.hash || got.kind != want.kind || !bytes.Equal(got.data, want.data) {
			t.Errorf("got %s of %s, want %s of %s", got.hash, got.kind, want.hash, want.kind)
		}
	})
}

// Folders are stored in a pack, and files are compressed.
func TestPackedFolders(t *testing.T) {
	folder := newFolder(encodeFolder([]entry{{name: strings.Repeat("a", 200), mode: filemode.Regular}}))
	file := newObject(plumbing.BlobObject, bytes.Repeat([]byte("b"), 200))
	pack, err := packOf([]object{folder, file})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(pack.data, folder.data) || bytes.Contains(pack.data, file.data) {
		t.Errorf("the folder is stored: %t, the file is: %t", bytes.Contains(pack.data, folder.data), bytes.Contains(pack.data, file.data))
	}
	if got, most := len(pack.data), packedSize([]object{folder, file}); got > most {
		t.Errorf("it takes %d bytes, and was thought to take %d at most", got, most)
	}
}

// What a cache forgets does not count any more, and what it holds is bounded.
func TestFolderCache(t *testing.T) {
	hashOf := func(i int) plumbing.Hash { return plumbing.ComputeHash(plumbing.BlobObject, fmt.Append(nil, i)) }
	wide := make([]entry, maxCachedEntries/4)
	var c folderCache
	for i := range 100 { // a commit replaces what the one before it wrote
		c.put(hashOf(i), wide)
		c.drop(hashOf(i - 1))
		if _, found := c.get(hashOf(i - 1)); found {
			t.Fatalf("folder %d was dropped, and is there", i-1)
		}
	}
	if want := len(wide) + 1; c.entries != want || len(c.young)+len(c.old) != 1 {
		t.Errorf("it counts %d entries in %d folders, want %d in one", c.entries, len(c.young)+len(c.old), want)
	}
	for i := range 100 {
		c.put(hashOf(i), wide)
	}
	if held := (len(c.young) + len(c.old)) * len(wide); held > 3*maxCachedEntries {
		t.Errorf("it holds %d entries", held)
	}
}
