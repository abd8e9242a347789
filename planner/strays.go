package planner

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/pki"
)

// A commit may say of a key that it is compromised, and in the same breath take its authority
// out of a bundle. Git lets that bundle distribute the authority no more, and still it holds
// the stolen anchor: a stray. A stray loses that as the others do, and whoever verifies with it
// is restarted; it gets nothing in its place.

func (c *course) bundleNames() []string {
	var names []string
	for _, bundle := range c.bundles {
		names = append(names, bundle.Metadata.Name)
	}
	return names
}

// strayBundles are those of ours that hold the anchor of a compromised key, or did until a
// moment ago, and that Git does not let distribute its authority.
func (c *course) strayBundles(k *key) []string {
	if !k.compromised() || k.strays != nil {
		return k.strays
	}
	strays := []string{}
	for _, name := range c.turn.allBundles() {
		if !c.distributes(name) && c.turn.isWrittenHere(name) && (c.turn.memory.remembers(c.stray(k, name)) || c.holdsAnchor(k, name)) {
			strays = append(strays, name)
		}
	}
	k.strays = strays
	return strays
}

// holdsAnchor reports whether a bundle or a copy of it holds an anchor of the key.
func (c *course) holdsAnchor(k *key, bundle string) bool {
	anchors := c.anchorsOf(k)
	standing, _ := c.turn.standing(bundle)
	return standing.Anchors.HasAny(anchors) || slices.ContainsFunc(c.turn.observed.Copies, func(held Copy) bool {
		return held.Bundle == bundle && held.Anchors.HasAny(anchors)
	})
}

// stray is the gate that remembers a stray until nobody has the key in memory.
func (c *course) stray(k *key, bundle string) string { return c.gate("stray "+bundle+" of", k) }

func (c *course) rememberStray(k *key) {
	if !c.mustBeCleared(k) && !c.anchored(k) {
		return
	}
	for _, name := range c.strayBundles(k) {
		c.turn.memory.hold(c.stray(k, name))
	}
}

// copiesLeaving splits the copies by whether they hold an anchor of the key: those of the
// authority's bundles, and of a compromised key the strays.
func (c *course) copiesLeaving(k *key) (holding, lacking []Copy) {
	anchors := c.anchorsOf(k)
	holding, lacking = c.copiesWith(anchors)
	strays := c.strayBundles(k)
	for _, held := range c.turn.observed.Copies {
		if slices.Contains(strays, held.Bundle) && held.Anchors.HasAny(anchors.Minus(c.turn.further(held.Bundle))) && !c.turn.abandoned(held) {
			holding = append(holding, held)
		}
	}
	return holding, lacking
}

// copiesOfOthers are those that somebody else writes, that hold the anchor of a compromised
// key, and that Git does not let distribute its authority.
func (c *course) copiesOfOthers(k *key) []Copy {
	anchors := c.anchorsOf(k)
	return slices.DeleteFunc(slices.Clone(c.turn.observed.Copies), func(held Copy) bool {
		return c.distributes(held.Bundle) || c.turn.isWrittenHere(held.Bundle) || !held.Anchors.HasAny(anchors)
	})
}

// mayTrust reports whether the workload may have the anchor of a compromised key in memory.
func (c *course) mayTrust(w Workload, k *key) bool {
	return c.verifies(w) || slices.ContainsFunc(c.strayBundles(k), func(name string) bool { return slices.Contains(bundleNames(w), name) })
}

// isLastOf reports whether a stray that somebody mounts would be left with nothing, and its
// copies go.
func (c *course) isLastOf(bundle string, after pki.Anchors) bool {
	declared, _ := c.turn.declared(bundle)
	return len(after) == 0 && !c.distributes(bundle) && !declared.Spec.UseDefaultCAs && len(c.turn.usersOf(bundle)) > 0
}

// lastStolen says that a stray holds nothing but what is stolen.
func (c *course) lastStolen(k *key, bundle string) Hold {
	return Hold{Gate: "compromised", Subject: "TrustBundle " + bundle, Alarm: true, Why: fmt.Sprintf(
		"it holds nothing but %s, which is compromised, and %s with it: without an anchor its copies would go; name an authority in its spec.authorities, or move its users and take it away",
		k.seen.Certificate, verifying(c.turn.usersOf(bundle)))}
}

// bystanderDrops are those who verify by nothing that leads to what takes over from a
// compromised key: nobody waits for them.
func (c *course) bystanderDrops(k *key) []Drop {
	var drops []Drop
	if c.to == nil || !k.compromised() {
		return nil
	}
	lone := c.reachOf(c.to).lone()
	for _, workload := range c.turn.observed.Workloads {
		if len(lone) > 0 && c.standsBy(workload, lone) {
			drops = append(drops, Drop{Authority: c.ref, Key: k.name, Who: workload.String(), Why: fmt.Sprintf(
				"verifies by what need not lead to %s: it refuses what that signs until it has loaded what does", c.to.name)})
		}
	}
	return drops
}
