package simulation

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// isClosed reports whether an authority has windows, and none is open.
func (w *World) isClosed(authority v1alpha1.Authority) bool {
	windows := authority.Spec.Rollover.Windows
	schedule, err := v1alpha1.NewSchedule(windows, w.Desired.Zones)
	if err != nil {
		panic(fmt.Sprintf("simulation: windows of %s: %v", planner.AuthorityRef(authority), err))
	}
	return len(windows) > 0 && !schedule.IsOpen(w.Now) && !w.isEmergencyOf(authority.Metadata.Name)
}

// isEmergencyOf reports whether a key of an authority, or of one above it, is compromised:
// nothing waits for windows, waves or probes then.
func (w *World) isEmergencyOf(name string) bool {
	for _, authority := range w.Desired.Authorities {
		if authority.Metadata.Name != name {
			continue
		}
		for _, key := range authority.Spec.Keys {
			if key.State == v1alpha1.KeyCompromised {
				return true
			}
		}
		parent := authority.Spec.IssuedBy
		return parent != nil && parent.Name != name && w.isEmergencyOf(parent.Name)
	}
	return false
}

func (w *World) checkWindow(authority planner.Ref, format string, args ...any) {
	if declared, is := w.declaredAuthority(authority); is && w.isClosed(declared) {
		w.violate(WindowsAreKept, "%s at %s, outside the windows of %s", fmt.Sprintf(format, args...), w.Now, authority)
	}
}

// checkLeafWindow is asked when a leaf is about to be reissued.
func (w *World) checkLeafWindow(ref planner.Ref) {
	w.checkWindow(w.authorityOf(w.leaves[ref]), "Certificate %s is reissued", ref)
}

// checkMoveWindow is asked when an issuer that is there is about to get another key.
func (w *World) checkMoveWindow(ref, authority planner.Ref) {
	w.checkWindow(authority, "issuer %s moves", ref)
}

// checkRestartWindow is asked when a workload is about to be restarted: it may be for any
// authority's sake.
func (w *World) checkRestartWindow(action planner.Action) {
	if !slices.ContainsFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool { return !w.isClosed(a) }) {
		w.violate(WindowsAreKept, "%s %s is restarted at %s, outside all windows", action.Workload, action.Subject, w.Now)
	}
}

// noteBegun remembers the anchors that a plan takes out while a window is open: that is
// carried to its end.
func (w *World) noteBegun(plan planner.Plan) {
	for _, target := range plan.Target.Bundles {
		for _, anchor := range w.heldBy(target.Name).Minus(target.Anchors) {
			if owner, known := w.ownerOf(anchor); known && !w.isClosed(owner) {
				w.begun[anchor.Fingerprint()] = true
			}
		}
	}
}

// heldBy is what a bundle or any of its copies holds.
func (w *World) heldBy(bundle string) pki.Anchors {
	held := w.bundles[bundle].Anchors
	for _, id := range w.sortedCopies() {
		if id.bundle == bundle {
			held = held.Union(w.copies[id].anchors)
		}
	}
	return held
}

// checkLeavingWindow is asked when anchors are about to leave a bundle.
func (w *World) checkLeavingWindow(bundle string, leaving pki.Anchors) {
	for _, anchor := range leaving {
		if owner, known := w.ownerOf(anchor); known && w.isClosed(owner) && !w.begun[anchor.Fingerprint()] {
			w.violate(WindowsAreKept, "%s loses %s at %s, outside the windows of %s", bundle, anchor, w.Now, planner.AuthorityRef(owner))
		}
	}
}

// ownerOf is the authority of a root.
func (w *World) ownerOf(anchor pki.Certificate) (v1alpha1.Authority, bool) {
	for _, ref := range sortedKeys(w.internal) {
		if secret := w.secretOf(ref); secret != nil && secret.root.Equal(anchor) && secret.certificate.Equal(anchor) {
			return w.declaredAuthority(w.internal[ref].target.Authority)
		}
	}
	return v1alpha1.Authority{}, false
}
