package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
)

// Bystanders are those who verify what an authority signs by what Git does not let distribute
// it: a bundle that pins one of its intermediates, or its old root alone, or of which nobody
// has said whose anchors it holds. No rollover brings them the new key, and so none moves
// before they have what leads to it:
//
//	what they hold leads to …     then
//	the old key alone             it is held, with the bundle's name and what to do
//	both, by one anchor           nobody needs to notice: the root over two intermediates
//	both, by two anchors          they must have loaded it: the one may be there lately

// holding is a set of anchors by which somebody verifies, or may.
type holding struct {
	anchors pki.Anchors
	// user mounts it; zero where it is what stands in a bundle, whoever mounts that.
	user Workload
}

// who verifies with it.
func (h holding) who() string {
	if h.user.Kind == "" {
		return "whoever verifies with it"
	}
	return h.user.String() + " verifies with it and"
}

// holdings are what stands in a bundle, and what is in each copy of it that somebody mounts.
// Of one that somebody else writes the copies alone tell.
func (t *turn) holdings(bundle string) []holding {
	var all []holding
	for _, bundleCopy := range t.observed.Copies {
		if user, mounted := t.mounting(bundleCopy); mounted && bundleCopy.Bundle == bundle && len(bundleCopy.Anchors) > 0 {
			all = append(all, holding{bundleCopy.Anchors, user})
		}
	}
	if standing, stands := t.standing(bundle); stands && t.isWrittenHere(bundle) {
		all = append(all, holding{anchors: standing.Anchors})
	}
	return slices.CompactFunc(all, func(a, b holding) bool { return a.anchors.Equal(b.anchors) })
}

// leftBehind names the bundles that Git does not let distribute the authority, and by which
// somebody verifies what another key of it signs: nobody asks whether he trusts this one.
func (c *course) leftBehind(k *key) []Hold {
	var holds []Hold
	reach := c.reachOf(k)
	for _, name := range c.turn.allBundles() {
		if c.distributes(name) {
			continue
		}
		for _, held := range c.turn.holdings(name) {
			if why := c.behindWhy(k, held, reach); why != "" {
				holds = append(holds, Hold{Gate: "bundle", Subject: "TrustBundle " + name, Why: why + "; " + c.catchUp(name)})
				break
			}
		}
	}
	return holds
}

// behindWhy says why who verifies with what is held would not follow to the key; empty if he
// would.
func (c *course) behindWhy(k *key, held holding, reach reach) string {
	known := held.anchors.HasAny(c.anchorsOf(k)) && c.inUse(k)
	for _, other := range c.keys {
		if left := held.anchors.Common(c.anchorsOf(other)); other != k && len(left) > 0 && !known {
			return fmt.Sprintf("it holds %s, and Git does not let it distribute %s: %s may refuse %s", left[0], c.ref.Name, held.who(), k.name)
		}
	}
	if by := held.anchors.Common(reach.old); len(by) > 0 && !held.anchors.HasAny(reach.new) {
		return fmt.Sprintf("it holds %s, and nothing that leads to %s: %s accepts %s now, and would refuse what %s signs", by[0], k.name, held.who(), reach.what, k.name)
	}
	return ""
}

// catchUp says how a bundle comes to hold what leads to every key of the authority.
func (c *course) catchUp(bundle string) string {
	root := c.ref.Name
	if top, _ := c.anchorOf(c.to); top != nil {
		root = top.ref.Name
	}
	declared, is := c.turn.declared(bundle)
	names := slices.Concat(declared.Spec.Authorities, []string{root})
	slices.Sort(names)
	how := fmt.Sprintf("write authorities: [%s] into its spec", strings.Join(slices.Compact(names), ", "))
	if !is {
		how = fmt.Sprintf("declare it again, with authorities: [%s]", root)
	}
	return how + ", or move its users and take it away"
}

// reach tells by which anchors somebody verifies what the authority's other keys have signed,
// and by which what this one will.
type reach struct {
	old, new pki.Anchors
	// what is verified by the old ones: "the Certificate plant/broker".
	what string
}

// reachOf looks at every anchor that a bundle or a copy holds. Only the key that is to sign
// moves anybody.
func (c *course) reachOf(k *key) (r reach) {
	if k != c.to || !k.known() {
		return r
	}
	subjects := c.subjects(k)
	if len(subjects) == 0 {
		return r
	}
	for _, anchor := range c.turn.everyAnchor() {
		alone := pki.NewAnchors(anchor)
		if pki.Verify(c.chainOf(k), alone, c.turn.now) == nil {
			r.new = append(r.new, anchor)
		}
		found := slices.IndexFunc(subjects, func(s subject) bool { return pki.Verify(s.chain, alone, c.turn.now) == nil })
		if found >= 0 {
			r.old = append(r.old, anchor)
			r.what = subjects[found].what
		}
	}
	return r
}

// lone are the anchors by which somebody verifies the old, and not the new.
func (r reach) lone() pki.Anchors { return r.old.Minus(r.new) }

// everyAnchor that stands in a bundle or a copy.
func (t *turn) everyAnchor() pki.Anchors {
	seen := map[pki.Fingerprint]bool{}
	var all []pki.Certificate
	add := func(anchors pki.Anchors) {
		for _, anchor := range anchors {
			if !seen[anchor.Fingerprint()] {
				seen[anchor.Fingerprint()] = true
				all = append(all, anchor)
			}
		}
	}
	for _, bundle := range t.observed.Bundles {
		add(bundle.Anchors)
	}
	for _, bundleCopy := range t.observed.Copies {
		add(bundleCopy.Anchors)
	}
	return pki.NewAnchors(all...)
}

// subject is a chain that somebody may be shown.
type subject struct {
	chain []pki.Certificate
	what  string
}

// subjects are what is shown of the authority's family that another key than this has signed:
// a live leaf for each way up, and the keys themselves, for devices, and for what is signed next.
func (c *course) subjects(k *key) []subject {
	var subjects []subject
	ways := map[string]bool{}
	for _, leaf := range c.familyLeaves {
		if !c.turn.live(leaf) || c.turn.passes(leaf, k) {
			continue
		}
		if way := c.turn.wayUp(leaf); !ways[way] {
			ways[way] = true
			subjects = append(subjects, subject{leaf.Chain, "the Certificate " + leaf.Ref.String()})
		}
	}
	for _, other := range c.keys {
		if other != k && other.known() && (c.signsAlready(other) || c.devicesNeed(other)) {
			subjects = append(subjects, subject{c.chainOf(other), "what " + other.name + " signs"})
		}
	}
	return subjects
}

// wayUp is the same of leaves that verify by the same anchors.
func (t *turn) wayUp(leaf Leaf) string {
	way := t.signers[leaf.Chain[0].Fingerprint()].String()
	if len(leaf.Chain) == 1 && way == (pki.Fingerprint{}).String() {
		return leaf.Chain[0].Fingerprint().String()
	}
	for _, above := range leaf.Chain[1:] {
		way += " " + above.Fingerprint().String()
	}
	return way
}

// chainOf are the certificates of the key and of those above it, as a leaf of it brings them.
func (c *course) chainOf(k *key) []pki.Certificate {
	chain := []pki.Certificate{k.certificate()}
	for at, above := c, k; at.parent != nil && !at.inCircle(); at = at.parent {
		if above = at.parentPair(above.name); above == nil || !above.known() {
			break
		}
		chain = append(chain, above.certificate())
	}
	return chain
}

// distributeBelow asks of an intermediate's key, which no bundle is to hold, whether everybody
// who verifies what the authority signs by something else than its root has what leads to it.
func (c *course) distributeBelow(k *key, s step) step {
	if k != c.to || c.inUse(k) {
		return s
	}
	if s.holds = c.leftBehind(k); len(s.holds) > 0 {
		s.progress = "somebody verifies by what does not lead to " + k.name
		return s
	}
	if reloads := c.bystanderGate(k); len(reloads.holds) > 0 {
		s.progress = "what every bundle holds leads to " + k.name + "; " + reloads.progress("verifiers have")
		s.holds, s.actions = reloads.all(), reloads.actions
	}
	return s
}

// bystanderGate asks whether every verifier that may know nothing but what leads to the old key
// has loaded a copy that leads to this one.
func (c *course) bystanderGate(k *key) reload {
	r := reload{closed: c.closed}
	loaded, lone := c.gate("bystanders", k), c.reachOf(k).lone()
	if c.turn.memory.remembers(loaded) {
		c.turn.memory.hold(loaded)
		return r
	}
	for _, workload := range c.turn.observed.Workloads {
		if c.standsBy(workload, lone) {
			c.turn.askVerifier(&r, workload, c.turn.memory.hold(c.gate("leads", k)), "lead to "+k.name)
		}
	}
	if r.asked > 0 && len(r.holds) == 0 {
		c.turn.memory.hold(loaded)
	}
	return r
}

// standsBy reports whether the workload may verify by one of those anchors. What a bundle holds
// of the root that Git lets it distribute, that root has asked for.
func (c *course) standsBy(w Workload, lone pki.Anchors) bool {
	top, _ := c.anchorOf(c.to)
	return slices.ContainsFunc(w.Bundles, func(m Mount) bool {
		mine := lone
		if top.distributes(m.Name) {
			mine = slices.DeleteFunc(slices.Clone(lone), pki.Certificate.SelfSigned)
		}
		return slices.ContainsFunc(c.turn.copiesAt[Ref{Namespace: w.Ref.Namespace, Name: m.Name}], func(held Copy) bool { return held.Anchors.HasAny(mine) })
	})
}

// unawareWithout finds a workload that may have loaded nothing but the anchor to verify some
// leaf by, though its bundle holds more by now. While the anchor is in the bundle, it is known
// whom to ask before what it leads to moves.
func (t *turn) unawareWithout(standing Bundle, anchor pki.Certificate) (Workload, bool) {
	alone := pki.NewAnchors(anchor)
	if !slices.ContainsFunc(t.observed.Leaves, func(leaf Leaf) bool { return t.live(leaf) && pki.Verify(leaf.Chain, alone, t.now) == nil }) {
		return Workload{}, false
	}
	found := slices.IndexFunc(t.observed.Workloads, func(w Workload) bool {
		return w.Pods > 0 && slices.Contains(bundleNames(w), standing.Name) && !t.hasLoaded(w, standing)
	})
	if found < 0 {
		return Workload{}, false
	}
	return t.observed.Workloads[found], true
}

// hasLoaded reports whether every pod of a workload is known to have loaded a copy of all that
// stands in a bundle.
func (t *turn) hasLoaded(w Workload, standing Bundle) bool {
	var copies []Copy
	for _, name := range bundleNames(w) {
		copies = append(copies, t.copiesAt[Ref{Namespace: w.Ref.Namespace, Name: name}]...)
	}
	stale := slices.ContainsFunc(copies, func(held Copy) bool { return held.Bundle == standing.Name && !held.Anchors.Contains(standing.Anchors) })
	if stale || !reloadsByItself(w, w.Bundles) {
		return !stale && w.Bearing >= w.Pods && w.BundleDigest == CopiesDigest(copies, t.observed.Bundles)
	}
	until := t.memory.hold(fmt.Sprintf("loading %s %s", w, standing.Anchors.SHA256().Short())).Add(w.Reloads)
	if t.now.Before(until) {
		t.lookAt(until)
	}
	return !t.now.Before(until)
}

// whyItStays says why a certificate that Git lists no more stays in a bundle.
func (t *turn) whyItStays(standing Bundle, anchor pki.Certificate) string {
	if leaf, needed := t.needing(standing, anchor); needed {
		return fmt.Sprintf("the Certificate %s does not verify without it: it stays until that has moved", leaf.Ref)
	}
	unaware, _ := t.unawareWithout(standing, anchor)
	return fmt.Sprintf("%s may have loaded nothing else by which it verifies what is presented to it: it stays until a rollover has had it restarted, or until it mounts another bundle", unaware)
}
