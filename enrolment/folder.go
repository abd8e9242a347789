package enrolment

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/reanchor/reanchor/pki"
)

// The files of a device.
const (
	keyFile         = "key.pem"
	certificateFile = "certificate.pem"
	anchorsFile     = "anchors.pem"
	loadedFile      = "loaded"
	groupFile       = "group"
)

// Who may read them: the key is its owner's, the rest is public.
const (
	secret fs.FileMode = 0o600
	public fs.FileMode = 0o644
)

const keyBlock = "PRIVATE KEY" // PKCS#8: RFC 5958

// folder holds the state of a device.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

// make the folder if it is not there, and have its parent list it on the disk: a key that is
// lost with its folder is a registration that is lost.
func (f folder) make() error {
	if _, err := os.Stat(string(f)); err == nil {
		return nil
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	return folder(filepath.Dir(string(f))).sync()
}

// read a file; nil if it is not there.
func (f folder) read(name string) ([]byte, error) {
	content, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// group of the device: the one that is given, or that the server has told; empty: neither.
func (f folder) group(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	told, err := f.read(groupFile)
	return strings.TrimSpace(string(told)), err
}

// certificates of a file; none if it is not there.
func (f folder) certificates(name string) ([]pki.Certificate, error) {
	content, err := f.read(name)
	if content == nil || err != nil {
		return nil, err
	}
	certificates, err := pki.ParsePEM(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: move it away, to have it fetched again", f.path(name), err)
	}
	return certificates, nil
}

// replace a file: after a crash it has the old content or the new one.
func (f folder) replace(name string, content []byte, mode fs.FileMode) error {
	return f.put(name, content, mode, os.Rename)
}

// put content beside its place, on the disk, and then in it.
func (f folder) put(name string, content []byte, mode fs.FileMode, move func(from, to string) error) error {
	beside, err := os.CreateTemp(string(f), "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(beside.Name()) }() // if it is still there
	_, err = beside.Write(content)
	if err := errors.Join(err, beside.Chmod(mode), beside.Sync(), beside.Close()); err != nil {
		return err
	}
	if err := move(beside.Name(), f.path(name)); err != nil {
		return err
	}
	return f.sync()
}

// create a file, unless it is there: that is [fs.ErrExist]. By a link it is there whole or not
// at all; a file system that has none (vfat, say) takes it piece by piece.
func (f folder) create(name string, content []byte, mode fs.FileMode, link func(from, to string) error) error {
	err := f.put(name, content, mode, link)
	if _, is := errors.AsType[*os.LinkError](err); !is || errors.Is(err, fs.ErrExist) {
		return err
	}
	created, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = created.Write(content)
	if err := errors.Join(err, created.Sync(), created.Close()); err != nil {
		_ = os.Remove(f.path(name)) // half of it is of no use
		return err
	}
	return f.sync()
}

// sweep away what a crash has left beside a file. Who just writes one there loses it, so this
// is for the key, and once there is one: whoever made another then finds that.
func (f folder) sweep(name string) error {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "."+name+"-") {
			continue
		}
		if err := os.Remove(f.path(entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a crash has left of the device's key: %w", err)
		}
	}
	return nil
}

// sync what the folder lists.
func (f folder) sync() error {
	opened, err := os.Open(string(f))
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

// key of the device, made if there is none. Of two processes that make one at once, both get
// the key of the faster one.
func (f folder) key(algorithm KeyAlgorithm) (crypto.Signer, error) {
	content, err := f.read(keyFile)
	if len(content) > 0 || err != nil {
		return f.parseKey(content, err)
	}
	if content != nil { // a crash while it was made, without links: it was never used
		if err := os.Remove(f.path(keyFile)); err != nil {
			return nil, fmt.Errorf("make the device's key anew: %w", err)
		}
	}
	made, err := makeKey(algorithm)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return nil, fmt.Errorf("write a key of %s: it has no PKCS#8", algorithm)
	}
	err = f.create(keyFile, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), secret, os.Link)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("store the device's key: %w: see that %s can be written to", err, f)
	}
	return f.parseKey(f.read(keyFile))
}

// parseKey tells nothing of what it reads.
func (f folder) parseKey(content []byte, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, fmt.Errorf("read the device's key: %w", err)
	}
	if info, err := os.Stat(f.path(keyFile)); err == nil && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s may be read by everybody: run chmod 600 on it", f.path(keyFile))
	}
	unusable := fmt.Errorf("%s holds no private key in PKCS#8: put back the one that the device had; with another it registers anew, which the group's recovery quota counts", f.path(keyFile))
	block, _ := pem.Decode(content)
	if block == nil || block.Type != keyBlock {
		return nil, unusable
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, unusable
	}
	key, is := parsed.(crypto.Signer)
	if !is {
		return nil, unusable
	}
	return key, nil
}
