package applier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// notOfDevices leaves out what belongs to the device lane: of a fleet's devices the planner
// sees counts alone.
var notOfDevices = client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(withoutLabel(v1alpha1.LabelDeviceGroup))}

func withoutLabel(label string) labels.Requirement {
	requirement, err := labels.NewRequirement(label, selection.DoesNotExist, nil)
	if err != nil {
		panic(fmt.Sprintf("the label %s: %v", label, err)) // a constant of ours
	}
	return *requirement
}

// DeviceChanges are what the device lane has found to differ from the cluster, by its watch:
// nothing is read to find that out again.
type DeviceChanges struct {
	// Apply are CertificateRequests to create, and Certificates to apply.
	Apply []*unstructured.Unstructured
	// Confirm are annotations to write on CertificateRequests.
	Confirm []Confirmed
	// Remove are objects to delete.
	Remove []client.Object
	// Discard are objects to delete that lie where the devices' objects are made no more, in a
	// namespace in which the account that writes may have no right any more: then they stay.
	Discard []client.Object
}

// Confirmed is the value of the annotation [v1alpha1.AnnotationConfirmed] of one
// CertificateRequest, or of one Certificate, and of no later one of its name. It follows from
// what the object said in the ResourceVersion: if that has moved on, nothing is written.
type Confirmed struct {
	Request         planner.Ref
	UID             types.UID
	ResourceVersion string
	Text            string
	Certificate     bool
}

// DeviceResult says what became of them.
type DeviceResult struct {
	// Written counts the objects that were applied, annotated or removed.
	Written int
	// Refused are those that the API server, or a webhook, does not take as they are, by
	// their place in Apply: the fault of a device alone.
	Refused map[int]string
	// Forbidden are those, by their place in Discard, that the account may not delete.
	Forbidden map[int]string
	// Outdated are the places in Confirm of objects that somebody has written since they were
	// read, or that are gone. They are to be looked at again once the watch tells of it.
	Outdated []int
}

// ChangeDevices writes what differs, side by side. One object that is refused keeps no other
// back. The error joins all failures that may be over the next time.
func (a *Applier) ChangeDevices(ctx context.Context, domain planner.Ref, changes DeviceChanges) (DeviceResult, error) {
	n := len(changes.Apply) + len(changes.Confirm) + len(changes.Remove) + len(changes.Discard)
	outcomes := make([]error, n)
	t := &turn{Applier: a, domain: domain, owners: newOwners(a.Reader, domain)}
	sideBySide(ctx, workers, n, func(at int) { outcomes[at] = t.changeDevice(ctx, changes, at) })
	result, errs := DeviceResult{Refused: map[int]string{}, Forbidden: map[int]string{}}, []error{ctx.Err()}
	for at, err := range outcomes {
		if err = result.take(changes, at, err); err != nil {
			errs = append(errs, err)
		}
	}
	return result, firstOf(errs)
}

// take what became of a change, and return what is an error of all of them.
func (r *DeviceResult) take(changes DeviceChanges, at int, err error) error {
	confirm := at - len(changes.Apply)
	discard := confirm - len(changes.Confirm) - len(changes.Remove)
	changed := apierrors.IsConflict(err) || apierrors.IsNotFound(err)
	switch {
	case err == nil:
		r.Written++
	case confirm < 0 && isRefusal(err):
		r.Refused[at] = err.Error()
	case confirm >= 0 && confirm < len(changes.Confirm) && changed:
		r.Outdated = append(r.Outdated, confirm)
	case confirm >= len(changes.Confirm) && changed: // who decides by the watch decides anew
	case discard >= 0 && apierrors.IsForbidden(err):
		r.Forbidden[discard] = err.Error()
	default:
		return err
	}
	return nil
}

// maxTold is how many failures an error tells of: a fleet may fail as a whole.
const maxTold = 10

func firstOf(errs []error) error {
	var told []error
	more := 0
	for _, err := range errs {
		switch {
		case err == nil:
		case len(told) < maxTold:
			told = append(told, err)
		default:
			more++
		}
	}
	if more > 0 {
		told = append(told, fmt.Errorf("and %d more", more))
	}
	return errors.Join(told...)
}

// changeDevice makes one of the changes.
func (t *turn) changeDevice(ctx context.Context, changes DeviceChanges, at int) error {
	if at < len(changes.Apply) {
		return t.applyDevice(ctx, changes.Apply[at])
	}
	if at -= len(changes.Apply); at < len(changes.Confirm) {
		return t.confirmDevice(ctx, changes.Confirm[at])
	}
	if at -= len(changes.Confirm); at < len(changes.Remove) {
		return t.deleteDevice(ctx, changes.Remove[at])
	}
	return t.deleteDevice(ctx, changes.Discard[at-len(changes.Remove)])
}

// deleteDevice deletes an object as it was read: none that was made in its place since, and
// none on which something was written since of what is known of its device.
func (t *turn) deleteDevice(ctx context.Context, object client.Object) error {
	uid, version := object.GetUID(), object.GetResourceVersion()
	read := client.Preconditions{UID: &uid}
	if version != "" {
		read.ResourceVersion = &version
	}
	err := t.Writer.Delete(ctx, object.DeepCopyObject().(client.Object), read, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s of a device: %w; grant delete on it", refOf(object), err)
	}
	return nil
}

// applyDevice writes an object. A CertificateRequest never changes, and its name follows from
// what it is: one that is there already is the one that is meant.
func (t *turn) applyDevice(ctx context.Context, manifest *unstructured.Unstructured) error {
	desired, err := t.prepare(manifest)
	if err != nil {
		return fmt.Errorf("%s: %w", objectOf(manifest), err)
	}
	if manifest.GetKind() == certmanagerv1.CertificateRequestKind {
		err = t.Writer.Create(ctx, desired, client.FieldOwner(v1alpha1.FieldManager))
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s: %w", objectOf(manifest), err)
		}
		return nil
	}
	current, err := t.standing(ctx, desired)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", objectOf(manifest), err)
	case current != nil && (!belongs(current, t.domain) || current.GetLabels()[v1alpha1.LabelDeviceGroup] != desired.GetLabels()[v1alpha1.LabelDeviceGroup]):
		return refusedDevice{objectOf(manifest).String() + " stands there already, and is not this device's: delete it once nobody needs it"}
	}
	e := t.send(ctx, desired)
	switch {
	case e.conflict != nil:
		return refusedDevice{e.conflict.String()}
	case e.err != nil:
		return fmt.Errorf("apply %s: %w", objectOf(manifest), e.err)
	}
	return nil
}

// refusedDevice is a refusal of our own.
type refusedDevice struct{ why string }

func (r refusedDevice) Error() string { return r.why }

// isRefusal reports whether the object itself is at fault. What the account may not do is not
// the object's; a webhook says both with the same code.
func isRefusal(err error) bool {
	if _, own := errors.AsType[refusedDevice](err); own {
		return true
	}
	webhook := strings.Contains(err.Error(), "admission webhook") && strings.Contains(err.Error(), "denied the request")
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) || webhook
}

// confirmDevice writes what is known of a device on one of its requests. The value is one that
// several processes merge, each from what it has read: with the version of that in the patch,
// the API server takes it from one of them, and answers Conflict to the others.
func (t *turn) confirmDevice(ctx context.Context, confirmed Confirmed) error {
	metadata := map[string]any{"uid": confirmed.UID, "annotations": map[string]string{v1alpha1.AnnotationConfirmed: confirmed.Text}}
	if confirmed.ResourceVersion != "" {
		metadata["resourceVersion"] = confirmed.ResourceVersion
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return fmt.Errorf("write the confirmation of %s: %w", confirmed.Request, err)
	}
	named := metav1.ObjectMeta{Namespace: confirmed.Request.Namespace, Name: confirmed.Request.Name}
	object, kind := client.Object(&certmanagerv1.CertificateRequest{ObjectMeta: named}), certmanagerv1.CertificateRequestKind
	if confirmed.Certificate {
		object, kind = &certmanagerv1.Certificate{ObjectMeta: named}, certmanagerv1.CertificateKind
	}
	if err := t.Writer.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("annotate %s %s: %w; grant patch on it", kind, confirmed.Request, err)
	}
	return nil
}
