package planner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// closing is how long before its end a key's issuers are taken away at the latest:
// cert-manager goes on signing, and its issuer stays Ready, past the end of the CA.
const closing = time.Minute

// isEnding reports that the key's certificate ends within its skew, or has ended.
func (c *course) isEnding(k *key) bool {
	return k.known() && !c.turn.now.Before(c.closes(k))
}

// closes is when the key's issuers are taken away.
func (c *course) closes(k *key) time.Time {
	return k.seen.Certificate.NotAfter().Add(-max(closing, c.skew()))
}

// need is how long it takes at least until the authority signs with a new key, once
// everything that is waited for has come: it is restarted for in one window, and moves in
// another.
func (c *course) need() time.Duration { return c.skew() + c.soak() + 2*c.windowWait() }

// needWhole is how long a rollover of the authority takes until the old key can go: after the
// last window for the leaves, silent devices may hold it up.
func (c *course) needWhole() time.Duration {
	whole := c.need() + c.windowWait()
	if c.waitsForDevices() {
		whole += c.waitForOffline()
	}
	return whole
}

// waitsForDevices reports whether a device may hold up the end of a rollover.
func (c *course) waitsForDevices() bool {
	return c.spec.Rollover.Confirm != v1alpha1.ConfirmWorkloads && len(c.groups(true)) > 0
}

// spells are what a rollover's time is made of, in words.
func (c *course) spells() string {
	spells := []string{fmt.Sprintf("skew %s", c.skew()), fmt.Sprintf("soak %s", c.soak())}
	if wait := c.windowWait(); wait > 0 {
		spells = append(spells, fmt.Sprintf("three waits for a window of up to %s", wait))
	}
	if c.waitsForDevices() {
		spells = append(spells, fmt.Sprintf("waitForOffline %s", c.waitForOffline()))
	}
	return strings.Join(spells, ", ")
}

// tooLate says that a key that is to give way ends before another can take over; nil if
// there is time, or if it is over already.
func (c *course) tooLate(k *key) *Hold {
	if k != c.to || k.seen.HasCertificate || k.known() || c.isIntermediate() || c.emergency {
		return nil
	}
	for _, old := range c.keys {
		if old == k || !old.known() || !c.dependedOn(old) {
			continue
		}
		ends := old.seen.Certificate.NotAfter()
		if left := ends.Sub(c.turn.now); left > 0 && left < c.needWhole() {
			c.turn.lookAt(ends)
			return &Hold{Gate: "lifetime", Subject: old.seen.Certificate.String(), Why: fmt.Sprintf(
				"it ends at %s, in %s, and to roll over to %s takes %s at least (%s): shorten what spec.rollover asks for",
				instant(ends), left.Round(time.Second), k.name, c.needWhole(), c.spells())}
		}
	}
	return nil
}

// watchLifetimes says of every key that signs when it will be too late for it: from when
// on a leaf that it signs would outlive it.
func (t *turn) watchLifetimes() {
	for _, c := range t.courses {
		for _, k := range c.keys {
			if k.known() && (c.signsAlready(k) || c.carries(k) || k == c.to && c.dependedOn(k)) {
				c.watchLifetime(k)
			}
		}
		c.watchLeaves()
	}
}

func (c *course) watchLifetime(k *key) {
	ends, longest := k.seen.Certificate.NotAfter(), c.longestLife()
	tooLate := ends.Add(-longest - c.need())
	if c.turn.now.Before(tooLate) {
		c.turn.lookAt(tooLate)
		return
	}
	remedy := "add a key"
	if k != c.to {
		remedy = c.toName() + " is to take over: see what that waits for"
	}
	hold := Hold{Gate: "lifetime", Subject: k.seen.Certificate.String()}
	if c.isEnding(k) {
		hold.Alarm = true
		hold.Why = fmt.Sprintf("it ends at %s: its issuers are taken away, for cert-manager would sign with it past that; %s", instant(ends), remedy)
	} else {
		c.turn.lookAt(c.closes(k))
		hold.Why = fmt.Sprintf("it ends at %s, a new key needs %s to take over, and what it signs lives up to %s: that would outlive it; %s", instant(ends), c.need(), longest, remedy)
	}
	c.turn.plan.Holds = append(c.turn.plan.Holds, hold)
}

// longestLife is the longest life of what the authority signs: leaves, and the
// certificates of authorities below it.
func (c *course) longestLife() time.Duration {
	var longest time.Duration
	for _, leaf := range c.issued() {
		longest = max(longest, leaf.life())
	}
	for _, child := range c.children {
		if child.spec.Duration != nil && child.makesKeys() {
			longest = max(longest, child.spec.Duration.Duration)
		}
	}
	return longest
}

// makesKeys reports whether a key of the authority is made here: one from elsewhere lives as
// long as it says.
func (c *course) makesKeys() bool {
	return slices.ContainsFunc(c.spec.Keys, func(k v1alpha1.AuthorityKey) bool { return !k.Given() })
}

// watchLeaves names the leaves that end after the key that signed them: nothing that
// cert-manager signs is cut to its CA's end.
func (c *course) watchLeaves() {
	for _, leaf := range c.leaves {
		for _, k := range c.keys {
			if !c.turn.signed(k, leaf) || !leaf.Chain[0].NotAfter().After(k.seen.Certificate.NotAfter()) {
				continue
			}
			c.turn.plan.Holds = append(c.turn.plan.Holds, Hold{Gate: "lifetime", Subject: "Certificate " + leaf.Ref.String(), Why: fmt.Sprintf(
				"it ends at %s, after %s, which signed it, does at %s: from then on everyone refuses it; give it a shorter duration, or %s a new key",
				instant(leaf.Chain[0].NotAfter()), k.seen.Certificate, instant(k.seen.Certificate.NotAfter()), c.ref.Name)})
		}
	}
}
