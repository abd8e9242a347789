package importer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
)

var domain = planner.Ref{Namespace: "reanchor-system", Name: "fleet"}

// TestFirstTurn: over each of the repositories, the first turn writes labels and annotations
// and sends canaries; the second, which finds the record written, and the third write
// nothing more.
func TestFirstTurn(t *testing.T) {
	for name, make := range clusters {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			make(w)
			repository, _ := Describe(w.seen)
			if len(repository.Taken) == 0 {
				return
			}
			cluster := newCluster(t, w.seen)
			var record []planner.RecordedKey
			for turn := range 3 {
				before := cluster.objects(t)
				plan, result := cluster.turn(t, repository, record)
				record = append(record, plan.Record...)
				for _, action := range plan.Actions {
					if action.Kind != planner.ActionProve {
						t.Errorf("turn %d: %s", turn+1, action)
					}
				}
				expectMetadataAlone(t, before, cluster.objects(t))
				expectApplied(t, turn, result, repository)
				if len(result.Pruned)+len(result.Conflicts) > 0 {
					t.Errorf("turn %d: %+v", turn+1, result)
				}
			}
		})
	}
}

// expectApplied demands that the first turn takes over everything, and later ones nothing.
// Of issuers that is not asked of later turns: for the types that it knows, the client in
// memory counts the empty spec as applied that Go gives to an object without one. The
// fixture import asks a real API server.
func expectApplied(t *testing.T, turn int, result applier.Result, repository Repository) {
	t.Helper()
	if n := len(result.Applied); turn == 0 && n != len(repository.Bindings)+adopted(repository) {
		t.Errorf("the first turn applied %v", result.Applied)
	}
	for _, object := range result.Applied {
		if turn > 0 && object.Kind == "Bundle" {
			t.Errorf("turn %d applied %s", turn+1, object)
		}
	}
}

// adopted counts the bundles that reanchor writes.
func adopted(repository Repository) int {
	n := 0
	for _, bundle := range repository.Bundles {
		if bundle.Spec.Via != v1alpha1.ViaObserved {
			n++
		}
	}
	return n
}

// expectMetadataAlone demands that no object came or went, and that of none anything but
// labels, annotations and who owns fields was changed.
func expectMetadataAlone(t *testing.T, before, after map[string]map[string]any) {
	t.Helper()
	for name := range before {
		if after[name] == nil {
			t.Errorf("%s is gone", name)
		}
	}
	for name, object := range after {
		was, is := essence(t, before[name]), essence(t, object)
		if was != is {
			t.Errorf("%s was\n%s\nand is\n%s", name, was, is)
		}
	}
}

// essence of an object is what is not metadata.
func essence(t *testing.T, object map[string]any) string {
	t.Helper()
	rest := maps.Clone(object)
	delete(rest, "metadata")
	data, err := json.Marshal(rest)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A cluster of the tests, in memory.
type cluster struct{ client.WithWatch }

func newCluster(t *testing.T, seen Seen) cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{namespace("plant", "fleet"), namespace("line-1", "no"), namespace("line-2", "no"), namespace("web", "no")}
	for i := range seen.Certificates {
		objects = append(objects, &seen.Certificates[i])
	}
	for i := range seen.Requests {
		objects = append(objects, &seen.Requests[i])
	}
	for i := range seen.Issuers {
		objects = append(objects, &seen.Issuers[i])
	}
	for i := range seen.ClusterIssuers {
		objects = append(objects, &seen.ClusterIssuers[i])
	}
	for i := range seen.Bundles {
		objects = append(objects, &seen.Bundles[i])
	}
	for i := range seen.ConfigMaps {
		objects = append(objects, &seen.ConfigMaps[i])
	}
	byName := func(object client.Object) []string { return []string{object.GetName()} }
	return cluster{fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithReturnManagedFields().
		WithIndex(&corev1.ConfigMap{}, "metadata.name", byName).WithIndex(&corev1.Secret{}, "metadata.name", byName).
		WithTypeConverters(managedfields.NewDeducedTypeConverter()).
		WithInterceptorFuncs(interceptor.Funcs{}).Build()}
}

func namespace(name, trust string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name, "trust": trust}}}
}

// turn is what the loop does: look, plan, render, check, apply. Canaries are not sent.
func (c cluster) turn(t *testing.T, repository Repository, record []planner.RecordedKey) (planner.Plan, applier.Result) {
	t.Helper()
	loaded := load(t, repository)
	seen, err := (&applier.Observer{Reader: c}).Look(t.Context(), domain, loaded.Desired, nil)
	if err != nil || len(seen.Foreign) > 0 || len(seen.Unknown) > 0 {
		t.Fatalf("%v; foreign %v, unknown %v", err, seen.Foreign, seen.Unknown)
	}
	seen.Record = planner.Record{Enabled: true, Keys: record}
	plan := planner.Next(loaded.Desired, seen.Observed, now)
	manifests, err := loaded.Render(plan.Target, domain)
	if err != nil {
		t.Fatal(err)
	}
	if denied := policies.Denied(policies.Check(policies.Input{Plan: plan, Manifests: manifests, Documents: loaded.Documents, Observed: seen.Observed, Now: now})); len(denied) > 0 {
		t.Errorf("denied: %v", denied)
	}
	result, err := (&applier.Applier{Reader: c, Writer: c}).Apply(t.Context(), domain, manifests, applier.Options{Prune: true})
	if err != nil {
		t.Fatal(err)
	}
	return plan, result
}

// objects are all that the cluster holds, by kind and name.
func (c cluster) objects(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, kind := range []struct{ version, kind string }{
		{certmanagerv1.SchemeGroupVersion.String(), "Certificate"},
		{certmanagerv1.SchemeGroupVersion.String(), "CertificateRequest"},
		{certmanagerv1.SchemeGroupVersion.String(), "Issuer"},
		{certmanagerv1.SchemeGroupVersion.String(), "ClusterIssuer"},
		{"trust.cert-manager.io/v1alpha1", "Bundle"},
		{"v1", "ConfigMap"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(kind.version)
		list.SetKind(kind.kind + "List")
		if err := c.List(t.Context(), list); err != nil && !strings.Contains(err.Error(), "no matches") {
			t.Fatal(err)
		}
		for _, object := range list.Items {
			all[kind.kind+" "+object.GetNamespace()+"/"+object.GetName()] = object.Object
		}
	}
	return all
}

// TestGather: what is listed is what is described, and Secrets are read only if told to.
func TestGather(t *testing.T) {
	w := newWorld(t)
	fleet(w)
	w.configMap("plant", "settings", nil, map[string]string{"a": "b"})
	root := newCA(t, "Read", nil)
	w.clusterIssuer("read", "{ca: {secretName: read}}")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: "read"}, Data: map[string][]byte{"tls.crt": root.PEM(), "tls.key": []byte("private")}}
	cluster := newCluster(t, w.seen)
	if err := cluster.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	asked := 0
	reader := interceptor.NewClient(cluster.WithWatch, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			asked++
			return c.Get(ctx, key, object, options...)
		},
	})
	for _, readSecrets := range []bool{false, true} {
		seen, err := Gather(t.Context(), reader, Options{Now: now, ReadSecrets: readSecrets})
		if err != nil {
			t.Fatal(err)
		}
		repository, left := Describe(seen)
		known := slices.ContainsFunc(repository.Bindings, func(b v1alpha1.IssuerBinding) bool { return b.Metadata.Name == "read" })
		if known != readSecrets || asked > 0 != readSecrets || len(seen.ConfigMaps) != 1 || len(seen.Bundles) != 1 {
			t.Errorf("--read-secrets %v: known %v, %d Secrets asked for, left %v", readSecrets, known, asked, left)
		}
		for _, kept := range seen.Secrets {
			if strings.Contains(string(kept), "private") {
				t.Error("a private key is kept")
			}
		}
	}
}
