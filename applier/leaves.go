package applier

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// leaves are the Certificates, and the live CertificateRequests that no Certificate
// controls, whoever made them, that refer to a binding's issuer or to a key's internal
// one, or whose chain leads through a key of the domain.
//
// A CA Certificate that is no key of ours is one of them: somebody made an intermediate
// of their own through one of our issuers. It chains to our key, and so the key cannot
// go before it is reissued; what was signed with it chains to our key through it.
func (w *world) leaves(keys []planner.Key, issuers []planner.Issuer) []planner.Leaf {
	signers, signing := w.signers(keys, issuers), w.signing(keys)
	var leaves []planner.Leaf
	keep := func(leaf planner.Leaf) {
		isKeys := len(leaf.Chain) > 0 && slices.ContainsFunc(signing, leaf.Chain[0].Equal) // what made a key from elsewhere
		if signers[leaf.Issuer] || leadsThroughAny(signing, leaf.Chain) && !isKeys {
			leaves = append(leaves, leaf)
		}
	}
	for i := range w.certificates.Items {
		certificate := &w.certificates.Items[i]
		if _, isKey := w.pairOf(certificate); !isKey {
			keep(w.readLeaf(certificate))
		}
	}
	for _, request := range w.requestsOfLeaves(keys) {
		if leaf := w.readRequest(request); w.isLive(request, leaf) {
			keep(leaf)
		}
	}
	slices.SortFunc(leaves, func(a, b planner.Leaf) int {
		return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.SecretName, b.SecretName))
	})
	return leaves
}

// signing are the certificates of the domain's keys: those that are known, and those of
// keys from elsewhere, which Git gives.
func (w *world) signing(keys []planner.Key) []pki.Certificate {
	var signing []pki.Certificate
	for _, key := range keys {
		if !key.Certificate.IsZero() {
			signing = append(signing, key.Certificate)
		}
	}
	for _, authority := range w.desired.Authorities {
		for _, key := range authority.Spec.Keys {
			if given, err := pki.ParsePEM([]byte(key.Certificate)); err == nil && len(given) == 1 {
				signing = append(signing, given...)
			}
		}
	}
	return signing
}

// leadsThroughAny reports whether one of the keys signed a certificate of the chain.
func leadsThroughAny(signing, chain []pki.Certificate) bool {
	return slices.ContainsFunc(chain, func(certificate pki.Certificate) bool {
		return slices.ContainsFunc(signing, certificate.SignedBy)
	})
}

// signers are all issuers of the domain, there or not.
func (w *world) signers(keys []planner.Key, issuers []planner.Issuer) map[planner.Ref]bool {
	signers := map[planner.Ref]bool{}
	for _, binding := range w.desired.Bindings {
		signers[planner.BindingRef(binding)] = true
	}
	for _, issuer := range issuers {
		signers[issuer.Ref] = true
	}
	for object := range w.named {
		signers[object] = true
	}
	for _, key := range keys {
		object := pair{key.Authority, key.Name}.object()
		signers[object] = true
		if key.HasClusterIssuer {
			signers[planner.Ref{Name: object.Name}] = true
		}
	}
	return signers
}

// issuerOf is the issuer that something in a namespace refers to. One that is not
// cert-manager's own is named "<group>/<kind>/<name>", as no object can be.
func issuerOf(namespace string, ref certmanagermeta.IssuerReference) planner.Ref {
	group, kind := cmp.Or(ref.Group, certmanagerv1.SchemeGroupVersion.Group), cmp.Or(ref.Kind, certmanagerv1.IssuerKind)
	switch {
	case group == certmanagerv1.SchemeGroupVersion.Group && kind == certmanagerv1.IssuerKind:
		return planner.Ref{Namespace: namespace, Name: ref.Name}
	case group == certmanagerv1.SchemeGroupVersion.Group && kind == certmanagerv1.ClusterIssuerKind:
		return planner.Ref{Name: ref.Name}
	}
	return planner.Ref{Name: group + "/" + kind + "/" + ref.Name}
}

func (w *world) readLeaf(certificate *certmanagerv1.Certificate) planner.Leaf {
	leaf := planner.Leaf{
		Ref:        refOf(certificate),
		Issuer:     issuerOf(certificate.Namespace, certificate.Spec.IssuerRef),
		SecretName: certificate.Spec.SecretName,
		Foreign:    !w.declares(certificate),
		Issuing:    isIssuing(certificate),
		FailedAt:   failedAt(certificate),
	}
	leaf.Chain, leaf.Unknown = w.requests.chain(certificate)
	leaf.WithoutCA = len(leaf.Chain) > 0 && w.requests.withoutCA(certificate)
	if !leaf.FailedAt.IsZero() {
		leaf.Problem = conditionMessage(certificate)
	}
	return leaf
}

// declares reports whether the repository declares the object: it bears the domain's
// labels, and no controller made it. Labels alone are not enough: ingress-shim copies
// those of an Ingress to the Certificate that it makes for it.
func (w *world) declares(object client.Object) bool {
	return belongs(object, w.domain) && metav1.GetControllerOfNoCopy(object) == nil
}

// failedAt is when the last issuance failed; zero if it did not. cert-manager forgets
// the time when one succeeds; should it not have, what was issued later shows.
func failedAt(certificate *certmanagerv1.Certificate) time.Time {
	status := certificate.Status
	switch {
	case status.LastFailureTime == nil:
		return time.Time{}
	case status.NotBefore != nil && status.LastFailureTime.Before(status.NotBefore) && !hasFailed(certificate):
		return time.Time{}
	}
	return status.LastFailureTime.UTC()
}

// reasonIssued is what cert-manager gives for an issuance that ended well.
const reasonIssued = "Issued"

// hasFailed reports whether cert-manager says that the last issuance failed.
func hasFailed(certificate *certmanagerv1.Certificate) bool {
	return slices.ContainsFunc(certificate.Status.Conditions, func(c certmanagerv1.CertificateCondition) bool {
		return c.Type == certmanagerv1.CertificateConditionIssuing && c.Status == certmanagermeta.ConditionFalse && c.Reason != reasonIssued
	})
}

// readRequest reads a CertificateRequest that no Certificate controls. It has no
// Secret, and cert-manager never renews it.
func (w *world) readRequest(request *certmanagerv1.CertificateRequest) planner.Leaf {
	leaf := planner.Leaf{
		Ref:     refOf(request),
		Issuer:  issuerOf(request.Namespace, request.Spec.IssuerRef),
		Foreign: !w.declares(request),
	}
	chain, err := pki.ParsePEM(request.Status.Certificate)
	if err != nil {
		leaf.Unknown = fmt.Sprintf("what came back is no certificate: %v; delete the CertificateRequest if nobody uses it", err)
	}
	leaf.Chain = chain
	return leaf
}

// isLive reports whether a request was signed and has not expired.
func (w *world) isLive(request *certmanagerv1.CertificateRequest, leaf planner.Leaf) bool {
	if state, _ := canaryState(request); state != planner.CanarySigned {
		return false
	}
	return w.Now == nil || len(leaf.Chain) == 0 || !w.Now().After(leaf.Chain[0].NotAfter())
}

func isIssuing(certificate *certmanagerv1.Certificate) bool {
	return slices.ContainsFunc(certificate.Status.Conditions, func(c certmanagerv1.CertificateCondition) bool {
		return c.Type == certmanagerv1.CertificateConditionIssuing && c.Status == certmanagermeta.ConditionTrue
	})
}
