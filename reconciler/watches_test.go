package reconciler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// delays is a queue that notes what is added, and after how long.
type delays struct {
	queue
	added []string
}

func (d *delays) AddAfter(request reconcile.Request, after time.Duration) {
	d.added = append(d.added, fmt.Sprintf("%s after %s", request, after))
	slices.Sort(d.added)
}

func labelled(name, domain string) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Namespace: "plant", Name: name}
	if domain != "" {
		meta.Labels = map[string]string{v1alpha1.LabelDomainNamespace: "plant", v1alpha1.LabelDomainName: domain}
	}
	return meta
}

func TestWhatMovesBringsATurnToWhomItConcerns(t *testing.T) {
	fleet, mill := types.NamespacedName{Namespace: "plant", Name: "fleet"}, types.NamespacedName{Namespace: "mill", Name: "fleet"}
	both := []string{"mill/fleet after 500ms", "plant/fleet after 500ms"}
	for name, test := range map[string]struct {
		object client.Object
		want   []string
	}{
		"an issuer of a domain":         {&certmanager.Issuer{ObjectMeta: labelled("root", "fleet")}, both[1:]},
		"an issuer of nobody":           {&certmanager.Issuer{ObjectMeta: labelled("root", "")}, both},
		"a leaf, whoever made it":       {&certmanager.Certificate{ObjectMeta: labelled("leaf", "fleet")}, both},
		"a pod where a domain lives":    {&corev1.Pod{ObjectMeta: labelled("pod", "")}, both[1:]},
		"a workload nobody cares about": {&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "dns"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Reconciler{}
			r.memories.of(fleet).sees(planner.Observed{Copies: []planner.Copy{{Namespace: "plant"}}})
			r.memories.of(mill).sees(planner.Observed{Leaves: []planner.Leaf{{Ref: planner.Ref{Namespace: "mill", Name: "x"}}}})
			queued := &delays{}
			r.marks(affectsOf(t, test.object)).Create(t.Context(), event.CreateEvent{Object: test.object}, queued)
			if !slices.Equal(queued.added, test.want) {
				t.Errorf("queued %q, want %q", queued.added, test.want)
			}
			if moved := r.memories.of(fleet).moved.Load(); moved != slices.Contains(test.want, both[1]) {
				t.Errorf("the domain is marked: %t", moved)
			}
		})
	}
}

// affectsOf the watch on an object's kind.
func affectsOf(t *testing.T, object client.Object) affects {
	t.Helper()
	for _, w := range watches() {
		if fmt.Sprintf("%T", w.kind) == fmt.Sprintf("%T", object) {
			return w.affects
		}
	}
	t.Fatalf("%T is not watched", object)
	return nil
}

// Before a domain's first look everything matters to it.
func TestAnUnseenDomainCaresAboutEverything(t *testing.T) {
	if remembered := (&memory{}); !remembered.cares("anywhere") {
		t.Error("a domain that has not looked yet ignores a namespace")
	}
}

func TestPodsMoveOnlyInWhatMatters(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationBundleSHA256: "a"}}}
		p.Status.Phase = corev1.PodRunning
		change(p)
		return p
	}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"nothing":    {func(*corev1.Pod) {}, false},
		"its IP":     {func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" }, false},
		"its phase":  {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, true},
		"it goes":    {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: epoch} }, true},
		"annotation": {func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationBundleSHA256] = "b" }, true},
		"readiness": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := event.UpdateEvent{ObjectOld: pod(func(*corev1.Pod) {}), ObjectNew: pod(test.change)}
			if got := podMoved(e); got != test.want {
				t.Errorf("podMoved is %t, want %t", got, test.want)
			}
		})
	}
}

func TestPodsAreTrimmedInTheCache(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x", ManagedFields: []metav1.ManagedFieldsEntry{{}}}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady}}}
	if _, err := trimPod(pod); err != nil {
		t.Fatal(err)
	}
	if pod.ManagedFields != nil || pod.Status.PodIP != "" || pod.Status.Phase != corev1.PodRunning || len(pod.Status.Conditions) != 1 {
		t.Errorf("trimmed to %+v", pod)
	}
}

func TestSecretsAreNeverCached(t *testing.T) {
	if disabled := ClientOptions().Cache.DisableFor; !slices.ContainsFunc(disabled, func(o client.Object) bool { _, is := o.(*corev1.Secret); return is }) {
		t.Errorf("the cache is disabled for %v, want Secrets among them", disabled)
	}
	for _, w := range watches() {
		if _, is := w.kind.(*corev1.Secret); is {
			t.Error("Secrets are watched")
		}
	}
}
