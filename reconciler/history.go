package reconciler

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// After is what a branch's head must come after.
type After struct {
	// Revision that was read last; empty: none, and any head will do.
	Revision string
	// Accept is the one revision that will do although it does not come after that.
	Accept string
}

// SourceError is why a Source could not bring a branch, by the reason of the Ready
// condition that it leads to.
type SourceError struct {
	// Reason is one of the constants Reason….
	Reason string
	// Err says what happened and what to do, without credentials.
	Err error
}

// Error is that of Err.
func (e *SourceError) Error() string { return e.Err.Error() }

// Unwrap is the error without its reason.
func (e *SourceError) Unwrap() error { return e.Err }

// RewrittenError says that a branch's head does not come after the revision that was read
// last.
type RewrittenError struct {
	// Was the head, and Is it now, as in main@sha1:….
	Was, Is string
}

// Error names both revisions.
func (e *RewrittenError) Error() string {
	return fmt.Sprintf("the history was rewritten: %s is no descendant of %s, which was read last", e.Is, e.Was)
}

// notPulled makes an error of the Source the reason why a turn ends.
func (t *turn) notPulled(err error) error {
	if rewritten, ok := errors.AsType[*RewrittenError](err); ok {
		return failed(ReasonHistoryRewritten, t.howToAccept(rewritten))
	}
	if known, ok := errors.AsType[*SourceError](err); ok {
		return failed(known.Reason, err)
	}
	return failed(ReasonGitOperationFailed, err)
}

// howToAccept says what ends a domain's wait over a rewritten branch.
func (t *turn) howToAccept(rewritten *RewrittenError) error {
	other := ""
	if given := acceptedBy(t.domain); given != "" && given != rewritten.Was {
		other = fmt.Sprintf(" (it says %s now)", given)
	}
	return fmt.Errorf("%w: put the branch back, or, if whoever may has meant it, accept exactly this head: kubectl annotate --overwrite trustdomain -n %s %s %s=%s%s",
		rewritten, t.domain.Namespace, t.domain.Name, v1alpha1.AnnotationAcceptRevision, rewritten.Is, other)
}

// acceptedBy a person, as the domain's annotation tells.
func acceptedBy(domain *v1alpha1.TrustDomain) string {
	return strings.TrimSpace(domain.Annotations[v1alpha1.AnnotationAcceptRevision])
}

// whole is a revision that names its commit by all 40 digits.
var whole = regexp.MustCompile(`^\S+@sha1:[0-9a-f]{40}$`)

// after is what the head of a branch must come after. What a person accepts by less than a
// whole revision, nobody could be sure of.
func (t *turn) after(branch string) After {
	after := After{Revision: t.memory.lineage.heads[branch]}
	if accepted := acceptedBy(t.domain); whole.MatchString(accepted) {
		after.Accept = accepted
	}
	return after
}

// lineage is what was read last of a repository's branches: no head that does not come
// after it is taken for the next.
type lineage struct {
	uid types.UID
	url string
	// heads by their branches, as in main@sha1:….
	heads map[string]string
}

// follow readies the lineage for a turn of domain. Another URL begins another lineage.
// After a restart the source's branch goes on from the status, provided that this speaks
// of the spec as it is: of an earlier spec's URL nothing is known.
func (l *lineage) follow(domain *v1alpha1.TrustDomain) {
	if l.uid == domain.UID && l.url == domain.Spec.Source.URL {
		return
	}
	restarted := l.uid != domain.UID
	*l = lineage{uid: domain.UID, url: domain.Spec.Source.URL, heads: map[string]string{}}
	if restarted && domain.Status.ObservedGeneration == domain.Generation {
		l.read(domain.Status.LastAttemptedRevision)
	}
}

// read notes a revision that was read.
func (l *lineage) read(revision string) {
	if branch, _, ok := cutRevision(revision); ok {
		l.heads[branch] = revision
	}
}

// cutRevision splits main@sha1:… into the branch's name, which may hold an @ itself, and
// the commit's.
func cutRevision(revision string) (branch, commit string, ok bool) {
	at := strings.LastIndex(revision, "@")
	if at < 0 {
		return "", "", false
	}
	return revision[:at], revision[at+1:], true
}
