package reconciler

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

var fleet = types.NamespacedName{Namespace: "plant", Name: "fleet"}

// delayed is a queue that notes how long what is added has to wait.
type delayed struct {
	queue
	after []time.Duration
}

func (d *delayed) AddAfter(_ reconcile.Request, after time.Duration) {
	d.after = append(d.after, after)
}

// Of a flood there comes a turn at once and one a second from then on, each of which begins
// after what was asked for.
func TestAFloodAsksForOneTurnASecond(t *testing.T) {
	w := newWorld(t)
	queued := &delayed{}
	if w.reconciler.Ask(fleet) {
		t.Error("a turn was promised before the controller has started")
	}
	if err := w.reconciler.asking.listen(t.Context(), queued); err != nil {
		t.Fatal(err)
	}
	var at []time.Duration // since the epoch, of the turns
	for range 250 {        // in 2.5 seconds
		before := len(queued.after)
		if !w.reconciler.Ask(fleet) {
			t.Fatal("no turn was promised")
		}
		for _, after := range queued.after[before:] {
			at = append(at, w.now.Sub(epoch)+after)
		}
		w.now = w.now.Add(10 * time.Millisecond)
	}
	if want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("turns come after %v, want %v", at, want)
	}
	if !w.reconciler.Ask(types.NamespacedName{Namespace: "mill", Name: "fleet"}) || queued.after[len(queued.after)-1] != 0 {
		t.Errorf("another domain's turn comes after %s", queued.after)
	}
}

func TestNoTurnIsPromisedAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := w.reconciler.asking.listen(ctx, &delayed{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if w.reconciler.Ask(fleet) {
		t.Error("a turn was promised after the controller has ended")
	}
}

// A commit is read as soon as a turn is asked for, long before the interval is over.
func TestATurnThatIsAskedForComesBeforeTheInterval(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Now = time.Now
	pulled := make(chan string, 10)
	w.reconciler.Parts.Source = telling{w, pulled}
	turns, err := controller.NewUnmanaged("asked", controller.Options{Reconciler: w.reconciler, SkipNameValidation: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	if err := turns.Watch(source.Func(w.reconciler.asking.listen)); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	if err := turns.Watch(source.Func(func(context.Context, queue) error { close(started); return nil })); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- turns.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-started
	for _, revision := range []string{"main@sha1:aaaa", "main@sha1:bbbb"} {
		w.revision = revision // no turn is under way
		for !w.reconciler.Ask(fleet) {
			time.Sleep(time.Millisecond) // the sources start side by side
		}
		select {
		case got := <-pulled:
			if got != revision {
				t.Errorf("the turn pulled %s, want %s", got, revision)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s was not pulled, and the interval is %s", revision, w.domain().Spec.Interval.Duration)
		}
	}
}

// telling tells what is pulled.
type telling struct {
	*world
	pulled chan<- string
}

func (s telling) Pull(ctx context.Context, from Branch, after After) (Snapshot, error) {
	snapshot, err := s.world.Pull(ctx, from, after)
	s.pulled <- snapshot.Revision()
	return snapshot, err
}

// What a person changes in a TrustDomain to ask for a turn brings one at once; what the
// controller itself changes does not.
func TestWhatAPersonAsksForBringsATurn(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.TrustDomain)
		want   bool
	}{
		"the spec": {func(d *v1alpha1.TrustDomain) { d.Generation++ }, true},
		"now":      {func(d *v1alpha1.TrustDomain) { d.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "1"} }, true},
		"a revision accepted": {func(d *v1alpha1.TrustDomain) {
			d.Annotations = map[string]string{v1alpha1.AnnotationAcceptRevision: headB}
		}, true},
		"another annotation": {func(d *v1alpha1.TrustDomain) { d.Annotations = map[string]string{"team": "pki"} }, false},
		"the status":         {func(d *v1alpha1.TrustDomain) { d.Status.LastAppliedRevision = headB }, false},
	} {
		t.Run(name, func(t *testing.T) {
			after := newDomain()
			test.change(after)
			if got := asks().Update(event.UpdateEvent{ObjectOld: newDomain(), ObjectNew: after}); got != test.want {
				t.Errorf("brings a turn: %t", got)
			}
		})
	}
	if !asks().Create(event.CreateEvent{Object: newDomain()}) {
		t.Error("a new TrustDomain has no turn")
	}
}
