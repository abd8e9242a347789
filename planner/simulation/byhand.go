package simulation

import "slices"

// renewUnknown lets somebody renew the Certificates of which it is not known what they were
// issued, and which are waited for: a reissue is what makes their chains known, and with a
// leaf that may be nobody's the planner asks for none by itself.
func (w *World) renewUnknown() []Deed {
	var deeds []Deed
	for _, ref := range sortedKeys(w.leaves) {
		leaf, subject := w.leaves[ref], "Certificate "+ref.String()
		if leaf.unknown == "" || leaf.issuing || !w.isWaitedForAt(subject, "leaf", "drain") {
			continue
		}
		leaf.issuing = true
		deeds = append(deeds, Deed{Subject: subject, Do: "renew it, with cmctl renew say: its chain is not known: " + leaf.unknown})
	}
	return deeds
}

// resumeRollouts lets owners resume the rollouts that they have paused, of workloads that are
// waited for.
func (w *World) resumeRollouts() []Deed {
	var deeds []Deed
	for _, workload := range w.workloads {
		if workload.Paused && w.isWaitedFor("reload", workload.String()) {
			workload.Paused = false
			deeds = append(deeds, Deed{Subject: workload.String(), Do: "resume its rollouts, with kubectl rollout resume: they are paused"})
		}
	}
	return deeds
}

// isWaitedForAt reports whether the last plan holds for that at one of the gates.
func (w *World) isWaitedForAt(subject string, gates ...string) bool {
	return slices.ContainsFunc(gates, func(gate string) bool { return w.isWaitedFor(gate, subject) })
}
