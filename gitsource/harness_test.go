package gitsource

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/pkg/gittestserver"
)

const (
	testUser     = "reanchor"
	testPassword = "s3cr/t pass&word"
)

// testTime is when every commit of these tests is made.
var testTime = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// server is a real Git server: git itself behind HTTPS and basic authentication.
type server struct {
	root, address string
	ca            []byte

	mutex    sync.Mutex
	requests []string
	received int64
	// intercept, where set, may answer a request itself: it reports whether it did.
	intercept func(w http.ResponseWriter, r *http.Request, next http.Handler) bool
}

func newServer(t testing.TB) *server {
	t.Helper()
	log.SetOutput(io.Discard) // the test server tells of every request
	s := &server{root: t.TempDir()}
	git := gittestserver.NewGitServer(s.root)
	git.Auth(testUser, testPassword)
	git.AddHTTPMiddlewares(s.watch)
	cert, key, ca := newCertificates(t)
	if err := git.StartHTTPS(cert, key, ca, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(git.StopHTTP)
	s.address, s.ca = git.HTTPAddress(), ca
	return s
}

// watch records requests, and lets a test answer them.
func (s *server) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
		intercept := s.intercept
		s.mutex.Unlock()
		counted := &countedWriter{ResponseWriter: w}
		if intercept == nil || !intercept(counted, r, next) {
			next.ServeHTTP(counted, r)
		}
		s.mutex.Lock()
		s.received += counted.written
		s.mutex.Unlock()
	})
}

type countedWriter struct {
	http.ResponseWriter
	written int64
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

func (w *countedWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// answer installs an interceptor, or removes it if nil.
func (s *server) answer(intercept func(w http.ResponseWriter, r *http.Request, next http.Handler) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.intercept = intercept
}

// take returns what was requested since it was last called, and how many bytes
// were answered.
func (s *server) take() ([]string, int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	requests, received := s.requests, s.received
	s.requests, s.received = nil, 0
	return requests, received
}

func (s *server) remote(name string) Remote {
	return Remote{URL: s.address + "/" + name, Branch: "main", Username: testUser, Password: testPassword, CA: s.ca}
}

// repository makes a bare repository on the server with one commit.
func (s *server) repository(t testing.TB, name string, files map[string]string) *origin {
	t.Helper()
	o := newOrigin(t, filepath.Join(s.root, name))
	o.commit(t, files)
	return o
}

// origin is a bare repository that is written by git itself.
type origin struct{ folder string }

func newOrigin(t testing.TB, folder string) *origin {
	t.Helper()
	o := &origin{folder: folder}
	run(t, "", "git", "init", "--quiet", "--bare", "--initial-branch=main", folder)
	return o
}

func (o *origin) git(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, "", "git", append([]string{"-C", o.folder}, args...)...)
}

func (o *origin) remote() Remote { return Remote{URL: "file://" + o.folder, Branch: "main"} }

// commit puts files on top of main by git fast-import. The content of a file may
// begin with its mode and a bar ("100755|#!/bin/sh", "120000|target"); the content
// "-" deletes it. The root commit has no parent.
func (o *origin) commit(t testing.TB, files map[string]string) string {
	t.Helper()
	return o.commitTo(t, "main", o.head("main"), files)
}

func (o *origin) head(branch string) string {
	out, err := exec.Command("git", "-C", o.folder, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func (o *origin) commitTo(t testing.TB, branch, parent string, files map[string]string) string {
	t.Helper()
	var script bytes.Buffer
	message := fmt.Sprintf("Change %d files", len(files))
	fmt.Fprintf(&script, "commit refs/heads/%s\nauthor Ada <ada@example.com> %d +0000\ncommitter Ada <ada@example.com> %d +0000\ndata %d\n%s\n", branch, testTime.Unix(), testTime.Unix(), len(message), message)
	if parent != "" {
		fmt.Fprintf(&script, "from %s\n", parent)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content := files[path]
		if content == "-" {
			fmt.Fprintf(&script, "D %s\n", path)
			continue
		}
		mode := "100644"
		if before, after, found := strings.Cut(content, "|"); found && (before == "100755" || before == "120000" || before == "160000") {
			mode, content = before, after
		}
		if mode == "160000" {
			fmt.Fprintf(&script, "M 160000 %s %s\n", content, path)
			continue
		}
		fmt.Fprintf(&script, "M %s inline %s\ndata %d\n%s\n", mode, path, len(content), content)
	}
	run(t, script.String(), "git", "-C", o.folder, "fast-import", "--quiet", "--force", "--date-format=raw")
	return o.head(branch)
}

// hook installs a hook.
func (o *origin) hook(t testing.TB, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.folder, "hooks", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// check lets git verify the repository.
func (o *origin) check(t testing.TB) {
	t.Helper()
	o.git(t, "fsck", "--strict", "--full", "--no-dangling")
}

func run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Stdin = strings.NewReader(stdin)
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func open(t testing.TB, remote Remote) *Repository {
	t.Helper()
	return openIn(t, t.TempDir(), remote)
}

func openIn(t testing.TB, folder string, remote Remote) *Repository {
	t.Helper()
	r, err := Open(folder, remote)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pull(t testing.TB, r *Repository) *Snapshot {
	t.Helper()
	snapshot, err := r.Pull(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func push(t testing.TB, r *Repository, base *Snapshot, files map[string][]byte) *Snapshot {
	t.Helper()
	snapshot, err := r.Push(context.Background(), base, testCommit(files))
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func testCommit(files map[string][]byte) Commit {
	return Commit{Author: Author{Name: "reanchor", Email: "reanchor@example.com"}, Message: "Write files", When: testTime, Files: files}
}

// contents reads every file of a snapshot; a symbolic link reads "→ target".
func contents(t testing.TB, snapshot *Snapshot) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(snapshot.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case d.Type() == fs.ModeSymlink:
			target, err := fs.ReadLink(snapshot.FS(), path)
			all[path] = "→ " + target
			return err
		}
		data, err := fs.ReadFile(snapshot.FS(), path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantContents(t testing.TB, snapshot *Snapshot, want map[string]string) {
	t.Helper()
	if got := contents(t, snapshot); !maps.Equal(got, want) {
		t.Errorf("%s holds %v, want %v", snapshot.Revision(), got, want)
	}
}

// eventually waits for what has to come by itself.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// newCertificates makes a CA and a certificate for 127.0.0.1, all PEM.
func newCertificates(t testing.TB) (cert, key, ca []byte) {
	t.Helper()
	caKey, serverKey := newKey(t), newKey(t)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Test Server"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	encodedKey, err := x509.MarshalECPrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	cert = sign(t, leaf, authority, serverKey, caKey)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encodedKey}), sign(t, authority, authority, caKey, caKey)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, certificate, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, certificate, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
