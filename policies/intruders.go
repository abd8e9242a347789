package policies

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
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
	objects map[id]bool
	// secrets of CA keys; those of given ones are made by somebody else.
	secrets, given []planner.Ref
	// bundles by name, and the names of those whose copies are ConfigMaps and Secrets.
	bundles, configMaps, secretCopies []string
}

func plannedObjects(target planner.Target) plan {
	p := plan{objects: map[id]bool{}}
	for _, key := range target.Keys {
		p.secrets = append(p.secrets, secretRef(key))
		if key.Secret != "" {
			p.given = append(p.given, secretRef(key))
		}
		if key.Certificate {
			p.objects[certificateID(keyRef(key))] = true
		}
		for _, internal := range internalIssuers(key) {
			p.objects[internal] = true
		}
	}
	for _, issuer := range target.Issuers {
		p.objects[issuerID(issuer.Ref)] = true
	}
	for _, bundle := range target.Bundles {
		p.bundle(bundle)
	}
	return p
}

func (p *plan) bundle(bundle planner.TargetBundle) {
	p.bundles = append(p.bundles, bundle.Name)
	if bundle.Via != v1alpha1.ViaConfigMap {
		p.objects[bundleID(bundle.Name)] = true
	}
	for _, namespace := range bundle.Namespaces {
		p.objects[copyID(namespace, bundle.Name)] = true
	}
	if bundle.Target.ConfigMap.Key != "" {
		p.configMaps = append(p.configMaps, bundle.Name)
	}
	if bundle.Target.Secret.Key != "" {
		p.secretCopies = append(p.secretCopies, bundle.Name)
	}
}

// intrusion says what a manifest does that it must not; nothing, if it is well. A
// Certificate may write the Secret of a key that somebody else makes: cert-manager itself
// may be that somebody.
func (p plan) intrusion(manifest *unstructured.Unstructured) string {
	object := idOf(manifest)
	if p.objects[object] {
		return ""
	}
	switch {
	case object.group == certManager && object.kind == certificate:
		written := writtenBy(manifest)
		if slices.Contains(p.secrets, written) && !slices.Contains(p.given, written) {
			return fmt.Sprintf("writes to the Secret %s, which holds the key of a CA", written)
		}
	case object.group == certManager && (object.kind == issuer || object.kind == clusterIssuer):
		if used := text(manifest, "spec", "ca", "secretName"); p.signs(object, used) {
			return fmt.Sprintf("signs with the CA key of the Secret %s beside the issuers that are bound to it, "+
				"so that nobody would wait for its leaves before the key is retired", used)
		}
	case object.group == "":
		return p.coreIntrusion(object)
	case isBundle(object) && slices.Contains(p.bundles, object.Name):
		return fmt.Sprintf("writes to the copies of the bundle %s", object.Name)
	}
	return ""
}

// coreIntrusion says what a Secret or a ConfigMap overwrites.
func (p plan) coreIntrusion(object id) string {
	switch {
	case object.kind == secret && slices.Contains(p.given, object.Ref):
		return "takes the place of the Secret that somebody else makes for the key of a CA"
	case object.kind == secret && slices.Contains(p.secrets, object.Ref):
		return "overwrites the key of a CA"
	case object.kind == secret && slices.Contains(p.secretCopies, object.Name),
		object.kind == configMap && slices.Contains(p.configMaps, object.Name):
		return fmt.Sprintf("has the name of the copies of the bundle %s", object.Name)
	}
	return ""
}

// writtenBy is the Secret that a Certificate writes to.
func writtenBy(manifest *unstructured.Unstructured) planner.Ref {
	return planner.Ref{Namespace: manifest.GetNamespace(), Name: text(manifest, "spec", "secretName")}
}

// renewed warns of the Certificates beside the documents that make the Secret of a key
// from elsewhere and renew it by themselves: from that day on, what signs is not what Git
// says.
func renewed(target planner.Target, manifests []*unstructured.Unstructured) []Violation {
	given := plannedObjects(target).given
	var violations []Violation
	for _, manifest := range manifests {
		object, written := idOf(manifest), writtenBy(manifest)
		if object.group != certManager || object.kind != certificate || !slices.Contains(given, written) ||
			text(manifest, "spec", "renewal", "policy") == "Disabled" {
			continue
		}
		violations = append(violations, Violation{
			Rule: RuleAnchorChanged, Severity: Warn, Subject: object.String(),
			Message: fmt.Sprintf("makes the Secret %s of a CA key, and renews it when it is due: then another certificate signs than the one in Git", written),
			Mend:    "write renewal: {policy: Disabled} into its spec, and bring the next key under another name",
		})
	}
	return violations
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
