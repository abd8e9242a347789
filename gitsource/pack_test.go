package gitsource

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
)

func TestPackedSizes(t *testing.T) {
	for _, length := range []int{0, 1, 15, 16, 2047, 2048, 1 << 18, 1<<18 + 1} {
		pack, err := packOf([]object{newObject(plumbing.BlobObject, make([]byte, length))})
		if err != nil {
			t.Fatal(err)
		}
		scanner := packfile.NewScanner(bytes.NewReader(pack.data))
		if _, count, err := scanner.Header(); err != nil || count != 1 {
			t.Fatalf("%d objects (%v)", count, err)
		}
		if header, err := scanner.NextObjectHeader(); err != nil || header.Length != int64(length) {
			t.Errorf("a file of %d bytes reads as %v (%v)", length, header, err)
		}
	}
}

func TestDeltaResultSize(t *testing.T) {
	if got := resultSize([]byte{0x80, 0x01, 0xff, 0xff, 0x03, 0x90}); got != 0xffff {
		t.Errorf("got %d", got)
	}
	for _, head := range [][]byte{nil, {0x80}, {0x01}, {0x01, 0x80}, bytes.Repeat([]byte{0xff}, 20)} {
		if got := resultSize(head); got != 0 {
			t.Errorf("%x gave %d", head, got)
		}
	}
}

func TestSizeForPeople(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1536: "1.5 KiB", 8 << 20: "8.0 MiB", 5 << 30: "5.0 GiB", 1 << 62: "4194304.0 TiB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}

func TestPackThatIsCutOff(t *testing.T) {
	pack, err := packOf([]object{newObject(plumbing.BlobObject, []byte(strings.Repeat("content ", 50)))})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for length := range pack.data {
		_, err := storePack(folder, Limits{}.orDefaults(), func(w io.Writer) error { _, err := w.Write(pack.data[:length]); return err })
		if err == nil {
			t.Errorf("%d of %d bytes were taken for a pack", length, len(pack.data))
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("it left %v behind (%v)", left, err)
	}
}

// What a remote sends is stored whole and readable, or refused.
func FuzzStorePack(f *testing.F) {
	objects := []object{newObject(plumbing.BlobObject, []byte("content\n")), newObject(plumbing.TreeObject, nil)}
	pack, err := packOf(objects)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pack.data)
	f.Add(pack.data[:len(pack.data)-1])
	f.Add([]byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		store, err := createStore(filepath.Join(t.TempDir(), "store"), Remote{URL: "file:///x", Branch: "main"})
		if err != nil {
			t.Fatal(err)
		}
		limits := Limits{Object: 1 << 16, Objects: 100}.orDefaults()
		if store.addPack(limits, func(w io.Writer) error { _, err := w.Write(data); return err }) != nil {
			return
		}
		entries, err := store.packs[0].Index.(*idxfile.MemoryIndex).Entries()
		if err != nil {
			t.Fatal(err)
		}
		for {
			entry, err := entries.Next()
			if err != nil {
				break
			}
			if _, err := store.content(entry.Hash); err != nil {
				t.Errorf("a pack was stored that cannot be read: %v", err)
			}
		}
	})
}

// Whatever a tree holds: it is refused, or its names are single, distinct path elements.
func FuzzReadFolder(f *testing.F) {
	hash := strings.Repeat("\x01", 20)
	for _, name := range []string{"a", "..", "a/b", ".git", ""} {
		f.Add([]byte("100644 " + name + "\x00" + hash + "40000 b\x00" + hash))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree := new(plumbing.MemoryObject)
		tree.SetType(plumbing.TreeObject)
		if _, err := tree.Write(data); err != nil {
			t.Fatal(err)
		}
		entries, err := readFolder(func(plumbing.Hash) (plumbing.EncodedObject, error) { return tree, nil }, tree.Hash())
		if err != nil {
			return
		}
		for i, e := range entries {
			if e.name == "" || e.name == "." || e.name == ".." || strings.Contains(e.name, "/") {
				t.Errorf("it holds the name %q", e.name)
			}
			if i > 0 && entries[i-1].name >= e.name {
				t.Errorf("%q stands before %q", entries[i-1].name, e.name)
			}
		}
		decoded := new(plumbing.MemoryObject)
		decoded.SetType(plumbing.TreeObject)
		if _, err := decoded.Write(encodeFolder(entries)); err != nil {
			t.Fatal(err)
		}
		if err := new(gitobject.Tree).Decode(decoded); err != nil {
			t.Errorf("it cannot be written again: %v", err)
		}
	})
}
