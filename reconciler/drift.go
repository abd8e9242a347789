package reconciler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Drift of what a repository declares beside reanchor's own documents, a Service say, is
// seen by a watch on each kind that a domain has applied. It is added after the apply, and
// taken away once no domain has the kind, or the cluster does not serve it any more.
//
// Such a watch asks for the metadata of the objects that bear a domain's labels, and for
// nothing else: what it holds in memory is the few hundred bytes of each object that
// reanchor itself has made. To list and watch the objects whole would bring all of their
// content into memory, and an informer of the manager's cache holds all objects of a kind,
// whoever made them. The metadata is enough, for the turn that the watch brings looks at
// the objects themselves.

// watchedElsewhere are the kinds whose every change brings a turn already (see watches),
// and Secrets, which are never watched.
var watchedElsewhere = []string{
	"cert-manager.io/v1/Certificate",
	"cert-manager.io/v1/ClusterIssuer",
	"cert-manager.io/v1/Issuer",
	"trust.cert-manager.io/v1alpha1/Bundle",
	"v1/Secret",
}

// drift are the watches that were added.
type drift struct {
	mu      sync.Mutex
	watched map[string]*kindWatch // by kind, as in status.kinds
	kinds   map[types.NamespacedName][]string
}

// kindWatch is one watch on a kind. A kind that went and came back has another.
type kindWatch struct{ cancel context.CancelFunc }

// watchKinds watches the kinds that a domain has applied, unless they are watched, and ends
// the watches on those that no domain has any more. A turn that did not come to its apply
// has nil, and changes nothing.
func (r *Reconciler) watchKinds(domain types.NamespacedName, kinds []string) {
	ctx, queue := r.asking.started()
	if kinds == nil || r.Metadata == nil || queue == nil {
		return
	}
	r.drift.mu.Lock()
	defer r.drift.mu.Unlock()
	r.drift.needs(domain, kinds)
	for _, kind := range kinds {
		if r.drift.watched[kind] != nil || slices.Contains(watchedElsewhere, kind) {
			continue
		}
		if err := r.watchKind(ctx, kind, queue); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "drift of a kind is mended at whole turns only", "kind", kind)
		}
	}
}

// watchKind starts the watch on a kind. It needs the mutex.
func (r *Reconciler) watchKind(ctx context.Context, kind string, queue queue) error {
	gvk, err := parseKind(kind)
	if err != nil {
		return err
	}
	mapping, err := r.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return nil // it was there at the apply: gone meanwhile
	}
	if err != nil {
		return fmt.Errorf("find the resource of %s: %w", kind, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	informer := metadatainformer.NewFilteredMetadataInformer(r.Metadata, mapping.Resource, metav1.NamespaceAll, 0, toolscache.Indexers{}, ofDomains).Informer()
	watch := &kindWatch{cancel}
	if err := r.prepare(ctx, informer, queue, func() { r.drift.end(kind, watch) }, kind); err != nil {
		cancel()
		return fmt.Errorf("watch %s: %w", kind, err)
	}
	if r.drift.watched == nil {
		r.drift.watched = map[string]*kindWatch{}
	}
	r.drift.watched[kind] = watch
	go informer.RunWithContext(ctx)
	return nil
}

// ofDomains asks for the objects that belong to any domain.
func ofDomains(options *metav1.ListOptions) { options.LabelSelector = v1alpha1.LabelDomainName }

// prepare says what becomes of a watch's events and errors: gone is called when the cluster
// does not serve the kind.
func (r *Reconciler) prepare(ctx context.Context, informer toolscache.SharedIndexInformer, queue queue, gone func(), kind string) error {
	if err := informer.SetTransform(withoutManagers); err != nil {
		return err
	}
	told := sync.Once{}
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *toolscache.Reflector, err error) {
		switch {
		case apierrors.IsNotFound(err):
			gone()
		case apierrors.IsForbidden(err):
			told.Do(func() {
				ctrl.LoggerFrom(ctx).Error(err, "drift is mended at whole turns only: grant list and watch on the kind", "kind", kind)
			})
		default:
			ctrl.LoggerFrom(ctx).V(1).Info("a watch is begun again", "kind", kind, "error", err.Error())
		}
	}); err != nil {
		return err
	}
	_, err := informer.AddEventHandler(r.driftHandler(ctx, queue))
	return err
}

// driftHandler gives the domain of an object that moved a turn.
func (r *Reconciler) driftHandler(ctx context.Context, queue queue) toolscache.ResourceEventHandler {
	its := r.marks(itsDomain)
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			its.Create(ctx, event.CreateEvent{Object: object.(*metav1.PartialObjectMetadata)}, queue)
		},
		UpdateFunc: func(before, after any) {
			e := event.UpdateEvent{ObjectOld: before.(*metav1.PartialObjectMetadata), ObjectNew: after.(*metav1.PartialObjectMetadata)}
			if declaredMoved(e.ObjectOld, e.ObjectNew) {
				its.Update(ctx, e, queue)
			}
		},
		DeleteFunc: func(object any) {
			if missed, is := object.(toolscache.DeletedFinalStateUnknown); is {
				object = missed.Obj
			}
			its.Delete(ctx, event.DeleteEvent{Object: object.(*metav1.PartialObjectMetadata)}, queue)
		},
	}
}

// declaredMoved reports whether an object changed in what a repository may declare. The
// server counts generations of kinds that have a status; of others every change matters.
func declaredMoved(before, after metav1.Object) bool {
	return after.GetGeneration() == 0 || before.GetGeneration() != after.GetGeneration() ||
		!maps.Equal(before.GetLabels(), after.GetLabels()) || !maps.Equal(before.GetAnnotations(), after.GetAnnotations()) ||
		after.GetDeletionTimestamp() != nil
}

// end a watch on a kind that the cluster does not serve any more. The next turn that applies
// the kind begins another, which what the old one says late does not end.
func (d *drift) end(kind string, watch *kindWatch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	watch.cancel()
	if d.watched[kind] == watch {
		delete(d.watched, kind)
	}
}

// forget a domain that is gone: it has no kinds.
func (d *drift) forget(domain types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.needs(domain, nil)
}

// needs notes the kinds of a domain, and ends the watches on those that none has any more.
// It needs the mutex.
func (d *drift) needs(domain types.NamespacedName, kinds []string) {
	if d.kinds == nil {
		d.kinds = map[types.NamespacedName][]string{}
	}
	d.kinds[domain] = kinds
	if len(kinds) == 0 {
		delete(d.kinds, domain)
	}
	needed := map[string]bool{}
	for _, kinds := range d.kinds {
		for _, kind := range kinds {
			needed[kind] = true
		}
	}
	for kind, watch := range d.watched {
		if !needed[kind] {
			watch.cancel()
			delete(d.watched, kind)
		}
	}
}

// withoutManagers drops what makes up most of an object's metadata.
func withoutManagers(object any) (any, error) {
	if described, ok := object.(*metav1.PartialObjectMetadata); ok {
		described.ManagedFields = nil
	}
	return object, nil
}

// parseKind reads what KindName wrote.
func parseKind(name string) (schema.GroupVersionKind, error) {
	at := strings.LastIndex(name, "/")
	if at < 0 {
		return schema.GroupVersionKind{}, fmt.Errorf("status.kinds holds %q: want group/version/Kind", name)
	}
	version, err := schema.ParseGroupVersion(name[:at])
	if err != nil {
		return schema.GroupVersionKind{}, fmt.Errorf("status.kinds holds %q: %w", name, err)
	}
	return version.WithKind(name[at+1:]), nil
}
