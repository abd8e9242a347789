package v1alpha1

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
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
	// field where its name stands.
	field string
	// pairs that can come to be of it, by name: itself in a root; in an intermediate
	// one under each pair of the parent.
	pairs []string
}

// makePairs names the key pairs that can come to be, but for those whose names are
// too long, which keyPairs refuses.
func (v *validator) makePairs(l *link) {
	above := l.above()
	if l.parent != nil {
		added := len(above) * len(l.authority.Spec.Keys)
		if l.crowded = v.pairs+added > maxPairs; l.crowded {
			return
		}
		v.pairs += added
	}
	seen := map[string]bool{}
	for i, key := range l.authority.Spec.Keys {
		if seen[key.Name] || !isKeyName(key.Name) {
			continue
		}
		seen[key.Name] = true
		named := linkKey{AuthorityKey: key, field: fmt.Sprintf("spec.keys[%d].name", i)}
		for _, parent := range above {
			if pair := pairName(key.Name, parent); len(pair) <= maxPairName {
				named.pairs = append(named.pairs, pair)
			}
		}
		l.keys = append(l.keys, named)
		if key.State == KeySigning {
			l.signing = l.underSigning(key.Name)
		}
	}
}

// above are the key pairs of the parent; for a root one without a name.
func (l *link) above() []string {
	if l.parent == nil {
		return []string{""}
	}
	var names []string
	for _, key := range l.parent.keys {
		names = append(names, key.pairs...)
	}
	return names
}

// underSigning names the key's pair under the parent's pair that signs; empty where
// none does.
func (l *link) underSigning(key string) string {
	if l.parent == nil {
		return key
	}
	pair := pairName(key, l.parent.signing)
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
		v.refuse(l.document, "spec.keys", "%d keys here, each with a pair for each of the %d key pairs of Authority %s, make more than the %d that the intermediates may have in all: "+
			"take keys that are gone out of the lists", len(l.authority.Spec.Keys), len(l.above()), l.parent.authority.Metadata.Name, maxPairs)
		return
	}
	longest := slices.MaxFunc(append(l.above(), ""), func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, key := range l.keys {
		v.pairName(l, key, pairName(key.Name, longest))
		v.retired(l, key)
		for _, pair := range key.pairs {
			if !v.claimPair(l, key.field, pair) {
				break // the others say the same
			}
		}
	}
}

// pairName checks the longest name of a key's pairs.
func (v *validator) pairName(l *link, key linkKey, longest string) {
	subject := commonName(l.authority, longest)
	switch {
	case len(longest) > maxPairName:
		v.refuse(l.document, key.field, "the name of its key pair %s has %d bytes, more than the %d of a label: shorten the names of the keys, here or above",
			quote(longest), len(longest), maxPairName)
	case len(subject) > maxAttribute:
		v.refuse(l.document, key.field, "the certificate's common name %s has %d bytes, more than the %d that X.509 allows: shorten spec.subject.commonName",
			quote(subject), len(subject), maxAttribute)
	}
}

// commonName of a key pair's certificate.
func commonName(authority *Authority, pair string) string {
	return authority.Spec.Subject.CommonName + " " + pair
}

// retired refuses a key that is to live and whose name is used up.
func (v *validator) retired(l *link, key linkKey) {
	if key.State != KeySigning && key.State != KeyTrusted {
		return
	}
	name, pair := l.authority.Metadata.Name, l.underSigning(key.Name)
	if pair != "" && slices.Contains(v.site.Retired[name], pair) {
		v.refuse(l.document, key.field, "%s was retired (anchors/%s/retired/%s.pem): a key's name is used once: choose another", pair, name, pair)
	}
}

// claimPair takes the objects and the subject of a key pair.
func (v *validator) claimPair(l *link, field, pair string) bool {
	role := fmt.Sprintf("the internal issuer of key %s of Authority %s", pair, l.authority.Metadata.Name)
	free := v.claim(l.document, field, issuerName(l.authority, pair), role)
	if l.abroad {
		free = v.claim(l.document, field, "ClusterIssuer "+l.authority.Metadata.Name+"-"+pair, role) && free
	}
	return v.claimSubject(l, field, pair) && free
}

// claimSubject takes a subject: verifiers look for a signer by its subject, and where
// two share one it depends on the order whether they find the right one.
func (v *validator) claimSubject(l *link, field, pair string) bool {
	subject := canonical(l.authority.Spec.Subject, commonName(l.authority, pair))
	role := fmt.Sprintf("key %s of Authority %s", pair, l.authority.Metadata.Name)
	earlier, taken := v.subjects[subject]
	if !taken {
		v.subjects[subject] = claim{l.document, role}
		return true
	}
	v.refuse(l.document, field, "%s would share its subject %s with %s (%s:%d), and verifiers find a signer by its subject: change spec.subject in one of them",
		role, quote(commonName(l.authority, pair)), earlier.role, earlier.document.File, max(earlier.document.Line, 1))
	return false
}

// canonical is a subject as verifiers compare it: case and blanks do not count (RFC
// 5280, section 7.1), nor does the order of an attribute's values, which DER sorts.
func canonical(subject Subject, commonName string) string {
	attributes := [][]string{{commonName}, subject.Organizations, subject.OrganizationalUnits, subject.Countries}
	for i, values := range attributes {
		attributes[i] = make([]string, len(values))
		for j, value := range values {
			attributes[i][j] = strings.ToLower(strings.Join(strings.Fields(value), " "))
		}
		slices.Sort(attributes[i])
	}
	return fmt.Sprintf("%q", attributes)
}
