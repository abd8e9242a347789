package applier

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// requests are the CertificateRequests of the cluster, by who made them.
type requests struct {
	known    bool
	owned    map[types.UID][]*certmanagerv1.CertificateRequest // by the Certificate that controls them
	canaries map[types.UID][]*certmanagerv1.CertificateRequest // by the issuer that owns them, newest first
	links    []*certmanagerv1.CertificateRequest               // that bear the label of a link
	others   []*certmanagerv1.CertificateRequest               // that are none of these
}

func newRequests(items []certmanagerv1.CertificateRequest, known bool) requests {
	r := requests{
		known:    known,
		owned:    map[types.UID][]*certmanagerv1.CertificateRequest{},
		canaries: map[types.UID][]*certmanagerv1.CertificateRequest{},
	}
	for i := range items {
		request := &items[i]
		owner := metav1.GetControllerOfNoCopy(request)
		issuer, isCanary := canaryOf(request)
		switch {
		case owner != nil && isCertificate(*owner):
			r.owned[owner.UID] = append(r.owned[owner.UID], request)
		case isCanary:
			r.canaries[issuer] = append(r.canaries[issuer], request)
		case request.Labels[v1alpha1.LabelLink] == linkLabelValue:
			r.links = append(r.links, request)
		case request.Labels[v1alpha1.LabelCanary] != canaryLabelValue: // nobody uses a canary, whosever it is
			r.others = append(r.others, request)
		}
	}
	for _, sent := range r.canaries {
		slices.SortFunc(sent, newestFirst)
	}
	return r
}

func isCertificate(owner metav1.OwnerReference) bool {
	return owner.Kind == certmanagerv1.CertificateKind && strings.HasPrefix(owner.APIVersion, certmanagerv1.SchemeGroupVersion.Group+"/")
}

// withoutCA reports whether none of a Certificate's requests that are there came back with
// the CA that signed it: then cert-manager writes no ca.crt into its Secret, as with ACME.
func (r requests) withoutCA(certificate *certmanagerv1.Certificate) bool {
	owned := r.owned[certificate.UID]
	return len(owned) > 0 && !slices.ContainsFunc(owned, func(request *certmanagerv1.CertificateRequest) bool { return len(request.Status.CA) > 0 })
}

// chain is what a Certificate was issued last, the leaf first, or why that is not
// known. Neither means that nothing has been issued.
func (r requests) chain(certificate *certmanagerv1.Certificate) ([]pki.Certificate, string) {
	status := certificate.Status
	switch {
	case !r.known:
		return nil, "CertificateRequests could not be listed"
	case len(status.Conditions) == 0:
		return nil, "cert-manager has not looked at it yet"
	case status.Revision == nil && status.NotAfter == nil:
		return nil, ""
	case status.Revision == nil || status.NotAfter == nil || status.NotBefore == nil:
		return nil, "its status has no revision with dates; a reissue makes it known"
	}
	return r.ofRevision(certificate, *status.Revision)
}

// current is the CertificateRequest that a Certificate was issued for last, if that is known.
func (r requests) current(certificate *certmanagerv1.Certificate) *certmanagerv1.CertificateRequest {
	chain, _ := r.chain(certificate)
	for _, request := range r.owned[certificate.UID] {
		if signed, err := pki.ParsePEM(request.Status.Certificate); err == nil && len(chain) > 0 && signed[0].Equal(chain[0]) {
			return request
		}
	}
	return nil
}

// ofRevision reads the CertificateRequest that a revision came from.
func (r requests) ofRevision(certificate *certmanagerv1.Certificate, revision int) ([]pki.Certificate, string) {
	var found []pki.Certificate
	why := fmt.Sprintf("the CertificateRequest of revision %d is gone; a reissue makes it known", revision)
	for _, request := range r.owned[certificate.UID] {
		if request.Annotations[certmanagerv1.CertificateRequestRevisionAnnotationKey] != strconv.Itoa(revision) {
			continue
		}
		chain, problem := issued(request, certificate.Status)
		switch {
		case problem != "":
			why = problem
		case found != nil && !found[0].Equal(chain[0]):
			return nil, fmt.Sprintf("two CertificateRequests claim to be revision %d; a reissue makes it known", revision)
		default:
			found = chain
		}
	}
	if found == nil {
		return nil, why
	}
	return found, ""
}

// issued is the chain of a request if it has the dates of the Certificate's status.
func issued(request *certmanagerv1.CertificateRequest, status certmanagerv1.CertificateStatus) ([]pki.Certificate, string) {
	chain, err := pki.ParsePEM(request.Status.Certificate)
	if err != nil {
		return nil, fmt.Sprintf("CertificateRequest %s: %v", request.Name, err)
	}
	leaf := chain[0]
	if !leaf.NotBefore().Equal(status.NotBefore.Time) || !leaf.NotAfter().Equal(status.NotAfter.Time) {
		return nil, fmt.Sprintf("CertificateRequest %s is valid %s, the Certificate %s; cert-manager is between the two, or a reissue makes it known",
			request.Name, validity(leaf.NotBefore(), leaf.NotAfter()), validity(status.NotBefore.Time, status.NotAfter.Time))
	}
	return chain, ""
}

func validity(from, to time.Time) string {
	return from.UTC().Format(time.RFC3339) + " to " + to.UTC().Format(time.RFC3339)
}

// canaryOf is the issuer that a canary was sent through. Its owner reference names
// the one incarnation of the issuer that the canary speaks of.
func canaryOf(request *certmanagerv1.CertificateRequest) (types.UID, bool) {
	if request.Labels[v1alpha1.LabelCanary] != canaryLabelValue {
		return "", false
	}
	for _, owner := range request.OwnerReferences {
		if owner.Kind == request.Spec.IssuerRef.Kind && owner.Name == request.Spec.IssuerRef.Name {
			return owner.UID, true
		}
	}
	return "", false
}

// newestFirst orders canaries. Creation is told in seconds; the attempt in the name
// orders those of one second.
func newestFirst(a, b *certmanagerv1.CertificateRequest) int {
	return cmp.Or(
		b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
		cmp.Compare(attemptOf(b.Name), attemptOf(a.Name)),
		cmp.Compare(a.Name, b.Name),
	)
}

// readCanary tells how far a canary has come.
func readCanary(request *certmanagerv1.CertificateRequest) planner.Canary {
	generation, _ := strconv.ParseInt(request.Annotations[v1alpha1.AnnotationIssuerGeneration], 10, 64) // 0, which no issuer has
	canary := planner.Canary{
		Name:       request.Name,
		At:         request.CreationTimestamp.UTC(),
		Generation: generation,
	}
	canary.State, canary.Problem = canaryState(request)
	if canary.State != planner.CanarySigned {
		return canary
	}
	signed, err := pki.ParsePEM(request.Status.Certificate)
	if err != nil {
		canary.State, canary.Problem = planner.CanaryFailed, "what came back is no certificate: "+err.Error()
		return canary
	}
	canary.Certificate, canary.CA = signed[0], signerIn(signed, request.Status.CA)
	return canary
}

// signerIn is the CA that came back as the signer of a chain's first certificate: the
// next of the chain, which is an intermediate, or else the request's status.ca, which is
// the root. Zero if there is neither.
func signerIn(chain []pki.Certificate, statusCA []byte) pki.Certificate {
	if len(chain) > 1 {
		return chain[1]
	}
	if ca, err := pki.ParsePEM(statusCA); err == nil {
		return ca[0]
	}
	return pki.Certificate{}
}

func canaryState(request *certmanagerv1.CertificateRequest) (planner.CanaryState, string) {
	state, problem := planner.CanaryPending, "cert-manager has not answered yet"
	for _, condition := range request.Status.Conditions {
		holds := condition.Status == certmanagermeta.ConditionTrue
		switch condition.Type {
		case certmanagerv1.CertificateRequestConditionDenied, certmanagerv1.CertificateRequestConditionInvalidRequest:
			if holds {
				return planner.CanaryFailed, condition.Message
			}
		case certmanagerv1.CertificateRequestConditionReady:
			state, problem = readyState(condition, holds)
		}
	}
	return state, problem
}

func readyState(ready certmanagerv1.CertificateRequestCondition, holds bool) (planner.CanaryState, string) {
	switch {
	case holds:
		return planner.CanarySigned, ""
	case ready.Reason == certmanagerv1.CertificateRequestReasonFailed, ready.Reason == certmanagerv1.CertificateRequestReasonDenied:
		return planner.CanaryFailed, ready.Message
	}
	return planner.CanaryPending, ready.Message
}
