package simulation

import "slices"

// syncCopies copies each bundle to its namespaces, one after the other, and takes
// away copies whose bundle is gone.
func (w *World) syncCopies() {
	for _, id := range w.sortedCopies() {
		if _, stands := w.bundles[id.bundle]; !stands {
			delete(w.copies, id)
		}
	}
	for _, name := range w.bundleNames() {
		for _, namespace := range w.namespaces {
			w.syncCopy(copyID{name, namespace})
		}
	}
}

func (w *World) syncCopy(id copyID) {
	anchors := w.bundles[id.bundle].Anchors
	if held := w.copies[id]; (held != nil && held.anchors.Equal(anchors)) || w.lazy() {
		return
	}
	w.copies[id] = &bundleCopy{anchors: anchors, changed: w.Now}
}

func (w *World) bundleNames() []string {
	var names []string
	for name := range w.bundles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
