package gitsource

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/pkg/gittestserver"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// sshKey is an Ed25519 key in OpenSSH's form.
type sshKey struct {
	signer gossh.Signer
	pem    []byte
}

func newSSHKey(t testing.TB, passphrase string) sshKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "test")
	if passphrase != "" {
		block, err = gossh.MarshalPrivateKeyWithPassphrase(private, "test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sshKey{signer: signer, pem: pem.EncodeToMemory(block)}
}

// sshRemote is a remote that knows a host key, and has a key of its own.
func sshRemote(t testing.TB, address string, hostKeys ...gossh.PublicKey) Remote {
	t.Helper()
	remote := Remote{URL: address, Branch: "main", SSHKey: newSSHKey(t, "").pem}
	remote.KnownHosts = knownHostsFor(t, address, hostKeys...)
	return remote
}

func knownHostsFor(t testing.TB, address string, keys ...gossh.PublicKey) []byte {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	var lines []byte
	for _, key := range keys {
		lines = append(lines, knownhosts.Line([]string{knownhosts.Normalize(parsed.Host)}, key)+"\n"...)
	}
	return lines
}

// overSSH starts a real SSH server for the repositories of a server.
func (s *server) overSSH(t testing.TB) func(name string) Remote {
	t.Helper()
	git := gittestserver.NewGitServer(s.root)
	keys := t.TempDir()
	git.KeyDir(keys)
	git.Auth(testUser, testPassword) // here: any public key will do
	if err := git.ListenSSH(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = git.StartSSH() }()
	t.Cleanup(func() { _ = git.StopSSH() })
	names, err := filepath.Glob(filepath.Join(keys, "*.pub"))
	if err != nil || len(names) != 1 {
		t.Fatalf("host keys: %q (%v)", names, err)
	}
	line, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := gossh.ParseAuthorizedKey(line)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) Remote { return sshRemote(t, git.SSHAddress()+"/"+name, key) }
}
