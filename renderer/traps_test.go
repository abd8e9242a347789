package renderer

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// The three traps that kustomize lays for our documents. Each test first shows
// that the trap is there: without the renderer, the overlay breaks them.

const namespaced = fleet + `
-- site/kustomization.yaml --
namespace: cert-manager
resources: [base, native.yaml]
-- site/base/kustomization.yaml --
resources: [pki.yaml]
-- site/base/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: root}
spec: {subject: {commonName: Root}, keys: [{name: "1", state: Signing}]}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: of-the-cluster}
spec: {scope: Cluster, authority: root}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: of-the-namespace}
spec: {scope: Namespace, authority: root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec: {authorities: [root], target: {configMap: {key: ca.crt}}}
-- site/native.yaml --
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: vault}
spec: {vault: {server: "https://vault.example", path: pki, auth: {kubernetes: {role: r}}}}
---
apiVersion: trust.cert-manager.io/v1alpha1
kind: Bundle
metadata: {name: public}
spec: {sources: [{useDefaultCAs: true}], target: {configMap: {key: ca.crt}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sites.example.com}
spec: {group: example.com, scope: Cluster, names: {kind: Site, plural: sites}, versions: []}
---
apiVersion: example.com/v1
kind: Site
metadata: {name: here}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
`

func TestNamespaceLeavesClusterScopedDocumentsAlone(t *testing.T) {
	tree := repository(namespaced)
	if got := strings.Count(naive(t, tree, "site"), "namespace: cert-manager"); got != 8 {
		t.Errorf("kustomize alone puts %d objects into the namespace: the trap has changed, want 8", got)
	}
	loaded := mustLoad(t, tree, "site")
	for _, b := range loaded.Desired.Bindings {
		want := map[v1alpha1.BindingScope]string{v1alpha1.ScopeCluster: "", v1alpha1.ScopeNamespace: "cert-manager"}[b.Spec.Scope]
		if b.Metadata.Namespace != want {
			t.Errorf("IssuerBinding %s lies in %q, want %q", b.Metadata.Name, b.Metadata.Namespace, want)
		}
	}
	if got := loaded.Desired.Authorities[0].Metadata.Namespace; got != "cert-manager" {
		t.Errorf("the authority lies in %q", got)
	}
	if got := loaded.Desired.Bundles[0].Metadata.Namespace; got != "" {
		t.Errorf("the bundle lies in %q", got)
	}
	for _, o := range loaded.Native {
		want := ""
		if o.GetKind() == "ConfigMap" {
			want = "cert-manager"
		}
		if o.GetNamespace() != want {
			t.Errorf("%s %s lies in %q, want %q", o.GetKind(), o.GetName(), o.GetNamespace(), want)
		}
	}
}

// prefixed has a prefix in the middle of three layers and another on top, and a
// Certificate in a namespace of its own.
const prefixed = fleet + `
-- plant/kustomization.yaml --
namePrefix: plant-
resources: [../base, leaf.yaml]
-- plant/leaf.yaml --
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: broker, namespace: plant}
spec: {secretName: broker, dnsNames: [broker], issuerRef: {name: fleet, kind: ClusterIssuer}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: outside, namespace: plant}
spec: {secretName: outside, dnsNames: [outside], issuerRef: {name: elsewhere, kind: ClusterIssuer}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: plant, annotations: {cert-manager.io/cluster-issuer: fleet}}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
-- base/kustomization.yaml --
resources: [pki.yaml, issuing.yaml]
-- base/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: root, namespace: cert-manager}
spec: {subject: {commonName: Root}, keys: [{name: "1", state: Signing}]}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: fleet}
spec: {scope: Cluster, authority: root}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: local}
spec: {scope: Namespace, authority: root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec: {authorities: [root], target: {configMap: {key: ca.crt}}}
-- base/issuing.yaml --
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: vault}
spec: {vault: {server: "https://vault.example", path: pki, auth: {kubernetes: {role: r}}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: from-vault, namespace: plant}
spec: {secretName: from-vault, dnsNames: [v], issuerRef: {name: vault, kind: ClusterIssuer}}
-- top/kustomization.yaml --
namePrefix: acme-
nameSuffix: -eu
resources: [../plant]
`

func TestNamePrefixFollowsReferences(t *testing.T) {
	tree := repository(prefixed)
	wantText(t, naive(t, tree, "top"), "name: acme-plant-root-eu", "authority: root", "- root", "name: fleet")
	loaded := mustLoad(t, tree, "top")
	const root = "acme-plant-root-eu"
	if got := loaded.Desired.Authorities[0].Metadata.Name; got != root {
		t.Fatalf("the authority is named %s", got)
	}
	for _, b := range loaded.Desired.Bindings {
		if b.Spec.Authority != root {
			t.Errorf("IssuerBinding %s refers to %s, want %s", b.Metadata.Name, b.Spec.Authority, root)
		}
	}
	if got := loaded.Desired.Bundles[0].Spec.Authorities; len(got) != 1 || got[0] != root {
		t.Errorf("the bundle refers to %s, want %s", got, root)
	}
	issuers := map[string]string{
		"acme-plant-broker-eu":     "acme-plant-fleet-eu",
		"acme-plant-outside-eu":    "elsewhere",
		"acme-plant-from-vault-eu": "acme-plant-vault-eu",
	}
	for _, o := range loaded.Native {
		switch o.GetKind() {
		case "Certificate":
			if got, _, _ := unstructured.NestedString(o.Object, "spec", "issuerRef", "name"); got != issuers[o.GetName()] {
				t.Errorf("Certificate %s refers to %s, want %s", o.GetName(), got, issuers[o.GetName()])
			}
		case "Ingress":
			if got := o.GetAnnotations()["cert-manager.io/cluster-issuer"]; got != "acme-plant-fleet-eu" {
				t.Errorf("the Ingress refers to %s", got)
			}
		}
	}
}

const patched = fleet + `
-- nested/kustomization.yaml --
resources: [../layer]
patches:
- path: patch.yaml
-- layer/kustomization.yaml --
resources: [pki.yaml, workload.yaml]
-- layer/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  subject: {commonName: Fleet Root}
  keys:
  - {name: "2024", state: Retired}
  - {name: "2025", state: Signing}
-- layer/workload.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: broker}
spec:
  selector: {matchLabels: {app: broker}}
  template:
    metadata: {labels: {app: broker}}
    spec:
      containers:
      - {name: broker, image: broker}
      - {name: sidecar, image: sidecar}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: broker}
spec: {secretName: broker, dnsNames: [a, b], issuerRef: {name: x}}
-- nested/patch.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  keys:
  - {name: "2026", state: Signing}
  - {name: "2025", state: Trusted}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: broker}
spec:
  template:
    spec:
      containers:
      - {name: sidecar, image: patched}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: broker}
spec: {dnsNames: [c]}
`

func TestListsMergeByName(t *testing.T) {
	tree := repository(patched)
	if out := naive(t, tree, "nested"); strings.Contains(out, "2024") {
		t.Errorf("kustomize alone merges keys by name: the trap is gone\n%s", out)
	}
	loaded := mustLoad(t, tree, "nested")
	states := map[string]v1alpha1.KeyState{}
	for _, key := range loaded.Desired.Authorities[0].Spec.Keys {
		states[key.Name] = key.State
	}
	if len(states) != 3 || states["2024"] != v1alpha1.KeyRetired || states["2025"] != v1alpha1.KeyTrusted || states["2026"] != v1alpha1.KeySigning {
		t.Errorf("the keys are %v", states)
	}
	for _, o := range loaded.Native {
		switch o.GetKind() {
		case "Deployment":
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			if len(containers) != 2 {
				t.Errorf("the Deployment's containers no longer merge by name: %v", containers)
			}
		case "Certificate":
			names, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "dnsNames")
			if len(names) != 1 || names[0] != "c" {
				t.Errorf("the Certificate's names are %v, want the patch's alone", names)
			}
		}
	}
}
