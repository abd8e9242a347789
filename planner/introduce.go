package planner

import (
	"bytes"
	"fmt"
	"time"
)

// introduce: the key's certificate exists and may be used.
func (c *course) introduce(k *key) step {
	s := step{
		phase:    Introduce,
		key:      k.name,
		progress: fmt.Sprintf("%s is being made", k.name),
		holds:    c.introduceHolds(k),
	}
	if k.seen.Adopted {
		s.actions = []Action{{Kind: ActionReissue, Subject: c.keyObject(k), Why: "it took over a Secret that was there before it; issued anew by the same key, it is known what that is"}}
	}
	return s
}

// introduceHolds is the checklist of a certificate before anyone hears of it.
func (c *course) introduceHolds(k *key) []Hold {
	if !k.known() {
		return []Hold{c.notIssued(k)}
	}
	checks := []func(*key) *Hold{c.isRoot, c.hasOwnIdentity, c.pastSkew, c.coversLeaves}
	var holds []Hold
	for _, check := range checks {
		if hold := check(k); hold != nil {
			holds = append(holds, *hold)
		}
	}
	return holds
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

func (c *course) keyObject(k *key) Ref {
	return Ref{Namespace: c.ref.Namespace, Name: KeyObjectName(c.ref.Name, k.name)}
}

func (c *course) isRoot(k *key) *Hold {
	if k.seen.Certificate.IsCA() && k.seen.Certificate.SelfSigned() {
		return nil
	}
	return c.about(k, "certificate", "it is not a self-signed CA certificate: name a new key")
}

// hasOwnIdentity demands a subject key identifier that no other key has: without
// it, verifiers that hold two anchors guess which one signed (RFC 5280, section
// 4.2.1.2).
func (c *course) hasOwnIdentity(k *key) *Hold {
	ski := k.seen.Certificate.SubjectKeyID()
	if len(ski) == 0 {
		return c.about(k, "identity", "it has no subject key identifier: verifiers could not tell it from its neighbours; name a new key")
	}
	for _, other := range c.keys {
		if other != k && other.known() && bytes.Equal(other.seen.Certificate.SubjectKeyID(), ski) {
			return c.about(k, "identity", fmt.Sprintf("its subject key identifier is also that of %s: name a new key", other.name))
		}
	}
	return nil
}

// pastSkew waits until clocks that are behind agree that the certificate is valid.
func (c *course) pastSkew(k *key) *Hold {
	usable := k.seen.Certificate.NotBefore().Add(c.skew())
	if !c.turn.now.Before(usable) {
		return nil
	}
	c.turn.lookAt(usable)
	return c.about(k, "skew", fmt.Sprintf("valid from %s; used %s later, at %s",
		instant(k.seen.Certificate.NotBefore()), c.skew(), instant(usable)))
}

// coversLeaves demands that a leaf issued now would end before its CA does.
func (c *course) coversLeaves(k *key) *Hold {
	if k != c.to || c.inUse(k) {
		return nil
	}
	left := k.seen.Certificate.NotAfter().Sub(c.turn.now)
	for _, leaf := range c.leaves {
		if len(leaf.Chain) == 0 {
			continue
		}
		life := leaf.Chain[0].NotAfter().Sub(leaf.Chain[0].NotBefore())
		if life > left {
			return c.about(k, "lifetime", fmt.Sprintf("it ends at %s, before a leaf such as %s (%s) would: name a new key or shorten the leaves",
				instant(k.seen.Certificate.NotAfter()), leaf.Ref, life))
		}
	}
	return nil
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
		target := TargetKey{Authority: c.ref, Name: k.name, Certificate: k.seen.HasCertificate, Issuer: k.present()}
		switch {
		case c.current.phase == Introduce && c.current.key == k.name && !c.spec.Rollover.Paused, !k.going() && k.present():
			target.Certificate, target.Issuer = true, true
		case c.current.phase == Retire && c.current.key == k.name && !c.spec.Rollover.Paused:
			c.planRetiredKey(k, &target)
		}
		if !target.Certificate && !target.Issuer {
			continue
		}
		if target.Certificate {
			target.Spec = c.caSpec(k)
		}
		c.turn.plan.Target.Keys = append(c.turn.plan.Target.Keys, target)
	}
}

// caSpec is what the key's certificate is like. Once something was issued it is
// what it was: a changed duration or subject is for the next key.
func (c *course) caSpec(k *key) CASpec {
	if k.seen.HasCertificate && (k.seen.Issued || k.going()) {
		return k.seen.Spec
	}
	spec := CASpec{
		CommonName:          c.spec.Subject.CommonName + " " + k.name,
		Organizations:       c.spec.Subject.Organizations,
		OrganizationalUnits: c.spec.Subject.OrganizationalUnits,
		Countries:           c.spec.Subject.Countries,
		Algorithm:           c.spec.PrivateKey.Algorithm,
		Size:                c.spec.PrivateKey.Size,
	}
	if c.spec.Duration != nil {
		spec.Duration = c.spec.Duration.Duration
	}
	return spec
}

// instant prints a time for people and for golden files.
func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }
