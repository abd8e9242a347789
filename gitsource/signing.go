package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
)

// SigningKey signs the commits that are pushed, so that they pass where commits are
// verified. Nothing that prints it shows the key.
type SigningKey struct {
	// OpenPGP is a private key, armoured and protected as GnuPG exports it, or not at
	// all; SSH is one as for [Remote].SSHKey. One of them is given.
	OpenPGP, SSH []byte
	// Passphrase opens the key, if it is encrypted.
	Passphrase string
}

// String tells the kind of the key.
func (k SigningKey) String() string {
	if len(k.OpenPGP) > 0 {
		return "an OpenPGP key"
	}
	return "an SSH key"
}

// GoString is String, so that no format prints the key.
func (k SigningKey) GoString() string { return k.String() }

// MarshalText is String, so that no logger prints the key.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// commitSigner makes the armoured signature of a commit that is made at a time.
type commitSigner func(payload []byte, at time.Time) (string, error)

// signer reads the key.
func (k *SigningKey) signer() (commitSigner, error) {
	switch {
	case len(k.OpenPGP) > 0 && len(k.SSH) > 0:
		return nil, errors.New("the SigningKey is both of OpenPGP and of SSH: give one")
	case len(k.OpenPGP) > 0:
		return k.pgp()
	case len(k.SSH) > 0:
		return k.ssh()
	}
	return nil, errors.New("the SigningKey holds no key: give OpenPGP or SSH")
}

func (k *SigningKey) ssh() (commitSigner, error) {
	key, err := parseKey(k.SSH, k.Passphrase, "SigningKey")
	if err != nil {
		return nil, err
	}
	return func(payload []byte, _ time.Time) (string, error) {
		signature, err := sshsig.Sign(bytes.NewReader(payload), key, sshsig.HashSHA512, sshNamespace)
		if err != nil {
			return "", errors.New("the SigningKey does not sign: give an Ed25519, ECDSA or RSA key")
		}
		return string(sshsig.Armor(signature)), nil
	}, nil
}

func (k *SigningKey) pgp() (commitSigner, error) {
	unreadable := errors.New("the SigningKey cannot be read: give one private key, as gpg --armor --export-secret-keys prints it")
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(k.OpenPGP))
	if err != nil || len(keys) != 1 || keys[0].PrivateKey == nil {
		return nil, unreadable
	}
	if err := checkProtection(keys[0]); err != nil {
		return nil, err
	}
	if err := keys[0].DecryptPrivateKeys([]byte(k.Passphrase)); err != nil {
		if k.Passphrase == "" {
			return nil, errors.New("the SigningKey is encrypted: give its passphrase")
		}
		return nil, errors.New("the passphrase does not open the SigningKey: correct it")
	}
	return func(payload []byte, at time.Time) (string, error) {
		// Without the salt that go-crypto adds, the same commit gets the same name.
		config := &packet.Config{
			Time:                                  func() time.Time { return at },
			NonDeterministicSignaturesViaNotation: packet.BoolPointer(false),
		}
		var armoured strings.Builder
		if openpgp.ArmoredDetachSign(&armoured, keys[0], bytes.NewReader(payload), config) != nil {
			return "", errors.New("the SigningKey does not sign: it has expired, was revoked, or is not made for signing")
		}
		return armoured.String(), nil
	}, nil
}

// maxSigningKeys is how many private keys a SigningKey may hold, the subkeys among them:
// each may take a third of a second to open.
const maxSigningKeys = 16

// checkProtection refuses a key that would take whatever memory or time it says to open.
// What GnuPG writes takes little memory, and hashes 62 MiB at most for each key (RFC 9580,
// section 3.7.1.3). With AEAD there may be Argon2, which takes up to 2 TiB (section 3.7.1.4).
func checkProtection(key *openpgp.Entity) error {
	private := []*packet.PrivateKey{key.PrivateKey}
	for _, subkey := range key.Subkeys {
		if subkey.PrivateKey != nil {
			private = append(private, subkey.PrivateKey)
		}
	}
	if len(private) > maxSigningKeys {
		return fmt.Errorf("the SigningKey holds %d private keys, and %d are allowed: export the one that signs (gpg --armor --export-secret-subkeys KEY!)", len(private), maxSigningKeys)
	}
	for _, one := range private {
		usage, err := protection(one)
		if err != nil {
			return errors.New("the SigningKey's protection cannot be read: export the key again with GnuPG (gpg --armor --export-secret-keys)")
		}
		if one.Encrypted && usage != packet.S2KSHA1 && usage != packet.S2KCHECKSUM {
			return errors.New("the SigningKey is encrypted with AEAD, as for Argon2, which may take any amount of memory to open: export the key with another protection, as GnuPG writes it (gpg --import, then gpg --armor --export-secret-keys)")
		}
	}
	return nil
}

// protection is the octet of a private key that says how it is encrypted: the one that
// follows the public key (RFC 9580, section 5.5.3).
func protection(key *packet.PrivateKey) (packet.S2KType, error) {
	public, err := body(&key.PublicKey)
	if err != nil {
		return 0, err
	}
	private, err := body(key)
	if err != nil {
		return 0, err
	}
	rest, ok := bytes.CutPrefix(private, public)
	if !ok || len(rest) == 0 {
		return 0, errors.New("the private key does not begin with its public key")
	}
	return packet.S2KType(rest[0]), nil
}

// body is what a packet holds after its header.
func body(of interface{ Serialize(io.Writer) error }) ([]byte, error) {
	var whole bytes.Buffer
	if err := of.Serialize(&whole); err != nil {
		return nil, err
	}
	opaque, err := packet.NewOpaqueReader(&whole).Next()
	if err != nil {
		return nil, err
	}
	return opaque.Contents, nil
}

// sign adds the remote's signature to a commit, if it has a key. Who verifies commits
// and could not accept this one, does not make it.
func (r Remote) sign(commit *gitobject.Commit) (object, error) {
	data, err := encodeCommit(commit)
	if err != nil {
		return object{}, err
	}
	if r.signer != nil {
		if commit.PGPSignature, err = r.signer(data, commit.Committer.When); err != nil {
			return object{}, err
		}
		if data, err = encodeCommit(commit); err != nil {
			return object{}, err
		}
	}
	if r.keys != nil {
		if err := r.checkOwn(data, commit.Committer.When); err != nil {
			return object{}, err
		}
	}
	return newObject(plumbing.CommitObject, data), nil
}

// checkOwn makes sure that a commit will be accepted when it is pulled.
func (r Remote) checkOwn(commit []byte, at time.Time) error {
	if r.signer == nil {
		return badSignature("commits are verified here, and this one would not be signed", "give a SigningKey, and its public key to Verify")
	}
	if _, err := r.keys.verify(commit, at); err != nil {
		return badSignature("the commit would not be accepted when it is pulled ("+err.Error()+")", "give the public key of the SigningKey to Verify")
	}
	return nil
}

func encodeCommit(commit *gitobject.Commit) ([]byte, error) {
	encoded := new(plumbing.MemoryObject)
	if err := commit.Encode(encoded); err != nil {
		return nil, err
	}
	return readAll(encoded)
}
