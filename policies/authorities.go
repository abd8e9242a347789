package policies

import "github.com/reanchor/reanchor/planner"

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
			violations = append(violations, changedSpec(internal, signingSpec(keyRef(key).Name), manifests, signingExtras...)...)
		}
	}
	return violations
}

func changedIssuers(target planner.Target, manifests objects) []Violation {
	var violations []Violation
	for _, planned := range target.Issuers {
		violations = append(violations, changedSpec(issuerID(planned.Ref), signingSpec(planned.SecretName()), manifests, signingExtras...)...)
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
