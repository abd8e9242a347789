package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
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
					Rule: RuleIntermediateInBundle, Severity: Warn, Subject: subjectOf(planned),
					Message: fmt.Sprintf("the anchor %s is not self-signed, and intermediates never enter a bundle", anchor),
					Mend:    "let the TrustBundle name the root, and take the intermediate out of whatever Bundle holds it",
				})
			}
		}
	}
	return violations
}

// maxBundle is what fits into a ConfigMap, in bytes, and what trust-manager takes inline
// (https://kubernetes.io/docs/concepts/configuration/configmap/).
const maxBundle = 1 << 20

// tooLarge are the bundles that nobody could store: an API server would refuse them copy
// by copy, in the middle of a rollover.
func tooLarge(target planner.Target) []Violation {
	var violations []Violation
	for _, planned := range target.Bundles {
		if size := len(planned.Anchors.PEM()); size > maxBundle {
			violations = append(violations, Violation{
				Rule: RuleBundleTooLarge, Severity: Deny, Subject: subjectOf(planned),
				Message: fmt.Sprintf("holds %d anchors of %d bytes in all, and a copy may have %d", len(planned.Anchors), size, maxBundle),
				Mend:    "take certificates out of the TrustBundle, or split it in two",
			})
		}
	}
	return violations
}

// subjectOf names a bundle: the Bundle, or the document where there is none.
func subjectOf(planned planner.TargetBundle) string {
	if planned.Via == v1alpha1.ViaConfigMap {
		return v1alpha1.KindTrustBundle + " " + planned.Name
	}
	return bundleID(planned.Name).String()
}

func changedBundles(target planner.Target, manifests objects) []Violation {
	var violations []Violation
	read := pemReader{}
	for _, planned := range target.Bundles {
		switch {
		case planned.Via == v1alpha1.ViaConfigMap:
			violations = append(violations, changedCopies(planned, manifests, read)...)
		case planned.Via == v1alpha1.ViaObserved:
		case len(planned.Anchors) > 0 || planned.UseDefaultCAs:
			violations = append(violations, changedBundle(planned, manifests, read)...)
		}
	}
	return violations
}

// changedBundle compares by fingerprint: how PEM is wrapped or commented does not
// matter, which certificates it holds does.
func changedBundle(planned planner.TargetBundle, manifests objects, read pemReader) []Violation {
	subject := bundleID(planned.Name)
	manifest, violations := manifests.planned(subject, trustManagerVersion)
	if manifest == nil {
		return violations
	}
	anchors, err := sourcedAnchors(planned, manifest, read)
	if err != nil {
		violations = append(violations, anchorChanged(subject, "%s", err))
	} else {
		violations = append(violations, changedAnchors(subject, planned.Anchors, anchors)...)
	}
	violations = append(violations, changedAnnotation(subject, v1alpha1.AnnotationCertificates, fingerprints(planned), manifest)...)
	return append(violations, changedTarget(subject, planned, manifest)...)
}

// fingerprints are those of the anchors that spec.certificates lists, in hex, sorted, with
// commas between.
func fingerprints(planned planner.TargetBundle) string {
	var all []string
	for _, certificate := range planned.Certificates {
		all = append(all, certificate.Fingerprint().String())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// changedCopies compares the copies that reanchor writes itself.
func changedCopies(planned planner.TargetBundle, manifests objects, read pemReader) []Violation {
	var violations []Violation
	if len(planned.Anchors) == 0 {
		return nil
	}
	for _, namespace := range planned.Namespaces {
		subject := copyID(namespace, planned.Name)
		manifest, missing := manifests.planned(subject, coreVersion)
		violations = append(violations, missing...)
		if manifest != nil {
			violations = append(violations, changedCopy(subject, planned, manifest, read)...)
		}
	}
	return violations
}

// changedCopy lets an overlay change a copy's metadata, and nothing of what verifiers may
// take for anchors. One that is immutable could never be written again, and one with
// trust-manager's label is written, or deleted, by two.
func changedCopy(subject id, planned planner.TargetBundle, manifest *unstructured.Unstructured, read pemReader) []Violation {
	key := planned.Target.ConfigMap.Key
	var violations []Violation
	if anchors, err := read.anchors(text(manifest, "data", key)); err != nil {
		violations = append(violations, anchorChanged(subject, "data.%s cannot be read: %s", key, err))
	} else {
		violations = changedAnchors(subject, planned.Anchors, anchors)
	}
	for _, change := range changes("data", map[string]any{}, manifest.Object["data"], "data."+key) {
		violations = append(violations, anchorChanged(subject, "%s", change))
	}
	for _, field := range []string{"binaryData", "immutable"} {
		if _, added := manifest.Object[field]; added {
			violations = append(violations, anchorChanged(subject, "%s is added", field))
		}
	}
	if _, labelled := manifest.GetLabels()[trustManagerCopy]; labelled {
		violation := anchorChanged(subject, "has the label %s, by which trust-manager takes it for its own", trustManagerCopy)
		violation.Mend = "take the label out of the TrustBundle or the overlay"
		violations = append(violations, violation)
	}
	return append(violations, changedAnnotation(subject, v1alpha1.AnnotationCertificates, fingerprints(planned), manifest)...)
}

// pemReader reads PEM, equal text once: every copy of a bundle holds the same.
type pemReader map[string]struct {
	anchors pki.Anchors
	err     error
}

func (r pemReader) anchors(text string) (pki.Anchors, error) {
	read, known := r[text]
	if !known {
		var certificates []pki.Certificate
		certificates, read.err = pki.ParsePEM([]byte(text))
		read.anchors = pki.NewAnchors(certificates...)
		r[text] = read
	}
	return read.anchors, read.err
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

// sourcedAnchors reads the anchors of a Bundle whose every source is inline, but for the
// public CAs where they are planned.
func sourcedAnchors(planned planner.TargetBundle, manifest *unstructured.Unstructured, read pemReader) (pki.Anchors, error) {
	sources, _, err := unstructured.NestedSlice(manifest.Object, "spec", "sources")
	if err != nil {
		return nil, errors.New("spec.sources is not a list")
	}
	var anchors pki.Anchors
	lacksDefaults := planned.UseDefaultCAs
	for i, source := range sources {
		fields, _ := source.(map[string]any)
		if fields["useDefaultCAs"] == true && len(fields) == 1 && planned.UseDefaultCAs {
			lacksDefaults = false
			continue
		}
		inline, isText := fields["inLine"].(string)
		if !isText || len(fields) != 1 {
			return nil, fmt.Errorf("spec.sources[%d] is not inLine alone: every anchor is pinned, nothing is read from elsewhere", i)
		}
		parsed, err := read.anchors(inline)
		if err != nil {
			return nil, fmt.Errorf("spec.sources[%d].inLine cannot be read: %w", i, err)
		}
		anchors = anchors.Union(parsed)
	}
	if lacksDefaults {
		return nil, errors.New("spec.sources lacks useDefaultCAs, which the document asks for")
	}
	return anchors, nil
}

// changedTarget lets an overlay add what puts no anchor elsewhere: metadata of the copies.
func changedTarget(subject id, planned planner.TargetBundle, manifest *unstructured.Unstructured) []Violation {
	target, _, _ := unstructured.NestedMap(manifest.Object, "spec", "target")
	selector := target["namespaceSelector"]
	delete(target, "namespaceSelector")
	var violations []Violation
	for _, change := range changes("spec.target", plannedTarget(planned.Target), target, "spec.target.configMap.metadata", "spec.target.secret.metadata") {
		if strings.HasSuffix(change.path, ".password") {
			change.how = "is not what the document says"
		}
		violations = append(violations, anchorChanged(subject, "%s", change))
	}
	if asked, found := selectorText(planned.Target.NamespaceSelector), readSelector(selector); asked != found {
		violations = append(violations, anchorChanged(subject, "spec.target.namespaceSelector picks %s, not %s", found, asked))
	}
	return violations
}

// plannedTarget is where the copies lie in trust-manager's words, but for the selector.
func plannedTarget(target v1alpha1.BundleTarget) map[string]any {
	formats := map[string]any{}
	if jks := target.AdditionalFormats.JKS; jks != nil {
		formats["jks"] = map[string]any{"key": jks.Key, "password": textOf(jks.Password)}
	}
	if store := target.AdditionalFormats.PKCS12; store != nil {
		formats["pkcs12"] = map[string]any{"key": store.Key, "password": textOf(store.Password), "profile": string(store.Profile)}
	}
	return map[string]any{
		"configMap":         map[string]any{"key": target.ConfigMap.Key},
		"secret":            map[string]any{"key": target.Secret.Key},
		"additionalFormats": formats,
	}
}

// textOf is the text that is pointed to; empty if there is none.
func textOf(value *string) string {
	if value == nil {
		return ""
	}
	return *value
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
