package applier

import (
	"context"
	"slices"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/planner"
)

// An Observer says what the cluster holds. Its methods may be called concurrently.
type Observer struct {
	// Reader is the manager's cache or an uncached reader. Its scheme must know the
	// types of [AddToScheme]. ReplicaSets are read as metadata only, ConfigMaps by
	// [LabelBundleCopy] only.
	Reader client.Reader
	// ClusterResourceNamespace of cert-manager; empty means
	// [DefaultClusterResourceNamespace].
	ClusterResourceNamespace string
	// Now tells which CertificateRequests that no Certificate controls have expired;
	// if nil, none has.
	Now func() time.Time
}

// Observe looks at the cluster for a domain, the namespace and name of a
// TrustDomain. Everything in the answer is sorted, so that a cluster that has not
// changed gives an equal answer. since is passed through. An error means that nothing
// was seen; it says of what.
func (o *Observer) Observe(ctx context.Context, domain planner.Ref, desired planner.Desired, since []planner.Gate) (planner.Observed, error) {
	w := &world{Observer: o, survey: survey{reader: o.Reader}, domain: domain, desired: desired, named: namedPairs(desired.Authorities)}
	if err := w.gather(ctx); err != nil {
		return planner.Observed{}, err
	}
	observed := planner.Observed{
		Keys:    w.keys(),
		Issuers: w.bindingIssuers(),
		Bundles: w.standingBundles(),
		Since:   sortedGates(since),
	}
	observed.Leaves = w.leaves(observed.Keys, observed.Issuers)
	var err error
	if observed.Copies, err = w.copies(ctx, observed.Bundles); err != nil {
		return planner.Observed{}, err
	}
	if observed.Workloads, err = w.workloads(ctx, w.bundleNames(), observed.Leaves); err != nil {
		return planner.Observed{}, err
	}
	observed.Unknown = w.sorted()
	return observed, nil
}

// A world is what one observation has gathered.
type world struct {
	*Observer
	survey
	domain  planner.Ref
	desired planner.Desired
	named   map[planner.Ref]pair

	certificates   certmanagerv1.CertificateList
	issuers        certmanagerv1.IssuerList
	clusterIssuers certmanagerv1.ClusterIssuerList
	bundles        unstructured.UnstructuredList
	requests       requests
	// Which of the lists above are known.
	issuersKnown, clusterIssuersKnown bool
}

// gather lists cert-manager's and trust-manager's objects.
func (w *world) gather(ctx context.Context) error {
	if _, err := w.list(ctx, certificates, &w.certificates); err != nil {
		return err
	}
	var err error
	if w.issuersKnown, err = w.list(ctx, issuers, &w.issuers); err != nil {
		return err
	}
	if w.clusterIssuersKnown, err = w.list(ctx, clusterIssuers, &w.clusterIssuers); err != nil {
		return err
	}
	var sent certmanagerv1.CertificateRequestList
	known, err := w.list(ctx, certificateRequests, &sent)
	if err != nil {
		return err
	}
	w.requests = newRequests(sent.Items, known)
	w.bundles.SetGroupVersionKind(bundleKind.GroupVersion().WithKind("BundleList"))
	_, err = w.list(ctx, bundles, &w.bundles)
	return err
}

func sortedGates(gates []planner.Gate) []planner.Gate {
	sorted := slices.Clone(gates)
	slices.SortFunc(sorted, func(a, b planner.Gate) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}
