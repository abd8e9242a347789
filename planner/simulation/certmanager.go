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
	// issuing: it was asked to be issued anew.
	issuing bool
}

// adopted reports that the Certificate found its Secret there, and nothing was
// issued for it.
func (c *caObject) adopted(secret *caSecret) bool {
	return secret != nil && c.issued.IsZero() && !c.issuing
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
	// proof is the newest canary that came back.
	proof planner.Canary
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
// Certificate is there is made anew with another key, as cert-manager does; one that
// is there is taken over as it is, and kept through a reissue.
func (w *World) issueCAs() {
	for _, ref := range sortedKeys(w.cas) {
		ca, secret := w.cas[ref], w.secrets[ref]
		if (secret != nil && !ca.issuing) || w.lazy() {
			continue
		}
		if secret == nil {
			secret = &caSecret{private: w.newKey()}
		}
		w.secrets[ref] = &caSecret{private: secret.private, certificate: w.root(ca.target, secret.private)}
		ca.issued, ca.issuing = w.secrets[ref].certificate, false
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
		issuer.proof = issuer.canary
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

// root makes a self-signed root of a key.
func (w *World) root(target planner.TargetKey, private ed25519.PrivateKey) pki.Certificate {
	w.serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(w.serial),
		Subject:               pkix.Name{CommonName: target.Spec.CommonName},
		NotBefore:             w.Now,
		NotAfter:              w.Now.Add(target.Spec.Duration),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	return create(template, template, private.Public(), private)
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

// newKey derives a key from how many were made before it.
func (w *World) newKey() ed25519.PrivateKey {
	w.serial++
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
