package planner_test

import (
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// pins adds a bundle that Git lets distribute no authority and whose copy in lab holds these
// certificates, and the Deployment lab/old, which verifies with that.
func (s *site) pins(via v1alpha1.BundleVia, held ...entity) {
	pinned := bundle("pinned")
	pinned.Spec.Via = via
	if via != v1alpha1.ViaObserved {
		for _, certificate := range held {
			pinned.Spec.Certificates = append(pinned.Spec.Certificates, string(certificate.PEM()))
		}
	}
	s.desired.Bundles = append(s.desired.Bundles, pinned)
	s.observed.Bundles = append(s.observed.Bundles, planner.Bundle{Name: "pinned", Via: via, Seen: true, Anchors: anchorsOf(held...), Certificates: anchorsOf(held...), Target: target})
	s.observed.Copies = append(s.observed.Copies, planner.Copy{Bundle: "pinned", Namespace: "lab", Anchors: anchorsOf(held...), Digest: anchorsOf(held...).SHA256()})
	s.observed.Workloads = append(s.observed.Workloads, planner.Workload{Kind: "Deployment", Ref: planner.Ref{Namespace: "lab", Name: "old"}, Bundles: volume("pinned"), Pods: 1})
	s.reload()
}

// pinnedHolds lets the pinned bundle, and its copy, hold other certificates.
func (s *site) pinnedHolds(held ...entity) {
	for i := range s.observed.Bundles {
		if s.observed.Bundles[i].Name == "pinned" {
			s.observed.Bundles[i].Anchors = anchorsOf(held...)
		}
	}
	for i := range s.observed.Copies {
		if s.observed.Copies[i].Bundle == "pinned" {
			s.observed.Copies[i].Anchors, s.observed.Copies[i].Digest = anchorsOf(held...), anchorsOf(held...).SHA256()
		}
	}
}

// succeeded is the plant whose intermediate is to sign with b.2025, which is issued.
func succeeded() *site {
	s := chained()
	s.commitTo(0, "a Retired", "b Signing")
	s.hasPair("b.2025", keyB2025, key2025)
	return s
}

// movesTo reports which key the issuer is to sign with.
func movesTo(plan planner.Plan) string { return plan.Target.Issuers[0].Key }

var everyVia = []v1alpha1.BundleVia{v1alpha1.ViaBundle, v1alpha1.ViaConfigMap, v1alpha1.ViaObserved}

// TestNoBystanderIsLeftBehind: no key moves while somebody verifies with what Git does not say
// distributes the authority, and that does not lead to the key.
func TestNoBystanderIsLeftBehind(t *testing.T) {
	const remedy = "; write authorities: [fleet-root] into its spec, or move its users and take it away"
	for name, test := range map[string]struct {
		site *site
		held []entity
		// why it is held; empty: it is not.
		why, from, to string
	}{
		"an intermediate, of which the old key is pinned": {
			site: succeeded(), held: []entity{keyA2025}, from: "a.2025", to: "b.2025",
			why: "it holds Fleet Issuing a.2025 (#a.2025), and nothing that leads to b.2025: Deployment lab/old verifies with it and accepts the Certificate plant/broker now, and would refuse what b.2025 signs" + remedy,
		},
		"an intermediate whose root is held":      {site: succeeded(), held: []entity{key2025}, from: "a.2025", to: "b.2025"},
		"an intermediate beside its root":         {site: succeeded(), held: []entity{keyA2025, key2025}, from: "a.2025", to: "b.2025"},
		"an intermediate beside its successor":    {site: succeeded(), held: []entity{keyA2025, keyB2025}, from: "a.2025", to: "b.2025"},
		"somebody who verifies with another root": {site: succeeded(), held: []entity{newRoot("press", "Press Root")}, from: "a.2025", to: "b.2025"},
		"a root that is held alone": {
			site: soaked(), held: []entity{key2025}, from: "2025", to: "2026",
			why: "it holds Fleet Root 2025 (#2025), and Git does not let it distribute fleet-root: Deployment lab/old verifies with it and may refuse 2026" + remedy,
		},
		"a root of which nobody knows whether it is loaded": {
			site: soaked(), held: []entity{key2025, key2026}, from: "2025", to: "2026",
			why: "it holds Fleet Root 2025 (#2025), and Git does not let it distribute fleet-root: Deployment lab/old verifies with it and may refuse 2026" + remedy,
		},
	} {
		for _, via := range everyVia {
			t.Run(name+", via "+string(via), func(t *testing.T) {
				s := *test.site
				s.pins(via, test.held...)
				plan := s.next()
				hold, held := holdOf(plan, "bundle")
				want := test.to
				if test.why != "" {
					want = test.from
				}
				if why := named([]string{hold.Why})[0]; held != (test.why != "") || why != test.why || held && hold.Subject != "TrustBundle pinned" {
					t.Errorf("the plan is held by %q, want %q", why, test.why)
				}
				if got := movesTo(plan); got != want {
					t.Errorf("the issuer is to sign with %s, want %s: the plan says %q", got, want, tell(plan, s.now))
				}
			})
		}
	}
}

// TestNobodyIsAskedWhoIsNotThere: what somebody else writes and nobody mounts holds nothing up.
func TestNobodyIsAskedWhoIsNotThere(t *testing.T) {
	for name, s := range map[string]*site{"2026": soaked(), "b.2025": succeeded()} {
		s.pins(v1alpha1.ViaObserved, key2025, keyA2025)
		s.pinnedHolds(map[string]entity{"2026": key2025, "b.2025": keyA2025}[name])
		s.observed.Workloads = s.observed.Workloads[:2]
		if got := movesTo(s.next()); got != name {
			t.Errorf("the issuer is to sign with %s, want %s: the plan says %q", got, name, tell(s.next(), s.now))
		}
	}
}

// TestABystanderLoadsWhatLeadsToTheKey: when the bundle that pinned an intermediate holds its
// root as well, whoever verifies with it must have loaded that before the key signs.
func TestABystanderLoadsWhatLeadsToTheKey(t *testing.T) {
	s := succeeded()
	s.pins(v1alpha1.ViaBundle, keyA2025)
	s.desired.Bundles[1].Spec.Authorities = []string{"fleet-root"}
	same(t, "the bundle shall hold", bundleOf(s.next(), "pinned"), []string{"2025", "a.2025"})
	s.pinnedHolds(keyA2025, key2025)
	plan := s.next()
	if len(plan.Actions) != 1 || plan.Actions[0].Kind != planner.ActionRestart || plan.Actions[0].Subject.Name != "old" || movesTo(plan) != "a.2025" {
		t.Fatalf("the plan says %q", tell(plan, s.now))
	}
	s.rest(time.Minute)
	s.reload()
	if plan := s.next(); movesTo(plan) != "b.2025" {
		t.Errorf("it has reloaded: the plan says %q", tell(plan, s.now))
	}
	s.rest(time.Minute)
	s.observed.Workloads[2].BundleDigest = "of something else since"
	if plan := s.next(); movesTo(plan) != "b.2025" {
		t.Errorf("it had reloaded: the plan says %q", tell(plan, s.now))
	}
}

// TestAnEmergencyLeavesBystandersBehind: nobody is waited for then.
func TestAnEmergencyLeavesBystandersBehind(t *testing.T) {
	s := succeeded()
	s.pins(v1alpha1.ViaBundle, keyA2025)
	s.commitTo(0, "a Compromised", "b Signing")
	if plan := s.next(); movesTo(plan) != "b.2025" {
		t.Errorf("the plan says %q", tell(plan, s.now))
	}
}

// TestAKeyInUseIsHeldByNobody: what pins the key that signs, or was pinned once, is nobody's
// trouble.
func TestAKeyInUseIsHeldByNobody(t *testing.T) {
	for _, held := range []entity{keyA2025, keyB2025, key2025} {
		s := succeeded()
		s.pointToPair("b.2025", keyB2025)
		s.leaf().Chain = []pki.Certificate{newLeaf("broker under b", keyB2025).Certificate, keyB2025.Certificate}
		s.pins(v1alpha1.ViaObserved, held)
		if hold, is := holdOf(s.next(), "bundle"); is {
			t.Errorf("with %s pinned: %s", held, hold)
		}
	}
}
