package importer

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/renderer"
)

// clusters are those of which the golden repositories tell.
var clusters = map[string]func(w *world){
	"empty":       func(*world) {},
	"fleet":       func(w *world) { fleet(w) },
	"aio-default": aioDefault,
	"hierarchy": func(w *world) {
		root := newCA(w, "Fleet Root", nil)
		issuing := newCA(w, "Fleet Issuing", root, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(5, 0, 0) })
		w.ca("root", selfSigned, root)
		w.clusterIssuer("root", "{ca: {secretName: root}}")
		w.ca("issuing", reference("root"), issuing, renewed)
		w.issuer("cert-manager", "issuing", "{ca: {secretName: issuing}}")
		w.clusterIssuer("issuing", "{ca: {secretName: issuing, crlDistributionPoints: ['http://crl.example/issuing']}}")
		w.issue("plant", "press", reference("issuing"), root, issuing.leaf(w, "press"), issuing.Certificate)
		w.bundle("trust", "{sources: ["+inline(root.Certificate)+"], "+toFleet+"}")
	},
	"unclear-config-maps": func(w *world) {
		root := newCA(w, "Fleet Root", nil)
		issuing := newCA(w, "Fleet Issuing", root, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(5, 0, 0) })
		w.ca("root", selfSigned, root)
		w.clusterIssuer("root", "{ca: {secretName: root}}")
		w.ca("issuing", reference("root"), issuing, renewed)
		w.clusterIssuer("issuing", "{ca: {secretName: issuing}}")
		w.configMap("plant", "torn", nil, map[string]string{"ca.crt": string(root.PEM()) + "-----BEGIN CERTIFICATE-----\nMIIB"})
		w.configMap("plant", "halfway", nil, map[string]string{"ca.crt": string(issuing.PEM())})
		w.configMap("plant", "settings", nil, map[string]string{"note": "no certificate at all"})
		w.configMap("plant", "binary", nil, nil)
		w.seen.ConfigMaps[len(w.seen.ConfigMaps)-1].BinaryData = map[string][]byte{"ca.crt": root.PEM()}
	},
	"secrets-from-elsewhere": func(w *world) {
		told, read := newCA(w, "Told", nil), newCA(w, "Read", nil)
		w.clusterIssuer("told", "{ca: {secretName: told.ca}}")
		w.issue("plant", "press", reference("told"), told, told.leaf(w, "press"))
		w.clusterIssuer("read", "{ca: {secretName: read}}")
		w.secret("cert-manager", "read", read.Certificate)
		w.clusterIssuer("unknown", "{ca: {secretName: unknown}}")
	},
	"roots-elsewhere": func(w *world) {
		offline, nowhere := newCA(w, "Offline Root", nil), newCA(w, "Nowhere", nil)
		site, lost := newCA(w, "Site CA", offline), newCA(w, "Lost CA", nowhere)
		w.issuer("plant", "site", "{ca: {secretName: site}}")
		w.issue("plant", "press", certificateIssuer("site"), nil, site.leaf(w, "press"), site.Certificate)
		w.configMap("plant", "roots", nil, map[string]string{"ca.crt": string(offline.PEM())})
		w.issuer("plant", "lost", "{ca: {secretName: lost}}")
		w.issue("plant", "oven", certificateIssuer("lost"), nil, lost.leaf(w, "oven"), lost.Certificate)
	},
	"external-issuers": func(w *world) {
		root := newCA(w, "Vault Root", nil)
		w.clusterIssuer("vault", "{vault: {server: 'https://vault.example', path: pki/sign/plant, auth: {kubernetes: {role: plant, secretRef: {name: v, key: token}}}}}")
		w.issue("plant", "press", reference("vault"), root, root.leaf(w, "press"))
		w.clusterIssuer("silent", "{vault: {server: 'https://vault.example', path: pki/sign/other, auth: {tokenSecretRef: {name: v, key: token}}}}")
		public := newCA(w, "Public Root", nil)
		one, two := newCA(w, "R10", public), newCA(w, "R11", public)
		w.clusterIssuer("letsencrypt", "{acme: {server: 'https://acme.example/directory', privateKeySecretRef: {name: account}}}")
		w.issue("web", "shop", reference("letsencrypt"), nil, one.leaf(w, "shop"), one.Certificate)
		w.issue("web", "blog", reference("letsencrypt"), nil, two.leaf(w, "blog"), two.Certificate)
	},
	"bundles": func(w *world) {
		root, other := fleet(w), newCA(w, "Other Site", nil)
		w.bundle("from-secret", "{sources: [{secret: {name: fleet-root, key: tls.crt}}], "+toFleet+"}")
		w.configMap("plant", "from-secret", map[string]string{"trust.cert-manager.io/bundle": "from-secret"}, map[string]string{"ca.crt": string(root.PEM())})
		w.bundle("strangers", "{sources: [{configMap: {name: roots, key: ca.crt}}], "+toFleet+"}")
		w.bundle("both", "{sources: ["+inline(root.Certificate, other.Certificate)+", {useDefaultCAs: true}], target: {configMap: {key: ca.crt}, additionalFormats: {pkcs12: {key: trust.p12, password: ''}}}}")
		w.bundle("of-a-release", "{sources: ["+inline(other.Certificate)+"], "+toFleet+"}", func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "trust"})
		})
		leaf := root.leaf(w, "pinned")
		w.bundle("with-a-leaf", "{sources: ["+inline(leaf)+"], "+toFleet+"}")
		w.configMap("line-2", "site-roots", nil, map[string]string{"roots.pem": string(root.PEM()) + string(other.PEM()), "README": "x"})
		w.configMap("line-1", "site-roots", nil, map[string]string{"roots.pem": string(root.PEM())})
		w.configMap("line-1", "two-keys", nil, map[string]string{"a.pem": string(root.PEM()), "b.pem": string(root.PEM())})
		w.configMap("line-1", "kube-root-ca.crt", nil, map[string]string{"ca.crt": string(root.PEM())})
		w.configMap("line-1", "nobodys", nil, map[string]string{"ca.crt": string(other.PEM())})
	},
	"what-cannot-be": func(w *world) {
		for _, c := range []struct {
			name   string
			change func(*x509.Certificate)
		}{
			{"expired", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }},
			{"future", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }},
			{"no-ca", func(c *x509.Certificate) { c.IsCA = false }},
			{"no-cert-sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }},
			{"same-subject-1", func(c *x509.Certificate) { c.Subject.CommonName = "Twin" }},
			{"same-subject-2", func(c *x509.Certificate) { c.Subject.CommonName = "Twin" }},
		} {
			w.ca(c.name, selfSigned, newCA(w, c.name, nil, c.change))
			w.clusterIssuer(c.name, "{ca: {secretName: "+c.name+"}}")
		}
		copied := newCA(w, "Copied", nil)
		w.ca("copied", selfSigned, copied)
		w.clusterIssuer("copied", "{ca: {secretName: copied}}")
		w.issuer("plant", "copied", "{ca: {secretName: copied}}")
		w.issue("plant", "of-the-copy", certificateIssuer("copied"), copied, copied.leaf(w, "of-the-copy"))
		w.ca("unused", selfSigned, newCA(w, "Unused", nil))
		w.ca("twice", selfSigned, newCA(w, "Twice", nil))
		w.ca("twice-too", selfSigned, newCA(w, "Twice too", nil), func(c *certmanagerv1.Certificate) { c.Spec.SecretName = "twice" })
		w.clusterIssuer("twice", "{ca: {secretName: twice}}")
		w.ca("released", selfSigned, newCA(w, "Released", nil))
		w.clusterIssuer("released", "{ca: {secretName: released}}", func(m *metav1.ObjectMeta) {
			m.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "platform"}
		})
		w.ca("below", reference("expired"), newCA(w, "Below", newCA(w, "expired", nil, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })))
		w.clusterIssuer("below", "{ca: {secretName: below}}")
	},
	"leaves-of-another-key": func(w *world) {
		fleet(w)
		before := newCA(w, "Before", nil)
		for _, name := range []string{"d", "a", "c", "b"} {
			w.issue("plant", name, reference("fleet"), before, before.leaf(w, name))
		}
	},
	"names-in-use": func(w *world) {
		root := fleet(w)
		w.issuer("cert-manager", "fleet-root-2025", "{selfSigned: {}}")
		w.issuer("cert-manager", "fleet-root-cert-manager-self-signed", "{selfSigned: {}}")
		w.seen.Certificates[0].Spec.Renewal = nil
		w.issue("plant", "long", reference("fleet"), root, root.sign(w, &x509.Certificate{SerialNumber: root.X509().SerialNumber, NotBefore: now, NotAfter: root.NotAfter().Add(time.Hour)}, keyOf("long")))
	},
}

func renewed(c *certmanagerv1.Certificate) { c.Spec.Renewal = nil }

func certificateIssuer(name string) certmanagermeta.IssuerReference {
	return certmanagermeta.IssuerReference{Name: name}
}

// aioDefault is what a default deployment of Azure IoT Operations leaves behind.
func aioDefault(w *world) {
	data, err := os.ReadFile("../fixtures/aio-default/cluster/default.yaml")
	if err != nil {
		w.Fatal(err)
	}
	root := newCA(w, "Azure IoT Operations Quickstart Root CA - Not for Production", nil)
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		switch kind := kindOf(w, document); kind {
		case "Issuer":
			w.seen.Issuers = append(w.seen.Issuers, *decode[certmanagerv1.Issuer](w, document))
		case "ClusterIssuer":
			w.seen.ClusterIssuers = append(w.seen.ClusterIssuers, *decode[certmanagerv1.ClusterIssuer](w, document))
		case "Certificate":
			declared := decode[certmanagerv1.Certificate](w, document)
			issued := w.issue(declared.Namespace, declared.Name, declared.Spec.IssuerRef, root, root.Certificate)
			issued.Spec = declared.Spec
			issued.Status.RenewalTime = &metav1.Time{Time: now.AddDate(0, 6, 0)}
		case "Bundle":
			w.seen.Bundles = append(w.seen.Bundles, unstructured.Unstructured{Object: *decode[map[string]any](w, document)})
		default:
			w.Fatalf("%s is not expected", kind)
		}
	}
	w.configMap("azure-iot-operations", "azure-iot-operations-aio-ca-trust-bundle",
		map[string]string{"trust.cert-manager.io/bundle": "azure-iot-operations-aio-ca-trust-bundle"}, map[string]string{"ca.crt": string(root.PEM())})
}

func kindOf(w *world, document string) string {
	kind, _ := (*decode[map[string]any](w, document))["kind"].(string)
	return kind
}

// TestDescribe compares repositories with those that lie in testdata, and loads them.
func TestDescribe(t *testing.T) {
	for name, make := range clusters {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			make(w)
			repository, left := Describe(w.seen)
			compare(t, filepath.Join("testdata", name), repository)
			if len(repository.Taken) == 0 {
				if len(repository.Files) != 1 {
					t.Errorf("%d files are written for nothing", len(repository.Files))
				}
				return
			}
			loaded := load(t, repository)
			if got, want := loaded.Desired, desiredOf(repository); !reflect.DeepEqual(marshal(t, got), marshal(t, want)) {
				t.Errorf("the files declare\n%s\nnot\n%s", marshal(t, got), marshal(t, want))
			}
			for _, l := range left {
				if l.Object == "" || l.Why == "" || l.Do == "" {
					t.Errorf("%+v does not say what, why and what to do", l)
				}
			}
			w.accountsForAll(repository, left)
		})
	}
}

// accountsForAll demands that every issuer with a key and every Bundle is either taken over
// or left.
func (w *world) accountsForAll(repository Repository, left []Left) {
	told := map[string]int{}
	for _, taken := range repository.Taken {
		told[taken.Object]++
	}
	for _, l := range left {
		told[l.Object]++
	}
	var objects []string
	for _, by := range issuersOf(w.seen) {
		if by.secret("x").Name != "" || by.external() != "" {
			objects = append(objects, by.String())
		}
	}
	for _, bundle := range w.seen.Bundles {
		objects = append(objects, "Bundle "+bundle.GetName())
	}
	for _, object := range objects {
		if told[object] != 1 {
			w.Errorf("%s is told of %d times", object, told[object])
		}
	}
}

func compare(t *testing.T, folder string, repository Repository) {
	t.Helper()
	files := map[string][]byte{}
	for _, file := range repository.Files {
		files[file.Path] = file.Content
	}
	golden.Folder(t, folder, files)
}

func load(t *testing.T, repository Repository) *renderer.Loaded {
	t.Helper()
	tree := fstest.MapFS{}
	for _, file := range repository.Files {
		tree[file.Path] = &fstest.MapFile{Data: file.Content, Mode: fs.ModePerm}
	}
	loaded, err := renderer.Load(tree, "", renderer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("it is warned of %v", loaded.Warnings)
	}
	return loaded
}

// desiredOf is what the documents declare, with their defaults.
func desiredOf(repository Repository) planner.Desired {
	desired := planner.Desired{
		Authorities: slices.Clone(repository.Authorities), Bindings: slices.Clone(repository.Bindings), Bundles: slices.Clone(repository.Bundles),
	}
	return desired
}

func marshal(t *testing.T, desired planner.Desired) string {
	t.Helper()
	for i := range desired.Authorities {
		desired.Authorities[i].Default()
		desired.Authorities[i].TypeMeta = metav1.TypeMeta{}
	}
	slices.SortFunc(desired.Authorities, func(a, b v1alpha1.Authority) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	for i := range desired.Bindings {
		desired.Bindings[i].TypeMeta = metav1.TypeMeta{}
	}
	for i := range desired.Bundles {
		desired.Bundles[i].Default()
		desired.Bundles[i].TypeMeta = metav1.TypeMeta{}
	}
	data, err := json.Marshal(desired)
	if err != nil {
		t.Fatal(err)
	}
	sorted, err := yaml.JSONToYAML(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

// TestHowToShowsWhatIsWritten: the page shows the files of the cluster "fleet".
func TestHowToShowsWhatIsWritten(t *testing.T) {
	page, err := os.ReadFile("../docs/how-to/import-a-cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	fleet(w)
	repository, _ := Describe(w.seen)
	for _, file := range repository.Files {
		if file.Path != FileReport && !bytes.Contains(page, file.Content) {
			t.Errorf("the page does not show\n%s", file.Content)
		}
	}
}

// TestOrderDoesNotMatter: a cluster that is listed in another order is described alike.
func TestOrderDoesNotMatter(t *testing.T) {
	for name, make := range clusters {
		w := newWorld(t)
		make(w)
		want, wantLeft := Describe(w.seen)
		slices.Reverse(w.seen.Certificates)
		slices.Reverse(w.seen.Requests)
		slices.Reverse(w.seen.Issuers)
		slices.Reverse(w.seen.ClusterIssuers)
		slices.Reverse(w.seen.Bundles)
		slices.Reverse(w.seen.ConfigMaps)
		if got, left := Describe(w.seen); !reflect.DeepEqual(got.Files, want.Files) || !slices.Equal(left, wantLeft) {
			t.Errorf("%s: described in another way when it is listed in another order", name)
		}
	}
}
