package planner

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// introduce: the key's certificate exists and may be used.
func (c *course) introduce(k *key) step {
	s := step{
		phase:    Introduce,
		key:      k.name,
		progress: fmt.Sprintf("%s is being made", k.name),
		holds:    c.introduceHolds(k),
	}
	if k.seen.Adopted && len(c.past(k)) == 0 {
		s.actions = []Action{{Kind: ActionReissue, Subject: c.keyObject(k), Why: "it took over a Secret that was there before it; issued anew by the same key, it is known what that is"}}
	}
	return s
}

// introduceHolds is the checklist of a certificate before anyone hears of it.
func (c *course) introduceHolds(k *key) []Hold {
	if !k.known() {
		if hold := c.mustNotBeMade(k); hold != nil {
			return []Hold{*hold}
		}
		return []Hold{c.notIssued(k)}
	}
	checks := []func(*key) *Hold{
		c.spentName, c.wasMadeHere, c.leftGit, c.otherOrigin, c.parentFirst, c.underSigning, c.reparented, c.changed, c.rightIssuer, c.hasOwnIdentity, c.pastSkew,
		c.coversLeaves, c.withinParent, c.unproved, c.unrecorded,
	}
	return holdsOf(k, checks)
}

func holdsOf(k *key, checks []func(*key) *Hold) []Hold {
	var holds []Hold
	for _, check := range checks {
		if hold := check(k); hold != nil {
			holds = append(holds, *hold)
		}
	}
	return holds
}

// mustNotBeMade says why no certificate may be asked for under the key's name; nil if
// one may.
func (c *course) mustNotBeMade(k *key) *Hold {
	for _, check := range []func(*key) *Hold{c.spentName, c.leftGit, c.otherOrigin, c.parentFirst, c.underSigning, c.reparented, c.fitsParent, c.signedElsewhere, c.lost, c.tooLate} {
		if hold := check(k); hold != nil {
			return hold
		}
	}
	return nil
}

// spentName refuses a key whose name was retired before.
func (c *course) spentName(k *key) *Hold {
	if !k.spent {
		return nil
	}
	retired := c.recordOf(k, true).Path()
	return &Hold{Gate: "name", Subject: "Certificate " + c.keyObject(k).String(), Why: k.name + " was retired, as " + retired + " says: a key's name is used once; declare a key of another name"}
}

// parentFirst lets an intermediate wait until its parent's issuers sign with the key
// that shall sign its certificate, and everyone trusts that.
func (c *course) parentFirst(k *key) *Hold {
	if !c.isIntermediate() || c.inUse(k) {
		return nil
	}
	hold := &Hold{Gate: "parent", Subject: "Authority " + c.spec.IssuedBy.Name}
	switch parent := c.parent; {
	case parent == nil || parent.to == nil:
		hold.Why = "Git declares no key of it that signs"
	case parent.spec.Rollover.Paused:
		hold.Why = "it is paused: unset its spec.rollover.paused to go on"
	case !parent.reached(Reissue):
		hold.Why = fmt.Sprintf("signs with %s first: it is at %s", parent.to.name, parent.current.phase)
	default:
		return nil
	}
	return hold
}

func (c *course) notIssued(k *key) Hold {
	why := "the Certificate does not exist yet"
	if k.seen.HasCertificate {
		why = "not issued yet"
	}
	if k.seen.Problem != "" {
		why = k.seen.Problem
	}
	return Hold{Gate: "issue", Subject: "Certificate " + c.keyObject(k).String(), Why: why}
}

// reparented holds an authority whose issuedBy was changed while somebody depends on what
// it was: those who verify its leaves need not know its new root.
func (c *course) reparented(*key) *Hold {
	for _, old := range c.keys {
		signer, signed := c.turn.holders[c.turn.signers[old.seen.fingerprint()]]
		now := c.parent
		if !c.isIntermediate() {
			now = c
		}
		if old.known() && signed && signer.course != now && c.dependedOn(old) {
			return &Hold{Gate: "parent", Subject: "Authority " + c.ref.String(), Why: fmt.Sprintf(
				"%s signed %s, on which leaves depend, and Git says that %s issues it now: whoever verifies them need not trust that; put issuedBy back, or declare an Authority and a binding of other names beside it, move the leaves, and take the binding of this one out",
				signer.course.ref.Name, old.name, c.issuedByName())}
		}
	}
	return nil
}

func (c *course) issuedByName() string {
	if !c.isIntermediate() {
		return "nobody"
	}
	return c.spec.IssuedBy.Name
}

// rightIssuer demands that the certificate is a CA's, signed by itself or by the key of
// the parent that it is to stand under.
func (c *course) rightIssuer(k *key) *Hold {
	certificate := k.seen.Certificate
	if !c.isIntermediate() {
		if certificate.IsCA() && certificate.SelfSigned() {
			return nil
		}
		return c.about(k, "certificate", "it is not a self-signed CA certificate: name a new key")
	}
	parent := c.parentPair(k.name)
	if certificate.IsCA() && parent != nil && parent.known() && certificate.SignedBy(parent.seen.Certificate) {
		return nil
	}
	return c.about(k, "certificate", fmt.Sprintf("it is not a CA certificate that %s of %s signed: name a new key", orNone(parentName(k)), c.spec.IssuedBy.Name))
}

// signedElsewhere refuses a certificate from elsewhere that is not the one of a CA that the
// authority says it is.
func (c *course) signedElsewhere(k *key) *Hold {
	if k.given == nil || !k.known() {
		return nil
	}
	return c.rightIssuer(k)
}

func parentName(k *key) string {
	_, parent := v1alpha1.SplitKey(k.name)
	return parent
}

// hasOwnIdentity demands a subject key identifier that no other key has: without
// it, verifiers that hold two anchors guess which one signed (RFC 5280, section
// 4.2.1.2). Where two keys share a subject, leaves must say which of them signed.
func (c *course) hasOwnIdentity(k *key) *Hold {
	ski := k.seen.Certificate.SubjectKeyID()
	if len(ski) == 0 {
		return c.about(k, "identity", "it has no subject key identifier: verifiers could not tell it from its neighbours; name a new key")
	}
	for _, other := range c.keys {
		switch {
		case other == k || !other.known():
		case bytes.Equal(other.seen.Certificate.SubjectKeyID(), ski):
			return c.about(k, "identity", fmt.Sprintf("its subject key identifier is also that of %s: name a new key", other.name))
		case bytes.Equal(other.seen.Certificate.X509().RawSubject, k.seen.Certificate.X509().RawSubject):
			if leaf, found := c.nameless(); found {
				return c.about(k, "identity", fmt.Sprintf("its subject is also that of %s, and the Certificate %s does not say by an authority key identifier which of them signed it: name a new key", other.name, leaf.Ref))
			}
		}
	}
	return nil
}

// nameless finds a live leaf without an authority key identifier (RFC 5280, section
// 4.2.1.1).
func (c *course) nameless() (Leaf, bool) {
	for _, leaf := range c.leaves {
		if c.turn.live(leaf) && len(leaf.Chain[0].X509().AuthorityKeyId) == 0 {
			return leaf, true
		}
	}
	return Leaf{}, false
}

// pastSkew waits until clocks that are behind agree that the certificate is valid. One that
// signs already, since an emergency did not wait, is waited for no more.
func (c *course) pastSkew(k *key) *Hold {
	usable := k.seen.Certificate.NotBefore().Add(c.skew())
	if c.emergency || c.signsAlready(k) || c.dependedOn(k) || !c.turn.now.Before(usable) {
		return nil
	}
	c.turn.lookAt(usable)
	return c.about(k, "skew", fmt.Sprintf("valid from %s; used %s later, at %s",
		instant(k.seen.Certificate.NotBefore()), c.skew(), instant(usable)))
}

// fitsParent lets nothing be asked for that would outlive what signs it.
func (c *course) fitsParent(k *key) *Hold {
	parent := c.parentPair(k.name)
	if parent == nil || !parent.known() || k.seen.HasCertificate || k.fromElsewhere() {
		return nil
	}
	left, life := parent.seen.Certificate.NotAfter().Sub(c.turn.now), c.caSpec(k).Duration
	if life <= left {
		return nil
	}
	return &Hold{Gate: "lifetime", Subject: "Certificate " + c.keyObject(k).String(), Why: fmt.Sprintf("it would live %s, and %s, which would sign it, ends at %s: give %s a new key first, or this one a shorter duration",
		life, parent.seen.Certificate, instant(parent.seen.Certificate.NotAfter()), c.spec.IssuedBy.Name)}
}

// withinParent demands that an intermediate ends before its parent's certificate does.
func (c *course) withinParent(k *key) *Hold {
	parent := c.parentPair(k.name)
	if parent == nil || !parent.known() || !k.seen.Certificate.NotAfter().After(parent.seen.Certificate.NotAfter()) {
		return nil
	}
	return c.about(k, "lifetime", fmt.Sprintf("it ends at %s, after %s, which signed it, does at %s: give %s a new key, or this one a shorter duration under a new name",
		instant(k.seen.Certificate.NotAfter()), parent.seen.Certificate, instant(parent.seen.Certificate.NotAfter()), c.spec.IssuedBy.Name))
}

// coversLeaves demands that a leaf issued now would end before its CA does.
func (c *course) coversLeaves(k *key) *Hold {
	if k != c.to || c.inUse(k) {
		return nil
	}
	left := k.seen.Certificate.NotAfter().Sub(c.way().switches)
	for _, leaf := range c.leaves {
		if life := leaf.life(); life > left {
			return c.about(k, "lifetime", fmt.Sprintf("it ends at %s, before a leaf such as %s (%s) would that it signs %s at the earliest: name a new key or shorten the leaves",
				instant(k.seen.Certificate.NotAfter()), leaf.Ref, life, c.signsWords()))
		}
	}
	return nil
}

// life is how long the leaf lives, from its first second to its last; 0 if nothing was
// issued.
func (l Leaf) life() time.Duration {
	if len(l.Chain) == 0 {
		return 0
	}
	return l.Chain[0].NotAfter().Sub(l.Chain[0].NotBefore())
}

func (c *course) about(k *key, gate, why string) *Hold {
	return &Hold{Gate: gate, Subject: k.seen.Certificate.String(), Why: why}
}

func (c *course) skew() time.Duration {
	if c.spec.Rollover.Skew == nil {
		return 0
	}
	return c.spec.Rollover.Skew.Duration
}

func (c *course) soak() time.Duration {
	if c.spec.Rollover.Soak == nil {
		return 0
	}
	return c.spec.Rollover.Soak.Duration
}

// planKeys says which objects of each key shall be there.
func (c *course) planKeys() {
	for _, k := range c.keys {
		target := TargetKey{Authority: c.ref, Name: k.name, Certificate: k.seen.HasCertificate, Issuer: k.seen.HasIssuer}
		switch {
		case c.current.phase == Retire && c.current.key == k.name && !c.spec.Rollover.Paused:
			c.planRetiredKey(k, &target)
		case k.going():
		case k.fromElsewhere():
			target.Issuer = c.wantsIssuer(k)
		case c.mustNotBeMade(k) != nil:
			target.Issuer = target.Issuer || c.lost(k) != nil // makes no key, and tells when the Secret is back
		case k.present(), c.current.phase == Introduce && c.current.key == k.name && !c.spec.Rollover.Paused:
			target.Certificate, target.Issuer = true, true
		}
		target.Issuer = target.Issuer || c.signsLink(k)
		if !target.Certificate && !target.Issuer {
			continue
		}
		if target.Certificate {
			target.Spec = c.caSpec(k)
		}
		if k.fromElsewhere() {
			target.Secret = k.foreignSecret()
		}
		target.ClusterIssuer = target.Issuer && c.servesElsewhere(k)
		c.turn.plan.Target.Keys = append(c.turn.plan.Target.Keys, target)
	}
}

// wantsIssuer reports whether a key from elsewhere has an internal issuer, by which it is
// proved and intermediates are signed. An intermediate's is made before its parent is ready
// for it: a Secret that is missing or wrong is to be known early. One whose key is in use,
// by issuers that were there before, is made when an authority below makes a key under it.
func (c *course) wantsIssuer(k *key) bool {
	if !k.hasForeignSecret() || k.seen.HasIssuer || c.spec.Rollover.Paused {
		return k.hasForeignSecret() && k.seen.HasIssuer
	}
	unfit := holdsOf(k, []func(*key) *Hold{c.spentName, c.leftGit, c.otherOrigin, c.signedElsewhere})
	introduced := c.current.phase == Introduce && c.current.key == k.name
	return len(unfit) == 0 && (introduced && !(c.inUse(k) && len(c.issuers) > 0) || k == c.to && c.makesKeysBelow())
}

// makesKeysBelow reports whether an authority that this one issues makes keys here.
func (c *course) makesKeysBelow() bool { return slices.ContainsFunc(c.children, (*course).makesKeys) }

// servesElsewhere reports whether the key signs intermediates in other namespaces, or is
// about to: an Issuer serves its own namespace alone.
func (c *course) servesElsewhere(k *key) bool {
	for _, pair := range k.under {
		child := c.turn.courseNamed(pair.Authority)
		if pair.Authority.Namespace != c.ref.Namespace && !child.keyNamed(pair.Name).fromElsewhere() {
			return true
		}
	}
	return k == c.to && c.reached(Reissue) && slices.ContainsFunc(c.children, func(child *course) bool {
		return child.ref.Namespace != c.ref.Namespace && child.makesKeys()
	})
}

// caSpec is what the key's certificate is like. Once something was issued it is
// what it was: a changed duration or subject is for the next key.
func (c *course) caSpec(k *key) CASpec {
	if k.seen.HasCertificate && (k.seen.Issued || k.going()) {
		return k.seen.Spec
	}
	return NewCASpec(c.spec, k.name, c.signedBy(k))
}

// signedBy is the internal issuer that signs the key's certificate: that of its
// parent's key, which a namespace other than the parent's reaches as a ClusterIssuer.
func (c *course) signedBy(k *key) Ref {
	parent := c.parentPair(k.name)
	if parent == nil {
		return Ref{}
	}
	issuer := c.parent.keyObject(parent)
	if issuer.Namespace != c.ref.Namespace {
		issuer.Namespace = ""
	}
	return issuer
}

// instant prints a time for people and for golden files.
func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }
