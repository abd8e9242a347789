package simulation

import (
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// react lets everyone do at once, and in order, all that they have to do. Each state on the
// way is looked at.
func (w *World) react() {
	for _, internal := range w.internal {
		internal.silent = false
	}
	for range w.Desired.Authorities {
		w.issueCAs() // a parent's may come after those that it signs
	}
	w.issueLeaves()
	w.issueLeaves() // an external issuer takes its time
	w.answerCanaries()
	w.syncCopies()
	w.checkPairs()
	for _, workload := range w.workloads {
		w.rollOut(workload)
		w.reload(workload)
	}
}

// rollOut brings all pods to the pod template: the new ones stand beside the old for a
// moment, whatever the workload's kind.
func (w *World) rollOut(workload *workload) {
	if workload.Kind == "Pod" && len(workload.pods) > 0 || workload.bearing() >= workload.wanted() && !workload.rolling() {
		return
	}
	for workload.bearing() < workload.wanted() {
		p := w.start(workload)
		if p == nil {
			return
		}
		workload.pods = append(workload.pods, p)
	}
	w.checkPairs()
	workload.pods = slices.DeleteFunc(workload.pods, func(p *pod) bool { return !workload.current(p) })
}

// LastsUntil is when the first live leaf ends that cert-manager renews by itself, and
// that was not renewed by then: nobody may sleep past it.
func (w *World) LastsUntil() time.Time {
	var first time.Time
	for _, l := range w.leaves {
		if len(l.chain) == 0 || l.secret == "" || w.Now.After(l.chain[0].NotAfter()) {
			continue
		}
		if ends := l.chain[0].NotAfter(); first.IsZero() || ends.Before(first) {
			first = ends
		}
	}
	return first
}

// Deed is what a person does in the world, of those things that a plan asks people for.
type Deed struct {
	// Subject as the plan's Hold names it.
	Subject string
	// Do says what.
	Do string
}

// LetPeopleAct lets people do what the last plan asks them for: whoever writes a bundle
// that is only observed adds and takes out what he is told to, and owners of bare Pods make
// them anew. It returns what they did, sorted by subject.
func (w *World) LetPeopleAct() []Deed {
	deeds := w.editObserved()
	for _, workload := range w.workloads {
		if workload.Kind != "Pod" || len(workload.pods) == 0 || !w.isWaitedFor("reload", workload.String()) {
			continue
		}
		workload.pods = nil
		deeds = append(deeds, Deed{Subject: workload.String(), Do: "make the Pod anew: nothing that can be restarted owns it"})
	}
	return deeds
}

// editObserved lets the writers of bundles that are only observed do what they are asked.
func (w *World) editObserved() []Deed {
	before := map[copyID]*bundleCopy{}
	for id, c := range w.copies {
		before[id] = c
	}
	w.obey()
	var deeds []Deed
	for _, id := range w.sortedCopies() {
		c := w.copies[id]
		if c.via == v1alpha1.ViaObserved && c != before[id] {
			deeds = append(deeds, Deed{Subject: id.String(), Do: "have it hold " + names(c.anchors) + ", and nothing else of ours"})
		}
	}
	return deeds
}

// isWaitedFor reports whether the last plan holds for that.
func (w *World) isWaitedFor(gate, subject string) bool {
	return slices.ContainsFunc(w.told.Rollovers, func(rollover planner.Rollover) bool {
		return slices.ContainsFunc(rollover.Holds, func(h planner.Hold) bool { return h.Gate == gate && h.Subject == subject })
	})
}
