package applier

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// othersFields are the fields in which an object differs from a manifest, and that another
// field manager owns: on those a server-side apply would conflict. They are sorted by path. A
// list counts as a whole, and belongs to whoever owns an item of it.
func othersFields(live *unstructured.Unstructured, desired map[string]any) []OwnedField {
	var found []OwnedField
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == v1alpha1.FieldManager || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		theirs := &fieldpath.Set{}
		if err := theirs.FromJSON(entry.FieldsV1.GetRawReader()); err == nil {
			found = append(found, contested(theirs, entry, "", desired, live.Object)...)
		}
	}
	slices.SortFunc(found, func(a, b OwnedField) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Manager, b.Manager))
	})
	return slices.Compact(found)
}

// contested are the fields below a path that differ and that are a manager's.
func contested(theirs *fieldpath.Set, entry metav1.ManagedFieldsEntry, path string, desired, live map[string]any) []OwnedField {
	var found []OwnedField
	for name, wanted := range desired {
		current, has := live[name]
		if !has || equal(wanted, current) {
			continue
		}
		at, element := path+"."+name, fieldpath.PathElement{FieldName: &name}
		below, isMap := wanted.(map[string]any)
		held, wasMap := current.(map[string]any)
		switch within, apart := theirs.Children.Get(element); {
		case apart && isMap && wasMap:
			found = append(found, contested(within, entry, at, below, held)...)
		case apart || theirs.Members.Has(element):
			found = append(found, OwnedField{Manager: entry.Manager, Path: at})
		}
	}
	return found
}
