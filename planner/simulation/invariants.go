package simulation

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Invariant is one of the promises that no state of a world may break.
type Invariant string

// The invariants that are asked in every world, after every write.
const (
	TrustBeforeUse       Invariant = "trust before use"
	DrainBeforeRetire    Invariant = "drain before retire"
	PairwiseSafety       Invariant = "pairwise safety"
	BundlesOnlyGrow      Invariant = "bundles only grow"
	Lifetimes            Invariant = "lifetimes"
	Skew                 Invariant = "skew"
	RestartsAreBounded   Invariant = "restarts are bounded"
	NoIntermediateAnchor Invariant = "intermediates never enter a bundle"
	OwnCAIsNoBundle      Invariant = "a leaf's own ca.crt is no bundle"
	WavesAreProved       Invariant = "a wave is proved before the next"
	WindowsAreKept       Invariant = "nothing begins outside a window"
	ProbesComeFirst      Invariant = "an anchor leaves after every probe"
)

// Violation is an invariant that was seen broken, with its evidence.
type Violation struct {
	Invariant Invariant
	Evidence  string
}

// String is the violation in one line.
func (v Violation) String() string { return string(v.Invariant) + ": " + v.Evidence }

// Violations are the invariants that were seen broken.
func (w *World) Violations() []Violation { return w.violations }

func (w *World) violate(invariant Invariant, format string, args ...any) {
	w.violations = append(w.violations, Violation{invariant, fmt.Sprintf(format, args...)})
}

// checkTrustBeforeUse is asked when an issuer is about to move: every copy and
// every running verifier holds the anchor that the key chains to, and its skew is over.
func (w *World) checkTrustBeforeUse(authority planner.Ref, secretName string, secret *caSecret) {
	if secret == nil {
		w.violate(TrustBeforeUse, "an issuer moves to %s, of which there is no Secret", secretName)
		return
	}
	if w.hurt[w.rootOf(authority)] {
		return // everything moves at once
	}
	if usable := secret.certificate.NotBefore().Add(w.skewOf(authority)); w.Now.Before(usable) && !w.isHurt(authority) {
		w.violate(Skew, "an issuer moves to %s at %s, before %s", secretName, w.Now, usable)
	}
	for _, name := range w.bundlesOf(authority) {
		for _, namespace := range w.namespaces {
			if c := w.copies[copyID{name, namespace}]; c == nil || !c.anchors.Has(secret.root) {
				w.violate(TrustBeforeUse, "an issuer moves to %s, which the copy of %s in %s does not hold", secretName, name, namespace)
			}
		}
		w.eachVerifier(name, func(who verifier, anchors pki.Anchors) {
			if !anchors.Has(secret.root) && (who.device == nil || !w.isWaived(who.device)) {
				w.violate(TrustBeforeUse, "an issuer moves to %s, which %s has not loaded", secretName, who)
			}
		})
	}
	w.checkOwnCA(authority, secret)
}

// checkOwnCA is asked when an issuer is about to move to another root: nobody verifies
// with what its leaf's Secret says of the old one alone.
func (w *World) checkOwnCA(authority planner.Ref, secret *caSecret) {
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			for name, anchors := range p.own {
				if l := w.leafOf(workload.Ref.Namespace, name); l != nil && w.rootOf(w.authorityOf(l)) == w.rootOf(authority) && !anchors.Has(secret.root) {
					w.violate(OwnCAIsNoBundle, "an issuer moves to %s while %s verifies with the ca.crt of %s", secret.certificate, workload, name)
				}
			}
		}
	}
}

// skewOf is how long after its notBefore a key of the authority is not used.
func (w *World) skewOf(ref planner.Ref) time.Duration {
	for _, authority := range w.Desired.Authorities {
		if planner.AuthorityRef(authority) == ref && authority.Spec.Rollover.Skew != nil {
			return authority.Spec.Rollover.Skew.Duration
		}
	}
	return 0
}

// checkLifetime is asked when a leaf was issued: what signed it has not ended.
func (w *World) checkLifetime(l *leaf, by *caSecret) {
	if w.Now.After(by.certificate.NotAfter()) {
		w.violate(Lifetimes, "Certificate %s is signed at %s by %s, which ended at %s", l.ref, w.Now, by.certificate, by.certificate.NotAfter())
	}
}

// checkBundle is asked when a bundle is about to be written. It holds roots alone. It
// loses an anchor only if that key is to be retired and every live chain verifies
// without it.
func (w *World) checkBundle(next planner.Bundle) {
	for _, anchor := range next.Anchors {
		if !anchor.SelfSigned() {
			w.violate(NoIntermediateAnchor, "%s is to hold %s, which %s signed", next.Name, anchor, anchor.X509().Issuer.CommonName)
		}
	}
	w.checkOrder(next)
	w.checkLoss(next.Name, w.bundles[next.Name].Anchors, next.Anchors)
}

// checkLoss is asked when a bundle, or a copy of one, is about to hold other anchors.
func (w *World) checkLoss(bundle string, before, after pki.Anchors) {
	gone := before.Minus(after)
	for _, anchor := range gone {
		if !w.retired(anchor) {
			w.violate(BundlesOnlyGrow, "%s loses %s, which is not to be retired", bundle, anchor)
		}
	}
	if len(gone) == 0 {
		return
	}
	w.checkProbes(bundle, gone, after)
	w.eachPresenter(bundle, func(who presenter, chain []pki.Certificate) {
		if err := w.verify(chain, after); err != nil && !w.hurt[who.root] && (who.device == nil || !w.isWaived(who.device)) {
			w.violate(DrainBeforeRetire, "%s loses %s while %s needs it: %v", bundle, names(gone), who, err)
		}
	})
}

// checkOrder is asked with it: equal sets of anchors are equal bytes.
func (w *World) checkOrder(next planner.Bundle) {
	if !bytes.Equal(next.Anchors.PEM(), pki.NewAnchors(next.Anchors...).PEM()) {
		w.violate(BundlesOnlyGrow, "%s is written in an order of its own, or with an anchor twice", next.Name)
	}
	if standing, stands := w.bundles[next.Name]; stands && !reflect.DeepEqual(standing.Target, next.Target) {
		w.violate(BundlesOnlyGrow, "the target of %s changes, and its old copies go before the new ones are there", next.Name)
	}
}

// verify is pki.Verify, remembered: no certificate of a world ends while it lasts.
func (w *World) verify(chain []pki.Certificate, anchors pki.Anchors) error {
	id := verdictID{leaf: chain[0].Fingerprint(), anchors: digest(anchors)}
	verdict, known := w.verified[id]
	if !known {
		verdict = pki.Verify(chain, anchors, w.Now)
		w.verified[id] = verdict
	}
	return verdict
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

// retired reports whether Git lets the key of that anchor go: one that its Certificate
// was issued, now or before.
func (w *World) retired(anchor pki.Certificate) bool {
	for _, ca := range w.cas {
		if ca.target.Spec.CommonName == anchor.CommonName() {
			return !w.wanted(ca.target)
		}
	}
	for _, authority := range w.Desired.Authorities {
		if slices.ContainsFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
			return k.Certificate == string(anchor.PEM()) && !k.State.Goes()
		}) {
			return false
		}
	}
	for _, recorded := range w.record {
		if recorded.Certificate.Equal(anchor) {
			return !w.wanted(planner.TargetKey{Authority: w.authorityNamed(recorded.Authority), Name: recorded.Name})
		}
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(w.secrets)), func(s *caSecret) bool { return s.root.Equal(anchor) }) ||
		slices.ContainsFunc(slices.Collect(maps.Values(w.outside)), func(s *caSecret) bool { return s.root.Equal(anchor) })
}

// wanted reports whether Git keeps a root's key.
func (w *World) wanted(target planner.TargetKey) bool {
	return slices.ContainsFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool {
		return planner.AuthorityRef(a) == target.Authority && slices.ContainsFunc(a.Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
			return k.Name == target.Name && !k.State.Goes()
		})
	})
}

// checkPairs asks of every presenter and every verifier of the same authority
// whether the one is accepted by the other, at this moment.
func (w *World) checkPairs() {
	for _, bundle := range w.inventory.Bundles {
		w.eachVerifier(bundle.Metadata.Name, func(verifier verifier, anchors pki.Anchors) {
			w.eachPresenter(bundle.Metadata.Name, func(presenter presenter, chain []pki.Certificate) {
				if err := w.verify(chain, anchors); err != nil {
					w.refused(verifier, presenter, err)
				}
			})
		})
	}
	w.checkOwnPairs()
}

// checkOwnPairs asks the same of those who verify with a leaf Secret's ca.crt.
func (w *World) checkOwnPairs() {
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			for name, anchors := range p.own {
				l := w.leafOf(workload.Ref.Namespace, name)
				w.eachLeafOf(w.rootOf(w.authorityOf(l)), func(presenter presenter, chain []pki.Certificate) {
					if err := w.verify(chain, anchors); err != nil && !w.hurt[presenter.root] {
						w.violate(OwnCAIsNoBundle, "pod %d of %s, with the ca.crt of %s, refuses %s: %v", p.ordinal, workload, name, presenter, err)
					}
				})
			}
		}
	}
}

// checkOneRestart is asked when a workload is about to be restarted: no other
// verifier of its bundles is being rolled, and its copies hold what the Bundle does.
func (w *World) checkOneRestart(action planner.Action) {
	restarted := w.workload(action.Workload, action.Subject)
	for _, other := range w.workloads {
		if other != restarted && other.Kind != "Pod" && len(other.pods) > 0 && other.rolling() && sharesBundle(restarted, other) {
			w.violate(RestartsAreBounded, "%s is restarted while %s is rolling", restarted, other)
		}
	}
	for _, mount := range restarted.Bundles {
		c := w.copies[copyID{mount.Name, restarted.Ref.Namespace}]
		if action.BundleDigest != "" && (c == nil || c.via == v1alpha1.ViaBundle && !c.anchors.Contains(w.bundles[mount.Name].Anchors)) {
			w.violate(RestartsAreBounded, "%s is restarted before its copy of %s is current", restarted, mount.Name)
		}
	}
}

// checkBundleUnused is asked when a bundle is about to be deleted.
func (w *World) checkBundleUnused(name string) {
	w.eachVerifier(name, func(who verifier, _ pki.Anchors) {
		w.violate(DrainBeforeRetire, "Bundle %s is deleted while %s verifies with it", name, who)
	})
}

// checkIssuerUnused is asked when an issuer is about to be deleted.
func (w *World) checkIssuerUnused(ref planner.Ref) {
	for _, leaf := range sortedKeys(w.leaves) {
		if w.leaves[leaf].issuer == ref {
			w.violate(DrainBeforeRetire, "issuer %s is deleted while Certificate %s refers to it", ref, leaf)
		}
	}
}

// checkSecretUnused is asked when a key's Secret is about to be deleted: no issuer
// signs with it, and no Certificate is there that would make it anew.
func (w *World) checkSecretUnused(ref planner.Ref) {
	if w.cas[ref] != nil {
		w.violate(DrainBeforeRetire, "Secret %s is deleted while its Certificate is there", ref)
	}
	for name, i := range w.issuers {
		if i.secretName == ref.Name && i.authority.Namespace == ref.Namespace {
			w.violate(DrainBeforeRetire, "Secret %s is deleted while issuer %s signs with it", ref, name)
		}
	}
	if w.foreign[ref] {
		w.violate(DrainBeforeRetire, "Secret %s is deleted, and somebody else made it", ref)
	}
}

func (w *World) workload(kind string, ref planner.Ref) *workload {
	found := slices.IndexFunc(w.workloads, func(x *workload) bool { return x.Kind == kind && x.Ref == ref })
	return w.workloads[found]
}

func sharesBundle(a, b *workload) bool {
	return slices.ContainsFunc(a.Bundles, func(m planner.Mount) bool {
		return slices.ContainsFunc(b.Bundles, func(n planner.Mount) bool { return m.Name == n.Name })
	})
}

// bundlesOf are the bundles that distribute the root of the authority.
func (w *World) bundlesOf(authority planner.Ref) []string {
	root := w.rootOf(authority)
	var found []string
	for _, bundle := range w.inventory.Bundles {
		if slices.Contains(bundle.Spec.Authorities, root.Name) {
			found = append(found, bundle.Metadata.Name)
		}
	}
	return found
}

// rootOf is the root at the top of the authority's chain.
func (w *World) rootOf(ref planner.Ref) planner.Ref {
	for range w.inventory.Authorities {
		at := slices.IndexFunc(w.inventory.Authorities, func(a v1alpha1.Authority) bool { return planner.AuthorityRef(a) == ref })
		if at < 0 || w.inventory.Authorities[at].Spec.IssuedBy == nil {
			return ref
		}
		parent := w.inventory.Authorities[at].Spec.IssuedBy.Name
		at = slices.IndexFunc(w.inventory.Authorities, func(a v1alpha1.Authority) bool { return a.Metadata.Name == parent })
		if at < 0 {
			return ref
		}
		ref = planner.AuthorityRef(w.inventory.Authorities[at])
	}
	return ref
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
	for _, ref := range sortedKeys(w.leaves) {
		l := w.leaves[ref]
		if w.rootOf(w.authorityOf(l)) != root {
			continue
		}
		if len(l.chain) > 0 {
			visit(presenter{leaf: ref, root: root}, l.chain)
		}
		for _, workload := range w.workloads {
			for _, p := range workload.pods {
				if chain, presents := p.chains[l.secret]; presents && workload.Ref.Namespace == ref.Namespace {
					visit(presenter{leaf: ref, root: root, of: workload, ordinal: p.ordinal}, chain)
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

// authorityOf is the authority that the leaf's issuer is bound to.
func (w *World) authorityOf(l *leaf) planner.Ref { return w.authorityBehind(l.issuer) }

// authorityBehind is the authority that an issuer is bound to.
func (w *World) authorityBehind(issuer planner.Ref) planner.Ref {
	for _, binding := range w.inventory.Bindings {
		if planner.BindingRef(binding) != issuer {
			continue
		}
		for _, authority := range w.inventory.Authorities {
			if authority.Metadata.Name == binding.Spec.Authority {
				return planner.AuthorityRef(authority)
			}
		}
	}
	return planner.Ref{}
}

func names(anchors pki.Anchors) string {
	var all []string
	for _, anchor := range anchors {
		all = append(all, anchor.CommonName())
	}
	slices.Sort(all)
	return "{" + strings.Join(all, ", ") + "}"
}
