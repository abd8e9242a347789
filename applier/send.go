package applier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// workers send objects of one kind side by side. An API server takes three times as many
// applies from 8 as from one, and fewer from 32.
const workers = 8

// applyAll writes what differs of the manifests: those of one kind that follow each other
// side by side, and such a group after the other. What became of them is told in their
// order, whichever was answered first.
func (t *turn) applyAll(ctx context.Context, manifests []*unstructured.Unstructured) error {
	var errs []error
	for start := 0; start < len(manifests); {
		kind, end := manifests[start].GroupVersionKind(), start+1
		for end < len(manifests) && manifests[end].GroupVersionKind() == kind {
			end++
		}
		if err := ctx.Err(); err != nil {
			errs = append(errs, fmt.Errorf("apply: %d objects were not looked at: %w; the next turn goes on", len(manifests)-start, err))
			break
		}
		errs = append(errs, t.applyGroup(ctx, manifests[start:end]))
		start = end
	}
	return errors.Join(errs...)
}

// An effect is what became of one object.
type effect struct {
	sent     bool
	applied  bool
	conflict *Conflict
	err      error
}

// applyGroup writes objects of one kind side by side.
func (t *turn) applyGroup(ctx context.Context, group []*unstructured.Unstructured) error {
	live := t.list(ctx, group[0].GroupVersionKind()) // once, before those who read it
	effects := make([]effect, len(group))
	sideBySide(ctx, workers, len(group), func(at int) { effects[at] = t.apply(ctx, live, group[at]) })
	return t.tell(ctx, group, effects)
}

// sideBySide does n things, at most so many at once. Once the context has ended, none is
// begun any more.
func sideBySide(ctx context.Context, atOnce, n int, do func(at int)) {
	var next atomic.Int64
	var pool sync.WaitGroup
	for range min(atOnce, n) {
		pool.Go(func() {
			for at := int(next.Add(1)) - 1; at < n && ctx.Err() == nil; at = int(next.Add(1)) - 1 {
				do(at)
			}
		})
	}
	pool.Wait()
}

// tell adds up what became of a group.
func (t *turn) tell(ctx context.Context, group []*unstructured.Unstructured, effects []effect) error {
	var errs []error
	unsent := 0
	for at, e := range effects {
		switch object := objectOf(group[at]); {
		case !e.sent:
			unsent++
		case e.err != nil:
			errs = append(errs, fmt.Errorf("apply %s: %w", object, e.err))
		case e.conflict != nil:
			t.result.Conflicts = append(t.result.Conflicts, *e.conflict)
		case e.applied:
			t.result.Applied = append(t.result.Applied, object)
		default:
			t.result.Unchanged++
		}
	}
	if unsent > 0 {
		errs = append(errs, fmt.Errorf("apply: %d objects were not sent: %w; the next turn goes on", unsent, ctx.Err()))
	}
	return errors.Join(errs...)
}

// apply writes one object if it differs from the live one.
func (t *turn) apply(ctx context.Context, live listing, manifest *unstructured.Unstructured) effect {
	if live.err != nil {
		return effect{sent: true, err: live.err}
	}
	desired, err := t.prepare(manifest)
	if err != nil {
		return effect{sent: true, err: err}
	}
	asked := withoutAsking(desired)
	current := live.objects[refOf(manifest)]
	var options []client.ApplyOption
	if current != nil && isAdopted(current) {
		desired, options = asAdopted(current, desired)
	}
	switch {
	case current != nil && upToDate(current, desired):
		return effect{sent: true}
	case t.dryRun:
		return effect{sent: true, applied: true}
	case current != nil:
		return t.send(ctx, desired, options...)
	}
	return t.take(ctx, desired, asked)
}

// send applies an object at the API server.
func (t *turn) send(ctx context.Context, desired *unstructured.Unstructured, options ...client.ApplyOption) effect {
	options = append(options, client.FieldOwner(v1alpha1.FieldManager))
	err := t.Writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(desired), options...)
	if conflict, is := conflictOf(objectOf(desired), err); is {
		return effect{sent: true, conflict: &conflict}
	}
	return effect{sent: true, applied: err == nil, err: err}
}

// take applies an object that is not among the domain's: one that is not there, or that
// the domain takes over. What is there is looked at first.
func (t *turn) take(ctx context.Context, desired *unstructured.Unstructured, asked bool) effect {
	release, err := t.Claims.take(ctx, objectOf(desired).identity())
	if err != nil {
		return effect{sent: true, err: err}
	}
	defer release()
	current, err := t.standing(ctx, desired)
	if err != nil {
		return effect{sent: true, err: err}
	}
	if current == nil {
		return t.send(ctx, desired)
	}
	taken, err := t.taken(ctx, current, desired, asked)
	if err != nil {
		return effect{sent: true, err: err}
	}
	if taken != "" {
		return effect{sent: true, conflict: &Conflict{Object: objectOf(desired), Taken: taken}}
	}
	if isSomebodys(current, desired) {
		desired, _ = asAdopted(current, desired)
	}
	return t.send(ctx, desired)
}

// standing is what stands in an object's place; nil if there is nothing.
func (t *turn) standing(ctx context.Context, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	current := &unstructured.Unstructured{}
	current.SetGroupVersionKind(desired.GroupVersionKind())
	err := t.Reader.Get(ctx, objectKey(refOf(desired)), current)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at what is there of that name: %w; grant get on it", err)
	}
	return current, nil
}

// taken says why what stands in an object's place may not be taken over; empty if it may.
func (t *turn) taken(ctx context.Context, current, desired *unstructured.Unstructured, asked bool) (string, error) {
	owner, other, err := t.owners.other(ctx, current)
	switch {
	case err != nil:
		return "", err
	case other:
		return belongsTo(owner), nil
	case isRendered(desired) && metav1.GetControllerOf(current) != nil:
		controller := metav1.GetControllerOf(current)
		return fmt.Sprintf("is made by %s %s: give it another name", controller.Kind, controller.Name), nil
	case isConfigMap(desired) && isOurCopy(desired) && !isOurCopy(current):
		return "was not made by reanchor: delete it once nobody needs it, or give the bundle another name", nil
	case isSomebodys(current, desired):
		return notAdoptable(current, desired, asked), nil
	}
	return "", nil
}

func isConfigMap(object *unstructured.Unstructured) bool {
	return object.GroupVersionKind().GroupKind() == schema.GroupKind{Kind: "ConfigMap"}
}

// isRendered reports whether reanchor renders the object itself, and it is no native
// manifest.
func isRendered(manifest *unstructured.Unstructured) bool {
	labels := manifest.GetLabels()
	for _, label := range []string{v1alpha1.LabelAuthority, v1alpha1.LabelBinding, v1alpha1.LabelBundle} {
		if _, has := labels[label]; has {
			return true
		}
	}
	return false
}
