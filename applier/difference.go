package applier

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// upToDate reports whether a server-side apply of desired would change nothing: the
// live object carries every desired field, we own each of them, and we own nothing
// else. What we own tells how the server takes the object apart, so no schema is
// needed: a field that is owned as a whole is compared as a whole.
//
// A field whose value the server rewrites ("1000m" to "1") is never up to date.
func upToDate(live, desired *unstructured.Unstructured) bool {
	owned := ownedFields(live.GetManagedFields(), desired.GetAPIVersion())
	return owned != nil && sameMap(owned, applicable(desired), live.Object)
}

// ownedFields are the fields of our latest apply; nil if there was none, or none in
// that version.
func ownedFields(entries []metav1.ManagedFieldsEntry, version string) *fieldpath.Set {
	at := slices.IndexFunc(entries, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == v1alpha1.FieldManager && e.Operation == metav1.ManagedFieldsOperationApply &&
			e.APIVersion == version && e.Subresource == ""
	})
	if at < 0 || entries[at].FieldsV1 == nil {
		return nil
	}
	owned := &fieldpath.Set{}
	if err := owned.FromJSON(entries[at].FieldsV1.GetRawReader()); err != nil {
		return nil
	}
	return owned
}

// applicable is what of an object can be owned: not its identity.
func applicable(object *unstructured.Unstructured) map[string]any {
	fields := object.DeepCopy().Object
	for _, identifying := range [][]string{{"apiVersion"}, {"kind"}, {"metadata", "name"}, {"metadata", "namespace"}} {
		unstructured.RemoveNestedField(fields, identifying...)
	}
	return fields
}

// same compares a value of which some fields are owned apart.
func same(owned *fieldpath.Set, desired, live any) bool {
	switch desired := desired.(type) {
	case map[string]any:
		live, is := live.(map[string]any)
		return is && sameMap(owned, desired, live)
	case []any:
		live, is := live.([]any)
		return is && sameList(owned, desired, live)
	}
	return equal(desired, live)
}

func sameMap(owned *fieldpath.Set, desired, live map[string]any) bool {
	for _, element := range elements(owned) {
		if element.FieldName == nil {
			return false
		}
		if _, wanted := desired[*element.FieldName]; !wanted {
			return false
		}
	}
	for name, wanted := range desired {
		current, has := live[name]
		if !has || !sameElement(owned, fieldpath.PathElement{FieldName: &name}, wanted, current) {
			return false
		}
	}
	return true
}

// sameElement compares what is owned under one element of a path.
func sameElement(owned *fieldpath.Set, element fieldpath.PathElement, desired, live any) bool {
	if within, apart := owned.Children.Get(element); apart {
		return same(within, desired, live)
	}
	return owned.Members.Has(element) && equal(desired, live)
}

// sameList compares a list whose items are owned one by one: by key, or by value in
// a set. The order is the server's.
func sameList(owned *fieldpath.Set, desired, live []any) bool {
	left := slices.Clone(desired)
	for _, element := range elements(owned) {
		at := slices.IndexFunc(left, func(item any) bool { return names(element, item, true) })
		current := slices.IndexFunc(live, func(item any) bool { return names(element, item, false) })
		if at < 0 || current < 0 || !sameElement(owned, element, left[at], live[current]) {
			return false
		}
		left = slices.Delete(left, at, at+1)
	}
	return len(left) == 0
}

// names reports whether a path's element means that item of a list. A desired item
// may lack a part of its key that the server fills in.
func names(element fieldpath.PathElement, item any, lenient bool) bool {
	if element.Value != nil {
		return value.Equals(*element.Value, value.NewValueInterface(item))
	}
	fields, is := item.(map[string]any)
	if !is || element.Key == nil {
		return false
	}
	return !slices.ContainsFunc(*element.Key, func(part value.Field) bool {
		own, has := fields[part.Name]
		if !has {
			return !lenient
		}
		return !value.Equals(part.Value, value.NewValueInterface(own))
	})
}

// elements are the first elements of all paths of a set, each once. They are
// collected because the library's own iterator does not bear to be left early.
func elements(set *fieldpath.Set) []fieldpath.PathElement {
	var found []fieldpath.PathElement
	set.Members.Iterate(func(element fieldpath.PathElement) { found = append(found, element) })
	set.Children.Iterate(func(element fieldpath.PathElement) {
		if !set.Members.Has(element) {
			found = append(found, element)
		}
	})
	return found
}

func equal(a, b any) bool {
	return value.Equals(value.NewValueInterface(a), value.NewValueInterface(b))
}
