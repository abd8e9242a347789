package planner

import (
	"fmt"
	"time"
)

// watchLifetimes says of every signing key when it will be too late for it: from when
// on a leaf that it signs would outlive it. cert-manager goes on signing, and its
// issuer stays Ready, past that and past the end of the CA itself.
func (t *turn) watchLifetimes() {
	for _, c := range t.courses {
		if c.to != nil && c.to.known() {
			c.watchLifetime(c.to)
		}
	}
}

func (c *course) watchLifetime(k *key) {
	ends, longest := k.seen.Certificate.NotAfter(), c.longestLeaf()
	tooLate := ends.Add(-longest)
	if c.turn.now.Before(tooLate) {
		c.turn.lookAt(tooLate)
		return
	}
	c.turn.plan.Holds = append(c.turn.plan.Holds, Hold{
		Gate: "lifetime", Subject: k.seen.Certificate.String(),
		Why: fmt.Sprintf("it ends at %s, and its leaves live up to %s: a leaf that it signs now would outlive it; add a key", instant(ends), longest),
	})
}

// longestLeaf is the longest life of the authority's leaves.
func (c *course) longestLeaf() time.Duration {
	var longest time.Duration
	for _, leaf := range c.issued() {
		if len(leaf.Chain) > 0 {
			longest = max(longest, leaf.Chain[0].NotAfter().Sub(leaf.Chain[0].NotBefore()))
		}
	}
	return longest
}
