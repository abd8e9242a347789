package v1alpha1

import (
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIVersion is the apiVersion of every document and of the TrustDomain.
const APIVersion = "reanchor.dev/v1alpha1"

// The kinds of document that a repository may hold.
const (
	KindAuthority     = "Authority"
	KindIssuerBinding = "IssuerBinding"
	KindTrustBundle   = "TrustBundle"
	KindDeviceGroup   = "DeviceGroup"
	KindDevice        = "Device"
	KindPolicy        = "Policy"
)

// Metadata names a document, as Kubernetes' ObjectMeta does for an object.
type Metadata struct {
	// Name of the document, unique among its kind: at most 63 lower-case letters,
	// digits, '-' and '.'.
	Name string `json:"name"`
	// Namespace of what the document stands for in the cluster.
	Namespace string `json:"namespace,omitempty"`
	// Labels are copied to what is rendered; none may lie under reanchor.dev/, but
	// reanchor.dev/environment.
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
// Retired or Compromised. It stays declared until the last one is drained.
func (a *Authority) Leaving() bool {
	return len(a.Spec.Keys) > 0 && !slices.ContainsFunc(a.Spec.Keys, func(key AuthorityKey) bool { return !key.State.Goes() })
}

// AuthoritySpec says what the authority's certificates are like and where each
// of its keys shall end.
type AuthoritySpec struct {
	// Subject of the certificates of keys that are made here. The key's name is appended
	// to the common name ("Fleet Root 2026"), so that no two keys share a subject. It may
	// be left out where every key comes from elsewhere.
	Subject Subject `json:"subject,omitzero"`
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
	CommonName string `json:"commonName,omitempty"`
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
	// KeyCompromised keys go at once, without waiting for anyone: somebody else may sign
	// with them.
	KeyCompromised KeyState = "Compromised"
)

// Goes reports whether a key of that state is on its way out.
func (s KeyState) Goes() bool { return s == KeyRetired || s == KeyCompromised }

// Values are the states that a document may name.
func (KeyState) Values() []string {
	return []string{string(KeyTrusted), string(KeySigning), string(KeyRetired), string(KeyCompromised)}
}

// AuthorityKey is one key of an authority. Where it comes from is told by three fields:
//
//	certificate   secret   issuer   the key …
//	–             –        –        is made here, by cert-manager
//	PEM           name     –        arrives in a Secret that somebody else makes
//	PEM           –        –        is never here: an offline root
//	PEM           –        spec     stays behind an external issuer: Vault, ACME, Venafi
type AuthorityKey struct {
	// Name of the key, unique in its authority for ever: at most 63 lower-case
	// letters, digits and '-'.
	Name string `json:"name"`
	// State in which the key shall end.
	State KeyState `json:"state"`
	// Certificate of a key from elsewhere, in PEM: the one CA certificate that
	// verifiers of what the key signs are given as anchor, or, in an intermediate, the one
	// that a key of its parent has signed.
	Certificate string `json:"certificate,omitempty"`
	// Secret that holds the key and its certificate as tls.key and tls.crt, in the
	// authority's namespace. It is read by cert-manager alone and never deleted.
	Secret *SecretReference `json:"secret,omitempty"`
	// Issuer is the spec of a cert-manager Issuer behind which the key stays: the
	// issuers of the authority's bindings are given it. Secrets that it names lie where
	// cert-manager looks for them.
	Issuer *apiextensionsv1.JSON `json:"issuer,omitempty"`
}

// Given reports whether the key comes from elsewhere.
func (k AuthorityKey) Given() bool { return k.Certificate != "" || k.Secret != nil || k.Issuer != nil }

// SecretReference names a Secret.
type SecretReference struct {
	// Name of the Secret.
	Name string `json:"name"`
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
func (Confirmation) Values() []string {
	return []string{string(ConfirmWorkloads), string(ConfirmDevices)}
}

// LinkMaking says whether link certificates are made.
type LinkMaking string

// Whether they are.
const (
	// LinksMade lets the old root's key sign the new one's, for devices that were away.
	LinksMade LinkMaking = "Made"
	// LinksNone makes no link: whoever was away for the whole rollover is let in by hand.
	LinksNone LinkMaking = "None"
)

// Values are what a document may say of links.
func (LinkMaking) Values() []string { return []string{string(LinksMade), string(LinksNone)} }

// Rollover says how carefully a key is brought in and another taken out.
type Rollover struct {
	// Soak is how long distribution must have been seen complete before signing
	// moves; 10m when absent.
	Soak *metav1.Duration `json:"soak,omitempty"`
	// Confirm says who is waited for; Devices when absent.
	Confirm Confirmation `json:"confirm,omitempty"`
	// Skew is how long after a certificate's notBefore it is not yet used, for
	// verifiers whose clocks are behind; 5m when absent.
	Skew *metav1.Duration `json:"skew,omitempty"`
	// CanaryInterval is how long a canary is proof of the key that an issuer signs
	// with, after which another is sent; 1h when absent, 10s at least.
	CanaryInterval *metav1.Duration `json:"canaryInterval,omitempty"`
	// WaitForOffline is how long a silent device may hold up retirement; then the plan
	// names who will drop, and holds until they are waived in Git. 720h when absent.
	WaitForOffline *metav1.Duration `json:"waitForOffline,omitempty"`
	// Waivers name devices that are waited for no longer, and lose trust when the key goes.
	Waivers []Waiver `json:"waivers,omitempty"`
	// Waves are percents of the leaves, and of the devices of each group, rising to 100: the next leaves are reissued only
	// once all of those before have been, and whoever presents them has loaded them. All
	// at once, [100], when absent.
	Waves []int `json:"waves,omitempty"`
	// Windows in which issuers are moved, leaves reissued, workloads restarted and keys
	// retired; at any time when absent. What was begun in a window is finished after it.
	Windows []Window `json:"windows,omitempty"`
	// Links says whether the old root's key signs the new one's, so that devices that were
	// away for the whole rollover are let in: a link certificate, which the record keeps
	// for ever in the folder links. Made when absent; it says nothing for an intermediate.
	Links LinkMaking `json:"links,omitempty"`
	// Paused stops the rollover where it is; nothing that is distributed is
	// taken back.
	Paused bool `json:"paused,omitempty"`
}

// Waiver lets a key go over devices that have not shown that they can do without it.
type Waiver struct {
	// Key that goes.
	Key string `json:"key"`
	// Devices as "group/name".
	Devices []string `json:"devices"`
	// Reason for people: scrapped, sold, in a drawer.
	Reason string `json:"reason"`
}

// Window is a time that comes again and again.
type Window struct {
	// Cron says when it opens, in five fields: minute, hour, day of the month, month,
	// day of the week (0 to 6 from Sunday). Each is *, or a list of numbers, ranges and
	// steps; months and days may be named by three letters. Where both kinds of day are
	// given, either may match. A time that clocks skip in spring is when they jump; of one
	// that they show twice in autumn it is the first.
	Cron string `json:"cron"`
	// Duration for which it is open, 1m at least.
	Duration metav1.Duration `json:"duration"`
	// TimeZone of the cron, as the IANA database names it; UTC when absent.
	TimeZone string `json:"timeZone,omitempty"`
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
	// References to the issuer, in objects of other operators, that are re-pointed at
	// Switch.
	References []FieldReference `json:"references,omitempty"`
}

// FieldReference is a field of an object that names an issuer.
type FieldReference struct {
	// APIVersion of the object, "apps/v1" say.
	APIVersion string `json:"apiVersion"`
	// Kind of the object.
	Kind string `json:"kind"`
	// Namespace of the object, unless it is of the cluster.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name"`
	// FieldPath leads to the issuer's name, "spec.ports[0].tls.issuerRef.name" say.
	FieldPath string `json:"fieldPath"`
}

// BundleVia says who writes the copies of a bundle.
type BundleVia string

// The ways a bundle gets to its namespaces.
const (
	// ViaBundle renders a trust-manager Bundle with every anchor inline.
	ViaBundle BundleVia = "Bundle"
	// ViaConfigMap has reanchor write the copies itself, where trust-manager is not
	// wanted, or too slow.
	ViaConfigMap BundleVia = "ConfigMap"
	// ViaObserved leaves the copies to somebody else: they are looked at and waited for.
	ViaObserved BundleVia = "Observed"
)

// Values are the ways that a document may name.
func (BundleVia) Values() []string {
	return []string{string(ViaBundle), string(ViaConfigMap), string(ViaObserved)}
}

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
	Authorities []string `json:"authorities,omitempty"`
	// Certificates are further anchors, another site's say: PEM, one or more CA
	// certificates each. One that is taken out of the list leaves the bundle as soon as
	// no leaf that is seen needs it.
	Certificates []string `json:"certificates,omitempty"`
	// UseDefaultCAs adds the public CAs that trust-manager was installed with.
	UseDefaultCAs bool `json:"useDefaultCAs,omitempty"`
	// Via says who writes the copies; Bundle when absent.
	Via BundleVia `json:"via,omitempty"`
	// Target says where the copies lie.
	Target BundleTarget `json:"target"`
	// Probes are TLS servers. Before an anchor is taken out of the bundle, the controller
	// must have shaken hands with each of them, trusting nothing but what the bundle is to
	// hold then.
	Probes []Probe `json:"probes,omitempty"`
}

// Probe is a TLS server to shake hands with.
type Probe struct {
	// Name of the probe, by which overlays find it; its address when absent.
	Name string `json:"name,omitempty"`
	// Address as host:port, which the controller must be able to reach. It speaks TLS from
	// the first byte.
	Address string `json:"address"`
	// ServerName that the server is asked for, and that its certificate must be for: a DNS
	// name or an IP address; the address's host when absent.
	ServerName string `json:"serverName,omitempty"`
}

// BundleTarget is where the copies of a bundle lie: in a ConfigMap or in a Secret of
// the bundle's name, or in both. Its fields are trust-manager's.
type BundleTarget struct {
	// ConfigMap of each copy; its name is the bundle's.
	ConfigMap ConfigMapTarget `json:"configMap,omitzero"`
	// Secret of each copy; its name is the bundle's. trust-manager must be allowed to
	// write it, and reanchor to read it.
	Secret SecretTarget `json:"secret,omitzero"`
	// AdditionalFormats stand in each copy beside the PEM.
	AdditionalFormats AdditionalFormats `json:"additionalFormats,omitzero"`
	// NamespaceSelector picks the namespaces that hold a copy. Empty: all.
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector,omitzero"`
}

// ConfigMapTarget is the part of a copy in a ConfigMap that holds the anchors.
type ConfigMapTarget struct {
	// Key of the ConfigMap's data that holds the PEM, "ca.crt" say.
	Key string `json:"key"`
}

// SecretTarget is the part of a copy in a Secret that holds the anchors.
type SecretTarget struct {
	// Key of the Secret's data that holds the PEM, "ca.crt" say.
	Key string `json:"key"`
}

// AdditionalFormats are keystores with the same anchors
// (https://cert-manager.io/docs/trust/trust-manager/api-reference/).
type AdditionalFormats struct {
	// JKS asks for a Java keystore. trust-manager means to give it up, and Java reads
	// PKCS#12 as well.
	JKS *KeystoreFormat `json:"jks,omitempty"`
	// PKCS12 asks for a PKCS#12 store (RFC 7292).
	PKCS12 *PKCS12Format `json:"pkcs12,omitempty"`
}

// KeystoreFormat is a Java keystore in each copy.
type KeystoreFormat struct {
	// Key of the copy's data that holds the store, "truststore.jks" say.
	Key string `json:"key"`
	// Password of the store; changeit when absent. It keeps nothing secret: the store
	// holds public certificates, and the password stands here in clear. Take none that
	// is used elsewhere.
	Password *string `json:"password,omitempty"`
}

// PKCS12Format is a PKCS#12 store in each copy.
type PKCS12Format struct {
	// Key of the copy's data that holds the store, "truststore.p12" say.
	Key string `json:"key"`
	// Password of the store; none when absent. Like that of a Java keystore it keeps
	// nothing secret, and stands here in clear.
	Password *string `json:"password,omitempty"`
	// Profile of the algorithms: LegacyRC2, LegacyDES or Modern2023; trust-manager's own
	// choice when absent.
	Profile PKCS12Profile `json:"profile,omitempty"`
}

// PKCS12Profile names the algorithms of a PKCS#12 store.
type PKCS12Profile string

// The profiles that trust-manager knows.
const (
	PKCS12LegacyRC2  PKCS12Profile = "LegacyRC2"
	PKCS12LegacyDES  PKCS12Profile = "LegacyDES"
	PKCS12Modern2023 PKCS12Profile = "Modern2023"
)

// Values are the profiles that a document may name.
func (PKCS12Profile) Values() []string {
	return []string{string(PKCS12LegacyRC2), string(PKCS12LegacyDES), string(PKCS12Modern2023)}
}
