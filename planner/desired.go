package planner

import (
	"cmp"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Ref names a thing in the cluster or a document: its namespace, empty where it
// is cluster-scoped, and its name.
type Ref struct {
	// Namespace that it lies in; empty of what lies in none. Name is its own.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is "namespace/name", or the name alone.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

// Compare orders by namespace, then by name.
func (r Ref) Compare(other Ref) int {
	return cmp.Or(cmp.Compare(r.Namespace, other.Namespace), cmp.Compare(r.Name, other.Name))
}

// Desired is what the repository declares: valid, with every default filled in
// (see v1alpha1.Validate and the documents' Default methods).
type Desired struct {
	Authorities []v1alpha1.Authority     `json:"authorities,omitempty"`
	Bindings    []v1alpha1.IssuerBinding `json:"bindings,omitempty"`
	Bundles     []v1alpha1.TrustBundle   `json:"bundles,omitempty"`
	Groups      []v1alpha1.DeviceGroup   `json:"groups,omitempty"`
	// Zones are the time zones that windows name. A window of which the zone is not among
	// them never opens.
	Zones v1alpha1.Zones `json:"-"`
}

// AuthorityRef names an authority.
func AuthorityRef(authority v1alpha1.Authority) Ref {
	return Ref{Namespace: authority.Metadata.Namespace, Name: authority.Metadata.Name}
}

// BindingRef names the issuer of a binding: without a namespace for a
// ClusterIssuer, in the binding's namespace for an Issuer.
func BindingRef(binding v1alpha1.IssuerBinding) Ref {
	if binding.Spec.Scope == v1alpha1.ScopeCluster {
		return Ref{Name: binding.Metadata.Name}
	}
	return Ref{Namespace: binding.Metadata.Namespace, Name: binding.Metadata.Name}
}

// GroupIssuer names the issuer that signs the certificates of a group's devices.
func GroupIssuer(group v1alpha1.DeviceGroup) Ref {
	if group.Spec.Issuer.Kind == v1alpha1.KindClusterIssuer {
		return Ref{Name: group.Spec.Issuer.Name}
	}
	return Ref{Namespace: group.Spec.Namespace, Name: group.Spec.Issuer.Name}
}

// SelfSignedName is the name of the Issuer by which an authority's roots sign themselves,
// in the authority's namespace.
func SelfSignedName(authority string) string { return authority + "-self-signed" }

// NewCASpec is what the certificate of a key pair is like that an authority makes now. The
// issuer is that of the parent's key; zero for a root.
func NewCASpec(authority v1alpha1.AuthoritySpec, pair string, signedBy Ref) CASpec {
	spec := CASpec{
		CommonName:          authority.Subject.CommonName + " " + pair,
		Organizations:       authority.Subject.Organizations,
		OrganizationalUnits: authority.Subject.OrganizationalUnits,
		Countries:           authority.Subject.Countries,
		Algorithm:           authority.PrivateKey.Algorithm,
		Size:                authority.PrivateKey.Size,
		SignedBy:            signedBy,
	}
	if authority.Duration != nil {
		spec.Duration = authority.Duration.Duration
	}
	return spec
}

// KeyObjectName is the name of the Certificate, the Secret and the internal
// issuer of an authority's key pair.
func KeyObjectName(authority, key string) string { return authority + "-" + key }
