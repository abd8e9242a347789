package renderer

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	plant    = planner.Ref{Namespace: "reanchor", Name: "plant"}
	rootRef  = planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}
	rootSpec = planner.CASpec{
		CommonName: "Fleet Root 2025", Organizations: []string{"Example"}, Algorithm: v1alpha1.ECDSA, Size: 384,
		Duration: 87600 * time.Hour,
	}
)

// anchors are the roots of testdata/small.
func anchors(t testing.TB) pki.Anchors {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "small", "anchors.pem"))
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := pki.ParsePEM(data)
	if err != nil {
		t.Fatal(err)
	}
	return pki.NewAnchors(certificates...)
}

// distributing is a target in the middle of a rollover: two keys, the old one
// signs, both anchors are out.
func distributing(t testing.TB) planner.Target {
	newSpec := rootSpec
	newSpec.CommonName = "Fleet Root 2026"
	return planner.Target{
		Keys: []planner.TargetKey{
			{Authority: rootRef, Name: "2025", Certificate: true, Issuer: true, Spec: rootSpec},
			{Authority: rootRef, Name: "2026", Certificate: true, Issuer: true, Spec: newSpec},
		},
		Issuers: []planner.TargetIssuer{{Ref: planner.Ref{Name: "fleet"}, Authority: rootRef, Key: "2025"}},
		Bundles: []planner.TargetBundle{{Name: "fleet-trust", Anchors: anchors(t), Target: fleetTarget}},
	}
}

var fleetTarget = v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}}

func smallRepository(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "small", "repository.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustRender(t testing.TB, loaded *Loaded, target planner.Target) []*unstructured.Unstructured {
	t.Helper()
	made, err := loaded.Render(target, plant)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func asYAML(t testing.TB, objects []*unstructured.Unstructured) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes()
}

func TestRenderGolden(t *testing.T) {
	loaded := mustLoad(t, repository(smallRepository(t)), "clusters/plant")
	target := distributing(t)
	target.Bundles[0].Target = loaded.Desired.Bundles[0].Spec.Target
	got := asYAML(t, mustRender(t, loaded, target))
	golden.File(t, filepath.Join("testdata", "small", "manifests.yaml"), got)
}

func TestRenderIsStable(t *testing.T) {
	want := asYAML(t, mustRender(t, mustLoad(t, repository(smallRepository(t)), "clusters/plant"), distributing(t)))
	for range 5 {
		target := distributing(t)
		slices.Reverse(target.Keys)
		loaded := mustLoad(t, repository(smallRepository(t)), "clusters/plant")
		if got := asYAML(t, mustRender(t, loaded, target)); !bytes.Equal(got, want) {
			t.Fatalf("equal input gave other manifests:\n%s\nwant\n%s", got, want)
		}
	}
}

func TestRenderKeepsTheLastResultToItself(t *testing.T) {
	loaded := mustLoad(t, repository(fleet), "")
	want := asYAML(t, mustRender(t, loaded, distributing(t)))
	for _, o := range mustRender(t, loaded, distributing(t)) {
		o.SetName("changed by the caller")
	}
	if got := asYAML(t, mustRender(t, loaded, distributing(t))); !bytes.Equal(got, want) {
		t.Errorf("a caller's change came back:\n%s", got)
	}
	moved := distributing(t)
	moved.Issuers[0].Key = "2026"
	wantText(t, string(asYAML(t, mustRender(t, loaded, moved))), "secretName: fleet-root-2026\n---")
	other, err := loaded.Render(moved, planner.Ref{Namespace: "reanchor", Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, string(asYAML(t, other)), "reanchor.dev/domain: other")
}

func TestConcurrentUse(t *testing.T) {
	shared := mustLoad(t, repository(smallRepository(t)), "clusters/plant")
	want := asYAML(t, mustRender(t, shared, distributing(t)))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			own, err := Load(repository(smallRepository(t)), "clusters/plant", Options{})
			if err != nil {
				t.Error(err)
				return
			}
			for _, loaded := range []*Loaded{own, shared} {
				made, err := loaded.Render(distributing(t), plant)
				if err != nil || !bytes.Equal(asYAML(t, made), want) {
					t.Errorf("rendered other manifests (%v)", err)
				}
			}
		})
	}
	group.Wait()
}

// names are the objects in their order, as "Kind namespace/name".
func names(objects []*unstructured.Unstructured) []string {
	var all []string
	for _, o := range objects {
		all = append(all, identityOf(o).String())
	}
	return all
}

func TestRenderTargets(t *testing.T) {
	belowRoot := planner.CASpec{CommonName: "Issuing a.2026", Algorithm: v1alpha1.ECDSA, Size: 256, Duration: time.Hour, SignedBy: planner.Ref{Name: "fleet-root-2026"}}
	ed25519 := planner.CASpec{CommonName: "Fleet Root 2026", Algorithm: v1alpha1.Ed25519, Duration: time.Hour}
	for name, c := range map[string]struct {
		target planner.Target
		want   []string
	}{
		"nothing yet": {},
		"a first key": {
			planner.Target{Keys: []planner.TargetKey{{Authority: rootRef, Name: "2026", Certificate: true, Spec: ed25519}}},
			[]string{"Issuer cert-manager/fleet-root-self-signed", "Certificate cert-manager/fleet-root-2026"},
		},
		"a key whose Certificate has gone before its issuer": {
			planner.Target{Keys: []planner.TargetKey{{Authority: rootRef, Name: "2025", Issuer: true}}},
			[]string{"Issuer cert-manager/fleet-root-2025"},
		},
		"a bundle without anchors": {
			planner.Target{Bundles: []planner.TargetBundle{{Name: "fleet-trust", Target: fleetTarget}}}, nil,
		},
		"issuers of both scopes": {
			planner.Target{Issuers: []planner.TargetIssuer{
				{Ref: planner.Ref{Name: "fleet"}, Authority: rootRef, Key: "2026"},
				{Ref: planner.Ref{Namespace: "cert-manager", Name: "fleet"}, Authority: rootRef, Key: "2026"},
			}},
			[]string{"Issuer cert-manager/fleet", "ClusterIssuer fleet"},
		},
		"an intermediate": {
			planner.Target{Keys: []planner.TargetKey{
				{Authority: planner.Ref{Namespace: "plant", Name: "issuing"}, Name: "a.2026", Certificate: true, Issuer: true, Spec: belowRoot},
			}},
			[]string{"Issuer plant/issuing-a.2026", "Certificate plant/issuing-a.2026"},
		},
		"a key that signs for other namespaces": {
			planner.Target{Keys: []planner.TargetKey{{Authority: rootRef, Name: "2026", Issuer: true, ClusterIssuer: true}}},
			[]string{"Issuer cert-manager/fleet-root-2026", "ClusterIssuer fleet-root-2026"},
		},
		"an authority that has left Git": {
			planner.Target{Keys: []planner.TargetKey{
				{Authority: planner.Ref{Namespace: "old", Name: "gone"}, Name: "1", Certificate: true, Issuer: true, Spec: rootSpec},
			}},
			[]string{"Issuer old/gone-1", "Issuer old/gone-self-signed", "Certificate old/gone-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(mustRender(t, mustLoad(t, repository(fleet), ""), c.target)); !slices.Equal(got, c.want) {
				t.Errorf("rendered %q, want %q", got, c.want)
			}
		})
	}
}

// A root, an intermediate beside it and one in another namespace, each with its key.
func TestRenderIntermediatesGolden(t *testing.T) {
	near := planner.CASpec{
		CommonName: "Near a.2025", Algorithm: v1alpha1.ECDSA, Size: 256, Duration: 8760 * time.Hour,
		SignedBy: planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2025"},
	}
	far := near
	far.CommonName, far.SignedBy = "Far x.a.2025", planner.Ref{Name: "near-a.2025"}
	target := planner.Target{
		Keys: []planner.TargetKey{
			{Authority: rootRef, Name: "2025", Certificate: true, Issuer: true, Spec: rootSpec},
			{Authority: planner.Ref{Namespace: "cert-manager", Name: "near"}, Name: "a.2025", Certificate: true, Issuer: true, ClusterIssuer: true, Spec: near},
			{Authority: planner.Ref{Namespace: "plant", Name: "far"}, Name: "x.a.2025", Certificate: true, Issuer: true, Spec: far},
		},
		Issuers: []planner.TargetIssuer{{Ref: planner.Ref{Namespace: "plant", Name: "local"}, Authority: planner.Ref{Namespace: "plant", Name: "far"}, Key: "x.a.2025"}},
	}
	golden.File(t, filepath.Join("testdata", "intermediates.yaml"), asYAML(t, mustRender(t, mustLoad(t, repository(fleet), ""), target)))
}

func TestInternalIssuersBearNoBinding(t *testing.T) {
	target := planner.Target{Keys: []planner.TargetKey{{Authority: rootRef, Name: "2025", Issuer: true, ClusterIssuer: true}}}
	made := mustRender(t, mustLoad(t, repository(fleet), ""), target)
	if len(made) != 2 {
		t.Fatalf("rendered %q", names(made))
	}
	for _, o := range made {
		labels := o.GetLabels()
		if _, bound := labels[v1alpha1.LabelBinding]; bound || labels[v1alpha1.LabelAuthority] != "fleet-root" || labels[v1alpha1.LabelKey] != "2025" {
			t.Errorf("the labels of %s are %v", identityOf(o), labels)
		}
	}
}

func TestAClusterIssuerOfAKeyTakesNoBindingsPlace(t *testing.T) {
	target := planner.Target{
		Keys:    []planner.TargetKey{{Authority: rootRef, Name: "2025", ClusterIssuer: true}},
		Issuers: []planner.TargetIssuer{{Ref: planner.Ref{Name: "fleet-root-2025"}, Authority: rootRef, Key: "2025"}},
	}
	_, err := mustLoad(t, repository(fleet), "").Render(target, plant)
	if err == nil {
		t.Fatal("it was rendered")
	}
	wantText(t, err.Error(), "ClusterIssuer fleet-root-2025: would be rendered twice")
}

func TestLabelsStayOutOfPodTemplatesAndSelectors(t *testing.T) {
	loaded := mustLoad(t, repository(smallRepository(t)), "clusters/plant")
	for _, o := range mustRender(t, loaded, distributing(t)) {
		if got := o.GetLabels()[v1alpha1.LabelDomainName]; got != "plant" {
			t.Errorf("%s belongs to %q", identityOf(o), got)
		}
		if o.GetKind() != "Deployment" {
			continue
		}
		spec, err := yaml.Marshal(o.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(spec), "reanchor.dev/") {
			t.Errorf("labels got into the Deployment's spec:\n%s", spec)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	const component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
	for name, c := range map[string]struct {
		archive string
		domain  planner.Ref
		want    string
	}{
		"an overlay that renames what it is found by": {
			fleet + "-- overlay/kustomization.yaml --\n" + component + "namePrefix: acme-\n", plant,
			"overlay: renames, moves or removes Bundle fleet-trust, Certificate cert-manager/fleet-root-2025",
		},
		"an overlay that moves the keys": {
			fleet + "-- overlay/kustomization.yaml --\n" + component + "namespace: elsewhere\n", plant,
			"overlay: renames, moves or removes Certificate cert-manager/fleet-root-2025",
		},
		"an overlay that sets our labels": {
			fleet + "-- overlay/kustomization.yaml --\n" + component + "labels: [{pairs: {reanchor.dev/key: other}}]\n", plant,
			"the label reanchor.dev/key is set by reanchor alone",
		},
		"an overlay that kustomize cannot apply": {
			fleet + "-- overlay/kustomization.yaml --\n" + component +
				"patches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: aHVzaA==}}'}]\n", plant,
			"render reanchor/plant: overlay: compose: ",
		},
		"a manifest with our labels": {
			strings.Replace(fleet, "[pki.yaml]", "[pki.yaml, own.yaml]", 1) +
				"-- own.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {reanchor.dev/bundle: b}}}\n", plant,
			"ConfigMap c: the label reanchor.dev/bundle is set by reanchor alone",
		},
		"a manifest in a key's place": {
			strings.Replace(fleet, "[pki.yaml]", "[pki.yaml, own.yaml]", 1) +
				"-- own.yaml --\n{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: fleet-root-2026, namespace: cert-manager}}\n", plant,
			"own.yaml:1: Issuer cert-manager/fleet-root-2026 is what reanchor renders",
		},
		"a domain whose name is no label": {
			fleet, planner.Ref{Namespace: "reanchor", Name: strings.Repeat("x", 64)}, "give the TrustDomain a name of at most 63 characters",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mustLoad(t, repository(c.archive), "").Render(distributing(t), c.domain)
			if err == nil {
				t.Fatal("it was rendered")
			}
			wantText(t, err.Error(), c.want)
			if strings.Contains(err.Error(), "aHVzaA==") {
				t.Errorf("the error repeats a secret: %s", err)
			}
		})
	}
}

func TestRenderRefusesTwoObjectsOfOneName(t *testing.T) {
	target := distributing(t)
	target.Issuers = append(target.Issuers, planner.TargetIssuer{
		Ref: planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2026"}, Authority: rootRef, Key: "2025",
	})
	_, err := mustLoad(t, repository(fleet), "").Render(target, plant)
	if err == nil {
		t.Fatal("it was rendered")
	}
	wantText(t, err.Error(), "Issuer cert-manager/fleet-root-2026: would be rendered twice")
}
