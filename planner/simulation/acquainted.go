package simulation

import (
	"cmp"
	"maps"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// acquaintance is somebody who accepts what somebody presents by a bundle that Git does not let
// distribute the authority of that: one that pins an intermediate, say.
type acquaintance struct{ bundle, verifier, presented string }

// Acquaint looks at who accepts whom at this moment, by whichever bundle, whatever Git says of
// it: they are to go on doing so, like those of whom Git says that they do.
func (w *World) Acquaint() {
	w.acquainted = map[acquaintance]bool{}
	for _, bundle := range w.mountedBundles() {
		groups := w.verifiersWith(bundle)
		w.eachStranger(bundle, func(p presenter, chain []pki.Certificate) {
			for _, group := range groups {
				if w.verify(chain, group.anchors, group.id) != nil {
					continue
				}
				for _, who := range group.who {
					w.acquainted[acquaintance{bundle, who.who(), p.what()}] = true
				}
			}
		})
	}
}

// checkAcquainted asks of all who were acquainted whether they are, and counts them.
func (w *World) checkAcquainted() (pairs int) {
	if len(w.acquainted) == 0 {
		return 0
	}
	for _, bundle := range w.acquaintedBy() {
		groups := w.verifiersWith(bundle)
		w.eachStranger(bundle, func(p presenter, chain []pki.Certificate) {
			for _, group := range groups {
				err := w.verify(chain, group.anchors, group.id)
				for _, who := range group.who {
					if !w.acquainted[acquaintance{bundle, who.who(), p.what()}] {
						continue
					}
					if pairs++; err != nil {
						w.parted(who, p, err)
					}
				}
			}
		})
	}
	return pairs
}

// parted takes down that somebody who was acquainted is refused. By a bundle that pins an
// intermediate that may be because that alone is compromised: then the plans name who it is.
func (w *World) parted(v verifier, p presenter, err error) {
	l := w.leaves[p.leaf]
	if l == nil || w.hurt[p.root] || !w.isHurt(w.authorityOf(l)) {
		w.refused(v, p, err)
		return
	}
	if !w.named[v.who()] && !w.named[p.what()] {
		w.violate(PairwiseSafety, "%s refuses %s, and no plan has named either: %v", v, p, err)
	}
	w.refusals = append(w.refusals, Refusal{v.who(), p.what()})
}

// acquaintedBy are the bundles by which somebody accepts whom Git says nothing of.
func (w *World) acquaintedBy() []string {
	bundles := map[string]bool{}
	for a := range w.acquainted {
		bundles[a.bundle] = true
	}
	return slices.Sorted(maps.Keys(bundles))
}

// mountedBundles are those that somebody verifies with, declared or not.
func (w *World) mountedBundles() []string {
	var mounted []string
	for _, workload := range w.workloads {
		for _, mount := range workload.Bundles {
			mounted = append(mounted, mount.Name)
		}
	}
	slices.Sort(mounted)
	return slices.Compact(mounted)
}

// eachStranger visits the leaves of the authorities that a bundle is not declared to
// distribute.
func (w *World) eachStranger(bundle string, visit func(who presenter, chain []pki.Certificate)) {
	at := slices.IndexFunc(w.inventory.Bundles, func(b v1alpha1.TrustBundle) bool { return b.Metadata.Name == bundle })
	var declared []string
	if at >= 0 {
		declared = w.inventory.Bundles[at].Spec.Authorities
	}
	roots := slices.SortedFunc(slices.Values(w.inventory.Authorities), func(a, b v1alpha1.Authority) int {
		return cmp.Compare(a.Metadata.Name, b.Metadata.Name)
	})
	for _, authority := range roots {
		if authority.Spec.IssuedBy == nil && !slices.Contains(declared, authority.Metadata.Name) {
			w.eachLeafOf(planner.AuthorityRef(authority), visit)
		}
	}
}
