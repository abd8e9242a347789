package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
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
	switch given := annotated(t.domain); given {
	case "", rewritten.Was:
	case rewritten.Is:
		other = " (that was accepted once already, and counts no more: remove the annotation first)"
	default:
		other = fmt.Sprintf(" (it says %s now)", cut(given, maxAccepted))
	}
	return fmt.Errorf("%w: put the branch back, or, if whoever may has meant it, accept exactly this head: kubectl annotate --overwrite trustdomain -n %s %s %s=%s%s",
		rewritten, t.domain.Namespace, t.domain.Name, v1alpha1.AnnotationAcceptRevision, rewritten.Is, other)
}

// annotated is what the annotation says by which a person accepts a revision.
func annotated(domain *v1alpha1.TrustDomain) string {
	return strings.TrimSpace(domain.Annotations[v1alpha1.AnnotationAcceptRevision])
}

// maxAccepted bounds what is taken for a revision, in bytes: a branch's name of 255, and a
// commit's.
const maxAccepted = 255 + len("@sha1:") + 40

// whole is a revision that names its commit by all 40 digits.
var whole = regexp.MustCompile(`^\S+@sha1:[0-9a-f]{40}$`)

// acceptedBy a person is a whole revision: by less, nobody could be sure of it.
func acceptedBy(domain *v1alpha1.TrustDomain) string {
	if given := annotated(domain); len(given) <= maxAccepted && whole.MatchString(given) {
		return given
	}
	return ""
}

// after is what the head of a branch must come after. What was accepted once, and read or
// not needed, is no permit to go back to it later.
func (t *turn) after(branch string) After {
	after := After{Revision: t.memory.lineage.heads[branch]}
	if accepted := acceptedOf(t.domain, branch); accepted != t.domain.Status.LastAcceptedRevision {
		after.Accept = accepted
	}
	return after
}

// acceptedOf is what a person accepts as the head of a branch: of another branch that says
// nothing, though both may hold the commit.
func acceptedOf(domain *v1alpha1.TrustDomain, branch string) string {
	accepted := acceptedBy(domain)
	if of, _, _ := cutRevision(accepted); of != branch {
		return ""
	}
	return accepted
}

// AfterOf is what the head of a domain's branch must come after, for a program beside the
// controller that has read nothing of it yet: what the controller has read last, as the status
// tells, and what a person accepts in its place.
func AfterOf(domain *v1alpha1.TrustDomain, branch string) After {
	known := lineage{}
	known.follow(domain)
	return After{Revision: known.heads[branch], Accept: acceptedOf(domain, branch)}
}

// answered is the accepted revision that counts no more: the turn has read the branch that
// it is of, or an earlier one has. If the annotation was removed or is another now, what it
// said before may be accepted anew.
func (t *turn) answered() string {
	accepted := acceptedBy(t.domain)
	branch, _, _ := cutRevision(accepted)
	if t.heads.source != nil || slices.Contains(t.pulled, branch) || accepted == t.domain.Status.LastAcceptedRevision {
		return accepted
	}
	return ""
}

// lineage is what was read last of a repository's branches: no head that does not come
// after it is taken for the next.
type lineage struct {
	uid types.UID
	// source of them, as sourceOf has it.
	source string
	// heads by their branches, as in main@sha1:….
	heads map[string]string
}

// follow readies the lineage for a turn of domain. Another URL begins another lineage.
// After a restart the branches go on from the status, whatever else of the spec was changed
// meanwhile, provided that this speaks of the same repository. A status that does not say
// which it speaks of is taken at its word.
func (l *lineage) follow(domain *v1alpha1.TrustDomain) {
	source, status := sourceOf(domain.Spec), domain.Status
	if l.uid == domain.UID && l.source == source {
		return
	}
	restarted := l.uid != domain.UID
	*l = lineage{uid: domain.UID, source: source, heads: map[string]string{}}
	if restarted && (status.LastAttemptedSource == source || status.LastAttemptedSource == "") {
		l.read(status.LastAttemptedRevision)
		l.read(status.LastRecordRevision)
	}
}

// sourceOf a domain is its repository: the SHA-256 of the URL, in lower-case hex, without
// what makes no other repository of it: the case of scheme and host, a slash at the end, or
// .git.
func sourceOf(spec v1alpha1.TrustDomainSpec) string {
	address := spec.Source.URL
	if parsed, err := url.Parse(address); err == nil {
		parsed.Scheme, parsed.Host = strings.ToLower(parsed.Scheme), strings.ToLower(parsed.Host)
		address = parsed.String()
	}
	digest := sha256.Sum256([]byte(strings.TrimSuffix(strings.TrimRight(address, "/"), ".git")))
	return hex.EncodeToString(digest[:])
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
