package simulation

import (
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// syncCopies copies each bundle to its namespaces, one after the other, and takes
// away copies whose bundle is gone. What it copies is the bundle as it last saw it: it
// may write what the bundle said before.
func (w *World) syncCopies() {
	for _, id := range w.sortedCopies() {
		if _, stands := w.bundles[id.bundle]; !stands && w.copies[id].via == v1alpha1.ViaBundle {
			delete(w.copies, id)
		}
	}
	for _, name := range w.bundleNames() {
		if !w.lazy() {
			w.seen[name] = w.bundles[name].Anchors
		}
		for _, id := range w.placesOf(name) {
			w.syncCopy(id)
		}
	}
}

func (w *World) syncCopy(id copyID) {
	anchors := w.seen[id.bundle]
	held := w.copies[id]
	if len(anchors) == 0 || held != nil && (held.unselected || held.anchors.Equal(anchors)) || w.Stuck[id.String()] || w.lazy() {
		return
	}
	w.put(id, bundleCopy{via: v1alpha1.ViaBundle, anchors: anchors})
}

func (w *World) bundleNames() []string {
	var names []string
	for name := range w.bundles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
