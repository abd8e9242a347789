package gitsource

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// Verification is whose commits are accepted. One key of either kind is enough.
//
// The times at which keys are valid are compared with those that are signed along:
// of an OpenPGP signature its own, of an SSH signature, as git does, the committer's.
// So a commit stays good when its key has expired since. A key that somebody else
// may have got hold of is to be revoked (OpenPGP), or taken out.
type Verification struct {
	// OpenPGP holds public keys, each armoured (RFC 9580, section 6.2); there may be
	// several in one. A revoked key verifies nothing, whenever it was revoked.
	OpenPGP [][]byte
	// SSH holds lines of an allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS)
	// or public keys as in authorized_keys, without options. A time without Z is
	// taken for UTC. Certificate authorities are not supported.
	SSH []byte
}

// keyring is a Verification that was read.
type keyring struct {
	pgp openpgp.EntityList
	ssh []allowedSigner
}

// keyring reads the keys.
func (v *Verification) keyring() (*keyring, error) {
	pgp, err := readPublicKeys(v.OpenPGP)
	if err != nil {
		return nil, err
	}
	ssh, err := readAllowedSigners(v.SSH)
	if err != nil {
		return nil, err
	}
	if len(pgp)+len(ssh) == 0 {
		return nil, errors.New("there is no key in Verify: give the public keys of those whose commits are accepted")
	}
	return &keyring{pgp: pgp, ssh: ssh}, nil
}

// How the signatures that git knows begin.
const (
	pgpSignature  = "-----BEGIN PGP SIGNATURE-----"
	sshSignature  = "-----BEGIN SSH SIGNATURE-----"
	x509Signature = "-----BEGIN SIGNED MESSAGE-----"
)

// verify tells who signed a commit, given as Git stores it.
func (k *keyring) verify(commit []byte, committed time.Time) (string, error) {
	signed, signature, err := splitSignature(commit)
	if err != nil {
		return "", err
	}
	switch {
	case signature == "":
		return "", badSignature("the commit is not signed", "sign it (git commit -S, or git rebase --exec 'git commit --amend --no-edit -S' for several)")
	case strings.HasPrefix(signature, pgpSignature):
		return k.verifyPGP(signed, signature)
	case strings.HasPrefix(signature, sshSignature):
		return k.verifySSH(signed, signature, committed)
	case strings.HasPrefix(signature, x509Signature):
		return "", badSignature("the commit is signed with an X.509 certificate", "sign it with OpenPGP or SSH (git config gpg.format)")
	}
	return "", badSignature("the commit's signature is neither of OpenPGP nor of SSH", "sign it again (git config gpg.format)")
}

func badSignature(detail, hint string) error {
	return &failure{kind: ErrSignature, detail: detail, hint: hint}
}

// splitSignature takes the signature out of a commit (gitformat-signature): what is
// left is what was signed, byte for byte.
func splitSignature(commit []byte) (signed []byte, signature string, err error) {
	var text strings.Builder
	var field string
	found := 0
	for line := range bytes.Lines(commit) {
		if line[0] == '\n' { // the message follows
			break
		}
		commit = commit[len(line):]
		value, more := bytes.CutPrefix(line, []byte(" "))
		if !more {
			var name []byte
			name, value, _ = bytes.Cut(line, []byte(" "))
			if field = string(name); field == "gpgsig" {
				found++
			}
		}
		switch field {
		case "gpgsig":
			text.Write(value)
		case "gpgsig-sha256":
		default:
			signed = append(signed, line...)
		}
	}
	if found > 1 {
		return nil, "", badSignature("the commit holds more than one signature", "sign it again, once")
	}
	return append(signed, commit...), text.String(), nil
}
