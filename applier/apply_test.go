package applier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

const desiredIssuer = `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a, namespace: ns, labels: {l: v}},
  spec: {secretName: s, usages: [cert sign, digital signature], issuerRef: {name: i}, keystores: [{name: x, alias: one}], hosts: [p, q], empty: {}}}`

// ownedByUs is what the server notes of the apply above, had keystores a key and
// hosts been a set.
const ownedByUs = `{"f:metadata":{"f:labels":{"f:l":{}}},"f:spec":{"f:secretName":{},"f:usages":{},"f:issuerRef":{"f:name":{}},
  "f:keystores":{"k:{\"name\":\"x\"}":{".":{},"f:name":{},"f:alias":{}}},"f:hosts":{"v:\"p\"":{},"v:\"q\"":{}},"f:empty":{}}}`

// liveIssuer is the object as the server has it: defaults, status, another's item.
const liveIssuer = `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a, namespace: ns, uid: u, generation: 3, labels: {l: v, other: theirs}},
  spec: {secretName: s, usages: [cert sign, digital signature], issuerRef: {name: i, kind: Issuer, group: cert-manager.io},
    keystores: [{name: other, alias: far}, {name: x, alias: one, added: true}], hosts: [q, o, p], empty: {}, defaulted: 1}, status: {revision: 1}}`

func TestUpToDate(t *testing.T) {
	replace := func(text, old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %s", old, text)
		}
		return strings.Replace(text, old, with, 1)
	}
	cases := map[string]struct {
		desired, live, owned string
		want                 bool
	}{
		"nothing changed":                 {desiredIssuer, liveIssuer, ownedByUs, true},
		"another value":                   {replace(desiredIssuer, "secretName: s", "secretName: t"), liveIssuer, ownedByUs, false},
		"another order of an atomic list": {replace(desiredIssuer, "[cert sign, digital signature]", "[digital signature, cert sign]"), liveIssuer, ownedByUs, false},
		"another order of a set":          {replace(desiredIssuer, "[p, q]", "[q, p]"), liveIssuer, ownedByUs, true},
		"more in a set":                   {replace(desiredIssuer, "[p, q]", "[p, q, o]"), liveIssuer, ownedByUs, false},
		"less in a set":                   {replace(desiredIssuer, "[p, q]", "[p]"), liveIssuer, ownedByUs, false},
		"gone from the live set":          {desiredIssuer, replace(liveIssuer, "[q, o, p]", "[q, o]"), ownedByUs, false},
		"an item changed":                 {desiredIssuer, replace(liveIssuer, "alias: one", "alias: two"), ownedByUs, false},
		"an item is gone":                 {desiredIssuer, replace(liveIssuer, "name: x", "name: w"), ownedByUs, false},
		"an item more":                    {replace(desiredIssuer, "alias: one}", "alias: one}, {name: other, alias: far}"), liveIssuer, ownedByUs, false},
		"a field more":                    {replace(desiredIssuer, "secretName: s", "secretName: s, defaulted: 1"), liveIssuer, ownedByUs, false},
		"a field less":                    {replace(desiredIssuer, "labels: {l: v}", "labels: {}"), liveIssuer, ownedByUs, false},
		"a whole branch less":             {replace(desiredIssuer, "issuerRef: {name: i}, ", ""), liveIssuer, ownedByUs, false},
		"changed by another":              {desiredIssuer, replace(liveIssuer, "name: i,", "name: j,"), ownedByUs, false},
		"another kind of value":           {replace(desiredIssuer, "issuerRef: {name: i}", "issuerRef: i"), liveIssuer, ownedByUs, false},
		"never applied":                   {desiredIssuer, liveIssuer, "", false},
		"notes that are not understood":   {desiredIssuer, liveIssuer, "{", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			live := &unstructured.Unstructured{Object: *decode[map[string]any](t, c.live)}
			live.SetManagedFields(managedBy(v1alpha1.FieldManager, "cert-manager.io/v1", c.owned))
			desired := &unstructured.Unstructured{Object: *decode[map[string]any](t, c.desired)}
			if got := upToDate(live, desired); got != c.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}

func managedBy(manager, version, fields string) []metav1.ManagedFieldsEntry {
	if fields == "" {
		return nil
	}
	if !json.Valid([]byte(fields)) {
		fields = `"not a set"`
	}
	return []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: version,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}}
}

func TestOnlyOurOwnApplyOfThatVersionCounts(t *testing.T) {
	entry := managedBy(v1alpha1.FieldManager, "v1", `{"f:data":{}}`)[0]
	for name, change := range map[string]func(*metav1.ManagedFieldsEntry){
		"another manager": func(e *metav1.ManagedFieldsEntry) { e.Manager = "kubectl" },
		"an update":       func(e *metav1.ManagedFieldsEntry) { e.Operation = metav1.ManagedFieldsOperationUpdate },
		"another version": func(e *metav1.ManagedFieldsEntry) { e.APIVersion = "v2" },
		"the status":      func(e *metav1.ManagedFieldsEntry) { e.Subresource = "status" },
		"no fields":       func(e *metav1.ManagedFieldsEntry) { e.FieldsV1 = nil },
	} {
		changed := entry
		change(&changed)
		if ownedFields([]metav1.ManagedFieldsEntry{changed}, "v1") != nil {
			t.Errorf("%s is taken for our apply", name)
		}
	}
	if ownedFields([]metav1.ManagedFieldsEntry{{Manager: "x"}, entry}, "v1") == nil {
		t.Error("our apply is not found")
	}
}

func FuzzOwnedFields(f *testing.F) {
	f.Add([]byte(ownedByUs))
	f.Add([]byte(`{"f:spec":{"i:0":{}}}`))
	f.Add([]byte(`{"v:[]":{},"k:{}":{}}`))
	desired := &unstructured.Unstructured{Object: *decode[map[string]any](f, desiredIssuer)}
	f.Fuzz(func(t *testing.T, fields []byte) {
		live := desired.DeepCopy()
		live.Object["spec"].(map[string]any)["secretName"] = "changed"
		live.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "cert-manager.io/v1",
			FieldsV1: metav1.NewFieldsV1(string(fields)),
		}})
		if upToDate(live, desired) {
			t.Fatal("a changed object is up to date")
		}
	})
}

func manifest(t *testing.T, kind, name string, data string) *unstructured.Unstructured {
	t.Helper()
	text := fmt.Sprintf(`{apiVersion: v1, kind: %s, metadata: {name: %s, namespace: ns}, data: %s}`, kind, name, data)
	return &unstructured.Unstructured{Object: *decode[map[string]any](t, text)}
}

func TestApplyWritesWhatChangedOnly(t *testing.T) {
	cluster, count := newCluster(t, nil)
	hand := &Applier{Reader: cluster, Writer: cluster}
	a, b := manifest(t, "ConfigMap", "a", `{k: v, none: null}`), manifest(t, "ConfigMap", "b", `{k: v}`)
	before := a.DeepCopy()
	first, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{b, a}, Options{Prune: true})
	if err != nil || fmt.Sprint(first.Applied) != "[ConfigMap ns/b ConfigMap ns/a]" || !reflect.DeepEqual(first.Kinds, []string{"v1/ConfigMap"}) {
		t.Fatalf("first %+v, %v", first, err)
	}
	if !reflect.DeepEqual(a, before) {
		t.Fatal("the manifest was changed")
	}
	var written corev1.ConfigMap
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "a"}, &written); err != nil || !belongs(&written, fleet) {
		t.Fatalf("written %+v, %v", written, err)
	}
	count.writes = 0
	second, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{b, a}, Options{Prune: true})
	if err != nil || second.Unchanged != 2 || count.writes != 0 {
		t.Fatalf("second %+v, %v, %d writes", second, err, count.writes)
	}
	third, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{b, manifest(t, "ConfigMap", "a", `{k: w}`)}, Options{Prune: true})
	if err != nil || fmt.Sprint(third.Applied) != "[ConfigMap ns/a]" || third.Unchanged != 1 || count.writes != 1 {
		t.Fatalf("third %+v, %v, %d writes", third, err, count.writes)
	}
}

// answering makes the cluster answer the apply of one object with an error.
func answering(cluster client.WithWatch, name string, answer error) client.Client {
	return interceptor.NewClient(cluster, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			if named, is := object.(interface{ GetName() string }); is && named.GetName() == name {
				return answer
			}
			return c.Apply(ctx, object, options...)
		},
	})
}

func TestABadObjectKeepsNoOtherBack(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	hand := &Applier{Reader: cluster, Writer: answering(cluster.(client.WithWatch), "bad", errors.New("webhook says no"))}
	manifests := []*unstructured.Unstructured{
		manifest(t, "ConfigMap", "bad", `{k: v}`), manifest(t, "ConfigMap", "good", `{k: v}`), manifest(t, "ConfigMap", "good", `{k: w}`),
	}
	result, err := hand.Apply(t.Context(), fleet, manifests, Options{})
	if fmt.Sprint(result.Applied) != "[ConfigMap ns/good]" || err == nil ||
		!strings.Contains(err.Error(), "apply ConfigMap ns/bad: webhook says no") || !strings.Contains(err.Error(), "apply ConfigMap ns/good: it stands twice") {
		t.Fatalf("result %+v, %v", result, err)
	}
}

func TestConflictsAreReportedAndNotTaken(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	conflict := apierrors.NewApplyConflict([]metav1.StatusCause{
		{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "helm" using v1`, Field: ".data.k"},
		{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kubectl" with subresource "scale" using v1`, Field: ".data.a"},
	}, "Apply failed with 2 conflicts")
	hand := &Applier{Reader: cluster, Writer: answering(cluster.(client.WithWatch), "a", conflict)}
	result, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{manifest(t, "ConfigMap", "a", `{k: v}`), manifest(t, "ConfigMap", "b", `{k: v}`)}, Options{})
	if err != nil || len(result.Conflicts) != 1 || len(result.Applied) != 1 {
		t.Fatalf("result %+v, %v", result, err)
	}
	want := `ConfigMap ns/a: .data.a belongs to "kubectl", .data.k belongs to "helm"; let that manager give it up, or declare the same value`
	if got := result.Conflicts[0].String(); got != want {
		t.Fatalf("conflict %s\nwant %s", got, want)
	}
	other := apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, "a", errors.New("it was modified"))
	hand.Writer = answering(cluster.(client.WithWatch), "a", other)
	if result, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{manifest(t, "ConfigMap", "a", `{k: v}`)}, Options{}); err == nil || len(result.Conflicts) > 0 {
		t.Fatalf("a conflict of versions is taken for one of fields: %+v", result)
	}
}

func FuzzManagerIn(f *testing.F) {
	f.Add(`conflict with "kubectl" using v1`)
	f.Add(`conflict with "a`)
	f.Fuzz(func(t *testing.T, message string) {
		if manager := managerIn(message); !strings.Contains(message, manager) || strings.Contains(manager, `"`) {
			t.Fatalf("manager %q in %q", manager, message)
		}
	})
}

// standing is a ConfigMap of a domain that an earlier turn applied.
func standing(name string, labels map[string]string, change ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels}}
	for _, c := range change {
		c(object)
	}
	return object
}

func TestPruneTakesWhatIsGoneAndNothingElse(t *testing.T) {
	ours := domainLabels(fleet)
	objects := []client.Object{
		standing("gone", ours),
		standing("kept", ours),
		standing("foreign", nil),
		standing("of-another-domain", map[string]string{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "other"}),
		standing("canary", map[string]string{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "reanchor-system", v1alpha1.LabelCanary: "true"}),
		standing("made-by-a-controller", ours, func(c *corev1.ConfigMap) { c.OwnerReferences = controlledBy("Certificate", "x") }),
	}
	manifests := []*unstructured.Unstructured{manifest(t, "ConfigMap", "kept", `{k: v}`)}
	kinds := []string{"v1/ConfigMap", "v1/Service"}
	for _, prune := range []bool{false, true} {
		cluster, _ := newCluster(t, nil, objects...)
		result, err := (&Applier{Reader: cluster, Writer: cluster}).Apply(t.Context(), fleet, manifests, Options{Prune: prune, Kinds: kinds})
		var left corev1.ConfigMapList
		if err := cluster.List(t.Context(), &left); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{false: "[]", true: "[ConfigMap ns/gone]"}[prune]
		if err != nil || fmt.Sprint(result.Pruned) != want || len(left.Items) != 6-len(result.Pruned) {
			t.Fatalf("prune %v: %+v, %v, %d left", prune, result, err, len(left.Items))
		}
	}
}

// TestTheClusterIssuerOfAKeyIsPrunedWithItsManifest leaves the key's Issuer, which bears
// the same labels.
func TestTheClusterIssuerOfAKeyIsPrunedWithItsManifest(t *testing.T) {
	internal := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: "root-2026"}, Spec: issuerSpec("root-2026")}
	everywhere := &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "root-2026"}, Spec: issuerSpec("root-2026")}
	cluster, _ := newCluster(t, nil, ofKey(internal, "root", "2026"), ofKey(everywhere, "root", "2026"))
	kept := &unstructured.Unstructured{Object: *decode[map[string]any](t, `{apiVersion: cert-manager.io/v1, kind: Issuer,
  metadata: {name: root-2026, namespace: cert-manager, labels: {reanchor.dev/authority: root, reanchor.dev/key: "2026"}}, spec: {ca: {secretName: root-2026}}}`)}
	also := &unstructured.Unstructured{Object: *decode[map[string]any](t, `{apiVersion: cert-manager.io/v1, kind: ClusterIssuer,
  metadata: {name: root-2026, labels: {reanchor.dev/authority: root, reanchor.dev/key: "2026"}}, spec: {ca: {secretName: root-2026}}}`)}
	hand := &Applier{Reader: cluster, Writer: cluster}
	for _, c := range []struct {
		manifests []*unstructured.Unstructured
		pruned    string
	}{{[]*unstructured.Unstructured{kept, also}, "[]"}, {[]*unstructured.Unstructured{kept}, "[ClusterIssuer root-2026]"}} {
		result, err := hand.Apply(t.Context(), fleet, c.manifests, Options{Prune: true, Kinds: []string{"cert-manager.io/v1/ClusterIssuer"}})
		if err != nil || fmt.Sprint(result.Pruned) != c.pruned {
			t.Fatalf("result %+v, %v; want %s pruned", result, err, c.pruned)
		}
	}
}

// TestNothingIsPrunedBesideAFailure renames an object whose new name is refused: the
// old one stays, and its kind is looked at again.
func TestNothingIsPrunedBesideAFailure(t *testing.T) {
	conflict := apierrors.NewApplyConflict([]metav1.StatusCause{
		{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "helm" using v1`, Field: ".data.k"},
	}, "Apply failed with 1 conflict")
	for name, answer := range map[string]error{"refused": errors.New("webhook says no"), "conflict": conflict, "": nil} {
		t.Run(name, func(t *testing.T) {
			cluster, _ := newCluster(t, nil, standing("old", domainLabels(fleet)))
			hand := &Applier{Reader: cluster, Writer: cluster}
			if answer != nil {
				hand.Writer = answering(cluster.(client.WithWatch), "new", answer)
			}
			manifests := []*unstructured.Unstructured{manifest(t, "Secret", "new", `{k: dg==}`)}
			result, _ := hand.Apply(t.Context(), fleet, manifests, Options{Prune: true, Kinds: []string{"v1/ConfigMap"}})
			if (len(result.Pruned) == 0) != (answer != nil) || !reflect.DeepEqual(result.Kinds, []string{"v1/ConfigMap", "v1/Secret"}) {
				t.Fatalf("result %+v", result)
			}
		})
	}
}

// TestADryRunSaysWhatWouldBeDone says it of an object that is new, one that changed, one
// that is as it should be, and one that is gone; then all of it is done.
func TestADryRunSaysWhatWouldBeDone(t *testing.T) {
	cluster, count := newCluster(t, nil)
	hand := &Applier{Reader: cluster, Writer: cluster}
	apply := func(options Options, manifests ...*unstructured.Unstructured) Result {
		t.Helper()
		result, err := hand.Apply(t.Context(), fleet, manifests, options)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	same := manifest(t, "ConfigMap", "same", `{k: v}`)
	apply(Options{}, same, manifest(t, "ConfigMap", "changed", `{k: v}`), manifest(t, "ServiceAccount", "gone", `{}`))
	count.writes = 0
	manifests := []*unstructured.Unstructured{manifest(t, "ConfigMap", "new", `{k: v}`), same, manifest(t, "ConfigMap", "changed", `{k: w}`)}
	for _, prune := range []bool{false, true} {
		options := Options{Prune: prune, Kinds: []string{"v1/ServiceAccount"}, DryRun: true}
		want := Result{
			Applied: []Object{objectOf(manifests[0]), objectOf(manifests[2])}, Unchanged: 1,
			Kinds: []string{"v1/ConfigMap", "v1/ServiceAccount"},
		}
		if prune {
			want.Pruned = []Object{objectOf(manifest(t, "ServiceAccount", "gone", `{}`))}
		}
		if would := apply(options, manifests...); !reflect.DeepEqual(would, want) || count.writes != 0 {
			t.Fatalf("prune %v: a dry run would do %+v, want %+v, and made %d writes", prune, would, want, count.writes)
		}
		if !prune {
			continue
		}
		options.DryRun = false
		if did := apply(options, manifests...); !reflect.DeepEqual(did, want) || count.writes != 3 {
			t.Fatalf("did %+v, want %+v, in %d writes", did, want, count.writes)
		}
	}
	if would := apply(Options{Prune: true, Kinds: []string{"v1/ServiceAccount"}, DryRun: true}, manifests...); would.Unchanged != 3 || len(would.Applied)+len(would.Pruned) > 0 ||
		!reflect.DeepEqual(would.Kinds, []string{"v1/ConfigMap"}) {
		t.Fatalf("then there is nothing to do, but %+v", would)
	}
}

// TestADryRunPrunesNothingBesideAFailure fails as an apply would.
func TestADryRunPrunesNothingBesideAFailure(t *testing.T) {
	cluster, count := newCluster(t, nil, standing("old", domainLabels(fleet)))
	twice := manifest(t, "ConfigMap", "new", `{k: v}`)
	result, err := (&Applier{Reader: cluster, Writer: cluster}).Apply(t.Context(), fleet, []*unstructured.Unstructured{twice, twice}, Options{Prune: true, DryRun: true})
	if err == nil || len(result.Applied) != 1 || len(result.Pruned) > 0 || count.writes > 0 {
		t.Fatalf("result %+v, %v, %d writes", result, err, count.writes)
	}
}

func TestPruneNamesTheObjectThatItMeans(t *testing.T) {
	object := standing("gone", domainLabels(fleet), func(c *corev1.ConfigMap) { c.UID = "the one" })
	cluster, _ := newCluster(t, nil, object)
	var given client.DeleteOptions
	hand := &Applier{Reader: cluster, Writer: interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, options ...client.DeleteOption) error {
			given.ApplyOptions(options)
			return nil
		},
	})}
	if _, err := hand.Apply(t.Context(), fleet, nil, Options{Prune: true, Kinds: []string{"v1/ConfigMap"}}); err != nil {
		t.Fatal(err)
	}
	if given.Preconditions == nil || given.Preconditions.UID == nil || *given.Preconditions.UID != "the one" {
		t.Fatalf("delete options %+v", given)
	}
}

func TestKindsToLookAtNextTime(t *testing.T) {
	left := standing("gone", domainLabels(fleet))
	absent := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Absent"}}
	refuse := func(list client.ObjectList) error {
		switch list.GetObjectKind().GroupVersionKind().Kind {
		case "AbsentList":
			return absent
		case "RefusedList":
			return apierrors.NewForbidden(schema.GroupResource{Resource: "refused"}, "", errors.New("no"))
		}
		return nil
	}
	earlier := []string{"v1/ConfigMap", "x.dev/v1/Absent", "x.dev/v1/Refused", "v1/Service", "rubble"}
	cases := map[string]struct {
		prune bool
		want  []string
	}{
		"pruned just now: looked at once more": {true, []string{"v1/ConfigMap", "x.dev/v1/Refused"}},
		"not pruned":                           {false, []string{"v1/ConfigMap", "x.dev/v1/Refused"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cluster, _ := newCluster(t, refuse, left)
			result, err := (&Applier{Reader: cluster, Writer: cluster}).Apply(t.Context(), fleet, nil, Options{Prune: c.prune, Kinds: earlier})
			if !reflect.DeepEqual(result.Kinds, c.want) {
				t.Errorf("kinds %v, want %v", result.Kinds, c.want)
			}
			if err == nil || !strings.Contains(err.Error(), `kind "rubble"`) || !strings.Contains(err.Error(), "x.dev/v1/Refused") || strings.Contains(err.Error(), "Absent") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzParseKind(f *testing.F) {
	f.Add("v1/ConfigMap")
	f.Add("cert-manager.io/v1/Certificate")
	f.Add("a//b")
	f.Fuzz(func(t *testing.T, text string) {
		kind, err := ParseKind(text)
		if err == nil && FormatKind(kind) != text {
			t.Fatalf("%q was read as %v, which is written %q", text, kind, FormatKind(kind))
		}
	})
}
