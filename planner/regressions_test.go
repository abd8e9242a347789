package planner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

func has(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}

// Somebody pointed an issuer of ours to a Secret of nobody's: it is left so, and told of,
// for as long as a Certificate refers to it.
func TestAnIssuerPointedElsewhereIsNotPruned(t *testing.T) {
	s := settled()
	s.desired.Bindings = nil
	s.issuer().SecretName, s.issuer().Ours = "by-hand", true
	plan := s.next()
	want := []planner.TargetIssuer{{Ref: planner.Ref{Name: "fleet"}, Foreign: "by-hand"}}
	if got := tell(plan, s.now); !slices.Equal(plan.Target.Issuers, want) || !has(got, "ClusterIssuer fleet: Git no longer declares it") {
		t.Errorf("the target has %v, want %v; the plan says %q", plan.Target.Issuers, want, got)
	}
}

// A canary that is Signed, or of no state, comes without its certificate.
func TestACanaryWithoutACertificateProvesNothing(t *testing.T) {
	for _, state := range []planner.CanaryState{planner.CanarySigned, ""} {
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("state %q: %v", state, r)
				}
			}()
			s := settled()
			s.issuer().Canary = planner.Canary{Name: "fleet-1", At: noon, Generation: 1, State: state}
			s.next()
		}()
	}
}

// Git moves an authority to another namespace: the new namespace's issuer is the new
// one's alone.
func TestAnAuthorityMovesItsNamespace(t *testing.T) {
	s := settled()
	moved := &s.desired.Authorities[0]
	moved.Metadata.Namespace = "plant"
	s.desired.Bindings[0].Spec.Scope, s.desired.Bindings[0].Metadata.Namespace = v1alpha1.ScopeNamespace, "plant"
	inPlant := newRoot("2025-in-plant", "Fleet Root 2025")
	spec := caSpec
	s.observed.Keys = append(s.observed.Keys, planner.Key{
		Authority: planner.Ref{Namespace: "plant", Name: "fleet-root"}, Name: "2025", HasCertificate: true, HasIssuer: true, Issued: true, Spec: spec, Certificate: inPlant.Certificate,
	})
	old := *s.issuer()
	now := old
	now.Ref = planner.Ref{Namespace: "plant", Name: "fleet"}
	now.Canary.Certificate, now.Canary.CA = newLeaf("canary in plant", inPlant).Certificate, inPlant.Certificate
	s.observed.Issuers = []planner.Issuer{now}
	s.leaf().Issuer = now.Ref
	s.leaf().Chain = []pki.Certificate{newLeaf("broker in plant", inPlant).Certificate}
	s.distribute(key2025, inPlant)
	s.reload()
	plan := s.next()
	refs := map[planner.Ref]int{}
	for _, i := range plan.Target.Issuers {
		refs[i.Ref]++
	}
	if refs[now.Ref] != 1 {
		t.Errorf("Issuer %s stands %d times in the target:\n\t%s", now.Ref, refs[now.Ref], strings.Join(targets(plan), "\n\t"))
	}
	if got := tell(plan, s.now); has(got, "still signs with 2025") {
		t.Errorf("the key of the old namespace can never be retired:\n\t%s", strings.Join(got, "\n\t"))
	}
}

// Two authorities have one certificate (a copied Secret, an authority renamed): the
// anchor that the one retires stays for the other.
func TestASharedAnchorStaysForTheOther(t *testing.T) {
	s := twoRoots()
	s.observed.Keys = slices.DeleteFunc(s.observed.Keys, func(k planner.Key) bool { return k.Authority == pressRoot })
	s.hasPress("2025", key2025) // press-root trusts what fleet-root retires
	s.has("2026", key2026)
	s.commit("2025 Retired", "2026 Signing")
	s.pointTo("2026", key2026)
	s.observed.Issuers = append(s.observed.Issuers, planner.Issuer{
		Ref: planner.Ref{Name: "press"}, Exists: true, SecretName: "press-root-2025", Generation: 1,
		Canary: planner.Canary{Name: "press-1", At: noon, Generation: 1, State: planner.CanarySigned, Certificate: newLeaf("canary of press", key2025).Certificate},
	})
	s.leaf().Chain = []pki.Certificate{newLeaf("broker anew", key2026).Certificate}
	s.distribute(key2025, key2026)
	s.reload()
	plan := s.next()
	if got := targets(plan); !has(got, "bundle fleet-trust 2025 2026") {
		t.Errorf("press-root signs with 2025, and the bundle loses it:\n\t%s\n\t%s", strings.Join(got, "\n\t"), strings.Join(tell(plan, s.now), "\n\t"))
	}
}

// A leaf of which the chain is not known is not said to chain to the key.
func TestUnknownLeavesDoNotCountAsChaining(t *testing.T) {
	s := settled()
	s.leaf().Chain, s.leaf().Unknown = nil, "its CertificateRequest is gone"
	if progress := s.next().Rollovers[0].Progress; strings.Contains(progress, "1 leaf chains to it") {
		t.Errorf("the plan says %q of a leaf that nobody knows", progress)
	}
}

// An issuer is not deleted on the strength of a cached observation.
func TestDroppingAnIssuerIsDecisive(t *testing.T) {
	s := settled()
	s.desired.Bindings = nil
	s.leaf().Issuer.Name = "elsewhere"
	if plan := s.next(); len(plan.Target.Issuers) == 0 && !plan.Decisive {
		t.Error("ClusterIssuer fleet is dropped from the target, and the plan is not decisive")
	}
}

// A workload mounts a leaf that was never issued: its pods cannot have loaded it.
func TestAnUnissuedLeafHoldsNothing(t *testing.T) {
	s := reissued()
	s.reload()
	s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: "spare"}, Issuer: planner.Ref{Name: "fleet"}, SecretName: "spare-tls", Problem: "the webhook denied it"})
	s.observed.Workloads = append(s.observed.Workloads, planner.Workload{Kind: "Deployment", Ref: planner.Ref{Namespace: "plant", Name: "spare"}, Secrets: volume("spare-tls"), Pods: 1})
	if phase := s.next().Rollovers[0].Phase; phase != planner.Retire {
		t.Errorf("held by what was never issued:\n\t%s", strings.Join(tell(s.next(), s.now), "\n\t"))
	}
}

// While trust-manager has not yet seen a Bundle that only grew, no soak begins anew.
func TestABundleThatGrowsForgetsNothing(t *testing.T) {
	s := distributed()
	s.rest(5 * time.Minute)
	s.observed.Bundles[0].Anchors = anchorsOf(key2025, key2026, press2025) // another authority's key was introduced
	s.observed.Bundles[0].Seen = false
	s.rest(time.Second)
	s.observed.Bundles[0].Seen = true
	soaksUntil(t, s, "2026-03-01T12:10:00Z")
}

// In whatever order the cluster is observed, the plan is the same.
func TestThePlanDoesNotDependOnTheOrderOfWhatIsObserved(t *testing.T) {
	for name, reverse := range map[string]func(*site){
		"copies":    func(s *site) { slices.Reverse(s.observed.Copies) },
		"workloads": func(s *site) { slices.Reverse(s.observed.Workloads) },
		"unknown":   func(s *site) { slices.Reverse(s.observed.Unknown) },
		"leaves":    func(s *site) { slices.Reverse(s.observed.Leaves) },
	} {
		t.Run(name, func(t *testing.T) {
			build := func() *site {
				s := introduced()
				switch name {
				case "workloads":
					s.distribute(key2025, key2026)
				case "unknown":
					s.observed.Unknown = []planner.Unknown{{Subject: "a", Why: "x"}, {Subject: "b", Why: "x"}}
				case "leaves":
					s.desired.Bindings = nil
					s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{Ref: planner.Ref{Namespace: "lab", Name: "c"}, Issuer: planner.Ref{Name: "fleet"}, Chain: []pki.Certificate{newLeaf("c", key2025).Certificate}})
				}
				return s
			}
			a, b := build(), build()
			reverse(b)
			if asJSON(t, a.next()) != asJSON(t, b.next()) {
				t.Error("another order gives another plan")
			}
		})
	}
}

// A bundle that is declared in the middle of a rollover holds the key that is on its way
// out too, for as long as leaves chain to it.
func TestANewBundleHoldsWhatIsDependedOn(t *testing.T) {
	s := settled()
	s.commit("2025 Retired", "2026 Signing")
	late := s.desired.Bundles[0]
	late.Metadata.Name = "late-trust"
	s.desired.Bundles = append(s.desired.Bundles, late)
	if got := targets(s.next()); !has(got, "bundle late-trust 2025") {
		t.Errorf("the new bundle does not hold the anchor of every leaf:\n\t%s", strings.Join(got, "\n\t"))
	}
}

// A key from elsewhere has left Git, no record remembers it, and no leaf needs it: its anchor
// is still one of ours, and leaves the copies that are written here in a window alone.
func TestAForgottenKeyFromElsewhereLeavesInAWindow(t *testing.T) {
	s := brought()
	s.hasSecret("2026", "brought-2026", key2026)
	s.commit("2025 Signing")
	s.give("2025", key2025, inSecret("brought-2025"))
	s.distribute(key2025, key2026)
	s.desired.Bundles[0].Spec.Via, s.observed.Bundles[0].Via = v1alpha1.ViaConfigMap, v1alpha1.ViaConfigMap
	s.reload()
	s.rest(10 * time.Minute)
	within(onSaturdays)(s)
	if plan := targets(s.next()); !has(plan, "bundle fleet-trust 2025 2026") {
		t.Errorf("its anchor leaves outside a window: %q", plan)
	}
}

// Somebody else has put the anchor of a compromised key into a bundle. The key was never
// recorded, and still whoever mounts the bundle is named: he may hold that and nothing else.
func TestWhoHoldsAnUnrecordedCompromisedKeyIsNamed(t *testing.T) {
	s := settled()
	s.observed.Record = planner.Record{Enabled: true}
	s.commit("2025 Signing", "2026 Compromised")
	s.give("2026", key2026, inSecret("brought-2026"))
	s.distribute(key2025, key2026)
	for _, who := range []string{"Deployment lab/client", "Deployment plant/broker"} {
		plan := s.next()
		if !slices.ContainsFunc(plan.StillTrust, func(d planner.Drop) bool { return d.Who == who }) {
			t.Errorf("%s is not named among those that may trust it: %v", who, plan.StillTrust)
		}
	}
}

// A compromised key that nothing depends on comes into no bundle that does not hold it.
func TestACompromisedKeyDoesNotSpread(t *testing.T) {
	s := settled()
	s.commit("2025 Retired", "2026 Compromised", "2027 Signing")
	s.give("2026", key2026, inSecret("brought-2026"))
	s.observed.Bundles = append(s.observed.Bundles, planner.Bundle{Name: "pinned", Via: v1alpha1.ViaObserved, Seen: true, Anchors: anchorsOf(key2025, key2026)})
	pinned := bundle("pinned", "fleet-root")
	pinned.Spec.Via = v1alpha1.ViaObserved
	s.desired.Bundles = append(s.desired.Bundles, pinned)
	if got := targets(s.next()); !has(got, "bundle fleet-trust 2025") || has(got, "bundle fleet-trust 2025 2026") {
		t.Errorf("the targets are %q", got)
	}
}

// A key that was on its way out is stolen when its Certificate is gone already, and no record
// remembers it: whoever may have its anchor in memory is restarted all the same.
func TestAStolenKeyThatIsHalfGoneIsCleared(t *testing.T) {
	s := released()
	s.commit("2025 Compromised", "2026 Signing")
	gone := s.key("2025")
	gone.HasCertificate, gone.Certificate, gone.HasIssuer = false, pki.Certificate{}, true
	for i := range s.observed.Workloads { // they were not restarted when the anchor left
		s.observed.Workloads[i].BundleDigest = "of old"
	}
	plan := s.next()
	restarted := slices.ContainsFunc(plan.Actions, func(a planner.Action) bool { return a.Kind == planner.ActionRestart })
	if !restarted || len(plan.StillTrust) != len(s.observed.Workloads) {
		t.Errorf("nobody is restarted, or not all are named: %q, %v", tell(plan, s.now), plan.StillTrust)
	}
}

// The last leaf of a key that nobody knows any more is issued anew. Its anchor stays in the
// copies that are written here until whoever presents the leaf is known to have loaded it.
func TestAForgottenAnchorStaysWhileItsLeafIsPresented(t *testing.T) {
	s := settled()
	s.distribute(key2025, key2026)
	s.desired.Bundles[0].Spec.Via, s.observed.Bundles[0].Via = v1alpha1.ViaConfigMap, v1alpha1.ViaConfigMap
	s.reload()
	if got := targets(s.next()); !has(got, "bundle fleet-trust 2025") || has(got, "bundle fleet-trust 2025 2026") {
		t.Errorf("everybody has loaded his leaf, and the targets are %q", got)
	}
	s.broker().LeavesDigest = "of a leaf of 2026"
	if got := targets(s.next()); !has(got, "bundle fleet-trust 2025 2026") {
		t.Errorf("the broker may present another leaf, and the targets are %q", got)
	}
}
