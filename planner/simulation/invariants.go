package simulation

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Violations are the invariants that were seen broken, each with its evidence.
func (w *World) Violations() []string { return w.violations }

func (w *World) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

// checkTrustBeforeUse is asked when an issuer is about to move: every copy and
// every running verifier holds the key's anchor.
func (w *World) checkTrustBeforeUse(authority planner.Ref, secretName string) {
	secret := w.secrets[planner.Ref{Namespace: authority.Namespace, Name: secretName}]
	if secret == nil {
		w.violate("trust before use: an issuer moves to %s, of which there is no Secret", secretName)
		return
	}
	for _, name := range w.bundlesOf(authority) {
		for _, namespace := range w.namespaces {
			if c := w.copies[copyID{name, namespace}]; c == nil || !c.anchors.Has(secret.certificate) {
				w.violate("trust before use: an issuer moves to %s, which the copy of %s in %s does not hold", secretName, name, namespace)
			}
		}
		w.eachVerifier(name, func(who string, anchors pki.Anchors) {
			if !anchors.Has(secret.certificate) {
				w.violate("trust before use: an issuer moves to %s, which %s has not loaded", secretName, who)
			}
		})
	}
}

// checkShrink is asked when a bundle is about to be written: it loses an anchor
// only if that key is to be retired and every live chain verifies without it.
func (w *World) checkShrink(next planner.Bundle) {
	gone := w.bundles[next.Name].Anchors.Minus(next.Anchors)
	for _, anchor := range gone {
		if !w.retired(anchor) {
			w.violate("bundles only grow: %s loses %s, which is not to be retired", next.Name, anchor)
		}
	}
	if len(gone) == 0 {
		return
	}
	w.eachPresenter(next.Name, func(who string, chain []pki.Certificate) {
		if err := w.verify(chain, next.Anchors); err != nil {
			w.violate("drain before retire: %s loses %s while %s needs it: %v", next.Name, names(gone), who, err)
		}
	})
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

// retired reports whether Git lets the key of that anchor go.
func (w *World) retired(anchor pki.Certificate) bool {
	for _, ca := range w.cas {
		if ca.issued.Equal(anchor) {
			return !w.wanted(ca.target)
		}
	}
	return false
}

func (w *World) wanted(target planner.TargetKey) bool {
	return slices.ContainsFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool {
		return planner.AuthorityRef(a) == target.Authority && slices.ContainsFunc(a.Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
			return k.Name == target.Name && k.State != v1alpha1.KeyRetired
		})
	})
}

// checkPairs asks of every presenter and every verifier of the same authority
// whether the one is accepted by the other, at this moment.
func (w *World) checkPairs() {
	for _, bundle := range w.Desired.Bundles {
		w.eachVerifier(bundle.Metadata.Name, func(verifier string, anchors pki.Anchors) {
			w.eachPresenter(bundle.Metadata.Name, func(presenter string, chain []pki.Certificate) {
				if err := w.verify(chain, anchors); err != nil {
					w.violate("pairwise safety: %s refuses %s: %v", verifier, presenter, err)
				}
			})
		})
	}
}

// checkOneRestart is asked when a workload is about to be restarted: no other
// verifier of its bundles is being rolled, and its copies hold what the Bundle does.
func (w *World) checkOneRestart(action planner.Action) {
	restarted := w.workload(action.Workload, action.Subject)
	for _, other := range w.workloads {
		if other != restarted && len(other.pods) > 0 && other.rolling() && sharesBundle(restarted, other) {
			w.violate("restarts are bounded: %s is restarted while %s is rolling", restarted, other)
		}
	}
	for _, mount := range restarted.Bundles {
		c := w.copies[copyID{mount.Name, restarted.Ref.Namespace}]
		if action.BundleDigest != "" && (c == nil || !c.anchors.Contains(w.bundles[mount.Name].Anchors)) {
			w.violate("restarts are bounded: %s is restarted before its copy of %s is current", restarted, mount.Name)
		}
	}
}

// checkBundleUnused is asked when a bundle is about to be deleted.
func (w *World) checkBundleUnused(name string) {
	w.eachVerifier(name, func(who string, _ pki.Anchors) {
		w.violate("drain before retire: Bundle %s is deleted while %s verifies with it", name, who)
	})
}

// checkIssuerUnused is asked when an issuer is about to be deleted.
func (w *World) checkIssuerUnused(ref planner.Ref) {
	for _, leaf := range sortedKeys(w.leaves) {
		if w.leaves[leaf].issuer == ref {
			w.violate("drain before retire: issuer %s is deleted while Certificate %s refers to it", ref, leaf)
		}
	}
}

// checkSecretUnused is asked when a key's Secret is about to be deleted: no issuer
// signs with it, and no Certificate is there that would make it anew.
func (w *World) checkSecretUnused(ref planner.Ref) {
	if w.cas[ref] != nil {
		w.violate("drain before retire: Secret %s is deleted while its Certificate is there", ref)
	}
	for name, i := range w.issuers {
		if i.secretName == ref.Name && i.authority.Namespace == ref.Namespace {
			w.violate("drain before retire: Secret %s is deleted while issuer %s signs with it", ref, name)
		}
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

func (w *World) bundlesOf(authority planner.Ref) []string {
	var found []string
	for _, bundle := range w.Desired.Bundles {
		if slices.Contains(bundle.Spec.Authorities, authority.Name) {
			found = append(found, bundle.Metadata.Name)
		}
	}
	return found
}

func (w *World) eachVerifier(bundle string, visit func(who string, anchors pki.Anchors)) {
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			if anchors, verifies := p.anchors[bundle]; verifies {
				visit(fmt.Sprintf("pod %d of %s", p.ordinal, workload), anchors)
			}
		}
	}
}

// eachPresenter visits everything that verifiers of a bundle may be shown: what
// running pods loaded, and what pods that start would load.
func (w *World) eachPresenter(bundle string, visit func(who string, chain []pki.Certificate)) {
	for _, ref := range sortedKeys(w.leaves) {
		l := w.leaves[ref]
		if !slices.Contains(w.bundlesOf(w.authorityOf(l)), bundle) {
			continue
		}
		if len(l.chain) > 0 {
			visit("Certificate "+ref.String(), l.chain)
		}
		for _, workload := range w.workloads {
			for _, p := range workload.pods {
				if chain, presents := p.chains[l.secret]; presents && workload.Ref.Namespace == ref.Namespace {
					visit(fmt.Sprintf("pod %d of %s", p.ordinal, workload), chain)
				}
			}
		}
	}
}

// authorityOf is the authority that the leaf's issuer is bound to.
func (w *World) authorityOf(l *leaf) planner.Ref {
	for _, binding := range w.Desired.Bindings {
		if planner.BindingRef(binding) != l.issuer {
			continue
		}
		for _, authority := range w.Desired.Authorities {
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
