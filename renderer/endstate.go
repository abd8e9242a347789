package renderer

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// EndState is the target that stands at the end of every rollover, worked out
// without a cluster: each key that Git says is Signing or Trusted is there, issuers
// sign with the Signing one, an intermediate's keys hang under the Signing key of its
// parent. A certificate that Git gives, or else the record, says how long its key lives,
// whatever the documents say by now, and what the bundles hold; without one a bundle is
// empty.
//
// Copies that reanchor writes itself lie in the namespaces that stand in the repository
// and that the selector picks; where there is none, in "default", which stands for those
// that the cluster has.
//
// It is for looking at what a repository comes to before it is merged, and must
// never be applied: nothing says that the cluster may go there in one step.
func (l *Loaded) EndState(record planner.Record) planner.Target {
	e := newEndState(l.Desired, record)
	var target planner.Target
	for _, authority := range l.Desired.Authorities {
		target.Keys = append(target.Keys, e.keys(authority)...)
	}
	for _, binding := range l.Desired.Bindings {
		target.Issuers = append(target.Issuers, e.issuer(binding))
	}
	for _, bundle := range l.Desired.Bundles {
		if bundle.Spec.Via != v1alpha1.ViaObserved {
			target.Bundles = append(target.Bundles, l.endBundle(e, bundle))
		}
	}
	for _, group := range l.Desired.Groups {
		target.DeviceRules = append(target.DeviceRules, endRule(group, target.Issuers))
	}
	return target
}

// endRule says which key signs for a group's devices; none if its issuer is not ours.
func endRule(group v1alpha1.DeviceGroup, issuers []planner.TargetIssuer) planner.DeviceRule {
	rule := planner.DeviceRule{Group: group.Metadata.Name}
	for _, issuer := range issuers {
		if issuer.Ref == planner.GroupIssuer(group) {
			rule.Authority, rule.Key = issuer.Authority, issuer.Key
		}
	}
	return rule
}

func (l *Loaded) endBundle(e endState, bundle v1alpha1.TrustBundle) planner.TargetBundle {
	further := certificatesOf(bundle)
	target := planner.TargetBundle{
		Name: bundle.Metadata.Name, Via: bundle.Spec.Via, Anchors: e.anchors(bundle).Union(further), Certificates: further,
		UseDefaultCAs: bundle.Spec.UseDefaultCAs, Target: bundle.Spec.Target,
	}
	if target.Via == v1alpha1.ViaConfigMap {
		target.Namespaces = l.namespacesWith(bundle.Spec.Target.NamespaceSelector)
	}
	return target
}

// namespacesWith are the namespaces of the repository that a selector picks, sorted.
func (l *Loaded) namespacesWith(picks metav1.LabelSelector) []string {
	selector, err := metav1.LabelSelectorAsSelector(&picks)
	if err != nil {
		return nil
	}
	var names []string
	for _, o := range l.Native {
		if id := identityOf(o); id.group == "" && id.kind == "Namespace" && selector.Matches(labels.Set(o.GetLabels())) {
			names = append(names, id.name)
		}
	}
	if len(names) == 0 {
		return []string{metav1.NamespaceDefault}
	}
	return names
}

type endState struct {
	authorities map[string]v1alpha1.Authority
	// given are the certificates of keys from elsewhere, by authority and key.
	given    map[pair]pki.Certificate
	recorded map[pair]pki.Certificate
	// pairs that keys end as, by authority and key: what pairOf found already.
	pairs map[pair]string
}

// pair names one key pair in the repository.
type pair struct{ authority, name string }

func newEndState(desired planner.Desired, record planner.Record) endState {
	return endState{authorities: authoritiesOf(desired), given: givenOf(desired), recorded: recordedOf(record), pairs: map[pair]string{}}
}

func authoritiesOf(desired planner.Desired) map[string]v1alpha1.Authority {
	authorities := make(map[string]v1alpha1.Authority, len(desired.Authorities))
	for _, authority := range desired.Authorities {
		authorities[authority.Metadata.Name] = authority
	}
	return authorities
}

// givenOf are the certificates of keys from elsewhere. One that cannot be read is none:
// validation has refused it.
func givenOf(desired planner.Desired) map[pair]pki.Certificate {
	given := map[pair]pki.Certificate{}
	for _, authority := range desired.Authorities {
		for _, key := range authority.Spec.Keys {
			if certificates, err := pki.ParsePEM([]byte(key.Certificate)); err == nil && len(certificates) == 1 {
				given[pair{authority.Metadata.Name, key.Name}] = certificates[0]
			}
		}
	}
	return given
}

// recordedOf are the certificates of the record, of retired keys too: no pair stands
// there twice.
func recordedOf(record planner.Record) map[pair]pki.Certificate {
	recorded := make(map[pair]pki.Certificate, len(record.Keys))
	for _, key := range record.Keys {
		recorded[pair{key.Authority, key.Name}] = key.Certificate
	}
	return recorded
}

// certificatesOf are the further anchors of a bundle.
func certificatesOf(bundle v1alpha1.TrustBundle) pki.Anchors {
	var all []pki.Certificate
	for _, text := range bundle.Spec.Certificates {
		if certificates, err := pki.ParsePEM([]byte(text)); err == nil {
			all = append(all, certificates...)
		}
	}
	return pki.NewAnchors(all...)
}

// parent is the authority that issues another; false for a root.
func (e endState) parent(authority v1alpha1.Authority) (v1alpha1.Authority, bool) {
	if authority.Spec.IssuedBy == nil {
		return v1alpha1.Authority{}, false
	}
	parent, known := e.authorities[authority.Spec.IssuedBy.Name]
	return parent, known
}

// pairOf is the key pair that a key of the authority ends as: of an intermediate's, the
// one under the parent's key that signed its certificate, if Git gives one, or that shall
// sign.
func (e endState) pairOf(authority v1alpha1.Authority, key string) string {
	parent, intermediate := e.parent(authority)
	if !intermediate {
		return key
	}
	id := pair{authority.Metadata.Name, key}
	if _, known := e.pairs[id]; !known {
		e.pairs[id] = v1alpha1.KeyUnder(key, cmp.Or(e.signerOf(parent, e.given[id]), e.signing(parent)))
	}
	return e.pairs[id]
}

// signerOf is the key pair of the parent that signed a certificate; empty if none that
// Git knows did.
func (e endState) signerOf(parent v1alpha1.Authority, signed pki.Certificate) string {
	if signed.IsZero() {
		return ""
	}
	for _, key := range parent.Spec.Keys {
		name := e.pairOf(parent, key.Name)
		if signer := e.certificate(parent, name); !signer.IsZero() && signed.SignedBy(signer) {
			return name
		}
	}
	return ""
}

// certificate is what Git knows of a key pair, given or else recorded; zero if nothing.
func (e endState) certificate(authority v1alpha1.Authority, name string) pki.Certificate {
	key, _ := v1alpha1.SplitKey(name)
	if given, known := e.given[pair{authority.Metadata.Name, key}]; known && e.pairOf(authority, key) == name {
		return given
	}
	return e.recorded[pair{authority.Metadata.Name, name}]
}

// signingKey is the key that signs in the end; zero for an authority that goes.
func signingKey(authority v1alpha1.Authority) v1alpha1.AuthorityKey {
	for _, key := range authority.Spec.Keys {
		if key.State == v1alpha1.KeySigning {
			return key
		}
	}
	return v1alpha1.AuthorityKey{}
}

// signing is the key pair that signs in the end; empty for an authority that goes.
func (e endState) signing(authority v1alpha1.Authority) string {
	if key := signingKey(authority); key.Name != "" {
		return e.pairOf(authority, key.Name)
	}
	return ""
}

// issuer of a binding: it signs with a Secret, or has the spec of an external issuer.
func (e endState) issuer(binding v1alpha1.IssuerBinding) planner.TargetIssuer {
	authority := e.authorities[binding.Spec.Authority]
	key := signingKey(authority)
	issuer := planner.TargetIssuer{
		Ref: planner.BindingRef(binding), Authority: planner.AuthorityRef(authority), Key: e.signing(authority), Secret: secretOf(key),
	}
	if key.Issuer != nil {
		issuer.Spec = string(key.Issuer.Raw)
	}
	return issuer
}

// secretOf is the Secret of a key from elsewhere; empty if there is none.
func secretOf(key v1alpha1.AuthorityKey) string {
	if key.Secret == nil {
		return ""
	}
	return key.Secret.Name
}

// inUse reports whether verifiers are to trust what a key signed.
func inUse(key v1alpha1.AuthorityKey) bool {
	return key.State == v1alpha1.KeySigning || key.State == v1alpha1.KeyTrusted
}

// keys are those of an authority's keys that have objects in the cluster: neither an
// offline one nor one behind an external issuer has.
func (e endState) keys(authority v1alpha1.Authority) []planner.TargetKey {
	var keys []planner.TargetKey
	for _, key := range authority.Spec.Keys {
		if !inUse(key) || key.Given() && key.Secret == nil {
			continue
		}
		name := e.pairOf(authority, key.Name)
		keys = append(keys, planner.TargetKey{
			Authority: planner.AuthorityRef(authority), Name: name, Spec: e.spec(authority, key, name),
			Secret: secretOf(key), Certificate: !key.Given(), Issuer: true, ClusterIssuer: e.signsAbroad(authority, name),
		})
	}
	return keys
}

// spec of a key pair. Of a key from elsewhere, it says how long that lives, and no more.
func (e endState) spec(authority v1alpha1.Authority, key v1alpha1.AuthorityKey, name string) planner.CASpec {
	var spec planner.CASpec
	if !key.Given() {
		spec = planner.NewCASpec(authority.Spec, name, e.signedBy(authority))
	}
	if issued := e.certificate(authority, name); !issued.IsZero() {
		spec.Duration = issued.NotAfter().Sub(issued.NotBefore())
	}
	return spec
}

// signedBy is the internal issuer of the parent's key that signs; zero for a root.
func (e endState) signedBy(authority v1alpha1.Authority) planner.Ref {
	parent, intermediate := e.parent(authority)
	if !intermediate {
		return planner.Ref{}
	}
	signer := planner.Ref{Name: planner.KeyObjectName(parent.Metadata.Name, e.signing(parent))}
	if parent.Metadata.Namespace == authority.Metadata.Namespace {
		signer.Namespace = parent.Metadata.Namespace
	}
	return signer
}

// signsAbroad reports whether the key pair signs keys that are made in another namespace.
func (e endState) signsAbroad(authority v1alpha1.Authority, name string) bool {
	if name != e.signing(authority) {
		return false
	}
	for _, child := range e.authorities {
		parent, intermediate := e.parent(child)
		if intermediate && parent.Metadata.Name == authority.Metadata.Name && child.Metadata.Namespace != authority.Metadata.Namespace && makesKeys(child) {
			return true
		}
	}
	return false
}

// makesKeys reports whether a key of the authority is made here.
func makesKeys(authority v1alpha1.Authority) bool {
	return slices.ContainsFunc(authority.Spec.Keys, func(key v1alpha1.AuthorityKey) bool { return inUse(key) && !key.Given() })
}

// anchors are the keys that a bundle's authorities let verifiers trust, as far as their
// certificates are known.
func (e endState) anchors(bundle v1alpha1.TrustBundle) pki.Anchors {
	var anchors []pki.Certificate
	for _, name := range bundle.Spec.Authorities {
		authority := e.authorities[name]
		for _, key := range authority.Spec.Keys {
			if anchor := e.certificate(authority, e.pairOf(authority, key.Name)); inUse(key) && !anchor.IsZero() {
				anchors = append(anchors, anchor)
			}
		}
	}
	return pki.NewAnchors(anchors...)
}
