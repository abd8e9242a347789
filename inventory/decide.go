package inventory

import (
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// retryAfter is how long a request that failed is left before another is made: what was wrong
// with it rarely mends itself. One that waits for an answer, an approval by hand say, is left
// for as long as it asks what Git says; when another takes its place, it has that long still.
const retryAfter = time.Hour

// askedWithin is how soon cert-manager asks for a certificate that a new Certificate says, and
// how soon its CertificateRequest is heard of.
const askedWithin = 5 * time.Minute

// State is where a device stands.
type State string

// The states of an active device.
const (
	// StateWaiting: no key may sign for it yet. StatePending: cert-manager has yet to answer.
	StateWaiting State = "Waiting"
	StatePending State = "Pending"
	// StateIssued: it has a certificate of the key that shall sign, or keeps what another
	// signed until its wave comes. StateFailed: it was refused one.
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
	// remove are objects that nobody needs any more, and discard such as lie elsewhere than
	// where the device's objects are made now.
	remove, discard []client.Object
	// kept are of those that may not be deleted there.
	kept []Kept
	// reissue its Certificate, and lost if that is for want of the CertificateRequests of which
	// it was issued.
	reissue, lost bool
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
	// older is until when a certificate lives that the Certificate was found to have, and that
	// is from before it; zero: it was not.
	older time.Time
}

// confirmed is what is known of the device by now, wherever it was written.
func (s standing) confirmed(now time.Time) Confirmation {
	c := Confirmation{Older: s.older}
	for _, said := range s.confirmations() {
		c = c.With(said.By(now))
	}
	return c
}

// confirmations are all that are written down.
func (s standing) confirmations() []Confirmation {
	var all []Confirmation
	for _, r := range s.requests {
		all = append(all, ConfirmationIn(r.Annotations))
	}
	if s.certificate != nil {
		all = append(all, ConfirmationIn(s.certificate.Annotations))
	}
	return all
}

// counts is when the next confirmation begins to count that is from the future; zero: none is.
func (s standing) counts(now time.Time) time.Time {
	var next time.Time
	for _, c := range s.confirmations() {
		for _, at := range []time.Time{c.At, c.Seen} {
			if from := at.Add(-maxAhead); from.After(now) && (next.IsZero() || from.Before(next)) {
				next = from
			}
		}
	}
	return next
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

// holds reports whether the device has a certificate for a key that has not ended.
func (s standing) holds(key pki.Fingerprint, now time.Time) bool {
	return slices.ContainsFunc(s.requests, func(r *request) bool { return r.key == key && r.live(now) })
}

// decide what is to be done for a device that Git lists.
func decide(device Device, seen standing, rule Rule, now time.Time) decision {
	switch {
	case device.State != v1alpha1.DeviceActive:
		return decision{remove: seen.all()}
	case rule.Group.Spec.Keys == v1alpha1.KeysCluster:
		return decideCertificate(device, seen, rule, now)
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
	asks, due := rule.unlessStolen(own, now)
	d := decideNewest(newest, asks, now)
	if !due.IsZero() {
		d.by(due)
	}
	if d.apply == needed {
		// numbered after all of them, those for another key too
		var last *request
		if len(seen.requests) > 0 {
			last = seen.requests[len(seen.requests)-1]
		}
		d.apply = stampRequest(rule, device, last, seen.confirmed(now))
	} else if known := seen.confirmed(now); newest != nil && known.String() != ConfirmationIn(newest.Annotations).By(now).String() {
		d.confirm = confirmOn(newest.CertificateRequest).saying(known)
	}
	if seen.certificate != nil && d.apply == nil && d.confirm == nil && isReplaced(seen.ends(), newest, own, seen, now, &d) {
		d.remove = append(d.remove, seen.certificate) // of before the group's devices made their own keys
	}
	for _, old := range seen.requests {
		if old != newest && d.apply == nil && d.confirm == nil && isDone(old, newest, seen, device.Key, now, &d) {
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
	case newest.isPending() && ready && newest.isFor(rule):
		return decision{state: StatePending}
	case newest.isPending() && ready && now.Before(newest.mayBeFor(rule)):
		return decision{state: StatePending, due: newest.mayBeFor(rule)}
	case newest.isPending() && ready && !rule.waits: // for a key or an issuer that shall not sign any more, say
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
	case newest.isStrangers(rule) && !rule.waits:
		d := decision{state: StateFailed, why: newest.strangersWhy(rule)}
		return again(d, newest.CreationTimestamp.Add(retryAfter), ready, now)
	case !leaf.SignedBy(rule.Signer.Certificate) && !rule.waits:
		return decision{state: StatePending, apply: needed}
	}
	return again(decision{state: StateIssued}, renew, ready, now)
}

// isStrangers reports whether a request that was made for the key that shall sign came back
// signed by another: to ask at once again would bring the same.
func (r *request) isStrangers(rule Rule) bool {
	return r.isSigned() && !r.chain[0].SignedBy(rule.Signer.Certificate) && r.Annotations[v1alpha1.AnnotationSignsWith] == rule.signsWith()
}

func (r *request) strangersWhy(rule Rule) string {
	return "it came back signed by " + r.chain[0].X509().Issuer.CommonName + " where " + rule.signsWith() + " shall sign"
}

// isRetried reports whether a request was left long enough.
func isRetried(r *request, now time.Time, d *decision) bool {
	until := r.CreationTimestamp.Add(retryAfter)
	if now.Before(until) {
		d.by(until)
		return false
	}
	return true
}

// again makes another request once the time has come.
func again(d decision, at time.Time, ready bool, now time.Time) decision {
	if ready && !now.Before(at) {
		d.apply = needed
		return d
	}
	if now.Before(at) {
		d.by(at)
	}
	return d
}

// isDone reports whether nobody needs an older request any more: it has ended, it never came
// to anything, or the device was seen with what came after it. A request for another key is
// like any other: until the device is seen with the new key, it shows the old one's
// certificate. A later one counts only if it is for the key that Git has: a certificate that
// somebody else asked for in the device's name moves no device.
func isDone(old, newest *request, seen standing, key pki.Fingerprint, now time.Time, d *decision) bool {
	switch {
	case old.failed || old.isSigned() && !old.live(now):
		return true
	case old.isPending():
		return isGivenUp(old, newest, now, d)
	}
	presented := seen.confirmed(now).Presented
	for _, later := range seen.requests {
		if later.key == key && later.compare(old) > 0 && later.isSigned() && later.chain[0].Fingerprint() == presented {
			return true
		}
	}
	d.by(old.ends().Add(time.Second))
	return false
}

// isGivenUp reports whether an older request that nobody has answered is waited for no more:
// another was signed, or asked for in its place and it had its time. So however long
// cert-manager is silent, requests do not pile up.
func isGivenUp(old, newest *request, now time.Time, d *decision) bool {
	if newest == nil || newest.isSigned() {
		return newest != nil
	}
	until := old.CreationTimestamp.Add(retryAfter)
	if now.Before(until) {
		d.by(until)
		return false
	}
	return newest.compare(old) > 0
}

// isReplaced reports whether nobody needs what was made of the other kind any more, from
// before the group's rule on who makes the keys was changed: a successor is issued, and what
// was there has ended, or the device was seen with a successor.
func isReplaced(ends time.Time, newest *request, after []*request, seen standing, now time.Time, d *decision) bool {
	if newest == nil || !newest.isSigned() {
		return false
	}
	presented := seen.confirmed(now).Presented
	if now.After(ends) || slices.ContainsFunc(after, func(r *request) bool { return r.isSigned() && r.chain[0].Fingerprint() == presented }) {
		return true
	}
	d.by(ends.Add(time.Second))
	return false
}

// ends is when the last of the certificates ends that came of the device's Certificate.
func (s standing) ends() time.Time {
	var ends time.Time
	if until := s.certificate.Status.NotAfter; until != nil {
		ends = until.Time
	}
	for _, r := range s.issued {
		if end := r.ends(); end.After(ends) {
			ends = end
		}
	}
	return ends
}

// decideCertificate for a device whose key cert-manager makes, and whose certificate it
// renews.
func decideCertificate(device Device, seen standing, rule Rule, now time.Time) decision {
	d := decision{state: StatePending}
	ready := rule.Key != "" && !rule.Stolen && !rule.Signer.Certificate.IsZero() && rule.Template != nil
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
	case newest == nil && isIssued(seen.certificate) && !isIssuing(seen.certificate):
		d.lose(seen.certificate, ready && !rule.waits, now) // whether it is of the key that shall sign, nobody knows
	case newest == nil:
	case newest.isPending():
	case newest.failed:
		d.state, d.why = StateFailed, newest.why
	case ready && newest.isStrangers(rule) && !rule.waits:
		d.state, d.why = StateFailed, newest.strangersWhy(rule)
		d.reissue = !isIssuing(seen.certificate) && isRetried(newest, now, &d)
	case ready && !newest.chain[0].SignedBy(rule.Signer.Certificate) && !rule.waits:
		d.reissue = !isIssuing(seen.certificate)
	default:
		d.state = StateIssued
	}
	return withoutRequests(d, seen, newest, now)
}

// withoutRequests removes what was made before cert-manager made the group's keys, once
// nobody needs it. What is known of the device is carried over first.
func withoutRequests(d decision, seen standing, newest *request, now time.Time) decision {
	if seen.certificate == nil {
		return d
	}
	known, said := seen.confirmed(now), ConfirmationIn(seen.certificate.Annotations).By(now)
	if len(seen.requests) == 0 && !known.Older.After(said.Older) {
		return d
	}
	if known.String() != said.String() {
		d.confirm = confirmOn(seen.certificate).saying(known)
		return d
	}
	own := slices.DeleteFunc(slices.Clone(seen.issued), func(r *request) bool { return !isOf(r, seen.certificate) })
	for _, r := range seen.requests {
		if isReplaced(r.ends(), newest, own, seen, now, &d) {
			d.remove = append(d.remove, r.CertificateRequest)
		}
	}
	return d
}

// isOf reports whether cert-manager made a request for a Certificate, and not for one that was
// of its name before.
func isOf(r *request, certificate *certmanagerv1.Certificate) bool {
	owner := metav1.GetControllerOfNoCopy(r)
	return owner != nil && certificate != nil && owner.UID == certificate.UID
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
