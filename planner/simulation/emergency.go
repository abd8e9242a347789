package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Refusal is somebody who was refused, or refuses, because a key is compromised.
type Refusal struct {
	// Verifier and Presenter as plans name them: "Deployment plant/broker", "Certificate
	// plant/press".
	Verifier, Presenter string
}

func (r Refusal) compare(other Refusal) int {
	return cmp.Or(cmp.Compare(r.Verifier, other.Verifier), cmp.Compare(r.Presenter, other.Presenter))
}

// Refusals are the pairs that did not verify at some moment since a key was compromised,
// sorted, each once. In every other case such a pair is a [Violation].
func (w *World) Refusals() []Refusal {
	slices.SortFunc(w.refusals, Refusal.compare)
	w.refusals = slices.Compact(w.refusals)
	return w.refusals
}

// RefusedNow are the pairs that do not verify at this moment.
func (w *World) RefusedNow() []Refusal {
	before := w.refusals
	w.refusals, w.touched = nil, true
	w.checkPairs()
	now := w.Refusals()
	w.refusals = append(before, now...)
	return now
}

// refused takes down a pair that does not verify. It is a violation, unless a key of that
// root is compromised and the plans have named one of the two since.
func (w *World) refused(v verifier, p presenter, err error) {
	from, to := v.who(), p.what()
	switch {
	case v.device != nil && w.isWaived(v.device), p.device != nil && w.isWaived(p.device):
		// somebody has decided so, by name
	case !w.hurt[p.root]:
		w.violate(PairwiseSafety, "%s refuses %s: %v", v, p, err)
	case !w.isCompromised(p.root) || w.named[from] || w.named[to]:
	case w.planning && (v.device != nil || p.device != nil):
		// it may have come a moment ago: the plan that is made now is to name it
		w.unnamed[Refusal{from, to}] = fmt.Sprintf("%s refuses %s, and the plan that follows names neither: %v", v, p, err)
	default:
		w.violate(PairwiseSafety, "%s refuses %s, and no plan has named either: %v", v, p, err)
	}
	w.refusals = append(w.refusals, Refusal{from, to})
}

// checkUnnamed is asked once a plan is made that writes: it is made of what the cluster holds
// now, and names whoever came since the last one. One that could not read all may not.
func (w *World) checkUnnamed(plan planner.Plan, todo []write) {
	if plan.Blind || len(todo) == 0 {
		return
	}
	for _, pair := range slices.SortedFunc(maps.Keys(w.unnamed), Refusal.compare) {
		if !w.named[pair.Verifier] && !w.named[pair.Presenter] {
			w.violate(PairwiseSafety, "%s", w.unnamed[pair])
		}
	}
	clear(w.unnamed)
}

// noteEmergencies remembers whose keys Git says are compromised, and whom plans name.
func (w *World) noteEmergencies(plan planner.Plan) {
	for _, authority := range w.Desired.Authorities {
		ref := planner.AuthorityRef(authority)
		w.hurt[ref] = w.hurt[ref] || w.isCompromised(ref)
	}
	for _, drop := range slices.Concat(plan.Drops, plan.StillTrust) {
		w.named[drop.Who] = true
	}
}

// checkStolen is asked of every plan: a bundle that is to hold what takes over from a
// compromised key is to hold that no more, or the plan says what it waits for. Nor is one that
// Git lets distribute the authority no more, when what takes over is in another. What one holds because Git lists the
// certificate itself, or because somebody else writes it, is not the planner's to say.
func (w *World) checkStolen(plan planner.Plan) {
	if plan.Blind {
		return
	}
	for _, authority := range w.Desired.Authorities {
		ref := planner.AuthorityRef(authority)
		if authority.Spec.IssuedBy != nil || authority.Spec.Rollover.Paused || saysOfTheft(plan, ref) {
			continue
		}
		takesOver := slices.ContainsFunc(plan.Target.Bundles, func(b planner.TargetBundle) bool {
			return len(w.inState(b.Anchors, authority, v1alpha1.KeySigning)) > 0
		})
		for _, bundle := range plan.Target.Bundles {
			held := bundle.Anchors.Minus(bundle.Certificates)
			stolen, next := w.inState(held, authority, v1alpha1.KeyCompromised), w.inState(held, authority, v1alpha1.KeySigning)
			isStray := !w.distributes(bundle.Name, authority.Metadata.Name) && takesOver && len(held) > len(stolen)
			if len(stolen) > 0 && bundle.Via != v1alpha1.ViaObserved && (len(next) > 0 || isStray) {
				w.violate(StolenKeysLeave, "%s is to hold %s, which is compromised, beside %s", bundle.Name, names(stolen), names(next))
			}
		}
	}
}

// distributes reports whether Git says now that a bundle holds an authority's anchors.
func (w *World) distributes(bundle, authority string) bool {
	return slices.ContainsFunc(w.Desired.Bundles, func(b v1alpha1.TrustBundle) bool {
		return b.Metadata.Name == bundle && slices.Contains(b.Spec.Authorities, authority)
	})
}

// saysOfTheft reports whether a plan says that a compromised key is still trusted.
func saysOfTheft(plan planner.Plan, authority planner.Ref) bool {
	return slices.ContainsFunc(plan.Holds, func(h planner.Hold) bool {
		return h.Gate == "compromised" && h.Subject == "Authority "+authority.String()
	})
}

// inState are those of the anchors that are of the authority's keys in that state.
func (w *World) inState(anchors pki.Anchors, authority v1alpha1.Authority, state v1alpha1.KeyState) pki.Anchors {
	return slices.DeleteFunc(slices.Clone(anchors), func(anchor pki.Certificate) bool {
		return !slices.ContainsFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
			return k.State == state && w.isOf(anchor, planner.AuthorityRef(authority), k)
		})
	})
}

// isOf reports whether an anchor is of a root's key.
func (w *World) isOf(anchor pki.Certificate, authority planner.Ref, key v1alpha1.AuthorityKey) bool {
	return anchor.CommonName() == w.commonName(authority, key.Name) || key.Certificate == string(anchor.PEM())
}

// isHurt reports whether a key of the authority, or of one above it, was compromised.
func (w *World) isHurt(ref planner.Ref) bool {
	for _, authority := range w.inventory.Authorities {
		if planner.AuthorityRef(authority) == ref && authority.Spec.IssuedBy != nil && !w.hurt[ref] {
			return slices.ContainsFunc(w.inventory.Authorities, func(parent v1alpha1.Authority) bool {
				return parent.Metadata.Name == authority.Spec.IssuedBy.Name && w.isHurt(planner.AuthorityRef(parent))
			})
		}
	}
	return w.hurt[ref]
}

// isCompromised reports whether Git says so of a key of the authority.
func (w *World) isCompromised(authority planner.Ref) bool {
	return slices.ContainsFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool {
		return planner.AuthorityRef(a) == authority && slices.ContainsFunc(a.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.State == v1alpha1.KeyCompromised })
	})
}

// StillTrusted names the pods that have the anchor of a compromised key in memory.
func (w *World) StillTrusted() []string {
	var who []string
	for _, authority := range w.Desired.Authorities {
		for _, key := range authority.Spec.Keys {
			if key.State == v1alpha1.KeyCompromised {
				who = append(who, w.trusting(planner.AuthorityRef(authority), key)...)
			}
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}

func (w *World) trusting(authority planner.Ref, key v1alpha1.AuthorityKey) []string {
	var who []string
	for _, name := range w.bundlesOf(authority) {
		for _, workload := range w.workloads {
			for _, p := range workload.pods {
				for _, anchor := range p.anchors[name] {
					if w.isOf(anchor, authority, key) {
						who = append(who, workload.String())
					}
				}
			}
		}
	}
	return who
}

// commonName is that of a root's key which is made here.
func (w *World) commonName(authority planner.Ref, key string) string {
	for _, declared := range w.Desired.Authorities {
		if planner.AuthorityRef(declared) == authority {
			return planner.NewCASpec(declared.Spec, key, planner.Ref{}).CommonName
		}
	}
	return ""
}
