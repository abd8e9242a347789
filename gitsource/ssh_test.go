package gitsource

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestSSH(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	remote := server.overSSH(t)("pki.git")
	folder := t.TempDir()
	repository := openIn(t, folder, remote)
	snapshot := pull(t, repository)
	wantContents(t, snapshot, site)
	if again := pull(t, repository); again != snapshot {
		t.Error("an unchanged branch gave another snapshot")
	}

	origin.commit(t, map[string]string{"theirs": "1"})
	pushed := push(t, repository, snapshot, map[string][]byte{"ours": []byte("2")})
	changed, err := pushed.Changed(snapshot)
	if want := []string{"ours", "theirs"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
	reopened := pull(t, openIn(t, folder, remote))
	if reopened.Revision() != pushed.Revision() {
		t.Errorf("after a restart it is at %s, want %s", reopened.Revision(), pushed.Revision())
	}
	origin.check(t)
	if left, err := filepath.Glob(filepath.Join(folder, "known_hosts*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}
}

func TestSSHRejectedByHook(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	origin.hook(t, "pre-receive", `echo "devices need a ticket" >&2; exit 1`)
	remote := server.overSSH(t)("pki.git")
	repository := open(t, remote)
	base := pull(t, repository)
	_, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{"x": []byte("x")}))
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "devices need a ticket") {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, remote, "do what the remote asks for")
	if pull(t, repository) != base {
		t.Error("the branch moved")
	}
}

func TestSSHErrors(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	newOrigin(t, filepath.Join(server.root, "empty.git"))
	over := server.overSSH(t)
	for name, c := range map[string]struct {
		repository string
		change     func(*Remote)
		want       error
		says       string
	}{
		"no repository":    {repository: "absent.git", want: ErrNotRepository, says: "does not appear to be a git repository"},
		"empty repository": {repository: "empty.git", want: ErrBranchNotFound, says: "push a first commit"},
		"missing branch":   {repository: "pki.git", change: func(r *Remote) { r.Branch = "absent" }, want: ErrBranchNotFound, says: "git push origin HEAD:absent"},
		"nobody listens":   {repository: "pki.git", change: func(r *Remote) { r.URL = "ssh://" + nobody(t) + "/pki.git" }, want: ErrUnreachable, says: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			remote := over(c.repository)
			if c.change != nil {
				c.change(&remote)
			}
			_, err := open(t, remote).Pull(context.Background())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			wantTold(t, err, remote, c.says)
		})
	}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestSSHPath(t *testing.T) {
	for address, want := range map[string]string{
		"ssh://git@git.example/a/b.git":  "/a/b.git",
		"ssh://git@git.example/~/b.git":  "~/b.git",
		"ssh://git@git.example/~u/b.git": "~u/b.git",
		"git@git.example:a/b.git":        "a/b.git",
		"git@git.example:/a/b.git":       "/a/b.git",
		"git@git.example:~u/b.git":       "~u/b.git",
	} {
		parsed, belowHome, err := parseURL(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := pathOf(parsed, belowHome); got != want {
			t.Errorf("%s asks for %q, want %q", address, got, want)
		}
	}
	if got, want := quoted("/it's!"), `'/it'\''s'\!''`; got != want {
		t.Errorf("quoted %s, want %s", got, want)
	}
}

func TestSSHKeyForms(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	encrypted := newSSHKey(t, "opens up").pem
	const unreadable = "the SSHKey cannot be read: give a private key as PEM"
	for name, c := range map[string]struct {
		key        []byte
		passphrase string
		want       string
	}{
		"OpenSSH":           {key: newSSHKey(t, "").pem},
		"PKCS #1":           {key: block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"PKCS #8":           {key: block("PRIVATE KEY", pkcs8)},
		"SEC 1":             {key: block("EC PRIVATE KEY", sec1)},
		"encrypted":         {key: encrypted, passphrase: "opens up"},
		"no passphrase":     {key: encrypted, want: "the SSHKey is encrypted: give its passphrase"},
		"wrong passphrase":  {key: encrypted, passphrase: "wr0ng-password", want: "the passphrase does not open the SSHKey"},
		"not a key":         {key: []byte("garbage wr0ng-password"), want: unreadable},
		"a cut off key":     {key: encrypted[:100], want: unreadable},
		"a public key":      {key: gossh.MarshalAuthorizedKey(newSSHKey(t, "").signer.PublicKey()), want: unreadable},
		"a garbled key":     {key: block("OPENSSH PRIVATE KEY", []byte("wr0ng-password")), want: unreadable},
		"a certificate":     {key: block("CERTIFICATE", pkcs8), want: unreadable},
		"an encrypted PKCS": {key: block("ENCRYPTED PRIVATE KEY", pkcs8), want: unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			remote := sshRemote(t, "ssh://git.example/x", newSSHKey(t, "").signer.PublicKey())
			remote.SSHKey, remote.SSHPassphrase = c.key, c.passphrase
			_, err := Open(t.TempDir(), remote)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err != nil {
				wantTold(t, err, remote, "")
			}
		})
	}
}

// manyKeys is an SSH server with several host keys.
func manyKeys(t *testing.T, h *hostile, keys ...gossh.Signer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	config := &gossh.ServerConfig{NoClientAuth: true}
	for _, key := range keys {
		config.AddHostKey(key)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go h.serveSSH(conn, config)
		}
	}()
	return "ssh://" + listener.Addr().String() + "/pki.git"
}

func TestHostKeys(t *testing.T) {
	h := newHostile(t, site)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	asRSA, err := gossh.NewSignerFromKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asEC, err := gossh.NewSignerFromKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	ed, other, authority := newSSHKey(t, "").signer, newSSHKey(t, "").signer, newSSHKey(t, "").signer
	address := manyKeys(t, h, asRSA, asEC, ed)
	host := strings.TrimSuffix(strings.TrimPrefix(address, "ssh://"), "/pki.git")
	name := knownhosts.Normalize(host)
	certified := manyKeys(t, h, certifiedHost(t, ed, authority, "127.0.0.1"))
	certifiedName := knownhosts.Normalize(strings.TrimSuffix(strings.TrimPrefix(certified, "ssh://"), "/pki.git"))
	line := func(names string, key gossh.Signer) string { return names + " " + authorized(key) }

	for title, c := range map[string]struct {
		address string
		known   string
		says    []string // nil: it connects
	}{
		"only the first is known":    {known: line(name, asRSA)},
		"only the second is known":   {known: line(name, asEC)},
		"only the third is known":    {known: line(name, ed)},
		"a comment and other hosts":  {known: "# hosts\n\n" + line("git.example", other) + line(name, ed)},
		"two of one type":            {known: line(name, other) + line(name, ed)},
		"hashed":                     {known: line(knownhosts.HashHostname(name), ed)},
		"a pattern":                  {known: line("127.0.0.*", ed)},
		"CR LF":                      {known: strings.ReplaceAll(line(name, ed), "\n", "\r\n")},
		"of a certificate authority": {address: certified, known: "@cert-authority " + line(certifiedName, authority)},
		"unknown":                    {known: line("git.example", other), says: []string{"the server shows ", " SHA256:", "KnownHosts has no key for " + name, "ask the server's operator for its fingerprint"}},
		"another port":               {known: line("127.0.0.1", ed), says: []string{"has no key for " + name}},
		"changed":                    {known: line(name, other), says: []string{"the server shows " + fingerprint(ed.PublicKey()), "expects " + fingerprint(other.PublicKey()), "somebody may stand between"}},
		"changed, of another type":   {address: manyKeys(t, h, asEC), known: line("*", other), says: []string{"the server shows " + fingerprint(asEC.PublicKey()), "expects " + fingerprint(other.PublicKey())}},
		"hashed and changed":         {known: line(knownhosts.HashHostname(name), other), says: []string{"expects " + fingerprint(other.PublicKey())}},
		"revoked":                    {known: line(name, ed) + "@revoked " + line("*", ed), says: []string{fingerprint(ed.PublicKey()) + ", which KnownHosts revokes"}},
		"another authority":          {address: certified, known: "@cert-authority " + line(certifiedName, other), says: []string{"the server shows ", gossh.FingerprintSHA256(ed.PublicKey())}},
		"a revoked authority":        {address: certified, known: "@cert-authority " + line(certifiedName, authority) + "@revoked " + line("*", authority), says: []string{"revoked"}},
	} {
		t.Run(title, func(t *testing.T) {
			remote := Remote{URL: c.address, Branch: "main", SSHKey: newSSHKey(t, "").pem, KnownHosts: []byte(c.known)}
			if remote.URL == "" {
				remote.URL = address
			}
			snapshot, err := open(t, remote).Pull(context.Background())
			if c.says == nil {
				if err != nil {
					t.Fatal(err)
				}
				wantContents(t, snapshot, site)
				return
			}
			if !errors.Is(err, ErrHostKey) {
				t.Fatalf("got %v", err)
			}
			for _, says := range c.says {
				wantTold(t, err, remote, says)
			}
			if strings.Contains(err.Error(), "isabl") || strings.Contains(err.Error(), "StrictHostKeyChecking") {
				t.Errorf("%q advises against checking", err)
			}
		})
	}
}

// certifiedHost is a host key with a certificate for a name.
func certifiedHost(t *testing.T, key, authority gossh.Signer, name string) gossh.Signer {
	t.Helper()
	certificate := &gossh.Certificate{
		Key: key.PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{name},
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewCertSigner(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func authorized(key gossh.Signer) string {
	return string(gossh.MarshalAuthorizedKey(key.PublicKey()))
}

// What ssh-keygen hashes is found again.
func TestKnownHostsOfOpenSSH(t *testing.T) {
	t.Parallel()
	key := newSSHKey(t, "").signer
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte("[git.example]:2222 "+authorized(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "ssh-keygen", "-q", "-H", "-f", file)
	lines, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(lines, []byte("|1|")) {
		t.Fatalf("ssh-keygen made %q (%v)", lines, err)
	}
	known, err := readKnownHosts(lines, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := known.check("git.example:2222", &net.TCPAddr{}, key.PublicKey()); err != nil {
		t.Error(err)
	}
	if err := known.check("git.example:22", &net.TCPAddr{}, key.PublicKey()); !errors.Is(err, ErrHostKey) {
		t.Errorf("another port gave %v", err)
	}
}

func TestKnownHostsRefused(t *testing.T) {
	t.Parallel()
	key := authorized(newSSHKey(t, "").signer)
	for lines, want := range map[string]string{
		"":                                      "ssh:// takes the server's host keys: give KnownHosts",
		" \n":                                   "ssh:// takes the server's host keys: give KnownHosts",
		"# none\n":                              "KnownHosts holds no key",
		"git.example " + key + "garbage\n":      "line 2 of KnownHosts cannot be read",
		"git.example ssh-ed25519 AAAA\n":        "line 1 of KnownHosts cannot be read",
		"\n\n@revoked\n":                        "line 3 of KnownHosts cannot be read",
		"|1|!!|!! " + key:                       "KnownHosts cannot be read",
		"@unheard-of git.example " + key:        "KnownHosts cannot be read",
		"git.example ssh-rsa " + key[12:]:       "line 1 of KnownHosts cannot be read",
		strings.Repeat("x", 100_000) + "\n":     "line 1 of KnownHosts cannot be read",
		strings.Repeat("x", 70_000) + " " + key: "KnownHosts cannot be read",
	} {
		remote := sshRemote(t, "ssh://git.example/x", newSSHKey(t, "").signer.PublicKey())
		remote.KnownHosts = []byte(lines)
		folder := t.TempDir()
		_, err := Open(folder, remote)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), folder) {
			t.Errorf("%q gave %v, want it to say %q", shortened(lines), err, want)
		}
	}
}
