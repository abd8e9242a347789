// Package registrartest is a fleet in memory, for tests of the registration endpoint: CAs, a
// repository that takes commits, a cluster that issues, and devices with keys of their own.
package registrartest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// Authority is a CA.
type Authority struct {
	pki.Certificate
	key crypto.Signer
}

// Root makes a self-signed CA that lives for ten years around a time.
func Root(name string, at time.Time) *Authority {
	a := &Authority{key: Key()}
	a.Certificate = sign(authorityTemplate(name, at), authorityTemplate(name, at), a.key.Public(), a.key)
	return a
}

// Under makes an intermediate.
func (a *Authority) Under(name string, at time.Time) *Authority {
	child := &Authority{key: Key()}
	child.Certificate = sign(authorityTemplate(name, at), a.X509(), child.key.Public(), a.key)
	return child
}

// Link signs another root's key: who knows this one comes to trust that one.
func (a *Authority) Link(next *Authority, at time.Time) pki.Certificate {
	template := authorityTemplate(next.CommonName(), at)
	template.RawSubject, template.SubjectKeyId = next.X509().RawSubject, next.SubjectKeyID()
	return sign(template, a.X509(), next.key.Public(), a.key)
}

func authorityTemplate(name string, at time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: at.AddDate(-5, 0, 0), NotAfter: at.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
}

// Leaf is what a certificate says; the change makes it say something else.
func Leaf(commonName string, from, to time.Time, change ...func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: commonName}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range change {
		c(template)
	}
	return template
}

// Sign a leaf for a key.
func (a *Authority) Sign(template *x509.Certificate, key crypto.PublicKey) pki.Certificate {
	return sign(template, a.X509(), key, a.key)
}

// Credential is a certificate with its key, as TLS takes it. The chain follows the leaf.
func (a *Authority) Credential(template *x509.Certificate, key crypto.Signer, chain ...pki.Certificate) tls.Certificate {
	return With(key, append([]pki.Certificate{a.Sign(template, key.Public())}, chain...)...)
}

// With puts a chain and its key together.
func With(key crypto.Signer, chain ...pki.Certificate) tls.Certificate {
	credential := tls.Certificate{PrivateKey: key}
	for _, certificate := range chain {
		credential.Certificate = append(credential.Certificate, certificate.X509().Raw)
	}
	return credential
}

// Key makes one on P-256.
func Key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// KeyID is the SHA-256 of a key's SubjectPublicKeyInfo.
func KeyID(key crypto.PublicKey) pki.Fingerprint {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return sha256.Sum256(der)
}

// CSR asks for a certificate for a key; the change makes it ask for something else.
func CSR(key crypto.Signer, commonName string, dnsNames []string, change ...func(*x509.CertificateRequest)) []byte {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}, DNSNames: dnsNames}
	for _, c := range change {
		c(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		panic(err)
	}
	return der
}

// PEM is a CSR as one PEM block.
func PEM(csr []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
}

func serial() *big.Int {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return number
}

func sign(template, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) pki.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		panic(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		panic(err)
	}
	return certificate
}

// Signer is the CA's key.
func (a *Authority) Signer() crypto.Signer { return a.key }

// CSRWith is a CSR with one more attribute, whose value is in DER, signed anew.
func CSRWith(key *ecdsa.PrivateKey, csr []byte, id asn1.ObjectIdentifier, value []byte) []byte {
	type attribute struct {
		ID     asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
	type info struct {
		Version    int
		Subject    asn1.RawValue
		Key        asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}
	type request struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	var read request
	if _, err := asn1.Unmarshal(csr, &read); err != nil {
		panic(err)
	}
	read.Info.Attributes = append(read.Info.Attributes, asn1.RawValue{FullBytes: marshal(attribute{id, []asn1.RawValue{{FullBytes: value}}})})
	digest := sha256.Sum256(marshal(read.Info))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	read.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	return marshal(read)
}

func marshal(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic(err)
	}
	return der
}
