package renderer

import (
	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// EndState is the target that stands at the end of every rollover, worked out
// without a cluster: each key that Git says is Signing or Trusted is there, issuers
// sign with the Signing one, an intermediate's keys hang under the Signing key of its
// parent. A certificate in the record says how long its key lives, whatever the
// documents say by now, and what the bundles hold; without one a bundle is empty.
//
// It is for looking at what a repository comes to before it is merged, and must
// never be applied: nothing says that the cluster may go there in one step.
func (l *Loaded) EndState(record planner.Record) planner.Target {
	e := endState{authorities: authoritiesOf(l.Desired), recorded: recordedOf(record)}
	var target planner.Target
	for _, authority := range l.Desired.Authorities {
		target.Keys = append(target.Keys, e.keys(authority)...)
	}
	for _, binding := range l.Desired.Bindings {
		authority := e.authorities[binding.Spec.Authority]
		target.Issuers = append(target.Issuers, planner.TargetIssuer{
			Ref: planner.BindingRef(binding), Authority: planner.AuthorityRef(authority), Key: e.signing(authority),
		})
	}
	for _, bundle := range l.Desired.Bundles {
		target.Bundles = append(target.Bundles, planner.TargetBundle{
			Name: bundle.Metadata.Name, Anchors: e.anchors(bundle), Target: bundle.Spec.Target,
		})
	}
	return target
}

type endState struct {
	authorities map[string]v1alpha1.Authority
	recorded    map[pair]pki.Certificate
}

// pair names one key pair in the repository.
type pair struct{ authority, name string }

func authoritiesOf(desired planner.Desired) map[string]v1alpha1.Authority {
	authorities := make(map[string]v1alpha1.Authority, len(desired.Authorities))
	for _, authority := range desired.Authorities {
		authorities[authority.Metadata.Name] = authority
	}
	return authorities
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

// parent is the authority that issues another; false for a root.
func (e endState) parent(authority v1alpha1.Authority) (v1alpha1.Authority, bool) {
	if authority.Spec.IssuedBy == nil {
		return v1alpha1.Authority{}, false
	}
	parent, known := e.authorities[authority.Spec.IssuedBy.Name]
	return parent, known
}

// pairOf is the key pair that a key of the authority ends as.
func (e endState) pairOf(authority v1alpha1.Authority, key string) string {
	if parent, intermediate := e.parent(authority); intermediate {
		return v1alpha1.KeyUnder(key, e.signing(parent))
	}
	return key
}

// signing is the key pair that signs in the end; empty for an authority that goes.
func (e endState) signing(authority v1alpha1.Authority) string {
	for _, key := range authority.Spec.Keys {
		if key.State == v1alpha1.KeySigning {
			return e.pairOf(authority, key.Name)
		}
	}
	return ""
}

func (e endState) keys(authority v1alpha1.Authority) []planner.TargetKey {
	var keys []planner.TargetKey
	for _, key := range authority.Spec.Keys {
		if key.State != v1alpha1.KeySigning && key.State != v1alpha1.KeyTrusted {
			continue
		}
		name := e.pairOf(authority, key.Name)
		keys = append(keys, planner.TargetKey{
			Authority: planner.AuthorityRef(authority), Name: name, Spec: e.spec(authority, name),
			Certificate: true, Issuer: true, ClusterIssuer: e.signsAbroad(authority, name),
		})
	}
	return keys
}

func (e endState) spec(authority v1alpha1.Authority, name string) planner.CASpec {
	spec := planner.NewCASpec(authority.Spec, name, e.signedBy(authority))
	if issued, known := e.recorded[pair{authority.Metadata.Name, name}]; known {
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

// signsAbroad reports whether the key pair signs for an authority in another namespace.
func (e endState) signsAbroad(authority v1alpha1.Authority, name string) bool {
	if name != e.signing(authority) {
		return false
	}
	for _, child := range e.authorities {
		parent, intermediate := e.parent(child)
		if intermediate && parent.Metadata.Name == authority.Metadata.Name && child.Metadata.Namespace != authority.Metadata.Namespace {
			return true
		}
	}
	return false
}

func (e endState) anchors(bundle v1alpha1.TrustBundle) pki.Anchors {
	var anchors []pki.Certificate
	for _, name := range bundle.Spec.Authorities {
		for _, key := range e.keys(e.authorities[name]) {
			if anchor, known := e.recorded[pair{name, key.Name}]; known {
				anchors = append(anchors, anchor)
			}
		}
	}
	return pki.NewAnchors(anchors...)
}
