package simulation

import (
	"cmp"
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
	// unrequested: the request that it was issued by is gone.
	unrequested bool
	// unknown: something was issued, and it is not known what; problem says why there is
	// no certificate.
	unknown bool
	problem string
}

// adopted reports that the Certificate found its Secret there, and nothing was
// issued for it.
func (c *caObject) adopted(secret *caSecret) bool {
	return secret != nil && c.issued.IsZero() && !c.issuing && !c.unknown
}

// caSecret is the Secret of an authority's key.
type caSecret struct {
	private     ed25519.PrivateKey
	certificate pki.Certificate
	// above is what is presented with what the key signs: its own certificate and those
	// of the intermediates above it. Nothing for a root.
	above []pki.Certificate
	// root that the chain ends in: what cert-manager writes as ca.crt.
	root pki.Certificate
}

// internalIssuer is the issuer of a key of its own, with its newest canary.
type internalIssuer struct {
	target planner.TargetKey
	// cluster reports that there is a ClusterIssuer of its name too.
	cluster       bool
	canary, proof planner.Canary
	// generation of its spec; 0 counts as 1.
	generation int64
	// silent: it does not say yet whether its Secret is there.
	silent bool
}

// issuer is a binding's issuer with its newest canary.
type issuer struct {
	secretName string
	// foreign: it is not reanchor's, which leaves it alone.
	foreign bool
	// spec and signsWith of one that an external issuer stands behind.
	spec, signsWith string
	authority       planner.Ref
	generation      int64
	canary          planner.Canary
	// proof is the newest canary that came back.
	proof planner.Canary
}

// leaf is an end-entity Certificate, whoever made it, and its Secret.
type leaf struct {
	ref     planner.Ref
	issuer  planner.Ref
	secret  string
	chain   []pki.Certificate
	root    pki.Certificate
	changed time.Time
	// renews is when cert-manager renews it by itself, and life how long it then lives;
	// 0: as all leaves do.
	renews  time.Time
	life    time.Duration
	foreign bool
	issuing bool
	// ordered: an external issuer was asked, and takes its time.
	ordered bool
	// unknown says why it is not known what was issued: the request that told it is gone.
	unknown string
	// family is the root authority above it; zero: not looked up yet.
	family planner.Ref
	// withoutCA: it comes without the CA that signed it.
	withoutCA bool
	// failedAt and problem tell of the last issuance.
	failedAt time.Time
	problem  string
}

const leafLife = 90 * 24 * time.Hour

// issueCAs makes what a CA's Certificate asks for. A Secret that is gone while its
// Certificate is there is made anew with another key, as cert-manager does; one that
// is there is taken over as it is, and kept through a reissue. An intermediate waits for
// the issuer that its Certificate names.
func (w *World) issueCAs() {
	for _, ref := range sortedKeys(w.cas) {
		ca, secret := w.cas[ref], w.secrets[ref]
		parent := w.parentSecret(ca.target.Spec.SignedBy)
		waits := ca.target.Spec.SignedBy != planner.Ref{} && parent == nil
		if (secret != nil && !ca.issuing) || waits || w.Stuck["Certificate "+ref.String()] || w.lazy() {
			continue
		}
		if secret == nil {
			secret = &caSecret{private: w.newKey()}
		}
		w.secrets[ref] = w.issueCA(ca.target, secret.private, parent)
		ca.issued, ca.issuing, ca.unknown, ca.problem = w.secrets[ref].certificate, false, false, ""
	}
}

// parentSecret is what an internal issuer signs with; nil if it is not there.
func (w *World) parentSecret(signedBy planner.Ref) *caSecret {
	for _, ref := range sortedKeys(w.internal) {
		if signedBy == ref || signedBy == (planner.Ref{Name: ref.Name}) && w.internal[ref].cluster {
			return w.secretOf(ref)
		}
	}
	return nil
}

// secretOf is what a key's internal issuer names; nil if it is not there.
func (w *World) secretOf(ref planner.Ref) *caSecret {
	if internal := w.internal[ref]; internal != nil && internal.target.Secret != "" {
		ref.Name = internal.target.Secret
	}
	return w.secrets[ref]
}

// issueLeaves signs what is to be issued with whatever key the issuer names now.
func (w *World) issueLeaves() {
	for _, leaf := range w.sortedLeaves() {
		secret := w.signingSecret(leaf.issuer)
		leaf.issuing = leaf.issuing || len(leaf.chain) > 0 && leaf.secret != "" && w.Now.After(leaf.renews)
		if !leaf.issuing || secret == nil || w.Stuck["Certificate "+leaf.ref.String()] || w.lazy() {
			continue
		}
		if isOutside := w.issuers[leaf.issuer].spec != ""; isOutside && !leaf.ordered {
			leaf.ordered = true
			continue
		}
		leaf.ordered = false
		life := cmp.Or(leaf.life, w.leafLife)
		signed := w.sign(leaf.ref.String(), life, secret)
		leaf.chain, leaf.root = append([]pki.Certificate{signed}, secret.above...), secret.root
		leaf.issuing, leaf.unknown, leaf.changed, w.touched = false, "", w.Now, true
		leaf.failedAt, leaf.problem = time.Time{}, ""
		w.checkLifetime(leaf, secret)
		leaf.renews = w.Now.Add(life * 2 / 3)
	}
}

func (w *World) answerCanaries() {
	for _, ref := range sortedKeys(w.issuers) {
		if w.Stuck["canary "+ref.String()] {
			continue
		}
		if w.issuers[ref].spec == "" { // an external issuer refuses what it has no rule for
			w.answer(&w.issuers[ref].canary, &w.issuers[ref].proof, w.signingSecret(ref))
		}
	}
	for _, ref := range sortedKeys(w.internal) {
		w.answer(&w.internal[ref].canary, &w.internal[ref].proof, w.secretOf(ref))
	}
}

func (w *World) answer(canary, proof *planner.Canary, secret *caSecret) {
	if canary.State != planner.CanaryPending || secret == nil || w.lazy() {
		return
	}
	canary.State = planner.CanarySigned
	canary.Certificate = w.sign("canary", time.Hour, secret)
	canary.CA = secret.certificate
	*proof = *canary
}

// signingSecret is what an issuer signs with at this moment; nil if it cannot.
func (w *World) signingSecret(ref planner.Ref) *caSecret {
	issuer := w.issuers[ref]
	switch {
	case issuer == nil:
		return nil
	case issuer.spec != "":
		return w.outside[issuer.spec]
	}
	return w.secrets[planner.Ref{Namespace: issuer.authority.Namespace, Name: issuer.secretName}]
}

// subjectOf is the distinguished name that a CA's Certificate asks for.
func subjectOf(ca planner.CASpec) pkix.Name {
	return pkix.Name{CommonName: ca.CommonName, Organization: ca.Organizations, OrganizationalUnit: ca.OrganizationalUnits, Country: ca.Countries}
}

// issueCA makes the certificate of a key: signed by itself, or by its parent.
func (w *World) issueCA(target planner.TargetKey, private ed25519.PrivateKey, parent *caSecret) *caSecret {
	w.serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(w.serial),
		Subject:               subjectOf(target.Spec),
		NotBefore:             w.Now,
		NotAfter:              w.Now.Add(target.Spec.Duration),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if w.Quirk != nil {
		w.Quirk(template)
	}
	if parent == nil {
		made := create(template, template, private.Public(), private)
		return &caSecret{private: private, certificate: made, root: made}
	}
	made := create(template, parent.certificate.X509(), private.Public(), parent.private)
	return &caSecret{private: private, certificate: made, above: append([]pki.Certificate{made}, parent.above...), root: parent.root}
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
	seed := sha256.Sum256(fmt.Appendf(nil, "%skey %d", w.keySpace, w.serial))
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
