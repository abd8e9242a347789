package pki_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
)

var (
	born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	year = 365 * 24 * time.Hour
)

// entity is a certificate and the key that it certifies.
type entity struct {
	pki.Certificate
	private ed25519.PrivateKey
}

// keyOf derives a key from a seed: equal seeds give equal keys, and Ed25519
// signatures are deterministic, so every certificate here has the same bytes always.
func keyOf(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

// root makes a self-signed CA called name, with the key of seed.
func root(tb testing.TB, name, seed string, change ...func(*x509.Certificate)) entity {
	tb.Helper()
	return issue(tb, caTemplate(name), keyOf(seed), nil, change...)
}

// intermediate makes a CA that another signed.
func intermediate(tb testing.TB, name string, by entity, change ...func(*x509.Certificate)) entity {
	tb.Helper()
	return issue(tb, caTemplate(name), keyOf(name), &by, change...)
}

// leaf makes an end-entity certificate that lives for ninety days.
func leaf(tb testing.TB, name string, by entity, change ...func(*x509.Certificate)) entity {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: born, NotAfter: born.Add(90 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	return issue(tb, template, keyOf(name), &by, change...)
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: born, NotAfter: born.Add(10 * year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// withoutSKI makes a CA's template one without subject key identifier: the extension
// that says CA is written by hand, so that crypto/x509 adds none.
func withoutSKI(template *x509.Certificate) {
	template.IsCA, template.BasicConstraintsValid = false, false
	value, err := asn1.Marshal(struct{ IsCA bool }{true})
	if err != nil {
		panic(err)
	}
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: value}}
}

func lives(from, to time.Time) func(*x509.Certificate) {
	return func(template *x509.Certificate) { template.NotBefore, template.NotAfter = from, to }
}

func issue(tb testing.TB, template *x509.Certificate, private ed25519.PrivateKey, by *entity, change ...func(*x509.Certificate)) entity {
	tb.Helper()
	for _, edit := range change {
		edit(template)
	}
	parent, signer := template, private
	if by != nil {
		parent, signer = by.X509(), by.private
	}
	der, err := x509.CreateCertificate(nil, template, parent, private.Public(), signer)
	if err != nil {
		tb.Fatalf("sign %s: %v", template.Subject.CommonName, err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		tb.Fatal(err)
	}
	return entity{certificate, private}
}

// keyPEM is a private key as it must never come into a bundle.
func keyPEM(tb testing.TB, private ed25519.PrivateKey) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
