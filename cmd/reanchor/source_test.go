package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/reconciler"
)

// newBare makes a bare repository with the branches main and anchors.
func newBare(t *testing.T) (url string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "pki.git")
	git(t, "", "init", "--quiet", "--bare", "--initial-branch=main", folder)
	script := ""
	for _, branch := range []string{"main", "anchors"} {
		script += "commit refs/heads/" + branch + "\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 5\nfirst\nM 100644 inline site/README.md\ndata " +
			map[string]string{"main": "4\nmain\n", "anchors": "7\nanchors\n"}[branch]
	}
	git(t, script, "-C", folder, "fast-import", "--quiet")
	return "file://" + folder
}

func git(t *testing.T, stdin string, args ...string) {
	t.Helper()
	command := exec.Command("git", args...)
	command.Stdin = strings.NewReader(stdin)
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func pull(t *testing.T, s *source, branch reconciler.Branch) reconciler.Snapshot {
	t.Helper()
	pulled, err := s.Pull(t.Context(), branch, reconciler.After{})
	if err != nil {
		t.Fatal(err)
	}
	return pulled
}

func write(files map[string][]byte) reconciler.Commit {
	return reconciler.Commit{
		Author: v1alpha1.CommitAuthor{Name: "reanchor", Email: "noreply@reanchor.dev"}, Message: "Record root 2026",
		When: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Files: files,
	}
}

// The source's branch and the record's have a copy each, and neither is in the
// other's way.
func TestBranchesOfADomain(t *testing.T) {
	domain := planner.Ref{Namespace: "plant", Name: "fleet"}
	documents := reconciler.Branch{Domain: domain, URL: newBare(t), Name: "main"}
	record := documents
	record.Name, record.Record = "anchors", true
	s := &source{folder: t.TempDir()}
	base := pull(t, s, documents)
	anchors := pull(t, s, record)
	pushed, err := s.Push(t.Context(), record, anchors, write(map[string][]byte{"site/anchors/root/2026.pem": []byte("2026")}))
	if err != nil {
		t.Fatal(err)
	}
	if again := pull(t, s, record); again != pushed || !strings.HasPrefix(again.Revision(), "anchors@sha1:") {
		t.Errorf("a pull after the push gave %s, want %s", again.Revision(), pushed.Revision())
	}
	if changed, err := pushed.Changed(anchors); err != nil || !slices.Equal(changed, []string{"site/anchors/root/2026.pem"}) {
		t.Errorf("changed %q (%v)", changed, err)
	}
	if again := pull(t, s, documents); again != base {
		t.Errorf("the source's branch moved to %s", again.Revision())
	}
	if text, err := fs.ReadFile(base.FS(), "site/README.md"); err != nil || string(text) != "main" {
		t.Errorf("the source's branch holds %q (%v)", text, err)
	}
}

// A domain that is gone leaves nothing on the disk; a record that moved back to the source's
// branch takes its own copy alone. Both may come back.
func TestWhatIsForgottenLeavesTheDisk(t *testing.T) {
	domain := planner.Ref{Namespace: "plant", Name: "fleet"}
	documents := reconciler.Branch{Domain: domain, URL: newBare(t), Name: "main"}
	record, other := documents, documents
	record.Name, record.Record = "anchors", true
	other.Domain.Name = "fleet-2"
	s := &source{folder: t.TempDir()}
	left := func(want ...string) {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join(s.folder, "plant"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Name())
		}
		if !slices.Equal(got, want) || len(s.copies) != len(want) {
			t.Errorf("%q are left, and %d copies; want %q", got, len(s.copies), want)
		}
	}
	for range 2 {
		pull(t, s, documents)
		pull(t, s, record)
		pull(t, s, other)
		left("fleet", "fleet-2", "fleet@record")
		if err := s.ForgetRecord(domain); err != nil {
			t.Fatal(err)
		}
		left("fleet", "fleet-2")
		pull(t, s, record)
		if err := errors.Join(s.Forget(domain), s.Forget(domain)); err != nil {
			t.Fatal(err)
		}
		left("fleet-2")
	}
}

// A copy that takes long to open holds up no other, and whoever waits for it does so within
// the turn's time.
func TestASlowCopyHoldsUpNoOther(t *testing.T) {
	slow := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "slow"}, URL: newBare(t), Name: "main"}
	other := slow
	other.Domain.Name = "other"
	s := &source{folder: t.TempDir()}
	opening, err := s.enter(t.Context(), s.copyOf(slow.Domain, false))
	if err != nil {
		t.Fatal(err)
	}
	pull(t, s, other)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Pull(ctx, slow, reconciler.After{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "TrustDomain plant/slow") {
		t.Errorf("after the turn's time: %v", err)
	}
	opening.gone = true // as if it had been removed, and not opened
	delete(s.copies, s.copyOf(slow.Domain, false))
	opening.leave()
	pull(t, s, slow)
}

// The reconciler tells a conflict from a failure.
func TestAConflictIsToldAsOne(t *testing.T) {
	branch := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "fleet"}, URL: newBare(t), Name: "main"}
	ours, theirs := &source{folder: t.TempDir()}, &source{folder: t.TempDir()}
	base := pull(t, ours, branch)
	if _, err := theirs.Push(t.Context(), branch, pull(t, theirs, branch), write(map[string][]byte{"site/x": []byte("theirs"), "site/y": []byte("theirs")})); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Push(t.Context(), branch, base, write(map[string][]byte{"site/x": []byte("ours")})); !errors.Is(err, reconciler.ErrConflict) || !strings.Contains(err.Error(), "site/x") {
		t.Errorf("another content of the same file: %v", err)
	}
	landed, err := ours.Push(t.Context(), branch, base, write(map[string][]byte{"site/z": []byte("ours")}))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := landed.Changed(base); err != nil || !slices.Equal(changed, []string{"site/x", "site/y", "site/z"}) {
		t.Errorf("beside another file: changed %q (%v)", changed, err)
	}

	absent := branch
	absent.Name, absent.Record = "absent", true
	if _, err := ours.Push(t.Context(), absent, base, write(map[string][]byte{"x": nil})); err == nil || errors.Is(err, reconciler.ErrConflict) || !strings.Contains(err.Error(), "git push origin HEAD:absent") {
		t.Errorf("a branch that is not there: %v", err)
	}
}

// failedWith is the reason that the reconciler will tell.
func failedWith(err error) string {
	if known, ok := errors.AsType[*reconciler.SourceError](err); ok {
		return known.Reason
	}
	return ""
}

// Every error that gitsource has a name for has a reason, and keeps its words.
func TestErrorsOfAPullHaveReasons(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
	}{
		{gitsource.ErrBranchNotFound, "BranchNotFound"},
		{gitsource.ErrAuthentication, "AuthenticationFailed"},
		{gitsource.ErrNotRepository, "NotARepository"},
		{gitsource.ErrUnreachable, "RemoteUnreachable"},
		{gitsource.ErrRedirect, "Redirected"},
		{gitsource.ErrHostKey, "HostKeyMismatch"},
		{gitsource.ErrTLS, "TLSFailed"},
		{gitsource.ErrSignature, "CommitNotVerified"},
		{gitsource.ErrTooLarge, "RepositoryTooLarge"},
		{errors.New("the disk is full"), ""},
	} {
		err := fmt.Errorf("pull main: %w", test.err)
		if got := named(err); failedWith(got) != test.reason || got.Error() != err.Error() {
			t.Errorf("%v: %q with reason %q, want %q", err, got, failedWith(got), test.reason)
		}
	}
}

// Whatever a server does, the reason is right.
func TestFailuresOfServers(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"AuthenticationFailed": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"NotARepository":       http.NotFound,
		"RemoteUnreachable":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"Redirected": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.2:1/pki.git"+r.URL.Path, http.StatusFound)
		},
	}
	for reason, answer := range answers {
		t.Run(reason, func(t *testing.T) {
			server := httptest.NewUnstartedServer(answer)
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of clients that do not trust it
			server.StartTLS()
			t.Cleanup(server.Close)
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			branch := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "fleet"}, URL: server.URL + "/pki.git", Name: "main"}
			if _, err := (&source{folder: t.TempDir()}).Pull(t.Context(), branch, reconciler.After{}); failedWith(err) != "TLSFailed" {
				t.Errorf("without its CA: %v", err)
			}
			branch.Credentials.CAs = ca
			if _, err := (&source{folder: t.TempDir()}).Pull(t.Context(), branch, reconciler.After{}); failedWith(err) != reason {
				t.Errorf("reason %q: %v", failedWith(err), err)
			}
		})
	}
}

func TestFailuresOfRepositories(t *testing.T) {
	there := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "fleet"}, URL: newBare(t), Name: "main"}
	elsewhere, other, broken := there, there, there
	elsewhere.URL += "x"
	other.Name = "other"
	broken.Credentials.SigningKey = &reconciler.SigningKey{SSH: []byte("hunter2")}
	for reason, branch := range map[string]reconciler.Branch{"NotARepository": elsewhere, "BranchNotFound": other, "CredentialsInvalid": broken} {
		_, err := (&source{folder: t.TempDir()}).Pull(t.Context(), branch, reconciler.After{})
		if failedWith(err) != reason || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("reason %q, want %q: %v", failedWith(err), reason, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&source{folder: file}).Pull(t.Context(), there, reconciler.After{}); err == nil || failedWith(err) != "" {
		t.Errorf("a disk that cannot be written to has the reason %q: %v", failedWith(err), err)
	}
}

// A branch that was given another history is told with both heads, and taken when accepted,
// though the copy was lost meanwhile.
func TestARewrittenBranchIsTold(t *testing.T) {
	branch := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "fleet"}, URL: newBare(t), Name: "main"}
	s := &source{folder: t.TempDir()}
	first := pull(t, s, branch)
	second, err := s.Push(t.Context(), branch, first, write(map[string][]byte{"site/x": []byte("x")}))
	if err != nil {
		t.Fatal(err)
	}
	folder := strings.TrimPrefix(branch.URL, "file://")
	git(t, "", "-C", folder, "update-ref", "refs/heads/main", strings.TrimPrefix(first.Revision(), "main@sha1:"))
	for _, s := range []*source{s, {folder: t.TempDir()}} {
		_, err := s.Pull(t.Context(), branch, reconciler.After{Revision: second.Revision()})
		rewritten, ok := errors.AsType[*reconciler.RewrittenError](err)
		if !ok || rewritten.Was != second.Revision() || rewritten.Is != first.Revision() {
			t.Fatalf("got %v", err)
		}
		if taken, err := s.Pull(t.Context(), branch, reconciler.After{Revision: second.Revision(), Accept: first.Revision()}); err != nil || taken.Revision() != first.Revision() {
			t.Errorf("accepted: %v", err)
		}
	}
	if next, err := s.Pull(t.Context(), branch, reconciler.After{Revision: first.Revision()}); err != nil || next.Revision() != first.Revision() {
		t.Errorf("the next turn: %v", err)
	}
}

// What reanchor signs it reads again, and whoever is not trusted any more is not read though
// the branch did not move.
func TestSignaturesAreVerified(t *testing.T) {
	key, public := sshKey(t, "reanchor")
	_, stranger := sshKey(t, "stranger")
	branch := reconciler.Branch{Domain: planner.Ref{Namespace: "plant", Name: "fleet"}, URL: newBare(t), Name: "main"}
	s := &source{folder: t.TempDir()}
	base := pull(t, s, branch)
	if base.Signer() != "" {
		t.Errorf("nothing is verified, and yet it was signed by %q", base.Signer())
	}
	verified := branch
	verified.Credentials.Verify = &reconciler.Verification{SSH: public}
	if _, err := s.Pull(t.Context(), verified, reconciler.After{}); failedWith(err) != "CommitNotVerified" {
		t.Fatalf("a commit that is not signed: %v", err)
	}
	signing := branch
	signing.Credentials.SigningKey = &reconciler.SigningKey{SSH: key}
	if _, err := s.Push(t.Context(), signing, base, write(map[string][]byte{"site/x": []byte("x")})); err != nil {
		t.Fatal(err)
	}
	if signed := pull(t, s, verified); !strings.HasPrefix(signed.Signer(), "SSH SHA256:") {
		t.Errorf("signed by %q", signed.Signer())
	}
	verified.Credentials.Verify = &reconciler.Verification{SSH: stranger}
	if _, err := s.Pull(t.Context(), verified, reconciler.After{}); failedWith(err) != "CommitNotVerified" {
		t.Errorf("signed by somebody who is not trusted any more: %v", err)
	}
}

// sshKey is a private key, PEM, and its line for an allowed_signers file.
func sshKey(t *testing.T, name string) (private, public []byte) {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key := ed25519.NewKeyFromSeed(seed)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), append([]byte(name+"@example.com "), ssh.MarshalAuthorizedKey(line)...)
}
