package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	gossh "golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts are the keys that servers may show.
type knownHosts struct{ db *knownhosts.HostKeyDB }

// readKnownHosts reads lines of OpenSSH's known_hosts. The package that knows their
// format reads files only: for a moment, one lies in the folder.
func readKnownHosts(lines []byte, folder string) (*knownHosts, error) {
	if err := checkKnownHosts(lines); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(folder, "known_hosts-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(lines)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	db, err := knownhosts.NewDB(file.Name())
	if err != nil {
		return nil, fmt.Errorf("KnownHosts cannot be read (%s): write lines of \"host keytype key\"", strings.ReplaceAll(err.Error(), file.Name(), "line"))
	}
	return &knownHosts{db}, nil
}

// checkKnownHosts finds the first line that is none, by its number.
func checkKnownHosts(lines []byte) error {
	number, keys := 0, 0
	for line := range bytes.Lines(lines) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		if _, _, _, _, _, err := gossh.ParseKnownHosts(line); err != nil {
			return fmt.Errorf("line %d of KnownHosts cannot be read: write \"host keytype key\", as ssh-keyscan prints it", number)
		}
		keys++
	}
	if keys == 0 {
		return errors.New("KnownHosts holds no key: write lines of \"host keytype key\", as ssh-keyscan prints them")
	}
	return nil
}

// algorithms are those that the server is asked to show a key of: first those of
// which a key is known, so that it shows one of these if it has several, then the
// others, so that what it shows instead can be told.
func (k *knownHosts) algorithms(address string) []string {
	algorithms := k.db.HostKeyAlgorithms(address)
	for _, other := range gossh.SupportedAlgorithms().HostKeys {
		if !slices.Contains(algorithms, other) {
			algorithms = append(algorithms, other)
		}
	}
	// RSA with SHA-1 (RFC 8332 says why not).
	return slices.DeleteFunc(algorithms, func(name string) bool {
		return name == gossh.KeyAlgoRSA || name == gossh.CertAlgoRSAv01
	})
}

// check accepts the key that a server shows, or says what is wrong with it.
func (k *knownHosts) check(address string, remote net.Addr, key gossh.PublicKey) error {
	checker := gossh.CertChecker{
		IsHostAuthority: k.isAuthority,
		IsRevoked:       func(c *gossh.Certificate) bool { return k.isRevoked(address, remote, c) },
		HostKeyFallback: k.db.HostKeyCallback(),
	}
	err := checker.CheckHostKey(address, remote, key)
	if err == nil {
		return nil
	}
	offered := "the server shows " + fingerprint(key)
	if _, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		return &failure{kind: ErrHostKey, detail: offered + ", which KnownHosts revokes", hint: "find out from the server's operator why it still has this key, and do not connect before"}
	}
	if _, ok := key.(*gossh.Certificate); ok {
		offered += fmt.Sprintf(" (%s)", err)
	}
	known := k.db.HostKeys(address)
	if len(known) == 0 {
		return &failure{kind: ErrHostKey, detail: offered + ", and KnownHosts has no key for " + knownhosts.Normalize(address), hint: "ask the server's operator for its fingerprint; if it is this one, add the server's line to KnownHosts"}
	}
	expected := make([]string, len(known))
	for i, k := range known {
		expected[i] = fingerprint(k.PublicKey)
	}
	return &failure{kind: ErrHostKey, detail: offered + ", and KnownHosts expects " + strings.Join(expected, " or "), hint: "somebody may stand between, or the server has a new key: ask its operator, and if it is this one, replace the line in KnownHosts"}
}

// isAuthority reports whether a key is that of a certificate authority for a host.
func (k *knownHosts) isAuthority(key gossh.PublicKey, address string) bool {
	return slices.ContainsFunc(k.db.HostKeys(address), func(known knownhosts.PublicKey) bool {
		return known.Cert && bytes.Equal(known.Marshal(), key.Marshal())
	})
}

// isRevoked reports whether a certificate's key or authority is marked as revoked.
func (k *knownHosts) isRevoked(address string, remote net.Addr, certificate *gossh.Certificate) bool {
	for _, key := range []gossh.PublicKey{certificate.Key, certificate.SignatureKey} {
		if _, ok := errors.AsType[*xknownhosts.RevokedError](k.db.HostKeyCallback()(address, remote, key)); ok {
			return true
		}
	}
	return false
}

// fingerprint is a key's type and fingerprint, as ssh-keygen -l shows it.
func fingerprint(key gossh.PublicKey) string {
	if certificate, ok := key.(*gossh.Certificate); ok {
		return certificate.Type() + " " + gossh.FingerprintSHA256(certificate.Key)
	}
	return key.Type() + " " + gossh.FingerprintSHA256(key)
}
