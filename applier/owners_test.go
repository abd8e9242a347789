package applier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

var mill = planner.Ref{Namespace: "reanchor-system", Name: "mill"}

func trustDomain(ref planner.Ref) *v1alpha1.TrustDomain {
	return &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
}

// ownedBy labels an object as a domain's.
func ownedBy[T client.Object](domain planner.Ref, object T) T {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	for key, value := range domainLabels(domain) {
		labels[key] = value
	}
	object.SetLabels(labels)
	return object
}

// everything that the repository of the desired fleet names, each belonging to a domain.
func everything(t *testing.T, domain planner.Ref) []client.Object {
	t.Helper()
	named := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	return []client.Object{
		ownedBy(domain, &certmanagerv1.Certificate{ObjectMeta: named("cert-manager", "root-2026")}),
		ownedBy(domain, &certmanagerv1.Issuer{ObjectMeta: named("cert-manager", "root-2026")}),
		ownedBy(domain, &certmanagerv1.Issuer{ObjectMeta: named("cert-manager", "root-self-signed")}),
		ownedBy(domain, &certmanagerv1.ClusterIssuer{ObjectMeta: named("", "root-2026")}),
		ownedBy(domain, &certmanagerv1.ClusterIssuer{ObjectMeta: named("", "fleet")}),
		ownedBy(domain, bundleObject(t, "trust", "ca.crt", "fleet")),
		// what it does not name
		ownedBy(domain, &certmanagerv1.Certificate{ObjectMeta: named("plant", "leaf")}),
		ownedBy(domain, &certmanagerv1.Issuer{ObjectMeta: named("plant", "root-2026")}),
		ownedBy(domain, &certmanagerv1.ClusterIssuer{ObjectMeta: named("", "other")}),
		ownedBy(domain, bundleObject(t, "other", "ca.crt", "fleet")),
		ownedBy(domain, copyOf("a", "trust", nil)),
	}
}

func TestWhatAnotherDomainOwnsIsForeign(t *testing.T) {
	all := []string{
		"Bundle trust", "Certificate cert-manager/root-2026", "ClusterIssuer fleet", "ClusterIssuer root-2026",
		"Issuer cert-manager/root-2026", "Issuer cert-manager/root-self-signed",
	}
	for name, c := range map[string]struct {
		domain  planner.Ref
		exists  bool
		desired planner.Desired
		want    []string
	}{
		"another domain's":             {mill, true, desiredFleet(), all},
		"copies of another domain":     {mill, true, via(v1alpha1.ViaConfigMap), append([]string{all[1], all[2], all[3], "ConfigMap a/trust"}, all[4:]...)},
		"copies that are looked at":    {mill, true, via(v1alpha1.ViaObserved), all[1:]},
		"of a domain that is gone":     {mill, false, desiredFleet(), nil},
		"the domain's own":             {fleet, true, desiredFleet(), nil},
		"with half of the labels only": {planner.Ref{Name: "mill"}, true, desiredFleet(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			objects := append(everything(t, c.domain), namespace("a", "fleet"))
			if c.exists {
				objects = append(objects, trustDomain(c.domain))
			}
			cluster, _ := newCluster(t, nil, objects...)
			seen, err := (&Observer{Reader: cluster}).Look(t.Context(), fleet, c.desired, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, foreign := range seen.Foreign {
				got = append(got, foreign.Object)
				if foreign.Owner != mill {
					t.Errorf("%s is said to be %s's", foreign.Object, foreign.Owner)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("foreign %q\nwant %q", got, c.want)
			}
		})
	}
	if got, want := (Foreign{Object: "ClusterIssuer fleet", Owner: mill}).String(), "ClusterIssuer fleet belongs to TrustDomain reanchor-system/mill: give it another name, or take it out of that one's repository first"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A copy of another domain that exists is not taken for one of the bundle.
func TestACopyOfAnotherDomainHasAProblem(t *testing.T) {
	root := newRoot(t, "Root")
	theirs := ownedBy(mill, copyOf("a", "trust", map[string]string{"ca.crt": string(root.PEM())}))
	observed := observe(t, via(v1alpha1.ViaConfigMap), nil, namespace("a", "fleet"), theirs, trustDomain(mill))
	if len(observed.Copies) != 1 || !strings.HasPrefix(observed.Copies[0].Problem, "it belongs to TrustDomain reanchor-system/mill") || len(observed.Copies[0].Anchors) != 0 {
		t.Errorf("copies %+v", observed.Copies)
	}
}

// Whether a domain exists is asked once, at the API server, and not being told is an error.
func TestWhetherADomainExistsIsAskedOnce(t *testing.T) {
	objects := append(everything(t, mill), trustDomain(mill))
	cluster, _ := newCluster(t, nil, objects...)
	asked, answer := 0, error(nil)
	server := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if _, is := object.(*unstructured.Unstructured); !is {
				t.Errorf("a %T is read, which a client may take from its cache", object)
			}
			if asked++; answer != nil {
				return answer
			}
			return c.Get(ctx, key, object, options...)
		},
	})
	observer := &Observer{Reader: cluster, APIReader: server}
	if seen, err := observer.Look(t.Context(), fleet, desiredFleet(), nil); err != nil || len(seen.Foreign) != 6 || asked != 1 {
		t.Errorf("foreign %v, %v, asked %d times", seen.Foreign, err, asked)
	}
	answer = apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("trustdomains").GroupResource(), "mill", errors.New("no"))
	if _, err := observer.Look(t.Context(), fleet, desiredFleet(), nil); !errors.Is(err, answer) || !strings.Contains(err.Error(), "grant get on trustdomains.reanchor.dev") {
		t.Errorf("error %v", err)
	}
}

// What stands in the place of an object that is to be applied.
func TestWhoseObjectsAreTakenOver(t *testing.T) {
	issuer := &unstructured.Unstructured{Object: *decode[map[string]any](t, `{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: fleet, labels: {reanchor.dev/binding: fleet}}, spec: {ca: {secretName: s}}}`)}
	bundleCopy := manifest(t, "ConfigMap", "trust", `{ca.crt: x}`)
	bundleCopy.SetLabels(map[string]string{v1alpha1.LabelBundle: "trust"})
	native := manifest(t, "ConfigMap", "trust", `{ca.crt: x}`)
	bundle := bundleObject(t, "trust", "ca.crt", "fleet")
	bundle.SetLabels(map[string]string{v1alpha1.LabelBundle: "trust"})
	controlled := func(object client.Object) client.Object {
		object.SetOwnerReferences(controlledBy("Bundle", "trust"))
		return object
	}
	asked := func(manifest *unstructured.Unstructured) *unstructured.Unstructured {
		asking := manifest.DeepCopy()
		asking.SetAnnotations(map[string]string{v1alpha1.AnnotationAdopt: v1alpha1.Adopt})
		return asking
	}
	bound := func(issuer *certmanagerv1.ClusterIssuer) client.Object {
		issuer.Spec.CA = &certmanagerv1.CAIssuer{SecretName: "s"}
		return issuer
	}
	bare := func() *corev1.ConfigMap { return unlabelled(copyOf("ns", "trust", nil)) }
	standingIssuer := func() *certmanagerv1.ClusterIssuer {
		return &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "fleet"}}
	}
	unlabelledBundle := bundleObject(t, "trust", "ca.crt", "fleet")
	unlabelledBundle.SetLabels(nil)
	trustManagers := copyOf("ns", "trust", nil)
	trustManagers.Labels = map[string]string{LabelBundleCopy: "trust"}
	for name, c := range map[string]struct {
		manifest *unstructured.Unstructured
		there    client.Object
		conflict string
	}{
		"another domain's issuer":                 {issuer, ownedBy(mill, standingIssuer()), "ClusterIssuer fleet belongs to TrustDomain reanchor-system/mill: give it another name"},
		"an issuer of a domain that is gone":      {issuer, nil, ""},
		"somebody's issuer":                       {issuer, standingIssuer(), "ClusterIssuer fleet is there already, and reanchor did not make it: annotate its document"},
		"somebody's issuer that is asked for":     {asked(issuer), bound(standingIssuer()), ""},
		"another issuer than is asked for":        {asked(issuer), standingIssuer(), "ClusterIssuer fleet is not taken over, for it is not yet as its document says: its spec is another"},
		"a controller's that is asked for":        {asked(issuer), controlled(bound(standingIssuer())), "ClusterIssuer fleet is made by Bundle trust"},
		"another domain's that is asked for":      {asked(issuer), ownedBy(mill, bound(standingIssuer())), "ClusterIssuer fleet belongs to TrustDomain reanchor-system/mill"},
		"a controller's issuer":                   {issuer, controlled(standingIssuer()), "ClusterIssuer fleet is made by Bundle trust: give it another name"},
		"somebody's Bundle":                       {bundle, unlabelledBundle, "Bundle trust is there already, and reanchor did not make it: annotate its document"},
		"somebody's ConfigMap, by a copy":         {bundleCopy, bare(), "ConfigMap ns/trust was not made by reanchor: delete it"},
		"trust-manager's copy, by a copy":         {bundleCopy, trustManagers, "ConfigMap ns/trust was not made by reanchor: delete it"},
		"a copy of a domain that is gone":         {bundleCopy, nil, ""},
		"another domain's copy":                   {bundleCopy, ownedBy(mill, copyOf("ns", "trust", nil)), "ConfigMap ns/trust belongs to TrustDomain reanchor-system/mill"},
		"somebody's ConfigMap, by a manifest":     {native, bare(), ""},
		"a controller's, by a manifest":           {native, controlled(bare()), ""},
		"another domain's ConfigMap, by manifest": {native, ownedBy(mill, bare()), "ConfigMap ns/trust belongs to TrustDomain reanchor-system/mill"},
		"nothing": {bundleCopy, trustDomain(planner.Ref{Namespace: "x", Name: "y"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			there := []client.Object{trustDomain(mill)}
			if c.there != nil {
				there = append(there, c.there)
			}
			cluster, count := newCluster(t, nil, there...)
			hand, manifests := &Applier{Reader: cluster, Writer: cluster}, []*unstructured.Unstructured{c.manifest}
			if c.there == nil { // what a domain applied that is gone
				if _, err := hand.Apply(t.Context(), planner.Ref{Namespace: "x", Name: "gone"}, manifests, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			result, err := hand.Apply(t.Context(), fleet, manifests, Options{Prune: true})
			if err != nil {
				t.Fatal(err)
			}
			if c.conflict == "" {
				if len(result.Applied) != 1 || len(result.Conflicts) > 0 {
					t.Errorf("result %+v, want it applied", result)
				}
				return
			}
			if len(result.Conflicts) != 1 || len(result.Applied) > 0 || !strings.HasPrefix(result.Conflicts[0].String(), c.conflict) || count.writes > 0 {
				t.Errorf("result %+v, %d writes, want %q", result, count.writes, c.conflict)
			}
		})
	}
}

// An object whose place cannot be looked at is not sent.
func TestWhatCannotBeLookedAtIsNotTaken(t *testing.T) {
	cluster, count := newCluster(t, nil)
	busy := apierrors.NewTooManyRequests("slow down", 1)
	reader := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return busy
		},
	})
	_, err := (&Applier{Reader: reader, Writer: cluster}).Apply(t.Context(), fleet, []*unstructured.Unstructured{manifest(t, "ConfigMap", "a", `{k: v}`)}, Options{})
	if !errors.Is(err, busy) || !strings.Contains(err.Error(), "apply ConfigMap ns/a: look at what is there") || count.writes != 0 {
		t.Errorf("error %v, %d writes", err, count.writes)
	}
}
