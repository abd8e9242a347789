package simulation

import (
	"slices"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// rest is how long a controller lets a domain rest at most, while nothing moves.
const rest = 10 * time.Minute

// checkQuiet is asked when a turn has nothing to write. While nothing moves, and the gates stay
// as they are, the controller rests until the plan says to look again; if something would be
// written before, it came too late, and nobody knows how late.
func (w *World) checkQuiet(plan planner.Plan, seen planner.Observed) {
	if plan.Blind || !sameGates(seen.Since, plan.Gates) {
		return
	}
	until := w.Now.Add(rest)
	if again := plan.LookAgain; !again.IsZero() && again.Before(until) {
		until = again
	}
	last := until.Add(-time.Nanosecond)
	if !last.After(w.Now) {
		return
	}
	seen.Since = plan.Gates
	for _, write := range w.writes(planner.Next(w.Desired, seen, last)) {
		w.violate(LooksAgain, "nothing moves, and %s later a turn %s; the plan says to look again at %s", last.Sub(w.Now), write.what, plan.LookAgain)
		return
	}
}

// sameGates reports whether the gates are the same, whenever they were opened.
func sameGates(before, after []planner.Gate) bool {
	return slices.EqualFunc(before, after, func(a, b planner.Gate) bool { return a.Name == b.Name })
}
