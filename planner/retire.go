package planner

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// retire: the key's anchor is in no copy, no intermediate stands under it, and then its
// Certificate, its Secret and its internal issuer are gone, in that order: while the
// Certificate is there cert-manager makes a Secret that is deleted anew, and while the
// internal issuer is there it tells that the Secret is gone, without anyone reading it.
// At last the record says so.
func (c *course) retire(k *key) step {
	s := step{phase: Retire, key: k.name}
	if !k.present() && !c.anchored(k) && k.recorded.IsZero() && !c.mustBeCleared(k) {
		return s
	}
	c.rememberRetiring(k)
	if holds := append(c.familyHolds(k), c.toArrive(k)...); len(holds) > 0 {
		return step{phase: Reissue, key: c.toName(), holds: holds, progress: fmt.Sprintf("%s still to follow to %s", counted(len(holds), "authority below is", "authorities below are"), c.toName())}
	}
	if s.holds = c.drainHolds(k); len(s.holds) > 0 {
		s.progress = fmt.Sprintf("%s is not drained", k.name)
		return s
	}
	if reloads := c.followers(k); len(reloads.holds) > 0 {
		s.progress = fmt.Sprintf("%s is drained; %s", k.name, reloads.progress("presenters of what followed a reference have"))
		s.holds, s.actions = reloads.holds, reloads.actions
		return s
	}
	s = c.probeStep(k, s)
	if window := c.retireWindow(k, s); window != nil {
		s.progress, s.holds = cmp.Or(s.progress, k.name+" is drained"), behind(window, s.holds)
	}
	if len(s.holds) > 0 {
		return s
	}
	s.drained = true
	cleared := c.clear(k)
	object := c.keyObject(k).String()
	switch {
	case c.anchored(k):
		holding, lacking := c.copiesLeaving(k)
		s.progress = fmt.Sprintf("%d of %s without %s", len(lacking), counted(len(holding)+len(lacking), "copy is", "copies are"), k.name)
		s.holds = c.leavingHolds(k, holding)
	case len(cleared.holds) > 0:
		s.progress = "no copy holds " + k.name + "; " + cleared.progress("verifiers have")
		s.holds, s.actions = cleared.holds, cleared.actions
	case len(k.under) > 0:
		s.progress = fmt.Sprintf("what %s signed goes first", k.name)
		s.holds = c.pairHolds(k)
	case k.seen.HasCertificate && !k.seen.HasIssuer:
		s.progress = fmt.Sprintf("%s %s; its internal issuer is made anew", c.freedOf(), k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Certificate " + object, Why: "waits for the internal issuer, which is to tell when the Secret is gone"}}
	case k.seen.HasCertificate:
		s.progress = fmt.Sprintf("%s %s; its Certificate goes", c.freedOf(), k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Certificate " + object, Why: "being removed"}}
	case !c.secretIsGone(k) && !k.seen.HasIssuer:
		s.progress = fmt.Sprintf("the Certificate of %s is gone; it is asked whether its Secret is", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Secret " + object, Why: "nobody says that it is gone: the internal issuer is made anew to tell"}}
	case !c.secretIsGone(k) && c.secretUser(k) != "":
		s.progress = fmt.Sprintf("the Certificate of %s is gone; its Secret is in use", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Secret " + object, Why: c.secretUser(k) + " names it as well, so it is not deleted: give that another Secret, with a key of its own"}}
	case !c.secretIsGone(k):
		s.progress = fmt.Sprintf("the Certificate of %s is gone; its Secret goes", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Secret " + object, Why: "being removed; the internal issuer still finds it"}}
		s.actions = []Action{{Kind: ActionDeleteSecret, Subject: c.keyObject(k), Why: k.name + " is retired and its Certificate is gone"}}
		c.turn.plan.Decisive = true
	case k.present() && k.fromElsewhere():
		s.progress = fmt.Sprintf("the Secret of %s is somebody else's and stays; its internal issuer goes", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Issuer " + object, Why: "being removed"}}
	case k.present():
		s.progress = fmt.Sprintf("the Secret of %s is gone; its internal issuer goes", k.name)
		s.holds = []Hold{{Gate: "removal", Subject: "Issuer " + object, Why: "being removed"}}
	default:
		s.progress = fmt.Sprintf("nothing is left of %s; the record says so next", k.name)
		s.holds = []Hold{c.unretired(k)}
	}
	return s
}

// freedOf says what a drained key is free of.
func (c *course) freedOf() string {
	if c.isIntermediate() {
		return "nothing chains to"
	}
	return "no copy holds"
}

// secretIsGone reports whether the key's internal issuer says that its Secret is gone, or
// said so before it went itself.
func (c *course) secretIsGone(k *key) bool {
	if k.fromElsewhere() {
		return true // it is none of ours to delete
	}
	gate := fmt.Sprintf("gone %s %s", c.ref, k.name)
	gone := k.seen.SecretGone || !k.seen.HasIssuer && c.turn.memory.remembers(gate)
	if gone {
		c.turn.memory.hold(gate)
	}
	return gone
}

// secretUser is who else names the Secret of a key that was made here; empty if nobody does.
func (c *course) secretUser(k *key) string {
	for _, other := range c.turn.courses {
		for _, o := range other.keys {
			if o != k && other.ref.Namespace == c.ref.Namespace && other.secretName(o) == c.secretName(k) {
				return "key " + o.name + " of Authority " + other.ref.String()
			}
		}
	}
	for _, issuer := range c.turn.observed.Issuers {
		if issuer.Exists && issuer.SecretName == c.secretName(k) && (issuer.Ref.Namespace == "" || issuer.Ref.Namespace == c.ref.Namespace) {
			return issuerName(issuer)
		}
	}
	return ""
}

// unretired says that the record does not tell yet that the key was retired.
func (c *course) unretired(k *key) Hold {
	why := "moves to " + c.recordOf(k, true).Path() + " in Git"
	if problem := c.turn.observed.Record.Problem; problem != "" {
		why += ": " + problem
	}
	return Hold{Gate: "record", Subject: c.recordOf(k, false).Path(), Why: why}
}

// pairHolds name the intermediates' key pairs that the key signed and that are there.
func (c *course) pairHolds(k *key) []Hold {
	var holds []Hold
	for _, pair := range k.under {
		holds = append(holds, Hold{Gate: "intermediate", Subject: "Certificate " + Ref{Namespace: pair.Authority.Namespace, Name: KeyObjectName(pair.Authority.Name, pair.Name)}.String(), Why: "signed by " + k.name + ", it goes first"})
	}
	return holds
}

// anchored reports whether a bundle or a copy still holds an anchor of the key.
func (c *course) anchored(k *key) bool {
	anchors := c.anchorsOf(k)
	for _, bundle := range c.turn.observed.Bundles {
		if c.concerns(bundle) && bundle.Anchors.HasAny(anchors) {
			return true
		}
	}
	holding, _ := c.copiesLeaving(k)
	return len(holding) > 0
}

// concerns reports whether what a bundle holds tells of the authority's anchors: not one of
// somebody else's that is none of the authority's, nor copies of ours, which are asked themselves.
func (c *course) concerns(bundle Bundle) bool {
	return via(bundle.Via) == v1alpha1.ViaBundle || c.distributes(bundle.Name) && bundle.Via == v1alpha1.ViaObserved ||
		bundle.Via == v1alpha1.ViaConfigMap && !c.distributes(bundle.Name)
}

func (c *course) leavingHolds(k *key, holding []Copy) []Hold {
	anchors, holds := c.anchorsOf(k), []Hold{}
	for _, bundleCopy := range holding {
		why := "still holds " + bundleCopy.Anchors.Common(anchors)[0].String()
		if c.turn.isObserved(bundleCopy.Bundle) {
			why += ", which nobody needs any more; somebody else writes it: have it taken out"
		}
		c.turn.lookSoon(bundleCopy)
		holds = append(holds, Hold{Gate: "anchors", Subject: bundleCopy.subject(), Why: why})
	}
	for _, bundle := range c.turn.observed.Bundles {
		if left := bundle.Anchors.Common(anchors); len(holding) == 0 && len(left) > 0 && c.concerns(bundle) {
			holds = append(holds, Hold{Gate: "anchors", Subject: "TrustBundle " + bundle.Name, Why: "still holds " + left[0].String()})
		}
	}
	return holds
}

// drainHolds says who still needs the key. Nobody does when no issuer signs with
// it, everything below has moved, and every live chain verifies against what stays.
func (c *course) drainHolds(k *key) []Hold {
	holds := c.turn.unknownHolds()
	for _, issuer := range c.turn.observed.Issuers {
		if c.keyOf(issuer) == k {
			holds = append(holds, Hold{Gate: "issuer", Subject: issuerName(issuer), Why: "still signs with " + k.name})
		}
	}
	if k.compromised() {
		return holds // whoever still needs it is named, and not waited for
	}
	if !c.declared && c.anchored(k) {
		holds = append(holds, Hold{Gate: "declaration", Subject: "Authority " + c.ref.String(), Why: "Git no longer declares it, but bundles hold its anchor: declare it with every key Retired to have it drained, or take the anchor out by hand"})
	}
	if k.seen.Issued && !k.known() {
		holds = append(holds, c.notIssued(k))
	}
	holds = append(holds, c.unreadableHolds()...)
	rests := c.restsWithout(k)
	for _, leaf := range c.neighbours() {
		if why := c.needs(leaf, k, rests); why != "" {
			holds = append(holds, Hold{Gate: "drain", Subject: "Certificate " + leaf.Ref.String(), Why: why})
		}
	}
	holds = append(holds, c.needingHolds(k)...)
	if hold := c.keptForTheWayBack(k); hold != nil {
		holds = append(holds, *hold)
	}
	holds = append(holds, c.referenceHolds(k)...)
	if hold := c.linkHold(k); hold != nil {
		holds = append(holds, *hold)
	}
	if c.to != nil {
		holds = append(holds, c.freshProofHolds()...)
	}
	return holds
}

// unreadableHolds name the copies that are there and cannot be read: nobody knows what they
// hold. An authority that stays has asked for that when it distributed its key.
func (c *course) unreadableHolds() []Hold {
	var holds []Hold
	for _, bundleCopy := range c.turn.observed.Copies {
		if c.to == nil && c.distributes(bundleCopy.Bundle) && bundleCopy.Problem != "" && !bundleCopy.Missing && !c.turn.abandoned(bundleCopy) {
			holds = append(holds, Hold{Gate: "anchors", Subject: bundleCopy.subject(), Why: bundleCopy.Problem})
		}
	}
	return holds
}

// familyHolds name the authorities below that have not followed yet to the key that
// signs: their leaves may be reissued, and still be presented as they were. To the root,
// it is they that are reissued.
func (c *course) familyHolds(k *key) []Hold {
	var holds []Hold
	if len(k.under) == 0 {
		return nil
	}
	for _, member := range c.family() {
		if member != c && !member.advanced {
			holds = append(holds, Hold{Gate: "intermediate", Subject: "Authority " + member.ref.String(), Why: fmt.Sprintf("is at %s of %s", member.current.phase, member.current.key)})
		}
	}
	return holds
}

// keptForTheWayBack keeps a pair that goes only because its root's key does, for as long
// as bundles hold the anchor that it chains to: until then one can go back. One that goes
// because a key of its own or of an intermediate above it was retired is not kept.
func (c *course) keptForTheWayBack(k *key) *Hold {
	for at, pair := c, k; at.parent != nil && pair != nil && !at.inCircle(); at, pair = at.parent, at.parentPair(pair.name) {
		if !at.lists(pair.name) {
			return nil
		}
	}
	if !c.isIntermediate() {
		return nil
	}
	top, above := c.anchorOf(k)
	if above == nil || !top.anchored(above) {
		return nil
	}
	return &Hold{Gate: "intermediate", Subject: "Authority " + top.ref.String(), Why: "bundles hold " + above.name + ": until they do not any more, one can go back to it"}
}

// neighbours are the leaves of the family, and those of every other authority in one of
// the bundles: nobody shall lose trust by what goes.
func (c *course) neighbours() []Leaf {
	leaves := slices.Clone(c.familyLeaves)
	for _, other := range c.turn.courses {
		if other == c || !slices.ContainsFunc(c.bundles, func(b v1alpha1.TrustBundle) bool { return other.distributes(b.Metadata.Name) }) {
			continue
		}
		for _, leaf := range other.familyLeaves {
			if !c.familySeen[leaf.id()] {
				leaves = append(leaves, leaf)
			}
		}
	}
	return leaves
}

// anchorOf is the root's key that the key chains to, and its authority; no key if it is
// not known.
func (c *course) anchorOf(k *key) (*course, *key) {
	top, above := c, k
	for top.parent != nil && above != nil && !top.inCircle() {
		above = top.parentPair(above.name)
		top = top.parent
	}
	return top, above
}

// isTrusted reports whether every copy of the root's bundles holds what the key chains to.
func (c *course) isTrusted(k *key) bool {
	top, anchor := c.anchorOf(k)
	if anchor == nil || len(top.bundleHolds(anchor)) > 0 {
		return false
	}
	_, lacking := top.copiesOf(anchor)
	return len(lacking) == 0
}

// restsWithout are what the authority's bundles hold when the key's anchors are out of
// them; without a bundle, the authority's other anchors.
func (c *course) restsWithout(k *key) []rest {
	gone := c.anchorsOf(k)
	var rests []rest
	for _, bundle := range c.bundles {
		held := c.turn.anchors[bundle.Metadata.Name]
		rests = append(rests, rest{before: held, after: held.Minus(gone)})
	}
	if len(rests) > 0 {
		return rests
	}
	var staying []pki.Certificate
	for _, other := range c.keys {
		if other != k && other.known() {
			staying = append(staying, other.seen.Certificate)
		}
	}
	after := pki.NewAnchors(staying...)
	return []rest{{before: after.Union(gone), after: after}}
}

// rest is what verifiers hold before an anchor goes, and after.
type rest struct{ before, after pki.Anchors }

// needs says why the leaf still needs the key; empty when it does not.
func (c *course) needs(leaf Leaf, k *key, rests []rest) string {
	mine := c.familySeen[leaf.id()]
	switch {
	case c.issuesAs(k, leaf.Issuer):
		return "refers to the internal issuer of " + k.name + ": point it at a binding's issuer"
	case mine && leaf.Unknown != "":
		return "its chain is not known: " + leaf.Unknown
	case !c.turn.live(leaf):
		return ""
	case c.isIntermediate() && c.turn.passes(leaf, k):
		return "chains to " + k.name
	case c.isIntermediate():
		return ""
	}
	for _, held := range rests {
		if err := pki.Verify(leaf.Chain, held.after, c.turn.now); err != nil && (mine || pki.Verify(leaf.Chain, held.before, c.turn.now) == nil) {
			return fmt.Sprintf("does not verify without %s: %v", k.name, err)
		}
	}
	return ""
}

// freshProofHolds demand that it was proved lately which key the issuers sign
// with.
func (c *course) freshProofHolds() []Hold {
	var holds []Hold
	for _, issuer := range c.proved() {
		if issuer.SecretName == "" {
			continue // a canary proves nothing there
		}
		if c.turn.now.Sub(issuer.Canary.At) > c.canaryInterval() && !c.isEnding(c.to) {
			holds = append(holds, Hold{Gate: "canary", Subject: issuerName(issuer), Why: fmt.Sprintf("the last proof is older than %s", c.canaryInterval())})
		}
	}
	return holds
}

// planRetiredKey takes away, one after the other, what Retire has come to.
func (c *course) planRetiredKey(k *key, target *TargetKey) {
	switch {
	case !c.current.drained:
	case c.anchored(k):
		c.release(k)
	case len(k.under) > 0:
	case c.mustBeCleared(k): // while it is there, it is known whose anchor is asked for
	case k.seen.HasCertificate && !k.seen.HasIssuer:
		target.Issuer = true // it is to tell when the Secret is gone
	case k.seen.HasCertificate:
		target.Certificate = false
		c.turn.plan.Decisive = true
	case !c.secretIsGone(k):
		target.Issuer = true
	default:
		target.Issuer = false
	}
}

// release takes the key's anchors out of the authority's bundles.
func (c *course) release(k *key) {
	gone := c.anchorsOf(k)
	for _, name := range append(c.bundleNames(), c.strayBundles(k)...) {
		after := c.turn.anchors[name].Minus(gone.Minus(c.turn.further(name)))
		if c.isLastOf(name, after) {
			c.turn.plan.Holds = append(c.turn.plan.Holds, c.lastStolen(k, name))
			continue
		}
		if !c.turn.isWrittenHere(name) || c.mayRelease(name, after) {
			c.turn.anchors[name] = after
		}
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
		drops = append(drops, c.refusals(k)...)
		drops = append(drops, c.deviceDrops(k)...)
		for _, leaf := range c.familyLeaves {
			if c.turn.passes(leaf, k) {
				drops = append(drops, Drop{Authority: c.ref, Key: k.name, Who: "Certificate " + leaf.Ref.String(), Why: "chains to " + k.name})
			}
		}
	}
	return drops
}
