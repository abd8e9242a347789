package gitsource

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/s2k"
	gossh "golang.org/x/crypto/ssh"
)

// pgpKey makes a key at testTime's day before, good for so long; 0: for ever.
func pgpKey(t testing.TB, name string, lifetime time.Duration) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity(name, "", strings.ToLower(name)+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: clockAt(testTime.Add(-24 * time.Hour)), KeyLifetimeSecs: uint32(lifetime.Seconds()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func clockAt(at time.Time) func() time.Time { return func() time.Time { return at } }

func publicPGP(t testing.TB, key *openpgp.Entity) []byte {
	t.Helper()
	return armoured(t, openpgp.PublicKeyType, func(w *bytes.Buffer) error { return key.Serialize(w) })
}

func privatePGP(t testing.TB, key *openpgp.Entity) []byte {
	t.Helper()
	return armoured(t, openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return key.SerializePrivateWithoutSigning(w, nil) })
}

func armoured(t testing.TB, kind string, serialize func(*bytes.Buffer) error) []byte {
	t.Helper()
	var binary, text bytes.Buffer
	if err := serialize(&binary); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(binary.Bytes())
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// sign replaces the head of main by the same commit with a signature, or with what
// change makes of it.
func (o *origin) sign(t testing.TB, key *SigningKey, change func(commit string) string) string {
	t.Helper()
	raw := o.git(t, "cat-file", "commit", "main") + "\n"
	if key != nil {
		signer, err := key.signer()
		if err != nil {
			t.Fatal(err)
		}
		signature, err := signer([]byte(raw), testTime)
		if err != nil {
			t.Fatal(err)
		}
		raw = withSignature(raw, signature)
	}
	if change != nil {
		raw = change(raw)
	}
	hash := run(t, raw, "git", "-C", o.folder, "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
	o.git(t, "update-ref", "refs/heads/main", hash)
	return hash
}

func withSignature(raw, signature string) string {
	header, message, _ := strings.Cut(raw, "\n\n")
	return header + "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(signature), "\n", "\n ") + "\n\n" + message
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	jane, mallory := pgpKey(t, "Jane", 0), pgpKey(t, "Mallory", 0)
	short, revoked := pgpKey(t, "Short", time.Hour), pgpKey(t, "Revoked", 0)
	revokedLater := pgpKey(t, "Later", 0)
	pgp := func(key *openpgp.Entity) *SigningKey { return &SigningKey{OpenPGP: privatePGP(t, key)} }
	asRevoked, asLater := pgp(revoked), pgp(revokedLater)
	revoke(t, revoked, testTime.Add(-time.Hour))
	revoke(t, revokedLater, testTime.Add(time.Hour))
	shortKey := pgpSigner(t, short, testTime)
	subkeys := pgpKey(t, "Subkey", 0)
	if err := subkeys.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: clockAt(testTime.Add(-24 * time.Hour))}); err != nil {
		t.Fatal(err)
	}
	ssh, other := newSSHKey(t, ""), newSSHKey(t, "")
	sshLine := strings.TrimSpace(authorized(ssh.signer))
	asSSH := &SigningKey{SSH: ssh.pem}
	id := func(key *openpgp.Entity) string { return key.PrimaryKey.KeyIdString() }
	all := &Verification{OpenPGP: [][]byte{
		publicPGP(t, mallory), append(publicPGP(t, jane), publicPGP(t, short)...),
		publicPGP(t, revoked), publicPGP(t, revokedLater), publicPGP(t, subkeys),
	}}
	allowed := func(options string) *Verification {
		return &Verification{SSH: []byte("# who may\n\njane@example.com " + options + " " + sshLine + "\n")}
	}
	reword := func(commit string) string { return strings.Replace(commit, "Change", "Falsify", 1) }
	for name, c := range map[string]struct {
		verify *Verification
		key    *SigningKey
		change func(string) string
		signer string // empty: refused
		says   string
	}{
		"OpenPGP":                      {verify: all, key: pgp(jane), signer: "OpenPGP " + id(jane) + " (Jane <jane@example.com>)"},
		"OpenPGP subkey":               {verify: all, key: pgp(subkeys), signer: "OpenPGP " + id(subkeys) + " (Subkey <subkey@example.com>)"},
		"SSH":                          {verify: allowed(""), key: asSSH, signer: "SSH " + gossh.FingerprintSHA256(ssh.signer.PublicKey()) + " (jane@example.com)"},
		"SSH, for git":                 {verify: allowed(`namespaces="file,git"`), key: asSSH, signer: "(jane@example.com)"},
		"SSH, for patterns":            {verify: allowed(`namespaces="g*"`), key: asSSH, signer: "(jane@example.com)"},
		"SSH, valid":                   {verify: allowed(`valid-after="20260314",valid-before="20260314151000Z"`), key: asSSH, signer: "(jane@example.com)"},
		"SSH, of authorized_keys":      {verify: &Verification{SSH: []byte(sshLine + " the release bot")}, key: asSSH, signer: "(the release bot)"},
		"SSH, of authorized_keys bare": {verify: &Verification{SSH: []byte(strings.Join(strings.Fields(sshLine)[:2], " "))}, key: asSSH, signer: "SSH " + gossh.FingerprintSHA256(ssh.signer.PublicKey())},
		"either":                       {verify: &Verification{OpenPGP: all.OpenPGP, SSH: allowed("").SSH}, key: asSSH, signer: "(jane@example.com)"},
		"other headers":                {verify: all, change: signedWithHeaders(t, jane), signer: "(Jane <jane@example.com>)"},

		"unsigned":             {verify: all, says: "the commit is not signed: sign it (git commit -S"},
		"unknown OpenPGP key":  {verify: &Verification{OpenPGP: [][]byte{publicPGP(t, mallory)}}, key: pgp(jane), says: "signed with the OpenPGP key " + id(jane) + ", which is not among the keys accepted: add its public key"},
		"unknown SSH key":      {verify: allowed(""), key: &SigningKey{SSH: other.pem}, says: "signed with the SSH key " + gossh.FingerprintSHA256(other.signer.PublicKey()) + ", which is not among"},
		"of the other kind":    {verify: allowed(""), key: pgp(jane), says: "the OpenPGP key " + id(jane) + ", which is not among"},
		"expired":              {verify: all, change: func(raw string) string { return withSignature(raw, shortKey(raw)) }, says: "signed on 2026-03-14 with the key of OpenPGP " + id(short) + " (Short <short@example.com>), which was not valid then"},
		"revoked":              {verify: all, key: asRevoked, says: "the key of OpenPGP " + id(revoked) + " (Revoked <revoked@example.com>), which was revoked: sign it with another key"},
		"revoked afterwards":   {verify: all, key: asLater, says: "which was revoked"},
		"tampered":             {verify: all, key: pgp(jane), change: reword, says: "the signature of OpenPGP " + id(jane) + " (Jane <jane@example.com>) does not fit the commit"},
		"tampered, SSH":        {verify: allowed(""), key: asSSH, change: reword, says: "(jane@example.com) does not fit the commit: one of them was changed"},
		"SSH, for files":       {verify: allowed(`namespaces="file"`), key: asSSH, says: "whose namespaces leave out git"},
		"SSH, but not for git": {verify: allowed(`namespaces="*,!git"`), key: asSSH, says: "whose namespaces leave out git"},
		"SSH, too late":        {verify: allowed(`valid-before="20260314"`), key: asSSH, says: "made on 2026-03-14 with the key of SSH"},
		"SSH, too early":       {verify: allowed(`valid-after="20260315"`), key: asSSH, says: "not valid then (valid-after, valid-before)"},
		"X.509": {verify: all, change: func(raw string) string {
			return withSignature(raw, x509Signature+"\nMII=\n-----END SIGNED MESSAGE-----")
		}, says: "signed with an X.509 certificate: sign it with OpenPGP or SSH"},
		"garbage": {verify: all, change: func(raw string) string { return withSignature(raw, "garbage") }, says: "neither of OpenPGP nor of SSH"},
		"garbled OpenPGP": {verify: all, change: func(raw string) string {
			return withSignature(raw, pgpSignature+"\n\nAAAA\n-----END PGP SIGNATURE-----")
		}, says: "the commit's OpenPGP signature cannot be read"},
		"garbled SSH":    {verify: all, change: func(raw string) string { return withSignature(raw, sshSignature+"\nAAAA\n-----END SSH SIGNATURE-----") }, says: "the commit's SSH signature cannot be read"},
		"two signatures": {verify: all, key: pgp(jane), change: func(raw string) string { return withSignature(raw, shortKey(raw)) }, says: "more than one signature"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newOriginWith(t, map[string]string{"a": "1"})
			hash := origin.sign(t, c.key, c.change)
			remote := origin.remote()
			remote.Verify = c.verify
			snapshot, err := open(t, remote).Pull(context.Background())
			if c.signer != "" {
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasSuffix(snapshot.Signer(), c.signer) {
					t.Errorf("signed by %q, want %q", snapshot.Signer(), c.signer)
				}
				return
			}
			if !errors.Is(err, ErrSignature) {
				t.Fatalf("got %v", err)
			}
			wantTold(t, err, remote, "commit "+hash+": ")
			wantTold(t, err, remote, c.says)
		})
	}
}

func revoke(t testing.TB, key *openpgp.Entity, at time.Time) {
	t.Helper()
	if err := key.RevokeKey(packet.KeyRetired, "left", &packet.Config{Time: clockAt(at)}); err != nil {
		t.Fatal(err)
	}
}

// pgpSigner signs with a key although it has expired.
func pgpSigner(t testing.TB, key *openpgp.Entity, at time.Time) func(raw string) string {
	t.Helper()
	return func(raw string) string {
		signature := &packet.Signature{
			Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PrimaryKey.PubKeyAlgo,
			Hash: (&packet.Config{}).Hash(), CreationTime: at, IssuerKeyId: &key.PrimaryKey.KeyId,
		}
		hasher := signature.Hash.New()
		hasher.Write([]byte(raw))
		if err := signature.Sign(hasher, key.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
		return string(armoured(t, openpgp.SignatureType, func(w *bytes.Buffer) error { return signature.Serialize(w) }))
	}
}

// signedWithHeaders adds headers that go-git does not know, or would write otherwise.
func signedWithHeaders(t testing.TB, key *openpgp.Entity) func(raw string) string {
	t.Helper()
	return func(raw string) string {
		header, message, _ := strings.Cut(raw, "\n\n")
		raw = header + "\nencoding UTF-8\nx-note one\n two\n\n" + message
		signed := withSignature(raw, pgpSigner(t, key, testTime)(raw))
		return strings.Replace(signed, "\n\n", "\ngpgsig-sha256 other\n signature\n\n", 1)
	}
}

// What git itself signs, with its own tools, is accepted.
func TestSignaturesOfGit(t *testing.T) {
	home := t.TempDir()
	worktree := filepath.Join(home, "work")
	run(t, "", "git", "init", "--quiet", "--initial-branch=main", worktree)
	git := func(args ...string) {
		run(t, "", "git", append([]string{"-C", worktree, "-c", "user.name=Jane", "-c", "user.email=jane@example.com"}, args...)...)
	}
	remote := Remote{URL: "file://" + worktree, Branch: "main", Verify: &Verification{}}

	sshFile := filepath.Join(home, "id")
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "jane", "-f", sshFile)
	public, err := os.ReadFile(sshFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	remote.Verify.SSH = append([]byte("jane@example.com "), public...)
	t.Run("SSH", func(t *testing.T) {
		git("-c", "gpg.format=ssh", "-c", "user.signingKey="+sshFile, "commit", "--allow-empty", "-S", "-m", "by SSH")
		if signer := pull(t, open(t, remote)).Signer(); !strings.HasSuffix(signer, "(jane@example.com)") {
			t.Errorf("signed by %q", signer)
		}
	})
	t.Run("OpenPGP", func(t *testing.T) {
		t.Setenv("GNUPGHOME", shortFolder(t))
		run(t, "", "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "Jane <jane@example.com>", "ed25519", "sign", "never")
		defer run(t, "", "gpgconf", "--kill", "all")
		remote.Verify.OpenPGP = [][]byte{[]byte(run(t, "", "gpg", "--armor", "--export"))}
		git("-c", "user.signingKey=jane@example.com", "commit", "--allow-empty", "-S", "-m", "by OpenPGP")
		if signer := pull(t, open(t, remote)).Signer(); !strings.HasPrefix(signer, "OpenPGP ") || !strings.HasSuffix(signer, "(Jane <jane@example.com>)") {
			t.Errorf("signed by %q", signer)
		}
	})
}

// shortFolder is one in whose path a socket has room.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// A commit that is not accepted leaves everything as it was, costs no second fetch,
// and does not stand in the way of the next.
func TestRefusedSignatureLeavesTheLastSnapshot(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	key := newSSHKey(t, "")
	signing := &SigningKey{SSH: key.pem}
	remote := server.remote("pki.git")
	remote.Verify = &Verification{SSH: []byte(authorized(key.signer))}
	origin.sign(t, signing, nil)
	folder := t.TempDir()
	repository := openIn(t, folder, remote)
	good := pull(t, repository)

	origin.commit(t, map[string]string{"evil": "1"})
	server.take()
	for i := range 3 {
		if _, err := repository.Pull(context.Background()); !errors.Is(err, ErrSignature) {
			t.Fatalf("got %v", err)
		}
		if requests, _ := server.take(); (i == 0) != (len(requests) == 2) {
			t.Errorf("time %d took the requests %q", i, requests)
		}
	}
	if _, err := repository.Push(context.Background(), good, testCommit(map[string][]byte{"x": []byte("x")})); !errors.Is(err, ErrSignature) {
		t.Errorf("a push on top of it gave %v", err)
	}
	wantContents(t, good, site)
	if reopened := openIn(t, folder, remote); reopened.last == nil || reopened.last.Revision() != good.Revision() || reopened.last.Signer() != good.Signer() {
		t.Errorf("a restart is at %v", reopened.last)
	}
	origin.sign(t, signing, nil)
	if next := pull(t, repository); next.Signer() == "" || contents(t, next)["evil"] != "1" {
		t.Errorf("the commit that is signed gave %v", next)
	}
	remote.Verify = &Verification{SSH: []byte(authorized(newSSHKey(t, "").signer))}
	if _, err := openIn(t, folder, remote).Pull(context.Background()); !errors.Is(err, ErrSignature) {
		t.Errorf("other keys gave %v", err)
	}
}

func TestSignedPush(t *testing.T) {
	t.Parallel()
	key, pgp, locked := newSSHKey(t, "opens up"), pgpKey(t, "Reanchor", 0), pgpKey(t, "Locked", 0)
	allowed := []byte("reanchor@example.com " + authorized(key.signer))
	both := &Verification{SSH: allowed, OpenPGP: [][]byte{publicPGP(t, pgp), publicPGP(t, locked)}}
	if err := locked.EncryptPrivateKeys([]byte("opens up"), nil); err != nil {
		t.Fatal(err)
	}
	bySSH, byPGP := &SigningKey{SSH: key.pem, Passphrase: "opens up"}, &SigningKey{OpenPGP: privatePGP(t, pgp)}
	for name, c := range map[string]struct {
		signing *SigningKey
		verify  *Verification
		signer  string
		refused string
	}{
		"SSH":               {signing: bySSH, verify: both, signer: "(reanchor@example.com)"},
		"OpenPGP":           {signing: byPGP, verify: both, signer: "(Reanchor <reanchor@example.com>)"},
		"OpenPGP, locked":   {signing: &SigningKey{OpenPGP: privatePGP(t, locked), Passphrase: "opens up"}, verify: both, signer: "(Locked <locked@example.com>)"},
		"not verified here": {signing: bySSH},
		"without a key":     {verify: both, refused: "this one would not be signed: give a SigningKey"},
		"of another key":    {signing: byPGP, verify: &Verification{SSH: allowed}, refused: "give the public key of the SigningKey to Verify"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newOriginWith(t, site)
			head := origin.sign(t, bySSH, nil)
			remote := origin.remote()
			remote.Verify, remote.SigningKey = c.verify, c.signing
			repository := open(t, remote)
			base := pull(t, repository)
			pushed, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{"x": []byte("x")}))
			if c.refused != "" {
				if !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), c.refused) || origin.head("main") != head {
					t.Fatalf("got %v, and the branch is at %s", err, origin.head("main"))
				}
				return
			}
			if err != nil || !strings.HasSuffix(pushed.Signer(), c.signer) {
				t.Fatalf("signed by %q (%v), want %q", pushed.Signer(), err, c.signer)
			}
			if again := pull(t, open(t, remote)); again.Signer() != pushed.Signer() {
				t.Errorf("pulled, it is signed by %q", again.Signer())
			}
			origin.check(t)
			if c.signing == bySSH {
				signers := filepath.Join(t.TempDir(), "allowed_signers")
				if err := os.WriteFile(signers, allowed, 0o600); err != nil {
					t.Fatal(err)
				}
				origin.git(t, "-c", "gpg.ssh.allowedSignersFile="+signers, "verify-commit", "main")
			}
		})
	}
}

// The same commit, signed by OpenPGP with the same key, has the same name.
func TestSigningIsRepeatable(t *testing.T) {
	t.Parallel()
	key := &SigningKey{OpenPGP: privatePGP(t, pgpKey(t, "Jane", 0))}
	origin := newOriginWith(t, site)
	base := origin.head("main")
	var names []string
	for range 2 {
		origin.git(t, "update-ref", "refs/heads/main", base)
		remote := origin.remote()
		remote.SigningKey = key
		repository := open(t, remote)
		names = append(names, push(t, repository, pull(t, repository), map[string][]byte{"x": []byte("x")}).Commit())
	}
	if names[0] != names[1] {
		t.Errorf("got %q", names)
	}
}

// TestProtectionOfTheSigningKey: how much it costs to open a key stands in the key.
func TestProtectionOfTheSigningKey(t *testing.T) {
	iterated := func(count int) *packet.Config {
		return &packet.Config{S2KConfig: &s2k.Config{S2KMode: s2k.IteratedSaltedS2K, S2KCount: count}}
	}
	argon := &packet.Config{
		AEADConfig: &packet.AEADConfig{},
		S2KConfig:  &s2k.Config{S2KMode: s2k.Argon2S2K, Argon2Config: &s2k.Argon2Config{NumberOfPasses: 1, DegreeOfParallelism: 1, Memory: 1 << 10}},
	}
	const most = 65011712 // of what GnuPG writes
	for name, c := range map[string]struct {
		config *packet.Config
		change func([]byte) []byte
		says   string
	}{
		"as GnuPG writes it":      {config: iterated(most)},
		"Argon2":                  {argon, nil, "encrypted with AEAD, as for Argon2"},
		"Argon2 with 2 TiB":       {argon, withMemory(31), "encrypted with AEAD, as for Argon2"},
		"iterated, but with AEAD": {&packet.Config{AEADConfig: &packet.AEADConfig{}}, nil, "export the key with another protection"},
	} {
		t.Run(name, func(t *testing.T) {
			key := pgpKey(t, "Locked", 0)
			if err := key.EncryptPrivateKeys([]byte("opens up"), c.config); err != nil {
				t.Fatal(err)
			}
			signing := SigningKey{Passphrase: "opens up", OpenPGP: armoured(t, openpgp.PrivateKeyType, func(w *bytes.Buffer) error {
				err := key.SerializePrivateWithoutSigning(w, nil)
				if c.change != nil {
					changed := c.change(w.Bytes())
					w.Reset()
					w.Write(changed)
				}
				return err
			})}
			_, err := signing.signer()
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
	t.Run("many subkeys", func(t *testing.T) {
		key := pgpKey(t, "Many", 0)
		for range maxSigningKeys {
			if err := key.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := (&SigningKey{OpenPGP: privatePGP(t, key)}).signer()
		if err == nil || !strings.Contains(err.Error(), "private keys, and 16 are allowed: export the one that signs") {
			t.Errorf("got %v", err)
		}
	})
}

// withMemory makes Argon2 of one pass, one lane and 1 MiB one of 2^exponent KiB.
func withMemory(exponent byte) func([]byte) []byte {
	return func(key []byte) []byte {
		changed := bytes.Clone(key)
		for i := range len(key) - 19 {
			if key[i] == byte(s2k.Argon2S2K) && bytes.Equal(key[i+17:i+20], []byte{1, 1, 10}) {
				changed[i+19] = exponent
			}
		}
		return changed
	}
}

func TestKeysRefused(t *testing.T) {
	t.Parallel()
	jane, key := pgpKey(t, "Jane", 0), newSSHKey(t, "opens up")
	line := strings.TrimSpace(authorized(key.signer))
	expired := pgpKey(t, "Short", time.Hour)
	locked := pgpKey(t, "Locked", 0)
	if err := locked.EncryptPrivateKeys([]byte("opens up"), nil); err != nil {
		t.Fatal(err)
	}
	ssh := func(lines string) func(*Remote) {
		return func(r *Remote) { r.Verify = &Verification{SSH: []byte(lines)} }
	}
	pgp := func(keys ...string) func(*Remote) {
		return func(r *Remote) {
			r.Verify = &Verification{}
			for _, key := range keys {
				r.Verify.OpenPGP = append(r.Verify.OpenPGP, []byte(key))
			}
		}
	}
	signing := func(key SigningKey) func(*Remote) { return func(r *Remote) { r.SigningKey = &key } }
	for name, c := range map[string]struct {
		change func(*Remote)
		says   string
	}{
		"no keys":                  {pgp(), "there is no key in Verify: give the public keys"},
		"comments only":            {ssh("# none\n"), "there is no key in Verify"},
		"a private OpenPGP key":    {pgp(string(publicPGP(t, jane)), string(privatePGP(t, jane))), "OpenPGP key 2 of Verify is a private one: give the public key (gpg --armor --export)"},
		"garbage for OpenPGP":      {pgp("garbage"), "OpenPGP key 1 of Verify cannot be read"},
		"a second that is cut off": {pgp(string(publicPGP(t, jane)) + string(publicPGP(t, jane)[:200])), "OpenPGP key 1 of Verify cannot be read"},
		"garbage for SSH":          {ssh(line + "\ngarbage\n"), "line 2 of the SSH keys of Verify: it is no key"},
		"garbled SSH":              {ssh("jane ssh-ed25519 AAAA"), "line 1 of the SSH keys of Verify: it is no key: write"},
		"a certificate authority":  {ssh("*@example.com cert-authority " + line), "cert-authority is not supported: give the signers' own public keys"},
		"one of authorized_keys":   {ssh("cert-authority " + line), "cert-authority is not supported"},
		"an unknown option":        {ssh("jane no-touch " + line), `the option "no-touch" is not known: use namespaces`},
		"options in front":         {ssh(`expiry-time="2020" ` + line), "options come after the principals"},
		"a bad time":               {ssh(`jane valid-after="soon" ` + line), `"soon" is no time: write YYYYMMDD`},
		"an open quote":            {ssh(`"jane ` + line), "a quotation mark is missing"},
		"both signing keys":        {signing(SigningKey{SSH: key.pem, OpenPGP: privatePGP(t, jane)}), "both of OpenPGP and of SSH: give one"},
		"no signing key":           {signing(SigningKey{}), "the SigningKey holds no key"},
		"no passphrase":            {signing(SigningKey{SSH: key.pem}), "the SigningKey is encrypted: give its passphrase"},
		"wrong passphrase":         {signing(SigningKey{SSH: key.pem, Passphrase: "wr0ng-password"}), "the passphrase does not open the SigningKey"},
		"locked OpenPGP":           {signing(SigningKey{OpenPGP: privatePGP(t, locked)}), "the SigningKey is encrypted: give its passphrase"},
		"wrongly locked OpenPGP":   {signing(SigningKey{OpenPGP: privatePGP(t, locked), Passphrase: "wr0ng-password"}), "the passphrase does not open the SigningKey"},
		"a public signing key":     {signing(SigningKey{OpenPGP: publicPGP(t, jane)}), "the SigningKey cannot be read: give one private key"},
	} {
		t.Run(name, func(t *testing.T) {
			remote := Remote{URL: "file:///srv/pki.git", Branch: "main"}
			c.change(&remote)
			_, err := Open(t.TempDir(), remote)
			if err == nil {
				t.Fatal("it was accepted")
			}
			wantTold(t, err, remote, c.says)
		})
	}
	t.Run("an expired signing key", func(t *testing.T) {
		remote := newOriginWith(t, site).remote()
		remote.SigningKey = &SigningKey{OpenPGP: privatePGP(t, expired)}
		repository := open(t, remote)
		_, err := repository.Push(context.Background(), pull(t, repository), testCommit(map[string][]byte{"x": []byte("x")}))
		if err == nil || !strings.Contains(err.Error(), "the SigningKey does not sign: it has expired") {
			t.Errorf("got %v", err)
		}
	})
}
