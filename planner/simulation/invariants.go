package simulation

import (
	"bytes"
	"fmt"
	"maps"
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
	LinkBeforeRetire     Invariant = "link before retire"
	ReferencesAreTheirs  Invariant = "what somebody else writes is his"
	WavesAreProved       Invariant = "a wave is proved before the next"
	WindowsAreKept       Invariant = "nothing begins outside a window"
	ProbesComeFirst      Invariant = "an anchor leaves after every probe"
	StolenKeysLeave      Invariant = "a stolen key leaves as another takes over"
	LooksAgain           Invariant = "a plan says when to look again"
)

// Invariants are all of them.
var Invariants = []Invariant{
	TrustBeforeUse,
	DrainBeforeRetire,
	PairwiseSafety,
	BundlesOnlyGrow,
	Lifetimes,
	Skew,
	RestartsAreBounded,
	NoIntermediateAnchor,
	OwnCAIsNoBundle,
	LinkBeforeRetire,
	ReferencesAreTheirs,
	WavesAreProved,
	WindowsAreKept,
	ProbesComeFirst,
	StolenKeysLeave,
	LooksAgain,
}

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
		for _, id := range w.placesOf(name) {
			if c := w.copies[id]; c == nil || !c.anchors.Has(secret.root) && !c.unselected {
				w.violate(TrustBeforeUse, "an issuer moves to %s, which the copy of %s in %s does not hold", secretName, name, id.namespace)
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
				if l := w.leafOf(workload.Ref.Namespace, name); l != nil && w.familyOf(l) == w.rootOf(authority) && !anchors.Has(secret.root) {
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

// checkBundle is asked when a bundle is about to be written. It gets roots alone, but for what
// Git lists by its certificate. It loses an anchor only if that key is to be retired and every live chain verifies
// without it.
func (w *World) checkBundle(next planner.Bundle) {
	for _, anchor := range next.Anchors {
		if !anchor.SelfSigned() && !w.bundles[next.Name].Anchors.Has(anchor) && !isListed(w.Desired, next.Name, anchor) {
			w.violate(NoIntermediateAnchor, "%s is to hold %s, which %s signed", next.Name, anchor, anchor.X509().Issuer.CommonName)
		}
	}
	w.checkOrder(next)
	w.checkPublicCAs(next)
	w.checkLoss(next.Name, w.bundles[next.Name].Anchors, next.Anchors)
}

// isListed reports whether Git lists a certificate in a bundle beside its authorities' keys.
func isListed(desired planner.Desired, bundle string, anchor pki.Certificate) bool {
	return slices.ContainsFunc(desired.Bundles, func(b v1alpha1.TrustBundle) bool {
		return b.Metadata.Name == bundle && slices.ContainsFunc(b.Spec.Certificates, func(text string) bool {
			return slices.ContainsFunc(parsed(text), anchor.Equal)
		})
	})
}

// checkLoss is asked when a bundle, or a copy of one, is about to hold other anchors.
func (w *World) checkLoss(bundle string, before, after pki.Anchors) {
	gone := before.Minus(after)
	for _, anchor := range gone {
		if !w.retired(anchor) && !(isListed(w.inventory, bundle, anchor) && !isListed(w.Desired, bundle, anchor)) {
			w.violate(BundlesOnlyGrow, "%s loses %s, which is not to be retired", bundle, anchor)
		}
		w.checkLinked(bundle, anchor)
	}
	if len(gone) == 0 {
		return
	}
	w.checkProbes(bundle, gone, after)
	set := digest(after)
	w.eachPresenter(bundle, func(who presenter, chain []pki.Certificate) {
		if err := w.verify(chain, after, set); err != nil && !w.hurt[who.root] && (who.device == nil || !w.isWaived(who.device)) {
			w.violate(DrainBeforeRetire, "%s loses %s while %s needs it: %v", bundle, names(gone), who, err)
		}
	})
}

// checkOrder is asked with it: equal sets of anchors are equal bytes.
func (w *World) checkOrder(next planner.Bundle) {
	if !bytes.Equal(next.Anchors.PEM(), pki.NewAnchors(next.Anchors...).PEM()) {
		w.violate(BundlesOnlyGrow, "%s is written in an order of its own, or with an anchor twice", next.Name)
	}
	if standing, stands := w.bundles[next.Name]; stands && !standing.GrowsTo(next.Target) {
		w.violate(BundlesOnlyGrow, "the target of %s changes, and its old copies go before the new ones are there", next.Name)
	}
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
		c := w.copies[copyID{bundle: mount.Name, namespace: restarted.Ref.Namespace}]
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
