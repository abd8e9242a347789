package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
)

// deviceSite is a folder with a root that moves from 2025 to 2026, and three devices: one has
// a certificate of 2026 and trusts both, one has one of 2025 still, one is blocked.
type deviceSite struct {
	files    map[string]string
	requests []client.Object
}

// signing is a CA of the test's own.
type signing struct {
	certificate *x509.Certificate
	private     *ecdsa.PrivateKey
}

func newSigning(t *testing.T, key string) signing {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fleet Root " + key}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signing{parsed, private}
}

func inPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// answered is a device's CertificateRequest as cert-manager answers it.
func (s signing) answered(t *testing.T, id, csr, signsWith string, confirmed inventory.Confirmation) *certmanagerv1.CertificateRequest {
	t.Helper()
	block, _ := pem.Decode([]byte(csr))
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: asked.Subject, NotBefore: noon.Add(-time.Minute), NotAfter: noon.Add(2160 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, s.certificate, asked.PublicKey, s.private)
	if err != nil {
		t.Fatal(err)
	}
	return &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "plant", Name: v1alpha1.DeviceObjectName("sensors", id) + "-seen",
			Labels:      map[string]string{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "plant", v1alpha1.LabelDeviceGroup: "sensors"},
			Annotations: map[string]string{v1alpha1.AnnotationDevice: id, v1alpha1.AnnotationRenewal: "1", v1alpha1.AnnotationSignsWith: signsWith, v1alpha1.AnnotationConfirmed: confirmed.String()},
		},
		Spec: certmanagerv1.CertificateRequestSpec{Request: []byte(csr)},
		Status: certmanagerv1.CertificateRequestStatus{
			Certificate: []byte(inPEM(der)),
			Conditions:  []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}},
		},
	}
}

func newDeviceSite(t *testing.T) deviceSite {
	t.Helper()
	older, newer := newSigning(t, "2025"), newSigning(t, "2026")
	site := deviceSite{files: map[string]string{
		"kustomization.yaml":          "resources: [pki.yaml]\n",
		"pki.yaml":                    fleetOf(factoryCA(), `{name: "2025", state: Trusted}`, `{name: "2026", state: Signing}`),
		"anchors/fleet-root/2025.pem": inPEM(older.certificate.Raw),
		"anchors/fleet-root/2026.pem": inPEM(newer.certificate.Raw),
	}}
	csrs := map[string]string{}
	for _, id := range []string{"moved", "behind", "blocked"} {
		csrs[id] = requestOf(id)
		site.list(id, v1alpha1.DeviceActive, csrs[id])
	}
	site.list("blocked", v1alpha1.DeviceBlocked, csrs["blocked"])
	trusted := inventory.Confirmation{Anchors: []pki.Fingerprint{anchorOf(t, older), anchorOf(t, newer)}, At: noon.Add(-time.Hour)}
	site.requests = []client.Object{
		newer.answered(t, "moved", csrs["moved"], "cert-manager/fleet-root/2026", trusted),
		older.answered(t, "behind", csrs["behind"], "cert-manager/fleet-root/2025", inventory.Confirmation{}),
		older.answered(t, "blocked", csrs["blocked"], "cert-manager/fleet-root/2025", inventory.Confirmation{}),
	}
	return site
}

func anchorOf(t *testing.T, s signing) pki.Fingerprint {
	t.Helper()
	parsed, err := pki.Parse(s.certificate.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Fingerprint()
}

func (s deviceSite) list(id string, state v1alpha1.DeviceState, csr string) {
	s.files[v1alpha1.DevicePath("sensors", id)] = "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: " + id + "}\nspec:\n  group: sensors\n  state: " + string(state) + "\n  request: |\n" + indented(csr)
}

// How far the cluster is with each device, and who has not moved to the key that signs.
func TestDevicesInACluster(t *testing.T) {
	site := newDeviceSite(t)
	_, read := folderWith(t, site.files)
	c := fakeCluster(t, interceptor.Funcs{}, append(site.requests, fleetDomain())...)
	standings, err := c.standings(t.Context(), fleetDomain(), read, v1alpha1.DefaultClusterResourceNamespace, noon)
	if err != nil {
		t.Fatal(err)
	}
	var rows []deviceRow
	var behind []string
	for _, standing := range standings {
		rows = append(rows, rowOf(standing, true))
		if standing.Behind() {
			behind = append(behind, standing.String())
		}
	}
	var out bytes.Buffer
	if err := writeDevices(&out, "table", rows, true); err != nil {
		t.Fatal(err)
	}
	ends := noon.Add(2160 * time.Hour).UTC().Format(time.RFC3339)
	want := []string{
		"sensors/behind Active Pending fleet-root/2025 " + ends + " - never",
		"sensors/blocked Blocked - fleet-root/2025 " + ends + " - never",
		"sensors/moved Active Issued fleet-root/2026 " + ends + " fleet-root/2025, fleet-root/2026 " + noon.Add(-time.Hour).UTC().Format(time.RFC3339),
	}
	for at, line := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
		if got := strings.Join(strings.Fields(line), " "); at >= len(want) || got != want[at] {
			t.Errorf("got  %s\nwant %s", got, want[min(at, len(want)-1)])
		}
	}
	if strings.Join(behind, " ") != "sensors/behind" {
		t.Errorf("behind are %q", behind)
	}
	out.Reset()
	if err := writeDevice(&out, "table", rows[0]); err != nil || !strings.Contains(out.String(), "Shall be     fleet-root/2026\n") {
		t.Errorf("%v in\n%s", err, out.String())
	}
}

// A device gets its next request, a blocked one loses what it has, and of one that has what it
// shall nothing is told.
func TestDiffOfDevices(t *testing.T) {
	site := newDeviceSite(t)
	_, read := folderWith(t, site.files)
	domain := fleetDomain(func(d *v1alpha1.TrustDomain) { d.Spec.Prune = true })
	c := fakeCluster(t, interceptor.Funcs{}, append(site.requests, domain)...)
	compared, err := c.compareAll(t.Context(), domain, read, v1alpha1.DefaultClusterResourceNamespace, noon)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeDifferences(&out, palette{}, compared.Differences); err != nil {
		t.Fatal(err)
	}
	name, blocked := v1alpha1.DeviceObjectName("sensors", "behind"), v1alpha1.DeviceObjectName("sensors", "blocked")
	for _, want := range []string{
		"+++ end state: CertificateRequest plant/" + name + "-", "+    reanchor.dev/signs-with: cert-manager/fleet-root/2026\n", "+    reanchor.dev/domain: fleet\n",
		"--- cluster: CertificateRequest plant/" + blocked + "-seen\n", "-  name: " + blocked + "-seen\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q", want)
		}
	}
	for _, never := range []string{"moved", name + "-seen"} {
		if strings.Contains(out.String(), never) {
			t.Errorf("tells of %q", never)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// What each device would get first; and none for whom no key is known to sign.
func TestRenderDevices(t *testing.T) {
	site := newDeviceSite(t)
	folder, _ := folderWith(t, site.files)
	flags := renderFlags{namespace: "plant", name: "fleet", clusterResourceNamespace: v1alpha1.DefaultClusterResourceNamespace}
	made, waiting, err := renderFolder(folder, flags)
	if err != nil || waiting != 0 {
		t.Fatal(waiting, err)
	}
	var ids []string
	for _, manifest := range made {
		if manifest.GetKind() == certmanagerv1.CertificateRequestKind {
			ids = append(ids, manifest.GetAnnotations()[v1alpha1.AnnotationDevice])
		}
	}
	if strings.Join(ids, " ") != "behind moved" {
		t.Errorf("rendered are the requests of %q", ids)
	}
	unrecorded := maps.Clone(site.files)
	delete(unrecorded, "anchors/fleet-root/2026.pem")
	folder, _ = folderWith(t, unrecorded)
	again, waiting, err := renderFolder(folder, flags)
	if err != nil || waiting != 2 || len(again) != len(made)-2 {
		t.Errorf("%d wait, and %d of %d manifests are made: %v", waiting, len(again), len(made), err)
	}
}
