package admission

import (
	"fmt"
	"time"
)

// Problem is the type of a refusal, one word or two: what programs branch on. The REST half
// makes a URI of it (RFC 9457, section 3.1.1).
type Problem string

// The problems.
const (
	ProblemNoCertificate       Problem = "no-certificate"
	ProblemUnknownCA           Problem = "unknown-ca"
	ProblemExpired             Problem = "expired-certificate"
	ProblemNotADevice          Problem = "not-a-device"
	ProblemIdentity            Problem = "identity"
	ProblemID                  Problem = "unsafe-id"
	ProblemRequest             Problem = "bad-request"
	ProblemKey                 Problem = "weak-key"
	ProblemNames               Problem = "names"
	ProblemPolicy              Problem = "policy"
	ProblemNotAllowed          Problem = "not-allowed"
	ProblemBlocked             Problem = "blocked"
	ProblemKeyChanged          Problem = "key-changed"
	ProblemKeyInUse            Problem = "key-in-use"
	ProblemRegisteredElsewhere Problem = "registered-elsewhere"
	ProblemSuperseded          Problem = "superseded"
	ProblemGroup               Problem = "unknown-group"
	ProblemAmbiguous           Problem = "ambiguous-group"
	ProblemWhoMakesKeys        Problem = "who-makes-keys"
	ProblemOtherDevice         Problem = "other-device"
	ProblemNotRegistered       Problem = "not-registered"
	ProblemChannelBinding      Problem = "channel-binding"
	ProblemTooMany             Problem = "too-many-requests"
	ProblemUnavailable         Problem = "unavailable"
	ProblemTooLarge            Problem = "too-large"
	ProblemNoCertificateYet    Problem = "no-certificate-yet"
	ProblemWrongBundle         Problem = "wrong-bundle"
	ProblemNotAcceptable       Problem = "not-acceptable"
	ProblemInvalid             Problem = "invalid"
	ProblemPassword            Problem = "keystore-password"
	ProblemIssuanceFailed      Problem = "issuance-failed"
	ProblemUnsupportedRequest  Problem = "unsupported"
)

// The statuses of refusals (RFC 9110, section 15.5), by numbers, since nothing here speaks
// HTTP.
const (
	statusBadRequest   = 400
	statusUnauthorized = 401
	statusForbidden    = 403
	statusNotFound     = 404
	statusConflict     = 409
)

// Refusal is why a request is not granted.
type Refusal struct {
	// Status is the HTTP status code.
	Status int
	// Problem is the type of it.
	Problem Problem
	// Detail is for people: what is wrong and what to do, in one line. It holds no secret, and
	// of what strangers wrote only what is quoted.
	Detail string
	// Event says that a person shall hear of it: somebody holds a key that is not theirs.
	Event bool
	// RetryAfter is how long to wait before trying again; zero: trying again will not help.
	RetryAfter time.Duration
}

// Error is the detail.
func (r *Refusal) Error() string { return r.Detail }

func refuse(status int, problem Problem, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Problem: problem, Detail: fmt.Sprintf(format, args...)}
}

func forbid(problem Problem, format string, args ...any) *Refusal {
	return refuse(statusForbidden, problem, format, args...)
}

func malformed(problem Problem, format string, args ...any) *Refusal {
	return refuse(statusBadRequest, problem, format, args...)
}

// alarm is a refusal that a person shall hear of.
func alarm(status int, problem Problem, format string, args ...any) *Refusal {
	refusal := refuse(status, problem, format, args...)
	refusal.Event = true
	return refusal
}
