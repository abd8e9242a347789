package planner

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// A key from elsewhere is one whose certificate Git gives. What shows that it is what Git
// says depends on where it stays:
//
//	its key is …                           seen before it signs           seen afterwards
//	in a Secret that somebody else makes   a canary through its own       canaries through the
//	                                       internal issuer                bindings' issuers
//	behind an external issuer              that issuer is Ready           the first leaf; the others
//	                                                                      wait for it
//	nowhere here: an offline root          its certificate                the intermediates that
//	                                                                      arrive under it

// given is what Git says of a key from elsewhere.
type given struct {
	certificate pki.Certificate
	// secret that holds the key; empty if none does.
	secret string
	// issuer is the spec of the external issuer, as JSON; empty if there is none.
	issuer string
}

// givenOf is what Git says of a key from elsewhere; nil if it is made here. A certificate
// that cannot be read is none: validation has refused it.
func givenOf(declared v1alpha1.AuthorityKey) *given {
	if !declared.Given() {
		return nil
	}
	g := &given{}
	if certificates, err := pki.ParsePEM([]byte(declared.Certificate)); err == nil && len(certificates) == 1 {
		g.certificate = certificates[0]
	}
	if declared.Secret != nil {
		g.secret = declared.Secret.Name
	}
	if declared.Issuer != nil {
		g.issuer = string(declared.Issuer.Raw)
	}
	return g
}

// passOverMakers takes the Certificates that make the Secrets of keys from elsewhere out of
// the leaves: each is the key itself, and to have it issued anew would change the key behind
// everyone's back.
func (t *turn) passOverMakers() {
	made := map[Ref]bool{}
	for _, authority := range t.desired.Authorities {
		for _, declared := range authority.Spec.Keys {
			if declared.Secret != nil {
				made[Ref{Namespace: authority.Metadata.Namespace, Name: declared.Secret.Name}] = true
			}
		}
	}
	t.observed.Leaves = slices.DeleteFunc(slices.Clone(t.observed.Leaves), func(leaf Leaf) bool {
		return made[Ref{Namespace: leaf.Ref.Namespace, Name: leaf.SecretName}]
	})
}

// fromElsewhere reports whether the key is not made here: Git gives it, or its internal
// issuer tells of a Secret that is none of ours, since it has left Git.
func (k *key) fromElsewhere() bool {
	return k.given != nil || !k.seen.HasCertificate && k.seen.SecretName != ""
}

// hasForeignSecret reports whether the key is in a Secret that somebody else makes.
func (k *key) hasForeignSecret() bool { return k.fromElsewhere() && k.foreignSecret() != "" }

// foreignSecret is the Secret of a key from elsewhere: the one that its internal issuer
// names already, or else the one that Git names.
func (k *key) foreignSecret() string {
	if k.seen.SecretName != "" || k.given == nil {
		return k.seen.SecretName
	}
	return k.given.secret
}

// otherOrigin refuses to go on with a key that Git says to come from somewhere else than it
// did: from another Secret, or from a Secret and not from behind an issuer.
func (c *course) otherOrigin(k *key) *Hold {
	if k.given == nil {
		return nil
	}
	for _, issuer := range c.issuers {
		if issuer.Exists && issuer.SecretName == "" && issuer.SignsWith == c.signsWith(k) && !k.staysOutside() {
			return &Hold{Gate: "certificate", Subject: issuerName(issuer), Why: fmt.Sprintf(
				"%s was behind an external issuer, and Git says that it is in a Secret: put its issuer back, or name a new key", k.name)}
		}
	}
	if k.seen.SecretName == "" || k.given.secret == k.seen.SecretName {
		return nil
	}
	return &Hold{Gate: "certificate", Subject: "Issuer " + c.keyObject(k).String(), Why: fmt.Sprintf(
		"%s was in the Secret %s, and Git says %s: put the name back, or name a new key", k.name, k.seen.SecretName, orNone(k.given.secret))}
}

// staysOutside reports whether the key stays behind an external issuer.
func (k *key) staysOutside() bool { return k.given != nil && k.given.issuer != "" }

// secretName is the Secret that holds the key; empty if none does.
func (c *course) secretName(k *key) string {
	if k.fromElsewhere() {
		return k.foreignSecret()
	}
	return c.keyObject(k).Name
}

// joinGiven takes what Git gives, and what the record knows of a key that has left Git, for
// the key's certificate.
func (c *course) joinGiven(k *key) {
	switch {
	case k.given != nil && k.seen.HasCertificate:
		k.given, k.madeHere = nil, true
	case k.given != nil:
		k.seen.Authority, k.seen.Name, k.seen.Certificate = c.ref, k.name, k.given.certificate
	case (k.fromElsewhere() || k.wasBehind) && !k.known() && !k.seen.HasCertificate:
		k.seen.Certificate = k.recorded
	}
}

// wasMadeHere refuses to take a key from elsewhere for one that was made here.
func (c *course) wasMadeHere(k *key) *Hold {
	if !k.madeHere {
		return nil
	}
	return &Hold{Gate: "certificate", Subject: "Certificate " + c.keyObject(k).String(), Why: fmt.Sprintf(
		"%s was made here, and Git says now that it comes from elsewhere: give that key a name of its own", k.name)}
}

// leftGit refuses to make a key here under the name of one that came from elsewhere.
func (c *course) leftGit(k *key) *Hold {
	if k.given != nil || !k.fromElsewhere() || k.going() {
		return nil
	}
	return &Hold{Gate: "certificate", Subject: "Issuer " + c.keyObject(k).String(), Why: fmt.Sprintf(
		"%s came from elsewhere, in the Secret %s: give its certificate and its Secret in Git again, or name a new key", k.name, k.seen.SecretName)}
}

// givenPair is the pair of an intermediate's key from elsewhere: the one under the key of
// the parent that signed it, or under the one that shall sign if none did.
func (c *course) givenPair(name string, certificate pki.Certificate) (pair string, is bool) {
	if c.parent == nil {
		return "", false
	}
	for _, above := range c.parent.keys {
		if above.known() && !certificate.IsZero() && certificate.SignedBy(above.seen.Certificate) {
			return v1alpha1.KeyUnder(name, above.name), true
		}
	}
	if c.parent.to == nil {
		return "", false
	}
	return v1alpha1.KeyUnder(name, c.parent.to.name), true
}

// underSigning holds an intermediate's key from elsewhere that is to sign for the first
// time under a key of its parent that shall not.
func (c *course) underSigning(k *key) *Hold {
	parent := c.parentPair(k.name)
	if k.given == nil || parent == nil || parent == c.parent.to || c.inUse(k) {
		return nil
	}
	return &Hold{Gate: "parent", Subject: "Authority " + c.spec.IssuedBy.Name, Why: fmt.Sprintf(
		"its key %s signed this certificate, and Git says that %s signs: let %s be Signing, or bring a certificate that %s has signed",
		parent.name, c.parent.toName(), parent.name, c.parent.toName())}
}

// unproved says that nothing has shown that the Secret of a key from elsewhere holds what
// Git says; nil if something has, or if there is no Secret.
func (c *course) unproved(k *key) *Hold {
	if !k.hasForeignSecret() || c.inUse(k) {
		return nil
	}
	hold := &Hold{Gate: "proof", Subject: "Secret " + Ref{Namespace: c.ref.Namespace, Name: k.foreignSecret()}.String()}
	canary, answered := c.answer(k)
	switch {
	case answered && canary.Certificate.SignedBy(k.seen.Certificate):
		return nil
	case answered:
		hold.Why = fmt.Sprintf("it does not hold the key of %s with fingerprint %s, as Git says: canary %s came back signed by %s; put the Secret or the certificate in Git right",
			k.seen.Certificate.CommonName(), k.seen.Certificate.Fingerprint(), canary.Name, c.signerName(canary))
	case k.seen.SecretGone:
		hold.Why = "it is not there yet: whoever makes it has not"
	default:
		hold.Why = "no canary has shown yet that it holds the key of " + k.seen.Certificate.String() + because(cmp.Or(k.seen.Canary.Problem, k.seen.Problem))
	}
	return hold
}

// answer is the newest canary that came back through an issuer that names the key's Secret
// as it names it now.
func (c *course) answer(k *key) (newest Canary, answered bool) {
	for _, issuer := range append(c.namers(k), c.internalIssuer(k)) {
		for _, canary := range []Canary{issuer.Canary, issuer.Proof} {
			if canary.State == CanarySigned && canary.Generation == issuer.Generation && !canary.Certificate.IsZero() && canary.At.After(newest.At) {
				newest, answered = canary, true
			}
		}
	}
	return newest, answered
}

// signsWith is the annotation of an issuer that is given the key's spec.
func (c *course) signsWith(k *key) string {
	return TargetIssuer{Authority: c.ref, Key: k.name}.SignsWith()
}

// keyBehind is the key whose spec an external issuer was given: the one that its annotation
// names, or of an issuer that we did not make the one whose spec it holds, the longest.
func (c *course) keyBehind(issuer Issuer) *key {
	var behind *key
	for _, k := range c.keys {
		if issuer.SignsWith == c.signsWith(k) {
			return k
		}
		holds := issuer.SignsWith == "" && k.staysOutside() && SpecHolds(issuer.Spec, k.given.issuer)
		if holds && (behind == nil || len(k.given.issuer) > len(behind.given.issuer)) {
			behind = k
		}
	}
	return behind
}

// keysBehind names the keys of the authority whose specs issuers of ours were given: one
// that has left Git may be known by nothing else.
func (c *course) keysBehind() []string {
	var names []string
	for _, issuer := range c.turn.observed.Issuers {
		if name, is := strings.CutPrefix(issuer.SignsWith, c.ref.String()+"/"); is && issuer.Ours && issuer.SecretName == "" {
			names = append(names, name)
		}
	}
	return names
}

// outsideHold says why an issuer of an external spec cannot be relied on yet. Nothing can
// be proved by a canary there: an external issuer signs what it is told to, and no more.
func (c *course) outsideHold(k *key, issuer Issuer) *Hold {
	hold := &Hold{Gate: "issuer", Subject: issuerName(issuer)}
	switch {
	case c.outsideMoves(k, issuer):
		hold.Why = "its spec becomes that of " + k.name + c.soon(issuer)
	case !issuer.Ready:
		hold.Why = "it is not ready with the spec of " + k.name + because(issuer.Problem)
	default:
		return nil
	}
	return hold
}

// outsideMoves reports whether the issuer has another spec than Git gives the key.
func (c *course) outsideMoves(k *key, issuer Issuer) bool {
	return !SpecHolds(issuer.Spec, k.given.issuer)
}

// SpecHolds reports whether a spec, as JSON, has every field that another one has, with its
// value: what a server adds by itself is no difference.
func SpecHolds(spec, wanted string) bool {
	var has, wants any
	if json.Unmarshal([]byte(spec), &has) != nil || json.Unmarshal([]byte(wanted), &wants) != nil {
		return false
	}
	return holdsValue(has, wants)
}

func holdsValue(has, wants any) bool {
	wanted, isObject := wants.(map[string]any)
	if !isObject {
		return holdsList(has, wants)
	}
	object, is := has.(map[string]any)
	for field, value := range wanted {
		is = is && holdsValue(object[field], value)
	}
	return is
}

func holdsList(has, wants any) bool {
	wanted, isList := wants.([]any)
	if !isList {
		return reflect.DeepEqual(has, wants)
	}
	list, is := has.([]any)
	return is && slices.EqualFunc(list, wanted, holdsValue)
}

// targetIssuer is an issuer that signs with the key. One whose spec Git no longer says
// keeps what it has.
func (c *course) targetIssuer(issuer Issuer, k *key) TargetIssuer {
	target := TargetIssuer{Ref: issuer.Ref, Authority: c.ref, Key: k.name}
	switch {
	case c.otherOrigin(k) != nil && c.keyOf(issuer) == k && issuer.SecretName != "":
		target.Secret = issuer.SecretName
	case c.otherOrigin(k) != nil && c.keyOf(issuer) == k:
		target.Spec = issuer.Spec
	case k.staysOutside() && issuer.Exists && issuer.SecretName == "" && c.keyBehind(issuer) == k && c.keepsSpec(k, issuer):
		target.Spec = issuer.Spec
	case k.staysOutside():
		target.Spec = k.given.issuer
	case k.hasForeignSecret():
		target.Secret = k.foreignSecret()
	case issuer.Exists && issuer.SecretName == "" && c.keyBehind(issuer) == k:
		target.Spec = issuer.Spec
	}
	return target
}

// keepsSpec reports whether an issuer keeps its spec for now, though Git says another: a
// pause and a closed window stop this too.
func (c *course) keepsSpec(k *key, issuer Issuer) bool {
	return c.spec.Rollover.Paused || c.outsideMoves(k, issuer) && c.mayMove(issuer) != nil
}

// toArrive names the authorities below whose keys from elsewhere cannot follow by
// themselves: new ones must arrive.
func (c *course) toArrive(k *key) []Hold {
	var holds []Hold
	for _, child := range c.children {
		if child.to != nil && child.to.given != nil && child.parentPair(child.to.name) == k {
			holds = append(holds, Hold{Gate: "intermediate", Subject: "Authority " + child.ref.String(), Why: fmt.Sprintf(
				"%s signed its key %s, which comes from elsewhere: a key that %s has signed must arrive, its Secret in the cluster and its certificate in Git",
				k.name, child.to.name, c.toName())})
		}
	}
	return holds
}
