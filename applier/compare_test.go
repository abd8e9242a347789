package applier

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// TestWhatAnApplyIsAbout: of a live object, what the manifest has and what we own; of
// lists that the server takes apart, our items in the manifest's order.
func TestWhatAnApplyIsAbout(t *testing.T) {
	replace := func(text, old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %s", old, text)
		}
		return strings.Replace(text, old, with, 1)
	}
	const unchanged = desiredIssuer
	for name, c := range map[string]struct{ desired, live, owned, want string }{
		"nothing changed":       {desiredIssuer, liveIssuer, ownedByUs, unchanged},
		"never applied":         {replace(desiredIssuer, "hosts: [p, q], ", ""), liveIssuer, "", ""},
		"another value":         {replace(desiredIssuer, "secretName: s", "secretName: t"), liveIssuer, ownedByUs, unchanged},
		"another order of ours": {replace(desiredIssuer, "[p, q]", "[q, p]"), liveIssuer, ownedByUs, replace(unchanged, "[p, q]", "[q, p]")},
		"less in a set":         {replace(desiredIssuer, "[p, q]", "[q]"), liveIssuer, ownedByUs, replace(unchanged, "[p, q]", "[q, p]")},
		"a field of ours less":  {replace(desiredIssuer, "secretName: s, ", ""), liveIssuer, ownedByUs, unchanged},
		"a branch of ours less": {replace(desiredIssuer, "issuerRef: {name: i}, ", ""), liveIssuer, ownedByUs, unchanged},
		"a field of theirs":     {replace(desiredIssuer, "secretName: s", "secretName: s, defaulted: 2"), liveIssuer, ownedByUs, replace(unchanged, "secretName: s", "secretName: s, defaulted: 1")},
		"an item changed":       {desiredIssuer, replace(liveIssuer, "alias: one", "alias: two"), ownedByUs, replace(unchanged, "alias: one", "alias: two")},
		"an item is gone":       {desiredIssuer, replace(liveIssuer, "name: x", "name: w"), ownedByUs, replace(unchanged, "{name: x, alias: one}", "")},
	} {
		t.Run(name, func(t *testing.T) {
			live := &unstructured.Unstructured{Object: *decode[map[string]any](t, c.live)}
			live.SetManagedFields(managedBy(v1alpha1.FieldManager, "cert-manager.io/v1", c.owned))
			desired := *decode[map[string]any](t, c.desired)
			got := concerned(live, desired)
			if c.want == "" { // nobody is known to take a list apart: they are compared whole
				items, _, _ := unstructured.NestedSlice(got, "spec", "keystores")
				_, hosts, _ := unstructured.NestedSlice(got, "spec", "hosts")
				if len(items) != 2 || hosts {
					t.Fatalf("got %v", got)
				}
				return
			}
			if want := *decode[map[string]any](t, c.want); !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	cluster, count := newCluster(t, nil)
	hand := &Applier{Reader: cluster, Writer: cluster}
	stays, changes, goes := manifest(t, "ConfigMap", "stays", `{k: v}`), manifest(t, "ConfigMap", "changes", `{k: v}`), manifest(t, "ConfigMap", "goes", `{k: v}`)
	if _, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{stays, changes, goes}, Options{}); err != nil {
		t.Fatal(err)
	}
	written := count.writes
	comes, secret := manifest(t, "ConfigMap", "comes", `{k: v}`), manifest(t, "Secret", "secret", `{k: dg==}`)
	changed := manifest(t, "ConfigMap", "changes", `{k: w}`)
	compared, err := hand.Compare(t.Context(), fleet, []*unstructured.Unstructured{comes, changed, stays, secret}, Options{Prune: true})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(compared.Unread) != "[Secret ns/secret]" || count.writes != written {
		t.Errorf("unread %v, %d writes", compared.Unread, count.writes-written)
	}
	var told []string
	for _, d := range compared.Differences {
		told = append(told, fmt.Sprint(d.Object, " ", d.Live["data"], " ", d.Desired["data"], d.Taken))
	}
	want := []string{"ConfigMap ns/comes <nil> map[k:v]", "ConfigMap ns/changes map[k:v] map[k:w]", "ConfigMap ns/goes map[k:v] <nil>"}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
	kept, err := hand.Compare(t.Context(), fleet, []*unstructured.Unstructured{stays}, Options{})
	if err != nil || len(kept.Differences) != 0 {
		t.Errorf("without prune: %+v, %v", kept, err)
	}
}

// TestCompareWithWhatIsTaken: an apply would leave what belongs to another domain.
func TestCompareWithWhatIsTaken(t *testing.T) {
	other := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "other"}}
	theirs := manifest(t, "ConfigMap", "a", `{k: theirs}`)
	theirs.SetLabels(map[string]string{v1alpha1.LabelDomainName: "other", v1alpha1.LabelDomainNamespace: "elsewhere"})
	cluster, _ := newCluster(t, nil, other, theirs)
	compared, err := (&Applier{Reader: cluster}).Compare(t.Context(), fleet, []*unstructured.Unstructured{manifest(t, "ConfigMap", "a", `{k: v}`)}, Options{})
	if err != nil || len(compared.Differences) != 1 || !strings.Contains(compared.Differences[0].Taken, "belongs to TrustDomain elsewhere/other") {
		t.Fatalf("%+v, %v", compared, err)
	}
}

// TestCompareNamesWhoOwnsWhatDiffers: an apply would conflict with them.
func TestCompareNamesWhoOwnsWhatDiffers(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	hand := &Applier{Reader: cluster, Writer: cluster}
	ours := manifest(t, "ConfigMap", "a", `{edited: v, ours: v, same: v}`)
	if _, err := hand.Apply(t.Context(), fleet, []*unstructured.Unstructured{ours}, Options{}); err != nil {
		t.Fatal(err)
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(ours.GroupVersionKind())
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "a"}, live); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(live.Object, "by hand", "data", "edited"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Update(t.Context(), live, client.FieldOwner("kubectl-edit")); err != nil {
		t.Fatal(err)
	}
	compared, err := hand.Compare(t.Context(), fleet, []*unstructured.Unstructured{manifest(t, "ConfigMap", "a", `{edited: v, ours: w, same: v}`)}, Options{})
	if err != nil || len(compared.Differences) != 1 {
		t.Fatalf("%+v, %v", compared, err)
	}
	conflict, is := compared.Differences[0].Conflict()
	if want := `ConfigMap ns/a: .data.edited belongs to "kubectl-edit"; let that manager give it up, or declare the same value`; !is || conflict.String() != want {
		t.Errorf("got %q (%t), want %q", conflict, is, want)
	}
}

// TestCompareReadsNoSecret: nor does it when one is to be looked for among what went.
func TestCompareReadsNoSecret(t *testing.T) {
	cluster, _ := newCluster(t, func(list client.ObjectList) error {
		if strings.HasPrefix(list.GetObjectKind().GroupVersionKind().Kind, "Secret") {
			return fmt.Errorf("a list of Secrets")
		}
		return nil
	})
	options := Options{Prune: true, Kinds: []string{"v1/Secret", "v1/ConfigMap"}}
	if _, err := (&Applier{Reader: cluster}).Compare(t.Context(), fleet, []*unstructured.Unstructured{manifest(t, "Secret", "a", `{}`)}, options); err != nil {
		t.Fatal(err)
	}
}
