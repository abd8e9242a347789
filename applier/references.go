package applier

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// references are the fields that Git says shall name a binding's issuer: each object is asked
// for at the API server by its name, once.
func (w *world) references(ctx context.Context) ([]planner.Reference, error) {
	objects := map[planner.Field]*unstructured.Unstructured{}
	var references []planner.Reference
	for _, binding := range w.desired.Bindings {
		for _, declared := range binding.Spec.References {
			field := planner.FieldOf(declared)
			reference := planner.Reference{Issuer: planner.BindingRef(binding), Field: field}
			whole := field
			whole.Path = ""
			object, read := objects[whole]
			if !read {
				var err error
				if object, reference.Problem, err = w.referrer(ctx, field); err != nil {
					return nil, err
				}
			}
			if object != nil {
				objects[whole] = object
				readReference(&reference, object)
			}
			references = append(references, reference)
		}
	}
	return references, nil
}

// referrer is the object that a field is in; nil, and why, if it is not there or may not be
// read. That concerns what waits for the field, and nothing else: it is no Unknown.
func (w *world) referrer(ctx context.Context, field planner.Field) (object *unstructured.Unstructured, problem string, err error) {
	object = &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.FromAPIVersionAndKind(field.APIVersion, field.Kind))
	switch err := w.direct().Get(ctx, objectKey(field.Object), object); {
	case meta.IsNoMatchError(err):
		return nil, fmt.Sprintf("the cluster serves no %s of %s: install its definition, or take the reference out", field.Kind, field.APIVersion), nil
	case apierrors.IsNotFound(err):
		return nil, "there is no such object: make it, or take the reference out", nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Sprintf("it may not be read: %v; grant get on it, as config/rbac/references does", err), nil
	case err != nil:
		return nil, "", fmt.Errorf("get %s, which is to name an issuer: %w; the next turn asks again: if it stays so, see how the API server is", field, err)
	}
	return object, "", nil
}

// readReference reads the field of an object, what stands beside it, and whose it is.
func readReference(reference *planner.Reference, object *unstructured.Unstructured) {
	path, err := v1alpha1.ParseFieldPath(reference.Field.Path)
	if err != nil {
		reference.Problem = fmt.Sprintf("its path %v: mend it in Git", err)
		return
	}
	value, found := path.In(object.Object)
	name, isText := value.(string)
	switch {
	case !found:
		reference.Problem = "the object has no such field: mend the path, or take the reference out"
		return
	case !isText || name == "":
		reference.Problem = "the field holds no name: mend the path, or take the reference out"
		return
	}
	reference.Value = name
	if path[len(path)-1].Name == "name" {
		reference.IssuerKind, reference.IssuerGroup = textBeside(path, "kind", object), textBeside(path, "group", object)
	}
	reference.Owner = writerOf(path, object)
}

func textBeside(path v1alpha1.FieldPath, name string, object *unstructured.Unstructured) string {
	value, _ := path.Beside(name).In(object.Object)
	text, _ := value.(string)
	return text
}

// writerOf is who would put the field back if it were changed: a controller that owns the
// object, or a field manager that is no person; empty if there is none.
func writerOf(path v1alpha1.FieldPath, object *unstructured.Unstructured) string {
	if owner := metav1.GetControllerOfNoCopy(object); owner != nil {
		return fmt.Sprintf("its owner, %s %s,", owner.Kind, owner.Name)
	}
	var managers []string
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource == "" && entry.FieldsV1 != nil && !isPerson(entry) && owns(entry, path, object) {
			managers = append(managers, fmt.Sprintf("%q", entry.Manager))
		}
	}
	if len(managers) == 0 {
		return ""
	}
	slices.Sort(managers)
	return "field manager " + strings.Join(slices.Compact(managers), ", ")
}

// isPerson reports whether a field manager is somebody at a keyboard, or this program by a
// patch, and not a loop that writes again and again. What reanchor itself applies stands in
// the repository, and is changed there.
func isPerson(entry metav1.ManagedFieldsEntry) bool {
	if entry.Manager == v1alpha1.FieldManager {
		return entry.Operation == metav1.ManagedFieldsOperationUpdate
	}
	return entry.Manager == "kubectl" || strings.HasPrefix(entry.Manager, "kubectl-")
}

// owns reports whether an entry of managedFields covers a field; what cannot be understood
// is taken to.
func owns(entry metav1.ManagedFieldsEntry, path v1alpha1.FieldPath, object *unstructured.Unstructured) bool {
	set := &fieldpath.Set{}
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return true
	}
	var at any = object.Object
	for i, step := range path {
		element, found := elementOf(set, step, at)
		if !found {
			return false
		}
		within, apart := set.Children.Get(element)
		if !apart || i == len(path)-1 {
			return true // the field itself, or a list or a structure that is owned as a whole
		}
		set = within
		at, _ = path[i : i+1].In(at)
	}
	return false
}

// elementOf is the element of a set that a step of a path leads into.
func elementOf(set *fieldpath.Set, step v1alpha1.FieldStep, at any) (fieldpath.PathElement, bool) {
	item, is := v1alpha1.FieldPath{step}.In(at)
	if !is {
		return fieldpath.PathElement{}, false
	}
	for _, element := range elements(set) {
		switch {
		case step.Name != "" && element.FieldName != nil && *element.FieldName == step.Name,
			step.Name == "" && element.Index != nil && *element.Index == step.Index,
			step.Name == "" && element.FieldName == nil && element.Index == nil && names(element, item, false):
			return element, true
		}
	}
	return fieldpath.PathElement{}, false
}

// repoint sets one field of somebody else's object, if it still names what the plan was made
// from: the patch tests that, and changes nothing else. What the API server refuses is told
// and not repeated at once.
func (a *Applier) repoint(ctx context.Context, action planner.Action) (Outcome, error) {
	path, err := v1alpha1.ParseFieldPath(action.Field.Path)
	if err != nil {
		return Outcome{}, fmt.Errorf("the path %s %w; mend it in Git", action.Field.Path, err)
	}
	patch, err := json.Marshal([]map[string]string{
		{"op": "test", "path": path.Pointer(), "value": action.From},
		{"op": "replace", "path": path.Pointer(), "value": action.To},
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("write the patch: %w", err)
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.FromAPIVersionAndKind(action.Field.APIVersion, action.Field.Kind))
	object.SetNamespace(action.Subject.Namespace)
	object.SetName(action.Subject.Name)
	switch err := a.Writer.Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(v1alpha1.FieldManager)); {
	case err == nil:
		return Outcome{Done: true, Detail: fmt.Sprintf("%s names %q now", action.Field, action.To)}, nil
	case apierrors.IsNotFound(err):
		return Outcome{Detail: "the object is gone"}, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsConflict(err), apierrors.IsBadRequest(err):
		return Outcome{Refused: err.Error(), Detail: "the API server refused it"}, nil
	default:
		return Outcome{}, fmt.Errorf("set the field: %w; the next turn tries again", err)
	}
}
