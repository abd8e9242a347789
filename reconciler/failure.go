package reconciler

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The reasons of a Ready condition that is False. The package's comment has them in
// one table.
const (
	// ReasonInvalidSpec: the TrustDomain's spec must be changed.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonCredentialsInvalid: a Secret that the spec names is missing, may not be read,
	// or holds what is of no use.
	ReasonCredentialsInvalid = "CredentialsInvalid"
	// ReasonBranchNotFound: the repository has no such branch, or no commit.
	ReasonBranchNotFound = "BranchNotFound"
	// ReasonHistoryRewritten: the branch's head is no descendant of the last one that was
	// read.
	ReasonHistoryRewritten = "HistoryRewritten"
	// ReasonRemoteUnreachable: the server did not answer, or not in time, or failed.
	ReasonRemoteUnreachable = "RemoteUnreachable"
	// ReasonAuthenticationFailed: the server, or the proxy, wants other credentials.
	ReasonAuthenticationFailed = "AuthenticationFailed"
	// ReasonHostKeyMismatch: the SSH server shows a key that known_hosts does not hold.
	ReasonHostKeyMismatch = "HostKeyMismatch"
	// ReasonTLSFailed: the server's certificate could not be verified.
	ReasonTLSFailed = "TLSFailed"
	// ReasonNotARepository: what is at the URL is no Git repository.
	ReasonNotARepository = "NotARepository"
	// ReasonRedirected: the server sends to another address.
	ReasonRedirected = "Redirected"
	// ReasonRepositoryTooLarge: the repository exceeds what is taken from one.
	ReasonRepositoryTooLarge = "RepositoryTooLarge"
	// ReasonCommitNotVerified: the commit is not signed by one of those in
	// spec.source.verify.
	ReasonCommitNotVerified = "CommitNotVerified"
	// ReasonGitOperationFailed: a branch could not be pulled for another reason.
	ReasonGitOperationFailed = "GitOperationFailed"
	// ReasonBuildFailed: the record cannot be read, the documents do not load, or
	// their target does not render.
	ReasonBuildFailed = "BuildFailed"
	// ReasonObserveFailed: the cluster, or something of it, could not be looked at.
	ReasonObserveFailed = "ObserveFailed"
	// ReasonPolicyViolation: the snapshot, the plan or its manifests hold what
	// must never be.
	ReasonPolicyViolation = "PolicyViolation"
	// ReasonPlanDiffers: the commit was merged for another plan than what would be done now,
	// or for none where spec.planTrailer asks for one.
	ReasonPlanDiffers = "PlanDiffers"
	// ReasonOwnedByAnother: something that the repository declares belongs to another
	// TrustDomain, or was made by somebody else.
	ReasonOwnedByAnother = "OwnedByAnother"
	// ReasonForbidden: the API server refused a write to the account that the domain is
	// written as.
	ReasonForbidden = "Forbidden"
	// ReasonApplyFailed: a write failed, or somebody else owns a field.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonWriteBackFailed: the record could not be written to Git.
	ReasonWriteBackFailed = "WriteBackFailed"
	// ReasonTrustAtRisk: the turn came to its end, but a key was changed without a plan,
	// say: trust is at risk until somebody does what the holds ask for. It is the reason
	// of the event as well.
	ReasonTrustAtRisk = "TrustAtRisk"
)

// stalling are the reasons that no retry heals: a person must change the TrustDomain, or
// decide whether to trust what the server shows.
var stalling = []string{ReasonInvalidSpec, ReasonHistoryRewritten, ReasonHostKeyMismatch, ReasonRedirected}

// stalls reports whether a turn that failed for a reason is not healed by the next.
func stalls(reason string) bool { return slices.Contains(stalling, reason) }

// wordy are the reasons whose words are the network's or the server's: they tell ports,
// times and the numbers of requests, and so differ from turn to turn though nothing else
// does.
var wordy = []string{ReasonRemoteUnreachable, ReasonTLSFailed, ReasonAuthenticationFailed, ReasonNotARepository, ReasonGitOperationFailed}

// numbered are words that hold a digit: an address, a time, the number of a request.
var numbered = regexp.MustCompile(`\S*[0-9]\S*`)

// alike reports whether two messages differ in nothing but numbered words.
func alike(a, b string) bool {
	return numbered.ReplaceAllLiteralString(a, "0") == numbered.ReplaceAllLiteralString(b, "0")
}

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
