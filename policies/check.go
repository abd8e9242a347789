package policies

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/planner"
)

// Check holds the manifests against the plan that they were rendered from, and
// both against the rules. The manifests are final: whatever an overlay does to
// them has been done. Neither is changed.
func Check(plan planner.Plan, manifests []*unstructured.Unstructured) []Violation {
	objects := index(manifests)
	violations := slices.Concat(
		privateKeys(manifests),
		intermediates(plan.Target),
		tooLarge(plan.Target),
		changedBundles(plan.Target, objects),
		changedAuthorities(plan.Target, objects),
		changedIssuers(plan.Target, objects),
		intruders(plan.Target, manifests),
		renewed(plan.Target, manifests),
		longLived(plan.Target, manifests),
	)
	slices.SortFunc(violations, compare)
	return slices.Compact(violations)
}

// id names an object whatever its version.
type id struct {
	group, kind string
	planner.Ref
}

// String is "Kind namespace/name".
func (i id) String() string { return i.kind + " " + i.Ref.String() }

func idOf(manifest *unstructured.Unstructured) id {
	gvk := manifest.GroupVersionKind()
	return id{gvk.Group, gvk.Kind, planner.Ref{Namespace: manifest.GetNamespace(), Name: manifest.GetName()}}
}

type objects map[id][]*unstructured.Unstructured

func index(manifests []*unstructured.Unstructured) objects {
	found := objects{}
	for _, manifest := range manifests {
		found[idOf(manifest)] = append(found[idOf(manifest)], manifest)
	}
	return found
}

// The API groups, versions and kinds that the rules know.
const (
	certManager        = "cert-manager.io"
	certManagerVersion = "v1"
	certificate        = "Certificate"
	issuer             = "Issuer"
	clusterIssuer      = "ClusterIssuer"

	trustManager        = "trust.cert-manager.io"
	trustManagerVersion = "v1alpha1"
	trustManagerNext    = "trust-manager.io"
	bundle              = "Bundle"
	clusterBundle       = "ClusterBundle"
	// trustManagerCopy is the label by which trust-manager knows what it wrote.
	trustManagerCopy = "trust.cert-manager.io/bundle"

	coreVersion = "v1"
	configMap   = "ConfigMap"
	secret      = "Secret"
)

func certificateID(ref planner.Ref) id { return id{certManager, certificate, ref} }

func issuerID(ref planner.Ref) id {
	if ref.Namespace == "" {
		return id{certManager, clusterIssuer, ref}
	}
	return id{certManager, issuer, ref}
}

func bundleID(name string) id { return id{trustManager, bundle, planner.Ref{Name: name}} }

// copyID names a copy of a bundle that reanchor writes itself.
func copyID(namespace, name string) id {
	return id{"", configMap, planner.Ref{Namespace: namespace, Name: name}}
}

// keyRef names the Certificate and the internal issuer of a key pair, and its Secret if
// it is made here.
func keyRef(key planner.TargetKey) planner.Ref {
	return planner.Ref{Namespace: key.Authority.Namespace, Name: planner.KeyObjectName(key.Authority.Name, key.Name)}
}

// secretRef names the Secret of a key pair: its own, or one that somebody else makes.
func secretRef(key planner.TargetKey) planner.Ref {
	if key.Secret == "" {
		return keyRef(key)
	}
	return planner.Ref{Namespace: key.Authority.Namespace, Name: key.Secret}
}

// internalIssuers are the planned issuers of a key pair's own: one in its namespace,
// and a ClusterIssuer of that name for intermediates elsewhere.
func internalIssuers(key planner.TargetKey) []id {
	var issuers []id
	if key.Issuer {
		issuers = append(issuers, issuerID(keyRef(key)))
	}
	if key.ClusterIssuer {
		issuers = append(issuers, issuerID(planner.Ref{Name: keyRef(key).Name}))
	}
	return issuers
}

// signerOf is the issuer that a key pair's certificate is pinned to.
func signerOf(key planner.TargetKey) id {
	if key.Spec.SignedBy == (planner.Ref{}) {
		return selfSignedID(key.Authority)
	}
	return issuerID(key.Spec.SignedBy)
}

// selfSignedID names the issuer that signs a root's certificates with their own keys.
func selfSignedID(authority planner.Ref) id {
	return issuerID(planner.Ref{Namespace: authority.Namespace, Name: planner.SelfSignedName(authority.Name)})
}
