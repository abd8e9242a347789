package planner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// strayed is the plant in which one commit says that 2025 is compromised and lets a second
// bundle, which Deployment lab/old verifies with, distribute press-root instead.
func strayed(via v1alpha1.BundleVia) *site {
	press := newRoot("press", "Press Root 2025")
	s := soaked()
	s.pins(via, key2025, press)
	s.desired.Authorities = append(s.desired.Authorities, authority("press-root", "Press Root"))
	s.commitTo(1, "2025 Signing")
	spec := caSpec
	spec.CommonName = "Press Root 2025"
	s.observed.Keys = append(s.observed.Keys, planner.Key{
		Authority: planner.Ref{Namespace: "cert-manager", Name: "press-root"}, Name: "2025", HasCertificate: true, HasIssuer: true, Issued: true, Spec: spec, Certificate: press.Certificate,
	})
	s.desired.Bundles[1].Spec.Authorities, s.desired.Bundles[1].Spec.Certificates = []string{"press-root"}, nil
	for i := range s.observed.Bundles {
		s.observed.Bundles[i].Certificates = nil
	}
	s.commit("2025 Compromised", "2026 Signing")
	return s
}

func stillTrusting(plan planner.Plan) []string {
	var who []string
	for _, drop := range plan.StillTrust {
		who = append(who, drop.Who)
	}
	return who
}

// TestAStolenKeyLeavesStrays: a bundle that Git lets distribute the authority no more, by the
// very commit that says what was stolen, loses the stolen anchor like the others, and whoever
// verifies with it is restarted.
func TestAStolenKeyLeavesStrays(t *testing.T) {
	for _, via := range []v1alpha1.BundleVia{v1alpha1.ViaBundle, v1alpha1.ViaConfigMap} {
		t.Run(string(via), func(t *testing.T) {
			s := strayed(via)
			plan := s.next()
			same(t, "the bundle shall hold", bundleOf(plan, "pinned"), []string{"press"})
			if who := stillTrusting(plan); !plan.Decisive || !slices.Contains(who, "ConfigMap lab/pinned") || !slices.Contains(who, "Deployment lab/old") {
				t.Errorf("decisive: %t, still trust it: %v", plan.Decisive, who)
			}
			s.rest(time.Second)
			s.distribute(key2026)
			s.observed.Bundles = append(s.observed.Bundles, planner.Bundle{Name: "pinned", Via: via, Seen: true, Target: target})
			s.pinnedHolds(newRoot("press", "Press Root 2025"))
			restarted := func() bool {
				return slices.ContainsFunc(s.next().Actions, func(a planner.Action) bool { return a.Kind == planner.ActionRestart && a.Subject.Name == "old" })
			}
			if who := stillTrusting(s.next()); !restarted() || !slices.Contains(who, "Deployment lab/old") {
				t.Errorf("who verifies with it is not restarted: %q", tell(s.next(), s.now))
			}
			s.rest(time.Second)
			s.reload()
			if who := stillTrusting(s.next()); restarted() || slices.Contains(who, "Deployment lab/old") {
				t.Errorf("it has reloaded: %q", tell(s.next(), s.now))
			}
		})
	}
}

// TestAStrayOfSomebodyElses: he is asked by nobody; the plan names his copies.
func TestAStrayOfSomebodyElses(t *testing.T) {
	s := strayed(v1alpha1.ViaObserved)
	if who := stillTrusting(s.next()); !slices.Contains(who, "ConfigMap lab/pinned") {
		t.Errorf("still trust it: %v", who)
	}
}

// TestAStrayWithNothingElse keeps what it holds while somebody mounts it, and says so loudly;
// one that nobody mounts goes, like one that Git takes away.
func TestAStrayWithNothingElse(t *testing.T) {
	s := strayed(v1alpha1.ViaBundle)
	s.pinnedHolds(key2025)
	s.desired.Bundles = s.desired.Bundles[:1]
	plan := s.next()
	same(t, "the bundle shall hold", bundleOf(plan, "pinned"), []string{"2025"})
	said := slices.ContainsFunc(plan.Holds, func(h planner.Hold) bool {
		return h.Alarm && h.Subject == "TrustBundle pinned" && strings.Contains(h.Why, "Deployment lab/old verifies with it")
	})
	if !said {
		t.Errorf("the plan holds %v", plan.Holds)
	}
	s.observed.Workloads = s.observed.Workloads[:2]
	if held := bundleOf(s.next(), "pinned"); len(held) > 0 {
		t.Errorf("the bundle shall hold %v", held)
	}
}
