package v1alpha1

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// signer is a CA of the tests. Equal names make equal keys, and so equal certificates.
type signer struct {
	key         ed25519.PrivateKey
	certificate *x509.Certificate
}

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// newSigner makes the CA of that name, by a parent or, without one, by itself; what it is
// like may be changed before it is signed.
func newSigner(t testing.TB, name string, parent *signer, changes ...func(*x509.Certificate)) *signer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	for _, change := range changes {
		change(template)
	}
	s := &signer{key: keyOf(name)}
	if parent == nil {
		parent = &signer{s.key, template}
	}
	der, err := x509.CreateCertificate(nil, template, parent.certificate, s.key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (s *signer) pem() string { return block("CERTIFICATE", s.certificate.Raw) }

// quoted is a text in one line of YAML.
func quoted(text string) string { return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"` }

// certificateField is the field of a key that gives the signer's certificate, in one line.
func (s *signer) certificateField() string { return "certificate: " + quoted(s.pem()) }

// request is a device's CSR in PEM.
func request(t testing.TB, name string) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, keyOf(name))
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE REQUEST", der)
}
