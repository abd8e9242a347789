package registrar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// desk is what all protocols have in common: it identifies, decides, commits and waits.
type desk struct {
	Options
	turns                                 turns
	perDevice, perAddress, groups, rekeys limiters
}

func newDesk(options Options) *desk {
	options.Limits = options.Limits.orDefault()
	return &desk{
		Options:   options,
		perDevice: limiters{perSecond: options.Limits.PerDevice}, perAddress: limiters{perSecond: options.Limits.PerAddress},
		groups: limiters{perSecond: options.Limits.PerGroup},
		rekeys: limiters{perSecond: options.Limits.RekeysPerHour / time.Hour.Seconds(), atOnce: int(options.Limits.RekeysPerHour)},
	}
}

// How long devices are told to wait before they come again.
const (
	retryCertificate = 10 * time.Second
	retryApproval    = 5 * time.Minute
	retryGit         = 30 * time.Second
	retryQueue       = 5 * time.Second
	retryStart       = 5 * time.Second
)

// enrolment is what a device asks for.
type enrolment struct {
	// label is the group that is asked for; empty: the certificate's.
	label     string
	operation admission.Operation
	request   admission.Request
}

// outcome of an enrolment: a certificate, or the word that it is to be fetched later.
type outcome struct {
	caller admission.Caller
	holder Holder
	issued Issued
	trust  admission.Trust
	// pending says what is waited for; empty: nothing.
	pending    string
	retryAfter time.Duration
}

// enrol a device: decide, commit if there is anything to commit, and wait for its
// certificate.
func (d *desk) enrol(ctx context.Context, v *visit, asked enrolment) (outcome, *admission.Refusal) {
	if refusal := bound(asked.request, v.tls); refusal != nil {
		return outcome{}, refusal
	}
	if !asked.request.IsZero() {
		v.entry.Key = asked.request.Key.String()
	}
	done, refusal := d.register(ctx, v, asked)
	if refusal != nil || done.pending != "" {
		return done, refusal
	}
	return d.await(ctx, v, done)
}

// maxDecisions is how often a registration is decided anew because Git has changed meanwhile.
const maxDecisions = 4

// register decides and commits, one request at a time for each device and each key.
func (d *desk) register(ctx context.Context, v *visit, asked enrolment) (outcome, *admission.Refusal) {
	caller, _, refusal := d.identify(v, asked.label, asked.request.Key)
	if refusal != nil {
		return outcome{}, refusal
	}
	turn, cancel := context.WithTimeout(ctx, d.Limits.Hold)
	defer cancel()
	release, err := d.turns.take(turn, turnOf(caller, asked.request)...)
	if err != nil {
		return outcome{}, unavailable(retryQueue, "another request of the same device, or for the same key, is still being answered: come again later")
	}
	defer release()
	for range maxDecisions {
		done, again, refusal := d.decide(ctx, v, asked)
		if !again {
			return done, refusal
		}
	}
	return outcome{}, unavailable(retryQueue, "the device changes in Git faster than it can be registered: try again later")
}

// turnOf names what a request has to itself: its device, and the key that the device has made.
func turnOf(caller admission.Caller, request admission.Request) []string {
	names := []string{"device " + caller.Group.Name + "/" + caller.ID}
	if !request.IsZero() && caller.Group.Spec.Keys == v1alpha1.KeysDevice {
		names = append(names, "key "+request.Key.String())
	}
	return names
}

// identify who comes, by what is known now, and asks for a certificate for a key, or none.
func (d *desk) identify(v *visit, label string, key pki.Fingerprint) (admission.Caller, admission.Fleet, *admission.Refusal) {
	fleet, err := d.Fleet()
	if err != nil {
		v.entry.Error = err.Error()
		return admission.Caller{}, nil, unavailable(retryStart, "the repository has not been read yet: try again later")
	}
	caller, refusal := v.identify(fleet, label, key)
	return caller, fleet, refusal
}

// decide once, and commit; again if Git has changed meanwhile.
func (d *desk) decide(ctx context.Context, v *visit, asked enrolment) (done outcome, again bool, refusal *admission.Refusal) {
	caller, fleet, refusal := d.identify(v, asked.label, asked.request.Key)
	if refusal != nil {
		return outcome{}, false, refusal
	}
	decision, refusal := admission.Decide(fleet, admission.Ask{Caller: caller, Operation: asked.operation, Request: asked.request, Rules: d.Rules, Now: v.at})
	if refusal != nil {
		return outcome{}, false, refusal
	}
	v.result(string(decision.Verdict))
	done = outcome{caller: caller, holder: Holder{Group: caller.Group.Name, ID: caller.ID, Key: decision.Device.Key}, trust: fleet.Trust(caller.Group.Name)}
	if decision.Verdict == admission.Existing {
		return done, false, nil
	}
	giveBack, refusal := d.quota(decision, caller, v.at)
	if refusal != nil {
		return outcome{}, false, refusal
	}
	done, again, refusal = d.commit(ctx, v, done, decision)
	if (again || refusal != nil) && ctx.Err() == nil { // of who went away the commit may land
		giveBack()
	}
	return done, again, refusal
}

// quota holds registrations against their group's rate. A device that shows the key which it
// has is exempt from that, and held against its own: what came to nothing is given back.
func (d *desk) quota(decision admission.Decision, caller admission.Caller, now time.Time) (giveBack func(), refusal *admission.Refusal) {
	if decision.Verdict == admission.Rekey {
		wait, giveBack := d.rekeys.take(caller.Group.Name+"/"+caller.ID, now)
		if wait > 0 {
			return nil, tooMany(wait, "the device has had too many new keys: keep the one that it has, and come again later")
		}
		return giveBack, nil
	}
	if wait := d.groups.wait(caller.Group.Name, now); wait > 0 {
		return nil, tooMany(wait, "the group takes no more registrations just now: come again later")
	}
	return func() {}, nil
}

// commit a decision, and tell what came of it.
func (d *desk) commit(ctx context.Context, v *visit, done outcome, decision admission.Decision) (outcome, bool, *admission.Refusal) {
	registration := Registration{Decision: decision}
	if done.caller.Registered {
		registration.Was = &done.caller.Device
	}
	commit, err := d.Commits.Commit(ctx, registration)
	v.entry.Commit = commit
	switch {
	case err == nil:
		d.Metrics.committed("committed")
		return done, false, nil
	case errors.Is(err, ErrProposed):
		d.Metrics.committed("proposed")
		v.result("proposed")
		done.pending, done.retryAfter = "a person is to merge the registration: come again later", retryApproval
		return done, false, nil
	case errors.Is(err, ErrChanged):
		return outcome{}, true, nil
	}
	d.Metrics.committed("failed")
	v.entry.Error = err.Error()
	if errors.Is(err, ErrQueueFull) {
		return outcome{}, false, unavailable(retryQueue, "too many registrations wait to be written to Git: come again later")
	}
	return outcome{}, false, unavailable(retryGit, "Git cannot be written to just now, so that nothing new is registered: come again later; what is registered is renewed all the same")
}

// await the certificate for as long as requests are held: any that is valid for a device that
// is new, and for one that comes within the time in which its certificate is renewed, the
// renewed one. Where that does not come, the one that is valid still is better than none.
func (d *desk) await(ctx context.Context, v *visit, done outcome) (outcome, *admission.Refusal) {
	held, cancel := context.WithTimeout(ctx, d.Limits.Hold)
	defer cancel()
	rule := done.caller.Group.Spec.Certificate
	issued, err := d.Certificates.Await(held, done.holder, func(issued Issued) bool {
		return d.Clock().Before(inventory.RenewalOf(rule, issued.Certificate))
	})
	if newest, found := d.Certificates.Newest(done.holder); found && errors.Is(err, context.DeadlineExceeded) && d.Clock().Before(newest.Certificate.NotAfter()) {
		issued, err = newest, nil
	}
	switch {
	case err == nil:
		v.entry.Issued = issued.Certificate.Fingerprint().String()
		done.issued = issued
		return done, nil
	case errors.Is(err, ErrIssuanceFailed):
		v.entry.Error = err.Error()
		return outcome{}, &admission.Refusal{
			Status: http.StatusServiceUnavailable, Problem: admission.ProblemIssuanceFailed, RetryAfter: retryApproval,
			Detail: "the device is registered, and its certificate was refused by the issuer: ask whoever runs the fleet",
		}
	case !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		v.entry.Error = err.Error()
	}
	v.result("pending")
	done.pending, done.retryAfter = "the device is registered, and its certificate is not issued yet: send the same request again later", retryCertificate
	return done, nil
}

// newest certificate of a device that asks for its own.
func (d *desk) newest(v *visit, caller admission.Caller) (Issued, Holder, *admission.Refusal) {
	holder := Holder{Group: caller.Group.Name, ID: caller.ID, Key: caller.Device.Key}
	issued, found := d.Certificates.Newest(holder)
	if !found {
		return Issued{}, holder, &admission.Refusal{
			Status: http.StatusNotFound, Problem: admission.ProblemNoCertificateYet, RetryAfter: retryCertificate,
			Detail: "the device has no certificate yet: come again later",
		}
	}
	v.entry.Issued = issued.Certificate.Fingerprint().String()
	return issued, holder, nil
}

// self is the device that comes, if it is registered and the one that is asked about. Of any
// other nothing is told, not even whether it exists.
func (d *desk) self(v *visit, id string) (admission.Caller, admission.Fleet, *admission.Refusal) {
	caller, fleet, refusal := d.identify(v, "", pki.Fingerprint{})
	switch {
	case refusal != nil:
		return caller, fleet, refusal
	case caller.ID != id:
		return caller, fleet, &admission.Refusal{Status: http.StatusForbidden, Problem: admission.ProblemOtherDevice, Detail: "a device may see itself alone: ask for the id in its own certificate"}
	case !caller.Registered:
		return caller, fleet, &admission.Refusal{Status: http.StatusNotFound, Problem: admission.ProblemNotRegistered, Detail: "the device is not registered, or waits to be approved: register it, or come again later"}
	}
	return caller, fleet, nil
}

// observe passes on what a request has shown of a device: it is evidence of what the device
// trusts. What a device was given is not: it may have kept nothing of it.
func (d *desk) observe(v *visit, trusts pki.Anchors) error {
	if d.Evidence == nil || len(v.chain) == 0 {
		return nil
	}
	fleet, err := d.Fleet()
	if err != nil {
		return nil // nobody can be identified, so that there is nothing to pass on
	}
	caller, refusal := admission.Identify(fleet, v.chain, "", pki.Fingerprint{}, v.at)
	if refusal != nil || !caller.Registered {
		return nil
	}
	evidence := Evidence{
		Group: caller.Group.Name, ID: caller.ID, Presented: caller.Certificate, Credential: caller.Credential,
		Trusts: fingerprints(trusts), At: v.at,
	}
	if caller.ShowsOldKey() { // that it was seen with its present key stands
		evidence.Presented = pki.Certificate{}
	}
	if !v.proved.IsZero() && !slices.Contains(evidence.Trusts, v.proved) {
		evidence.Trusts = append(evidence.Trusts, v.proved)
	}
	if err := d.Evidence.Record(evidence); err != nil {
		return fmt.Errorf("record what device %s/%s trusts: %w", caller.Group.Name, caller.ID, err)
	}
	return nil
}

func fingerprints(anchors pki.Anchors) []pki.Fingerprint {
	var all []pki.Fingerprint
	for _, anchor := range anchors {
		all = append(all, anchor.Fingerprint())
	}
	return all
}

func unavailable(after time.Duration, detail string) *admission.Refusal {
	return &admission.Refusal{Status: http.StatusServiceUnavailable, Problem: admission.ProblemUnavailable, Detail: detail, RetryAfter: after}
}

func tooMany(after time.Duration, detail string) *admission.Refusal {
	return &admission.Refusal{Status: http.StatusTooManyRequests, Problem: admission.ProblemTooMany, Detail: detail, RetryAfter: after}
}

// seconds are what Retry-After says: whole ones, and one at least (RFC 9110, section 10.2.3).
func seconds(after time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(after.Seconds()))))
}
