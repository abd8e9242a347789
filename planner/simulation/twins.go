package simulation

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"regexp"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Twins stand for certificates whose private keys nobody knows. A twin is its original
// with another key, signed by the twin of what signed it: subject, serial number, dates
// and every extension are the original's, the key identifiers among them, so that whatever
// verified does, and whatever did not does not.
//
//	original   Fleet Root 2025 ──signed──▶ broker
//	twin       Fleet Root 2025 ──signed──▶ broker       with keys that we have
//
// The key of a twin comes from the original's own key: two certificates of one key, as
// after a renewal, have twins of one key. What signed a certificate and is not known itself
// has a key as well, which signs all that it signed.
type Twins struct {
	// authorities are the known CA certificates by their subjects.
	authorities map[string][]pki.Certificate
	twins       map[pki.Fingerprint]pki.Certificate
	originals   map[pki.Fingerprint]pki.Certificate
	// keys of twins that may sign, by the SPKI of the original.
	keys map[pki.Fingerprint]ed25519.PrivateKey
	// short are the originals' fingerprints by the first digits of their twins'.
	short map[string]pki.Fingerprint
}

func newTwins() *Twins {
	return &Twins{
		authorities: map[string][]pki.Certificate{}, twins: map[pki.Fingerprint]pki.Certificate{},
		originals: map[pki.Fingerprint]pki.Certificate{}, keys: map[pki.Fingerprint]ed25519.PrivateKey{},
		short: map[string]pki.Fingerprint{},
	}
}

// Original is what a certificate of the world stands for; false for one that the world has
// issued itself, of which nobody knows what it will be.
func (t *Twins) Original(twin pki.Certificate) (pki.Certificate, bool) {
	if twin.IsZero() {
		return twin, false
	}
	original, known := t.originals[twin.Fingerprint()]
	return original, known
}

// know makes a CA certificate one that may have signed others.
func (t *Twins) know(certificates ...pki.Certificate) {
	for _, c := range certificates {
		if c.IsZero() {
			continue
		}
		subject := string(c.X509().RawSubject)
		if !slices.ContainsFunc(t.authorities[subject], c.Equal) {
			t.authorities[subject] = append(t.authorities[subject], c)
		}
	}
}

// knowObserved gathers every CA certificate that was seen.
func (t *Twins) knowObserved(observed planner.Observed) {
	for _, key := range observed.Keys {
		t.know(key.Certificate, key.Canary.CA, key.Proof.CA)
	}
	for _, issuer := range observed.Issuers {
		t.know(issuer.Canary.CA, issuer.Proof.CA)
	}
	for _, leaf := range observed.Leaves {
		if len(leaf.Chain) > 1 {
			t.know(leaf.Chain[1:]...)
		}
	}
	for _, bundle := range observed.Bundles {
		t.know(slices.Concat(bundle.Anchors, bundle.Certificates)...)
	}
	for _, seen := range observed.Copies {
		t.know(seen.Anchors...)
	}
	for _, recorded := range observed.Record.Keys {
		t.know(recorded.Certificate)
	}
}

// knowDesired gathers those that Git gives.
func (t *Twins) knowDesired(desired planner.Desired) {
	for _, authority := range desired.Authorities {
		for _, key := range authority.Spec.Keys {
			t.know(parsed(key.Certificate)...)
		}
	}
	for _, bundle := range desired.Bundles {
		for _, text := range bundle.Spec.Certificates {
			t.know(parsed(text)...)
		}
	}
}

// makeKnown makes the twins of all CAs that are known: of those too that are named by their
// fingerprints alone, as in tallies of devices and in the names of gates.
func (t *Twins) makeKnown() {
	for _, authorities := range t.authorities {
		t.all(authorities)
	}
}

// roots are the known CAs that sign themselves.
func (t *Twins) roots() pki.Anchors {
	var roots []pki.Certificate
	for _, authorities := range t.authorities {
		for _, authority := range authorities {
			if authority.SelfSigned() {
				roots = append(roots, authority)
			}
		}
	}
	return pki.NewAnchors(roots...)
}

// parsed are the certificates of a PEM text; none if it cannot be read, which validation
// has refused.
func parsed(text string) []pki.Certificate {
	certificates, err := pki.ParsePEM([]byte(text))
	if err != nil {
		return nil
	}
	return certificates
}

// of is the twin of a certificate, made when it is asked for first.
func (t *Twins) of(original pki.Certificate) pki.Certificate {
	if original.IsZero() {
		return original
	}
	if twin, made := t.twins[original.Fingerprint()]; made {
		return twin
	}
	twin := t.make(original)
	t.twins[original.Fingerprint()], t.originals[twin.Fingerprint()] = twin, original
	t.short[twin.Fingerprint().Short()] = original.Fingerprint()
	return twin
}

// make signs a twin. What cannot be signed anew stands for itself.
func (t *Twins) make(original pki.Certificate) pki.Certificate {
	was := original.X509()
	template := &x509.Certificate{
		SerialNumber: was.SerialNumber, RawSubject: was.RawSubject, NotBefore: was.NotBefore, NotAfter: was.NotAfter,
		ExtraExtensions: was.Extensions,
	}
	if template.SerialNumber.Sign() <= 0 {
		template.SerialNumber = big.NewInt(1)
	}
	if was.Version < 3 && original.SelfSigned() {
		template.ExtraExtensions = []pkix.Extension{anyCA} // in the first version every certificate may sign
	}
	issuer := &x509.Certificate{RawSubject: was.RawIssuer}
	der, err := x509.CreateCertificate(nil, template, issuer, t.keyOf(original).Public(), t.signerOf(original))
	if err != nil {
		return original
	}
	twin, err := pki.Parse(der)
	if err != nil {
		return original
	}
	return twin
}

// anyCA is the extension basicConstraints of a CA (RFC 5280, section 4.2.1.9).
var anyCA = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}

// keyOf is the key of a certificate's twin.
func (t *Twins) keyOf(original pki.Certificate) ed25519.PrivateKey {
	return t.key(original.SPKI())
}

func (t *Twins) key(of pki.Fingerprint) ed25519.PrivateKey {
	if t.keys[of] == nil {
		seed := sha256.Sum256(append([]byte("twin "), of[:]...))
		t.keys[of] = ed25519.NewKeyFromSeed(seed[:])
	}
	return t.keys[of]
}

// signerOf is the key that signs a certificate's twin.
func (t *Twins) signerOf(original pki.Certificate) ed25519.PrivateKey {
	if original.SelfSigned() {
		return t.keyOf(original)
	}
	if signer, known := t.signer(original); known {
		return t.keyOf(signer)
	}
	was := original.X509()
	return t.key(sha256.Sum256(bytes.Join([][]byte{[]byte("stranger"), was.RawIssuer, was.AuthorityKeyId}, nil)))
}

// signer is the known CA that signed a certificate.
func (t *Twins) signer(original pki.Certificate) (pki.Certificate, bool) {
	candidates := t.authorities[string(original.X509().RawIssuer)]
	found := slices.IndexFunc(candidates, original.SignedBy)
	if found < 0 {
		return pki.Certificate{}, false
	}
	return candidates[found], true
}

// chain are the known CAs above a certificate, without the root that they end in, and that
// root; zero if it is not known.
func (t *Twins) chain(original pki.Certificate) (above []pki.Certificate, root pki.Certificate) {
	for at := original; ; at = above[len(above)-1] {
		signer, known := t.signer(at)
		switch {
		case !known || len(above) > maxChain:
			return above, pki.Certificate{}
		case signer.SelfSigned():
			return above, signer
		}
		above = append(above, signer)
	}
}

// maxChain is how many intermediates are looked for above a certificate.
const maxChain = 16

func (t *Twins) all(originals []pki.Certificate) []pki.Certificate {
	var twins []pki.Certificate
	for _, original := range originals {
		twins = append(twins, t.of(original))
	}
	return twins
}

func (t *Twins) anchors(originals pki.Anchors) pki.Anchors {
	if len(originals) == 0 {
		return nil
	}
	return pki.NewAnchors(t.all(originals)...)
}

func (t *Twins) canary(canary planner.Canary) planner.Canary {
	canary.Certificate, canary.CA = t.of(canary.Certificate), t.of(canary.CA)
	return canary
}

// Desired is what Git declares, with the twins of all certificates that it gives.
func (t *Twins) Desired(desired planner.Desired) planner.Desired {
	t.knowDesired(desired)
	desired.Authorities = slices.Clone(desired.Authorities)
	for i := range desired.Authorities {
		keys := slices.Clone(desired.Authorities[i].Spec.Keys)
		for k := range keys {
			keys[k].Certificate = t.text(keys[k].Certificate)
		}
		desired.Authorities[i].Spec.Keys = keys
	}
	desired.Bundles = slices.Clone(desired.Bundles)
	for i := range desired.Bundles {
		texts := slices.Clone(desired.Bundles[i].Spec.Certificates)
		for k := range texts {
			texts[k] = t.text(texts[k])
		}
		desired.Bundles[i].Spec.Certificates = texts
	}
	return desired
}

// text is a PEM text with the twins of its certificates.
func (t *Twins) text(original string) string {
	var text []byte
	for _, certificate := range parsed(original) {
		text = append(text, t.of(certificate).PEM()...)
	}
	return string(text)
}

// Target is a plan's target in the world with the originals in the place of their twins.
// What the world has issued itself stays.
func (t *Twins) Target(target planner.Target) planner.Target {
	target.Bundles = slices.Clone(target.Bundles)
	for i, bundle := range target.Bundles {
		target.Bundles[i].Anchors, target.Bundles[i].Certificates = t.back(bundle.Anchors), t.back(bundle.Certificates)
	}
	return target
}

func (t *Twins) back(twins pki.Anchors) pki.Anchors {
	if len(twins) == 0 {
		return nil
	}
	var certificates []pki.Certificate
	for _, twin := range twins {
		if original, known := t.Original(twin); known {
			twin = original
		}
		certificates = append(certificates, twin)
	}
	return pki.NewAnchors(certificates...)
}

// mentioned are fingerprints in a text, with the words around that go with them.
var mentioned = regexp.MustCompile(` \([0-9a-f]{12}\)| with fingerprint [0-9a-f]{64}|\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b`)

var digits = regexp.MustCompile(`[0-9a-f]{12,}`)

// Text is a text of the world as it reads of the originals: their fingerprints stand for
// those of their twins, and those of certificates that are not issued yet are left out.
func (t *Twins) Text(text string) string {
	return mentioned.ReplaceAllStringFunc(text, func(found string) string {
		fingerprint := digits.FindString(found)
		original, known := t.short[fingerprint[:12]]
		switch {
		case !known && fingerprint == found:
			return found // a digest of something else
		case !known:
			return ""
		case len(fingerprint) == 12:
			return digits.ReplaceAllString(found, original.Short())
		}
		return digits.ReplaceAllString(found, original.String())
	})
}

// gate is the name of a gate in which the short fingerprints of originals stand, as it is
// called in the world.
func (t *Twins) gate(name string) string {
	return digits.ReplaceAllStringFunc(name, func(short string) string {
		for fingerprint, twin := range t.twins {
			if fingerprint.Short() == short {
				return twin.Fingerprint().Short()
			}
		}
		return short
	})
}

// fingerprint of a certificate's twin; its own if it has none.
func (t *Twins) fingerprint(original pki.Fingerprint) pki.Fingerprint {
	if twin, known := t.twins[original]; known {
		return twin.Fingerprint()
	}
	return original
}

// record is the record with twins.
func (t *Twins) record(record planner.Record) planner.Record {
	record.Keys = slices.Clone(record.Keys)
	for i := range record.Keys {
		record.Keys[i].Certificate = t.of(record.Keys[i].Certificate)
	}
	record.Links = slices.Clone(record.Links)
	for i := range record.Links {
		record.Links[i].Certificate = t.of(record.Links[i].Certificate)
	}
	return record
}

// givenKey is a key that Git gives, with the certificate that it gives.
type givenKey struct {
	authority planner.Ref
	key       v1alpha1.AuthorityKey
	original  pki.Certificate
}

// givenIn are the keys from elsewhere of which Git gives a certificate that can be read.
func givenIn(all ...planner.Desired) []givenKey {
	var given []givenKey
	for _, desired := range all {
		for _, authority := range desired.Authorities {
			for _, key := range authority.Spec.Keys {
				if certificates := parsed(key.Certificate); len(certificates) == 1 {
					given = append(given, givenKey{planner.AuthorityRef(authority), key, certificates[0]})
				}
			}
		}
	}
	return given
}
