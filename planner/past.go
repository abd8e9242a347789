package planner

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// What a key was before is known from the record in Git; without a record, from the
// anchors that stand in the authority's bundles under the key's own name, which no
// other key has, and of an intermediate from what leaves present. By it three things are told apart that look alike in the cluster:
//
//	the certificate is …      and the past says …    then
//	known                     another                it changed without a plan: an alarm
//	not known, but there      one that a canary      it is that one: its request was lost
//	                          was signed by
//	not there                 that there was one     the cluster is not the one that it
//	                                                 was: nothing is made under that name

// past are the certificates by which the key was known before.
func (c *course) past(k *key) pki.Anchors {
	if !k.recorded.IsZero() {
		return pki.NewAnchors(k.recorded)
	}
	return c.standingAs(k)
}

// standingAs are the anchors that stand in the authority's bundles under the key's name;
// of an intermediate, what leaves present under it.
func (c *course) standingAs(k *key) pki.Anchors {
	candidates := c.turn.presented
	if !c.isIntermediate() {
		candidates = nil
		for _, declared := range c.bundles {
			if standing, _ := c.turn.standing(declared.Metadata.Name); standing.Via != v1alpha1.ViaObserved {
				candidates = candidates.Union(standing.Anchors.Minus(standing.Certificates))
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(candidates), func(anchor pki.Certificate) bool {
		return !c.bearsName(k, anchor) || c.isAnothers(k, anchor)
	})
}

// bearsName reports whether an anchor's subject is the key's, which no other key has.
func (c *course) bearsName(k *key, anchor pki.Certificate) bool {
	if k.known() {
		return bytes.Equal(k.seen.Certificate.X509().RawSubject, anchor.X509().RawSubject)
	}
	return anchor.CommonName() == c.caSpec(k).CommonName
}

// isAnothers reports whether an anchor is known to be another key's of the authority.
func (c *course) isAnothers(k *key, anchor pki.Certificate) bool {
	return slices.ContainsFunc(c.keys, func(other *key) bool {
		return other != k && (other.known() && other.seen.Certificate.Equal(anchor) || !other.recorded.IsZero() && other.recorded.Equal(anchor))
	})
}

// anchorsOf are all anchors that a root's key is or was: what goes when it is retired. A
// certificate that is also that of a key which stays is not among them: the Secret was
// copied, say, or a file of the record.
func (c *course) anchorsOf(k *key) pki.Anchors {
	if c.isIntermediate() {
		return nil
	}
	anchors := c.past(k).Union(c.standingAs(k))
	if k.known() {
		anchors = anchors.Union(pki.NewAnchors(k.seen.Certificate))
	}
	return slices.DeleteFunc(anchors, func(anchor pki.Certificate) bool { return c.turn.heldByAnother(k, anchor) })
}

// heldByAnother reports whether the certificate is another key's that stays, or that
// somebody depends on.
func (t *turn) heldByAnother(k *key, anchor pki.Certificate) bool {
	return slices.ContainsFunc(t.courses, func(c *course) bool {
		return slices.ContainsFunc(c.keys, func(o *key) bool {
			return o != k && o.known() && o.seen.Certificate.Equal(anchor) && (!o.going() || c.dependedOn(o) && !k.is(anchor))
		})
	})
}

// is reports whether the certificate is the one that was issued for the key.
func (k *key) is(certificate pki.Certificate) bool {
	return k.known() && k.seen.Certificate.Equal(certificate)
}

// changed says how a key came to another certificate than the one that is remembered;
// nil if it did not.
func (c *course) changed(k *key) *Hold {
	if !k.known() {
		return nil
	}
	was := c.past(k).Minus(pki.NewAnchors(k.seen.Certificate))
	if len(was) == 0 {
		return nil
	}
	before, now := was[0], k.seen.Certificate
	hold := &Hold{Gate: "key", Subject: "Certificate " + c.keyObject(k).String(), Alarm: true}
	how := "another key: what it signs is refused by everyone who does not trust that yet"
	switch {
	case renewed(before, now):
		hold.Alarm = false
		how = "the same key: what either signs verifies with both"
	case before.SPKI() == now.SPKI():
		how = "the same key under another name, which to verifiers is another CA"
	case c.isIntermediate() && c.rightIssuer(k) == nil:
		hold.Alarm = false
		how = "another key: what it signs verifies through " + c.spec.IssuedBy.Name + " all the same"
	}
	hold.Why = fmt.Sprintf("it was %s with fingerprint %s, and is now %s with fingerprint %s, made without a plan and of %s; %s",
		before.CommonName(), before.Fingerprint(), now.CommonName(), now.Fingerprint(), how, c.wayOut(k))
	if c.turn.observed.Record.Enabled {
		hold.Why += "; to take the new certificate for this key, put it into " + c.recordOf(k, false).Path() + " in Git"
	}
	return hold
}

// renewed reports whether a certificate is another one of the same key, by which
// verifiers cannot tell the two apart: the same subject and key identifier.
func renewed(before, now pki.Certificate) bool {
	return before.SPKI() == now.SPKI() && bytes.Equal(before.X509().RawSubject, now.X509().RawSubject) &&
		bytes.Equal(before.SubjectKeyID(), now.SubjectKeyID())
}

// wayOut says what a person can do about a key that is not what it was.
func (c *course) wayOut(k *key) string {
	if k.fromElsewhere() {
		return "put back what was there before, in the Secret and in Git alike, or declare a new key and retire this one"
	}
	return fmt.Sprintf("restore the Secret %s, or declare a new key and retire this one", c.keyObject(k))
}

// lost says that a key was there once and that its objects are not any more; nil if it
// never was, or if a canary has shown that its Secret still is what it was.
func (c *course) lost(k *key) *Hold {
	past := c.past(k)
	if k.seen.HasCertificate || k.fromElsewhere() || len(past) == 0 {
		return nil
	}
	if _, proved := c.shown(k); proved {
		return nil
	}
	where := "the cluster still trusts"
	if !k.recorded.IsZero() {
		where = "Git records"
	}
	return &Hold{Gate: "record", Subject: "Certificate " + c.keyObject(k).String(), Why: fmt.Sprintf(
		"%s %s with fingerprint %s, and the cluster has no such key: nothing is issued under its name; %s",
		where, past[0].CommonName(), past[0].Fingerprint(), c.wayOut(k))}
}

// recogniseKeys fills in the certificates of keys of which the request that told it is
// gone, where a canary shows that the key is still the one that is remembered; and that of a
// key from elsewhere which has left Git, where a canary came back with it.
func (c *course) recogniseKeys() {
	for _, k := range c.keys {
		if k.known() {
			continue
		}
		if certificate, is := c.shown(k); is && k.seen.HasCertificate {
			k.seen.Certificate, k.seen.Problem, k.seen.Adopted = certificate, "", false
		} else if k.fromElsewhere() {
			k.seen.Certificate = k.seen.proved()
		}
	}
}

// proved is the CA certificate that came back with the newest canary through the internal
// issuer of a key in a Secret that somebody else makes, and that signed it: Git and the record
// may have forgotten such a key, and its anchor is one of ours all the same.
func (k Key) proved() pki.Certificate {
	newest := k.Canary
	if newest.State != CanarySigned {
		newest = k.Proof
	}
	if k.HasCertificate || k.SecretName == "" || newest.State != CanarySigned || newest.Generation != k.Generation || newest.CA.IsZero() || !newest.Certificate.SignedBy(newest.CA) {
		return pki.Certificate{}
	}
	return newest.CA
}

// shown is the remembered certificate that a canary was signed by, which came back
// through an issuer that names the key's Secret.
func (c *course) shown(k *key) (pki.Certificate, bool) {
	for _, issuer := range append(c.namers(k), c.internalIssuer(k)) {
		for _, canary := range []Canary{issuer.Canary, issuer.Proof} {
			if canary.State != CanarySigned || canary.Generation != issuer.Generation || canary.Certificate.IsZero() {
				continue
			}
			for _, remembered := range c.past(k) {
				if canary.Certificate.SignedBy(remembered) {
					return remembered, true
				}
			}
			return pki.Certificate{}, false // the newest answer counts
		}
	}
	return pki.Certificate{}, false
}

// namers are the issuers of bindings that name the key's Secret.
func (c *course) namers(k *key) []Issuer {
	var naming []Issuer
	for _, issuer := range c.issuers {
		if c.keyOf(issuer) == k {
			naming = append(naming, issuer)
		}
	}
	return naming
}

// alarms tell of keys that changed without a plan, whatever the authority is at.
func (c *course) alarms() []Hold {
	var holds []Hold
	for _, k := range c.keys {
		if hold := c.changed(k); hold != nil {
			holds = append(holds, *hold)
		}
	}
	for _, issuer := range c.proved() {
		if hold := c.strangeProof(issuer); hold != nil {
			holds = append(holds, *hold)
		}
	}
	return holds
}

// astray is how long cert-manager's cache may have an issuer sign with the key that it
// named before.
const astray = time.Minute

// strangeProof says that a canary came back signed by another key than the one whose Secret
// the issuer names: by none of the authority's, or by one of its others for longer than a
// cache explains.
func (c *course) strangeProof(issuer Issuer) *Hold {
	k, canary := c.keyOf(issuer), issuer.Canary
	if k != nil && k.fromElsewhere() && !c.signsAlready(k) && !c.carries(k) {
		return nil // nobody has asked it yet
	}
	if canary.State == CanaryPending {
		canary = issuer.Proof
	}
	if k == nil || !k.known() || canary.State != CanarySigned || canary.Generation != issuer.Generation || canary.Certificate.IsZero() {
		return nil
	}
	for _, own := range c.keys {
		if own.known() && canary.Certificate.SignedBy(own.seen.Certificate) && (own == k || !c.staysAstray(issuer)) {
			return nil
		}
	}
	return &Hold{Gate: "key", Subject: issuerName(issuer), Alarm: true, Why: fmt.Sprintf(
		"canary %s came back signed by %s, though the issuer names the Secret of %s: what it signs is refused by everyone who does not trust that; %s",
		canary.Name, c.signerName(canary), k.name, c.wayOut(k))}
}

// staysAstray reports whether the issuer, as it is, has been seen for long to sign with
// another key of the authority.
func (c *course) staysAstray(issuer Issuer) bool {
	since := c.turn.memory.hold(fmt.Sprintf("astray %s %d", issuerName(issuer), issuer.Generation))
	over := since.Add(astray)
	if !c.turn.now.Before(over) {
		return true
	}
	c.turn.lookAt(over)
	return false
}

// isShown reports whether a canary has shown what the key is, though it is not known yet
// from a Certificate of its own.
func (c *course) isShown(k *key) bool {
	_, shown := c.shown(k)
	return shown && !k.known()
}
