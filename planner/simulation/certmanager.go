package simulation

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// caObject is the Certificate of an authority's key.
type caObject struct {
	target planner.TargetKey
	// issued is what was issued for it last.
	issued pki.Certificate
}

// caSecret is the Secret of an authority's key.
type caSecret struct {
	private     ed25519.PrivateKey
	certificate pki.Certificate
}

// issuer is a binding's issuer with its newest canary.
type issuer struct {
	secretName string
	authority  planner.Ref
	generation int64
	canary     planner.Canary
}

// leaf is a declared end-entity Certificate and its Secret.
type leaf struct {
	ref     planner.Ref
	issuer  planner.Ref
	secret  string
	chain   []pki.Certificate
	issuing bool
}

const leafLife = 90 * 24 * time.Hour

// issueCAs makes what a CA's Certificate asks for. A Secret that is gone while its
// Certificate is there is made anew with another key, as cert-manager does.
func (w *World) issueCAs() {
	for _, ref := range sortedKeys(w.cas) {
		if w.secrets[ref] != nil || w.lazy() {
			continue
		}
		secret := w.newRoot(w.cas[ref].target)
		w.secrets[ref] = secret
		w.cas[ref].issued = secret.certificate
	}
}

// issueLeaves signs what is to be issued with whatever key the issuer names now.
func (w *World) issueLeaves() {
	for _, ref := range sortedKeys(w.leaves) {
		leaf := w.leaves[ref]
		secret := w.signingSecret(leaf.issuer)
		if !leaf.issuing || secret == nil || w.lazy() {
			continue
		}
		leaf.chain = []pki.Certificate{w.sign(leaf.ref.String(), leafLife, secret)}
		leaf.issuing = false
	}
}

func (w *World) answerCanaries() {
	for _, ref := range sortedKeys(w.issuers) {
		issuer := w.issuers[ref]
		secret := w.signingSecret(ref)
		if issuer.canary.State != planner.CanaryPending || secret == nil || w.lazy() {
			continue
		}
		issuer.canary.State = planner.CanarySigned
		issuer.canary.Certificate = w.sign("canary", time.Hour, secret)
		issuer.canary.CA = secret.certificate
	}
}

// signingSecret is what an issuer signs with at this moment; nil if it cannot.
func (w *World) signingSecret(ref planner.Ref) *caSecret {
	issuer := w.issuers[ref]
	if issuer == nil {
		return nil
	}
	return w.secrets[planner.Ref{Namespace: issuer.authority.Namespace, Name: issuer.secretName}]
}

// newRoot makes a self-signed root. Its key is derived from how many certificates
// were made before it.
func (w *World) newRoot(target planner.TargetKey) *caSecret {
	w.serial++
	private := w.newKey()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(w.serial),
		Subject:               pkix.Name{CommonName: target.Spec.CommonName},
		NotBefore:             w.Now,
		NotAfter:              w.Now.Add(target.Spec.Duration),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	return &caSecret{private: private, certificate: create(template, template, private.Public(), private)}
}

func (w *World) sign(name string, life time.Duration, ca *caSecret) pki.Certificate {
	w.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(w.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    w.Now,
		NotAfter:     w.Now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	return create(template, ca.certificate.X509(), w.newKey().Public(), ca.private)
}

func (w *World) newKey() ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "key %d", w.serial))
	return ed25519.NewKeyFromSeed(seed[:])
}

// create signs a certificate. Ed25519 signatures are deterministic (RFC 8032,
// section 5.1), so no source of randomness is needed.
func create(template, parent *x509.Certificate, public, private any) pki.Certificate {
	der, err := x509.CreateCertificate(nil, template, parent, public, private)
	if err != nil {
		panic(fmt.Sprintf("simulation: sign %s: %v", template.Subject.CommonName, err))
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		panic(fmt.Sprintf("simulation: %v", err))
	}
	return certificate
}
