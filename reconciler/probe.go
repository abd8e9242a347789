package reconciler

import (
	"context"
	"slices"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// probe makes the handshakes that a plan asks for, and remembers what came of them. It
// reports whether there were any: then it is worth planning again.
func (t *turn) probe(ctx context.Context, plan planner.Plan) bool {
	if len(plan.Probes) == 0 {
		return false
	}
	t.memory.handshakes.remember(t.Parts.Probe(ctx, plan.Probes, t.now), t.now)
	return true
}

// handshakes are the latest results of a domain's probes: one for each probe and what was
// trusted in it.
type handshakes []planner.ProbeResult

// handshakesLast is how long a result is kept: longer than it counts.
const handshakesLast = 24 * time.Hour

// remember the results, and forget those that they take the place of, and those that are old.
func (h *handshakes) remember(results []planner.ProbeResult, now time.Time) {
	*h = slices.DeleteFunc(*h, func(known planner.ProbeResult) bool {
		return now.Sub(known.At) > handshakesLast ||
			slices.ContainsFunc(results, func(result planner.ProbeResult) bool { return result.Compare(known) == 0 })
	})
	*h = append(*h, results...)
	slices.SortFunc(*h, planner.ProbeResult.Compare)
}

// all that are remembered, in an order that does not change.
func (h *handshakes) all() []planner.ProbeResult { return slices.Clone(*h) }
