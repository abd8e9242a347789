package reconciler

import (
	"context"
	"fmt"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
)

// turn is one turn of a domain's loop: what it works with, and what it found and
// did.
type turn struct {
	*Reconciler
	domain *v1alpha1.TrustDomain
	memory *memory
	now    time.Time
	// calm: nothing moved and nothing is due since the last turn, which came to its
	// end. Unless Git says otherwise, there is nothing to do.
	calm bool

	// revision that was pulled, and its signer; empty if the pull failed.
	revision, signer string
	// heads of the branches, if all of them were pulled, and the names of those that were.
	heads  heads
	pulled []string
	// applied is the revision whose target was applied; empty if none was.
	applied string
	// standing is the last good revision that stays in force in a failed one's place.
	standing string
	// foreign is what was last seen to belong to another TrustDomain.
	foreign []string
	// quiet: there was nothing to do.
	quiet bool
	// plan that was made, if there is one, and what it was made from.
	plan     *planner.Plan
	observed planner.Observed
	// kinds that the domain has objects of, once they were applied.
	kinds  []string
	result Result
	// acted are the actions that wrote something.
	acted []planner.Action
	// recorded are the files of keys and links that Git newly remembers.
	recorded []string
	// again: the record in Git is another now, and is to be read at once.
	again bool
	// learned: the gates are others than the plan was made from, so the next plan may be
	// another one, though nothing moved.
	learned bool
	// warnings of the documents, and those of the policies about the latest manifests.
	warnings, unwise []string
	// work of the device lane, and what of it was refused; keeping: the last good snapshot
	// stands in for the head.
	work    inventory.Work
	keeping bool
}

// run takes the turn. Its error says why the turn did not come to its end.
func (t *turn) run(ctx context.Context) error {
	if err := validateSpec(t.domain.Spec); err != nil {
		return failed(ReasonInvalidSpec, err)
	}
	if err := t.pull(ctx); err != nil {
		return t.stand(ctx, err)
	}
	if t.calm && t.memory.revision == t.revision && t.memory.recordRevision == t.heads.recordRevision() {
		t.quiet = true
		return nil
	}
	loaded, err := t.read(ctx)
	if err != nil {
		return t.stand(ctx, err)
	}
	return t.advance(ctx, loaded)
}

// advance carries out the next step of what loaded declares, if there is any.
func (t *turn) advance(ctx context.Context, loaded Loaded) error {
	prune := t.domain.Spec.Prune
	plan, err := t.planned(ctx, t.Client, loaded.Desired())
	if err != nil {
		return err
	}
	if t.probe(ctx, plan) {
		if plan, err = t.planned(ctx, t.Client, loaded.Desired()); err != nil {
			return err
		}
	}
	if !t.asks(plan) && t.inForce(ctx, loaded, plan, prune) {
		t.memory.problem = "" // there is nothing to record any more
		return nil
	}
	if plan, err = t.plannedAgain(ctx, loaded.Desired()); err != nil {
		return err
	}
	manifests, err := t.rendered(loaded, plan)
	if err != nil {
		return err
	}
	if err := t.apply(ctx, manifests, prune); err != nil {
		return err
	}
	if err := t.act(ctx, plan); err != nil {
		return err
	}
	if err := t.tend(ctx); err != nil {
		return err
	}
	return both(t.refused(), t.writeBack(ctx, plan))
}

// both joins two failures; the first one's reason is the turn's.
func both(first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return fmt.Errorf("%w; and %w", first, second)
}

// stand keeps the last good snapshot in force, because of cause: see the
// package's comment. It returns cause, and what went wrong beside it.
func (t *turn) stand(ctx context.Context, cause error) error {
	if t.memory.loaded == nil {
		return cause
	}
	if err := t.keep(ctx, t.memory.loaded); err != nil {
		return fmt.Errorf("%w; and revision %s could not be kept in force: %w", cause, t.memory.loadedRevision(), err)
	}
	t.standing = t.memory.loadedRevision()
	return cause
}

// keep repairs drift from what loaded declares, and nothing more.
func (t *turn) keep(ctx context.Context, loaded Loaded) error {
	const prune = false
	t.keeping = true
	plan, err := t.planned(ctx, t.Client, loaded.Desired())
	if err != nil || plan.Decisive || t.inForce(ctx, loaded, plan, prune) {
		return err
	}
	if plan, err = t.plannedAgain(ctx, loaded.Desired()); err != nil || plan.Decisive {
		return err
	}
	manifests, err := t.rendered(loaded, plan)
	if err != nil {
		return err
	}
	if err := t.apply(ctx, manifests, prune); err != nil {
		return err
	}
	return t.tend(ctx) // renewals go on, whatever becomes of the repository
}

// ref names the domain.
func (t *turn) ref() planner.Ref {
	return planner.Ref{Namespace: t.domain.Namespace, Name: t.domain.Name}
}
