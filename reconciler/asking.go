package reconciler

import (
	"context"
	"sync"
	"time"

	"github.com/fluxcd/pkg/runtime/predicates"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// asks passes the changes of a TrustDomain by which a person asks for a turn: its spec, and
// the annotations that say "now" and "this revision will do".
func asks() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicates.ReconcileRequestedPredicate{}, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, // the first one's say
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			const key = v1alpha1.AnnotationAcceptRevision
			return e.ObjectOld.GetAnnotations()[key] != e.ObjectNew.GetAnnotations()[key]
		},
	})
}

// betweenAsked is the shortest time between two turns of a domain that were asked for
// from outside.
const betweenAsked = time.Second

// asking gives domains turns for what no watch of the controller's tells. Its zero value
// waits for the controller to start.
type asking struct {
	mu    sync.Mutex
	ctx   context.Context // of the controller's run
	queue queue
	turns map[types.NamespacedName]time.Time // that were asked for last
}

// listen is the source of events that the controller starts.
func (a *asking) listen(ctx context.Context, queue queue) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ctx, a.queue, a.turns = ctx, queue, map[types.NamespacedName]time.Time{}
	return nil
}

// started returns what listen was given; nil before.
func (a *asking) started() (context.Context, queue) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ctx, a.queue
}

// Ask gives a domain a turn at once, or a second after the last one that was asked for: of
// a flood of calls there comes one turn each second. It is false while the controller has
// no turns, since it is about to start or since another one leads.
func (r *Reconciler) Ask(domain types.NamespacedName) bool {
	a := &r.asking
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queue == nil || a.ctx.Err() != nil {
		return false
	}
	now, last := r.Now(), a.turns[domain]
	if now.Before(last) {
		return true // that one is still to come
	}
	next := now
	if earliest := last.Add(betweenAsked); next.Before(earliest) {
		next = earliest
	}
	a.turns[domain] = next
	a.queue.AddAfter(reconcile.Request{NamespacedName: domain}, next.Sub(now))
	return true
}

// forget a domain that is gone.
func (a *asking) forget(domain types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.turns, domain)
}
