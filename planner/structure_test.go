package planner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// bundleOf are the labels of the anchors that a plan lets the bundle hold; nil if there is
// to be no such bundle.
func bundleOf(plan planner.Plan, name string) []string {
	at := slices.IndexFunc(plan.Target.Bundles, func(b planner.TargetBundle) bool { return b.Name == name })
	if at < 0 {
		return nil
	}
	return namesOf(plan.Target.Bundles[at].Anchors)
}

func holdOf(plan planner.Plan, gate string) (planner.Hold, bool) {
	holds := slices.Clone(plan.Holds)
	for _, rollover := range plan.Rollovers {
		holds = append(holds, rollover.Holds...)
	}
	at := slices.IndexFunc(holds, func(h planner.Hold) bool { return h.Gate == gate })
	if at < 0 {
		return planner.Hold{}, false
	}
	return holds[at], true
}

// A file of the record that was copied, or that holds another key's certificate, takes
// nothing out of a bundle that somebody needs.
func TestAMuddledRecord(t *testing.T) {
	for name, test := range map[string]struct {
		site   *site
		record map[string]entity
		want   []string
	}{
		"a copy under another name":             {settled(), map[string]entity{"2025": key2025, "2025-backup": key2025}, []string{"2025"}},
		"the successor under the name it takes": {drained(), map[string]entity{"2025": key2026, "2026": key2026}, []string{"2026"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.site.records(test.record)
			same(t, "the bundle shall hold", bundleOf(test.site.next(), "fleet-trust"), test.want)
		})
	}
	t.Run("another authority's", func(t *testing.T) {
		s := twoRoots()
		s.commit("2025 Retired", "2026 Signing")
		s.has("2026", key2026)
		s.pointTo("2026", key2026)
		s.observed.Leaves = []planner.Leaf{{
			Ref: planner.Ref{Namespace: "plant", Name: "mill"}, Issuer: planner.Ref{Name: "press"}, SecretName: "mill-tls",
			Chain: []pki.Certificate{newLeaf("mill of press", press2025).Certificate},
		}}
		s.distribute(key2025, key2026, press2025)
		s.reload()
		s.records(map[string]entity{"2025": press2025, "2026": key2026})
		if held := bundleOf(s.next(), "fleet-trust"); !slices.Contains(held, "press-2025") {
			t.Errorf("the bundle shall hold %q, without what mill needs", held)
		}
	})
}

// Leaves hold their root's anchor whatever Git says of what stands between.
func TestAnIntermediateThatLeavesGit(t *testing.T) {
	undeclared := rolledRoot()
	undeclared.desired.Authorities, undeclared.desired.Bindings = undeclared.desired.Authorities[1:], nil
	same(t, "the bundle shall hold", bundleOf(undeclared.next(), "fleet-trust"), []string{"2025", "2026"})
	if hold, is := holdOf(undeclared.next(), "drain"); !is || hold.Subject != "Certificate plant/broker" {
		t.Errorf("nothing names the broker: %q", tell(undeclared.next(), undeclared.now))
	}
}

// An authority whose issuedBy is changed stays where it is.
func TestReparented(t *testing.T) {
	t.Run("to another root", func(t *testing.T) {
		s := chained()
		s.desired.Authorities = append(s.desired.Authorities, authority("press-root", "Press Root"))
		s.commitTo(2, "2025 Signing")
		s.hasPress("2025", press2025)
		s.desired.Bundles = append(s.desired.Bundles, bundle("press-trust", "press-root"))
		s.desired.Authorities[0].Spec.IssuedBy.Name = "press-root"
		plan := s.next()
		if hold, is := holdOf(plan, "parent"); !is || !strings.Contains(hold.Why, "fleet-root signed a.2025") || plan.Target.Issuers[0].Key != "a.2025" {
			t.Errorf("the plan says %q", tell(plan, s.now))
		}
	})
	t.Run("to none", func(t *testing.T) {
		s := chained()
		s.desired.Authorities[0].Spec.IssuedBy = nil
		s.desired.Bundles[0].Spec.Authorities = []string{"fleet-root", "fleet-issuing"}
		plan := s.next()
		same(t, "the bundle shall hold", bundleOf(plan, "fleet-trust"), []string{"2025"})
		if hold, is := holdOf(plan, "parent"); !is || !strings.Contains(hold.Why, "nobody issues it now") {
			t.Errorf("the plan says %q", tell(plan, s.now))
		}
	})
}

// A bundle that stands and that Git lets distribute the authority no longer is left
// behind by no rollover.
func TestALeftBehindBundle(t *testing.T) {
	for name, change := range map[string]func(*site){
		"it is gone from Git": func(s *site) { s.desired.Bundles = nil },
		"it names the authority no more": func(s *site) {
			s.desired.Authorities = append(s.desired.Authorities, authority("press-root", "Press Root"))
			s.commitTo(1, "2025 Signing")
			s.desired.Bundles[0].Spec.Authorities = []string{"press-root"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := introduced()
			change(s)
			s.rest(11 * time.Minute)
			plan := s.next()
			hold, is := holdOf(plan, "bundle")
			if !is || hold.Subject != "TrustBundle fleet-trust" || plan.Rollovers[0].Phase != planner.Distribute || plan.Target.Issuers[0].Key != "2025" {
				t.Errorf("the plan says %q", tell(plan, s.now))
			}
		})
	}
}

// A bundle that is new in the middle of a rollover holds what the others hold: presenters
// may still present the old leaf.
func TestABundleInTheMiddle(t *testing.T) {
	s := reissued()
	s.desired.Bundles = append(s.desired.Bundles, bundle("fleet-trust-2", "fleet-root"))
	same(t, "the new bundle shall hold", bundleOf(s.next(), "fleet-trust-2"), []string{"2025", "2026"})

	s = reissued()
	s.observed.Bundles = nil
	same(t, "the bundle that was deleted shall hold", bundleOf(s.next(), "fleet-trust"), []string{"2025", "2026"})
}

// A key that changed stays an alarm, whatever becomes of the record.
func TestTheRecordIsSwitchedOn(t *testing.T) {
	s := settled()
	s.has("2025", newRoot("swapped", "Fleet Root 2025"))
	s.records(nil)
	plan := s.next()
	if hold, is := holdOf(plan, "key"); !is || !hold.Alarm || len(plan.Record) > 0 {
		t.Errorf("the plan says %q and records %q", tell(plan, s.now), recorded(plan))
	}
}

// What is no CA is not recorded: the record holds CAs alone.
func TestWhatIsNoCAIsNotRecorded(t *testing.T) {
	s := introduced()
	s.records(map[string]entity{"2025": key2025})
	s.has("2026", newLeaf("Fleet Root 2026", key2025))
	if added := recorded(s.next()); len(added) > 0 {
		t.Errorf("%q is recorded", added)
	}
}

// The end of a key that is on its way out is told as well.
func TestTheOldKeyEnds(t *testing.T) {
	s := introduced()
	s.now = key2025.NotAfter().Add(-4 * time.Minute)
	plan := s.next()
	hold, is := holdOf(plan, "lifetime")
	if !is || !hold.Alarm || !strings.Contains(hold.Why, "2026 is to take over") {
		t.Errorf("the plan says %q", tell(plan, s.now))
	}
}

// A leaf that asks what will never sign with the new key is not reissued without an end.
func TestALeafThatAsksElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*site)
		why    string
	}{
		"the internal issuer of the old key": {
			func(s *site) { s.leaf().Issuer = planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2025"} },
			"chains to 2025, and would again: it refers to the internal issuer of 2025; point it at a binding's issuer",
		},
		"an issuer that Git no longer declares": {
			func(s *site) {
				s.leaf().Issuer = planner.Ref{Name: "old"}
				s.observed.Issuers = append(s.observed.Issuers, planner.Issuer{Ref: planner.Ref{Name: "old"}, Exists: true, Ours: true, SecretName: "fleet-root-2025", Generation: 1})
			},
			"chains to 2025, and would again: ClusterIssuer old does not sign with 2026; point it at a binding's issuer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := switched()
			test.change(s)
			plan := s.next()
			if len(plan.Actions) > 0 || plan.Rollovers[0].Holds[0].Why != test.why {
				t.Errorf("the plan says %q", tell(plan, s.now))
			}
		})
	}
}

// An issuer that somebody deleted comes back with the key that is in use, whatever the
// rollover is at.
func TestADeletedIssuerComesBack(t *testing.T) {
	for name, s := range map[string]*site{"paused": settled(), "in Introduce": introduced(), "in Distribute": introduced()} {
		t.Run(name, func(t *testing.T) {
			s.desired.Authorities[0].Spec.Rollover.Paused = name == "paused"
			if name == "in Introduce" {
				s.key("2026").Certificate = pki.Certificate{}
			}
			s.observed.Issuers = nil
			plan := s.next()
			if len(plan.Target.Issuers) != 1 || plan.Target.Issuers[0].Key != "2025" {
				t.Errorf("the cluster shall hold %q", targets(plan))
			}
		})
	}
}

// Two keys of a root and two of its intermediate go at once, and neither waits for the
// other.
func TestRetirementsThatWaitForEachOther(t *testing.T) {
	s := rolledRoot()
	key2027A, keyB2026 := newIntermediate("a.2027", key2027), newIntermediate("b.2026", key2026)
	s.commitTo(0, "a Signing", "b Trusted")
	s.commitTo(1, "2025 Retired", "2026 Retired", "2027 Signing")
	s.has("2027", key2027)
	s.proveRoot("2027", key2027)
	s.hasPair("a.2026", keyA2026, key2026)
	s.hasPair("b.2025", keyB2025, key2025)
	s.hasPair("b.2026", keyB2026, key2026)
	s.hasPair("a.2027", key2027A, key2027)
	s.hasPair("b.2027", newIntermediate("b.2027", key2027), key2027)
	s.pointToPair("a.2027", key2027A)
	s.leaf().Chain = []pki.Certificate{newLeaf("broker under a.2027", key2027A).Certificate, key2027A.Certificate}
	s.distribute(key2026, key2027)
	s.reload()
	s.rest(10 * time.Minute)
	plan := s.next()
	if goes := plan.Rollovers[0].Progress; goes != "nothing chains to a.2025; its Certificate goes" {
		t.Errorf("fleet-issuing: %s: %q", goes, tell(plan, s.now))
	}
	for _, pair := range []string{"a.2025", "b.2025"} {
		s.observed.Keys = slices.DeleteFunc(s.observed.Keys, func(k planner.Key) bool { return k.Name == pair })
	}
	if from := s.next().Rollovers[1]; from.Phase != planner.Retire || from.From != "2025" || from.Progress != "no copy holds 2025; its Certificate goes" {
		t.Errorf("fleet-root: %s", from)
	}
}

// Content that was in a copy before, and a signer that a leaf had before, come back. A pod
// that was started in between bears what then was asked for, and loaded something else.
func TestWhatComesBackIsNoEvidence(t *testing.T) {
	t.Run("a copy", func(t *testing.T) {
		s := distributed()
		s.observed.Bundles[0].Revision = "uid/7"
		if plan := s.next(); len(plan.Actions) != 1 || plan.Actions[0].Kind != planner.ActionRestart {
			t.Errorf("the pods of another revision have reloaded: %q", tell(plan, s.now))
		}
	})
	t.Run("a leaf", func(t *testing.T) {
		s := drained()
		s.leaf().Chain = []pki.Certificate{newLeaf("broker once more", key2026).Certificate}
		if plan := s.next(); len(plan.Actions) != 1 || plan.Actions[0].Kind != planner.ActionRestart {
			t.Errorf("the pods with another leaf have reloaded: %q", tell(plan, s.now))
		}
	})
}

// Once every presenter has loaded its leaf, a renewal restarts nobody.
func TestARenewalRestartsNobody(t *testing.T) {
	s := drained()
	s.rest(time.Minute)
	s.leaf().Chain = []pki.Certificate{newLeaf("broker renewed", key2026).Certificate}
	if plan := s.next(); len(plan.Actions) > 0 || plan.Rollovers[0].Phase != planner.Retire {
		t.Errorf("the plan says %q", tell(plan, s.now))
	}
}

// A turn that does not see the workloads does not take them for reloaded, and does not
// remember so.
func TestABlindTurnRemembersNoReload(t *testing.T) {
	s := reissued()
	s.observed.Workloads = nil
	s.observed.Unknown = []planner.Unknown{{Subject: "Deployments", Why: "forbidden"}}
	for _, gate := range s.next().Gates {
		if strings.HasPrefix(gate.Name, "presented") {
			t.Errorf("the gate %s is held", gate.Name)
		}
	}
}
