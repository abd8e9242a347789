package policies

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Input is everything that the rules look at. All of it is a value; what is left out is
// not looked at.
type Input struct {
	// Plan of the turn.
	Plan planner.Plan
	// Manifests that the plan was rendered to. They are final: whatever an overlay does to
	// them has been done.
	Manifests []*unstructured.Unstructured
	// Documents of the domain as they were composed, its policies among them.
	Documents []v1alpha1.Object
	// Observed is what the plan was made from; without a cluster its Record alone, or
	// nothing.
	Observed planner.Observed
	// Devices tells how many there are and how many are to go.
	Devices Devices
	// Production reports that the TrustDomain bears [v1alpha1.LabelEnvironment] with the
	// value production.
	Production bool
	// Now is when the turn is taken: exemptions end, and CAs.
	Now time.Time
}

// Devices counts those that have objects in the cluster, and those of them that a turn
// would take out.
type Devices struct{ Standing, Leaving int }

// Check holds a plan, the manifests that it was rendered to and the documents against the
// rules, built-in and the team's own, and then lets off whom a policy exempts. None of them
// is changed. The violations are in order of rule, subject and message.
func Check(input Input) []Violation {
	s := newScene(input)
	var violations []Violation
	for _, rule := range builtInRules {
		violations = append(violations, rule.find(s)...)
	}
	violations = append(violations, s.rules.check(s)...)
	violations = exempted(violations, s.policies, input.Now)
	slices.SortFunc(violations, compare)
	return slices.Compact(violations)
}

// leaked are the private keys in manifests.
func leaked(s *scene) []Violation { return privateKeys(s.Manifests) }

// changed is what is not as it was planned.
func changed(s *scene) []Violation {
	target := s.Plan.Target
	return slices.Concat(
		changedBundles(target, s.objects),
		changedAuthorities(target, s.objects),
		changedIssuers(target, s.objects),
		intruders(target, s.Manifests),
		renewed(target, s.Manifests),
	)
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
