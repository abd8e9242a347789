package reconciler

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/planner"
)

// asks reports whether a plan is known to have something to write before it is
// rendered.
func (t *turn) asks(plan planner.Plan) bool {
	return plan.Decisive || len(plan.Actions) > 0 || t.hasToRecord(plan)
}

// inForce reports whether the cluster holds what a plan's target is rendered to, as
// the cache knows it: then nothing is to be written. What cannot be rendered, is denied,
// belongs to another TrustDomain or cannot be compared is not in force either: the cache
// may be at fault, and only what is planned again fails the turn.
func (t *turn) inForce(ctx context.Context, loaded Loaded, plan planner.Plan, prune bool) bool {
	manifests, err := t.rendered(loaded, plan)
	if err != nil || len(t.foreign) > 0 {
		return false
	}
	cluster, err := t.cluster()
	if err != nil {
		return false
	}
	result, err := cluster.Apply(ctx, t.ref(), manifests, ApplyOptions{Prune: prune, Kinds: withKindsOf(t.domain.Status.Kinds, manifests), DryRun: true})
	if err != nil || len(result.Applied)+len(result.Pruned)+len(result.Released) > 0 || !t.work.Idle() {
		return false
	}
	t.wasApplied(result, manifests)
	return true
}

// apply writes the manifests. The kinds, and what the documents were let in by, are stored before the first object of a
// kind is written, so that a crash between the two leaves nothing that prune does
// not find.
func (t *turn) apply(ctx context.Context, manifests []*unstructured.Unstructured, prune bool) error {
	cluster, err := t.cluster()
	if err != nil {
		return err
	}
	status := *t.domain.Status.DeepCopy()
	status.Kinds = withKindsOf(status.Kinds, manifests)
	status.Plan = t.memory.letIn
	if err := t.patchStatus(ctx, status); err != nil {
		return failed(ReasonApplyFailed, err)
	}
	result, err := cluster.Apply(ctx, t.ref(), manifests, ApplyOptions{Prune: prune, Kinds: status.Kinds})
	if err != nil {
		t.result = result
		return t.notWritten(err)
	}
	t.wasApplied(result, manifests)
	return nil
}

// wasApplied notes that the manifests are in force, with result.
func (t *turn) wasApplied(result Result, manifests []*unstructured.Unstructured) {
	t.result, t.applied, t.kinds = result, t.memory.loadedRevision(), withKindsOf(result.Kinds, manifests)
}

func (t *turn) act(ctx context.Context, plan planner.Plan) error {
	if len(plan.Actions) == 0 {
		return nil
	}
	cluster, err := t.cluster()
	if err != nil {
		return err
	}
	t.acted, err = cluster.Act(ctx, t.ref(), plan.Actions, t.now)
	if err = t.memory.refused.note(err, t.now); err != nil {
		return t.notWritten(err)
	}
	return nil
}

// refused is the failure of a turn that had to leave fields or objects to others.
func (t *turn) refused() error {
	var taken error
	if len(t.result.Taken) > 0 {
		taken = failed(ReasonOwnedByAnother, fmt.Errorf("left as it is, though the repository declares it: %s", list(t.result.Taken)))
	}
	if len(t.result.Conflicts) == 0 {
		return taken
	}
	return both(taken, failed(ReasonApplyFailed, fmt.Errorf("somebody else owns what the repository declares: %s", list(t.result.Conflicts))))
}
