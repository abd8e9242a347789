package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// A compromised key is one that somebody else may sign with. It goes like a retired one, but
// nobody is waited for: whoever is cut off is named (Plan.Drops), and so is whoever may still
// trust the thief (Plan.StillTrust).
//
//	a turn after the commit   its anchor leaves …                       meanwhile
//	the new key is issued     every bundle, as the new one enters       issuers move, leaves are
//	                                                                    reissued, all at once
//	no copy holds it          every verifier that has it in memory:     presenters load their new
//	                          each is restarted, one at a time          leaves
//	all have reloaded                                                   its Certificate, Secret
//	                                                                    and issuer go
//
// What is not waited for: skew, soak, waves, windows, devices, copies, the record in Git. What
// is: the new key's certificate, and proof that the issuers sign with it.

// findEmergencies marks the authorities that are in one, with all that stand below them.
func (t *turn) findEmergencies() {
	for _, c := range t.courses {
		c.emergency = c.parent != nil && c.parent.emergency || slices.ContainsFunc(c.keys, func(k *key) bool {
			return k.compromised() && (k.present() || c.anchored(k) || c.dependedOn(k) || c.mustBeCleared(k))
		})
	}
}

// castOut takes compromised keys out of the bundles, as soon as the one that takes over is
// there, and has whoever verifies load what the copies hold then.
func (c *course) castOut() {
	for _, k := range c.keys {
		if !k.compromised() || c.spec.Rollover.Paused {
			continue
		}
		c.rememberStray(k)
		if !c.isCastOut(k) {
			c.turn.plan.Holds = append(c.turn.plan.Holds, c.waitsForSuccessor(k)...)
			continue
		}
		c.stillTrust(k)
		if c.anchored(k) {
			c.release(k)
			continue
		}
		c.rememberCleared(k)
		c.current.join(c.clear(k))
	}
}

// isCastOut reports whether bundles shall hold the compromised key no more: another takes
// over, or none is to.
func (c *course) isCastOut(k *key) bool {
	return k.compromised() && (c.to == nil || c.isIntroduced(c.to))
}

// join adds what is to be reloaded to what the step does already.
func (s *step) join(r reload) {
	for _, hold := range r.holds {
		if !slices.ContainsFunc(s.holds, func(h Hold) bool { return h.Gate == hold.Gate && h.Subject == hold.Subject }) {
			s.holds = append(s.holds, hold)
		}
	}
	for _, action := range r.actions {
		if !slices.ContainsFunc(s.actions, func(a Action) bool {
			return a.Kind == action.Kind && a.Subject == action.Subject && a.Workload == action.Workload
		}) {
			s.actions = append(s.actions, action)
		}
	}
}

// isIntroduced reports whether the key's certificate is there and as it should be.
func (c *course) isIntroduced(k *key) bool { return k.known() && len(c.introduceHolds(k)) == 0 }

// waitsForSuccessor says that a compromised key is still trusted: without another anchor,
// everybody would be cut off from everybody.
func (c *course) waitsForSuccessor(k *key) []Hold {
	if !c.anchored(k) && !c.dependedOn(k) {
		return nil
	}
	return []Hold{{Gate: "compromised", Subject: "Authority " + c.ref.String(), Alarm: true, Why: fmt.Sprintf(
		"%s is compromised, and trusted until %s is there to take over", k.name, c.to.name)}}
}

// mustBeCleared reports whether somebody may have the anchor of a compromised key in his
// memory. The record tells that it was cleared; without one a gate does, and if that is lost
// it is asked again. A key that was never recorded stood nowhere, unless somebody else has put
// its anchor into a bundle. The anchor need not be known while something of the key is there: one
// that was on its way out has no Certificate any more, and whoever reloads is rid of it.
func (c *course) mustBeCleared(k *key) bool {
	everStood := !c.turn.observed.Record.Enabled || !k.recorded.IsZero() ||
		c.turn.memory.remembers(c.nameGate("cast out", k)) || c.anchored(k)
	held := len(c.bundles) > 0 || len(c.strayBundles(k)) > 0
	return k.compromised() && (k.known() || k.present()) && !k.spent && everStood && held && !c.turn.memory.remembers(c.nameGate("cleared", k))
}

// nameGate is a gate of a key by its name alone: it outlasts the Certificate that tells what the
// key's certificate is.
func (c *course) nameGate(name string, k *key) string {
	return fmt.Sprintf("%s %s %s", name, c.ref, k.name)
}

// rememberCleared keeps in memory that nobody has the anchor any more.
func (c *course) rememberCleared(k *key) {
	if c.turn.memory.remembers(c.nameGate("cleared", k)) {
		c.turn.memory.hold(c.nameGate("cleared", k))
	}
}

// clear asks whether every verifier has loaded its copy since that holds the anchor of the
// compromised key no more. One whose own leaf is on its way waits for that: it is restarted
// once.
func (c *course) clear(k *key) (r reload) {
	if !c.mustBeCleared(k) || c.anchored(k) {
		return r
	}
	if r.holds = c.turn.unknownHolds(); len(r.holds) > 0 {
		return r
	}
	since := c.turn.memory.hold(c.nameGate("cast out", k))
	for _, workload := range c.turn.observed.Workloads {
		if !c.mayTrust(workload, k) {
			continue
		}
		if leaf, under := c.leafUnderWay(workload, k); under && c.turn.now.Before(since.Add(leafPatience)) {
			c.turn.lookAt(since.Add(leafPatience))
			r.asked++
			r.hold(workload, "may trust "+k.name+" still; restarted once its Certificate "+leaf.Ref.String()+" is reissued, at "+instant(since.Add(leafPatience))+" at the latest")
			continue
		}
		c.turn.askVerifier(&r, workload, since, "are without "+k.name)
	}
	if len(r.holds) == 0 {
		c.turn.memory.hold(c.nameGate("cleared", k))
	}
	return r
}

// verifies reports whether the workload mounts one of the authority's bundles.
func (c *course) verifies(w Workload) bool {
	return slices.ContainsFunc(w.Bundles, func(m Mount) bool { return c.distributes(m.Name) })
}

// leafPatience is how long a verifier keeps a compromised key in memory so that it is
// restarted once, with its new leaf, and not twice.
const leafPatience = time.Minute

// leafUnderWay is a leaf of the workload's own that is being issued anew, or is about to be.
func (c *course) leafUnderWay(w Workload, k *key) (Leaf, bool) {
	leaves := c.turn.leavesOf(w)
	found := slices.IndexFunc(leaves, func(leaf Leaf) bool { return leaf.Issuing || c.turn.passes(leaf, k) })
	if found < 0 {
		return Leaf{}, false
	}
	return leaves[found], true
}

// stillTrust names who may trust the compromised key of a root at this moment.
func (c *course) stillTrust(k *key) {
	holding, _ := c.copiesLeaving(k)
	for _, bundleCopy := range append(holding, c.copiesOfOthers(k)...) {
		c.trusts(k, bundleCopy.subject(), "holds its anchor: whoever starts with it trusts it")
	}
	for _, group := range c.groups(true) {
		tally, _ := c.turn.tally(group.Metadata.Name, k)
		c.turn.plan.StillTrust = append(c.turn.plan.StillTrust, c.dropDevices(k, group.Metadata.Name, tally.Trusting, "was last seen to hold its anchor")...)
	}
	if !c.mustBeCleared(k) {
		return
	}
	for _, workload := range c.turn.observed.Workloads {
		if c.mayTrust(workload, k) && !c.isCleared(workload, k) {
			c.trusts(k, workload.String(), "may have loaded its anchor, and has not reloaded since")
		}
	}
}

func (c *course) trusts(k *key, who, why string) {
	c.turn.plan.StillTrust = append(c.turn.plan.StillTrust, Drop{Authority: c.ref, Key: k.name, Who: who, Why: why})
}

// isCleared reports whether the workload is known to have loaded copies without the key; one
// that reloads by itself, when its time for that has passed.
func (c *course) isCleared(w Workload, k *key) bool {
	if c.anchored(k) {
		return false
	}
	digest, unknown := c.turn.copiesDigest(w)
	if unknown != "" {
		return false
	}
	if reloadsByItself(w, w.Bundles) {
		since, known := c.turn.memory.was[c.nameGate("cast out", k)]
		return known && !c.turn.now.Before(since.Add(w.Reloads))
	}
	return w.Pods == 0 || w.BundleDigest == digest && w.Bearing >= w.Pods
}

// refusals are the verifiers that may not know yet what takes over from a compromised key:
// they refuse what that signs until they have loaded it.
func (c *course) refusals(k *key) []Drop {
	var drops []Drop
	if !c.mustBeCleared(k) || c.to == nil {
		return c.bystanderDrops(k)
	}
	for _, workload := range c.turn.observed.Workloads {
		if c.verifies(workload) && !c.isCleared(workload, k) {
			drops = append(drops, Drop{Authority: c.ref, Key: k.name, Who: workload.String(), Why: fmt.Sprintf(
				"may not have loaded %s yet: it refuses what that signs until it has", c.to.name)})
		}
	}
	return append(drops, c.bystanderDrops(k)...)
}

// warnOfThieves says of every intermediate's key that is compromised what takes its
// certificate's word away: nothing that is done here.
func (t *turn) warnOfThieves() {
	for _, c := range t.courses {
		for _, stolen := range c.stolen() {
			for _, anchor := range t.anchorsAbove(stolen) {
				t.plan.Holds = append(t.plan.Holds, Hold{Gate: "compromised", Subject: "Authority " + c.ref.String(), Alarm: true, Why: fmt.Sprintf(
					"%s is compromised, and it chains to %s: until %s, whoever trusts that trusts what the thief signs, whatever is reissued here; only a new root key ends it, or a revocation list that every verifier really checks",
					stolen, anchor, instant(stolen.NotAfter()))})
			}
		}
	}
}

// anchorsAbove are the roots in bundles by which a CA certificate that has not ended verifies.
func (t *turn) anchorsAbove(stolen pki.Certificate) pki.Anchors {
	chain := []pki.Certificate{stolen}
	var held pki.Anchors
	for _, c := range t.courses {
		for _, k := range c.keys {
			switch {
			case !k.known():
			case c.isIntermediate():
				chain = append(chain, k.seen.Certificate)
			case c.anchored(k):
				held = held.Union(pki.NewAnchors(k.seen.Certificate))
			}
		}
	}
	return slices.DeleteFunc(held, func(anchor pki.Certificate) bool {
		return pki.Verify(chain, pki.NewAnchors(anchor), t.now) != nil
	})
}

// stolen are the certificates of an intermediate's compromised keys, those of which the
// record alone knows included.
func (c *course) stolen() []pki.Certificate {
	if !c.isIntermediate() {
		return nil
	}
	var certificates []pki.Certificate
	for _, k := range c.keys {
		if k.compromised() && k.known() {
			certificates = append(certificates, k.seen.Certificate)
		}
	}
	for _, recorded := range c.turn.observed.Record.Keys {
		if recorded.Authority == c.ref.Name && c.isCompromised(recorded.Name) {
			certificates = append(certificates, recorded.Certificate)
		}
	}
	return pki.NewAnchors(slices.DeleteFunc(certificates, pki.Certificate.IsZero)...)
}
