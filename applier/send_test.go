package applier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// applying does something of its own before each apply.
func applying(cluster client.Client, before func(context.Context, string) error) client.Client {
	return interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			named, _ := object.(interface{ GetName() string })
			if err := before(ctx, named.GetName()); err != nil {
				return err
			}
			return c.Apply(ctx, object, options...)
		},
	})
}

func configMaps50(t testing.TB) []*unstructured.Unstructured {
	t.Helper()
	var manifests []*unstructured.Unstructured
	for n := range 50 {
		manifests = append(manifests, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "ns", "name": fmt.Sprintf("c%02d", n)},
			"data": map[string]any{"k": "v"},
		}})
	}
	return manifests
}

// Neighbours of one kind go side by side, never more than there are workers, and the
// result is told in the order of the manifests.
func TestOneKindIsSentSideBySide(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	var under, most atomic.Int32
	var once sync.Once
	together := make(chan struct{})
	writer := applying(cluster, func(ctx context.Context, name string) error {
		now := under.Add(1)
		defer under.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		if now == workers {
			once.Do(func() { close(together) })
		}
		select { // nobody is answered before all workers are at it
		case <-together:
		case <-ctx.Done():
			return ctx.Err()
		}
		if name == "c13" || name == "c31" {
			return errors.New("webhook says no")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := (&Applier{Reader: cluster, Writer: writer}).Apply(ctx, fleet, configMaps50(t), Options{})
	if most.Load() != workers {
		t.Errorf("%d went side by side", most.Load())
	}
	if err == nil || strings.Index(err.Error(), "apply ConfigMap ns/c13: webhook says no") > strings.Index(err.Error(), "apply ConfigMap ns/c31: webhook says no") {
		t.Errorf("error %v", err)
	}
	if len(result.Applied) != 48 || !slices.IsSortedFunc(result.Applied, func(a, b Object) int { return a.Ref.Compare(b.Ref) }) {
		t.Errorf("applied %v", result.Applied)
	}
}

// One kind is done before the next begins, and what comes back to a kind waits its turn.
func TestKindsAreSentOneAfterTheOther(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	var mu sync.Mutex
	var sent []string
	writer := applying(cluster, func(_ context.Context, name string) error {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, name)
		return nil
	})
	var manifests []*unstructured.Unstructured
	for n, kind := range []string{"ConfigMap", "ConfigMap", "ServiceAccount", "ConfigMap"} {
		manifests = append(manifests, manifest(t, kind, fmt.Sprintf("%c", 'a'+n), `{}`))
	}
	if _, err := (&Applier{Reader: cluster, Writer: writer}).Apply(t.Context(), fleet, manifests, Options{}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(sent[:2])
	if !slices.Equal(sent, []string{"a", "b", "c", "d"}) {
		t.Errorf("sent %q", sent)
	}
}

// Once the context has ended nothing more is sent, nothing pruned, and the error says how
// many were left.
func TestAnEndedContextSendsNoMore(t *testing.T) {
	cluster, _ := newCluster(t, nil, standing("old", domainLabels(fleet)))
	ctx, cancel := context.WithCancel(t.Context())
	var sent atomic.Int32
	writer := applying(cluster, func(context.Context, string) error {
		if sent.Add(1) == 10 {
			cancel()
		}
		return nil
	})
	manifests := append(configMaps50(t), manifest(t, "ServiceAccount", "after", `{}`))
	result, err := (&Applier{Reader: cluster, Writer: writer}).Apply(ctx, fleet, manifests, Options{Prune: true})
	if n := int(sent.Load()); n < 10 || n >= 10+workers || len(result.Applied) != n {
		t.Errorf("%d were sent, applied %v", n, result.Applied)
	}
	if left := fmt.Sprintf("apply: %d objects were not sent", 50-len(result.Applied)); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), left) || !strings.Contains(err.Error(), "apply: 1 objects were not looked at") {
		t.Errorf("error %v, want %q in it", err, left)
	}
	if len(result.Pruned) > 0 {
		t.Errorf("pruned %v", result.Pruned)
	}
}

// Two domains of one process that make the same objects at the same moment: one of them
// gets each, and the other is told whose it is.
func TestTwoDomainsMakeOneObject(t *testing.T) {
	cluster, _ := newCluster(t, nil, trustDomain(fleet), trustDomain(mill))
	claims := &Claims{}
	manifests := configMaps50(t)
	results := make([]Result, 2)
	var both sync.WaitGroup
	for n, domain := range []planner.Ref{fleet, mill} {
		both.Go(func() {
			var err error
			hand := &Applier{Reader: cluster, Writer: cluster, Claims: claims}
			if results[n], err = hand.Apply(t.Context(), domain, manifests, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	made := map[string]planner.Ref{}
	for n, domain := range []planner.Ref{fleet, mill} {
		if len(results[n].Applied)+len(results[n].Conflicts) != len(manifests) {
			t.Errorf("%s: %+v", domain, results[n])
		}
		for _, object := range results[n].Applied {
			if other, twice := made[object.String()]; twice {
				t.Errorf("%s was made by %s and by %s", object, other, domain)
			}
			made[object.String()] = domain
		}
	}
	var live corev1.ConfigMapList
	if err := cluster.List(t.Context(), &live); err != nil || len(live.Items) != len(manifests) {
		t.Fatalf("%d ConfigMaps, %v", len(live.Items), err)
	}
	for i := range live.Items {
		owner, _ := ownerDomain(&live.Items[i])
		if name := "ConfigMap ns/" + live.Items[i].Name; owner != made[name] {
			t.Errorf("%s bears the labels of %s and was made by %s", name, owner, made[name])
		}
	}
	if len(claims.held) > 0 {
		t.Errorf("still held: %v", claims.held)
	}
}

func TestAClaimIsNotWaitedForLongerThanTheContext(t *testing.T) {
	claims, object := &Claims{}, objectOf(manifest(t, "ConfigMap", "a", `{}`)).identity()
	release, err := claims.take(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := claims.take(ended, object); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	release()
	if again, err := claims.take(t.Context(), object); err != nil {
		t.Error(err)
	} else {
		again()
	}
}

// What is not the domain's, or not to be judged by labels, is never pruned.
func TestPruneGuard(t *testing.T) {
	ours := domainLabels(fleet)
	kept := map[string]client.Object{
		"another domain's":                    ownedBy(mill, standing("theirs", nil)),
		"one that has lost a label":           standing("lost", map[string]string{v1alpha1.LabelDomainName: "fleet"}),
		"a copy that reanchor did not make":   standing("somebodys", map[string]string{v1alpha1.LabelBundle: "somebodys"}),
		"a copy that trust-manager took over": standing("taken", map[string]string{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "reanchor-system", LabelBundleCopy: "taken"}),
		"a Secret with our labels":            ownedBy(fleet, secretOf("ns", "key", nil)),
	}
	objects := []client.Object{standing("gone", ours)}
	for _, object := range kept {
		objects = append(objects, object)
	}
	cluster, _ := newCluster(t, nil, objects...)
	result, err := (&Applier{Reader: cluster, Writer: cluster}).Apply(t.Context(), fleet, nil, Options{Prune: true, Kinds: []string{"v1/ConfigMap", "v1/Secret"}})
	if err != nil || fmt.Sprint(result.Pruned) != "[ConfigMap ns/gone]" {
		t.Errorf("pruned %v, %v", result.Pruned, err)
	}
	for name, object := range kept {
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkApply has an API server that takes 5 ms for each apply, and 8 workers beside
// one. TestConfigMapsInTheCluster measures the same at a real one.
func BenchmarkApply(b *testing.B) {
	const objects = 50
	for _, atOnce := range []int{1, workers} {
		b.Run(fmt.Sprintf("workers=%d", atOnce), func(b *testing.B) {
			for b.Loop() {
				sideBySide(b.Context(), atOnce, objects, func(int) { time.Sleep(5 * time.Millisecond) })
			}
			b.ReportMetric(float64(objects*b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
