package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// GatePublicCAs is the gate of public CAs that nobody can tell whether somebody needs.
const GatePublicCAs = "public-cas"

// keepPublicCAs keeps the public CAs in a bundle to which Git adds them no more while somebody
// mounts it: whom he trusts by them is seen by no leaf of ours. Like an anchor that is retired
// they leave when every probe has shaken hands without them, not while an authority of the
// bundle is paused, and in its windows.
func (t *turn) keepPublicCAs(standing Bundle, target *TargetBundle) {
	users := t.usersOf(standing.Name)
	if !standing.UseDefaultCAs || target.UseDefaultCAs || len(users) == 0 {
		return
	}
	holds, due := t.publicCAHolds(*target, users)
	t.plan.Holds, t.plan.Probes = append(t.plan.Holds, holds...), append(t.plan.Probes, due...)
	target.UseDefaultCAs = len(holds) > 0
}

// publicCAHolds say why they must not leave yet, and which probes are to be asked.
func (t *turn) publicCAHolds(target TargetBundle, users []string) (holds []Hold, due []Probe) {
	const change = "Git adds the public CAs to it no more, and "
	hold := Hold{Gate: GatePublicCAs, Subject: "TrustBundle " + target.Name}
	probes := t.probesOf(target.Name, target.Anchors)
	paused, window := t.pausedOrClosed(target.Name)
	switch {
	case len(probes) == 0:
		hold.Why = fmt.Sprintf("%s with it: nobody can tell whether they need those; they stay until it has probes and all have shaken hands without them, or until nobody mounts it: declare a TrustBundle of another name beside it and move its users", verifying(users))
	case paused != "":
		hold.Gate, hold.Why = "paused", fmt.Sprintf("they stay while spec.rollover.paused of %s is true: unset it to go on", paused)
	case window != nil:
		hold.Gate, hold.Why = window.Gate, "they leave it in the next window: "+window.Why
	default:
		return t.probeHolds(probes, "the public CAs", v1alpha1.DefaultCanaryInterval)
	}
	hold.Why = change + hold.Why
	return []Hold{hold}, nil
}

// pausedOrClosed names the first authority of a bundle that is paused, and says when the first
// window opens that one of them waits for.
func (t *turn) pausedOrClosed(bundle string) (paused string, window *Hold) {
	for _, c := range t.courses {
		if !c.distributes(bundle) {
			continue
		}
		if c.spec.Rollover.Paused && paused == "" {
			paused = c.ref.Name
		}
		if window == nil {
			window = c.closed()
		}
	}
	return paused, window
}

// usersOf are the workloads that mount a bundle.
func (t *turn) usersOf(bundle string) []string {
	var users []string
	for _, w := range t.observed.Workloads {
		if slices.Contains(bundleNames(w), bundle) {
			users = append(users, w.String())
		}
	}
	return users
}

// usersNamed is how many are named of those who verify with a bundle.
const usersNamed = 3

// verifying is "Deployment lab/client verifies", or "A, B, C and 4 more verify".
func verifying(users []string) string {
	if len(users) == 1 {
		return users[0] + " verifies"
	}
	named := strings.Join(users[:min(len(users), usersNamed)], ", ")
	if more := len(users) - usersNamed; more > 0 {
		return fmt.Sprintf("%s and %d more verify", named, more)
	}
	return named + " verify"
}
