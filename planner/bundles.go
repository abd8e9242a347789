package planner

import (
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
// takes an anchor out again.
func (t *turn) bundleAnchors(name string) pki.Anchors {
	standing, _ := t.standing(name)
	anchors := standing.Anchors
	for _, c := range t.courses {
		if c.distributes(name) {
			anchors = anchors.Union(c.introducedAnchors()).Union(c.unreleased())
		}
	}
	return anchors
}

// unreleased are the anchors of keys that go and that were not taken out of the
// authority's bundles yet: one that is new among them holds them as well, for whoever has
// not reloaded its leaf.
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
		if k.going() && k.known() && k.seen.Certificate.SelfSigned() && (held || len(standing) == 0 && k.seen.HasCertificate) {
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

// planBundles says which anchors each bundle shall hold, and where.
func (t *turn) planBundles() {
	for _, name := range t.allBundles() {
		declared := slices.IndexFunc(t.desired.Bundles, func(b v1alpha1.TrustBundle) bool { return b.Metadata.Name == name })
		if declared < 0 {
			t.planUndeclared(name)
			continue
		}
		t.planBundle(t.desired.Bundles[declared])
	}
}

func (t *turn) planBundle(bundle v1alpha1.TrustBundle) {
	name := bundle.Metadata.Name
	target := TargetBundle{Name: name, Anchors: t.anchors[name], Target: bundle.Spec.Target}
	if standing, stands := t.standing(name); stands {
		t.holdStrangers(standing)
		if !sameTarget(standing.Target, bundle.Spec.Target) {
			target.Target = standing.Target
			t.holdBundle(name, "its target was changed in Git; trust-manager would remove the old copies before the new ones are there: declare a TrustBundle of another name beside it, move its users, then remove this one")
		}
	}
	if standing, _ := t.standing(name); len(standing.Anchors.Minus(target.Anchors)) > 0 {
		t.plan.Decisive = true
	}
	if len(target.Anchors) > 0 {
		t.plan.Target.Bundles = append(t.plan.Target.Bundles, target)
	}
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
	t.plan.Target.Bundles = append(t.plan.Target.Bundles, TargetBundle{Name: name, Anchors: standing.Anchors, Target: standing.Target})
	t.holdBundle(name, fmt.Sprintf("Git no longer declares it, but %s mounts it: move the workload first", t.observed.Workloads[user]))
}

// holdStrangers names the anchors that no key of the bundle's authorities
// accounts for. They stay: somebody may depend on them.
func (t *turn) holdStrangers(standing Bundle) {
	for _, anchor := range standing.Anchors {
		if !t.accountsFor(standing.Name, anchor) {
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

func sameTarget(a, b v1alpha1.BundleTarget) bool {
	return a.ConfigMap == b.ConfigMap &&
		sameSelector(a.NamespaceSelector.MatchLabels, b.NamespaceSelector.MatchLabels) &&
		sameSelector(a.NamespaceSelector.MatchExpressions, b.NamespaceSelector.MatchExpressions)
}

func sameSelector[T any](a, b T) bool {
	return (reflect.ValueOf(a).Len() == 0 && reflect.ValueOf(b).Len() == 0) || reflect.DeepEqual(a, b)
}
