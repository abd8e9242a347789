package report

import (
	"fmt"
	"time"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
)

// verdict is what a page says of one.
type verdict struct {
	// Title of the page, with a Sign before it where there are such; Advice is what to do.
	title, sign, advice string
	colour              colour
}

var verdicts = map[forecast.Verdict]verdict{
	forecast.Nothing:   {"Nothing to do", "✅", "The cluster stays as it is, merged or not.", green},
	forecast.Safe:      {"Safe to merge", "✅", "Merge it if the stages are what you want.", green},
	forecast.Waits:     {"Safe to merge, but it will wait for somebody", "⏸️", "Merge it if the stages are what you want, and have somebody ready for the steps by hand.", yellow},
	forecast.DropsSome: {"Emergency", "⚠️", "Merge it at once if the key is stolen; who is hit, and who goes on trusting the thief, is named below.", red},
	forecast.Blocked:   {"Do not merge", "⛔", "Mend what blocks it first. The next push makes the plan anew.", red},
}

func verdictOf(f forecast.Forecast) verdict {
	if known, found := verdicts[f.Verdict]; found {
		return known
	}
	return verdict{title: "Verdict " + clean(string(f.Verdict), 20), sign: "❔", advice: "This verdict is newer than the program that printed it.", colour: yellow}
}

// takes is how long it takes at least: authorities roll side by side, the stages of one
// follow each other.
func takes(stages []forecast.Stage) time.Duration {
	sums := map[planner.Ref]time.Duration{}
	var longest time.Duration
	for _, s := range stages {
		sums[s.Authority] += s.Takes
		longest = max(longest, sums[s.Authority])
	}
	return longest
}

// proved says what was verified. It holds no text of a document.
func proved(p forecast.Proof) string {
	pairs := counted(p.Pairs, "pair", "pairs")
	switch {
	case p.States == 0 || p.Verified == 0:
		return "there was nothing to verify."
	case p.States == 1:
		return pairs + " verified in one state."
	case p.Verified == p.Pairs*p.States:
		return pairs + " verified in each of " + number(p.States) + " states."
	}
	return fmt.Sprintf("up to %s verified in each of %s states, %s in all.", pairs, number(p.States), number(p.Verified))
}

const pairExplained = "A pair is a certificate chain that somebody presents, and the anchors that somebody else verifies it with."

// wayBack says how far a revert leads.
func wayBack(f forecast.Forecast) string {
	switch {
	case len(f.Stages) == 0:
		return ""
	case len(f.StillTrust) > 0:
		return "do not: a revert would trust a compromised key again. If the new key will not do, name another."
	case f.PointOfNoReturn == 0:
		return "revert the commit, at any stage."
	case f.PointOfNoReturn == 1:
		return "there is none: from the first stage on a revert does not lead back to the old key."
	}
	return fmt.Sprintf("revert the commit, before stage %d begins. From there on a revert does not lead back to the old key.", f.PointOfNoReturn)
}
