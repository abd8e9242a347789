package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	gossh "golang.org/x/crypto/ssh"
)

// sshNamespace is the one of git's signatures (gitformat-signature).
const sshNamespace = "git"

// allowedSigner is a key whose SSH signatures are accepted.
type allowedSigner struct {
	key gossh.PublicKey
	// name is who has it: principals, or a comment.
	name string
	// namespaces for which it is, as patterns; nil: all.
	namespaces []string
	// The times between which it is valid; zero: no such bound.
	after, before time.Time
}

// readAllowedSigners reads lines of allowed_signers and authorized_keys.
func readAllowedSigners(lines []byte) ([]allowedSigner, error) {
	var all []allowedSigner
	number := 0
	for line := range strings.Lines(string(lines)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		signer, err := readAllowedSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of the SSH keys of Verify: %w", number, err)
		}
		all = append(all, signer)
	}
	return all, nil
}

func readAllowedSigner(line string) (allowedSigner, error) {
	refused := errors.New("it is no key: write \"principal keytype key\" as in allowed_signers, or \"keytype key\" as in authorized_keys")
	principals, rest, err := cutPrincipals(line)
	if err != nil {
		return allowedSigner{}, err
	}
	key, comment, options, more, err := gossh.ParseAuthorizedKey([]byte(rest))
	if err != nil || len(bytes.TrimSpace(more)) > 0 {
		return allowedSigner{}, refused
	}
	if _, ok := key.(*gossh.Certificate); ok {
		return allowedSigner{}, errors.New("it is a certificate, and these are not supported: give the plain public key")
	}
	signer := allowedSigner{key: key, name: principals}
	if principals == "" {
		signer.name = comment
		if len(options) > 0 {
			return allowedSigner{}, refused
		}
	}
	for _, option := range options {
		if err := signer.take(option); err != nil {
			return allowedSigner{}, err
		}
	}
	return signer, nil
}

// cutPrincipals takes the principals, in quotes or not, off a line. A line that
// begins with the key has none.
func cutPrincipals(line string) (principals, rest string, err error) {
	if quoted, found := strings.CutPrefix(line, `"`); found {
		principals, rest, found = strings.Cut(quoted, `"`)
		if !found || principals == "" {
			return "", "", errors.New("a quotation mark is missing: write \"principal keytype key\"")
		}
		return principals, strings.TrimSpace(rest), nil
	}
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", "", errors.New("it is no key: a line has at least two fields, \"keytype key\"")
	}
	first := line[:i]
	switch {
	case isKeyType(first):
		return "", line, nil
	case strings.EqualFold(first, "cert-authority"):
		return "", "", errCertAuthority
	case strings.ContainsAny(first, `="`):
		return "", "", errors.New("options come after the principals: write \"principal options keytype key\"")
	}
	return first, strings.TrimSpace(line[i:]), nil
}

// isKeyType reports whether a word is the type of a key or certificate.
func isKeyType(word string) bool {
	known := []string{
		gossh.KeyAlgoRSA, "ssh-dss", gossh.KeyAlgoED25519, gossh.KeyAlgoSKED25519,
		gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521, gossh.KeyAlgoSKECDSA256,
	}
	return slices.Contains(known, word) || strings.HasSuffix(word, "-cert-v01@openssh.com")
}

var errCertAuthority = errors.New("cert-authority is not supported: give the signers' own public keys")

// take heeds an option of allowed_signers. One that is not known may restrict the
// key: it is refused.
func (s *allowedSigner) take(option string) error {
	name, value, _ := strings.Cut(option, "=")
	value = strings.Trim(value, `"`)
	var err error
	switch strings.ToLower(name) {
	case "cert-authority":
		return errCertAuthority
	case "namespaces":
		s.namespaces = strings.Split(value, ",")
	case "valid-after":
		s.after, err = signerTime(value)
	case "valid-before":
		s.before, err = signerTime(value)
	default:
		return fmt.Errorf("the option %q is not known: use namespaces, valid-after and valid-before", shortened(name))
	}
	return err
}

// signerTime reads YYYYMMDD or YYYYMMDDHHMM[SS], with Z or without: UTC both.
func signerTime(text string) (time.Time, error) {
	digits := strings.TrimSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if at, err := time.Parse(layout, digits); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write YYYYMMDD or YYYYMMDDHHMMSS", shortened(text))
}

// signsCommits reports whether the key is for git's signatures at all. A pattern
// with ! before it excludes.
func (s allowedSigner) signsCommits() bool {
	if s.namespaces == nil {
		return true
	}
	found := false
	for _, pattern := range s.namespaces {
		pattern, excludes := strings.CutPrefix(pattern, "!")
		if ok, err := path.Match(pattern, sshNamespace); ok && err == nil {
			if excludes {
				return false
			}
			found = true
		}
	}
	return found
}

// validAt reports whether the key is valid at a time.
func (s allowedSigner) validAt(at time.Time) bool {
	return (s.after.IsZero() || !at.Before(s.after)) && (s.before.IsZero() || at.Before(s.before))
}

func (s allowedSigner) String() string {
	name := "SSH " + gossh.FingerprintSHA256(s.key)
	if s.name != "" {
		name += " (" + Remote{}.quote(s.name) + ")"
	}
	return name
}

// verifySSH tells whose SSH signature it is.
func (k *keyring) verifySSH(signed []byte, armoured string, committed time.Time) (string, error) {
	signature, err := sshsig.Unarmor([]byte(armoured))
	if err != nil {
		return "", badSignature("the commit's SSH signature cannot be read", "sign the commit again")
	}
	by := "SSH " + gossh.FingerprintSHA256(signature.PublicKey)
	if signature.Namespace != sshNamespace {
		return "", badSignature("the signature of "+by+" was not made for a commit, but for "+Remote{}.quote(signature.Namespace), "sign the commit with git commit -S")
	}
	signer, err := k.allowed(signature.PublicKey, committed)
	if err != nil {
		return "", err
	}
	if sshsig.Verify(bytes.NewReader(signed), signature, signer.key, signature.HashAlgorithm, sshNamespace) != nil {
		return "", badSignature("the signature of "+signer.String()+" does not fit the commit: one of them was changed afterwards", "find out who changed it; the signer can sign the commit again")
	}
	return signer.String(), nil
}

// allowed finds the line that accepts a key at a time.
func (k *keyring) allowed(key gossh.PublicKey, at time.Time) (allowedSigner, error) {
	lines := slices.DeleteFunc(slices.Clone(k.ssh), func(s allowedSigner) bool { return !bytes.Equal(s.key.Marshal(), key.Marshal()) })
	if len(lines) == 0 {
		return allowedSigner{}, badSignature("the commit is signed with the SSH key "+gossh.FingerprintSHA256(key)+", which is not among the keys accepted", "add its public key if its commits are to be accepted, or sign with one of those")
	}
	commits := slices.DeleteFunc(slices.Clone(lines), func(s allowedSigner) bool { return !s.signsCommits() })
	if len(commits) == 0 {
		return allowedSigner{}, badSignature("the commit is signed with the key of "+lines[0].String()+", whose namespaces leave out git", "add git to its namespaces, or sign with another key")
	}
	for _, line := range commits {
		if line.validAt(at) {
			return line, nil
		}
	}
	return allowedSigner{}, badSignature("the commit was made on "+at.UTC().Format(time.DateOnly)+" with the key of "+commits[0].String()+", which is not valid then (valid-after, valid-before)", "extend its validity, or sign the commit with another key")
}
