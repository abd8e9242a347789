package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
)

// folderWith writes files into a folder of their own, and reads it as a domain's.
func folderWith(t *testing.T, files map[string]string) (string, declared) {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read, err := loadFolder(folder, v1alpha1.DefaultClusterResourceNamespace)
	if err != nil {
		t.Fatal(err)
	}
	return folder, read
}

// siteFiles declare a root whose bundle reanchor writes itself; the last of them is the
// key's recorded certificate.
var siteFiles = map[string]string{
	"kustomization.yaml": "resources: [pki.yaml, secret.yaml]\n",
	"pki.yaml": `apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  subject: {commonName: Fleet Root}
  keys: [{name: "2025", state: Signing}]
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: fleet}
spec: {scope: Cluster, authority: fleet-root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: fleet-trust}
spec:
  authorities: [fleet-root]
  via: ConfigMap
  target: {configMap: {key: ca.crt}, namespaceSelector: {matchLabels: {trust: fleet}}}
`,
	"secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: settings, namespace: plant}\nstringData: {colour: TOPSECRET}\n",
	"anchors/fleet-root/2025.pem": `-----BEGIN CERTIFICATE-----
MIIBJjCB2aADAgECAgEBMAUGAytlcDAaMRgwFgYDVQQDEw9GbGVldCBSb290IDIw
MjUwIBcNMjAwMTAxMDAwMDAwWhgPMjMwMDAxMDEwMDAwMDBaMBoxGDAWBgNVBAMT
D0ZsZWV0IFJvb3QgMjAyNTAqMAUGAytlcAMhACU9BTNnwELRDMUoeaFXwKeKvloY
kN60f8t6vQan3P8Io0IwQDAOBgNVHQ8BAf8EBAMCAgQwDwYDVR0TAQH/BAUwAwEB
/zAdBgNVHQ4EFgQU0dfR/Yr97Mm6EX329IudjJwdNVEwBQYDK2VwA0EAAbbY9Zih
ma5BjjC/oOOfh1xRvbF0c4TgI5gbsaqXfQKSuQzWTmSajNtxjANPOWjxbAu2TFfM
RD6NAZEsixb/Dw==
-----END CERTIFICATE-----
`,
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// siteCluster has the namespaces of the site, and an issuer that signs with an older key.
func siteCluster(t *testing.T, functions interceptor.Funcs) *cluster {
	t.Helper()
	bundles := &unstructured.UnstructuredList{}
	bundles.SetGroupVersionKind(schema.GroupVersionKind{Group: "trust.cert-manager.io", Version: "v1alpha1", Kind: "BundleList"})
	labels := map[string]string{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "plant", v1alpha1.LabelBinding: "fleet"}
	issuer := &certmanagerv1.ClusterIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "fleet", Labels: labels},
		Spec:       certmanagerv1.IssuerSpec{IssuerConfig: certmanagerv1.IssuerConfig{CA: &certmanagerv1.CAIssuer{SecretName: "fleet-root-2024"}}},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "settings"}, Data: map[string][]byte{"colour": []byte("LIVESECRET")}}
	return fakeCluster(t, functions, fleetDomain(), issuer, secret,
		namespace("plant", map[string]string{"trust": "fleet"}), namespace("lab", map[string]string{"trust": "fleet"}), namespace("other", nil))
}

// TestDiffAgainstACluster: what is to be made, changed and left out; and no Secret.
func TestDiffAgainstACluster(t *testing.T) {
	_, read := folderWith(t, siteFiles)
	c := siteCluster(t, interceptor.Funcs{})
	compared, err := c.compareAll(t.Context(), fleetDomain(), read, v1alpha1.DefaultClusterResourceNamespace, noon)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeDifferences(&out, palette{}, compared.Differences); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"--- cluster: ClusterIssuer fleet\n+++ end state: ClusterIssuer fleet\n@@ ",
		"-    secretName: fleet-root-2024\n+    secretName: fleet-root-2025\n",
		"+++ end state: ConfigMap lab/fleet-trust\n",
		"+++ end state: ConfigMap plant/fleet-trust\n",
		"+++ end state: Certificate cert-manager/fleet-root-2025\n",
		"+    MIIBJjCB2aADAgECAgEB",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q", want)
		}
	}
	for _, never := range []string{"SECRET", "Secret plant/settings", "other/fleet-trust", "default/fleet-trust"} {
		if strings.Contains(out.String(), never) {
			t.Errorf("holds %q", never)
		}
	}
	if len(compared.Unread) != 1 || compared.Unread[0].String() != "Secret plant/settings" || t.Failed() {
		t.Errorf("unread %v in\n%s", compared.Unread, out.String())
	}
}

// TestDiffKnowsKeysThatAreNotRecorded from the cluster: a bundle is not empty because
// nothing is recorded on this branch.
func TestDiffKnowsKeysThatAreNotRecorded(t *testing.T) {
	_, read := folderWith(t, siteFiles)
	key := read.Record.Keys[0]
	seen := planner.Key{Authority: planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}, Name: "2025", Certificate: key.Certificate}
	other := seen
	other.Name = "2026"
	unissued := planner.Key{Authority: seen.Authority, Name: "2027"}
	known := knowing(read.Record, []planner.Key{seen, other, unissued})
	if len(known.Keys) != 2 || known.Keys[1].Name != "2026" || len(read.Record.Keys) != 1 {
		t.Errorf("%+v", known)
	}
	if known := knowing(planner.Record{}, []planner.Key{seen}); len(read.EndState(known).Bundles[0].Anchors) != 1 {
		t.Error("the bundle is empty")
	}
}

func TestDiffPaintsLines(t *testing.T) {
	difference := applier.Difference{
		Object: applier.Object{GroupVersionKind: schema.GroupVersionKind{Kind: "ConfigMap"}, Ref: planner.Ref{Namespace: "ns", Name: "a"}},
		Live:   map[string]any{"data": "old"}, Desired: map[string]any{"data": "new"}, Taken: "belongs to somebody",
	}
	var out bytes.Buffer
	if err := writeDifferences(&out, palette{colours: true}, []applier.Difference{difference}); err != nil {
		t.Fatal(err)
	}
	const want = "# ConfigMap ns/a belongs to somebody\n\x1b[1m--- cluster: ConfigMap ns/a\x1b[0m\n\x1b[1m+++ end state: ConfigMap ns/a\x1b[0m\n" +
		"\x1b[36m@@ -1,1 +1,1 @@\x1b[0m\n\x1b[31m-data: old\x1b[0m\n\x1b[32m+data: new\x1b[0m\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// TestRenderPrintsNoPrivateKey, whoever put one there.
func TestRenderPrintsNoPrivateKey(t *testing.T) {
	files := map[string]string{"kustomization.yaml": "resources: [pki.yaml, key.yaml]\n", "pki.yaml": siteFiles["pki.yaml"]}
	files["key.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: k, namespace: plant}\ndata:\n  key: |\n    -----BEGIN " + "PRIVATE KEY-----\n    MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n    -----END " + "PRIVATE KEY-----\n"
	folder, _ := folderWith(t, files)
	_, _, err := renderFolder(folder, renderFlags{namespace: "plant", name: "fleet", clusterResourceNamespace: v1alpha1.DefaultClusterResourceNamespace})
	if err == nil || !strings.HasPrefix(err.Error(), "nothing is printed: ") || strings.Contains(err.Error(), "MC4C") {
		t.Errorf("got %v", err)
	}
}
