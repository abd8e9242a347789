package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/runtime/controller"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// soon is how long a turn waits that lost a race, or whose plan is due at once.
const soon = time.Second

// Reconciler turns the loop of every TrustDomain.
type Reconciler struct {
	// Client reads from the manager's cache, but for Secrets, and writes the
	// status.
	Client client.Client
	// APIReader reads at the API server itself.
	APIReader client.Reader
	// Metadata watches the kinds that were applied, which Mapper finds; nil: their drift
	// is mended at whole turns only.
	Metadata metadata.Interface
	Mapper   apimeta.RESTMapper
	// Events tells what happened. It must not be nil.
	Events record.EventRecorder
	// Conditions are the gotk_ metrics; the zero value records none.
	Conditions controller.Metrics
	// Metrics are reanchor's own; nil records none.
	Metrics *Metrics
	// Now is the clock.
	Now func() time.Time
	// Parts of a turn.
	Parts Parts
	// Options of all turns.
	Options Options

	memories memories
	asking   asking
	drift    drift
	lanes    lanes
}

// Options of the controller.
type Options struct {
	// Concurrent is how many domains have their turns at once; 1 if it is 0. One
	// domain never has two.
	Concurrent int
	// DefaultServiceAccount, of a TrustDomain's own namespace, as which one is written that
	// names none; empty: as the controller itself.
	DefaultServiceAccount string
	// DisableEarlyExit makes every turn a whole one, for tests.
	DisableEarlyExit bool
}

// Reconcile gives a domain its turn and says when the next is due.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	domain := &v1alpha1.TrustDomain{}
	if err := r.Client.Get(ctx, request.NamespacedName, domain); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(ctx, request)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("get TrustDomain %s: %w", request, err)
	}
	if !domain.DeletionTimestamp.IsZero() {
		r.forget(ctx, request)
		return ctrl.Result{}, nil
	}
	r.Conditions.RecordSuspend(ctx, domain, domain.Spec.Suspend)
	if domain.Spec.Suspend {
		ctrl.LoggerFrom(ctx).Info("suspended: set spec.suspend to false to go on")
		return ctrl.Result{}, nil
	}
	return r.reconcile(ctx, domain, r.memories.of(request.NamespacedName))
}

// reconcile takes one turn of a domain and reports it.
func (r *Reconciler) reconcile(ctx context.Context, domain *v1alpha1.TrustDomain, remembered *memory) (ctrl.Result, error) {
	t := r.begin(ctx, domain, remembered)
	err := t.runInTime(ctx)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil // the program is ending; the next one begins anew
	}
	if errors.Is(err, errOutdated) {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	r.Metrics.turnTaken(t, err, r.Now().Sub(t.now))
	if t.quiet {
		t.memory.succeeded = true
		return t.next(nil), nil
	}
	if err := t.report(ctx, err); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return ctrl.Result{RequeueAfter: soon}, nil // the domain was changed meanwhile: look again
		}
		return ctrl.Result{}, err
	}
	t.remember(err)
	r.watchKinds(client.ObjectKeyFromObject(domain), t.kinds)
	return t.next(err), nil
}

// begin readies a turn. What moved before it begins is its own to see; what moves
// later is for the next.
func (r *Reconciler) begin(ctx context.Context, domain *v1alpha1.TrustDomain, remembered *memory) *turn {
	if remembered.settle(domain) && !hasOwnRecord(domain.Spec) {
		r.release(ctx, domain.Name, r.Parts.Source.ForgetRecord(planner.Ref{Namespace: domain.Namespace, Name: domain.Name}))
	}
	t := &turn{Reconciler: r, domain: domain, memory: remembered, now: r.Now()}
	requestedAt, asked := meta.ReconcileAnnotationValue(domain.Annotations)
	moved := remembered.moved.Swap(false)
	t.calm = !r.Options.DisableEarlyExit && !moved && remembered.succeeded &&
		remembered.generation == domain.Generation && domain.Status.ObservedGeneration == domain.Generation &&
		(!asked || requestedAt == domain.Status.LastHandledReconcileAt) &&
		acceptedBy(domain) == domain.Status.LastAcceptedRevision &&
		t.now.Before(remembered.due)
	if asked && requestedAt != domain.Status.LastHandledReconcileAt || remembered.generation != domain.Generation {
		remembered.pushAgain = time.Time{} // somebody may have mended what kept the record from being written
	}
	remembered.succeeded = false // until this turn has come to its end
	return t
}

// runInTime runs the turn for as long as spec.timeout allows.
func (t *turn) runInTime(ctx context.Context) error {
	timeout := timeoutOf(t.domain.Spec)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := t.run(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the turn took longer than spec.timeout, %s: raise it if this happens again", err, timeout)
	}
	return err
}

// remember tells the next turn how this one ended.
func (t *turn) remember(err error) {
	m := t.memory
	m.succeeded, m.generation = err == nil, t.domain.Generation
	m.revision, m.recordRevision = t.revision, t.heads.recordRevision()
	m.due = t.now.Add(wholeTurnEvery)
	if t.plan != nil && !t.plan.LookAgain.IsZero() && t.plan.LookAgain.Before(m.due) {
		m.due = t.plan.LookAgain
	}
	if due := t.work.Due; !due.IsZero() && due.Before(m.due) {
		m.due = due
	}
	if t.learned {
		m.due = t.now
	}
}

// next says when the domain has its next turn: after its interval, or when its plan
// says to look again, whichever is first.
func (t *turn) next(err error) ctrl.Result {
	if t.again {
		return ctrl.Result{RequeueAfter: soon}
	}
	if err != nil {
		if reasonOf(err) == ReasonInvalidSpec {
			return ctrl.Result{} // a new generation brings the next turn
		}
		return ctrl.Result{RequeueAfter: retryIntervalOf(t.domain.Spec)}
	}
	after := min(intervalOf(t.domain.Spec), t.memory.due.Sub(t.now))
	return ctrl.Result{RequeueAfter: max(after, soon)}
}

// report writes the status, if it changed, and tells what happened.
func (t *turn) report(ctx context.Context, err error) error {
	before := *t.domain.Status.DeepCopy()
	if err := t.patchStatus(ctx, statusAfter(t, err)); err != nil {
		return err
	}
	t.learned = !sameGates(before.Gates, t.domain.Status.Gates)
	for _, happened := range happenings(before, t, err) {
		happened.tell(t.Events, t.domain, cmp.Or(t.revision, t.standing))
	}
	t.Conditions.RecordDuration(ctx, t.domain, t.now)
	t.Conditions.RecordReadiness(ctx, t.domain)
	t.Conditions.RecordReconciling(ctx, t.domain)
	t.Conditions.RecordStalled(ctx, t.domain)
	t.Metrics.stands(t)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "turn failed", "reason", reasonOf(err), "revision", t.revision)
	}
	return nil
}

// sameGates reports whether two statuses hold the same gates, whenever they were opened: when
// time alone changes a plan, the plan says so itself.
func sameGates(before, after []v1alpha1.Gate) bool {
	return slices.EqualFunc(before, after, func(a, b v1alpha1.Gate) bool { return a.Name == b.Name })
}

// patchStatus sends what differs in the status, if anything does, provided that
// nobody changed the object since the turn read it.
func (t *turn) patchStatus(ctx context.Context, status v1alpha1.TrustDomainStatus) error {
	if equality.Semantic.DeepEqual(t.domain.Status, status) {
		return nil
	}
	before := t.domain.DeepCopy()
	t.domain.Status = status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := t.Client.Status().Patch(ctx, t.domain, patch, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("patch the status of TrustDomain %s: %w", t.ref(), err)
	}
	return nil
}

// release tells the log what could not be released: it is no reason to stop.
func (r *Reconciler) release(ctx context.Context, domain string, err error) {
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "a copy of a repository that is not needed any more is still there: remove it", "trustdomain", domain)
	}
}

// forget a domain that is gone, and let go of what was kept for it. Nothing else is removed
// from the cluster.
func (r *Reconciler) forget(ctx context.Context, request ctrl.Request) {
	r.memories.forget(request.NamespacedName)
	r.asking.forget(request.NamespacedName)
	r.drift.forget(request.NamespacedName)
	r.Parts.Dismiss(planner.Ref(request.NamespacedName))
	r.release(ctx, request.Name, r.Parts.Source.Forget(planner.Ref(request.NamespacedName)))
	r.Metrics.forget(request.Namespace, request.Name)
	gone := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{
		Namespace: request.Namespace, Name: request.Name,
		DeletionTimestamp: &metav1.Time{Time: r.Now()}, // by which the gotk_ metrics know
	}}
	r.Conditions.RecordSuspend(ctx, gone, false)
	r.Conditions.RecordDuration(ctx, gone, r.Now())
	r.Conditions.RecordReadiness(ctx, gone)
	r.Conditions.RecordReconciling(ctx, gone)
	r.Conditions.RecordStalled(ctx, gone)
}
