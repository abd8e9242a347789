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
	location, err := url.Parse(spec.Source.URL)
	switch {
	case err != nil:
		return fmt.Errorf("spec.source.url is not a URL: give one that starts with https:// or file://")
	case location.Scheme != "https" && location.Scheme != "file":
		return fmt.Errorf("spec.source.url has the scheme %q: give a URL that starts with https:// or file://", location.Scheme)
	case location.User != nil:
		return fmt.Errorf("spec.source.url holds credentials: put them into a Secret and name it in spec.source.secretRef")
	case !fs.ValidPath(folderOf(spec)):
		return fmt.Errorf("spec.source.path %q leaves the repository: give a relative path inside it", spec.Source.Path)
	case spec.Source.Ref.Branch == "":
		return fmt.Errorf("spec.source.ref.branch is empty: name the branch, main say")
	case strings.HasPrefix(spec.Source.Ref.Branch, "refs/"):
		return fmt.Errorf("spec.source.ref.branch is %q: give the name alone: main, not refs/heads/main", spec.Source.Ref.Branch)
	}
	return validateWriteBack(spec.WriteBack)
}

func validateWriteBack(writeBack v1alpha1.WriteBack) error {
	modes := []v1alpha1.WriteBackMode{"", v1alpha1.WriteBackEnabled, v1alpha1.WriteBackDisabled}
	switch author := writeBack.Author; {
	case !slices.Contains(modes, writeBack.Mode):
		return fmt.Errorf("spec.writeBack.mode is %q: set it to %s or %s", writeBack.Mode, v1alpha1.WriteBackEnabled, v1alpha1.WriteBackDisabled)
	case strings.HasPrefix(writeBack.Branch, "refs/"):
		return fmt.Errorf("spec.writeBack.branch is %q: give the name alone: main, not refs/heads/main", writeBack.Branch)
	case strings.ContainsAny(author.Name+author.Email, "<>\n\r\x00"):
		return fmt.Errorf("spec.writeBack.author is %q, %q: leave out <, > and line breaks", author.Name, author.Email)
	}
	return nil
}

// recordBranchOf a domain is the branch that its record is kept on; empty if none is
// kept.
func recordBranchOf(spec v1alpha1.TrustDomainSpec) string {
	if spec.WriteBack.Mode == v1alpha1.WriteBackDisabled {
		return ""
	}
	return cmp.Or(spec.WriteBack.Branch, spec.Source.Ref.Branch)
}

// authorOf the commits by which the record is written.
func authorOf(spec v1alpha1.TrustDomainSpec) v1alpha1.CommitAuthor {
	author := spec.WriteBack.Author
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
