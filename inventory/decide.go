package inventory

import (
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// retryAfter is how long a request that failed is left before another is made: what was wrong
// with it rarely mends itself.
const retryAfter = time.Hour

// State is where a device stands.
type State string

// The states of an active device.
const (
	// StateWaiting: no key may sign for it yet. StatePending: cert-manager has yet to answer.
	StateWaiting State = "Waiting"
	StatePending State = "Pending"
	// StateIssued: it has a certificate of the key that shall sign. StateFailed: it was
	// refused one.
	StateIssued State = "Issued"
	StateFailed State = "Failed"
)

// decision is what is to be done for a device, and where it stands.
type decision struct {
	state State
	// why it failed.
	why string
	// apply is an object to write; nil: none.
	apply *unstructured.Unstructured
	// confirm is what is known of the device and not written on its newest request yet.
	confirm *Confirm
	// remove are objects that nobody needs any more.
	remove []client.Object
	// reissue its Certificate.
	reissue bool
	// due is when time alone changes the decision; zero: never.
	due time.Time
}

// by brings the time at which to look again forward.
func (d *decision) by(at time.Time) {
	if d.due.IsZero() || at.Before(d.due) {
		d.due = at
	}
}

// standing is what the cluster holds of a device.
type standing struct {
	// requests that were made here, the oldest first.
	requests []*request
	// certificate of a device whose key cert-manager makes, and the requests that it made.
	certificate *certmanagerv1.Certificate
	issued      []*request
}

// confirmed is what is known of the device, wherever it was written.
func (s standing) confirmed() Confirmation {
	var c Confirmation
	for _, r := range s.requests {
		c = c.With(ConfirmationIn(r.Annotations))
	}
	if s.certificate != nil {
		c = c.With(ConfirmationIn(s.certificate.Annotations))
	}
	return c
}

// all are the objects that were made here.
func (s standing) all() []client.Object {
	var all []client.Object
	for _, r := range s.requests {
		all = append(all, r.CertificateRequest)
	}
	if s.certificate != nil {
		all = append(all, s.certificate)
	}
	return all
}

// decide what is to be done for a device that Git lists.
func decide(device Device, seen standing, rule Rule, now time.Time) decision {
	switch {
	case device.State != v1alpha1.DeviceActive:
		return decision{remove: seen.all()}
	case rule.Group.Spec.Keys == v1alpha1.KeysCluster:
		return decideCertificate(device, seen, rule)
	}
	return decideRequests(device, seen, rule, now)
}

// decideRequests for a device that makes its own key.
func decideRequests(device Device, seen standing, rule Rule, now time.Time) decision {
	own := slices.DeleteFunc(slices.Clone(seen.requests), func(r *request) bool { return r.key != device.Key })
	var newest *request
	if len(own) > 0 {
		newest = own[len(own)-1]
	}
	d := decideNewest(newest, rule, now)
	if d.apply == needed {
		// numbered after all of them, those for another key too
		var last *request
		if len(seen.requests) > 0 {
			last = seen.requests[len(seen.requests)-1]
		}
		d.apply = stampRequest(rule, device, last, seen.confirmed())
	} else if known := seen.confirmed(); newest != nil && known.String() != ConfirmationIn(newest.Annotations).String() {
		d.confirm = &Confirm{Request: planner.Ref{Namespace: newest.Namespace, Name: newest.Name}, UID: newest.UID, Text: known.String()}
	}
	if seen.certificate != nil { // of before the group's devices made their own keys
		d.remove = append(d.remove, seen.certificate)
	}
	for _, old := range seen.requests {
		if old != newest && d.apply == nil && d.confirm == nil && isDone(old, newest, seen, now, &d) {
			d.remove = append(d.remove, old.CertificateRequest)
		}
	}
	return d
}

// needed says that another request is to be stamped.
var needed = &unstructured.Unstructured{}

// decideNewest looks at the newest request for the device's key.
func decideNewest(newest *request, rule Rule, now time.Time) decision {
	ready := rule.Key != "" && !rule.Signer.Certificate.IsZero() && rule.Template != nil
	switch {
	case newest == nil && !ready:
		return decision{state: StateWaiting}
	case newest == nil:
		return decision{state: StatePending, apply: needed}
	case newest.isPending():
		return decision{state: StatePending}
	case newest.failed:
		return again(decision{state: StateFailed, why: newest.why}, newest.failedAt.Add(retryAfter), ready, now)
	}
	leaf := newest.chain[0]
	renew := RenewalOf(rule.Group.Spec.Certificate, leaf)
	switch {
	case !ready:
		return decision{state: StateIssued}
	case !leaf.SignedBy(rule.Signer.Certificate) && newest.Annotations[v1alpha1.AnnotationSignsWith] == rule.signsWith():
		d := decision{state: StateFailed, why: "it came back signed by " + leaf.X509().Issuer.CommonName + " where " + rule.signsWith() + " shall sign"}
		return again(d, newest.CreationTimestamp.Add(retryAfter), ready, now)
	case !leaf.SignedBy(rule.Signer.Certificate):
		return decision{state: StatePending, apply: needed}
	}
	return again(decision{state: StateIssued}, renew, ready, now)
}

// again makes another request once the time has come.
func again(d decision, at time.Time, ready bool, now time.Time) decision {
	if ready && !now.Before(at) {
		d.apply = needed
		return d
	}
	d.by(at)
	return d
}

// isDone reports whether nobody needs an older request any more: it has ended, it never came
// to anything, it is for a key that the device has no more, or the device was seen with what
// came after it.
func isDone(old, newest *request, seen standing, now time.Time, d *decision) bool {
	switch {
	case old.failed || old.isSigned() && !old.live(now):
		return true
	case newest == nil || !newest.isSigned():
		return false
	case old.isPending() || old.key != newest.key:
		return true
	}
	presented := seen.confirmed().Presented
	for _, later := range seen.requests {
		if later.compare(old) > 0 && later.isSigned() && later.chain[0].Fingerprint() == presented {
			return true
		}
	}
	d.by(old.chain[0].NotAfter().Add(time.Second))
	return false
}

// decideCertificate for a device whose key cert-manager makes, and whose certificate it
// renews.
func decideCertificate(device Device, seen standing, rule Rule) decision {
	d := decision{state: StatePending}
	for _, r := range seen.requests { // of before cert-manager made the group's keys
		d.remove = append(d.remove, r.CertificateRequest)
	}
	ready := rule.Key != "" && !rule.Signer.Certificate.IsZero() && rule.Template != nil
	if !ready && seen.certificate == nil {
		d.state = StateWaiting
		return d
	}
	if ready {
		if want := stampCertificate(rule, device); !isAsStamped(seen.certificate, want) {
			d.apply = want
			return d
		}
	}
	var newest *request
	if len(seen.issued) > 0 {
		newest = seen.issued[len(seen.issued)-1]
	}
	switch {
	case newest == nil || newest.isPending():
	case newest.failed:
		d.state, d.why = StateFailed, newest.why
	case ready && !newest.chain[0].SignedBy(rule.Signer.Certificate):
		d.reissue = !isIssuing(seen.certificate)
	default:
		d.state = StateIssued
	}
	return d
}

// isAsStamped reports whether a Certificate says all that it shall.
func isAsStamped(seen *certmanagerv1.Certificate, want *unstructured.Unstructured) bool {
	if seen == nil {
		return false
	}
	var wanted certmanagerv1.Certificate
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(want.Object, &wanted); err != nil {
		return false
	}
	return equality.Semantic.DeepDerivative(wanted.Spec, seen.Spec) &&
		equality.Semantic.DeepDerivative(wanted.Labels, seen.Labels) && equality.Semantic.DeepDerivative(wanted.Annotations, seen.Annotations)
}

func isIssuing(certificate *certmanagerv1.Certificate) bool {
	return slices.ContainsFunc(certificate.Status.Conditions, func(c certmanagerv1.CertificateCondition) bool {
		return c.Type == certmanagerv1.CertificateConditionIssuing && c.Status == "True"
	})
}
