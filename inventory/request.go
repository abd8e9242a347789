package inventory

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// request is a CertificateRequest of a device as it is seen, read once.
type request struct {
	*certmanagerv1.CertificateRequest
	// key is what the request is for, and renewal which of the device's it is.
	key     pki.Fingerprint
	renewal int
	// since is when the first of those that it follows was made.
	since time.Time
	// chain that came back, the device's certificate first; empty: nothing yet.
	chain []pki.Certificate
	// failedAt is when cert-manager gave it up; it never takes it up again. why, in its words.
	failed   bool
	failedAt time.Time
	why      string
	// mask says which of the known keys signed one of the chain's certificates, and proven
	// which of them the leaf leads up to, as of the epoch.
	mask, proven keySet
	epoch        int
}

// readRequest reads what cert-manager says of a request.
func readRequest(seen *certmanagerv1.CertificateRequest) *request {
	r := &request{CertificateRequest: seen, key: keyOf(string(seen.Spec.Request))}
	r.renewal, _ = strconv.Atoi(seen.Annotations[v1alpha1.AnnotationRenewal]) // 0: older than all
	if r.since, _ = time.Parse(time.RFC3339, seen.Annotations[v1alpha1.AnnotationSince]); r.since.IsZero() {
		r.since = seen.CreationTimestamp.Time
	}
	for _, condition := range seen.Status.Conditions {
		r.take(condition)
	}
	if r.failed || len(seen.Status.Certificate) == 0 || !r.isReady() {
		return r
	}
	chain, err := pki.ParsePEM(seen.Status.Certificate)
	if err != nil {
		r.failed, r.failedAt, r.why = true, seen.CreationTimestamp.Time, "what came back is no certificate: "+err.Error()
	}
	if len(chain) > 0 && !r.key.IsZero() && chain[0].SPKI() != r.key {
		r.failed, r.failedAt, r.why = true, seen.CreationTimestamp.Time, "what came back is a certificate for another key than the request's: mend the issuer"
		return r
	}
	r.chain = chain
	return r
}

// take in a condition that ends the request.
func (r *request) take(condition certmanagerv1.CertificateRequestCondition) {
	holds := condition.Status == certmanagermeta.ConditionTrue
	switch condition.Type {
	case certmanagerv1.CertificateRequestConditionDenied, certmanagerv1.CertificateRequestConditionInvalidRequest:
		r.failed = r.failed || holds
	case certmanagerv1.CertificateRequestConditionReady:
		ended := condition.Reason == certmanagerv1.CertificateRequestReasonFailed || condition.Reason == certmanagerv1.CertificateRequestReasonDenied
		r.failed = r.failed || !holds && ended
	default:
		return
	}
	if !r.failed {
		return
	}
	r.why = cmp.Or(r.why, condition.Message)
	if r.failedAt.IsZero() && condition.LastTransitionTime != nil {
		r.failedAt = condition.LastTransitionTime.Time
	}
	if r.Status.FailureTime != nil {
		r.failedAt = r.Status.FailureTime.Time
	}
}

func (r *request) isReady() bool {
	return slices.ContainsFunc(r.Status.Conditions, func(c certmanagerv1.CertificateRequestCondition) bool {
		return c.Type == certmanagerv1.CertificateRequestConditionReady && c.Status == certmanagermeta.ConditionTrue
	})
}

// isSigned reports whether a certificate came back, and live whether it has not ended.
func (r *request) isSigned() bool { return len(r.chain) > 0 }

// ends is when its certificate does; zero: there is none.
func (r *request) ends() time.Time {
	if !r.isSigned() {
		return time.Time{}
	}
	return r.chain[0].NotAfter()
}

func (r *request) live(now time.Time) bool {
	return r.isSigned() && !now.After(r.chain[0].NotAfter())
}

// isPending reports whether cert-manager has yet to answer.
func (r *request) isPending() bool { return !r.failed && !r.isSigned() }

// isFor reports whether it was made to ask what a rule says, and whom. What a webhook makes of a
// request is no reason for another: that would be changed likewise.
func (r *request) isFor(rule Rule) bool {
	if r.Annotations[v1alpha1.AnnotationSignsWith] != rule.signsWith() {
		return false
	}
	if asked := r.Annotations[v1alpha1.AnnotationAsked]; asked != "" {
		return asked == rule.asks().sum()
	}
	return askedIn(r.Spec).sum() == rule.asks().sum()
}

// mayBeFor is until when a request that does not say what it was made to ask counts as one for
// a rule with the same key and issuer; zero: it never does.
func (r *request) mayBeFor(rule Rule) time.Time {
	unsaid := r.Annotations[v1alpha1.AnnotationAsked] == "" && r.Annotations[v1alpha1.AnnotationSignsWith] == rule.signsWith()
	if !unsaid || askedIn(r.Spec).IssuerRef != rule.asks().IssuerRef {
		return time.Time{}
	}
	return r.CreationTimestamp.Add(retryAfter)
}

// compare orders the requests of a device, the oldest first.
func (r *request) compare(other *request) int {
	return cmp.Or(cmp.Compare(r.renewal, other.renewal), r.CreationTimestamp.Compare(other.CreationTimestamp.Time), cmp.Compare(r.Name, other.Name))
}
