package simulation

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// workloads run as many pods as were seen. What these have loaded was not seen: see
// [FromObserved].
func (b *builder) workloads() {
	for _, seen := range b.observed.Workloads {
		w := newWorkload(seen)
		w.scale = scaleOf(seen)
		if seen.LeavesDigest != "" && seen.LeavesDigest == b.leavesDigest(seen, asSeen) {
			w.LeavesDigest = b.leavesDigest(seen, asTwins)
		}
		for ordinal := range seen.Pods {
			p := newPod(w)
			p.ordinal, p.created = ordinal, seen.OldestStart
			if ordinal >= seen.Bearing {
				p.bundleDigest = w.BundleDigest + " of before"
			}
			b.loadAssumed(w, p, ordinal < seen.Bearing)
			w.pods = append(w.pods, p)
		}
		b.World.workloads = append(b.World.workloads, w)
	}
}

// scaleOf is how many pods a workload shall have, as far as it shows: one that is rolled, and
// whose pods are all of the present pod template, has another to come.
func scaleOf(seen planner.Workload) int {
	switch {
	case seen.Rolling && seen.Bearing == seen.Pods:
		return seen.Pods + 1
	case seen.Pods == 0:
		return -1
	}
	return seen.Pods
}

// loadAssumed fills in what a pod holds at least, if it is of the present pod template or
// not.
func (b *builder) loadAssumed(w *workload, p *pod, current bool) {
	knows := current && w.BundleDigest != "" && w.BundleDigest == b.copiesDigest(w.Workload)
	for _, mount := range w.Bundles {
		if b.loadBundle(w, p, mount, b.Now) && !knows {
			p.anchors[mount.Name] = b.surelyLoaded(p.anchors[mount.Name])
		}
	}
	knows = current && w.LeavesDigest != "" && w.LeavesDigest == b.leavesDigest(w.Workload, asTwins)
	for _, mount := range w.Secrets {
		if b.loadSecret(w, p, mount, b.Now) && !knows {
			p.chains[mount.Name] = b.earlier(b.leafOf(w.Ref.Namespace, mount.Name))
		}
	}
}

// surelyLoaded are the anchors of a copy that whoever mounts it has loaded: those that were
// once seen to be loaded by all, and those that somebody's leaf needs, which nobody got
// before that was seen.
func (b *builder) surelyLoaded(anchors pki.Anchors) pki.Anchors {
	if b.needed == nil {
		b.gatherNeeded()
	}
	return slices.DeleteFunc(slices.Clone(anchors), func(anchor pki.Certificate) bool {
		ref, name, isKey := b.keyWith(anchor)
		gate := fmt.Sprintf("distributed %s %s %s", ref, name, b.originalOf(anchor).Fingerprint().Short())
		remembered := slices.ContainsFunc(b.observed.Since, func(g planner.Gate) bool { return g.Name == gate })
		return isKey && !b.needed[anchor.Fingerprint()] && !remembered
	})
}

// gatherNeeded finds the roots that leaves chain to, and the CAs on the way there.
func (b *builder) gatherNeeded() {
	b.needed = map[pki.Fingerprint]bool{}
	for _, l := range b.World.leaves {
		if !l.root.IsZero() {
			b.needed[l.root.Fingerprint()] = true
		}
		for _, above := range l.chain[min(1, len(l.chain)):] {
			b.needed[above.Fingerprint()] = true
		}
	}
}

func (b *builder) originalOf(twin pki.Certificate) pki.Certificate {
	original, _ := b.twins.Original(twin)
	return original
}

// keyWith is the key whose certificate an anchor is.
func (b *builder) keyWith(anchor pki.Certificate) (authority planner.Ref, name string, is bool) {
	for _, ref := range sortedKeys(b.cas) {
		if ca := b.cas[ref]; !ca.issued.IsZero() && ca.issued.Equal(anchor) {
			return ca.target.Authority, ca.target.Name, true
		}
	}
	for _, given := range b.given {
		if b.twins.of(given.original).Equal(anchor) {
			return given.authority, given.key.Name, true
		}
	}
	return planner.Ref{}, "", false
}

// earlier is what a pod may present that has not loaded its leaf since another key of the
// authority signed it: what is there now, unless such a key is still there.
func (b *builder) earlier(l *leaf) []pki.Certificate {
	authority, name, known := b.signerOfLeaf(l)
	if !known || b.isPresented(authority, name) {
		return l.chain
	}
	for _, ref := range slices.Backward(sortedKeys(b.cas)) {
		ca, secret := b.cas[ref], b.secrets[ref]
		if ca.target.Authority != authority || ca.target.Name == name || secret == nil || ca.issued.IsZero() || !b.wasBefore(secret, l) {
			continue
		}
		return append([]pki.Certificate{b.sign(l.ref.String(), l.life, secret)}, secret.above...)
	}
	return l.chain
}

// wasBefore reports whether leaves may have been signed by that key before this one was
// issued: a root that no bundle holds has signed none.
func (b *builder) wasBefore(secret *caSecret, l *leaf) bool {
	if secret.certificate.NotBefore().After(l.chain[0].NotBefore()) {
		return false
	}
	for _, c := range b.World.copies {
		if c.anchors.Has(secret.root) {
			return true
		}
	}
	return false
}

// signerOfLeaf is the key that signed a leaf.
func (b *builder) signerOfLeaf(l *leaf) (authority planner.Ref, name string, known bool) {
	if len(l.chain) == 0 {
		return planner.Ref{}, "", false
	}
	for _, ref := range sortedKeys(b.cas) {
		if ca := b.cas[ref]; !ca.issued.IsZero() && l.chain[0].SignedBy(ca.issued) {
			return ca.target.Authority, ca.target.Name, true
		}
	}
	return planner.Ref{}, "", false
}

// isPresented reports whether all who present leaves of a key were once seen to have loaded
// them.
func (b *builder) isPresented(authority planner.Ref, name string) bool {
	return slices.ContainsFunc(b.observed.Keys, func(k planner.Key) bool {
		gate := fmt.Sprintf("presented %s %s %s", authority, name, k.Certificate.Fingerprint().Short())
		return k.Authority == authority && k.Name == name && slices.ContainsFunc(b.observed.Since, func(g planner.Gate) bool { return g.Name == gate })
	})
}
