package applier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// A Writer is what the applier writes with; a client.Client is one.
type Writer interface {
	client.Writer
	client.StatusClient
}

// An Applier is the hand that writes to the cluster.
type Applier struct {
	// Reader is the manager's client or an uncached reader: what is applied is read as
	// unstructured objects, which a manager's client asks the API server for. It must not
	// strip managedFields, by which an unchanged object is recognised.
	Reader client.Reader
	// Writer to the API server.
	Writer Writer
	// ClusterResourceNamespace of cert-manager; empty means
	// [DefaultClusterResourceNamespace].
	ClusterResourceNamespace string
	// Claims that all appliers of a process share, so that of two domains that make the
	// same object at the same moment one comes first. Nil where there is one domain only.
	Claims *Claims
}

// Options of an apply.
type Options struct {
	// Prune deletes what is not among the manifests any more, if all of them are in
	// force: what goes may be what one that was refused stands in for.
	Prune bool
	// Kinds that were applied earlier, as group/version/Kind: prune looks there too.
	Kinds []string
	// DryRun sends nothing to the API server: the Result says what would be written and
	// deleted, if the server refused none of it and nobody else owned a field or an object.
	DryRun bool
}

// A Result says what an apply did, or what a dry run would have done.
type Result struct {
	// Applied are the objects that were written, in the order of the manifests.
	Applied []Object
	// Pruned are the objects that were deleted, sorted by kind and name.
	Pruned []Object
	// Released are the objects that were taken over once, and that prune has let go of
	// instead: they lost reanchor's labels and stand as they were. Sorted likewise.
	Released []Object
	// Conflicts are the objects that were left as they are because somebody else owns
	// them or a field of theirs, in the order of the manifests.
	Conflicts []Conflict
	// Unchanged counts the objects that needed no write.
	Unchanged int
	// Kinds to give as [Options.Kinds] next time; sorted. What was pruned just now may
	// still be there, so its kind is among them.
	Kinds []string
}

// Apply makes the cluster hold the manifests of a domain, in their order, and
// prunes what is gone. Neighbours of one kind are sent side by side. One bad object does
// not keep the others back; the error joins all, each of which names its object. The
// result is meaningful beside an error. The manifests are not changed; the domain's labels
// are added to what is applied.
//
// What another TrustDomain owns is a [Conflict], and so is an object that reanchor renders
// itself where somebody else made one: an issuer or a Bundle is taken over only if its
// document asks for it. A native manifest takes over what
// stands in its place, but for the fields that others own.
func (a *Applier) Apply(ctx context.Context, domain planner.Ref, manifests []*unstructured.Unstructured, options Options) (Result, error) {
	t := &turn{
		Applier: a, domain: domain, owners: newOwners(a.Reader, domain), dryRun: options.DryRun,
		lists: map[schema.GroupVersionKind]listing{}, result: Result{Kinds: kindsOf(manifests)},
	}
	desired := map[identity]bool{}
	var errs []error
	var once []*unstructured.Unstructured
	for _, manifest := range manifests {
		object := objectOf(manifest)
		if desired[object.identity()] {
			errs = append(errs, fmt.Errorf("apply %s: it stands twice among the manifests; remove one", object))
			continue
		}
		desired[object.identity()] = true
		once = append(once, manifest)
	}
	errs = append(errs, t.applyAll(ctx, once))
	if errors.Join(errs...) != nil || len(t.result.Conflicts) > 0 {
		options.Prune = false
	}
	errs = append(errs, t.prune(ctx, desired, options))
	slices.Sort(t.result.Kinds)
	return t.result, errors.Join(errs...)
}

func kindsOf(manifests []*unstructured.Unstructured) []string {
	kinds := map[string]bool{}
	for _, manifest := range manifests {
		kinds[FormatKind(manifest.GroupVersionKind())] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

// A turn is one apply.
type turn struct {
	*Applier
	domain planner.Ref
	owners *owners
	dryRun bool
	lists  map[schema.GroupVersionKind]listing
	result Result
}

// A listing is the domain's objects of one kind as they are.
type listing struct {
	objects map[planner.Ref]*unstructured.Unstructured
	err     error
}

// list lists each kind once.
func (t *turn) list(ctx context.Context, kind schema.GroupVersionKind) listing {
	if known, is := t.lists[kind]; is {
		return known
	}
	var live unstructured.UnstructuredList
	live.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	found := listing{objects: map[planner.Ref]*unstructured.Unstructured{}}
	if err := t.Reader.List(ctx, &live, domainLabels(t.domain), client.UnsafeDisableDeepCopy); err != nil {
		found.err = fmt.Errorf("list what is there of %s: %w; grant list and watch on it, or install its definition", FormatKind(kind), err)
	}
	for i := range live.Items {
		found.objects[refOf(&live.Items[i])] = &live.Items[i]
	}
	t.lists[kind] = found
	return found
}

// prepare is a copy of the manifest as it is sent: with the domain's labels, as
// JSON has it, without what belongs to the server.
func (t *turn) prepare(manifest *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	raw, err := manifest.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode it: %w", err)
	}
	desired := &unstructured.Unstructured{}
	if err := desired.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("decode it: %w", err)
	}
	withoutNulls(desired.Object)
	unstructured.RemoveNestedField(desired.Object, "status")
	labels := desired.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, domainLabels(t.domain))
	desired.SetLabels(labels)
	return desired, nil
}

// withoutNulls drops the null fields of a map: they say nothing to a server-side
// apply, and no live object shows them.
func withoutNulls(fields map[string]any) {
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	for _, value := range fields {
		if nested, is := value.(map[string]any); is {
			withoutNulls(nested)
		}
	}
}

// prune deletes the domain's objects that are not desired.
func (t *turn) prune(ctx context.Context, desired map[identity]bool, options Options) error {
	kinds, err := t.kindsToPrune(options.Kinds)
	errs := []error{err}
	for _, kind := range kinds {
		if done, err := t.pruneKind(ctx, kind, desired, options.Prune); err != nil {
			errs = append(errs, err)
		} else if done {
			continue
		}
		if name := FormatKind(kind); !slices.Contains(t.result.Kinds, name) {
			t.result.Kinds = append(t.result.Kinds, name)
		}
	}
	return errors.Join(errs...)
}

// secretKind is never pruned, whatever labels a Secret bears: cert-manager copies those
// that a Certificate tells it to.
var secretKind = schema.GroupKind{Kind: "Secret"}

// kindsToPrune are the kinds of the manifests and those of earlier, each in one
// version only, sorted.
func (t *turn) kindsToPrune(earlier []string) ([]schema.GroupVersionKind, error) {
	var kinds []schema.GroupVersionKind
	var errs []error
	seen := map[schema.GroupKind]bool{}
	for _, text := range slices.Concat(t.result.Kinds, slices.Sorted(slices.Values(earlier))) {
		kind, err := ParseKind(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("prune: %w; remove it from the status", err))
		} else if !seen[kind.GroupKind()] && kind.GroupKind() != secretKind {
			seen[kind.GroupKind()] = true
			kinds = append(kinds, kind)
		}
	}
	return kinds, errors.Join(errs...)
}

// pruneKind reports whether nothing that ought to go is left of a kind.
func (t *turn) pruneKind(ctx context.Context, kind schema.GroupVersionKind, desired map[identity]bool, allowed bool) (bool, error) {
	live := t.list(ctx, kind)
	if live.err != nil {
		if isAbsent(live.err) {
			return true, nil // a kind that is not served has no objects
		}
		return false, fmt.Errorf("prune: %w", live.err)
	}
	done := true
	var errs []error
	for _, ref := range slices.SortedFunc(maps.Keys(live.objects), planner.Ref.Compare) {
		object := live.objects[ref]
		if desired[identity{kind.GroupKind(), ref}] || !t.prunable(object) {
			continue
		}
		if done = false; !allowed || object.GetDeletionTimestamp() != nil {
			continue
		}
		remove, into := t.delete, &t.result.Pruned
		if isAdopted(object) {
			remove, into = t.release, &t.result.Released
		}
		if err := remove(ctx, object); err != nil {
			errs = append(errs, fmt.Errorf("prune %s: %w", objectOf(object), err))
			continue
		}
		*into = append(*into, objectOf(object))
	}
	return done, errors.Join(errs...)
}

// prunable reports whether an object is one that an apply made for this domain. Labels are
// copied by others (cert-manager's to CertificateRequests), whose objects have a
// controller; canaries go with their successors, and links when they are recorded; what is a
// device's is the device lane's, and a copy that trust-manager has taken over is
// trust-manager's.
func (t *turn) prunable(object *unstructured.Unstructured) bool {
	_, isCanary := object.GetLabels()[v1alpha1.LabelCanary]
	_, isLink := object.GetLabels()[v1alpha1.LabelLink]
	_, isTrustManagers := object.GetLabels()[LabelBundleCopy]
	_, isDevices := object.GetLabels()[v1alpha1.LabelDeviceGroup]
	return belongs(object, t.domain) && !isCanary && !isLink && !isDevices && !isTrustManagers && metav1.GetControllerOf(object) == nil
}

// delete deletes this object, and no other that has come to bear its name.
func (t *turn) delete(ctx context.Context, object *unstructured.Unstructured) error {
	if t.dryRun {
		return nil
	}
	uid := object.GetUID()
	err := t.Writer.Delete(ctx, object.DeepCopy(),
		client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	return client.IgnoreNotFound(err)
}
