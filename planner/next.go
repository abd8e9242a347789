package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// CanaryInterval is how long a canary is proof of the key that an issuer signs
// with; after that, another is sent.
const CanaryInterval = time.Hour

// Next plans the next safe step from what is desired and what is observed, at the
// time now. It never fails: what is missing or unknown becomes a Hold. Equal input
// gives an equal plan.
func Next(desired Desired, observed Observed, now time.Time) Plan {
	t := newTurn(desired, observed, now)
	for _, c := range t.courses {
		c.run()
	}
	t.planIssuers()
	t.planBundles()
	t.watchLifetimes()
	return t.finish()
}

// run walks to the first step that is not done and takes its actions.
func (c *course) run() {
	c.rememberDistribution()
	c.current = c.firstOpenStep()
	if c.spec.Rollover.Paused && c.current.phase != Settled {
		c.current.holds = append(c.current.holds, Hold{Gate: "paused", Why: "spec.rollover.paused is true: unset it to go on"})
		c.current.actions = nil
	}
	c.planKeys()
	c.turn.plan.Actions = append(c.turn.plan.Actions, c.proofs()...)
	c.turn.plan.Actions = append(c.turn.plan.Actions, c.current.actions...)
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
}

func (s step) done() bool { return len(s.holds) == 0 }

// firstOpenStep walks the course's steps in order: the signing key all the way,
// then the keys that are only trusted, then what is to be retired.
func (c *course) firstOpenStep() step {
	if c.to != nil {
		for _, look := range []func(*key) step{c.introduce, c.distribute, c.switchOver, c.reissue} {
			if s := look(c.to); !s.done() {
				return s
			}
		}
	}
	for _, k := range c.inState(v1alpha1.KeyTrusted) {
		for _, look := range []func(*key) step{c.introduce, c.distribute} {
			if s := look(k); !s.done() {
				return s
			}
		}
	}
	for _, k := range c.inState(v1alpha1.KeyRetired) {
		if s := c.retire(k); !s.done() {
			return s
		}
	}
	return step{phase: Settled, key: c.toName(), progress: c.settledProgress()}
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
	return fmt.Sprintf("%s signs; %s to it", c.to.name, counted(chaining, "leaf chains", "leaves chain"))
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
	if c.current.key != c.to.name {
		return true
	}
	order := []Phase{Introduce, Distribute, Switch, Reissue, Retire, Settled}
	return slices.Index(order, c.current.phase) >= slices.Index(order, phase)
}

// finish sorts what was gathered, so that equal input gives equal bytes.
func (t *turn) finish() Plan {
	plan := t.plan
	plan.Gates = t.memory.gates()
	plan.LookAgain = t.lookAgain
	if holds := t.unknownHolds(); len(holds) > 0 {
		plan.Blind, plan.Actions, plan.Holds = true, nil, append(holds, plan.Holds...)
	}
	slices.SortFunc(plan.Target.Keys, func(a, b TargetKey) int {
		return orElse(a.Authority.Compare(b.Authority), a.Name, b.Name)
	})
	slices.SortFunc(plan.Target.Issuers, func(a, b TargetIssuer) int { return a.Ref.Compare(b.Ref) })
	slices.SortFunc(plan.Target.Bundles, func(a, b TargetBundle) int { return orElse(0, a.Name, b.Name) })
	plan.Actions = slices.CompactFunc(plan.Actions, func(a, b Action) bool { return a == b })
	return plan
}
