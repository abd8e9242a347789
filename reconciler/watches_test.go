package reconciler

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
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
		"an issuer of a domain":                    {&certmanager.Issuer{ObjectMeta: labelled("root", "fleet")}, both[1:]},
		"an issuer of nobody":                      {&certmanager.Issuer{ObjectMeta: labelled("root", "")}, both},
		"a leaf, whoever made it":                  {&certmanager.Certificate{ObjectMeta: labelled("leaf", "fleet")}, both},
		"a pod where a domain lives":               {&corev1.Pod{ObjectMeta: labelled("pod", "")}, both[1:]},
		"a bundle's copy":                          {&corev1.ConfigMap{ObjectMeta: labelled("trust", "")}, both[1:]},
		"a bundle without a copy":                  {&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "standing"}}, both[:1]},
		"some ConfigMap, and its copy's namespace": {&corev1.ConfigMap{ObjectMeta: labelled("settings", "fleet")}, nil},
		"a workload nobody cares about":            {&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "dns"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Reconciler{}
			r.memories.of(fleet).sees(planner.Observed{Copies: []planner.Copy{{Bundle: "trust", Namespace: "plant"}}})
			r.memories.of(mill).sees(planner.Observed{
				Leaves:  []planner.Leaf{{Ref: planner.Ref{Namespace: "mill", Name: "x"}}},
				Bundles: []planner.Bundle{{Name: "standing"}},
			})
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
	if remembered := (&memory{}); !remembered.cares("anywhere") || !remembered.distributes("anything") {
		t.Error("a domain that has not looked yet ignores a namespace or a bundle")
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

// beginning and end of a certificate are all that the cache looks at.
const certificate = beginCertificate + "\nMIIB\n-----END CERTIFICATE-----\n"

func TestConfigMapsAreTrimmedInTheCache(t *testing.T) {
	ours := map[string]string{v1alpha1.LabelBundle: "trust"}
	trustManagers := map[string]string{applier.LabelBundleCopy: "trust"}
	for name, test := range map[string]struct {
		labels       map[string]string
		data         map[string]string
		binary       map[string][]byte
		want         map[string]string
		wantKeystore bool
	}{
		"settings":                          {nil, map[string]string{"a": "b"}, map[string][]byte{"jar": {1}}, nil, false},
		"certificates":                      {nil, map[string]string{"a": "b", "ca.crt": "# Root\n" + certificate}, map[string][]byte{"ca.jks": {1}}, map[string]string{"ca.crt": "# Root\n" + certificate}, true},
		"another PEM":                       {nil, map[string]string{"key": "-----BEGIN PUBLIC KEY-----"}, nil, nil, false},
		"a copy of ours that is broken":     {ours, map[string]string{"ca.crt": "rubble"}, map[string][]byte{"x": {1}}, map[string]string{"ca.crt": "rubble"}, true},
		"trust-manager's that is broken":    {trustManagers, map[string]string{"ca.crt": "rubble"}, nil, map[string]string{"ca.crt": "rubble"}, false},
		"somebody's with a label of theirs": {map[string]string{applier.LabelBundleCopy: "other"}, map[string]string{"ca.crt": "rubble"}, nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			configMap := &corev1.ConfigMap{Data: test.data, BinaryData: test.binary, ObjectMeta: metav1.ObjectMeta{
				Name: "trust", UID: "u", ResourceVersion: "7", Labels: test.labels,
				Annotations:   map[string]string{v1alpha1.AnnotationCertificates: "aa", corev1.LastAppliedConfigAnnotation: "all of it again"},
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "somebody"}},
			}}
			trimmed, err := trimConfigMap(configMap)
			if err != nil {
				t.Fatal(err)
			}
			got := trimmed.(*corev1.ConfigMap)
			if !maps.Equal(got.Data, test.want) || (got.BinaryData != nil) != test.wantKeystore {
				t.Errorf("kept %q and %v", got.Data, got.BinaryData)
			}
			if got.ManagedFields != nil || len(got.Annotations) != 1 || got.UID != "u" || got.ResourceVersion != "7" || !maps.Equal(got.Labels, test.labels) {
				t.Errorf("kept %+v", got.ObjectMeta)
			}
		})
	}
}

// However much the ConfigMaps of other people hold, each costs the cache a name.
func TestTheCacheDoesNotGrowWithWhatConfigMapsHold(t *testing.T) {
	const held = 200 << 10
	settings := strings.Repeat("x", held)
	kept := 0
	for n := range 100 {
		trimmed, err := trimConfigMap(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: fmt.Sprintf("settings-%d", n), Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: settings}},
			Data:       map[string]string{"settings": settings}, BinaryData: map[string][]byte{"jar": []byte(settings)},
		})
		if err != nil {
			t.Fatal(err)
		}
		kept += trimmed.(*corev1.ConfigMap).Size()
	}
	if kept > 100*100 {
		t.Errorf("100 ConfigMaps of %d bytes each take %d bytes in the cache", 3*held, kept)
	}
}

// What reanchor applies is compared in full: it is read as unstructured objects, which
// neither come from the cache nor would be trimmed there.
func TestWhatIsAppliedIsReadInFull(t *testing.T) {
	if ClientOptions().Cache.Unstructured {
		t.Error("unstructured objects are read from the cache")
	}
	native := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings", "managedFields": []any{map[string]any{"manager": "reanchor"}}},
		"data": map[string]any{"a": "b"},
	}}
	before := native.DeepCopy()
	if trimmed, err := trimConfigMap(native); err != nil || !reflect.DeepEqual(trimmed, before) {
		t.Errorf("trimmed to %v, %v", trimmed, err)
	}
}

// Every kind that is watched must be served, but for trust-manager's.
func TestKindsThatMustBeServed(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	without := func(absent string) meta.RESTMapper {
		mapper := meta.NewDefaultRESTMapper(nil)
		for _, object := range append([]client.Object{&v1alpha1.TrustDomain{}}, kindsOf(watches())...) {
			gvk, err := apiutil.GVKForObject(object, scheme)
			if err != nil {
				t.Fatal(err)
			}
			if gvk.Kind != absent {
				mapper.Add(gvk, meta.RESTScopeNamespace)
			}
		}
		return mapper
	}
	if known, err := served(scheme, without("Bundle")); err != nil || len(known) != len(watches())-1 {
		t.Errorf("without trust-manager: %d kinds, %v", len(known), err)
	}
	for absent, maker := range map[string]string{"TrustDomain": "reanchor (config/crd)", "Certificate": "cert-manager"} {
		if known, err := served(scheme, without(absent)); err == nil || !strings.Contains(err.Error(), "install the custom resource definitions of "+maker) {
			t.Errorf("without %s: %d kinds, %v", absent, len(known), err)
		}
	}
	if known, err := served(scheme, without("")); err != nil || len(known) != len(watches()) {
		t.Errorf("with everything: %d kinds, %v", len(known), err)
	}
}

func kindsOf(watched []watch) []client.Object {
	var kinds []client.Object
	for _, w := range watched {
		kinds = append(kinds, w.kind)
	}
	return kinds
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
