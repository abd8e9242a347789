package enrolment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Where there are no links a file is created all the same, once, and nothing lies beside it.
func TestCreateWithoutLinks(t *testing.T) {
	none := func(from, to string) error {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM} // as vfat has it
	}
	for name, link := range map[string]func(from, to string) error{"links": os.Link, "no links": none} {
		f := folder(t.TempDir())
		if err := f.create(keyFile, []byte("first"), secret, link); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.create(keyFile, []byte("second"), secret, link); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: created again: %v", name, err)
		}
		content, err := f.read(keyFile)
		if err != nil || string(content) != "first" {
			t.Errorf("%s: it holds %q, %v", name, content, err)
		}
		if info, err := os.Stat(f.path(keyFile)); err != nil || info.Mode().Perm() != secret {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if entries, err := os.ReadDir(string(f)); err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder holds %v, %v", name, entries, err)
		}
	}
}

// A key that a crash has left empty was never used: there is another. What it has left beside
// the key is removed, by its own name alone.
func TestKeyAfterACrash(t *testing.T) {
	f := folder(filepath.Join(t.TempDir(), "[state]")) // a name that means something in patterns
	if err := f.make(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{keyFile, "." + keyFile + "-123", "." + keyFile} {
		if err := os.WriteFile(f.path(left), nil, secret); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.key(ECDSA); err != nil {
		t.Fatal(err)
	}
	if err := f.sweep(keyFile); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(string(f))
	if err != nil || len(entries) != 2 || entries[0].Name() != "."+keyFile || entries[1].Name() != keyFile {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
