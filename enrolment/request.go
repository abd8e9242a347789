package enrolment

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/reanchor/reanchor/pki"
)

// Identity names the part of a factory certificate that is the device's id. The words are
// those of spec.bootstrap.identity in the group.
type Identity string

// The identities.
const (
	SubjectCommonName   Identity = "SubjectCommonName"
	SubjectSerialNumber Identity = "SubjectSerialNumber"
	DNSName             Identity = "DNSName"
	URI                 Identity = "URI"
	Fingerprint         Identity = "Fingerprint" // SHA-256 of the certificate, in hex
)

var identities = []Identity{SubjectCommonName, SubjectSerialNumber, DNSName, URI, Fingerprint}

// idOf is the device's id by its factory certificate.
func idOf(bootstrap tls.Certificate, rule Identity) (string, error) {
	if len(bootstrap.Certificate) == 0 {
		return "", errors.New("neither a certificate nor a factory certificate tells the device's id: give the factory certificate")
	}
	leaf, err := pki.Parse(bootstrap.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("read the factory certificate: %w", err)
	}
	names := named(leaf, rule)
	if len(names) != 1 || names[0] == "" {
		return "", fmt.Errorf("the factory certificate %s has %d of %s, and its one is the device's id: give the identity that the group has", leaf, len(names), rule)
	}
	return names[0], nil
}

func named(leaf pki.Certificate, rule Identity) []string {
	parsed := leaf.X509()
	var names []string
	switch rule {
	case SubjectCommonName:
		names = []string{parsed.Subject.CommonName}
	case SubjectSerialNumber:
		names = []string{parsed.Subject.SerialNumber}
	case DNSName:
		names = parsed.DNSNames
	case URI:
		for _, uri := range parsed.URIs {
			names = append(names, uri.String())
		}
	case Fingerprint:
		names = []string{leaf.Fingerprint().String()}
	}
	return names
}

const rsaBits = 3072

// makeKey makes a private key.
func makeKey(algorithm KeyAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// spki is what a key is known by: the SHA-256 of its SubjectPublicKeyInfo.
func spki(key crypto.PublicKey) (pki.Fingerprint, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return sha256.Sum256(der), err
}

var (
	templatedID       = regexp.MustCompile(`\{\{-?\s*\.ID\s*-?\}\}`)
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// firstRequest is the CSR (RFC 2986) of a device that shows its factory certificate: exactly the
// subject CN=<id> and the DNS names, which is what a group derives.
func firstRequest(key crypto.Signer, id string, dnsNames []string) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}}
	for _, name := range dnsNames {
		template.DNSNames = append(template.DNSNames, templatedID.ReplaceAllLiteralString(name, id))
	}
	slices.Sort(template.DNSNames)
	template.DNSNames = slices.Compact(template.DNSNames)
	return sign(template, key)
}

// nextRequest is the CSR of a device that shows its own certificate: its subject and its subject
// alternative names, byte for byte (RFC 7030, section 4.2.2).
func nextRequest(key crypto.Signer, leaf pki.Certificate) ([]byte, error) {
	shown := leaf.X509()
	template := &x509.CertificateRequest{RawSubject: shown.RawSubject}
	for _, extension := range shown.Extensions {
		if extension.Id.Equal(oidSubjectAltName) {
			template.ExtraExtensions = append(template.ExtraExtensions, extension)
		}
	}
	return sign(template, key)
}

func sign(template *x509.CertificateRequest, key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate signing request: %w: see that id and DNS names are plain", err)
	}
	return der, nil
}
