package policies

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

func anchorChanged(subject id, format string, args ...any) Violation {
	return Violation{
		Rule: RuleAnchorChanged, Severity: Deny, Subject: subject.String(), Message: fmt.Sprintf(format, args...),
		Mend: "what trust hangs on changes in the documents alone, so take the change out of the overlay",
	}
}

// planned finds the one manifest of a planned object, or says why there is none.
func (o objects) planned(object id, version string) (*unstructured.Unstructured, []Violation) {
	found := o[object]
	switch {
	case len(found) == 0:
		return nil, []Violation{anchorChanged(object, "is planned and not among the manifests: it was removed, renamed or moved")}
	case len(found) > 1:
		return nil, []Violation{anchorChanged(object, "stands %d times among the manifests", len(found))}
	case found[0].GroupVersionKind().Version != version:
		return nil, []Violation{anchorChanged(object, "is of version %s, not %s", found[0].GroupVersionKind().Version, version)}
	}
	return found[0], nil
}

// intermediates are the anchors of planned bundles that another CA signed: who holds
// one trusts it past the end of its root, and is held up at each of its rollovers. They
// are warned of and not denied: the planner adds none, and one that stood in a Bundle
// before must not stop a whole domain.
func intermediates(target planner.Target) []Violation {
	var violations []Violation
	for _, planned := range target.Bundles {
		for _, anchor := range planned.Anchors {
			if !anchor.SelfSigned() {
				violations = append(violations, Violation{
					Rule: RuleIntermediateInBundle, Severity: Warn, Subject: bundleID(planned.Name).String(),
					Message: fmt.Sprintf("the anchor %s is not self-signed, and intermediates never enter a bundle", anchor),
					Mend:    "let the TrustBundle name the root, and take the intermediate out of whatever Bundle holds it",
				})
			}
		}
	}
	return violations
}

func changedBundles(target planner.Target, manifests objects) []Violation {
	var violations []Violation
	for _, planned := range target.Bundles {
		if len(planned.Anchors) > 0 {
			violations = append(violations, changedBundle(planned, manifests)...)
		}
	}
	return violations
}

// changedBundle compares by fingerprint: how PEM is wrapped or commented does not
// matter, which certificates it holds does.
func changedBundle(planned planner.TargetBundle, manifests objects) []Violation {
	subject := bundleID(planned.Name)
	manifest, violations := manifests.planned(subject, trustManagerVersion)
	if manifest == nil {
		return violations
	}
	anchors, err := inlineAnchors(manifest)
	if err != nil {
		violations = append(violations, anchorChanged(subject, "%s", err))
	} else {
		violations = append(violations, changedAnchors(subject, planned.Anchors, anchors)...)
	}
	return append(violations, changedTarget(subject, planned, manifest)...)
}

func changedAnchors(subject id, planned, found pki.Anchors) []Violation {
	var violations []Violation
	for _, anchor := range planned.Minus(found) {
		violations = append(violations, anchorChanged(subject, "the anchor %s is missing", anchor))
	}
	for _, anchor := range found.Minus(planned) {
		violations = append(violations, anchorChanged(subject, "the anchor %s is not planned", anchor))
	}
	return violations
}

// inlineAnchors reads the anchors of a Bundle whose every source is inline.
func inlineAnchors(manifest *unstructured.Unstructured) (pki.Anchors, error) {
	sources, _, err := unstructured.NestedSlice(manifest.Object, "spec", "sources")
	if err != nil {
		return nil, fmt.Errorf("spec.sources is not a list")
	}
	var certificates []pki.Certificate
	for i, source := range sources {
		fields, _ := source.(map[string]any)
		inline, isText := fields["inLine"].(string)
		if !isText || len(fields) != 1 {
			return nil, fmt.Errorf("spec.sources[%d] is not inLine alone: every anchor is pinned, nothing is read from elsewhere", i)
		}
		parsed, err := pki.ParsePEM([]byte(inline))
		if err != nil {
			return nil, fmt.Errorf("spec.sources[%d].inLine cannot be read: %w", i, err)
		}
		certificates = append(certificates, parsed...)
	}
	return pki.NewAnchors(certificates...), nil
}

// changedTarget lets an overlay add what puts no anchor elsewhere: labels of the
// copies, and keystore formats beside the PEM.
func changedTarget(subject id, planned planner.TargetBundle, manifest *unstructured.Unstructured) []Violation {
	target, _, _ := unstructured.NestedMap(manifest.Object, "spec", "target")
	selector := target["namespaceSelector"]
	delete(target, "namespaceSelector")
	want := map[string]any{"configMap": map[string]any{"key": planned.Target.ConfigMap.Key}}
	var violations []Violation
	for _, change := range changes("spec.target", want, target, "spec.target.configMap.metadata", "spec.target.additionalFormats") {
		violations = append(violations, anchorChanged(subject, "%s", change))
	}
	if asked, found := selectorText(planned.Target.NamespaceSelector), readSelector(selector); asked != found {
		violations = append(violations, anchorChanged(subject, "spec.target.namespaceSelector picks %s, not %s", found, asked))
	}
	return violations
}

// readSelector is a manifest's selector in its canonical form.
func readSelector(value any) string {
	if value == nil {
		return selectorText(metav1.LabelSelector{})
	}
	fields, _ := value.(map[string]any)
	var selector metav1.LabelSelector
	if fields == nil || runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, &selector, true) != nil {
		return "what is not a label selector"
	}
	return selectorText(selector)
}

// selectorText is the canonical form of a selector: two that pick the same by the
// same requirements are equal, in whatever order they are written.
func selectorText(selector metav1.LabelSelector) string {
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	switch {
	case err != nil:
		return "what is not a label selector"
	case parsed.Empty():
		return "every namespace"
	}
	return "namespaces with " + parsed.String()
}
