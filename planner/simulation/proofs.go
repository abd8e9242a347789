package simulation

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Proof counts what was verified: pairs of a chain that somebody presents and of anchors
// that somebody verifies with.
type Proof struct {
	// Pairs in a state, at most.
	Pairs int
	// States that were looked at, and the pairs of all of them together.
	States, Verified int
}

// Proof is what was verified so far.
func (w *World) Proof() Proof { return w.count }

// ForgetProof begins to count anew.
func (w *World) ForgetProof() { w.count, w.state = Proof{}, pki.Fingerprint{} }

// proofs remember what was verified.
type proofs struct {
	count Proof
	// state that was looked at last, and when; touched: somebody has loaded something since.
	state    pki.Fingerprint
	lookedAt time.Time
	touched  bool
	verdicts map[verdictID]verdict
}

// verdictID is a leaf and the anchors that it was verified against.
type verdictID struct{ leaf, anchors pki.Fingerprint }

// verdict holds until a certificate of the chain or of the anchors ends.
type verdict struct {
	err   error
	until time.Time
}

// verify is pki.Verify, remembered by the leaf and the digest of the anchors. Nobody presents a leaf that has ended: cert-manager
// renews it before.
func (w *World) verify(chain []pki.Certificate, anchors pki.Anchors, set pki.Fingerprint) error {
	if w.Now.After(chain[0].NotAfter()) {
		return nil
	}
	id := verdictID{leaf: chain[0].Fingerprint(), anchors: set}
	known, is := w.verdicts[id]
	if !is || w.Now.After(known.until) {
		known = verdict{err: pki.Verify(chain, anchors, w.Now), until: w.firstEnd(chain, anchors)}
		w.verdicts[id] = known
	}
	return known.err
}

// firstEnd is when the first of the certificates ends that have not.
func (w *World) firstEnd(chain []pki.Certificate, anchors pki.Anchors) time.Time {
	first := chain[0].NotAfter()
	for _, certificate := range slices.Concat(chain, []pki.Certificate(anchors)) {
		if ends := certificate.NotAfter(); ends.Before(first) && !w.Now.After(ends) {
			first = ends
		}
	}
	return first
}

// digest tells sets of anchors apart.
func digest(anchors pki.Anchors) (id pki.Fingerprint) {
	hash := sha256.New()
	for _, anchor := range anchors {
		fingerprint := anchor.Fingerprint()
		hash.Write(fingerprint[:])
	}
	hash.Sum(id[:0])
	return id
}

// likeMinded are those who verify with the same anchors.
type likeMinded struct {
	anchors pki.Anchors
	id      pki.Fingerprint
	who     []verifier
}

// verifiersWith gathers who verifies with a bundle by the anchors that they hold.
func (w *World) verifiersWith(bundle string) []*likeMinded {
	var groups []*likeMinded
	byAnchors := map[pki.Fingerprint]*likeMinded{}
	w.eachVerifier(bundle, func(who verifier, anchors pki.Anchors) {
		id := digest(anchors)
		if byAnchors[id] == nil {
			byAnchors[id] = &likeMinded{anchors: anchors, id: id}
			groups = append(groups, byAnchors[id])
		}
		byAnchors[id].who = append(byAnchors[id].who, who)
	})
	return groups
}

// checkPairs asks of every presenter and every verifier of the same authority
// whether the one is accepted by the other, at this moment.
//
// Where nobody has loaded anything since, and no time has passed, the answer is what it was.
func (w *World) checkPairs() {
	if !w.touched && w.Now.Equal(w.lookedAt) && w.Prompt {
		return
	}
	w.touched, w.lookedAt = false, w.Now
	pairs, state := 0, sha256.New()
	for _, bundle := range w.inventory.Bundles {
		groups := w.verifiersWith(bundle.Metadata.Name)
		if len(groups) == 0 {
			continue
		}
		for _, group := range groups {
			fmt.Fprintf(state, "%s %x %d\n", bundle.Metadata.Name, group.id, len(group.who))
		}
		w.eachPresenter(bundle.Metadata.Name, func(presenter presenter, chain []pki.Certificate) {
			leaf := chain[0].Fingerprint()
			state.Write(leaf[:])
			for _, group := range groups {
				pairs += len(group.who)
				if err := w.verify(chain, group.anchors, group.id); err != nil {
					for _, who := range group.who {
						w.refused(who, presenter, err)
					}
				}
			}
		})
	}
	pairs += w.checkAcquainted()
	w.checkOwnPairs()
	w.countState(pki.Fingerprint(state.Sum(nil)), pairs)
}

// countState counts a state, unless it is the one that was counted last.
func (w *World) countState(state pki.Fingerprint, pairs int) {
	if state == w.state {
		return
	}
	w.state = state
	w.count.States++
	w.count.Pairs = max(w.count.Pairs, pairs)
	w.count.Verified += pairs
}

// checkOwnPairs asks the same of those who verify with a leaf Secret's ca.crt.
func (w *World) checkOwnPairs() {
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			for name, anchors := range p.own {
				l := w.leafOf(workload.Ref.Namespace, name)
				set := digest(anchors)
				w.eachLeafOf(w.familyOf(l), func(presenter presenter, chain []pki.Certificate) {
					if err := w.verify(chain, anchors, set); err != nil && !w.hurt[presenter.root] {
						w.violate(OwnCAIsNoBundle, "pod %d of %s, with the ca.crt of %s, refuses %s: %v", p.ordinal, workload, name, presenter, err)
					}
				})
			}
		}
	}
}

// verifier is a pod, or a device, that holds the anchors of a bundle.
type verifier struct {
	of      *workload
	ordinal int
	device  *device
}

// String is "pod 0 of Deployment plant/broker" or "Device sensors/one".
func (v verifier) String() string {
	if v.device != nil {
		return v.who()
	}
	return fmt.Sprintf("pod %d of %s", v.ordinal, v.of)
}

// who is the verifier as plans name it.
func (v verifier) who() string {
	if v.device != nil {
		return "Device " + v.device.String()
	}
	return v.of.String()
}

// presenter is who shows a chain: a pod, or whoever takes it from its Secret.
type presenter struct {
	// leaf that is shown, and the root of its authorities.
	leaf, root planner.Ref
	// of is nil for whoever takes it from the Secret, and for a device.
	of      *workload
	ordinal int
	device  *device
}

// String is "Certificate plant/broker", or as a verifier's.
func (p presenter) String() string {
	if p.of == nil {
		return p.what()
	}
	return verifier{of: p.of, ordinal: p.ordinal}.String()
}

// what is shown, as plans name it.
func (p presenter) what() string {
	if p.device != nil {
		return "Device " + p.device.String()
	}
	return "Certificate " + p.leaf.String()
}

func (w *World) eachVerifier(bundle string, visit func(who verifier, anchors pki.Anchors)) {
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			if anchors, verifies := p.anchors[bundle]; verifies {
				visit(verifier{of: workload, ordinal: p.ordinal}, anchors)
			}
		}
	}
	for _, d := range w.devices {
		if d.bundle == bundle && len(d.anchors) > 0 && w.counts(d) {
			visit(verifier{device: d}, d.anchors)
		}
	}
}

// eachPresenter visits everything that verifiers of a bundle may be shown: what
// running pods loaded, and what pods that start would load.
func (w *World) eachPresenter(bundle string, visit func(who presenter, chain []pki.Certificate)) {
	for _, declared := range w.inventory.Bundles {
		if declared.Metadata.Name != bundle {
			continue
		}
		for _, authority := range w.inventory.Authorities {
			if slices.Contains(declared.Spec.Authorities, authority.Metadata.Name) {
				w.eachLeafOf(planner.AuthorityRef(authority), visit)
			}
		}
	}
}

// eachLeafOf visits the leaves of a root's whole family, in their Secrets and in pods.
func (w *World) eachLeafOf(root planner.Ref, visit func(who presenter, chain []pki.Certificate)) {
	for _, l := range w.sortedLeaves() {
		if len(l.chain) > 0 && w.familyOf(l) == root {
			visit(presenter{leaf: l.ref, root: root}, l.chain)
		}
	}
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			for _, mount := range workload.Secrets {
				chain, presents := p.chains[mount.Name]
				if l := w.leafOf(workload.Ref.Namespace, mount.Name); presents && w.familyOf(l) == root {
					visit(presenter{leaf: l.ref, root: root, of: workload, ordinal: p.ordinal}, chain)
				}
			}
		}
	}
	for _, d := range w.devices {
		if d.root == root && w.counts(d) {
			visit(presenter{root: root, device: d}, d.chain)
		}
	}
}

// sortedLeaves are all leaves by their names. Whose leaves there are never changes.
func (w *World) sortedLeaves() []*leaf {
	if w.inOrder == nil {
		for _, ref := range sortedKeys(w.leaves) {
			w.inOrder = append(w.inOrder, w.leaves[ref])
		}
	}
	return w.inOrder
}

// familyOf is the root authority of a leaf, by the issuer that it refers to.
func (w *World) familyOf(l *leaf) planner.Ref {
	if l.family == (planner.Ref{}) {
		l.family = w.rootOf(w.authorityOf(l))
	}
	return l.family
}
