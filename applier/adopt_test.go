package applier

import (
	"context"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// asking is a rendered Bundle of two anchors whose document asks for what stands there.
func asking(t *testing.T, inline string) *unstructured.Unstructured {
	t.Helper()
	rendered := bundleWith(t, inline)
	rendered.SetLabels(map[string]string{v1alpha1.LabelBundle: "trust"})
	rendered.SetAnnotations(map[string]string{v1alpha1.AnnotationAdopt: v1alpha1.Adopt})
	return rendered
}

func bundleWith(t *testing.T, inline string) *unstructured.Unstructured {
	t.Helper()
	made := bundleObject(t, "trust", "ca.crt", "fleet")
	made.SetLabels(nil)
	if err := unstructured.SetNestedSlice(made.Object, []any{map[string]any{"inLine": inline}}, "spec", "sources"); err != nil {
		t.Fatal(err)
	}
	return made
}

// TestAdoption: what is taken over, what is applied, and what becomes of it.
func TestAdoption(t *testing.T) {
	one, two := newRoot(t, "One"), newRoot(t, "Two")
	byHand, rendered := "# by hand\n"+string(two.PEM())+string(one.PEM()), string(one.PEM())+string(two.PEM())
	cluster, count := newCluster(t, nil, bundleWith(t, byHand))
	hand := &Applier{Reader: cluster, Writer: cluster}
	apply := func(options Options, manifests ...*unstructured.Unstructured) Result {
		t.Helper()
		result, err := hand.Apply(t.Context(), fleet, manifests, options)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	live := func() *unstructured.Unstructured {
		t.Helper()
		found := bundleWith(t, "")
		if err := cluster.Get(t.Context(), client.ObjectKey{Name: "trust"}, found); err != nil {
			t.Fatal(err)
		}
		return found
	}

	// Not as its document says.
	if result := apply(Options{}, asking(t, string(one.PEM()))); len(result.Conflicts) != 1 ||
		!strings.Contains(result.Conflicts[0].String(), "it holds 2 anchors, of which 1 are among the 1 that it should hold") || count.writes > 0 {
		t.Fatalf("%+v, %d writes", result, count.writes)
	}
	// Taken over, however its PEM is written.
	if result := apply(Options{}, asking(t, rendered)); len(result.Applied) != 1 {
		t.Fatalf("%+v", result)
	}
	expectBundle(t, live(), byHand, true)
	if annotations := live().GetAnnotations(); annotations[v1alpha1.AnnotationAdopted] != v1alpha1.Adopt || annotations[v1alpha1.AnnotationAdopt] != "" {
		t.Errorf("annotations %v", annotations)
	}
	// Nothing more to do, whether or not the document still asks.
	silent := asking(t, rendered)
	silent.SetAnnotations(nil)
	for _, manifest := range []*unstructured.Unstructured{asking(t, rendered), silent} {
		if result := apply(Options{Prune: true}, manifest); result.Unchanged != 1 || count.writes != 1 {
			t.Fatalf("%+v, %d writes", result, count.writes)
		}
	}
	// A rollover changes it, whoever owned the field.
	if result := apply(Options{}, asking(t, string(one.PEM()))); len(result.Applied) != 1 || len(result.Conflicts) > 0 {
		t.Fatalf("%+v", result)
	}
	expectBundle(t, live(), string(one.PEM()), true)
	// From then on it is applied as a whole, and what another changes is a conflict.
	theirs := bundleWith(t, byHand)
	theirs.SetManagedFields(nil)
	if err := cluster.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(theirs), client.FieldOwner("somebody"), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	if result := apply(Options{}, asking(t, string(one.PEM()))); len(result.Conflicts) != 1 || len(result.Applied) > 0 {
		t.Errorf("%+v", result)
	}
	// It leaves Git: a dry run says so, and then it loses its labels.
	kinds := Options{Prune: true, Kinds: []string{FormatKind(bundleKind)}}
	dry := kinds
	dry.DryRun = true
	for _, options := range []Options{dry, kinds} {
		if result := apply(options); len(result.Released) != 1 || len(result.Pruned) > 0 {
			t.Fatalf("%+v", result)
		}
	}
	expectBundle(t, live(), byHand, false)
	if result := apply(kinds); len(result.Released) > 0 || len(result.Kinds) > 0 {
		t.Errorf("%+v", result)
	}
	// It is somebody's again, and stays so.
	if result := apply(Options{}, silent); len(result.Conflicts) != 1 || !strings.Contains(result.Conflicts[0].String(), "reanchor did not make it") {
		t.Errorf("%+v", result)
	}
}

func expectBundle(t *testing.T, live *unstructured.Unstructured, inline string, labelled bool) {
	t.Helper()
	sources, _, _ := unstructured.NestedSlice(live.Object, "spec", "sources")
	if len(sources) != 1 || sources[0].(map[string]any)["inLine"] != inline {
		t.Errorf("sources %v", sources)
	}
	if belongs(live, fleet) != labelled {
		t.Errorf("labels %v", live.GetLabels())
	}
}

// What reanchor made and somebody took the labels off is reanchor's all the same.
func TestLabelsThatWereTakenOffAreNoReasonToAsk(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	hand := &Applier{Reader: cluster, Writer: cluster}
	manifest := asking(t, string(newRoot(t, "One").PEM()))
	for range 2 {
		result, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{manifest}, Options{})
		if err != nil || len(result.Applied) != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		live := bundleWith(t, "")
		if err := cluster.Get(t.Context(), client.ObjectKey{Name: "trust"}, live); err != nil {
			t.Fatal(err)
		}
		if isAdopted(live) {
			t.Error("what reanchor made itself is taken for adopted")
		}
		live.SetLabels(nil)
		if err := cluster.Update(t.Context(), live); err != nil {
			t.Fatal(err)
		}
	}
}

// An issuer is as rendered if it has every field that it would be given.
func TestDifference(t *testing.T) {
	object := func(text string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: *decode[map[string]any](t, `{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: i}, spec: `+text+`}`)}
	}
	for name, c := range map[string]struct {
		live, rendered string
		differs        bool
	}{
		"alike":              {`{ca: {secretName: s}}`, `{ca: {secretName: s}}`, false},
		"more":               {`{ca: {secretName: s, ocspServers: [x]}}`, `{ca: {secretName: s}}`, false},
		"less":               {`{ca: {}}`, `{ca: {secretName: s}}`, true},
		"another Secret":     {`{ca: {secretName: t}}`, `{ca: {secretName: s}}`, true},
		"another kind":       {`{selfSigned: {}}`, `{ca: {secretName: s}}`, true},
		"nothing":            {`null`, `{ca: {secretName: s}}`, true},
		"an external issuer": {`{vault: {server: x, path: p, auth: {}}}`, `{vault: {path: p, server: x}}`, false},
	} {
		if differs := difference(object(c.live), object(c.rendered)) != ""; differs != c.differs {
			t.Errorf("%s: differs %v", name, differs)
		}
	}
}

// A label that cannot be taken off is an error that says what to grant.
func TestWhatCannotBeReleased(t *testing.T) {
	adopted := bundleWith(t, "")
	adopted.SetLabels(maps.Clone(domainLabels(fleet)))
	adopted.SetAnnotations(map[string]string{v1alpha1.AnnotationAdopted: v1alpha1.Adopt})
	cluster, _ := newCluster(t, nil, adopted)
	writer := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return runtime.NewMissingKindErr("x")
		},
	})
	result, err := (&Applier{Reader: cluster, Writer: writer}).Apply(t.Context(), fleet, nil, Options{Prune: true, Kinds: []string{FormatKind(bundleKind)}})
	if err == nil || !strings.Contains(err.Error(), "prune Bundle trust: take its labels off") || len(result.Released) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
}
