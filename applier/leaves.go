package applier

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// leaves are the Certificates, and the live CertificateRequests that no Certificate
// controls, whoever made them, that refer to a binding's issuer or to a key's internal
// one, or that a key of the domain signed.
func (w *world) leaves(keys []planner.Key, issuers []planner.Issuer) []planner.Leaf {
	desired := w.desiredKeys()
	signers := w.signers(keys, issuers, desired)
	var leaves []planner.Leaf
	keep := func(leaf planner.Leaf) {
		if signers[leaf.Issuer] || signedByAny(keys, leaf.Chain) {
			leaves = append(leaves, leaf)
		}
	}
	for i := range w.certificates.Items {
		certificate := &w.certificates.Items[i]
		if _, isKey := w.keyOf(certificate, desired); !isKey {
			keep(w.readLeaf(certificate))
		}
	}
	for _, request := range w.requests.others {
		if leaf := readRequest(request); w.isLive(request, leaf) {
			keep(leaf)
		}
	}
	slices.SortFunc(leaves, func(a, b planner.Leaf) int {
		return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.SecretName, b.SecretName))
	})
	return leaves
}

// signedByAny reports whether what a chain begins with was signed by a known key.
func signedByAny(keys []planner.Key, chain []pki.Certificate) bool {
	return len(chain) > 0 && slices.ContainsFunc(keys, func(key planner.Key) bool {
		return !key.Certificate.IsZero() && chain[0].SignedBy(key.Certificate)
	})
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

// issuerOf is the issuer that something in a namespace refers to; zero for one that is
// not of cert-manager's API group.
func issuerOf(namespace string, ref certmanagermeta.IssuerReference) planner.Ref {
	if ref.Group != "" && ref.Group != certmanagerv1.SchemeGroupVersion.Group {
		return planner.Ref{}
	}
	switch ref.Kind {
	case certmanagerv1.ClusterIssuerKind:
		return planner.Ref{Name: ref.Name}
	case "", certmanagerv1.IssuerKind:
		return planner.Ref{Namespace: namespace, Name: ref.Name}
	}
	return planner.Ref{}
}

func (w *world) readLeaf(certificate *certmanagerv1.Certificate) planner.Leaf {
	leaf := planner.Leaf{
		Ref:        refOf(certificate),
		Issuer:     issuerOf(certificate.Namespace, certificate.Spec.IssuerRef),
		SecretName: certificate.Spec.SecretName,
		Issuing:    isIssuing(certificate),
		FailedAt:   failedAt(certificate),
	}
	leaf.Chain, leaf.Unknown = w.requests.chain(certificate)
	if !leaf.FailedAt.IsZero() {
		leaf.Problem = conditionMessage(certificate)
	}
	return leaf
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
func readRequest(request *certmanagerv1.CertificateRequest) planner.Leaf {
	leaf := planner.Leaf{Ref: refOf(request), Issuer: issuerOf(request.Namespace, request.Spec.IssuerRef)}
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
