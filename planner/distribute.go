package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// distribute: everyone who verifies with the authority's bundles trusts the key. An
// intermediate is trusted through its root, whose turn came before, by all but bystanders.
func (c *course) distribute(k *key) step {
	s := step{phase: Distribute, key: k.name}
	switch {
	case c.emergency && k == c.to:
		return s
	case c.isIntermediate():
		return c.distributeBelow(k, s)
	}
	holding, lacking := c.copiesOf(k)
	s.progress = fmt.Sprintf("%d of %s %s", len(holding), counted(len(holding)+len(lacking), "copy holds", "copies hold"), k.name)
	if s.holds = slices.Concat(c.bundleHolds(k), c.lackingHolds(k, lacking), c.leftBehind(k)); len(s.holds) > 0 {
		s.holds = append(s.holds, c.aheadHolds(k)...)
		return s
	}
	if c.inUse(k) {
		return s
	}
	if s.holds = c.turn.unknownHolds(); len(s.holds) > 0 {
		return s
	}
	if reloads := c.reloadGate(k); len(reloads.holds) > 0 {
		s.progress += "; " + reloads.progress("verifiers have")
		s.holds, s.actions = append(reloads.all(), c.aheadHolds(k)...), reloads.actions
		return s
	}
	if s.holds = c.distrustHolds(k); len(s.holds) > 0 {
		s.holds = append(s.holds, c.aheadHolds(k)...)
		return s
	}
	if s = c.soakGate(k, s); !s.done() {
		s.holds = append(s.holds, c.aheadHolds(k)...)
		return s
	}
	s.holds = c.ownCAHolds(k)
	return s
}

// aheadHolds say early what will hold the switch, and what people must mend.
func (c *course) aheadHolds(k *key) []Hold {
	holds := c.ownCAHolds(k)
	for _, issuer := range c.issuers {
		if foreign := c.foreignHold(issuer); foreign != nil && k == c.to {
			holds = append(holds, *foreign)
		}
	}
	return holds
}

// inUse reports that trust in the key is proved by use: it is what signs, by an issuer
// or for the authorities below, every issuer signs with it, and every leaf that is known
// chains to it.
func (c *course) inUse(k *key) bool {
	if k != c.to || len(c.issuers) == 0 && len(k.under) == 0 {
		return false
	}
	for _, issuer := range c.issuers {
		if c.keyOf(issuer) != k {
			return false
		}
	}
	return !slices.ContainsFunc(c.familyLeaves, func(leaf Leaf) bool { return len(leaf.Chain) > 0 && !c.turn.passes(leaf, k) })
}

// copiesOf splits the copies of the authority's bundles by whether they hold the
// key's anchor.
func (c *course) copiesOf(k *key) (holding, lacking []Copy) {
	if !k.known() {
		return c.copiesWith(nil)
	}
	return c.copiesWith(pki.NewAnchors(k.seen.Certificate))
}

// copiesWith splits the copies of the authority's bundles by whether they hold any of
// the anchors.
func (c *course) copiesWith(anchors pki.Anchors) (holding, lacking []Copy) {
	for _, bundleCopy := range c.turn.observed.Copies {
		switch {
		case !c.distributes(bundleCopy.Bundle) || c.turn.abandoned(bundleCopy):
		case bundleCopy.Anchors.HasAny(anchors):
			holding = append(holding, bundleCopy)
		default:
			lacking = append(lacking, bundleCopy)
		}
	}
	return holding, lacking
}

func (c *course) distributes(bundle string) bool {
	return slices.ContainsFunc(c.bundles, func(b v1alpha1.TrustBundle) bool { return b.Metadata.Name == bundle })
}

// bundleHolds say which of the authority's bundles do not stand for the key: one may
// have copies that hold it still, and be about to take it out of them.
func (c *course) bundleHolds(k *key) []Hold {
	var holds []Hold
	for _, declared := range c.bundles {
		if why := c.bundleHold(declared.Metadata.Name, k); why != "" {
			holds = append(holds, Hold{Gate: "copies", Subject: "TrustBundle " + declared.Metadata.Name, Why: why})
		}
	}
	return holds
}

func (c *course) bundleHold(name string, k *key) string {
	standing, stands := c.turn.standing(name)
	selected := slices.ContainsFunc(c.turn.observed.Copies, func(bundleCopy Copy) bool { return bundleCopy.Bundle == name })
	switch {
	case !selected:
		return "its selector picks no namespace: correct it, or label one"
	case standing.Via == v1alpha1.ViaConfigMap, standing.Via == v1alpha1.ViaObserved:
		return "" // the copies speak for themselves
	case !stands && c.isWrittenElsewhere(name):
		return "" // likewise: there is none yet
	case !stands || !k.known() || !standing.Anchors.Has(k.seen.Certificate):
		return "its Bundle does not hold " + k.name + " yet"
	case !standing.Seen:
		return "trust-manager has not seen its latest Bundle yet"
	}
	return ""
}

func (c *course) lackingHolds(k *key, lacking []Copy) []Hold {
	var holds []Hold
	for _, bundleCopy := range lacking {
		why := fmt.Sprintf("does not hold %s yet", k.seen.Certificate)
		if bundleCopy.Problem != "" {
			why = bundleCopy.Problem
		}
		if c.turn.isObserved(bundleCopy.Bundle) {
			why += fmt.Sprintf("; somebody else writes it: have the certificate with fingerprint %s added", k.seen.Certificate.Fingerprint())
		}
		c.turn.lookSoon(bundleCopy)
		if c.signsAlready(k) {
			why += "; issuers sign with that key already, so clients there refuse its leaves until it does"
		}
		holds = append(holds, Hold{Gate: "copies", Subject: bundleCopy.subject(), Why: why})
	}
	return holds
}

// isWrittenElsewhere reports whether trust-manager has no part in a bundle of the authority's.
func (c *course) isWrittenElsewhere(name string) bool {
	declared, _ := c.turn.declared(name)
	return c.distributes(name) && via(declared.Spec.Via) != v1alpha1.ViaBundle
}

// isObserved reports whether somebody else writes the copies of a bundle.
func (t *turn) isObserved(name string) bool {
	declared, _ := t.declared(name)
	return declared.Spec.Via == v1alpha1.ViaObserved
}

// secretLook is how long a Secret that is to change is left before it is looked at again:
// nobody may watch it, and so nothing tells that it did.
const secretLook = 5 * time.Second

func (t *turn) lookSoon(bundleCopy Copy) {
	if bundleCopy.Secret {
		t.lookAt(t.now.Add(secretLook))
	}
}

func (c Copy) subject() string {
	if c.Secret {
		return fmt.Sprintf("Secret %s/%s", c.Namespace, c.Bundle)
	}
	return fmt.Sprintf("ConfigMap %s/%s", c.Namespace, c.Bundle)
}

func (c *course) signsAlready(k *key) bool {
	return slices.ContainsFunc(c.issuers, func(i Issuer) bool { return c.keyOf(i) == k })
}

// gate names a condition of one key, by its certificate's fingerprint: another
// certificate under the same name starts anew.
func (c *course) gate(name string, k *key) string {
	return fmt.Sprintf("%s %s %s %s", name, c.ref, k.name, k.seen.Certificate.Fingerprint().Short())
}

// reloadGate asks whether every verifier has loaded a copy with the key's anchor.
// Once that was so, it stays so while every copy holds it: whatever starts later
// loads a copy that does.
func (c *course) reloadGate(k *key) reload {
	r := reload{closed: c.closed}
	if c.turn.memory.remembers(c.gate("distributed", k)) {
		return r
	}
	copiesSince := c.turn.memory.hold(c.gate("copies", k))
	for _, workload := range c.turn.observed.Workloads {
		if c.verifies(workload) {
			c.turn.askVerifier(&r, workload, copiesSince, "hold "+k.name)
		}
	}
	return r
}

// rememberDistribution keeps the gates of keys that every copy still holds: a key
// that is trusted everywhere may be gone back to at once.
func (c *course) rememberDistribution() {
	if len(c.turn.observed.Unknown) > 0 {
		return
	}
	for _, k := range c.keys {
		if !k.known() || c.forgets(k) {
			continue
		}
		for _, gate := range []string{c.gate("copies", k), c.gate("distributed", k)} {
			if c.turn.memory.remembers(gate) || c.inUse(k) {
				c.turn.memory.hold(gate)
			}
		}
	}
}

// forgets reports whether somebody may load, or have loaded, a copy without the key's
// anchor. A copy that is not there at all holds the rollover, but unsettles nothing:
// a namespace that is added in the middle of a soak does not begin it anew.
func (c *course) forgets(k *key) bool {
	for _, declared := range c.bundles {
		if standing, stands := c.turn.standing(declared.Metadata.Name); !standing.Anchors.Has(k.seen.Certificate) && (stands || !c.isWrittenElsewhere(declared.Metadata.Name)) {
			return true
		}
	}
	_, lacking := c.copiesOf(k)
	return slices.ContainsFunc(lacking, func(bundleCopy Copy) bool { return !bundleCopy.Missing })
}

// soakGate lets a complete distribution stand for a while before signing moves.
func (c *course) soakGate(k *key, s step) step {
	since := c.turn.memory.hold(c.gate("distributed", k))
	until := since.Add(c.soak())
	if k != c.to || c.isFirst(k) || !c.turn.now.Before(until) {
		return s
	}
	c.turn.lookAt(until)
	s.progress = fmt.Sprintf("%s; soaking until %s", s.progress, instant(until))
	s.holds = []Hold{{Gate: "soak", Why: fmt.Sprintf("distributed at %s; signing moves %s later, at %s", instant(since), c.soak(), instant(until))}}
	return s
}

// ownCAHolds name the workloads that seem to verify with the ca.crt of a leaf's own
// Secret: when the leaf is reissued, that becomes the new root alone.
func (c *course) ownCAHolds(k *key) []Hold {
	if k != c.to || c.isFirst(k) {
		return nil
	}
	var holds []Hold
	for _, workload := range c.turn.observed.Workloads {
		if why := c.trustsOwnCA(workload); why != "" {
			holds = append(holds, Hold{Gate: "own-ca", Subject: workload.String(), Why: why})
		}
	}
	return holds
}

// trustsOwnCA says why a workload seems to verify with a leaf Secret's ca.crt; empty if
// it does not.
func (c *course) trustsOwnCA(w Workload) string {
	if w.OwnCAUnused {
		return ""
	}
	const remedy = "when that leaf is reissued it becomes the new root alone: mount the bundle and verify with that, or annotate the workload " +
		v1alpha1.AnnotationOwnCA + ": " + v1alpha1.OwnCAUnused
	bundled := c.verifies(w)
	for _, mount := range w.Secrets {
		switch mine := c.givesCA(Ref{Namespace: w.Ref.Namespace, Name: mount.Name}); {
		case mine && mount.OwnCA == OwnCANamed:
			return fmt.Sprintf("its pod template names the ca.crt of the Secret %s; %s", mount.Name, remedy)
		case mine && mount.OwnCA == OwnCAVisible && !bundled:
			return fmt.Sprintf("it mounts the Secret %s with its ca.crt and no bundle that holds %s; %s, or mount tls.crt and tls.key alone", mount.Name, c.ref.Name, remedy)
		}
	}
	return ""
}

// givesCA reports whether a leaf of the family is in the Secret, with its CA beside it: one
// that an issuer which is none of ours is asked for is not counted, unless ours signed it.
func (c *course) givesCA(secret Ref) bool {
	return c.familySecrets[secret] && slices.ContainsFunc(c.turn.bySecret[secret], func(leaf Leaf) bool {
		return !leaf.WithoutCA && (c.turn.isOurs(leaf) || !c.turn.asksForeign(leaf))
	})
}

// asksForeign reports whether a leaf refers to an issuer that is there and signs with none
// of our keys.
func (t *turn) asksForeign(leaf Leaf) bool {
	return slices.ContainsFunc(t.observed.Issuers, func(i Issuer) bool { return i.Ref == leaf.Issuer && i.Exists && t.courseOf(i) == nil })
}

// isFirst reports that nothing is signed by another key of the authority and
// nothing signs with one: there is nobody to be careful for.
func (c *course) isFirst(k *key) bool {
	for _, issuer := range c.issuers {
		if issuer.Exists && c.keyOf(issuer) != k {
			return false
		}
	}
	return !slices.ContainsFunc(c.familyLeaves, func(leaf Leaf) bool { return len(leaf.Chain) > 0 && !c.turn.passes(leaf, k) })
}

// introducedAnchors are the anchors of the course that bundles may learn of: those
// of wanted keys that passed Introduce, and those that somebody depends on.
// Intermediates never enter a bundle.
func (c *course) introducedAnchors() pki.Anchors {
	if c.isIntermediate() {
		return nil
	}
	var certificates []pki.Certificate
	for _, k := range c.keys {
		wanted := !k.going() && !c.spec.Rollover.Paused && k.known() && len(c.introduceHolds(k)) == 0
		needed := c.dependedOn(k) || c.devicesNeed(k) // be it a key that only the record remembers
		if certificate := k.certificate(); (wanted || needed && !c.isCastOut(k)) && certificate.SelfSigned() {
			certificates = append(certificates, certificate)
		}
	}
	return pki.NewAnchors(certificates...)
}

// dependedOn reports that an issuer signs with the key, an intermediate that may sign
// stands under it, or a live leaf chains to it.
func (c *course) dependedOn(k *key) bool {
	if !k.known() {
		return false
	}
	return c.signsAlready(k) || c.carries(k) || slices.ContainsFunc(c.familyLeaves, func(leaf Leaf) bool {
		return c.turn.passes(leaf, k) && c.turn.live(leaf)
	})
}
