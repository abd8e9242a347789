package reconciler

import (
	"errors"
	"fmt"
	"strings"
)

// The reasons of a Ready condition that is False.
const (
	// ReasonInvalidSpec: the TrustDomain's spec must be changed.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonGitOperationFailed: a branch could not be pulled.
	ReasonGitOperationFailed = "GitOperationFailed"
	// ReasonBuildFailed: the record cannot be read, the documents do not load, or
	// their target does not render.
	ReasonBuildFailed = "BuildFailed"
	// ReasonObserveFailed: the cluster, or something of it, could not be looked at.
	ReasonObserveFailed = "ObserveFailed"
	// ReasonPolicyViolation: the snapshot, the plan or its manifests hold what
	// must never be.
	ReasonPolicyViolation = "PolicyViolation"
	// ReasonApplyFailed: a write failed, or somebody else owns a field.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonWriteBackFailed: the record could not be written to Git.
	ReasonWriteBackFailed = "WriteBackFailed"
	// ReasonTrustAtRisk: the turn came to its end, but a key was changed without a plan,
	// say: trust is at risk until somebody does what the holds ask for. It is the reason
	// of the event as well.
	ReasonTrustAtRisk = "TrustAtRisk"
)

// failure is why a turn did not come to its end.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed makes err the reason why a turn ends.
func failed(reason string, err error) error { return &failure{reason: reason, err: err} }

// reasonOf an error that ended a turn.
func reasonOf(err error) string {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.reason
	}
	return ReasonApplyFailed
}

// words of things that print themselves.
func words[T fmt.Stringer](things []T) []string {
	var all []string
	for _, thing := range things {
		all = append(all, thing.String())
	}
	return all
}

// maxListed is how many things of a kind a message lists.
const maxListed = 10

// list joins the first ten of things and counts the rest.
func list(things []string) string {
	if len(things) <= maxListed {
		return strings.Join(things, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(things[:maxListed], "; "), len(things)-maxListed)
}
