package policies

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/planner"
)

// intruders are manifests beside the planned ones that write to the same Secrets
// or ConfigMaps, or sign with the same keys.
func intruders(target planner.Target, manifests []*unstructured.Unstructured) []Violation {
	plan := plannedObjects(target)
	var violations []Violation
	for _, manifest := range manifests {
		if message := plan.intrusion(manifest); message != "" {
			violations = append(violations, Violation{
				Rule: RuleAnchorChanged, Severity: Deny, Subject: idOf(manifest).String(), Message: message,
				Mend: "rename it, or take it out of the repository",
			})
		}
	}
	return violations
}

// plan is what a target needs for itself.
type plan struct {
	objects []id
	// secrets of CA keys, and the ConfigMaps that bundles are copied to.
	secrets []planner.Ref
	bundles []string
}

func plannedObjects(target planner.Target) plan {
	var p plan
	for _, key := range target.Keys {
		p.secrets = append(p.secrets, keyRef(key))
		if key.Certificate {
			p.objects = append(p.objects, certificateID(keyRef(key)))
		}
		p.objects = append(p.objects, internalIssuers(key)...)
	}
	for _, issuer := range target.Issuers {
		p.objects = append(p.objects, issuerID(issuer.Ref))
	}
	for _, bundle := range target.Bundles {
		p.objects = append(p.objects, bundleID(bundle.Name))
		p.bundles = append(p.bundles, bundle.Name)
	}
	return p
}

// intrusion says what a manifest does that it must not; nothing, if it is well.
func (p plan) intrusion(manifest *unstructured.Unstructured) string {
	object := idOf(manifest)
	if slices.Contains(p.objects, object) {
		return ""
	}
	switch {
	case object.group == certManager && object.kind == certificate:
		secret := planner.Ref{Namespace: object.Namespace, Name: text(manifest, "spec", "secretName")}
		if slices.Contains(p.secrets, secret) {
			return fmt.Sprintf("writes to the Secret %s, which holds the key of a CA", secret)
		}
	case object.group == certManager && (object.kind == issuer || object.kind == clusterIssuer):
		if secret := text(manifest, "spec", "ca", "secretName"); p.signs(object, secret) {
			return fmt.Sprintf("signs with the CA key of the Secret %s beside the issuers that are bound to it, "+
				"so that nobody would wait for its leaves before the key is retired", secret)
		}
	case object.group == "" && object.kind == "Secret":
		if slices.Contains(p.secrets, object.Ref) {
			return "overwrites the key of a CA"
		}
	case object.group == "" && object.kind == "ConfigMap":
		if slices.Contains(p.bundles, object.Name) {
			return fmt.Sprintf("has the name of the copies of the bundle %s", object.Name)
		}
	case isBundle(object) && slices.Contains(p.bundles, object.Name):
		return fmt.Sprintf("writes to the ConfigMaps of the bundle %s", object.Name)
	}
	return ""
}

// signs reports whether an issuer's Secret is that of a CA key. A ClusterIssuer's
// lies in cert-manager's own namespace, which no manifest tells: its name decides.
func (p plan) signs(object id, secret string) bool {
	return slices.ContainsFunc(p.secrets, func(ref planner.Ref) bool {
		return ref.Name == secret && (object.kind == clusterIssuer || ref.Namespace == object.Namespace)
	})
}

func isBundle(object id) bool {
	return object.group == trustManager && object.kind == bundle ||
		object.group == trustManagerNext && object.kind == clusterBundle
}

// text is a string in a manifest; empty when there is none.
func text(manifest *unstructured.Unstructured, path ...string) string {
	value, _, _ := unstructured.NestedString(manifest.Object, path...)
	return value
}
