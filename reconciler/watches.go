package reconciler

import (
	"context"
	"fmt"
	"maps"
	"time"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
)

// settling is how long the controller waits after something moved, so that what
// moves together is seen in one turn.
const settling = 500 * time.Millisecond

// queue of the domains that wait for a turn.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// affects reports whether an object that moved may matter to a domain.
type affects func(object client.Object, domain types.NamespacedName, remembered *memory) bool

// watch is a kind whose objects' changes bring turns.
type watch struct {
	kind    client.Object
	affects affects
	changed predicate.Predicate
}

// watches are the kinds that a domain is planned from. A Certificate concerns the
// domain whose issuer it refers to, whoever made it, so every domain looks.
func watches() []watch {
	always := predicate.ResourceVersionChangedPredicate{}
	return []watch{
		{&certmanager.Certificate{}, everyDomain, always},
		{&certmanager.CertificateRequest{}, everyDomain, always},
		{&certmanager.Issuer{}, itsDomain, always},
		{&certmanager.ClusterIssuer{}, itsDomain, always},
		{bundleKind(), itsDomain, always},
		{&corev1.ConfigMap{}, whoseBundle, always},
		{&corev1.Namespace{}, everyDomain, predicate.LabelChangedPredicate{}},
		{&appsv1.Deployment{}, domainsThere, always},
		{&appsv1.StatefulSet{}, domainsThere, always},
		{&appsv1.DaemonSet{}, domainsThere, always},
		{&corev1.Pod{}, domainsThere, predicate.Funcs{UpdateFunc: podMoved}},
	}
}

// bundleKind is trust-manager's Bundle.
func bundleKind() *metav1.PartialObjectMetadata {
	bundle := &metav1.PartialObjectMetadata{}
	bundle.SetGroupVersionKind(schema.GroupVersionKind{Group: "trust.cert-manager.io", Version: "v1alpha1", Kind: "Bundle"})
	return bundle
}

// everyDomain may be affected.
func everyDomain(client.Object, types.NamespacedName, *memory) bool { return true }

// itsDomain is affected: the one that the object's labels name, or every one if
// they name none.
func itsDomain(object client.Object, domain types.NamespacedName, _ *memory) bool {
	name, labelled := object.GetLabels()[v1alpha1.LabelDomainName]
	return !labelled || name == domain.Name && object.GetLabels()[v1alpha1.LabelDomainNamespace] == domain.Namespace
}

// whoseBundle is affected: the domain that has a bundle of the ConfigMap's name, whoever
// writes its copies. Other ConfigMaps are none of its business, however often they change.
func whoseBundle(object client.Object, _ types.NamespacedName, remembered *memory) bool {
	return remembered.distributes(object.GetName())
}

// domainsThere are affected: those that have anything in the object's namespace.
func domainsThere(object client.Object, _ types.NamespacedName, remembered *memory) bool {
	return remembered.cares(object.GetNamespace())
}

// podMoved reports whether a pod changed in what says which bundle it has loaded
// and whether it lives.
func podMoved(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Pod)
	after, also := e.ObjectNew.(*corev1.Pod)
	if !ok || !also {
		return true
	}
	return before.Status.Phase != after.Status.Phase || podReady(before) != podReady(after) ||
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!maps.Equal(before.Annotations, after.Annotations)
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Setup adds the controller to a manager that was made with CacheOptions and
// ClientOptions.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	kinds, err := served(mgr.GetScheme(), mgr.GetRESTMapper())
	if err != nil {
		return err
	}
	if len(kinds) < len(watches()) {
		mgr.GetLogger().Info("the cluster serves no Bundle: only bundles via ConfigMap or Observed can be declared; install trust-manager, then start the controller again, for others")
	}
	if err := applier.IndexCopies(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if err := r.lanes.watch(context.Background(), mgr); err != nil {
		return err
	}
	build := ctrl.NewControllerManagedBy(mgr).
		Named("trustdomain").
		For(&v1alpha1.TrustDomain{}, builder.WithPredicates(asks())).
		WatchesRawSource(source.Func(r.asking.listen)).
		WithOptions(controller.Options{MaxConcurrentReconciles: max(1, r.Options.Concurrent)})
	for _, w := range kinds {
		build = build.Watches(w.kind, r.marks(w.affects), builder.WithPredicates(w.changed))
	}
	if err := build.Complete(r); err != nil {
		return fmt.Errorf("set up the TrustDomain controller: %w", err)
	}
	return nil
}

// served are the watches on kinds that the cluster knows: a watch on one that is not there
// would hold up all others. All must be, but for trust-manager's: bundles need not be its.
func served(scheme *runtime.Scheme, mapper meta.RESTMapper) ([]watch, error) {
	if err := serves(scheme, mapper, &v1alpha1.TrustDomain{}); err != nil {
		return nil, err
	}
	var known []watch
	for _, w := range watches() {
		err := serves(scheme, mapper, w.kind)
		if isBundle := w.kind.GetObjectKind().GroupVersionKind() == bundleKind().GroupVersionKind(); isBundle && meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		known = append(known, w)
	}
	return known, nil
}

// serves fails, with what to do, if the cluster does not know an object's kind.
func serves(scheme *runtime.Scheme, mapper meta.RESTMapper, object client.Object) error {
	kind, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return fmt.Errorf("name the kind of a watch: %w", err)
	}
	if _, err := mapper.RESTMapping(kind.GroupKind(), kind.Version); err != nil {
		return fmt.Errorf("the cluster does not serve %s: install the custom resource definitions of %s, then start again: %w", KindName(kind), makerOf(kind.Group), err)
	}
	return nil
}

// makerOf a group's kinds: what somebody must install to have them.
func makerOf(group string) string {
	switch group {
	case v1alpha1.GroupVersion.Group:
		return "reanchor (config/crd)"
	case certmanager.SchemeGroupVersion.Group:
		return "cert-manager"
	case bundleKind().GroupVersionKind().Group:
		return "trust-manager"
	default:
		return group
	}
}

// marks is a handler that marks the domains that an object affects as moved, and
// gives them a turn once things have settled. A domain that has had no turn yet is
// not marked: its first is a whole one.
func (r *Reconciler) marks(affected affects) handler.EventHandler {
	mark := func(object client.Object, queue queue) {
		r.memories.each(func(domain types.NamespacedName, remembered *memory) {
			if affected(object, domain, remembered) {
				remembered.moved.Store(true)
				queue.AddAfter(reconcile.Request{NamespacedName: domain}, settling)
			}
		})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { mark(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			mark(e.ObjectOld, q)
			mark(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { mark(e.Object, q) },
	}
}
