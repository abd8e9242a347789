package reconciler

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

var gadgets = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "gadgets"}

// signal is a queue that tells of what is added.
type signal struct {
	queue
	added chan reconcile.Request
}

func (s signal) AddAfter(request reconcile.Request, _ time.Duration) { s.added <- request }

// want waits for a turn to be queued for the domain.
func (s signal) want(t *testing.T, because string) {
	t.Helper()
	select {
	case request := <-s.added:
		if request.NamespacedName != fleet {
			t.Errorf("%s: a turn of %s", because, request)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: no turn", because)
	}
}

// watching is a world whose controller has started, in a cluster that serves Gadgets.
type watching struct {
	*world
	queue  signal
	client *fake.FakeMetadataClient
	// begun has one for each watch on Gadgets that has begun.
	begun chan struct{}
}

func newWatching(t *testing.T) watching {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	v := watching{
		world: newWorld(t), queue: signal{added: make(chan reconcile.Request, 100)},
		client: fake.NewSimpleMetadataClient(scheme, gadget("mine", "fleet", 1)), begun: make(chan struct{}, 100),
	}
	v.client.PrependWatchReactor("gadgets", func(clienttesting.Action) (bool, apiwatch.Interface, error) {
		w, err := v.client.Tracker().Watch(gadgets, metav1.NamespaceAll)
		v.begun <- struct{}{}
		return true, w, err
	})
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(gadgets.GroupVersion().WithKind("Gadget"), meta.RESTScopeNamespace)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, meta.RESTScopeNamespace)
	v.reconciler.Metadata, v.reconciler.Mapper = v.client, mapper
	if err := v.reconciler.asking.listen(t.Context(), v.queue); err != nil {
		t.Fatal(err)
	}
	v.manifests = []*unstructured.Unstructured{manifest("example.com/v1", "Gadget")}
	v.result.Kinds = []string{"example.com/v1/Gadget"}
	return v
}

func gadget(name, domain string, generation int64) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Gadget"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "plant", Name: name, Generation: generation,
			Labels: map[string]string{v1alpha1.LabelDomainNamespace: "plant", v1alpha1.LabelDomainName: domain},
		},
	}
}

func (v watching) update(t *testing.T, object *metav1.PartialObjectMetadata) {
	t.Helper()
	if err := v.client.Tracker().Update(gadgets, object, "plant"); err != nil {
		t.Fatal(err)
	}
}

// watched are the kinds that are watched.
func (v watching) watched() []string {
	v.reconciler.drift.mu.Lock()
	defer v.reconciler.drift.mu.Unlock()
	var kinds []string
	for kind := range v.reconciler.drift.watched {
		kinds = append(kinds, kind)
	}
	return kinds
}

// What a domain has applied is watched from then on, whatever its kind.
func TestDriftOfANativeKindBringsATurn(t *testing.T) {
	v := newWatching(t)
	v.turn()
	v.queue.want(t, "a kind is watched for the first time")
	moved := func() bool { return v.reconciler.memories.of(fleet).moved.Swap(false) }
	if !moved() {
		t.Error("the domain is not marked: its next turn would look at nothing")
	}
	<-v.begun
	v.turn()
	if n := len(v.begun); n > 0 {
		t.Errorf("%d watches more on one kind", n)
	}

	v.update(t, gadget("mine", "fleet", 1)) // its status: not ours to mend
	edited := gadget("mine", "fleet", 2)
	v.update(t, edited)
	v.queue.want(t, "an object was edited")
	v.queue.want(t, "an object was edited") // what it was, and what it is
	if len(v.queue.added) > 0 {
		t.Error("a change of the status brought a turn")
	}
	if err := v.client.Tracker().Delete(gadgets, "plant", "mine"); err != nil {
		t.Fatal(err)
	}
	v.queue.want(t, "an object was deleted")
	if !moved() {
		t.Error("the domain is not marked")
	}
	if selector := v.client.Actions()[0].(clienttesting.ListActionImpl).ListOptions.LabelSelector; selector != v1alpha1.LabelDomainName {
		t.Errorf("listed by %q: all objects of the kind would come", selector)
	}
}

// A kind that goes away ends its watch; one that comes back is watched again.
func TestAKindThatIsGoneIsNotAskedForAgain(t *testing.T) {
	v := newWatching(t)
	gone := make(chan struct{}, 100)
	v.client.PrependReactor("list", "gadgets", func(clienttesting.Action) (bool, runtime.Object, error) {
		gone <- struct{}{}
		return true, nil, apierrors.NewNotFound(gadgets.GroupResource(), "")
	})
	v.turn()
	<-gone
	for len(v.watched()) > 0 {
		time.Sleep(time.Millisecond)
	}
	asked := len(v.client.Actions())
	v.client.ReactionChain = v.client.ReactionChain[1:]
	v.turn() // it is calm: nothing is applied
	if now := len(v.client.Actions()); now != asked {
		t.Errorf("a kind that is gone was asked for %d times more", now-asked)
	}
	v.reconciler.memories.of(fleet).moved.Store(true)
	v.turn()
	v.queue.want(t, "the kind is back")
}

// What no domain has any more is not watched, and a domain that is gone has nothing.
func TestAKindThatNoDomainHasIsNotWatched(t *testing.T) {
	v := newWatching(t)
	other := types.NamespacedName{Namespace: "plant", Name: "other"}
	watch := func(domain types.NamespacedName, want int, kinds ...string) {
		t.Helper()
		v.reconciler.watchKinds(domain, kinds)
		if got := v.watched(); len(got) != want {
			t.Errorf("watched %q", got)
		}
	}
	watch(fleet, 1, "example.com/v1/Gadget")
	watch(other, 1, "example.com/v1/Gadget")
	watch(fleet, 1, "v1/Secret")
	watch(other, 1) // its turn failed
	v.reconciler.drift.forget(other)
	if got := v.watched(); len(got) > 0 || len(v.reconciler.drift.kinds) != 1 {
		t.Errorf("watched %q for %v", got, v.reconciler.drift.kinds)
	}
	watch(fleet, 1, "example.com/v1/Gadget")
}

// What a watch says after another took its place does not end that one.
func TestALateErrorEndsNoOtherWatch(t *testing.T) {
	v := newWatching(t)
	const kind = "example.com/v1/Gadget"
	v.reconciler.watchKinds(fleet, []string{kind})
	first := v.reconciler.drift.watched[kind]
	v.reconciler.drift.end(kind, first)
	v.reconciler.watchKinds(fleet, []string{kind})
	v.reconciler.drift.end(kind, first)
	if got := v.watched(); len(got) != 1 {
		t.Errorf("watched %q", got)
	}
}

// Secrets are not watched, nor what is watched anyway, nor what the cluster does not know.
func TestWhatIsNotWatchedForDrift(t *testing.T) {
	v := newWatching(t)
	v.reconciler.watchKinds(fleet, append([]string{"example.com/v1/Unknown", "nonsense"}, watchedElsewhere...))
	if kinds := v.watched(); len(kinds) > 0 || len(v.client.Actions()) > 0 {
		t.Errorf("watched %q", kinds)
	}
	for _, kind := range watchedElsewhere {
		if kind == "v1/Secret" {
			continue
		}
		if !slices.ContainsFunc(watches(), func(w watch) bool {
			gvk, err := parseKind(kind)
			if err != nil {
				t.Fatal(err)
			}
			return kindOf(t, w) == gvk
		}) {
			t.Errorf("%s is not watched elsewhere", kind)
		}
	}
}

// kindOf a watch.
func kindOf(t *testing.T, w watch) schema.GroupVersionKind {
	t.Helper()
	if gvk := w.kind.GetObjectKind().GroupVersionKind(); !gvk.Empty() {
		return gvk
	}
	scheme := newScheme(t)
	if err := errors.Join(certmanager.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	kinds, _, err := scheme.ObjectKinds(w.kind)
	if err != nil {
		t.Fatal(err)
	}
	return kinds[0]
}

// A controller that may not watch a kind goes on: drift waits for whole turns.
func TestAKindThatMayNotBeWatchedHoldsUpNothing(t *testing.T) {
	v := newWatching(t)
	asked := make(chan struct{}, 100)
	v.client.PrependReactor("list", "gadgets", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked <- struct{}{}
		return true, nil, apierrors.NewForbidden(gadgets.GroupResource(), "", errors.New("no"))
	})
	v.turn()
	<-asked
	if ready := v.ready(); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %+v", ready)
	}
	if kinds := v.watched(); len(kinds) != 1 {
		t.Errorf("watched %q: once it may, it should go on", kinds)
	}
}

func TestWatchesEndWithTheController(t *testing.T) {
	v := newWatching(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := v.reconciler.asking.listen(ctx, v.queue); err != nil {
		t.Fatal(err)
	}
	cancel()
	v.reconciler.watchKinds(fleet, []string{"example.com/v1/Gadget"})
	if n := len(v.queue.added); n > 0 {
		t.Errorf("%d turns after the end", n)
	}
}

func TestParseKind(t *testing.T) {
	for _, kind := range []schema.GroupVersionKind{{Version: "v1", Kind: "ConfigMap"}, {Group: "cert-manager.io", Version: "v1", Kind: "Issuer"}} {
		if got, err := parseKind(KindName(kind)); err != nil || got != kind {
			t.Errorf("%s is read as %s (%v)", KindName(kind), got, err)
		}
	}
	for _, name := range []string{"", "ConfigMap", "a/b/c/d"} {
		if got, err := parseKind(name); err == nil {
			t.Errorf("%q is read as %s", name, got)
		}
	}
}
