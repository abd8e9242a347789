package policies

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func changedAuthorities(target planner.Target, manifests objects) []Violation {
	var violations []Violation
	for _, key := range target.Keys {
		if key.Certificate {
			violations = append(violations, changedSpec(certificateID(keyRef(key)), certificateSpec(key), manifests, certificateExtras...)...)
		}
		if signer := signerOf(key); key.Certificate && signer == selfSignedID(key.Authority) {
			violations = append(violations, changedSpec(signer, selfSignedSpec, manifests, "spec.selfSigned.crlDistributionPoints")...)
		}
		for _, internal := range internalIssuers(key) {
			violations = append(violations, changedSpec(internal, signingSpec(secretRef(key).Name), manifests, signingExtras...)...)
		}
	}
	return violations
}

func changedIssuers(target planner.Target, manifests objects) []Violation {
	var violations []Violation
	for _, planned := range target.Issuers {
		subject, signsWith := issuerID(planned.Ref), ""
		if planned.Spec == "" {
			violations = append(violations, changedSpec(subject, signingSpec(planned.SecretName()), manifests, signingExtras...)...)
		} else {
			violations = append(violations, changedExternal(subject, planned.Spec, manifests)...)
			signsWith = planned.SignsWith()
		}
		for _, manifest := range manifests[subject] {
			violations = append(violations, changedAnnotation(subject, v1alpha1.AnnotationSignsWith, signsWith, manifest)...)
		}
	}
	return violations
}

// changedExternal compares the spec of an external issuer, every field of it: another
// server, path or account is another key, which would sign before anybody trusts it. What
// is in the fields is not told, for a solver's may hold anything.
func changedExternal(subject id, spec string, manifests objects) []Violation {
	manifest, violations := manifests.planned(subject, certManagerVersion)
	if manifest == nil {
		return violations
	}
	var planned map[string]any
	if err := json.Unmarshal([]byte(spec), &planned); err != nil {
		return append(violations, anchorChanged(subject, "the planned spec cannot be read: %s", err))
	}
	for _, change := range changes("spec", planned, manifest.Object["spec"]) {
		violations = append(violations, anchorChanged(subject, "%s is not what the key's issuer has in Git", change.path))
	}
	return violations
}

// changedAnnotation compares one of the annotations by which the next turn knows what an
// object holds.
func changedAnnotation(subject id, name, planned string, manifest *unstructured.Unstructured) []Violation {
	var violations []Violation
	for _, change := range changedValue("metadata.annotations["+name+"]", planned, manifest.GetAnnotations()[name]) {
		violations = append(violations, anchorChanged(subject, "%s", change))
	}
	return violations
}

// changedSpec compares the spec of a planned cert-manager object. An overlay may
// add the extras, and nothing else.
func changedSpec(subject id, planned map[string]any, manifests objects, extras ...string) []Violation {
	manifest, violations := manifests.planned(subject, certManagerVersion)
	if manifest == nil {
		return violations
	}
	for _, change := range changes("spec", planned, manifest.Object["spec"], extras...) {
		violations = append(violations, anchorChanged(subject, "%s", change))
	}
	return violations
}

// certificateExtras change nothing in a certificate; any other field has it issued
// anew, and that is another anchor.
var certificateExtras = []string{"spec.revisionHistoryLimit", "spec.secretTemplate", "spec.additionalOutputFormats"}

// signingExtras go into the certificates that an issuer signs, not into its own.
var signingExtras = []string{"spec.ca.crlDistributionPoints", "spec.ca.ocspServers", "spec.ca.issuingCertificateURLs"}

var selfSignedSpec = map[string]any{"selfSigned": map[string]any{}}

func signingSpec(secret string) map[string]any {
	return map[string]any{"ca": map[string]any{"secretName": secret}}
}

// certificateSpec is what the Certificate of a key must be
// (https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.CertificateSpec).
func certificateSpec(key planner.TargetKey) map[string]any {
	ca, signer := key.Spec, signerOf(key)
	return map[string]any{
		"isCA":       true,
		"commonName": ca.CommonName,
		"secretName": keyRef(key).Name,
		"duration":   ca.Duration.String(),
		"subject": map[string]any{
			"organizations":       listOf(ca.Organizations),
			"organizationalUnits": listOf(ca.OrganizationalUnits),
			"countries":           listOf(ca.Countries),
		},
		"privateKey": map[string]any{
			"algorithm": string(ca.Algorithm), "size": sizeOf(ca), "rotationPolicy": "Never",
		},
		"renewal":   map[string]any{"policy": "Disabled"},
		"issuerRef": map[string]any{"name": signer.Name, "kind": signer.kind, "group": signer.group},
	}
}

func listOf(values []string) []any {
	list := make([]any, len(values))
	for i, value := range values {
		list[i] = value
	}
	return list
}

// sizeOf is a key's size; nil for an algorithm that has but one.
func sizeOf(ca planner.CASpec) any {
	if ca.Size == 0 {
		return nil
	}
	return int64(ca.Size)
}
