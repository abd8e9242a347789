package policies

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// goneInUse are the keys and issuers that stand in the cluster, that the plan does not keep,
// and on which certificates hang that have not ended. The planner drains before it takes
// away; this guards against a planner that does not.
func goneInUse(s *scene) []Violation {
	kept, lost := s.standingKeys()
	var violations []Violation
	for _, k := range lost {
		if leaf, hangs := s.hangsOn(k, kept); hangs {
			violations = append(violations, Violation{
				Rule: RuleAuthorityInUse, Severity: Deny, Subject: fmt.Sprintf("Authority %s", k.Authority),
				Message: fmt.Sprintf("the plan takes the key %s away, and the Certificate %s, which it signed, lives until %s",
					k.Name, leaf.Ref, leaf.Chain[0].NotAfter().UTC().Format(time.RFC3339)),
				Mend: "list the key as Retired in its Authority, which drains it first; if it is listed so, report this as a fault of reanchor",
			})
		}
	}
	return violations
}

// standingKeys are the key pairs that the cluster holds and whose certificate is known: those
// that the plan keeps, in whatever way, and those that go. One that is about to end and one
// that is compromised go whoever hangs on them.
func (s *scene) standingKeys() (kept, lost []planner.Key) {
	planned := map[planner.Ref]bool{}
	for _, k := range s.Plan.Target.Keys {
		planned[keyRef(k)] = true
	}
	for _, k := range s.Observed.Keys {
		switch ref := keyRef(planner.TargetKey{Authority: k.Authority, Name: k.Name}); {
		case k.Certificate.IsZero():
		case planned[ref]:
			kept = append(kept, k)
		case k.HasCertificate && !s.mayGo(k):
			lost = append(lost, k)
		}
	}
	return kept, lost
}

// mayGo reports whether a key may go with those who hang on it.
func (s *scene) mayGo(k planner.Key) bool {
	ending := time.Minute // as the planner closes a key
	authority := s.authority(k.Authority.Name)
	if authority == nil {
		return !s.Now.Before(k.Certificate.NotAfter().Add(-ending))
	}
	ending = max(ending, durationIn(authority.Spec.Rollover.Skew))
	return !s.Now.Before(k.Certificate.NotAfter().Add(-ending)) || s.compromised(authority, k.Name)
}

// compromised reports whether a key pair, or one above it that its name tells of, is to go
// without waiting: "a.2025" is the key a under the 2025 of its parent.
func (s *scene) compromised(authority *v1alpha1.Authority, pair string) bool {
	for _, above := range append([]*v1alpha1.Authority{authority}, s.above(authority)...) {
		var name string
		name, pair = v1alpha1.SplitKey(pair)
		if slices.ContainsFunc(above.Spec.Keys, func(key v1alpha1.AuthorityKey) bool {
			return key.Name == name && key.State == v1alpha1.KeyCompromised
		}) {
			return true
		}
	}
	return false
}

// hangsOn finds a leaf that a key signed, that no key signed that stays, and that has not
// ended.
func (s *scene) hangsOn(k planner.Key, kept []planner.Key) (planner.Leaf, bool) {
	for _, leaf := range s.Observed.Leaves {
		signedBy := func(k planner.Key) bool { return leaf.Chain[0].SignedBy(k.Certificate) }
		if len(leaf.Chain) > 0 && s.Now.Before(leaf.Chain[0].NotAfter()) && signedBy(k) && !slices.ContainsFunc(kept, signedBy) {
			return leaf, true
		}
	}
	return planner.Leaf{}, false
}

// A turn may take out a part of the devices.
const (
	maxLeavingPercent = 20
	// fewLeaving go whatever their part is.
	fewLeaving = 1
)

func massDeletion(s *scene) []Violation {
	standing, leaving := s.Devices.Standing, s.Devices.Leaving
	if leaving <= fewLeaving || leaving*100 <= standing*maxLeavingPercent {
		return nil
	}
	return []Violation{{
		Rule: RuleMassDeletion, Severity: Deny, Subject: "Devices",
		Message: fmt.Sprintf("%d of %d devices would go at once, and %d%% may", leaving, standing, maxLeavingPercent),
		Mend:    "bring them back in Git; if it is meant, take fewer out in each commit, or exempt Devices in a Policy until it is done",
	}}
}

// unsoaked are authorities whose rollovers look before they leap too shortly.
func unsoaked(s *scene) []Violation {
	var violations []Violation
	for _, authority := range s.authorities {
		rollover := authority.Spec.Rollover
		missing := ""
		switch {
		case rollover.Soak != nil && rollover.Soak.Duration == 0:
			missing = "soak"
		case rollover.Skew != nil && rollover.Skew.Duration == 0:
			missing = "skew"
		default:
			continue
		}
		violation := Violation{Rule: RuleNoSoak, Subject: named(authority), Mend: "set spec.rollover." + missing}
		switch {
		case s.production(authority):
			violation.Severity = Deny
			violation.Message = fmt.Sprintf("is in production and rolls over without %s", missing)
		case missing == "soak" && len(authority.Spec.Keys) > 1:
			violation.Severity = Warn
			violation.Message = "rolls over without soak: what fails at a new anchor shows only when it signs already"
		default:
			continue
		}
		violations = append(violations, violation)
	}
	return violations
}

// production reports whether an authority, the Namespace of its keys or the TrustDomain is
// labelled so.
func (s *scene) production(authority *v1alpha1.Authority) bool {
	if s.Production || authority.Metadata.Labels[v1alpha1.LabelEnvironment] == v1alpha1.EnvironmentProduction {
		return true
	}
	namespace := id{"", "Namespace", planner.Ref{Name: authority.Metadata.Namespace}}
	return slices.ContainsFunc(s.objects[namespace], func(manifest *unstructured.Unstructured) bool {
		return manifest.GetLabels()[v1alpha1.LabelEnvironment] == v1alpha1.EnvironmentProduction
	})
}

// unpinned are Bundles beside the documents whose anchors are read from elsewhere.
func unpinned(s *scene) []Violation {
	planned := plannedObjects(s.Plan.Target).objects
	var violations []Violation
	for _, manifest := range s.Manifests {
		object := idOf(manifest)
		if !isBundle(object) || planned[object] {
			continue
		}
		sources, _, _ := unstructured.NestedSlice(manifest.Object, "spec", "sources")
		for i, source := range sources {
			fields, _ := source.(map[string]any)
			if fields["secret"] != nil || fields["configMap"] != nil || fields["sourceRef"] != nil {
				violations = append(violations, Violation{
					Rule: RuleAnchorUnpinned, Severity: Warn, Subject: object.String(),
					Message: fmt.Sprintf("reads anchors from elsewhere (spec.sources[%d]): the old root is gone the moment that changes", i),
					Mend:    "declare a TrustBundle, or write the anchors inLine",
				})
			}
		}
	}
	return violations
}

// stringsIn is a list of strings in a manifest's spec.
func stringsIn(manifest *unstructured.Unstructured, field string) []string {
	values, _, _ := unstructured.NestedStringSlice(manifest.Object, "spec", field)
	return values
}
