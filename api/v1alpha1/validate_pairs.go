package v1alpha1

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/pki"
)

const (
	// maxPairName is a label's: the name of a key pair is the value of one.
	maxPairName = validation.LabelValueMaxLength
	// maxPairs is how many key pairs the intermediates of a domain may have. Each level
	// multiplies them, so that a short file could ask for more than fit into memory.
	maxPairs = 10_000
)

// linkKey is a key of an authority.
type linkKey struct {
	AuthorityKey
	// field where it stands.
	field string
	// certificate of a key from elsewhere; none if it is made here or cannot be read.
	certificate pki.Certificate
	// signer is the key of the parent that signed the certificate; empty if none is known
	// to have.
	signer string
	// above are the parent's pairs that can sign it; one without a name in a root.
	above []string
	// pairs that can come to be of it, by name: itself in a root; in an intermediate one
	// under each pair of the parent that can sign it.
	pairs []string
}

// makePairs names the key pairs that can come to be, but for those whose names are
// too long, which keyPairs refuses.
func (v *validator) makePairs(l *link) {
	l.keys = l.wellNamed(v.certificates[l.authority])
	v.placePairs(l)
	if l.crowded {
		return
	}
	for i := range l.keys {
		key := &l.keys[i]
		for _, parent := range key.above {
			if pair := pairName(key.Name, parent); len(pair) <= maxPairName {
				key.pairs = append(key.pairs, pair)
			}
		}
		if key.State == KeySigning {
			l.signing = l.underSigning(*key)
		}
	}
}

// wellNamed are the authority's keys whose names can be used.
func (l *link) wellNamed(certificates []pki.Certificate) []linkKey {
	var keys []linkKey
	seen := map[string]bool{}
	for i, key := range l.authority.Spec.Keys {
		if !seen[key.Name] && isKeyName(key.Name) {
			keys = append(keys, linkKey{AuthorityKey: key, field: fmt.Sprintf("spec.keys[%d]", i), certificate: certificates[i]})
		}
		seen[key.Name] = true
	}
	return keys
}

// placePairs puts the keys under those of the parent that can sign them: a key that is
// made here under all whose own keys are here, a key from elsewhere under the one that
// signed it, or under any whose certificate is not known.
func (v *validator) placePairs(l *link) {
	if l.parent == nil {
		for i := range l.keys {
			l.keys[i].above = []string{""}
		}
		return
	}
	signing := l.parent.pairsOf(func(key linkKey) bool { return key.signsKeys() })
	unknown := l.parent.pairsOf(func(key linkKey) bool { return key.certificate.IsZero() })
	signers := l.parent.signers()
	added := 0
	for i := range l.keys {
		key := &l.keys[i]
		signer := signers.of(key.certificate)
		switch {
		case !key.Given():
			key.above = signing
		case signer != nil:
			key.signer, key.above = signer.Name, signer.pairs
		default:
			key.above = unknown
		}
		added += len(key.above)
	}
	if l.crowded = v.pairs+added > maxPairs; !l.crowded {
		v.pairs += added
	}
}

// signers are the keys of an authority whose certificates are known, by their subjects.
type signers map[string][]*linkKey

func (l *link) signers() signers {
	found := signers{}
	for i, key := range l.keys {
		if !key.certificate.IsZero() {
			subject := string(key.certificate.X509().RawSubject)
			found[subject] = append(found[subject], &l.keys[i])
		}
	}
	return found
}

// of is the key that signed a certificate; nil if none did.
func (s signers) of(certificate pki.Certificate) *linkKey {
	if certificate.IsZero() {
		return nil
	}
	for _, key := range s[string(certificate.X509().RawIssuer)] {
		if certificate.SignedBy(key.certificate) {
			return key
		}
	}
	return nil
}

// pairsOf are the pairs of some of the authority's keys.
func (l *link) pairsOf(some func(linkKey) bool) []string {
	var names []string
	for _, key := range l.keys {
		if some(key) {
			names = append(names, key.pairs...)
		}
	}
	return names
}

// underSigning names the key's pair that signs when Git's end is reached: the one under
// the parent's pair that signs, or the only one that there can be. Empty where there is
// none.
func (l *link) underSigning(key linkKey) string {
	if l.parent == nil {
		return key.Name
	}
	if key.Given() && len(key.pairs) == 1 {
		return key.pairs[0]
	}
	pair := pairName(key.Name, l.parent.signing)
	if l.parent.signing == "" || len(pair) > maxPairName {
		return ""
	}
	return pair
}

func pairName(key, parent string) string {
	if parent == "" {
		return key
	}
	return KeyUnder(key, parent)
}

// keyPairs checks the names, subjects and objects of the key pairs that can come to be.
func (v *validator) keyPairs(l *link) {
	if l.crowded {
		above := l.parent.pairsOf(func(linkKey) bool { return true })
		v.refuse(l.document, "spec.keys", "%d keys here, each with a pair for each of the %d key pairs of Authority %s, make more than the %d that the intermediates may have in all: "+
			"take keys that are gone out of the lists", len(l.authority.Spec.Keys), len(above), l.parent.authority.Metadata.Name, maxPairs)
		return
	}
	secrets := map[string]string{}
	for _, key := range l.keys {
		v.signed(l, key)
		v.pairName(l, key)
		v.retired(l, key)
		if key.Given() {
			v.claimGiven(l, key, secrets)
			continue
		}
		for _, pair := range key.pairs {
			if !v.claimPair(l, key, pair) {
				break // the others say the same
			}
		}
	}
}

// pairName checks the longest name of a key's pairs.
func (v *validator) pairName(l *link, key linkKey) {
	longest := key.Name
	for _, above := range key.above {
		if pair := pairName(key.Name, above); len(pair) > len(longest) {
			longest = pair
		}
	}
	subject := commonName(l.authority, longest)
	switch {
	case len(longest) > maxPairName:
		v.refuse(l.document, key.field+".name", "the name of its key pair %s has %d bytes, more than the %d of a label: shorten the names of the keys, here or above",
			quote(longest), len(longest), maxPairName)
	case len(subject) > maxAttribute && !key.Given():
		v.refuse(l.document, key.field+".name", "the certificate's common name %s has %d bytes, more than the %d that X.509 allows: shorten spec.subject.commonName",
			quote(subject), len(subject), maxAttribute)
	}
}

// commonName of the certificate of a key pair that is made here.
func commonName(authority *Authority, pair string) string {
	return authority.Spec.Subject.CommonName + " " + pair
}

// retired refuses a key that is to live and whose name is used up.
func (v *validator) retired(l *link, key linkKey) {
	if key.State != KeySigning && key.State != KeyTrusted {
		return
	}
	name, pair := l.authority.Metadata.Name, l.underSigning(key)
	if pair != "" && slices.Contains(v.site.Retired[name], pair) {
		v.refuse(l.document, key.field+".name", "%s was retired (anchors/%s/retired/%s.pem): a key's name is used once: choose another", pair, name, pair)
	}
}

// claimPair takes the objects and the subject of a key pair that is made here.
func (v *validator) claimPair(l *link, key linkKey, pair string) bool {
	field := key.field + ".name"
	free := v.claimIssuers(l, field, pair)
	if free {
		free = v.claimSecret(l, field, l.authority.Metadata.Name+"-"+pair, "the Secret that is made for key "+pair+" of Authority "+l.authority.Metadata.Name)
	}
	return v.claimSubject(l, field, pair) && free
}

// claimGiven takes the objects and the subject of a key from elsewhere. Only one in a
// Secret has an internal issuer. The Secrets are those of the authority's other keys from
// elsewhere.
func (v *validator) claimGiven(l *link, key linkKey, secrets map[string]string) {
	v.claimGivenSubject(l, key)
	if key.Secret == nil {
		return
	}
	field, name := key.field+".secret.name", key.Secret.Name
	if other, taken := secrets[name]; taken {
		v.refuse(l.document, field, "Secret %s is that of key %s already, and a Secret that is overwritten switches at once: "+
			"give the new key a Secret of its own", quote(name), other)
		return
	}
	secrets[name] = key.Name
	if pairs := key.pairs; slices.ContainsFunc(pairs, func(pair string) bool { return name == l.authority.Metadata.Name+"-"+pair }) {
		v.refuse(l.document, field, "%s is what the Secret of key %s would be called if it were made here, and such a one is deleted when its key is retired: "+
			"give the Secret another name, or the key", quote(name), key.Name)
	}
	v.claimSecret(l, field, name, "the Secret of key "+key.Name+" of Authority "+l.authority.Metadata.Name)
	for _, pair := range key.pairs {
		if !v.claimIssuers(l, key.field+".name", pair) {
			break // the others say the same
		}
	}
}

// claimIssuers takes the internal issuers of a key pair.
func (v *validator) claimIssuers(l *link, field, pair string) bool {
	role := fmt.Sprintf("the internal issuer of key %s of Authority %s", pair, l.authority.Metadata.Name)
	free := v.claim(l.document, field, issuerName(l.authority, pair), role)
	if l.abroad {
		free = v.claim(l.document, field, "ClusterIssuer "+l.authority.Metadata.Name+"-"+pair, role) && free
	}
	return free
}

// claimSecret takes the Secret of a key.
func (v *validator) claimSecret(l *link, field, name, role string) bool {
	v.secrets[name] = claim{l.document, role}
	return v.claim(l.document, field, "Secret "+l.authority.Metadata.Namespace+"/"+name, role)
}

// claimSubject takes a subject for a key that is made here: verifiers look for a signer by
// its subject, and where two share one it depends on the order whether they find the right
// one.
func (v *validator) claimSubject(l *link, field, pair string) bool {
	subject := canonical(l.authority.Spec.Subject, commonName(l.authority, pair))
	role := fmt.Sprintf("key %s of Authority %s", pair, l.authority.Metadata.Name)
	earlier, taken := v.subjects[subject]
	if !taken {
		earlier, taken = v.givenSubjects[subject]
	}
	if !taken {
		v.subjects[subject] = claim{l.document, role}
		return true
	}
	v.refuse(l.document, field, "%s would share its subject %s with %s (%s:%d), and verifiers find a signer by its subject: change spec.subject in one of them",
		role, quote(commonName(l.authority, pair)), earlier.role, earlier.document.File, max(earlier.document.Line, 1))
	return false
}

// claimGivenSubject takes the subject of a key from elsewhere, which cannot be changed: two
// of them may share it, as roots that were renewed under one name do, if verifiers can tell
// them apart by their key identifiers.
func (v *validator) claimGivenSubject(l *link, key linkKey) {
	if key.certificate.IsZero() {
		return
	}
	subject := canonicalName(key.certificate.X509().Subject)
	identity := subject + string(key.certificate.SubjectKeyID())
	own := claim{l.document, fmt.Sprintf("key %s of Authority %s", key.Name, l.authority.Metadata.Name)}
	if earlier, taken := v.subjects[subject]; taken {
		v.refuse(l.document, key.field+".certificate", "shares its subject %s with %s (%s:%d), and verifiers find a signer by its subject: change spec.subject there",
			quote(key.certificate.Subject()), earlier.role, earlier.document.File, max(earlier.document.Line, 1))
	}
	if earlier, taken := v.identities[identity]; taken {
		v.refuse(l.document, key.field+".certificate", "shares its subject %s and its subject key identifier with %s (%s:%d), so that verifiers cannot tell them apart: "+
			"bring a certificate of another key", quote(key.certificate.Subject()), earlier.role, earlier.document.File, max(earlier.document.Line, 1))
		return
	}
	v.identities[identity], v.givenSubjects[subject] = own, own
}

// canonical is a subject as verifiers compare it: case and blanks do not count (RFC
// 5280, section 7.1), nor does the order of an attribute's values, which DER sorts.
func canonical(subject Subject, commonName string) string {
	return canonicalAttributes([]string{commonName}, subject.Organizations, subject.OrganizationalUnits, subject.Countries, nil)
}

// canonicalName is the subject of a certificate in the form of [canonical].
func canonicalName(name pkix.Name) string {
	var commonNames, others []string
	for _, attribute := range name.Names {
		switch oid := attribute.Type.String(); oid {
		case "2.5.4.3":
			commonNames = append(commonNames, fmt.Sprint(attribute.Value))
		case "2.5.4.10", "2.5.4.11", "2.5.4.6": // organization, organizational unit, country
		default:
			others = append(others, fmt.Sprint(oid, "=", attribute.Value))
		}
	}
	return canonicalAttributes(commonNames, name.Organization, name.OrganizationalUnit, name.Country, others)
}

func canonicalAttributes(attributes ...[]string) string {
	for i, values := range attributes {
		attributes[i] = make([]string, len(values))
		for j, value := range values {
			attributes[i][j] = strings.ToLower(strings.Join(strings.Fields(value), " "))
		}
		slices.Sort(attributes[i])
	}
	return fmt.Sprintf("%q", attributes)
}
