package reconciler

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// enrolled is a world with a group of devices, whose root signs as cert-manager would.
type enrolled struct {
	*world
	authority pki.Certificate
	private   ed25519.PrivateKey
}

func newEnrolled(t *testing.T, ids ...string) *enrolled {
	t.Helper()
	f := &enrolled{world: newWorld(t)}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: epoch, NotAfter: epoch.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	f.private, f.authority = private, f.certificate(template, template, public, private)
	group := v1alpha1.DeviceGroup{Metadata: v1alpha1.Metadata{Name: "sensors"}}
	group.Spec.Issuer, group.Spec.Namespace, group.Spec.Keys = v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}, "plant", v1alpha1.KeysDevice
	group.Default()
	root := planner.Ref{Namespace: "cert-manager", Name: "root"}
	f.desired.Groups = []v1alpha1.DeviceGroup{group}
	f.observed.Keys = []planner.Key{{Authority: root, Name: "2025", Certificate: f.authority}}
	f.plan.Target.DeviceRules = []planner.DeviceRule{{Group: "sensors", Authority: root, Key: "2025"}}
	stamp := manifest("cert-manager.io/v1", "CertificateRequest")
	stamp.SetLabels(map[string]string{v1alpha1.LabelDeviceGroup: "sensors", v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "plant"})
	stamp.Object["spec"] = map[string]any{"duration": "2160h"}
	f.templates = map[string]*unstructured.Unstructured{"sensors": stamp}
	for _, id := range ids {
		f.list(id, v1alpha1.DeviceActive)
	}
	return f
}

func (f *enrolled) certificate(template, parent *x509.Certificate, public any, by ed25519.PrivateKey) pki.Certificate {
	f.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		f.t.Fatal(err)
	}
	parsed, err := pki.Parse(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return parsed
}

// list a device in Git, with a key of its own.
func (f *enrolled) list(id string, state v1alpha1.DeviceState) {
	f.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}}, private)
	if err != nil {
		f.t.Fatal(err)
	}
	request := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	text := "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: " + id + "}\nspec:\n  group: sensors\n  state: " + string(state) + "\n  request: |\n    " + strings.ReplaceAll(request, "\n", "\n    ") + "\n"
	f.commit(id, text)
}

func (f *enrolled) commit(id, text string) {
	file := "site/" + v1alpha1.DevicePath("sensors", id)
	f.files[file] = &fstest.MapFile{Data: []byte(text)}
	f.revision, f.changed = f.revision+"+", []string{file}
}

// answer the requests of the last turn as cert-manager would, and tell the watch of it.
func (f *enrolled) answer() {
	f.t.Helper()
	for _, stamped := range f.worked.Apply {
		request := &certmanager.CertificateRequest{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stamped.Object, request); err != nil {
			f.t.Fatal(err)
		}
		block, _ := pem.Decode(request.Spec.Request)
		asked, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			f.t.Fatal(err)
		}
		leaf := f.certificate(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: asked.Subject, NotBefore: f.now, NotAfter: f.now.Add(2160 * time.Hour)}, f.authority.X509(), asked.PublicKey, f.private)
		request.CreationTimestamp = metav1.NewTime(f.now)
		request.Status.Certificate = leaf.PEM()
		request.Status.Conditions = []certmanager.CertificateRequestCondition{{Type: certmanager.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}}
		f.reconciler.lanes.see(request)
	}
	f.now = f.now.Add(wholeTurnEvery)
}

func (f *enrolled) counts() v1alpha1.DeviceCounts {
	f.t.Helper()
	counts := f.domain().Status.Devices
	if counts == nil {
		f.t.Fatal("no device is counted")
	}
	return *counts
}

// A device that is listed gets a request, and one that is blocked loses what it has; the
// others cost nothing meanwhile.
func TestDevicesGetCertificatesAndLoseThem(t *testing.T) {
	f := newEnrolled(t, "one", "two")
	f.turn()
	if !slices.Contains(f.calls, "devices 2 0") || f.counts().Active != 2 || f.counts().Pending != 2 {
		t.Fatalf("%q, %+v", f.calls, f.counts())
	}
	f.answer()
	f.turn()
	if counts := f.counts(); counts.Issued != 2 || counts.Pending != 0 || slices.ContainsFunc(f.calls, isDevices) {
		t.Fatalf("%q, %+v", f.calls, counts)
	}
	if ledger := f.ledger(); ledger.Active != 2 || ledger.Keys[0].Chaining.Count != 2 || ledger.Keys[0].Distrusting.Count != 2 {
		t.Errorf("the planner is told %+v", ledger)
	}
	f.list("two", v1alpha1.DeviceBlocked)
	f.turn()
	if !slices.Contains(f.calls, "devices 0 1") || f.worked.Remove[0].GetAnnotations()[v1alpha1.AnnotationDevice] != "two" {
		t.Errorf("%q, %+v", f.calls, f.worked)
	}
	expectMetrics(t, f.world, `
# HELP reanchor_devices How many devices of a trust domain are in a state, and how many of their files cannot be used.
# TYPE reanchor_devices gauge
reanchor_devices{name="fleet",namespace="plant",state="Blocked"} 1
reanchor_devices{name="fleet",namespace="plant",state="Failed"} 0
reanchor_devices{name="fleet",namespace="plant",state="Issued"} 1
reanchor_devices{name="fleet",namespace="plant",state="Pending"} 0
reanchor_devices{name="fleet",namespace="plant",state="Retired"} 0
reanchor_devices{name="fleet",namespace="plant",state="Unusable"} 0
reanchor_devices{name="fleet",namespace="plant",state="Waiting"} 0
`, "reanchor_devices")
}

func isDevices(call string) bool { return strings.HasPrefix(call, "devices ") }

// ledger of the group, as the planner was given it.
func (f *enrolled) ledger() planner.Ledger {
	f.t.Helper()
	lane := f.reconciler.lanes.of(planner.Ref{Namespace: "plant", Name: "fleet"})
	return lane.Ledger(f.desired, inventory.KnownKeys(f.desired, f.observed), f.now)[0]
}

// What is wrong with one device keeps no other back: neither a file that cannot be used, nor
// an object that the cluster refuses.
func TestABadDeviceKeepsNoOtherBack(t *testing.T) {
	f := newEnrolled(t, "good", "refused")
	f.commit("bad", "kind: Device\n")
	f.refusing = map[string]string{"refused": "the webhook says no"}
	f.turn()
	counts := f.counts()
	if counts.Active != 2 || counts.Pending != 1 || counts.Failed != 1 || counts.Unusable != 1 {
		t.Errorf("%+v", counts)
	}
	told := strings.Join(counts.Problems, "\n")
	if !strings.Contains(told, "Device sensors/refused: the webhook says no") || !strings.Contains(told, v1alpha1.DevicePath("sensors", "bad")+":1: ") {
		t.Errorf("told is\n%s", told)
	}
}

// Without prune, and for a domain that is let go of, what a device has stays.
func TestNothingOfDevicesIsRemovedWithoutPrune(t *testing.T) {
	f := newEnrolled(t, "one")
	f.turn()
	f.answer()
	f.turn()
	f.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Prune, d.Generation = false, 2 })
	f.list("one", v1alpha1.DeviceRetired)
	f.turn()
	if slices.ContainsFunc(f.calls, isDevices) || f.counts().Retired != 1 {
		t.Errorf("%q, %+v", f.calls, f.counts())
	}
}

// What may not be deleted in the namespace that a group has left is tried once, and told of.
func TestWhatMayNotBeDeletedWhereAGroupLayIsLeftAlone(t *testing.T) {
	f := newEnrolled(t, "one")
	f.forbidding = "old"
	f.turn()
	f.answer()
	left := &certmanager.CertificateRequest{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(f.worked.Apply[0].Object, left); err != nil {
		t.Fatal(err)
	}
	left.Namespace, left.UID, left.ResourceVersion = "old", "left", "1"
	left.Status.Conditions = []certmanager.CertificateRequestCondition{{Type: certmanager.CertificateRequestConditionDenied, Status: certmanagermeta.ConditionTrue}}
	f.reconciler.lanes.see(left)
	f.turn()
	if len(f.worked.Discard) != 1 || !strings.HasPrefix(strings.Join(f.counts().Problems, "\n"), "CertificateRequest old/"+left.Name+" stays, where") {
		t.Fatalf("%+v, %q", f.worked, f.counts().Problems)
	}
	f.now = f.now.Add(wholeTurnEvery)
	f.turn()
	if slices.ContainsFunc(f.calls, isDevices) || len(f.counts().Problems) != 1 {
		t.Errorf("it is tried again at once: %q, %q", f.calls, f.counts().Problems)
	}
	changed := left.DeepCopy()
	changed.ResourceVersion = "2"
	f.reconciler.lanes.see(changed)
	f.now = f.now.Add(wholeTurnEvery)
	f.turn()
	if !slices.ContainsFunc(f.calls, isDevices) {
		t.Errorf("it has changed, and is not tried: %q", f.calls)
	}
}
