package applier

import (
	"context"
	"slices"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// An Observer says what the cluster holds. Its methods may be called concurrently.
type Observer struct {
	// Reader is the manager's cache or an uncached reader. Its scheme must know the
	// types of [AddToScheme]. ReplicaSets are read as metadata only; ConfigMaps by their
	// name, for which a cache needs [IndexCopies], or by the labels of a domain.
	Reader client.Reader
	// APIReader asks the API server itself, and no cache: for Secrets that hold bundles,
	// and whether a TrustDomain exists. If nil, Reader does.
	APIReader client.Reader
	// ClusterResourceNamespace of cert-manager; empty means
	// [DefaultClusterResourceNamespace].
	ClusterResourceNamespace string
	// Now tells which CertificateRequests that no Certificate controls have expired;
	// if nil, none has.
	Now func() time.Time
}

// An Observation is what the cluster holds, and what of it is not the domain's to write.
type Observation struct {
	planner.Observed
	// Foreign are the objects that the repository names and that belong to another
	// TrustDomain, sorted. While there is one, nothing may be written: two domains that
	// both write an issuer or a bundle undo each other's rollovers.
	Foreign []Foreign
}

// Observe is [Observer.Look] without what is foreign.
func (o *Observer) Observe(ctx context.Context, domain planner.Ref, desired planner.Desired, since []planner.Gate) (planner.Observed, error) {
	seen, err := o.Look(ctx, domain, desired, since)
	return seen.Observed, err
}

// Look looks at the cluster for a domain, the namespace and name of a TrustDomain.
// Everything in the answer is sorted, so that a cluster that has not changed gives an
// equal answer. since is passed through. An error means that nothing was seen; it says of
// what.
func (o *Observer) Look(ctx context.Context, domain planner.Ref, desired planner.Desired, since []planner.Gate) (Observation, error) {
	w := o.newWorld(domain, desired)
	if err := w.gather(ctx); err != nil {
		return Observation{}, err
	}
	observed, err := w.observed(ctx)
	if err != nil {
		return Observation{}, err
	}
	foreign, err := w.foreign(ctx)
	if err != nil {
		return Observation{}, err
	}
	observed.Since = sortedGates(since)
	return Observation{Observed: observed, Foreign: foreign}, nil
}

// direct is the reader that asks the API server itself.
func (o *Observer) direct() client.Reader {
	if o.APIReader != nil {
		return o.APIReader
	}
	return o.Reader
}

// A world is what one observation has gathered.
type world struct {
	*Observer
	survey
	parsing
	owners  *owners
	domain  planner.Ref
	desired planner.Desired
	// declared are the bundles that Git names, by name.
	declared map[string]v1alpha1.TrustBundleSpec
	named    map[planner.Ref]pair

	certificates   certmanagerv1.CertificateList
	issuers        certmanagerv1.IssuerList
	clusterIssuers certmanagerv1.ClusterIssuerList
	bundles        unstructured.UnstructuredList
	namespaces     corev1.NamespaceList
	requests       requests
	// Which of the lists above are known.
	issuersKnown, clusterIssuersKnown bool

	// names of the bundles that are looked at; those of them that have a Bundle.
	names, bundleObjects map[string]bool
	// holders are the ConfigMaps and Secrets with such a name, and which of them are not
	// known: all ConfigMaps, the Secrets of a bundle. Ours are those that reanchor wrote.
	holders        map[place]holder
	ours           map[string][]holder
	copiesUnknown  bool
	secretsUnknown map[string]bool
}

func (o *Observer) newWorld(domain planner.Ref, desired planner.Desired) *world {
	w := &world{
		Observer: o, survey: survey{reader: o.Reader}, parsing: parsing{}, owners: newOwners(o.direct(), domain),
		domain: domain, desired: desired, declared: map[string]v1alpha1.TrustBundleSpec{}, named: namedPairs(desired.Authorities),
		bundleObjects: map[string]bool{}, holders: map[place]holder{}, ours: map[string][]holder{}, secretsUnknown: map[string]bool{},
	}
	for _, bundle := range desired.Bundles {
		w.declared[bundle.Metadata.Name] = bundle.Spec
	}
	return w
}

// observed is what was gathered as the planner takes it; Secrets, pods and what runs them
// are listed last.
func (w *world) observed(ctx context.Context) (planner.Observed, error) {
	observed := planner.Observed{Keys: w.keys(), Issuers: w.bindingIssuers(), Bundles: w.standingBundles()}
	observed.Links = w.links(observed.Keys)
	observed.Leaves = w.leaves(observed.Keys, observed.Issuers)
	var err error
	if observed.References, err = w.references(ctx); err != nil {
		return planner.Observed{}, err
	}
	if err := w.gatherSecrets(ctx, observed.Bundles); err != nil {
		return planner.Observed{}, err
	}
	if observed.Copies, err = w.copies(ctx, observed.Bundles); err != nil {
		return planner.Observed{}, err
	}
	interesting := interestsIn(w.names, w.inSecrets(observed.Bundles), observed.Leaves)
	if observed.Workloads, err = w.workloads(ctx, interesting); err != nil {
		return planner.Observed{}, err
	}
	observed.Unknown = w.sorted()
	return observed, nil
}

// gather lists cert-manager's and trust-manager's objects.
func (w *world) gather(ctx context.Context) error {
	if _, err := w.list(ctx, certificates, &w.certificates, notOfDevices); err != nil {
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
	known, err := w.list(ctx, certificateRequests, &sent, notOfDevices)
	if err != nil {
		return err
	}
	w.requests = newRequests(sent.Items, known)
	if err := w.gatherBundles(ctx); err != nil {
		return err
	}
	return w.gatherCopies(ctx)
}

// gatherBundles lists trust-manager's Bundles. A cluster that does not know them has none,
// and none is missed unless Git asks for one.
func (w *world) gatherBundles(ctx context.Context) error {
	w.bundles.SetGroupVersionKind(bundleKind.GroupVersion().WithKind("BundleList"))
	err := w.reader.List(ctx, &w.bundles, client.UnsafeDisableDeepCopy)
	if isAbsent(err) && !w.asksForBundles() {
		return nil
	}
	_, err = w.heard(bundles, err)
	return err
}

// asksForBundles reports whether Git declares a bundle whose copies trust-manager writes.
func (w *world) asksForBundles() bool {
	return slices.ContainsFunc(w.desired.Bundles, func(b v1alpha1.TrustBundle) bool {
		return w.declaredVia(b.Metadata.Name) == v1alpha1.ViaBundle
	})
}

func sortedGates(gates []planner.Gate) []planner.Gate {
	sorted := slices.Clone(gates)
	slices.SortFunc(sorted, func(a, b planner.Gate) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}
