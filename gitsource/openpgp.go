package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// readPublicKeys reads armoured keys. An armour that follows another in one text is
// read as well.
func readPublicKeys(armoured [][]byte) (openpgp.EntityList, error) {
	const end = "-----END PGP PUBLIC KEY BLOCK-----"
	var all openpgp.EntityList
	for i, text := range armoured {
		if bytes.Contains(text, []byte("PRIVATE KEY")) {
			return nil, fmt.Errorf("OpenPGP key %d of Verify is a private one: give the public key (gpg --armor --export)", i+1)
		}
		for block := range strings.SplitAfterSeq(string(text), end) {
			if strings.TrimSpace(block) == "" {
				continue
			}
			keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block))
			if err != nil || len(keys) == 0 {
				return nil, fmt.Errorf("OpenPGP key %d of Verify cannot be read: give what gpg --armor --export prints", i+1)
			}
			all = append(all, keys...)
		}
	}
	return all, nil
}

// verifyPGP tells whose OpenPGP signature it is.
func (k *keyring) verifyPGP(signed []byte, armoured string) (string, error) {
	signature, parsed, err := readPGPSignature(armoured)
	if err != nil {
		return "", badSignature("the commit's OpenPGP signature cannot be read", "sign the commit again")
	}
	issuer := fmt.Sprintf("%016X", *parsed.IssuerKeyId)
	keys := k.pgp.KeysById(*parsed.IssuerKeyId)
	if len(keys) == 0 {
		return "", badSignature("the commit is signed with the OpenPGP key "+issuer+", which is not among the keys accepted", "add its public key if its commits are to be accepted, or sign with one of those")
	}
	if i := slices.IndexFunc(keys, isRevoked); i >= 0 {
		return "", explainPGP(pgperrors.ErrKeyRevoked, keys[i].Entity, parsed.CreationTime)
	}
	at := packet.Config{Time: func() time.Time { return parsed.CreationTime }}
	for _, key := range keys {
		alone := openpgp.EntityList{key.Entity}
		if _, err = openpgp.CheckDetachedSignature(alone, bytes.NewReader(signed), bytes.NewReader(signature), &at); err == nil {
			return pgpName(key.Entity), nil
		}
	}
	return "", explainPGP(err, keys[len(keys)-1].Entity, parsed.CreationTime)
}

// readPGPSignature takes off the armour. The signature must be one, and say by which
// key it was made.
func readPGPSignature(armoured string) ([]byte, *packet.Signature, error) {
	block, err := armor.Decode(strings.NewReader(armoured))
	if err != nil {
		return nil, nil, err
	}
	var binary bytes.Buffer
	if _, err := binary.ReadFrom(block.Body); err != nil {
		return nil, nil, err
	}
	packets := packet.NewReader(bytes.NewReader(binary.Bytes()))
	first, err := packets.Next()
	if err != nil {
		return nil, nil, err
	}
	signature, ok := first.(*packet.Signature)
	if !ok || signature.IssuerKeyId == nil {
		return nil, nil, errors.New("no signature with an issuer")
	}
	if _, err := packets.Next(); err == nil {
		return nil, nil, errors.New("more than a signature")
	}
	return binary.Bytes(), signature, nil
}

// isRevoked reports whether a key, or the one that it belongs to, was ever revoked.
func isRevoked(key openpgp.Key) bool {
	owner := key.Entity
	return len(owner.Revocations) > 0 || len(key.Revocations) > 0 ||
		slices.ContainsFunc(owner.Subkeys, func(s openpgp.Subkey) bool { return s.PublicKey == key.PublicKey && len(s.Revocations) > 0 })
}

func explainPGP(err error, key *openpgp.Entity, at time.Time) error {
	by, on := pgpName(key), at.UTC().Format(time.DateOnly)
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return badSignature("the commit was signed on "+on+" with the key of "+by+", which was not valid then: it had expired, or was not made yet", "extend the key (gpg --quick-set-expire) and give its new public key, or sign the commit with another")
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return badSignature("the signature of "+by+" has expired, or the key's own has", "give the key's current public key, or sign the commit again")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return badSignature("the commit is signed with the key of "+by+", which was revoked", "sign it with another key")
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return badSignature("the commit is signed with a key of "+by+" that is not made for signing", "sign it with a key that is")
	}
	return badSignature("the signature of "+by+" does not fit the commit: one of them was changed afterwards", "find out who changed it; the signer can sign the commit again")
}

// pgpName is a key for people: its ID and whose it is.
func pgpName(key *openpgp.Entity) string {
	name := "OpenPGP " + key.PrimaryKey.KeyIdString()
	if identity := key.PrimaryIdentity(); identity != nil {
		name += " (" + Remote{}.quote(identity.Name) + ")"
	}
	return name
}
