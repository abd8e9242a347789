package planner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Next plans the next safe step from what is desired and what is observed, at the
// time now. It never fails: what is missing or unknown becomes a Hold. Equal input
// gives an equal plan.
func Next(desired Desired, observed Observed, now time.Time) Plan {
	t := newTurn(desired, observed, now)
	for _, c := range t.courses {
		c.advance()
	}
	for _, c := range slices.Backward(t.courses) {
		c.retireKeys()
	}
	for _, c := range t.courses {
		c.plan()
	}
	t.planLinks()
	t.planIssuers()
	t.planBundles()
	t.planDevices()
	t.watchLifetimes()
	t.raiseAlarms()
	t.warnOfThieves()
	return t.finish()
}

// advance walks to the first step that is not done of bringing keys in, parents first:
// what an intermediate waits for is where its parent stands.
func (c *course) advance() {
	c.rememberDistribution()
	c.current, c.advanced = c.firstOpenStep()
}

// retireKeys walks on to the first step that is not done of taking keys out, children
// first: a root's key waits until those below it have moved.
func (c *course) retireKeys() {
	if c.advanced {
		c.current = c.firstOpenRetirement()
	}
}

// plan takes the actions of the step that the course has come to.
func (c *course) plan() {
	if c.spec.Rollover.Paused && c.current.phase != Settled {
		c.current.holds = append(c.current.holds, Hold{Gate: "paused", Why: "spec.rollover.paused is true: unset it to go on"})
		c.current.actions, c.current.probes = nil, nil
	}
	c.castOut()
	c.planKeys()
	c.planRecord()
	c.turn.plan.Actions = append(c.turn.plan.Actions, c.proofs()...)
	c.turn.plan.Actions = append(c.turn.plan.Actions, c.current.actions...)
	c.turn.plan.Probes = append(c.turn.plan.Probes, c.current.probes...)
	c.turn.plan.Drops = append(c.turn.plan.Drops, c.drops()...)
	c.turn.plan.Rollovers = append(c.turn.plan.Rollovers, c.rollover())
}

// step is one phase of one key, looked at: it is done when nothing holds it.
type step struct {
	phase    Phase
	key      string
	progress string
	holds    []Hold
	actions  []Action
	probes   []Probe
	// drained reports, in Retire, that nobody needs the key any more.
	drained bool
}

func (s step) done() bool { return len(s.holds) == 0 }

// firstOpenStep walks the steps of bringing keys in, in their order: the signing key all
// the way, then the keys that are only trusted. It reports whether all are done.
func (c *course) firstOpenStep() (open step, done bool) {
	if c.to != nil {
		for _, look := range []func(*key) step{c.introduce, c.distribute, c.switchOver, c.repoint, c.reissue} {
			if s := look(c.to); !s.done() {
				return s, false
			}
		}
	}
	for _, k := range c.inState(v1alpha1.KeyTrusted) {
		for _, look := range []func(*key) step{c.introduce, c.distribute} {
			if s := look(k); !s.done() {
				return s, false
			}
		}
	}
	return step{}, true
}

// firstOpenRetirement walks the keys that go. One that is kept for the way back holds up no
// other: what it waits for may wait for the other.
func (c *course) firstOpenRetirement() step {
	kept := step{phase: Settled, key: c.toName(), progress: c.settledProgress()}
	for _, k := range c.keys {
		if !k.going() {
			continue
		}
		switch s := c.retire(k); {
		case s.done():
		case c.keptForTheWayBack(k) == nil:
			return s
		case kept.done():
			kept = s
		}
	}
	return kept
}

func (c *course) settledProgress() string {
	if c.to == nil {
		return "nothing of it is left"
	}
	chaining := 0
	for _, leaf := range c.leaves {
		if c.turn.signed(c.to, leaf) {
			chaining++
		}
	}
	progress := fmt.Sprintf("%s signs; %s to it", c.to.name, counted(chaining, "leaf chains", "leaves chain")) + foreignIn(c.issued())
	if pairs := c.to.under; len(pairs) > 0 {
		progress += ", and " + counted(len(pairs), "intermediate", "intermediates")
	}
	return progress + c.leftBehindInSecrets()
}

// leftBehindInSecrets names the Secrets of retired keys from elsewhere: they are somebody
// else's, and stay until he deletes them.
func (c *course) leftBehindInSecrets() string {
	var secrets []string
	for _, k := range c.keys {
		if k.going() && k.given != nil && k.given.secret != "" && !k.present() && !c.anchored(k) && !c.dependedOn(k) {
			secrets = append(secrets, k.given.secret)
		}
	}
	if len(secrets) == 0 {
		return ""
	}
	return fmt.Sprintf("; nothing needs the Secret %s any more, nor what makes it: delete both by hand", strings.Join(secrets, ", "))
}

// rollover says where the course stands.
func (c *course) rollover() Rollover {
	since := c.turn.memory.hold(fmt.Sprintf("phase %s %s %s", c.ref, c.current.key, c.current.phase))
	from, to := c.fromName(), c.current.key
	if c.current.phase == Retire {
		from, to = c.current.key, c.toName()
	}
	return Rollover{
		Authority: c.ref,
		From:      from,
		To:        to,
		Phase:     c.current.phase,
		Since:     since,
		Progress:  c.current.progress,
		Holds:     c.current.holds,
	}
}

// reached reports whether the signing key's course has come to a phase: the steps
// before it are done.
func (c *course) reached(phase Phase) bool {
	if c.spec.Rollover.Paused || c.to == nil {
		return false
	}
	if c.advanced || c.current.key != c.to.name {
		return true
	}
	order := []Phase{Introduce, Distribute, Switch, Reissue}
	return slices.Index(order, c.current.phase) >= slices.Index(order, phase)
}

// raiseAlarms tells of what no phase tells of already.
func (t *turn) raiseAlarms() {
	for _, c := range t.courses {
		for _, alarm := range c.alarms() {
			if !slices.Contains(c.current.holds, alarm) {
				t.plan.Holds = append(t.plan.Holds, alarm)
			}
		}
	}
}

// finish sorts what was gathered, so that equal input gives equal bytes.
func (t *turn) finish() Plan {
	plan := t.plan
	plan.Gates = t.memory.gates()
	plan.LookAgain = t.lookAgain
	if holds := t.unknownHolds(); len(holds) > 0 {
		plan.Blind, plan.Actions, plan.Probes, plan.Record, plan.LinkRecord = true, nil, nil, nil, nil
		plan.Holds = append(holds, plan.Holds...)
	}
	slices.SortFunc(plan.Rollovers, func(a, b Rollover) int { return a.Authority.Compare(b.Authority) })
	slices.SortFunc(plan.Record, RecordedKey.Compare)
	slices.SortFunc(plan.LinkRecord, RecordedLink.Compare)
	slices.SortFunc(plan.Target.Keys, func(a, b TargetKey) int {
		return orElse(a.Authority.Compare(b.Authority), a.Name, b.Name)
	})
	slices.SortFunc(plan.Target.Issuers, func(a, b TargetIssuer) int { return a.Ref.Compare(b.Ref) })
	slices.SortFunc(plan.Target.Bundles, func(a, b TargetBundle) int { return orElse(0, a.Name, b.Name) })
	plan.Actions = slices.CompactFunc(plan.Actions, func(a, b Action) bool { return a == b })
	return plan
}
