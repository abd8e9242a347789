package policies

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/planner"
)

// defaultLeafDuration is what cert-manager gives a Certificate that asks for
// nothing.
const defaultLeafDuration = 2160 * time.Hour

// longLived are the Certificates, of leaves and of intermediates, that ask for more
// life than the CA that signs them has: cert-manager signs past the CA's own end and
// calls it Ready, and from that end on no verifier accepts what it signed.
func longLived(target planner.Target, manifests []*unstructured.Unstructured) []Violation {
	signers := signersOf(target)
	var violations []Violation
	planned := map[id]bool{}
	for _, key := range target.Keys {
		object := certificateID(keyRef(key))
		planned[object] = key.Certificate
		if ca, known := signers[signerOf(key)]; known && key.Certificate {
			violations = append(violations, outlives(object, key.Spec.Duration, ca)...)
		}
	}
	for _, manifest := range manifests {
		object := idOf(manifest)
		if object.group != certManager || object.kind != certificate || planned[object] {
			continue
		}
		if ca, known := signers[issuerOf(manifest)]; known {
			violations = append(violations, longLivedLeaf(object, manifest, ca)...)
		}
	}
	return violations
}

// signersOf are the CA keys by the planned issuers that sign with them, their own and
// those that are bound to them.
func signersOf(target planner.Target) map[id]planner.TargetKey {
	keys, signers := map[planner.Ref]planner.TargetKey{}, map[id]planner.TargetKey{}
	for _, key := range target.Keys {
		if key.Spec.Duration == 0 {
			continue
		}
		keys[keyRef(key)], signers[issuerID(keyRef(key))] = key, key
		for _, internal := range internalIssuers(key) {
			signers[internal] = key
		}
	}
	for _, issuer := range target.Issuers {
		bound := planner.TargetKey{Authority: issuer.Authority, Name: issuer.Key}
		if key, known := keys[keyRef(bound)]; known {
			signers[issuerID(issuer.Ref)] = key
		}
	}
	return signers
}

// issuerOf is the issuer that a Certificate refers to, with cert-manager's
// defaults.
func issuerOf(manifest *unstructured.Unstructured) id {
	reference := func(field, absent string) string {
		if value := text(manifest, "spec", "issuerRef", field); value != "" {
			return value
		}
		return absent
	}
	found := id{reference("group", certManager), reference("kind", issuer), planner.Ref{Name: reference("name", "")}}
	if found.kind == issuer {
		found.Namespace = manifest.GetNamespace()
	}
	return found
}

func longLivedLeaf(object id, manifest *unstructured.Unstructured, ca planner.TargetKey) []Violation {
	duration, err := leafDuration(manifest)
	if err != nil {
		return []Violation{{
			Rule: RuleCAOutlivesLeaves, Severity: Deny, Subject: object.String(), Message: err.Error(),
			Mend: "write it in hours, such as 2160h",
		}}
	}
	return outlives(object, duration, ca)
}

func outlives(object id, duration time.Duration, ca planner.TargetKey) []Violation {
	violation := Violation{Rule: RuleCAOutlivesLeaves, Severity: Deny, Subject: object.String()}
	signer := fmt.Sprintf("the CA key %s of %s", ca.Name, ca.Authority)
	switch {
	case duration > ca.Spec.Duration:
		violation.Message = fmt.Sprintf("asks for %s, and %s that signs it lives %s", hours(duration), signer, hours(ca.Spec.Duration))
		violation.Mend = fmt.Sprintf("shorten spec.duration, or give the next key of %s a longer one", ca.Authority)
	case duration == ca.Spec.Duration:
		violation.Severity = Warn
		violation.Message = fmt.Sprintf("asks for %s, as long as %s lives: what is signed later than the CA outlives it", hours(duration), signer)
		violation.Mend = "shorten spec.duration"
	default:
		return nil
	}
	return []Violation{violation}
}

func leafDuration(manifest *unstructured.Unstructured) (time.Duration, error) {
	value, found, err := unstructured.NestedFieldNoCopy(manifest.Object, "spec", "duration")
	if err != nil || !found || value == nil {
		return defaultLeafDuration, nil
	}
	duration, ok := durationOf(value)
	if !ok {
		return 0, fmt.Errorf("spec.duration is not a duration")
	}
	return duration, nil
}

// hours writes a duration as cert-manager's users do: 2160h, not 2160h0m0s.
func hours(duration time.Duration) string {
	if duration%time.Hour == 0 {
		return fmt.Sprintf("%dh", duration/time.Hour)
	}
	return duration.String()
}
