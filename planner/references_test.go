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

var listener = planner.Field{
	APIVersion: "mqttbroker.iotoperations.azure.com/v1", Kind: "BrokerListener", Object: planner.Ref{Namespace: "plant", Name: "default"}, Path: "spec.ports[0].issuerRef.name",
}

// besideEachOther is a plant in which fleet-root and press-root sign, both distributed and
// proved, and a listener that names fleet shall name press.
func besideEachOther() *site {
	s := twoRoots()
	for i := range s.observed.Issuers {
		if issuer := &s.observed.Issuers[i]; issuer.Ref.Name == "press" {
			issuer.Canary = planner.Canary{
				Name: "press-1", At: s.now, Generation: issuer.Generation, State: planner.CanarySigned,
				Certificate: newLeaf("canary of press", press2025).Certificate, CA: press2025.Certificate,
			}
		}
	}
	for i := range s.desired.Bindings {
		if s.desired.Bindings[i].Metadata.Name == "press" {
			s.desired.Bindings[i].Spec.References = []v1alpha1.FieldReference{{
				APIVersion: listener.APIVersion, Kind: listener.Kind, Namespace: listener.Object.Namespace, Name: listener.Object.Name, FieldPath: listener.Path,
			}}
		}
	}
	for i := range s.desired.Bundles {
		s.desired.Bundles[i].Spec.Authorities = []string{"fleet-root", "press-root"}
	}
	s.observed.References = []planner.Reference{{Issuer: planner.Ref{Name: "press"}, Field: listener, Value: "fleet", IssuerKind: "ClusterIssuer"}}
	s.distribute(key2025, press2025)
	s.reload()
	s.rest(time.Minute)
	return s
}

func (s *site) ref() *planner.Reference { return &s.observed.References[0] }

// ofReferences is all that a plan says of them.
func ofReferences(plan planner.Plan) []string {
	var lines []string
	for _, rollover := range plan.Rollovers {
		for _, hold := range rollover.Holds {
			if rollover.Authority.Name == "press-root" {
				lines = append(lines, string(rollover.Phase)+" waits: "+hold.String())
			}
		}
	}
	for _, action := range plan.Actions {
		if action.Kind == planner.ActionRepoint {
			lines = append(lines, "set "+action.Field.String()+" from "+action.From+" to "+action.To)
		}
	}
	return lines
}

// TestReferences: a field moves once its issuer is trusted, and a person is asked for what
// is not ours to set.
func TestReferences(t *testing.T) {
	const waits = "Switch waits: reference: BrokerListener plant/default spec.ports[0].issuerRef.name: "
	for name, test := range map[string]struct {
		change func(*site)
		want   []string
	}{
		"it moves": {func(*site) {}, []string{
			waits + `it names "fleet", and is set to "press" now`,
			"set BrokerListener plant/default spec.ports[0].issuerRef.name from fleet to press",
		}},
		"it has moved":            {func(s *site) { s.ref().Value = "press" }, nil},
		"somebody else writes it": {func(s *site) { s.ref().Owner = `field manager "flux"` }, []string{waits + `it names "fleet", and field manager "flux" writes it: set it to ClusterIssuer press there`}},
		"the API server refuses":  {func(s *site) { s.ref().Refused = "a policy says no" }, []string{waits + `it names "fleet", and the API server does not let it be changed (a policy says no): set it to ClusterIssuer press there, or let it be`}},
		"it names another kind":   {func(s *site) { s.ref().IssuerKind = "Issuer" }, []string{waits + `it names an issuer of kind Issuer, and press is a ClusterIssuer: set it to ClusterIssuer press there`}},
		"it names another group":  {func(s *site) { s.ref().IssuerGroup = "awspca.cert-manager.io" }, []string{waits + `it names an issuer of the group awspca.cert-manager.io: set it to ClusterIssuer press there`}},
		"it is not there":         {func(s *site) { s.ref().Value, s.ref().Problem = "", "there is no such object: make it" }, []string{waits + "there is no such object: make it"}},
		"nobody has looked":       {func(s *site) { s.observed.References = nil }, []string{waits + "nobody has looked at it yet"}},
		"it names a stranger's":   {func(s *site) { s.ref().Value = "letsencrypt" }, []string{waits + `it names "letsencrypt", and is set to "press" now`, "set BrokerListener plant/default spec.ports[0].issuerRef.name from letsencrypt to press"}},
		"a pause stops it":        {func(s *site) { s.desired.Authorities[1].Spec.Rollover.Paused = true }, []string{waits + `it names "fleet", and is set to "press" now`, "Switch waits: paused: spec.rollover.paused is true: unset it to go on"}},
		"the new issuer is not proved": {func(s *site) {
			for i := range s.observed.Issuers {
				s.observed.Issuers[i].Canary = planner.Canary{}
			}
		}, []string{"Switch waits: canary: ClusterIssuer press: no canary has come back since it was last changed"}},
		"a bundle of the old one's lacks the new": {func(s *site) {
			s.desired.Bundles = append(s.desired.Bundles, bundle("lab-trust", "fleet-root"))
		}, []string{"Switch waits: reference: TrustBundle lab-trust: whoever verifies what fleet has signed verifies with it, and it does not distribute press-root: let it name press-root as well before BrokerListener plant/default spec.ports[0].issuerRef.name moves"}},
		"a verifier has not reloaded, though the key has been in use for long": {func(s *site) {
			s.client().BundleDigest, s.client().Bearing, s.observed.Since = "older", 0, nil
		}, []string{"Switch waits: reload: " + besideEachOther().client().String() + ": restarting now"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := besideEachOther()
			test.change(s)
			same(t, "of references the plan says", ofReferences(s.next()), test.want)
		})
	}
}

// What a person is waited for is looked at again soon: nothing tells that he did it.
func TestAReferenceIsLookedAtAgain(t *testing.T) {
	s := besideEachOther()
	s.ref().Owner = "somebody"
	if plan := s.next(); plan.LookAgain.IsZero() || plan.LookAgain.Sub(s.now) > 30*time.Second {
		t.Errorf("the plan looks again after %s", plan.LookAgain.Sub(s.now))
	}
}

// An issuer that Git has dropped stays while a reference names it, or cannot be read.
func TestAnIssuerThatIsReferredTo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*site)
		kept   bool
	}{
		"it is named":            {func(*site) {}, true},
		"it may be":              {func(s *site) { s.ref().Value, s.ref().Problem = "", "forbidden" }, true},
		"another is":             {func(s *site) { s.ref().Value = "press" }, false},
		"one of another kind is": {func(s *site) { s.ref().IssuerKind = "Issuer" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := besideEachOther()
			s.observed.Leaves = slices.DeleteFunc(s.observed.Leaves, func(l planner.Leaf) bool { return l.Issuer.Name == "fleet" })
			s.desired.Bindings = slices.DeleteFunc(s.desired.Bindings, func(b v1alpha1.IssuerBinding) bool { return b.Metadata.Name == "fleet" })
			for i := range s.observed.Issuers {
				s.observed.Issuers[i].Ours = true
			}
			test.change(s)
			plan := s.next()
			kept := slices.ContainsFunc(plan.Target.Issuers, func(i planner.TargetIssuer) bool { return i.Ref.Name == "fleet" })
			told := slices.ContainsFunc(plan.Holds, func(h planner.Hold) bool { return h.Gate == "prune" && strings.Contains(h.Why, listener.String()) })
			if kept != test.kept || told != test.kept {
				t.Errorf("the issuer is kept: %t; the plan says %v", kept, plan.Holds)
			}
		})
	}
}

// Before an old authority's anchor goes, whoever presents a leaf of an issuer with
// references has loaded it.
func TestFollowersHaveReloadedBeforeTheOldAnchorGoes(t *testing.T) {
	s := besideEachOther()
	s.ref().Value = "press"
	s.leaf().Issuer, s.leaf().Chain = planner.Ref{Name: "press"}, []pki.Certificate{newLeaf("broker of press", press2025).Certificate}
	s.desired.Bindings = slices.DeleteFunc(s.desired.Bindings, func(b v1alpha1.IssuerBinding) bool { return b.Metadata.Name == "fleet" })
	s.observed.Issuers = slices.DeleteFunc(s.observed.Issuers, func(i planner.Issuer) bool { return i.Ref.Name == "fleet" })
	s.commit("2025 Retired")
	plan := s.next()
	hold, held := holdOf(plan, "reload")
	if !held || hold.Subject != s.broker().String() || !slices.Contains(bundleOf(plan, "fleet-trust"), "2025") {
		t.Fatalf("the plan says %q, and the bundle shall hold %q", tell(plan, s.now), bundleOf(plan, "fleet-trust"))
	}
	s.reload()
	if plan := s.next(); slices.Contains(bundleOf(plan, "fleet-trust"), "2025") {
		t.Errorf("the plan says %q, and the bundle shall hold 2025 still", tell(plan, s.now))
	}
}
