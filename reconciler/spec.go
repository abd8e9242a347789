package reconciler

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Times where a TrustDomain gives none, and the longest that a domain goes
// without a whole turn: a net under the watches.
const (
	defaultInterval      = time.Minute
	defaultRetryInterval = time.Minute
	defaultTimeout       = 5 * time.Minute
	wholeTurnEvery       = 10 * time.Minute
)

// Author of the commits where a TrustDomain names none.
const (
	defaultAuthorName  = "reanchor"
	defaultAuthorEmail = "noreply@reanchor.dev"
)

// validateSpec refuses what no retry heals. The CRD's own rules refuse most of it
// before it gets here.
func validateSpec(spec v1alpha1.TrustDomainSpec) error {
	if err := validateURL(spec.Source); err != nil {
		return err
	}
	switch {
	case !fs.ValidPath(folderOf(spec)):
		return fmt.Errorf("spec.source.path %q leaves the repository: give a relative path inside it", spec.Source.Path)
	case spec.Source.Ref.Branch == "":
		return fmt.Errorf("spec.source.ref.branch is empty: name the branch, main say")
	case !isBranch(spec.Source.Ref.Branch):
		return fmt.Errorf("spec.source.ref.branch is %q: give the name alone: main, not refs/heads/main (git check-ref-format says what a name may hold)", spec.Source.Ref.Branch)
	}
	if modes := []v1alpha1.PlanTrailer{"", v1alpha1.PlanTrailerHonoured, v1alpha1.PlanTrailerRequired, v1alpha1.PlanTrailerIgnored}; !slices.Contains(modes, spec.PlanTrailer) {
		return fmt.Errorf("spec.planTrailer is %q: set it to %s, %s or %s", spec.PlanTrailer, modes[1], modes[2], modes[3])
	}
	if err := validateWriteBack(spec.WriteBack); err != nil {
		return err
	}
	return validateSignatures(spec)
}

// schemes are those of the URLs that a repository may have.
var schemes = []string{"https", "ssh", "file"}

// validateURL refuses a URL of no repository, and Secrets that it has no use for.
func validateURL(source v1alpha1.Source) error {
	location, err := url.Parse(source.URL)
	if err != nil {
		return fmt.Errorf("spec.source.url is not a URL: give one that starts with https://, ssh:// or file://")
	}
	_, password := location.User.Password()
	switch {
	case !slices.Contains(schemes, location.Scheme):
		return fmt.Errorf("spec.source.url has the scheme %q: give a URL that starts with https://, ssh:// or file://", location.Scheme)
	case password || location.User != nil && location.Scheme != "ssh":
		return fmt.Errorf("spec.source.url holds credentials: put them into a Secret and name it in spec.source.secretRef")
	case location.RawQuery != "" || location.Fragment != "" || location.Scheme != "file" && location.Host == "":
		return fmt.Errorf("spec.source.url is not that of a repository: write it as https://host/path, ssh://host/path or file:///path, without ? and #")
	case location.Scheme == "ssh" && source.SecretRef == nil:
		return fmt.Errorf("spec.source.url is reached by SSH: name in spec.source.secretRef a Secret with %s and %s", secretIdentity, secretKnownHosts)
	case location.Scheme == "ssh" && source.CertSecretRef != nil:
		return fmt.Errorf("spec.source.certSecretRef has no use for an ssh:// URL: remove it, and put the server's keys into %s of spec.source.secretRef", secretKnownHosts)
	case location.Scheme == "file" && (source.SecretRef != nil || source.CertSecretRef != nil || source.ProxySecretRef != nil):
		return fmt.Errorf("spec.source.secretRef, certSecretRef and proxySecretRef have no use for a file:// URL: remove them")
	}
	return nil
}

// validateSignatures refuses a domain whose own commits would be the first that do not
// verify.
func validateSignatures(spec v1alpha1.TrustDomainSpec) error {
	verify := spec.Source.Verify
	switch {
	case verify == nil:
		return nil
	case verify.Mode != "" && verify.Mode != verifyHead:
		return fmt.Errorf("spec.source.verify.mode is %q: set it to %s", verify.Mode, verifyHead)
	case recordBranchOf(spec) == spec.Source.Ref.Branch && spec.WriteBack.SigningKey == nil:
		return fmt.Errorf("spec.source.verify asks for signed commits on %s, and the record would be written there unsigned: name a key in spec.writeBack.signingKey, another branch in spec.writeBack.branch, or set spec.writeBack.mode to Disabled", spec.Source.Ref.Branch)
	}
	return nil
}

// verifyHead is the one way to verify: the commit at the branch's head.
const verifyHead = "HEAD"

func validateWriteBack(writeBack v1alpha1.WriteBack) error {
	modes := []v1alpha1.WriteBackMode{"", v1alpha1.WriteBackEnabled, v1alpha1.WriteBackDisabled}
	switch {
	case !slices.Contains(modes, writeBack.Mode):
		return fmt.Errorf("spec.writeBack.mode is %q: set it to %s or %s", writeBack.Mode, v1alpha1.WriteBackEnabled, v1alpha1.WriteBackDisabled)
	case writeBack.Branch != "" && !isBranch(writeBack.Branch):
		return fmt.Errorf("spec.writeBack.branch is %q: give the name alone: main, not refs/heads/main (git check-ref-format says what a name may hold)", writeBack.Branch)
	}
	if writeBack.Committer != nil {
		if err := validateAuthor("committer", *writeBack.Committer); err != nil {
			return err
		}
	}
	return validateAuthor("author", writeBack.Author)
}

// validateAuthor refuses what would forge a line of a commit.
func validateAuthor(field string, author v1alpha1.CommitAuthor) error {
	if strings.ContainsAny(author.Name+author.Email, "<>\n\r\x00") {
		return fmt.Errorf("spec.writeBack.%s is %q, %q: leave out <, > and line breaks", field, author.Name, author.Email)
	}
	return nil
}

// isBranch reports whether a name is one that a branch may have, by the rules of
// git-check-ref-format(1).
func isBranch(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.HasPrefix(name, "refs/") && !strings.HasPrefix(name, "-") && !strings.HasSuffix(name, ".") && name != "@" &&
		!strings.Contains(name, "..") && !strings.Contains(name, "@{") &&
		!strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`~^:?*[\`, c) })
}

// recordBranchOf a domain is the branch that its record is kept on; empty if none is
// kept.
func recordBranchOf(spec v1alpha1.TrustDomainSpec) string {
	if spec.WriteBack.Mode == v1alpha1.WriteBackDisabled {
		return ""
	}
	return cmp.Or(spec.WriteBack.Branch, spec.Source.Ref.Branch)
}

// hasOwnRecord reports whether a domain's record is kept on a branch of its own.
func hasOwnRecord(spec v1alpha1.TrustDomainSpec) bool {
	branch := recordBranchOf(spec)
	return branch != "" && branch != spec.Source.Ref.Branch
}

// authorOf the commits that are made for a domain.
func authorOf(spec v1alpha1.TrustDomainSpec) v1alpha1.CommitAuthor {
	return orDefaultAuthor(spec.WriteBack.Author)
}

// committerOf the same commits.
func committerOf(spec v1alpha1.TrustDomainSpec) v1alpha1.CommitAuthor {
	if spec.WriteBack.Committer == nil {
		return authorOf(spec)
	}
	return orDefaultAuthor(*spec.WriteBack.Committer)
}

func orDefaultAuthor(author v1alpha1.CommitAuthor) v1alpha1.CommitAuthor {
	return v1alpha1.CommitAuthor{Name: cmp.Or(author.Name, defaultAuthorName), Email: cmp.Or(author.Email, defaultAuthorEmail)}
}

// folderOf a domain in its repository, as fs.FS names it.
func folderOf(spec v1alpha1.TrustDomainSpec) string { return path.Clean(spec.Source.Path) }

func intervalOf(spec v1alpha1.TrustDomainSpec) time.Duration {
	return orDefault(spec.Interval, defaultInterval)
}

func timeoutOf(spec v1alpha1.TrustDomainSpec) time.Duration {
	return orDefault(spec.Timeout, defaultTimeout)
}

func retryIntervalOf(spec v1alpha1.TrustDomainSpec) time.Duration {
	if spec.RetryInterval == nil {
		return defaultRetryInterval
	}
	return orDefault(*spec.RetryInterval, defaultRetryInterval)
}

func orDefault(given v1.Duration, otherwise time.Duration) time.Duration {
	if given.Duration <= 0 {
		return otherwise
	}
	return given.Duration
}
