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
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/reanchor/reanchor/planner"
)

// A Comparison says how the cluster differs from manifests.
type Comparison struct {
	// Differences in the order of the manifests; what would be pruned comes last, sorted
	// by kind and name.
	Differences []Difference
	// Unread are the Secrets among the manifests, in their order: no Secret is read.
	Unread []Object
}

// A Difference is an object that an apply would make, change or delete.
type Difference struct {
	Object Object
	// Live and Desired are the fields that an apply is about: those that the manifest has,
	// and those that it has no more and that we own. Of the others, defaults say, nothing
	// is told. Live is nil of an object that is not there, Desired of one that would be
	// pruned.
	Live, Desired map[string]any
	// Taken says whose the object is, if an apply would leave it as it is; else empty.
	Taken string
	// Others are the fields that differ and that somebody else owns.
	Others []OwnedField
}

// Conflict is what an apply of the object would conflict with; false if there is nothing.
func (d Difference) Conflict() (Conflict, bool) {
	return Conflict{Object: d.Object, Taken: d.Taken, Fields: d.Others}, d.Taken != "" || len(d.Others) > 0
}

// Compare says what an apply of the manifests with these options would change, and what it
// would conflict with, by reading alone.
func (a *Applier) Compare(ctx context.Context, domain planner.Ref, manifests []*unstructured.Unstructured, options Options) (Comparison, error) {
	t := &turn{
		Applier: a, domain: domain, owners: newOwners(a.Reader, domain), dryRun: true,
		lists: map[schema.GroupVersionKind]listing{}, result: Result{Kinds: kindsOf(manifests)},
	}
	var compared Comparison
	desired := map[identity]bool{}
	for _, manifest := range manifests {
		object := objectOf(manifest)
		desired[object.identity()] = true
		if object.GroupKind() == secretKind {
			compared.Unread = append(compared.Unread, object)
			continue
		}
		difference, err := t.compare(ctx, manifest)
		if err != nil {
			return Comparison{}, fmt.Errorf("compare %s: %w", object, err)
		}
		if difference != nil {
			compared.Differences = append(compared.Differences, *difference)
		}
	}
	pruned, err := t.wouldPrune(ctx, desired, options)
	compared.Differences = append(compared.Differences, pruned...)
	return compared, err
}

// compare one manifest with what is live; nil if there is no difference.
func (t *turn) compare(ctx context.Context, manifest *unstructured.Unstructured) (*Difference, error) {
	desired, err := t.prepare(manifest)
	if err != nil {
		return nil, err
	}
	asked := withoutAsking(desired)
	live, err := t.live(ctx, desired)
	if err != nil {
		return nil, err
	}
	difference := &Difference{Object: objectOf(manifest), Desired: desired.Object}
	if live == nil {
		return difference, nil
	}
	difference.Live = concerned(live, desired.Object)
	if equal(difference.Live, desired.Object) {
		return nil, nil
	}
	difference.Others = othersFields(live, desired.Object)
	if !belongs(live, t.domain) {
		difference.Taken, err = t.taken(ctx, live, desired, asked)
	}
	return difference, err
}

// live is the object of that name, whosever it is; nil if there is none.
func (t *turn) live(ctx context.Context, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ours := t.list(ctx, desired.GroupVersionKind())
	if found := ours.objects[refOf(desired)]; found != nil || ours.err != nil {
		return found, ours.err
	}
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(desired.GroupVersionKind())
	switch err := t.Reader.Get(ctx, objectKey(refOf(desired)), found); {
	case isAbsent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get it: %w; grant get on it", err)
	}
	return found, nil
}

// wouldPrune are the domain's objects that are not desired.
func (t *turn) wouldPrune(ctx context.Context, desired map[identity]bool, options Options) ([]Difference, error) {
	if !options.Prune {
		return nil, nil
	}
	kinds, err := t.kindsToPrune(options.Kinds)
	errs := []error{err}
	var pruned []Difference
	for _, kind := range kinds {
		live := t.list(ctx, kind)
		if live.err != nil && !isAbsent(live.err) {
			errs = append(errs, live.err)
		}
		for _, ref := range slices.SortedFunc(maps.Keys(live.objects), planner.Ref.Compare) {
			object := live.objects[ref]
			if !desired[identity{kind.GroupKind(), ref}] && t.prunable(object) {
				pruned = append(pruned, Difference{Object: objectOf(object), Live: concerned(object, identifying(object))})
			}
		}
	}
	return pruned, errors.Join(errs...)
}

// identifying are the fields by which an object is known.
func identifying(object *unstructured.Unstructured) map[string]any {
	known := map[string]any{"name": object.GetName()}
	if object.GetNamespace() != "" {
		known["namespace"] = object.GetNamespace()
	}
	return map[string]any{"apiVersion": object.GetAPIVersion(), "kind": object.GetKind(), "metadata": known}
}

// concerned is what of a live object an apply of desired is about.
func concerned(live *unstructured.Unstructured, desired map[string]any) map[string]any {
	entries := live.GetManagedFields()
	ours := ownedFields(entries, live.GetAPIVersion())
	if ours == nil {
		ours = &fieldpath.Set{}
	}
	return ownership{ours: ours, all: everyonesFields(entries)}.fields(desired, live.Object)
}

// everyonesFields are those that any manager owns: they tell which lists and maps the
// server takes apart.
func everyonesFields(entries []metav1.ManagedFieldsEntry) *fieldpath.Set {
	all := &fieldpath.Set{}
	for _, entry := range entries {
		if entry.FieldsV1 == nil {
			continue
		}
		one := &fieldpath.Set{}
		if err := one.FromJSON(entry.FieldsV1.GetRawReader()); err == nil {
			all = all.Union(one)
		}
	}
	return all
}

// ownership of the fields below a place in an object.
type ownership struct{ ours, all *fieldpath.Set }

// below is the ownership of what lies below one element.
func (o ownership) below(element fieldpath.PathElement) ownership {
	return ownership{ours: o.ours.WithPrefix(element), all: o.all.WithPrefix(element)}
}

// owns reports whether we own the element or anything below it.
func (o ownership) owns(element fieldpath.PathElement) bool {
	_, below := o.ours.Children.Get(element)
	return below || o.ours.Members.Has(element)
}

// isWhole reports whether the element is owned as a whole, and nothing below it.
func (o ownership) isWhole(element fieldpath.PathElement) bool {
	_, apart := o.all.Children.Get(element)
	return !apart && o.all.Members.Has(element)
}

// fields of a live map that desired has too or that we own.
func (o ownership) fields(desired, live map[string]any) map[string]any {
	found := map[string]any{}
	for name, current := range live {
		element := fieldpath.PathElement{FieldName: &name}
		wanted, has := desired[name]
		if has || o.owns(element) {
			found[name] = o.value(element, wanted, current)
		}
	}
	return found
}

func (o ownership) value(element fieldpath.PathElement, desired, live any) any {
	if o.isWhole(element) {
		return live
	}
	below := o.below(element)
	switch live := live.(type) {
	case map[string]any:
		wanted, is := desired.(map[string]any)
		if is || desired == nil {
			return below.fields(wanted, live)
		}
	case []any:
		wanted, is := desired.([]any)
		if apart := elements(below.all); (is || desired == nil) && len(apart) > 0 {
			return below.items(apart, wanted, live)
		}
	}
	return live
}

// items of a live list that the server takes apart: those that desired has too, in its
// order, and then those that we own.
func (o ownership) items(apart []fieldpath.PathElement, desired, live []any) []any {
	found := []any{}
	left := slices.Clone(apart)
	for _, wanted := range desired {
		at := slices.IndexFunc(left, func(element fieldpath.PathElement) bool { return names(element, wanted, true) })
		if at < 0 {
			continue
		}
		found = append(found, o.named(left[at], wanted, live)...)
		left = slices.Delete(left, at, at+1)
	}
	for _, element := range left {
		if o.owns(element) {
			found = append(found, o.named(element, nil, live)...)
		}
	}
	return found
}

// named is the live item that the element means, if there is one.
func (o ownership) named(element fieldpath.PathElement, desired any, live []any) []any {
	at := slices.IndexFunc(live, func(item any) bool { return names(element, item, false) })
	if at < 0 {
		return nil
	}
	return []any{o.value(element, desired, live[at])}
}
