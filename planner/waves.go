package planner

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Waves: the leaves of an authority, and the devices of each group that it signs for, stand in an order that follows from the hash of what
// each is named, so that neighbours in a namespace come far apart, and a leaf that is added
// puts itself between two others and moves none past another. A wave is the leaves up to a
// percent of all, rounded up, and of each group as many of its devices. The next begins when
// every leaf of the one before chains to the new key, whoever presents one has loaded it,
// nothing of it has failed, and every device of it was issued a certificate of the new key.

// wave is the leaves that are reissued together.
type wave struct {
	// number from 1, of so many.
	number, of int
	// percent of all leaves that are reissued when it is done.
	percent int
	leaves  []Leaf
	members map[leafID]bool
}

// allLeaves is the percent of the last wave.
const allLeaves = 100

// percents of the authority's waves, the last of which is everyone. An emergency has one.
func (c *course) percents() []int {
	percents := c.spec.Rollover.Waves
	if c.emergency || len(percents) == 0 {
		return []int{allLeaves}
	}
	if percents[len(percents)-1] < allLeaves {
		return append(slices.Clone(percents), allLeaves)
	}
	return percents
}

// waves splits leaves, and keeps the order in which they stand within each.
func (c *course) waves(leaves []Leaf) []wave {
	percents := c.percents()
	waves := make([]wave, len(percents))
	for i, percent := range percents {
		waves[i] = wave{number: i + 1, of: len(percents), percent: percent, members: map[leafID]bool{}}
	}
	ranks := ranksOf(leaves)
	for i, leaf := range leaves {
		at := slices.IndexFunc(percents, func(percent int) bool { return ranks[i] < share(percent, len(leaves)) })
		waves[at].leaves = append(waves[at].leaves, leaf)
		waves[at].members[leaf.id()] = true
	}
	return waves
}

// ranksOf are the places of leaves in the order of waves, from 0.
func ranksOf(leaves []Leaf) []int {
	names := make([]string, len(leaves))
	for i, leaf := range leaves {
		names[i] = leaf.id().String()
	}
	return WaveRanks(names)
}

// WaveRanks are the places, from 0, of what is so named in the order in which waves take it:
// that of the SHA-256 of its name. Devices of a group are named by their ids.
func WaveRanks(names []string) []int {
	hashes, order, ranks := make([][sha256.Size]byte, len(names)), make([]int, len(names)), make([]int, len(names))
	for i, name := range names {
		hashes[i], order[i] = sha256.Sum256([]byte(name)), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return bytes.Compare(hashes[a][:], hashes[b][:]) })
	for rank, i := range order {
		ranks[i] = rank
	}
	return ranks
}

// InWave reports whether what has a place among so many, by [WaveRanks], is of the first so
// many percent.
func InWave(rank, of, percent int) bool { return rank < share(percent, of) }

// share is a percent of so many, rounded up.
func share(percent, of int) int { return (percent*of + allLeaves - 1) / allLeaves }

// isLast reports whether nobody waits for the wave.
func (w wave) isLast() bool { return w.number == w.of }

// gate names a condition of the wave: with other leaves in it, it is another.
func (w wave) gate(name string) string {
	if w.of == 1 {
		return name
	}
	hash := sha256.New()
	for _, leaf := range w.leaves {
		fmt.Fprintln(hash, leaf.id())
	}
	return name + " " + hex.EncodeToString(hash.Sum(nil))[:12]
}

// has reports whether a leaf is one of the wave.
func (w wave) has(leaf Leaf) bool { return w.members[leaf.id()] }

// progress says how many leaves of the wave chain to the key, and of all if there are more
// waves than one.
func (c *course) progress(w wave, k *key, issued []Leaf) string {
	chain := func(leaves []Leaf) string {
		return fmt.Sprintf("%d of %s to %s", c.moved(k, leaves), counted(len(leaves), "leaf chains", "leaves chain"), k.name) + foreignIn(leaves)
	}
	if w.of == 1 {
		return chain(w.leaves)
	}
	return fmt.Sprintf("wave %d of %d (%d%%): %s; %d of %d in all", w.number, w.of, w.percent, chain(w.leaves), c.moved(k, issued), len(issued))
}

// moved counts the leaves that chain to the key.
func (c *course) moved(k *key, leaves []Leaf) int {
	moved := 0
	for _, leaf := range leaves {
		if c.hasMoved(k, leaf) {
			moved++
		}
	}
	return moved
}

// hasMoved reports whether a leaf chains to the key, and will when it is issued anew.
func (c *course) hasMoved(k *key, leaf Leaf) bool {
	return c.turn.signed(k, leaf) && (!leaf.Issuing || c.renewsUnder(k, leaf))
}

// renewsUnder reports whether what a leaf asks signs with the key, and has for longer than
// the cache of cert-manager explains: what another key has signed by then is there by then.
func (c *course) renewsUnder(k *key, leaf Leaf) bool {
	asks := c.issuesAs(k, leaf.Issuer) || slices.ContainsFunc(slices.Concat(c.issuers, c.turn.observed.Issuers), func(i Issuer) bool {
		return i.Ref == leaf.Issuer && c.keyOf(i) == k
	})
	if !asks || !c.hasOthers(k) {
		return asks
	}
	over := c.turn.memory.hold(c.gate("signs", k)).Add(astray)
	if c.turn.now.Before(over) {
		c.turn.lookAt(over)
		return false
	}
	return true
}

// troubles say what of a wave that has moved went wrong since: the next does not begin.
func (c *course) troubles(w wave, k *key) []Hold {
	var holds []Hold
	for _, leaf := range w.leaves {
		if c.hasMoved(k, leaf) && !leaf.FailedAt.IsZero() {
			holds = append(holds, Hold{Gate: "wave", Subject: "Certificate " + leaf.Ref.String(), Why: fmt.Sprintf(
				"chains to %s, and to renew it failed at %s%s: the next wave waits until it is mended", k.name, instant(leaf.FailedAt), because(leaf.Problem))})
		}
	}
	for _, workload := range c.turn.observed.Workloads {
		if c.presents(workload, w) && workload.Rolling && workload.Pods > 0 {
			holds = append(holds, Hold{Gate: "wave", Subject: workload.String(), Why: fmt.Sprintf("presents a leaf of wave %d, and not all of its pods are available: the next wave waits until they are", w.number)})
		}
	}
	return holds
}
