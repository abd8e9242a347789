package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Fingerprint is a SHA-256, of a certificate's DER or of a key's
// SubjectPublicKeyInfo. The zero value stands for none.
type Fingerprint [sha256.Size]byte

// String is the fingerprint in 64 lower-case hex digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Short is the first 12 hex digits, for people.
func (f Fingerprint) Short() string { return f.String()[:12] }

// IsZero reports whether there is no fingerprint.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// Compare orders fingerprints as bytes.Compare does.
func (f Fingerprint) Compare(g Fingerprint) int { return bytes.Compare(f[:], g[:]) }

// MarshalText writes the fingerprint in hex.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads 64 hex digits.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(f) {
		return fmt.Errorf("fingerprint %q is not the SHA-256 of a certificate: want 64 hex digits", text)
	}
	copy(f[:], raw)
	return nil
}

// Certificate is one X.509 certificate as an immutable value, as small as a pointer. The
// zero value stands for none.
type Certificate struct{ *content }

// content is what a certificate holds, and what it is known by.
type content struct {
	parsed      *x509.Certificate
	fingerprint Fingerprint
	spki        Fingerprint
}

// Parse reads one certificate from DER (RFC 5280, section 4.1).
func Parse(der []byte) (Certificate, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, fmt.Errorf("parse certificate: %w", err)
	}
	return Of(parsed), nil
}

// Of takes a parsed certificate, which must not be changed afterwards.
func Of(parsed *x509.Certificate) Certificate {
	return Certificate{&content{
		parsed:      parsed,
		fingerprint: sha256.Sum256(parsed.Raw),
		spki:        sha256.Sum256(parsed.RawSubjectPublicKeyInfo),
	}}
}

const certificateBlock = "CERTIFICATE"

// ErrNoCertificate says that PEM data holds no certificate at all.
var ErrNoCertificate = errors.New("no PEM block of type CERTIFICATE found")

// ParsePEM reads every certificate of PEM data (RFC 7468, section 5), in order.
// Anything but certificates and the explanatory text between them is an error:
// a trust store that is half understood is not understood. The content of a
// block that does not belong is never part of the error.
func ParsePEM(data []byte) ([]Certificate, error) {
	var certificates []Certificate
	for number := 1; ; number++ {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if err := wholeBlock(data[:len(data)-len(rest)]); err != nil {
			return nil, fmt.Errorf("PEM block %d %w", number, err)
		}
		if block.Type != certificateBlock {
			return nil, fmt.Errorf("PEM block %d is a %s, not a CERTIFICATE", number, block.Type)
		}
		certificate, err := Parse(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", number, err)
		}
		certificates = append(certificates, certificate)
		data = rest
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		return nil, fmt.Errorf("PEM block %d is malformed", len(certificates)+1)
	}
	if len(certificates) == 0 {
		return nil, ErrNoCertificate
	}
	return certificates, nil
}

// wholeBlock refuses what the decoder passed over on its way to the block that it
// found: others that read the same file may stop there.
func wholeBlock(text []byte) error {
	if bytes.Count(text, []byte("-----BEGIN")) != 1 || bytes.Count(text, []byte("-----END")) != 1 {
		return errors.New("is malformed, or follows one that is")
	}
	return nil
}

// IsZero reports whether there is no certificate.
func (c Certificate) IsZero() bool { return c.content == nil }

// Fingerprint is the SHA-256 of the DER: the certificate's identity. That of no
// certificate is zero.
func (c Certificate) Fingerprint() Fingerprint {
	if c.IsZero() {
		return Fingerprint{}
	}
	return c.fingerprint
}

// SPKI is the SHA-256 of the SubjectPublicKeyInfo: the key's identity. That of no
// certificate is zero.
func (c Certificate) SPKI() Fingerprint {
	if c.IsZero() {
		return Fingerprint{}
	}
	return c.spki
}

// X509 is the parsed certificate, which must not be changed; nil if there is none.
func (c Certificate) X509() *x509.Certificate {
	if c.IsZero() {
		return nil
	}
	return c.parsed
}

// Equal reports whether both are the same certificate.
func (c Certificate) Equal(other Certificate) bool {
	return c.content == other.content || c.Fingerprint() == other.Fingerprint()
}

// SubjectKeyID is the subject key identifier extension (RFC 5280, section
// 4.2.1.2), or nil.
func (c Certificate) SubjectKeyID() []byte { return c.parsed.SubjectKeyId }

// Subject is the subject's distinguished name (RFC 4514).
func (c Certificate) Subject() string { return c.parsed.Subject.String() }

// CommonName is the subject's common name.
func (c Certificate) CommonName() string { return c.parsed.Subject.CommonName }

// NotBefore is the first second of the certificate's validity.
func (c Certificate) NotBefore() time.Time { return c.parsed.NotBefore }

// NotAfter is the last second of the certificate's validity.
func (c Certificate) NotAfter() time.Time { return c.parsed.NotAfter }

// IsCA reports whether the certificate may sign others.
func (c Certificate) IsCA() bool { return c.parsed.BasicConstraintsValid && c.parsed.IsCA }

// SignedBy reports whether the certificate's signature is by that CA's key, and
// its issuer is that CA's subject.
func (c Certificate) SignedBy(ca Certificate) bool {
	return bytes.Equal(c.parsed.RawIssuer, ca.parsed.RawSubject) && c.mayBeOf(ca) &&
		signatures.of(signature{c.fingerprint, ca.fingerprint}, func() bool { return c.parsed.CheckSignatureFrom(ca.parsed) == nil })
}

// mayBeOf tells by the key identifiers, where both certificates carry one, whether
// the signature is worth checking (RFC 5280, sections 4.2.1.1 and 4.2.1.2).
func (c Certificate) mayBeOf(ca Certificate) bool {
	authority, subject := c.parsed.AuthorityKeyId, ca.parsed.SubjectKeyId
	return len(authority) == 0 || len(subject) == 0 || bytes.Equal(authority, subject)
}

// SelfSigned reports whether the certificate is a root.
func (c Certificate) SelfSigned() bool { return c.SignedBy(c) }

// PEM is the certificate as one PEM block.
func (c Certificate) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.parsed.Raw})
}

// String names the certificate for people: its subject and short fingerprint.
func (c Certificate) String() string {
	if c.IsZero() {
		return "no certificate"
	}
	return fmt.Sprintf("%s (%s)", c.CommonName(), c.fingerprint.Short())
}

// MarshalText writes the certificate as PEM; none is empty.
func (c Certificate) MarshalText() ([]byte, error) {
	if c.IsZero() {
		return nil, nil
	}
	return c.PEM(), nil
}

// UnmarshalText reads one certificate of PEM; empty is none.
func (c *Certificate) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = Certificate{}
		return nil
	}
	certificates, err := ParsePEM(text)
	if err != nil {
		return err
	}
	if len(certificates) != 1 {
		return fmt.Errorf("want one certificate, not %d", len(certificates))
	}
	*c = certificates[0]
	return nil
}
