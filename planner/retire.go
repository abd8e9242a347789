package planner

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/pki"
)

// retire: the key's anchor is in no copy, and then its Certificate, its Secret and
// its internal issuer are gone, in that order: while the Certificate is there
// cert-manager makes a Secret that is deleted anew, and while the internal issuer
// is there it tells that the Secret is gone, without anyone reading it.
func (c *course) retire(k *key) step {
	s := step{phase: Retire, key: k.name, progress: fmt.Sprintf("%s has nothing left", k.name)}
	if !k.present() && !c.anchored(k) {
		return s
	}
	if s.holds = c.drainHolds(k); len(s.holds) > 0 {
		s.progress = fmt.Sprintf("%s is not drained", k.name)
		return s
	}
	holding, lacking := c.copiesOf(k)
	switch {
	case c.anchored(k):
		s.progress = fmt.Sprintf("%d of %s without %s", len(lacking), counted(len(holding)+len(lacking), "copy is", "copies are"), k.name)
		s.holds = c.leavingHolds(k, holding)
	case k.seen.HasCertificate:
		s.progress = fmt.Sprintf("no copy holds %s; its Certificate goes", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Certificate " + c.keyObject(k).String(), Why: "being removed"}}
	case !k.seen.SecretGone:
		s.progress = fmt.Sprintf("the Certificate of %s is gone; its Secret goes", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Secret " + c.keyObject(k).String(), Why: "being removed; the internal issuer still finds it"}}
		s.actions = []Action{{Kind: ActionDeleteSecret, Subject: c.keyObject(k), Why: k.name + " is retired and its Certificate is gone"}}
		c.turn.plan.Decisive = true
	default:
		s.progress = fmt.Sprintf("the Secret of %s is gone; its internal issuer goes", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Issuer " + c.keyObject(k).String(), Why: "being removed"}}
	}
	return s
}

// anchored reports whether a bundle or a copy still holds the key's anchor.
func (c *course) anchored(k *key) bool {
	if !k.known() || c.turn.wantedElsewhere(k) {
		return false
	}
	for _, bundle := range c.turn.observed.Bundles {
		if bundle.Anchors.Has(k.seen.Certificate) {
			return true
		}
	}
	holding, _ := c.copiesOf(k)
	return len(holding) > 0
}

// wantedElsewhere reports whether the very certificate is also that of another key,
// which is not to go: the Secret was copied, say. Then its anchor stays.
func (t *turn) wantedElsewhere(k *key) bool {
	return slices.ContainsFunc(t.courses, func(other *course) bool {
		return slices.ContainsFunc(other.keys, func(o *key) bool {
			return o != k && o.known() && !o.going() && o.seen.Certificate.Equal(k.seen.Certificate)
		})
	})
}

func (c *course) leavingHolds(k *key, holding []Copy) []Hold {
	holds := []Hold{}
	for _, bundleCopy := range holding {
		holds = append(holds, Hold{Gate: "anchors", Subject: bundleCopy.subject(), Why: "still holds " + k.seen.Certificate.String()})
	}
	for _, bundle := range c.turn.observed.Bundles {
		if len(holding) == 0 && bundle.Anchors.Has(k.seen.Certificate) {
			holds = append(holds, Hold{Gate: "anchors", Subject: "TrustBundle " + bundle.Name, Why: "still holds " + k.seen.Certificate.String()})
		}
	}
	return holds
}

// drainHolds says who still needs the key. Nobody does when no issuer signs with
// it and every live chain verifies against what stays.
func (c *course) drainHolds(k *key) []Hold {
	holds := c.turn.unknownHolds()
	for _, issuer := range c.turn.observed.Issuers {
		if c.keyOf(issuer) == k {
			holds = append(holds, Hold{Gate: "issuer", Subject: issuerName(issuer), Why: "still signs with " + k.name})
		}
	}
	if !c.declared && c.anchored(k) {
		holds = append(holds, Hold{Gate: "declaration", Subject: "Authority " + c.ref.String(), Why: "Git no longer declares it, but bundles hold its anchor: declare it with every key Retired to have it drained, or take the anchor out by hand"})
	}
	if k.seen.Issued && !k.known() {
		holds = append(holds, c.notIssued(k))
	}
	staying := c.stayingWithout(k)
	for _, leaf := range c.leaves {
		if why := c.needs(leaf, k, staying); why != "" {
			holds = append(holds, Hold{Gate: "drain", Subject: "Certificate " + leaf.Ref.String(), Why: why})
		}
	}
	if c.to != nil {
		holds = append(holds, c.freshProofHolds()...)
	}
	return holds
}

// stayingWithout are the authority's anchors that stay when the key goes.
func (c *course) stayingWithout(k *key) pki.Anchors {
	var staying []pki.Certificate
	for _, other := range c.keys {
		if other != k && other.known() {
			staying = append(staying, other.seen.Certificate)
		}
	}
	return pki.NewAnchors(staying...)
}

// needs says why the leaf still needs the key; empty when it does not.
func (c *course) needs(leaf Leaf, k *key, staying pki.Anchors) string {
	switch {
	case leaf.Issuer == c.keyObject(k):
		return "refers to the internal issuer of " + k.name + ": point it at a binding's issuer"
	case leaf.Unknown != "":
		return "its chain is not known: " + leaf.Unknown
	case len(leaf.Chain) == 0 || c.turn.now.After(leaf.Chain[0].NotAfter()):
		return ""
	}
	if err := pki.Verify(leaf.Chain, staying, c.turn.now); err != nil {
		return fmt.Sprintf("does not verify without %s: %v", k.name, err)
	}
	return ""
}

// freshProofHolds demand that it was proved lately which key the issuers sign
// with.
func (c *course) freshProofHolds() []Hold {
	var holds []Hold
	for _, issuer := range c.issuers {
		if c.turn.now.Sub(issuer.Canary.At) > CanaryInterval {
			holds = append(holds, Hold{Gate: "canary", Subject: issuerName(issuer), Why: fmt.Sprintf("the last proof is older than %s", CanaryInterval)})
		}
	}
	return holds
}

// planRetiredKey takes away, one after the other, what Retire has come to.
func (c *course) planRetiredKey(k *key, target *TargetKey) {
	switch {
	case len(c.drainHolds(k)) > 0:
	case c.anchored(k):
		c.release(k)
	case k.seen.HasCertificate:
		target.Certificate = false
		c.turn.plan.Decisive = true
	case k.seen.SecretGone:
		target.Issuer = false
	}
}

// release takes the key's anchor out of the authority's bundles.
func (c *course) release(k *key) {
	gone := pki.NewAnchors(k.seen.Certificate)
	for _, bundle := range c.bundles {
		c.turn.anchors[bundle.Metadata.Name] = c.turn.anchors[bundle.Metadata.Name].Minus(gone)
	}
	c.turn.plan.Decisive = true
}

// drops names who would lose trust if the keys that are to be retired went now.
func (c *course) drops() []Drop {
	var drops []Drop
	for _, k := range c.keys {
		if !k.going() || !k.known() {
			continue
		}
		for _, leaf := range c.leaves {
			if c.turn.signed(k, leaf) {
				drops = append(drops, Drop{Authority: c.ref, Key: k.name, Who: "Certificate " + leaf.Ref.String(), Why: "chains to " + k.name})
			}
		}
	}
	return drops
}
