package hostile

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// keyOf is the private key of that name, the same in every run.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Root is a root's certificate, from 2025 to 2045.
func Root(name string) pki.Certificate {
	return issued(template(name, true), template(name, true), name)
}

// Intermediate is a CA's certificate that a root has signed.
func Intermediate(name, root string) pki.Certificate {
	return issued(template(name, true), Root(root).X509(), root)
}

// Leaf is the certificate of no CA, that a root has signed.
func Leaf(name, root string) pki.Certificate {
	return issued(template(name, false), Root(root).X509(), root)
}

func template(name string, isCA bool) *x509.Certificate {
	usage := x509.KeyUsageDigitalSignature
	if isCA {
		usage = x509.KeyUsageCertSign
	}
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, PublicKey: keyOf(name).Public(),
		NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: usage,
	}
}

func issued(certificate, signer *x509.Certificate, key string) pki.Certificate {
	der, err := x509.CreateCertificate(nil, certificate, signer, certificate.PublicKey, keyOf(key))
	if err != nil {
		panic(err) // the templates above are all there are
	}
	made, err := pki.Parse(der)
	if err != nil {
		panic(err)
	}
	return made
}

// PrivateKey is a private key in PEM (RFC 5958). It belongs to nobody.
func PrivateKey(name string) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(keyOf(name))
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// PKCS12 is the beginning of a PKCS #12 file, as Java writes it (RFC 7292, section 4).
func PKCS12() []byte {
	return append([]byte{
		0x30, 0x80, 0x02, 0x01, 0x03, 0x30, 0x80,
		0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, 0xa0, 0x80, 0x24, 0x80,
	}, make([]byte, 40)...)
}

// JKS is the beginning of a Java keystore of version 2.
func JKS() []byte {
	return append([]byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1}, make([]byte, 40)...)
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }
