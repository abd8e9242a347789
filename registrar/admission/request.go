package admission

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Request is a certificate signing request (RFC 2986) that could be read. Of what it asks,
// nothing has been judged yet.
type Request struct {
	parsed *x509.CertificateRequest
	// Key is the SHA-256 of its SubjectPublicKeyInfo.
	Key pki.Fingerprint
	// ChallengePassword is what it holds as such (RFC 2985, section 5.4.1); nil: it holds
	// none. It may be a channel binding (RFC 7030, section 3.5), and nothing else is taken.
	ChallengePassword *string
	// wantsEncryption: it asks that a key made for it be encrypted beyond TLS (RFC 7030,
	// section 4.4.1).
	wantsEncryption bool
}

const requestBlock = "CERTIFICATE REQUEST"

// ParseRequestPEM reads a CSR of one PEM block.
func ParseRequestPEM(text []byte) (Request, *Refusal) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != requestBlock || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")) {
		return Request{}, malformed(ProblemRequest, "the request is not one PEM block of type %s and nothing else: send the device's CSR alone", requestBlock)
	}
	return ParseRequest(block.Bytes)
}

// ParseRequest reads a CSR in DER.
func ParseRequest(der []byte) (Request, *Refusal) {
	parsed, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return Request{}, malformed(ProblemRequest, "the request is no CSR that can be read (RFC 2986): have the device make another")
	}
	request := Request{parsed: parsed, Key: sha256.Sum256(parsed.RawSubjectPublicKeyInfo)}
	return request, request.readAttributes()
}

// PEM is the request as one PEM block.
func (r Request) PEM() string {
	if r.parsed == nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: requestBlock, Bytes: r.parsed.Raw}))
}

// IsZero reports whether there is none.
func (r Request) IsZero() bool { return r.parsed == nil }

// The attributes of a request that mean something here.
var (
	oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	// Those by which a client asks for an encrypted key (RFC 7030, sections 4.4.1.1 and
	// 4.4.1.2).
	oidDecryptKeyID     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 37}
	oidAsymmDecryptKey  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 54}
	errUnreadAttributes = "the attributes of the CSR cannot be read: have the device make another"
)

// attribute of a request (RFC 2986, section 4.1).
type attribute struct {
	ID     asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

// readAttributes finds what the parser of the standard library passes over.
func (r *Request) readAttributes() *Refusal {
	var info struct {
		Version    int
		Subject    asn1.RawValue
		Key        asn1.RawValue
		Attributes []attribute `asn1:"tag:0,set,optional"`
	}
	if _, err := asn1.Unmarshal(r.parsed.RawTBSCertificateRequest, &info); err != nil {
		return malformed(ProblemRequest, "%s", errUnreadAttributes)
	}
	for _, attribute := range info.Attributes {
		switch {
		case attribute.ID.Equal(oidDecryptKeyID), attribute.ID.Equal(oidAsymmDecryptKey):
			r.wantsEncryption = true
		case !attribute.ID.Equal(oidChallengePassword):
		case len(attribute.Values) != 1 || r.ChallengePassword != nil:
			return malformed(ProblemRequest, "%s", errUnreadAttributes)
		default:
			password := string(attribute.Values[0].Bytes)
			r.ChallengePassword = &password
		}
	}
	return nil
}

// signed refuses a request that the key which it is for has not signed.
func (r Request) signed() *Refusal {
	switch r.parsed.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		return malformed(ProblemRequest, "the CSR is signed with %s, which can be forged: sign it with SHA-256 or better", r.parsed.SignatureAlgorithm)
	}
	if r.parsed.CheckSignature() != nil {
		return malformed(ProblemRequest, "the CSR is not signed by the key that it is for: have the device make another")
	}
	return nil
}

// The bounds of RSA keys, in bits: a shorter one can be broken, a longer one is work for
// everybody who verifies.
const (
	minRSA = 2048
	maxRSA = 8192
)

// strong refuses keys that the group does not take.
func (r Request) strong(allowed []v1alpha1.KeyAlgorithm) *Refusal {
	var algorithm v1alpha1.KeyAlgorithm
	switch key := r.parsed.PublicKey.(type) {
	case *rsa.PublicKey:
		algorithm = v1alpha1.RSA
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return malformed(ProblemKey, "the CSR's RSA key has %d bits, and %d to %d are taken: make another key", bits, minRSA, maxRSA)
		}
	case *ecdsa.PublicKey:
		algorithm = v1alpha1.ECDSA
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve) {
			return malformed(ProblemKey, "the CSR's key is on the curve %s, and P-256, P-384 and P-521 are taken: make another key", key.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		algorithm = v1alpha1.Ed25519
	}
	if !slices.Contains(allowed, algorithm) {
		return malformed(ProblemKey, "the CSR's key is of an algorithm (%s) that the group does not take: make one of %v", r.parsed.PublicKeyAlgorithm, allowed)
	}
	return nil
}
