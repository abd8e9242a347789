package applier

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// An issuer or a Bundle that reanchor did not make is taken over if its document asks for
// it, and if it is already what it would be rendered as:
//
//	the object is …                           what is applied
//	not asked for                             nothing: a Conflict that names it
//	asked for, and not as rendered            nothing: a Conflict that says what differs
//	asked for, and as rendered                labels and annotations alone
//	adopted, and still as rendered            labels and annotations alone
//	adopted, and to be changed by a rollover  all of it, whoever owned the fields before
//	adopted, and changed so                   all of it; who changes a field then is a Conflict
//	adopted, and not among the manifests      nothing: its labels are taken off

// isAdopted reports whether the object was taken over once.
func isAdopted(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[v1alpha1.AnnotationAdopted] == v1alpha1.Adopt
}

// withoutAsking takes the annotation off by which a manifest asks for what stands in its
// place, and reports whether it did.
func withoutAsking(desired *unstructured.Unstructured) bool {
	annotations := desired.GetAnnotations()
	asked := annotations[v1alpha1.AnnotationAdopt] == v1alpha1.Adopt
	delete(annotations, v1alpha1.AnnotationAdopt)
	if len(annotations) == 0 {
		annotations = nil
	}
	desired.SetAnnotations(annotations)
	return asked
}

// isSomebodys reports whether what stands in the place of a binding's issuer or of a Bundle
// was not made by reanchor. One of reanchor's whose labels somebody took off is known by
// the fields that reanchor owns; one that was adopted is somebody's for ever.
func isSomebodys(current, desired *unstructured.Unstructured) bool {
	_, binding := desired.GetLabels()[v1alpha1.LabelBinding]
	_, bundle := desired.GetLabels()[v1alpha1.LabelBundle]
	if !binding && !bundle || isConfigMap(desired) {
		return false
	}
	_, labelled := ownerDomain(current)
	made := ownedFields(current.GetManagedFields(), desired.GetAPIVersion()) != nil
	return isAdopted(current) || !labelled && !made
}

// notAdoptable says why what is somebody's is left alone; empty if it may be taken over.
func notAdoptable(current, desired *unstructured.Unstructured, asked bool) string {
	if !asked {
		return fmt.Sprintf("is there already, and reanchor did not make it: annotate its document %s: %q to have it taken over as it is, or give it another name",
			v1alpha1.AnnotationAdopt, v1alpha1.Adopt)
	}
	if differs := difference(current, desired); differs != "" {
		return "is not taken over, for it is not yet as its document says: " + differs + "; make the two alike, or give it another name"
	}
	return ""
}

// asAdopted is what is applied to an object that was taken over, or is just now: its
// metadata, for as long as the object is what it shall be and reanchor has never changed
// more; then all of it. The change takes the fields from whoever owned them before.
func asAdopted(current, desired *unstructured.Unstructured) (*unstructured.Unstructured, []client.ApplyOption) {
	whole := desired.DeepCopy()
	annotations := whole.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationAdopted] = v1alpha1.Adopt
	whole.SetAnnotations(annotations)
	switch {
	case ownsSpec(current, desired.GetAPIVersion()):
		return whole, nil
	case difference(current, desired) != "":
		return whole, []client.ApplyOption{client.ForceOwnership}
	}
	unstructured.RemoveNestedField(whole.Object, "spec")
	return whole, nil
}

// ownsSpec reports whether reanchor has applied the object's spec before.
func ownsSpec(current *unstructured.Unstructured, version string) bool {
	owned := ownedFields(current.GetManagedFields(), version)
	if owned == nil {
		return false
	}
	for _, element := range elements(owned) {
		if element.FieldName != nil && *element.FieldName == "spec" {
			return true
		}
	}
	return false
}

// difference says in what an object that is there is not what it would be rendered as;
// empty if it is. What it has beyond that is no difference.
func difference(current, desired *unstructured.Unstructured) string {
	if desired.GroupVersionKind().GroupKind() == bundleKind.GroupKind() {
		return differenceOfBundles(current, desired)
	}
	is, err := json.Marshal(current.Object["spec"])
	if err != nil {
		return "its spec cannot be read"
	}
	shall, err := json.Marshal(desired.Object["spec"])
	if err != nil || !planner.SpecHolds(string(is), string(shall)) {
		return "its spec is another"
	}
	return ""
}

// differenceOfBundles compares which anchors go where: how their PEM is wrapped, ordered or
// spread over sources makes no difference.
func differenceOfBundles(current, desired *unstructured.Unstructured) string {
	is, err := bundleOf(current)
	if err != nil {
		return err.Error()
	}
	shall, err := bundleOf(desired)
	if err != nil {
		return err.Error()
	}
	undefault(&is.Target, shall.Target)
	switch {
	case !is.Anchors.Equal(shall.Anchors):
		return fmt.Sprintf("it holds %d anchors, of which %d are among the %d that it should hold", len(is.Anchors), len(is.Anchors.Common(shall.Anchors)), len(shall.Anchors))
	case is.UseDefaultCAs != shall.UseDefaultCAs:
		return "spec.useDefaultCAs is not what its sources say"
	case !equality.Semantic.DeepEqual(is.Target, shall.Target):
		return "its target is another"
	}
	return ""
}

// release takes reanchor's labels off an object that was taken over once, and what it
// remembered of its content, but for the annotation that tells where it came from.
func (t *turn) release(ctx context.Context, object *unstructured.Unstructured) error {
	if t.dryRun {
		return nil
	}
	labels := map[string]any{}
	for label := range object.GetLabels() {
		if strings.HasPrefix(label, v1alpha1.GroupVersion.Group+"/") {
			labels[label] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": object.GetResourceVersion(),
		"labels":          labels,
		"annotations":     map[string]any{v1alpha1.AnnotationCertificates: nil, v1alpha1.AnnotationSignsWith: nil},
	}})
	if err != nil {
		return fmt.Errorf("take its labels off: %w", err)
	}
	err = t.Writer.Patch(ctx, object.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("take its labels off: %w; grant patch on it", err)
	}
	return nil
}
