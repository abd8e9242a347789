package applier

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// A Foreign is an object that a domain's repository names and that belongs to another
// TrustDomain, which exists. Nothing of it may be written.
type Foreign struct {
	// Object as in "ClusterIssuer fleet".
	Object string
	// Owner is the other TrustDomain.
	Owner planner.Ref
}

// String says whose the object is and how that is ended.
func (f Foreign) String() string { return f.Object + " " + belongsTo(f.Owner) }

// belongsTo says of an object whose it is and how that is ended.
func belongsTo(owner planner.Ref) string {
	return fmt.Sprintf("belongs to TrustDomain %s: give it another name, or take it out of that one's repository first", owner)
}

// foreign are the objects that Git names and that belong to another TrustDomain: those of
// keys, the issuers of bindings, Bundles, and copies that reanchor writes.
func (w *world) foreign(ctx context.Context) ([]Foreign, error) {
	var found []Foreign
	for _, object := range w.claimed() {
		owner, other, err := w.owners.other(ctx, object.meta)
		if err != nil {
			return nil, err
		}
		if other {
			found = append(found, Foreign{Object: object.kind + " " + refOf(object.meta).String(), Owner: owner})
		}
	}
	slices.SortFunc(found, func(a, b Foreign) int { return cmp.Compare(a.Object, b.Object) })
	return found, nil
}

// A claim is an object that is there and that Git names.
type claim struct {
	kind string
	meta metav1.Object
}

// claimed are all that are there of what Git names.
func (w *world) claimed() []claim {
	var found []claim
	for i := range w.certificates.Items {
		if object := &w.certificates.Items[i]; w.namesKey(refOf(object)) {
			found = append(found, claim{certmanagerv1.CertificateKind, object})
		}
	}
	signers := w.signers(nil, nil)
	for _, authority := range w.desired.Authorities {
		signers[planner.Ref{Namespace: authority.Metadata.Namespace, Name: planner.SelfSignedName(authority.Metadata.Name)}] = true
	}
	for i := range w.issuers.Items {
		if object := &w.issuers.Items[i]; signers[refOf(object)] {
			found = append(found, claim{certmanagerv1.IssuerKind, object})
		}
	}
	for i := range w.clusterIssuers.Items {
		object := &w.clusterIssuers.Items[i]
		internal := planner.Ref{Namespace: clusterNamespace(refOf(object), w.ClusterResourceNamespace), Name: object.Name}
		if signers[refOf(object)] || w.namesKey(internal) {
			found = append(found, claim{certmanagerv1.ClusterIssuerKind, object})
		}
	}
	return append(found, w.claimedBundles()...)
}

func (w *world) namesKey(object planner.Ref) bool {
	_, named := w.named[object]
	return named
}

func (w *world) claimedBundles() []claim {
	var found []claim
	for i := range w.bundles.Items {
		if object := &w.bundles.Items[i]; w.declaredVia(object.GetName()) == v1alpha1.ViaBundle {
			found = append(found, claim{bundleKind.Kind, object})
		}
	}
	for at, h := range w.holders {
		if w.declaredVia(at.bundle) == v1alpha1.ViaConfigMap && isOurCopy(&h) {
			found = append(found, claim{at.kind(), &h})
		}
	}
	return found
}

// owners tell which TrustDomain an object belongs to. Of each it is asked once whether
// it exists. They may be asked concurrently.
type owners struct {
	reader client.Reader
	domain planner.Ref

	mu     sync.Mutex
	exists map[planner.Ref]bool
}

func newOwners(reader client.Reader, domain planner.Ref) *owners {
	return &owners{reader: reader, domain: domain, exists: map[planner.Ref]bool{}}
}

// other is the other TrustDomain that an object belongs to. False: it is the domain's
// own, nobody's, or that of a TrustDomain that is gone, whose objects anybody may take
// over.
func (o *owners) other(ctx context.Context, object metav1.Object) (planner.Ref, bool, error) {
	owner, labelled := ownerDomain(object)
	if !labelled || owner == o.domain {
		return planner.Ref{}, false, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	exists, known := o.exists[owner]
	if !known {
		var err error
		if exists, err = o.ask(ctx, owner); err != nil {
			return planner.Ref{}, false, err
		}
		o.exists[owner] = exists
	}
	return owner, exists, nil
}

// ask reads a TrustDomain as an unstructured object, which no manager's client reads
// from its cache: that one may hold a shard of them only.
func (o *owners) ask(ctx context.Context, domain planner.Ref) (bool, error) {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kindTrustDomain))
	err := o.reader.Get(ctx, objectKey(domain), found)
	if apierrors.IsNotFound(err) {
		return false, nil // that a cluster does not serve TrustDomains at all says nothing of this one
	}
	if err != nil {
		return false, fmt.Errorf("ask whether TrustDomain %s exists, whose labels an object bears: %w; grant get on trustdomains.%s",
			domain, err, v1alpha1.GroupVersion.Group)
	}
	return true, nil
}

const kindTrustDomain = "TrustDomain"

// ownerDomain is the TrustDomain that an object's labels name.
func ownerDomain(object metav1.Object) (planner.Ref, bool) {
	labels := object.GetLabels()
	owner := planner.Ref{Namespace: labels[v1alpha1.LabelDomainNamespace], Name: labels[v1alpha1.LabelDomainName]}
	return owner, owner.Namespace != "" && owner.Name != ""
}
