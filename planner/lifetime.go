package planner

import (
	"fmt"
	"slices"
	"sort"
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

// itinerary is the way of a rollover that begins at some time and of which everything that is
// waited for comes at once:
//
//	begins ──skew──▶ a window, for the verifiers ──soak──▶ one, for the issuers ──▶ one, for the leaves
//
// It is walked window by window: how long the way is depends on when it begins.
type itinerary struct {
	begins time.Time
	// switches is when issuers move, and leaves when what they sign is reissued.
	switches, leaves time.Time
	// windows are those that are waited for, in their order.
	windows []time.Time
}

// itineraryFrom is the way of a rollover that begins at that time.
func (c *course) itineraryFrom(begins time.Time) itinerary {
	way := itinerary{begins: begins}
	wait := func(at time.Time) time.Time {
		opens, waits := c.opening(at)
		if waits {
			way.windows = append(way.windows, opens)
		}
		return opens
	}
	restarts := wait(begins.Add(c.skew()))
	way.switches = wait(restarts.Add(c.soak()))
	way.leaves = wait(way.switches)
	return way
}

// way is that of a rollover that begins now.
func (c *course) way() itinerary {
	if c.ahead == nil {
		way := c.itineraryFrom(c.turn.now)
		c.ahead = &way
	}
	return *c.ahead
}

// need is how long it takes at least until the authority signs with a new key, once
// everything that is waited for has come.
func (c *course) need() time.Duration { return c.way().switches.Sub(c.turn.now) }

// waitsToSign reports whether a window is waited for until it signs. What is said of that
// reads the same from turn to turn while the window is.
func (c *course) waitsToSign() bool {
	way := c.way()
	return slices.ContainsFunc(way.windows, func(opens time.Time) bool { return !opens.After(way.switches) })
}

// needWords are that time: "15m0s", or "until 2026-03-07T02:10:00Z".
func (c *course) needWords() string {
	if c.waitsToSign() {
		return "until " + instant(c.way().switches)
	}
	return c.need().String()
}

// signsWords are when it signs: "in 15m0s", or "at 2026-03-07T02:10:00Z".
func (c *course) signsWords() string {
	if c.waitsToSign() {
		return "at " + instant(c.way().switches)
	}
	return "in " + c.need().String()
}

// latestStart is the last second in which a rollover may begin that is to sign by the time
// given; now at the earliest. The later one begins, the later it ends.
func (c *course) latestStart(signsBy time.Time) time.Time {
	if len(c.spec.Rollover.Windows) == 0 {
		return signsBy.Add(-c.need())
	}
	seconds := int(signsBy.Sub(c.turn.now) / time.Second)
	late := sort.Search(max(seconds, 0), func(second int) bool {
		return c.itineraryFrom(c.turn.now.Add(time.Duration(second) * time.Second)).switches.After(signsBy)
	})
	return c.turn.now.Add(time.Duration(late-1) * time.Second)
}

// endsWhole is when a rollover that begins now is at an end, and the old key can go: after the
// window for the leaves, silent devices may hold it up.
func (c *course) endsWhole() time.Time {
	ends := c.way().leaves
	if c.waitsForDevices() {
		ends = ends.Add(c.waitForOffline())
	}
	return ends
}

// wholeWords says how long that is.
func (c *course) wholeWords() string {
	if len(c.way().windows) > 0 {
		return "lasts until " + instant(c.endsWhole())
	}
	return "takes " + c.endsWhole().Sub(c.turn.now).String()
}

// waitsForDevices reports whether a device may hold up the end of a rollover.
func (c *course) waitsForDevices() bool {
	return c.spec.Rollover.Confirm != v1alpha1.ConfirmWorkloads && len(c.groups(true)) > 0
}

// spells are what a rollover's time is made of, in words.
func (c *course) spells() string {
	spells := []string{fmt.Sprintf("skew %s", c.skew()), fmt.Sprintf("soak %s", c.soak())}
	for _, opens := range slices.Compact(c.way().windows) {
		spells = append(spells, "the window of "+instant(opens))
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
		if left := ends.Sub(c.turn.now); left > 0 && ends.Before(c.endsWhole()) {
			c.turn.lookAt(ends)
			return &Hold{Gate: "lifetime", Subject: old.seen.Certificate.String(), Why: fmt.Sprintf(
				"it ends at %s, in %s, and to roll over to %s %s at least (%s): shorten what spec.rollover asks for",
				instant(ends), left.Round(time.Second), k.name, c.wholeWords(), c.spells())}
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
	if tooLate := c.latestStart(ends.Add(-longest)); c.turn.now.Before(tooLate) {
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
		hold.Why = fmt.Sprintf("it ends at %s, a new key needs %s to take over, and what it signs lives up to %s: that would outlive it; %s", instant(ends), c.needWords(), longest, remedy)
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
