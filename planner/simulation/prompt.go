package simulation

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// react lets everyone do at once, and in order, all that they have to do. Each state on the
// way is looked at.
func (w *World) react() {
	for _, internal := range w.internal {
		internal.silent = false
	}
	w.ledger = nil // all devices come by
	for range w.Desired.Authorities {
		w.issueCAs() // a parent's may come after those that it signs
	}
	w.operate()
	w.issueLeaves()
	w.issueLeaves() // an external issuer takes its time
	w.answerCanaries()
	w.answerLinks()
	w.syncCopies()
	w.checkPairs()
	for _, workload := range w.workloads {
		w.rollOut(workload)
		w.reload(workload)
	}
	if len(w.devices) > 0 && len(w.namespaces) > 0 {
		w.visit()
	}
}

// rollOut brings all pods to the pod template: the new ones stand beside the old for a
// moment, whatever the workload's kind.
func (w *World) rollOut(workload *workload) {
	if workload.Paused || workload.Kind == "Pod" && len(workload.pods) > 0 || workload.bearing() >= workload.wanted() && !workload.rolling() {
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
	w.touched = true
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
// that is only observed adds and takes out what he is told to, owners of bare Pods make them
// anew, workloads that verify with a leaf's ca.crt are moved to their bundle, fields that
// somebody else writes name the issuer that they shall, Certificates of which it is not known
// what they were issued are renewed, and rollouts that are paused are resumed. It returns what
// they did, sorted by subject.
func (w *World) LetPeopleAct() []Deed {
	deeds := slices.Concat(w.editObserved(), w.recreatePods(), w.moveToBundles(), w.repointByHand(), w.renewUnknown(), w.resumeRollouts())
	slices.SortFunc(deeds, func(a, b Deed) int { return cmp.Compare(a.Subject, b.Subject) })
	return deeds
}

// recreatePods lets owners of bare Pods make anew those that are waited for, a minute later.
func (w *World) recreatePods() []Deed {
	var deeds []Deed
	for _, workload := range w.workloads {
		if workload.Kind == "Pod" && len(workload.pods) > 0 && w.isWaitedFor("reload", workload.String()) {
			workload.pods = nil
			deeds = append(deeds, Deed{Subject: workload.String(), Do: "make the Pod anew, a minute later: nothing that can be restarted owns it"})
		}
	}
	if len(deeds) > 0 {
		w.Now = w.Now.Add(time.Minute + time.Second)
	}
	return deeds
}

// moveToBundles lets owners of workloads that verify with a leaf's ca.crt see to it that
// they do not.
func (w *World) moveToBundles() []Deed {
	var deeds []Deed
	for _, workload := range w.workloads {
		if !w.isWaitedFor("own-ca", workload.String()) {
			continue
		}
		workload.Secrets = slices.Clone(workload.Secrets)
		for i := range workload.Secrets {
			workload.Secrets[i].OwnCA = planner.OwnCAHidden
		}
		workload.pods = nil
		deeds = append(deeds, Deed{Subject: workload.String(), Do: "let it verify with the bundle, and not with the ca.crt of a leaf's Secret"})
	}
	return deeds
}

// editObserved lets the writers of bundles that are only observed do what they are asked.
func (w *World) editObserved() []Deed {
	var deeds []Deed
	for _, bundle := range w.Desired.Bundles {
		for _, id := range w.placesOf(bundle.Metadata.Name) {
			asked := w.isWaitedFor("copies", id.String()) || w.isWaitedFor("anchors", id.String())
			if bundle.Spec.Via != v1alpha1.ViaObserved || !asked {
				continue
			}
			was := w.copies[id]
			if was == nil {
				was = &bundleCopy{}
			}
			if w.obeyIn(id, bundle); w.copies[id] != nil && w.copies[id] != was {
				deeds = append(deeds, Deed{Subject: id.String(), Do: edited(was.anchors, w.copies[id].anchors)})
			}
		}
	}
	return deeds
}

// edited says what somebody does with a copy.
func edited(before, after pki.Anchors) string {
	var words []string
	for _, anchor := range after.Minus(before) {
		words = append(words, "add "+anchor.CommonName())
	}
	for _, anchor := range before.Minus(after) {
		words = append(words, "take "+anchor.CommonName()+" out")
	}
	slices.Sort(words)
	return strings.Join(words, ", ") + ": its writer is not reanchor"
}

// isWaitedFor reports whether the last plan holds for that.
func (w *World) isWaitedFor(gate, subject string) bool {
	return slices.ContainsFunc(w.told.Rollovers, func(rollover planner.Rollover) bool {
		return slices.ContainsFunc(rollover.Holds, func(h planner.Hold) bool { return h.Gate == gate && h.Subject == subject })
	})
}

// Due are the writes that a turn would make now.
func (w *World) Due() []Written {
	var due []Written
	for _, write := range w.writes(planner.Next(w.Desired, w.Observe(), w.Now)) {
		due = append(due, write.told)
	}
	return due
}

// Look asks the invariants that hold in every state of the state that there is.
func (w *World) Look() {
	w.touched = true
	w.checkPairs()
}

// ForgetViolations lets those that were seen be seen again.
func (w *World) ForgetViolations() { w.violations = nil }

// Namespaces are those with a copy of a bundle, sorted.
func (w *World) Namespaces(bundle string) []string {
	var namespaces []string
	for _, id := range w.placesOf(bundle) {
		namespaces = append(namespaces, id.namespace)
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// Authorities are the certificates of all CAs in reach, sorted by fingerprint.
func (w *World) Authorities() pki.Anchors {
	var all []pki.Certificate
	for _, secrets := range []map[planner.Ref]*caSecret{w.secrets} {
		for _, ref := range sortedKeys(secrets) {
			all = append(all, append(secrets[ref].above, secrets[ref].certificate, secrets[ref].root)...)
		}
	}
	for _, secret := range w.outside {
		all = append(all, append(secret.above, secret.certificate, secret.root)...)
	}
	for _, c := range w.copies {
		all = append(all, c.anchors...)
	}
	return pki.NewAnchors(slices.DeleteFunc(all, pki.Certificate.IsZero)...)
}

// Loss is somebody who would be refused, and by whom.
type Loss struct{ Presenter, Verifier string }

// LossesWithout are all who would be refused if nobody trusted those CAs any more, of those
// who are not refused now; by the names of Certificates and workloads.
func (w *World) LossesWithout(gone pki.Anchors) []Loss {
	var losses []Loss
	for _, bundle := range w.inventory.Bundles {
		groups := w.verifiersWith(bundle.Metadata.Name)
		var left []pki.Anchors
		for _, group := range groups {
			left = append(left, group.anchors.Minus(gone))
		}
		w.eachPresenter(bundle.Metadata.Name, func(presenter presenter, chain []pki.Certificate) {
			through := slices.ContainsFunc(chain[1:], gone.Has)
			for i, group := range groups {
				lost := through || w.verify(chain, left[i], digest(left[i])) != nil
				if !lost || w.verify(chain, group.anchors, group.id) != nil {
					continue
				}
				for _, who := range group.who {
					losses = append(losses, Loss{Presenter: presenter.name(), Verifier: who.who()})
				}
			}
		})
	}
	slices.SortFunc(losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Presenter, b.Presenter), cmp.Compare(a.Verifier, b.Verifier))
	})
	return slices.Compact(losses)
}

// name is whoever it is, whichever of his pods.
func (p presenter) name() string {
	if p.of != nil {
		return p.of.String()
	}
	return p.String()
}
