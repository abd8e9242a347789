package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIVersion is the apiVersion of every document and of the TrustDomain.
const APIVersion = "reanchor.dev/v1alpha1"

// The kinds of document that a repository may hold.
const (
	KindAuthority     = "Authority"
	KindIssuerBinding = "IssuerBinding"
	KindTrustBundle   = "TrustBundle"
)

// Metadata names a document, as Kubernetes' ObjectMeta does for an object.
type Metadata struct {
	// Name of the document, unique among its kind: at most 63 lower-case letters,
	// digits, '-' and '.'.
	Name string `json:"name"`
	// Namespace of what the document stands for in the cluster.
	Namespace string `json:"namespace,omitempty"`
	// Labels are copied to what is rendered; none may lie under reanchor.dev/.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are for people and tools; they are not copied.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Authority is one certificate authority, a self-signed root or an intermediate,
// through all its keys.
//
// Its keys' Certificates, Secrets and internal issuers are named
// "<authority>-<key>" and lie in the authority's namespace. An intermediate has a
// key pair for each of its keys and each signing key of its parent, so that a parent
// moves on with all that is below it; the name of such a key pair is
// "<key>.<parent's key>".
type Authority struct {
	metav1.TypeMeta `json:",inline"`

	// Metadata names the authority and the namespace of its keys' Secrets.
	Metadata Metadata `json:"metadata"`
	// Spec says what its certificates are like and where its keys shall end.
	Spec AuthoritySpec `json:"spec"`
}

// Leaving reports whether the authority is on its way out: each of its keys is
// Retired. It stays declared until the last one is drained.
func (a *Authority) Leaving() bool {
	return len(a.Spec.Keys) > 0 && !slices.ContainsFunc(a.Spec.Keys, func(key AuthorityKey) bool { return key.State != KeyRetired })
}

// AuthoritySpec says what the authority's certificates are like and where each
// of its keys shall end.
type AuthoritySpec struct {
	// Subject of the authority's certificates. The key's name is appended to the
	// common name ("Fleet Root 2026"), so that no two keys share a subject.
	Subject Subject `json:"subject"`
	// PrivateKey of keys made here; ECDSA 384 when absent.
	PrivateKey PrivateKey `json:"privateKey,omitzero"`
	// Duration of the authority's certificates in hours, minutes and seconds, 1h at
	// least; 87600h (ten years) when absent. An intermediate's is shorter than that of
	// the authority that issues it.
	Duration *metav1.Duration `json:"duration,omitempty"`
	// IssuedBy names the authority that signs this one's certificates; absent: a
	// self-signed root. It lies in the same namespace, or in cert-manager's cluster
	// resource namespace.
	IssuedBy *AuthorityReference `json:"issuedBy,omitempty"`
	// Keys are the end states; the planner finds the safe way there. A key that
	// is gone from the list counts as Retired.
	Keys []AuthorityKey `json:"keys"`
	// Rollover says how carefully a new key is brought in.
	Rollover Rollover `json:"rollover,omitzero"`
}

// AuthorityReference names an authority of the same repository.
type AuthorityReference struct {
	// Name of the authority.
	Name string `json:"name"`
}

// Subject is the part of an X.501 name that an authority sets (RFC 5280,
// section 4.1.2.6).
type Subject struct {
	// CommonName without the key's name, which is appended.
	CommonName string `json:"commonName"`
	// Organizations are the O attributes, in order.
	Organizations []string `json:"organizations,omitempty"`
	// OrganizationalUnits are the OU attributes, in order.
	OrganizationalUnits []string `json:"organizationalUnits,omitempty"`
	// Countries are the C attributes, in order.
	Countries []string `json:"countries,omitempty"`
}

// KeyAlgorithm is a private key's algorithm.
type KeyAlgorithm string

// The algorithms that cert-manager makes keys of.
const (
	ECDSA   KeyAlgorithm = "ECDSA"
	RSA     KeyAlgorithm = "RSA"
	Ed25519 KeyAlgorithm = "Ed25519"
)

// Values are the algorithms that a document may name.
func (KeyAlgorithm) Values() []string { return []string{string(ECDSA), string(RSA), string(Ed25519)} }

// PrivateKey is the kind of key that cert-manager makes.
type PrivateKey struct {
	// Algorithm of the key; ECDSA when absent.
	Algorithm KeyAlgorithm `json:"algorithm,omitempty"`
	// Size in bits: 256, 384 or 521 for ECDSA (384 when absent), 2048 to 8192
	// for RSA (4096 when absent), nothing for Ed25519.
	Size int `json:"size,omitempty"`
}

// KeyState is where a key shall end.
type KeyState string

// The states of a key. A state is a permission as much as a goal: a Trusted key
// never signs, and a key is never retired while Git says that it is Trusted.
const (
	// KeyTrusted keys are in bundles and do not sign.
	KeyTrusted KeyState = "Trusted"
	// KeySigning is the state of the one key that signs.
	KeySigning KeyState = "Signing"
	// KeyRetired keys are drained, then removed; their names stay listed.
	KeyRetired KeyState = "Retired"
	// KeyCompromised keys go at once, without waiting for anyone.
	KeyCompromised KeyState = "Compromised"
)

// Values are the states that a document may name.
func (KeyState) Values() []string {
	return []string{string(KeyTrusted), string(KeySigning), string(KeyRetired)}
}

// AuthorityKey is one key of an authority.
type AuthorityKey struct {
	// Name of the key, unique in its authority for ever: at most 63 lower-case
	// letters, digits and '-'.
	Name string `json:"name"`
	// State in which the key shall end.
	State KeyState `json:"state"`
}

// Confirmation says who must have shown trust in a new anchor before it signs.
type Confirmation string

// Who is waited for.
const (
	// ConfirmWorkloads waits for every bundle copy and every workload that
	// verifies with it; devices are not waited for.
	ConfirmWorkloads Confirmation = "Workloads"
	// ConfirmDevices waits for every device as well.
	ConfirmDevices Confirmation = "Devices"
)

// Values are the confirmations that a document may ask for.
func (Confirmation) Values() []string { return []string{string(ConfirmWorkloads)} }

// Rollover says how carefully a key is brought in and another taken out.
type Rollover struct {
	// Soak is how long distribution must have been seen complete before signing
	// moves; 10m when absent.
	Soak *metav1.Duration `json:"soak,omitempty"`
	// Confirm says who is waited for; Workloads when absent.
	Confirm Confirmation `json:"confirm,omitempty"`
	// Skew is how long after a certificate's notBefore it is not yet used, for
	// verifiers whose clocks are behind; 5m when absent.
	Skew *metav1.Duration `json:"skew,omitempty"`
	// CanaryInterval is how long a canary is proof of the key that an issuer signs
	// with, after which another is sent; 1h when absent, 10s at least.
	CanaryInterval *metav1.Duration `json:"canaryInterval,omitempty"`
	// Paused stops the rollover where it is; nothing that is distributed is
	// taken back.
	Paused bool `json:"paused,omitempty"`
}

// BindingScope says which kind of cert-manager issuer a binding is.
type BindingScope string

// The scopes of a binding.
const (
	// ScopeCluster makes a ClusterIssuer. Its authority lies in cert-manager's
	// cluster resource namespace.
	ScopeCluster BindingScope = "Cluster"
	// ScopeNamespace makes an Issuer in the authority's namespace.
	ScopeNamespace BindingScope = "Namespace"
)

// Values are the scopes that a document may name.
func (BindingScope) Values() []string { return []string{string(ScopeCluster), string(ScopeNamespace)} }

// IssuerBinding is a cert-manager issuer that keeps its name through every
// rollover and always signs with the authority's signing key.
type IssuerBinding struct {
	metav1.TypeMeta `json:",inline"`

	// Metadata names the issuer.
	Metadata Metadata `json:"metadata"`
	// Spec says which authority signs.
	Spec IssuerBindingSpec `json:"spec"`
}

// IssuerBindingSpec binds an issuer's name to an authority.
type IssuerBindingSpec struct {
	// Scope of the issuer: Cluster or Namespace.
	Scope BindingScope `json:"scope"`
	// Authority whose signing key signs.
	Authority string `json:"authority"`
}

// BundleVia says who writes the copies of a bundle.
type BundleVia string

// The ways a bundle gets to its namespaces.
const (
	// ViaBundle renders a trust-manager Bundle with every anchor inline.
	ViaBundle BundleVia = "Bundle"
)

// Values are the ways that a document may name.
func (BundleVia) Values() []string { return []string{string(ViaBundle)} }

// TrustBundle is a set of anchors and the namespaces that hold a copy of it. It
// is cluster-scoped: trust-manager names every copy after the bundle.
type TrustBundle struct {
	metav1.TypeMeta `json:",inline"`

	// Metadata names the bundle and every copy of it.
	Metadata Metadata `json:"metadata"`
	// Spec says which anchors go where.
	Spec TrustBundleSpec `json:"spec"`
}

// TrustBundleSpec says which anchors go where.
type TrustBundleSpec struct {
	// Authorities whose trusted keys are the bundle's anchors.
	Authorities []string `json:"authorities"`
	// Via says who writes the copies; Bundle when absent.
	Via BundleVia `json:"via,omitempty"`
	// Target says where the copies lie.
	Target BundleTarget `json:"target"`
}

// BundleTarget is where the copies of a bundle lie.
type BundleTarget struct {
	// ConfigMap of each copy; its name is the bundle's.
	ConfigMap ConfigMapTarget `json:"configMap"`
	// NamespaceSelector picks the namespaces that hold a copy. Empty: all.
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector,omitzero"`
}

// ConfigMapTarget is the part of a copy that holds the anchors.
type ConfigMapTarget struct {
	// Key of the ConfigMap's data that holds the PEM, "ca.crt" say.
	Key string `json:"key"`
}
