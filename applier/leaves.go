package applier

import (
	"slices"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/planner"
)

// leaves are the Certificates, whoever made them, that refer to a binding's issuer
// or to a key's internal one.
func (w *world) leaves(keys []planner.Key, issuers []planner.Issuer) []planner.Leaf {
	desired := w.desiredKeys()
	signers := w.signers(keys, issuers, desired)
	var leaves []planner.Leaf
	for i := range w.certificates.Items {
		certificate := &w.certificates.Items[i]
		issuer, ours := issuerOf(certificate)
		if _, isKey := w.keyOf(certificate, desired); isKey || !ours || !signers[issuer] {
			continue
		}
		leaves = append(leaves, w.readLeaf(certificate, issuer))
	}
	slices.SortFunc(leaves, func(a, b planner.Leaf) int { return a.Ref.Compare(b.Ref) })
	return leaves
}

// signers are all issuers of the domain, there or not.
func (w *world) signers(keys []planner.Key, issuers []planner.Issuer, desired map[planner.Ref]planner.Key) map[planner.Ref]bool {
	signers := map[planner.Ref]bool{}
	for _, binding := range w.desired.Bindings {
		signers[planner.BindingRef(binding)] = true
	}
	for _, issuer := range issuers {
		signers[issuer.Ref] = true
	}
	for object := range desired {
		signers[object] = true
	}
	for _, key := range keys {
		signers[planner.Ref{Namespace: key.Authority.Namespace, Name: planner.KeyObjectName(key.Authority.Name, key.Name)}] = true
	}
	return signers
}

// issuerOf is the issuer that a Certificate refers to; false for one of another API
// group than cert-manager's.
func issuerOf(certificate *certmanagerv1.Certificate) (planner.Ref, bool) {
	ref := certificate.Spec.IssuerRef
	if ref.Group != "" && ref.Group != certmanagerv1.SchemeGroupVersion.Group {
		return planner.Ref{}, false
	}
	switch ref.Kind {
	case certmanagerv1.ClusterIssuerKind:
		return planner.Ref{Name: ref.Name}, true
	case "", certmanagerv1.IssuerKind:
		return planner.Ref{Namespace: certificate.Namespace, Name: ref.Name}, true
	}
	return planner.Ref{}, false
}

func (w *world) readLeaf(certificate *certmanagerv1.Certificate, issuer planner.Ref) planner.Leaf {
	leaf := planner.Leaf{
		Ref:        refOf(certificate),
		Issuer:     issuer,
		SecretName: certificate.Spec.SecretName,
		Issuing:    isIssuing(certificate),
	}
	leaf.Chain, leaf.Unknown = w.requests.chain(certificate)
	if certificate.Status.LastFailureTime != nil {
		leaf.Problem = conditionMessage(certificate)
	}
	return leaf
}

func isIssuing(certificate *certmanagerv1.Certificate) bool {
	return slices.ContainsFunc(certificate.Status.Conditions, func(c certmanagerv1.CertificateCondition) bool {
		return c.Type == certmanagerv1.CertificateConditionIssuing && c.Status == certmanagermeta.ConditionTrue
	})
}
