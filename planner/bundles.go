package planner

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// allBundles are the names of the bundles that Git declares or the cluster holds,
// sorted.
func (t *turn) allBundles() []string {
	var names []string
	for _, bundle := range t.desired.Bundles {
		names = append(names, bundle.Metadata.Name)
	}
	for _, bundle := range t.observed.Bundles {
		names = append(names, bundle.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bundleAnchors is what a bundle holds and shall hold: it only grows. Retire alone
// takes an anchor out again, and whoever takes a further certificate out of Git. Of a bundle
// that somebody else writes it is what we ask for, whatever else he puts in: nobody asks him
// to add an anchor that is to go.
func (t *turn) bundleAnchors(name string) pki.Anchors {
	standing, _ := t.standing(name)
	leaving := t.leaving(standing)
	after := t.anchorsWithout(name, leaving)
	if len(leaving) == 0 || t.probedWithout(name, leaving, after) {
		return after
	}
	return t.anchorsWithout(name, nil)
}

// anchorsWithout is what a bundle holds when some certificates, which Git lists no more, are
// out of it.
func (t *turn) anchorsWithout(name string, leaving pki.Anchors) pki.Anchors {
	standing, _ := t.standing(name)
	anchors, ours := t.further(name), t.isWrittenHere(name)
	if ours {
		anchors = anchors.Union(standing.Anchors.Minus(leaving))
	}
	for _, c := range t.courses {
		if !c.distributes(name) {
			continue
		}
		if anchors = anchors.Union(c.introducedAnchors()); ours {
			anchors = anchors.Union(c.unreleased())
		}
	}
	return anchors
}

// isWrittenHere reports whether what a bundle holds is ours to say, be it by way of
// trust-manager: what stands is kept, whoever Git says is to write it.
func (t *turn) isWrittenHere(name string) bool {
	if standing, stands := t.standing(name); stands {
		return standing.Via != v1alpha1.ViaObserved
	}
	return !t.isObserved(name)
}

// unreleased are the anchors of keys that go and that were not taken out of the
// authority's bundles yet: one that is new among them holds them as well, for whoever has
// not reloaded its leaf. A compromised key comes into no further bundle but by those that
// depend on it.
func (c *course) unreleased() pki.Anchors {
	var standing []Bundle
	for _, declared := range c.bundles {
		if bundle, stands := c.turn.standing(declared.Metadata.Name); stands {
			standing = append(standing, bundle)
		}
	}
	var certificates []pki.Certificate
	for _, k := range c.keys {
		held := slices.ContainsFunc(standing, func(b Bundle) bool { return k.known() && b.Anchors.Has(k.seen.Certificate) })
		if k.going() && !k.compromised() && k.known() && k.seen.Certificate.SelfSigned() && (held || len(standing) == 0 && k.seen.HasCertificate) {
			certificates = append(certificates, k.seen.Certificate)
		}
	}
	return pki.NewAnchors(certificates...)
}

func (t *turn) standing(name string) (Bundle, bool) {
	found := slices.IndexFunc(t.observed.Bundles, func(b Bundle) bool { return b.Name == name })
	if found < 0 {
		return Bundle{}, false
	}
	return t.observed.Bundles[found], true
}

// distrustCopies takes out of the bundles that reanchor writes itself what nothing vouches
// for: somebody has put it there, and it shall not spread. What most copies hold and a leaf
// needs, or may need, stays: a key of which nothing is known any more, say.
func (t *turn) distrustCopies() {
	t.observed.Bundles = slices.Clone(t.observed.Bundles)
	for i, bundle := range t.observed.Bundles {
		if bundle.Via != v1alpha1.ViaConfigMap {
			continue
		}
		found := bundle.Anchors
		bundle.Anchors = slices.DeleteFunc(slices.Clone(found), func(anchor pki.Certificate) bool {
			return !t.vouched.Has(anchor) && !(t.inMostCopies(bundle.Name, anchor) && t.mayBeNeeded(bundle, anchor))
		})
		t.distrusted[bundle.Name] = found.Minus(bundle.Anchors)
		bundle.Certificates = bundle.Certificates.Common(bundle.Anchors)
		t.observed.Bundles[i] = bundle
	}
}

// mayBeNeeded reports whether a live leaf verifies with the anchor alone, or whether it is not
// known what some leaf chains to, or what somebody presents.
func (t *turn) mayBeNeeded(standing Bundle, anchor pki.Certificate) bool {
	_, needed := t.needing(standing, anchor)
	return needed || slices.ContainsFunc(t.observed.Leaves, func(leaf Leaf) bool { return leaf.Unknown != "" }) ||
		slices.ContainsFunc(t.observed.Workloads, func(w Workload) bool { return !t.hasLoadedLeaves(w) })
}

// hasLoadedLeaves reports whether every pod of a workload is known to present what its Secrets
// hold now. Nobody asks it to.
func (t *turn) hasLoadedLeaves(w Workload) bool {
	presented := map[string]pki.Fingerprint{}
	for _, leaf := range t.leavesOf(w) {
		if len(leaf.Chain) > 0 {
			presented[leaf.SecretName] = leaf.Chain[0].Fingerprint()
		}
	}
	if w.Pods == 0 || len(presented) == 0 {
		return true
	}
	digest := LeavesDigest(presented)
	since := t.memory.hold(fmt.Sprintf("leaves of %s %s", w, digest))
	if reloadsByItself(w, w.Secrets) {
		t.lookAt(since.Add(w.Reloads))
		return !t.now.Before(since.Add(w.Reloads))
	}
	return w.LeavesDigest == digest && w.Bearing >= w.Pods || startedSince(w, since)
}

// inMostCopies reports whether more than half of the copies that can be read hold the anchor.
func (t *turn) inMostCopies(bundle string, anchor pki.Certificate) bool {
	holding, readable := 0, 0
	for _, c := range t.observed.Copies {
		if c.Bundle != bundle || c.Missing || c.Unselected || c.Problem != "" {
			continue
		}
		if readable++; c.Anchors.Has(anchor) {
			holding++
		}
	}
	return holding > readable/2
}

// gatherVouched collects what is known to be a key's certificate, now, by the record or by a
// canary, and what Git lists beside.
func (t *turn) gatherVouched() {
	var known []pki.Certificate
	for _, k := range t.observed.Keys {
		known = append(known, k.Certificate, k.proved())
	}
	for _, recorded := range t.observed.Record.Keys {
		if !recorded.Retired {
			known = append(known, recorded.Certificate)
		}
	}
	for _, authority := range t.desired.Authorities {
		for _, declared := range authority.Spec.Keys {
			if from := givenOf(declared); from != nil {
				known = append(known, from.certificate)
			}
		}
	}
	t.vouched = pki.NewAnchors(slices.DeleteFunc(known, pki.Certificate.IsZero)...)
	for _, bundle := range t.desired.Bundles {
		t.vouched = t.vouched.Union(t.further(bundle.Metadata.Name))
	}
}

// further are the certificates that Git lists in a bundle beside its authorities' keys.
func (t *turn) further(name string) pki.Anchors {
	var listed []pki.Certificate
	bundle, _ := t.declared(name)
	for _, text := range bundle.Spec.Certificates {
		if certificates, err := pki.ParsePEM([]byte(text)); err == nil {
			listed = append(listed, certificates...)
		}
	}
	return pki.NewAnchors(listed...)
}

// leaving are the certificates that Git listed in a bundle and lists no more, that are no
// key's, and that no leaf which is seen needs.
func (t *turn) leaving(standing Bundle) pki.Anchors {
	if _, declared := t.declared(standing.Name); !declared {
		return nil
	}
	return slices.DeleteFunc(standing.Certificates.Minus(t.further(standing.Name)), func(anchor pki.Certificate) bool {
		_, needed := t.needing(standing, anchor)
		_, unaware := t.unawareWithout(standing, anchor)
		return needed || unaware || t.accountsFor(standing.Name, anchor)
	})
}

// needing finds a live leaf that verifies with the bundle, and not without the anchor.
func (t *turn) needing(standing Bundle, anchor pki.Certificate) (Leaf, bool) {
	without := standing.Anchors.Minus(pki.NewAnchors(anchor))
	found := slices.IndexFunc(t.observed.Leaves, func(leaf Leaf) bool {
		return t.live(leaf) && pki.Verify(leaf.Chain, without, t.now) != nil && pki.Verify(leaf.Chain, standing.Anchors, t.now) == nil
	})
	if found < 0 {
		return Leaf{}, false
	}
	return t.observed.Leaves[found], true
}

// declared is the bundle as Git declares it.
func (t *turn) declared(name string) (v1alpha1.TrustBundle, bool) {
	found := slices.IndexFunc(t.desired.Bundles, func(b v1alpha1.TrustBundle) bool { return b.Metadata.Name == name })
	if found < 0 {
		return v1alpha1.TrustBundle{}, false
	}
	return t.desired.Bundles[found], true
}

// planBundles says which anchors each bundle shall hold, and where.
func (t *turn) planBundles() {
	for _, name := range t.allBundles() {
		declared, is := t.declared(name)
		if !is {
			t.planUndeclared(name)
			continue
		}
		t.planBundle(declared)
	}
}

func (t *turn) planBundle(bundle v1alpha1.TrustBundle) {
	name := bundle.Metadata.Name
	target := TargetBundle{
		Name: name, Via: bundle.Spec.Via, Anchors: t.anchors[name], Certificates: t.anchors[name].Common(t.further(name)),
		UseDefaultCAs: bundle.Spec.UseDefaultCAs, Target: bundle.Spec.Target,
	}
	standing, stands := t.standing(name)
	if stands {
		t.holdStrangers(standing)
		t.holdTarget(standing, &target)
		t.keepPublicCAs(standing, &target)
		target.Certificates = target.Certificates.Union(target.Anchors.Common(standing.Certificates))
	}
	if target.Via == v1alpha1.ViaObserved {
		return
	}
	if target.Via == v1alpha1.ViaConfigMap {
		target.Namespaces = t.namespacesOf(name)
	}
	if stands && len(target.Anchors) == 0 && !target.UseDefaultCAs {
		t.keepLast(standing, &target)
	}
	if len(standing.Anchors.Minus(target.Anchors)) > 0 || standing.UseDefaultCAs && !target.UseDefaultCAs {
		t.plan.Decisive = true
	}
	if len(target.Anchors) > 0 || target.UseDefaultCAs {
		t.plan.Target.Bundles = append(t.plan.Target.Bundles, target)
	}
}

// keepLast keeps the copies of a bundle that nothing vouches for any more while somebody
// mounts one: without an anchor they would be deleted, and whoever starts then does not find
// his. They stay where they are and spread no further.
func (t *turn) keepLast(standing Bundle, target *TargetBundle) {
	user := slices.IndexFunc(t.observed.Workloads, func(w Workload) bool { return slices.Contains(bundleNames(w), standing.Name) })
	kept := slices.DeleteFunc(t.distrusted[standing.Name], func(anchor pki.Certificate) bool { return !t.inMostCopies(standing.Name, anchor) })
	if user < 0 || len(kept) == 0 {
		return
	}
	target.Anchors = kept
	target.Namespaces = slices.DeleteFunc(target.Namespaces, func(namespace string) bool {
		return !slices.ContainsFunc(t.copiesAt[Ref{Namespace: namespace, Name: standing.Name}], func(c Copy) bool { return c.Anchors.Equal(kept) })
	})
	t.holdBundle(standing.Name, fmt.Sprintf("no key that Git lists is there yet, and %s mounts it: its copies keep what they hold until one is", t.observed.Workloads[user]))
}

// holdTarget keeps what stands where Git has changed who writes the copies, or where they
// lie: the old ones would go before the new ones are there. What is added beside harms nobody.
func (t *turn) holdTarget(standing Bundle, target *TargetBundle) {
	const remedy = ": declare a TrustBundle of another name beside it, move its users, then remove this one"
	switch {
	case via(standing.Via) != via(target.Via):
		t.holdBundle(target.Name, fmt.Sprintf("its copies were written via %s, and Git says via %s; the old ones would go before the new ones are there%s", via(standing.Via), via(target.Via), remedy))
		target.Via, target.Target, target.UseDefaultCAs = standing.Via, standing.Target, standing.UseDefaultCAs
	case target.Via == v1alpha1.ViaObserved:
	case !standing.GrowsTo(target.Target):
		t.holdBundle(target.Name, "its target was changed in Git; the old copies would be removed before the new ones are there"+remedy)
		target.Target = standing.Target
	}
}

// via is who writes the copies of a bundle.
func via(said v1alpha1.BundleVia) v1alpha1.BundleVia { return cmp.Or(said, v1alpha1.DefaultVia) }

// namespacesOf are those in which a bundle of ours has a copy: where its selector says, and
// where somebody mounts one that is there already.
func (t *turn) namespacesOf(name string) []string {
	var namespaces []string
	for _, bundleCopy := range t.observed.Copies {
		if bundleCopy.Bundle != name {
			continue
		}
		user, mounted := t.mounting(bundleCopy)
		switch {
		case !bundleCopy.Unselected:
			namespaces = append(namespaces, bundleCopy.Namespace)
		case mounted:
			namespaces = append(namespaces, bundleCopy.Namespace)
			t.holdBundle(name, fmt.Sprintf("its selector does not pick the namespace %s any more, but %s mounts the copy there: move the workload first", bundleCopy.Namespace, user))
		default:
			t.plan.Decisive = true
		}
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// mounting is a workload that mounts the copy.
func (t *turn) mounting(bundleCopy Copy) (user Workload, mounted bool) {
	user, mounted = t.mounted[Ref{Namespace: bundleCopy.Namespace, Name: bundleCopy.Bundle}]
	return user, mounted
}

// abandoned reports a copy of ours that nobody selects or mounts: it goes, whatever it holds.
func (t *turn) abandoned(bundleCopy Copy) bool {
	if !bundleCopy.Unselected {
		return false
	}
	_, mounted := t.mounting(bundleCopy)
	return !mounted
}

// planUndeclared keeps a bundle that Git no longer declares for as long as a
// workload mounts one of its copies.
func (t *turn) planUndeclared(name string) {
	user := slices.IndexFunc(t.observed.Workloads, func(w Workload) bool { return slices.Contains(bundleNames(w), name) })
	if user < 0 {
		t.plan.Decisive = true
		return
	}
	standing, _ := t.standing(name)
	if standing.Via == v1alpha1.ViaObserved {
		return
	}
	target := TargetBundle{
		Name: name, Via: standing.Via, Anchors: t.anchors[name], Certificates: standing.Certificates.Common(t.anchors[name]),
		UseDefaultCAs: standing.UseDefaultCAs, Target: standing.Target,
	}
	if standing.Via == v1alpha1.ViaConfigMap {
		for _, bundleCopy := range t.observed.Copies {
			if bundleCopy.Bundle == name {
				target.Namespaces = append(target.Namespaces, bundleCopy.Namespace)
			}
		}
	}
	t.plan.Target.Bundles = append(t.plan.Target.Bundles, target)
	t.holdBundle(name, fmt.Sprintf("Git no longer declares it, but %s mounts it: move the workload first", t.observed.Workloads[user]))
}

// holdStrangers names the anchors that no key of the bundle's authorities
// accounts for. They stay: somebody may depend on them. What somebody else writes into a
// bundle of his own is his.
func (t *turn) holdStrangers(standing Bundle) {
	if standing.Via == v1alpha1.ViaObserved {
		return
	}
	further, leaving := t.further(standing.Name), t.leaving(standing)
	for _, anchor := range standing.Anchors {
		switch {
		case further.Has(anchor) || leaving.Has(anchor) || t.accountsFor(standing.Name, anchor):
		case standing.Certificates.Has(anchor):
			t.holdBundle(standing.Name, fmt.Sprintf("Git no longer lists %s with fingerprint %s, but %s", anchor.CommonName(), anchor.Fingerprint(), t.whyItStays(standing, anchor)))
		default:
			t.holdBundle(standing.Name, fmt.Sprintf("it holds %s with fingerprint %s, which is no key of its authorities; it stays until it is taken out by hand", anchor.CommonName(), anchor.Fingerprint()))
		}
	}
}

func (t *turn) accountsFor(bundle string, anchor pki.Certificate) bool {
	return slices.ContainsFunc(t.courses, func(c *course) bool {
		return c.distributes(bundle) && slices.ContainsFunc(c.keys, func(k *key) bool { return c.anchorsOf(k).Has(anchor) })
	})
}

func (t *turn) holdBundle(name, why string) {
	t.plan.Holds = append(t.plan.Holds, Hold{Gate: "bundle", Subject: "TrustBundle " + name, Why: why})
}

// GrowsTo reports whether a target is what the bundle has, or more: no copy of it goes or
// changes its place. Whose copies reanchor writes itself may change its selector: they are seen
// one by one.
func (b Bundle) GrowsTo(now v1alpha1.BundleTarget) bool {
	was := b.Target
	return (was.ConfigMap == now.ConfigMap || was.ConfigMap.Key == "") &&
		(was.Secret == now.Secret || was.Secret.Key == "") &&
		keepsJKS(was.AdditionalFormats.JKS, now.AdditionalFormats.JKS) && keepsPKCS12(was.AdditionalFormats.PKCS12, now.AdditionalFormats.PKCS12) &&
		(b.Via == v1alpha1.ViaConfigMap || sameSelector(was.NamespaceSelector.MatchLabels, now.NamespaceSelector.MatchLabels) &&
			sameSelector(was.NamespaceSelector.MatchExpressions, now.NamespaceSelector.MatchExpressions))
}

// keepsJKS reports whether a Java keystore stays as it was. A password that nobody gave is
// trust-manager's own.
func keepsJKS(was, now *v1alpha1.KeystoreFormat) bool {
	return was == nil || now != nil && was.Key == now.Key && passwordOr(was.Password, v1alpha1.DefaultJKSPassword) == passwordOr(now.Password, v1alpha1.DefaultJKSPassword)
}

// keepsPKCS12 reports the same of a PKCS #12 store.
func keepsPKCS12(was, now *v1alpha1.PKCS12Format) bool {
	return was == nil || now != nil && was.Key == now.Key && was.Profile == now.Profile && passwordOr(was.Password, "") == passwordOr(now.Password, "")
}

func passwordOr(password *string, absent string) string {
	if password == nil {
		return absent
	}
	return *password
}

func sameSelector[T any](a, b T) bool {
	return (reflect.ValueOf(a).Len() == 0 && reflect.ValueOf(b).Len() == 0) || reflect.DeepEqual(a, b)
}
