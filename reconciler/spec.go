package reconciler

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
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
	case spec.WriteBack.Mode != v1alpha1.WriteBackDisabled:
		return fmt.Errorf("spec.writeBack.mode is %q: set it to %s", spec.WriteBack.Mode, v1alpha1.WriteBackDisabled)
	}
	return nil
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
