package planner

import (
	"cmp"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Observed is what the cluster was seen to hold. What could not be seen is said
// in Unknown or left zero; it is never assumed.
type Observed struct {
	// Keys of every authority that have any object in the cluster.
	Keys []Key `json:"keys,omitempty"`
	// Issuers that bindings name, and those of this domain that no binding names
	// any more.
	Issuers []Issuer `json:"issuers,omitempty"`
	// Links are the CertificateRequests of link certificates; they are no leaves.
	Links []LinkRequest `json:"links,omitempty"`
	// Leaves are the Certificates, whoever made them, that refer to one of the
	// Issuers or to the internal issuer of a key, but for the keys' own; those that
	// refer elsewhere now and still present what one of the keys signed; and live
	// CertificateRequests of one of the Issuers that no Certificate stands behind.
	Leaves []Leaf `json:"leaves,omitempty"`
	// References are the fields that Git says shall name a binding's issuer.
	References []Reference `json:"references,omitempty"`
	// Bundles of this domain as they stand.
	Bundles []Bundle `json:"bundles,omitempty"`
	// Copies has one entry for each bundle, desired or standing, each namespace that its
	// selector picks, and ConfigMap and Secret where both are targets: a copy that is not
	// there is an entry too. So is one of ours that lies elsewhere.
	Copies []Copy `json:"copies,omitempty"`
	// Workloads that verify with a copy or present a leaf.
	Workloads []Workload `json:"workloads,omitempty"`
	// Ledger has an entry for each device group that Git declares, and for each that it
	// declares no more while it lists devices of it.
	Ledger []Ledger `json:"ledger,omitempty"`
	// Record is what Git remembers of the keys that came to be.
	Record Record `json:"record,omitzero"`
	// Probes are the results of those that earlier plans asked for. One that is not there is
	// asked for again.
	Probes []ProbeResult `json:"probes,omitempty"`
	// Since is the memory of earlier turns: Plan.Gates as it was last stored.
	Since []Gate `json:"since,omitempty"`
	// Unknown names what could not be read. While there is any, nothing is written
	// at all: what was not read looks as if it were not there.
	Unknown []Unknown `json:"unknown,omitempty"`
}

// sorted is the same in one order, whatever order it was gathered in.
func (o Observed) sorted() Observed {
	o.Keys = sortedBy(o.Keys, func(a, b Key) int { return cmp.Or(a.Authority.Compare(b.Authority), cmp.Compare(a.Name, b.Name)) })
	o.Issuers = sortedBy(o.Issuers, func(a, b Issuer) int { return a.Ref.Compare(b.Ref) })
	o.Links = sortedBy(o.Links, func(a, b LinkRequest) int {
		return cmp.Or(a.Authority.Compare(b.Authority), cmp.Compare(a.Name, b.Name))
	})
	o.References = sortedBy(o.References, func(a, b Reference) int { return cmp.Or(a.Field.Compare(b.Field), a.Issuer.Compare(b.Issuer)) })
	o.Leaves = sortedBy(o.Leaves, func(a, b Leaf) int { return a.Ref.Compare(b.Ref) })
	o.Bundles = sortedBy(o.Bundles, func(a, b Bundle) int { return cmp.Compare(a.Name, b.Name) })
	o.Copies = sortedBy(o.Copies, func(a, b Copy) int {
		return cmp.Or(cmp.Compare(a.Bundle, b.Bundle), cmp.Compare(a.Namespace, b.Namespace), compareBools(a.Secret, b.Secret))
	})
	o.Workloads = sortedBy(o.Workloads, func(a, b Workload) int {
		return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.Kind, b.Kind))
	})
	o.Probes = sortedBy(o.Probes, ProbeResult.Compare)
	o.Ledger = sortedBy(o.Ledger, func(a, b Ledger) int { return cmp.Compare(a.Group, b.Group) })
	o.Unknown = sortedBy(o.Unknown, func(a, b Unknown) int { return cmp.Compare(a.Subject, b.Subject) })
	return o
}

// compareBools has false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sortedBy[T any](items []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(items, compare) {
		return items
	}
	return slices.SortedStableFunc(slices.Values(items), compare)
}

// Key is one key pair of an authority as the cluster holds it.
type Key struct {
	Authority Ref `json:"authority"`
	// Name as [v1alpha1.KeyUnder] has it: "2025" of a root, "a.2025" of an intermediate.
	Name string `json:"name"`
	// SecretName that its internal issuer names, if that is not KeyObjectName: a key
	// that came from elsewhere.
	SecretName string `json:"secretName,omitempty"`
	// HasCertificate reports that its cert-manager Certificate exists.
	HasCertificate bool `json:"hasCertificate,omitempty"`
	// HasIssuer reports that its internal issuer exists.
	HasIssuer bool `json:"hasIssuer,omitempty"`
	// HasClusterIssuer reports that its internal issuer exists as a ClusterIssuer too,
	// for intermediates in other namespaces.
	HasClusterIssuer bool `json:"hasClusterIssuer,omitempty"`
	// Generation of the internal issuer's spec, and the canaries that were sent through
	// it: the newest, and the newest that came back signed.
	Generation int64  `json:"generation,omitempty"`
	Canary     Canary `json:"canary,omitzero"`
	Proof      Canary `json:"proof,omitzero"`
	// SecretSeen reports that the internal issuer says that its Secret is there, and that
	// it can sign with it.
	SecretSeen bool `json:"secretSeen,omitempty"`
	// SecretGone reports that the internal issuer says that its Secret is not
	// there; false means that it is there or that nobody knows.
	SecretGone bool `json:"secretGone,omitempty"`
	// Issued reports that the Certificate has been issued at least once
	// (status.revision is set), whether or not it is known what.
	Issued bool `json:"issued,omitempty"`
	// Adopted reports that the Certificate took over a Secret that was there before
	// it: it is valid, though nothing was ever issued for it, and so it is not known
	// what the Secret holds. So it stands after a Certificate was deleted and made
	// anew.
	Adopted bool `json:"adopted,omitempty"`
	// Requested reports that the CertificateRequest that the Certificate was issued for is
	// there, and with it the request that a link is made of.
	Requested bool `json:"requested,omitempty"`
	// Spec of the Certificate as it stands; meaningful with HasCertificate.
	Spec CASpec `json:"spec,omitzero"`
	// Certificate that was issued. Zero: none yet, or it is not known which.
	Certificate pki.Certificate `json:"certificate,omitzero"`
	// Problem says why there is no certificate, in cert-manager's words or ours.
	Problem string `json:"problem,omitempty"`
}

// fingerprint of the key's certificate; zero if it is not known.
func (k Key) fingerprint() pki.Fingerprint {
	if k.Certificate.IsZero() {
		return pki.Fingerprint{}
	}
	return k.Certificate.Fingerprint()
}

// Issuer is a binding's cert-manager issuer.
type Issuer struct {
	// Ref has no namespace for a ClusterIssuer.
	Ref Ref `json:"ref"`
	// Exists reports that it is there; the rest is meaningful only then.
	Exists bool `json:"exists,omitempty"`
	// Ours reports that it bears the domain's labels.
	Ours bool `json:"ours,omitempty"`
	// SecretName of spec.ca; empty when the issuer is not a CA issuer.
	SecretName string `json:"secretName,omitempty"`
	// Spec of an issuer that is not a CA issuer, as JSON.
	Spec string `json:"spec,omitempty"`
	// SignsWith is the annotation by which we remember which key's spec it was given: see
	// [TargetIssuer.SignsWith].
	SignsWith string `json:"signsWith,omitempty"`
	// Ready reports that cert-manager finds its present generation ready.
	Ready bool `json:"ready,omitempty"`
	// Problem in cert-manager's words, when it is not Ready.
	Problem string `json:"problem,omitempty"`
	// Generation of the issuer's spec.
	Generation int64 `json:"generation,omitempty"`
	// Canary is the newest one that was sent through the issuer; zero if none.
	Canary Canary `json:"canary,omitzero"`
	// Proof is the newest one that came back signed; zero if none.
	Proof Canary `json:"proof,omitzero"`
}

// CanaryState is how far a canary has come.
type CanaryState string

// The states of a canary.
const (
	CanaryPending CanaryState = "Pending"
	CanarySigned  CanaryState = "Signed"
	CanaryFailed  CanaryState = "Failed"
)

// Canary is a short-lived CertificateRequest that shows which key really signs.
type Canary struct {
	// Name of the CertificateRequest.
	Name string `json:"name,omitempty"`
	// At is when it was created.
	At time.Time `json:"at,omitzero"`
	// Generation of the issuer's spec that it was made for.
	Generation int64       `json:"generation,omitempty"`
	State      CanaryState `json:"state,omitempty"`
	// Certificate that came back, when Signed.
	Certificate pki.Certificate `json:"certificate,omitzero"`
	// CA that came back with it as its signer; zero when the issuer gives none.
	CA pki.Certificate `json:"ca,omitzero"`
	// Problem in cert-manager's words, when Failed or Pending.
	Problem string `json:"problem,omitempty"`
}

// Leaf is an end-entity Certificate and what it was issued.
type Leaf struct {
	Ref Ref `json:"ref"`
	// Issuer it refers to; no namespace for a ClusterIssuer.
	Issuer Ref `json:"issuer"`
	// SecretName that it is written to, in the leaf's namespace; empty for a
	// CertificateRequest, which nothing renews.
	SecretName string `json:"secretName"`
	// Chain as presented: the leaf first. Empty: nothing issued yet, or unknown.
	Chain []pki.Certificate `json:"chain,omitempty"`
	// Unknown says why the chain is not known; empty when it is.
	Unknown string `json:"unknown,omitempty"`
	// WithoutCA reports that it came without the CA that signed it, as from an ACME
	// server: there is no ca.crt in its Secret.
	WithoutCA bool `json:"withoutCA,omitempty"`
	// Foreign reports that the repository does not declare it: ingress-shim, an operator
	// or a person made it.
	Foreign bool `json:"foreign,omitempty"`
	// Issuing reports that a reissue is under way (the Issuing condition).
	Issuing bool `json:"issuing,omitempty"`
	// FailedAt is when the last issuance failed; zero if it did not.
	FailedAt time.Time `json:"failedAt,omitzero"`
	// Problem of the last issuance, in cert-manager's words.
	Problem string `json:"problem,omitempty"`
}

// Bundle is a bundle as it stands: trust-manager's Bundle, or the copies themselves where
// there is none.
type Bundle struct {
	Name string `json:"name"`
	// Via says who writes the copies.
	Via v1alpha1.BundleVia `json:"via,omitempty"`
	// Seen reports that trust-manager says of its present generation that it has
	// seen it. Until then it may still write what the Bundle said before. Always true
	// of a bundle that is not trust-manager's.
	Seen bool `json:"seen,omitempty"`
	// Revision tells what the Bundle is from what it was before, and never comes back: its
	// UID and generation. Empty of a bundle that is not trust-manager's: there every copy
	// has its own.
	Revision string `json:"revision,omitempty"`
	// Anchors that stand inline in it, or in any of the copies where there is no Bundle.
	Anchors pki.Anchors `json:"anchors,omitempty"`
	// Certificates are those of the Anchors that came from spec.certificates, as an
	// annotation of ours remembers: [TargetBundle.Certificates].
	Certificates pki.Anchors `json:"certificates,omitempty"`
	// UseDefaultCAs reports that the public CAs are added to the Anchors.
	UseDefaultCAs bool `json:"useDefaultCAs,omitempty"`
	// Target it is written to.
	Target v1alpha1.BundleTarget `json:"target"`
}

// Copy is a bundle's copy in one namespace.
type Copy struct {
	Bundle    string `json:"bundle"`
	Namespace string `json:"namespace"`
	// Secret reports that it is a Secret; else it is a ConfigMap.
	Secret bool `json:"secret,omitempty"`
	// Missing reports that there is no such object at all: nobody can have loaded one
	// that is out of date.
	Missing bool `json:"missing,omitempty"`
	// Unselected reports a copy of ours in a namespace that the selector does not pick.
	Unselected bool `json:"unselected,omitempty"`
	// Revision tells the object from what it was before, and never comes back: its UID
	// and resource version. Empty of a copy that trust-manager writes: there the Bundle
	// has one.
	Revision string `json:"revision,omitempty"`
	// Problem says why there are no anchors: missing, no such key, not PEM.
	Problem string `json:"problem,omitempty"`
	// Anchors that its content was parsed to.
	Anchors pki.Anchors `json:"anchors,omitempty"`
	// Digest is the SHA-256 of its content, byte for byte.
	Digest pki.Fingerprint `json:"digest,omitzero"`
}

// MountKind is the way in which a bundle or a leaf reaches a pod.
type MountKind string

// The ways in which a pod gets a ConfigMap or a Secret. The kubelet refreshes the
// first, and never the other two.
const (
	MountVolume  MountKind = "volume"
	MountSubPath MountKind = "subPath"
	MountEnv     MountKind = "env"
)

// Mount is one bundle or one Secret in a workload's pod template.
type Mount struct {
	// Name of the bundle, or of the Secret.
	Name string    `json:"name"`
	Kind MountKind `json:"kind"`
	// OwnCA says what the pod template shows of a Secret's own ca.crt; empty for a
	// bundle.
	OwnCA OwnCA `json:"ownCA,omitempty"`
}

// OwnCA says what a pod template shows of the ca.crt of a leaf's Secret. It is no
// bundle: when the leaf is reissued it becomes the new root alone.
type OwnCA string

// What a pod template may show of it.
const (
	// OwnCAHidden: the pod does not get it.
	OwnCAHidden OwnCA = ""
	// OwnCAVisible: the pod gets it with the rest of the Secret, and nothing in the
	// template says whether it is used.
	OwnCAVisible OwnCA = "Visible"
	// OwnCANamed: the template asks for that very key, or an argument or a variable
	// names its path.
	OwnCANamed OwnCA = "Named"
)

// Workload is a Deployment, StatefulSet, DaemonSet or a bare Pod that verifies
// with a bundle or presents a leaf.
type Workload struct {
	// Kind is Deployment, StatefulSet, DaemonSet, or Pod for one that nothing that
	// can be restarted owns.
	Kind string `json:"kind"`
	Ref  Ref    `json:"ref"`
	// Bundles whose copies it mounts: it verifies with them. Sorted.
	Bundles []Mount `json:"bundles,omitempty"`
	// Secrets of leaves that it mounts: it presents them. Sorted.
	Secrets []Mount `json:"secrets,omitempty"`
	// OwnCAUnused reports that its owner says that it verifies with no leaf Secret's
	// ca.crt.
	OwnCAUnused bool `json:"ownCAUnused,omitempty"`
	// Reloads is the time within which it loads a changed volume by itself; 0: it
	// must be restarted.
	Reloads time.Duration `json:"reloads,omitempty"`
	// BundleDigest and LeavesDigest are its pod template's annotations.
	BundleDigest string `json:"bundleDigest,omitempty"`
	LeavesDigest string `json:"leavesDigest,omitempty"`
	// Rolling reports that the cluster has not yet carried out its latest spec.
	Rolling bool `json:"rolling,omitempty"`
	// Paused reports that its owner has paused its rollouts: its pods stay as they are,
	// whatever its pod template says, until they are resumed.
	Paused bool `json:"paused,omitempty"`
	// Pods that have not ended, those that are going or still Pending included: one
	// that waits for a volume may have mounted another already.
	Pods int `json:"pods"`
	// Started counts the Pods of which a container runs.
	Started int `json:"started"`
	// OldestStart is when the oldest of the Pods was created; zero without Pods.
	OldestStart time.Time `json:"oldestStart,omitzero"`
	// Bearing counts the Pods with the pod template's two annotations.
	Bearing int `json:"bearing"`
}

// String names the workload: "Deployment plant/broker".
func (w Workload) String() string { return w.Kind + " " + w.Ref.String() }

// Gate is a condition and the time since when it has been seen to hold.
type Gate struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// Unknown is something that could not be read.
type Unknown struct {
	// Subject names it: "ConfigMaps of namespace plant".
	Subject string `json:"subject"`
	// Why it could not be read, and what to do.
	Why string `json:"why"`
}
