package admission_test

import (
	"bytes"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// What a decision puts into Git is decoded again, and is what was decided.
func TestDocument(t *testing.T) {
	key, other := registrartest.Key(), registrartest.Key()
	decision, refusal := scene{csr: registrartest.CSR(other, "sensor-1", []string{name}), chain: bootstrap("sensor-1"), devices: []admission.Device{active("sensor-1", key)}, group: quota(1)}.run()
	if refusal != nil {
		t.Fatal(refusal)
	}
	text, err := decision.YAML()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := v1alpha1.Decode("sensor-1.yaml", text)
	if err != nil || len(decoded) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	read, is := decoded[0].Object.(*v1alpha1.Device)
	if !is || read.Metadata.Name != "sensor-1" || read.Spec.Group != "sensors" || read.Spec.State != v1alpha1.DeviceActive || read.Spec.Recoveries != 1 ||
		len(read.Spec.Superseded) != 1 || read.Spec.Superseded[0] != "sha256:"+registrartest.KeyID(&key.PublicKey).String() {
		t.Errorf("read %+v of\n%s", read, text)
	}
	if request, refusal := admission.ParseRequestPEM([]byte(read.Spec.Request)); refusal != nil || request.Key != registrartest.KeyID(&other.PublicKey) {
		t.Errorf("the request is read as %s: %v", request.Key, refusal)
	}
}

// What is read back of a rekey names the key that was shown.
func TestDocumentOfARekey(t *testing.T) {
	key, other := registrartest.Key(), registrartest.Key()
	decision, refusal := scene{csr: registrartest.CSR(other, "sensor-1", []string{name}), chain: own("sensor-1", key, now.AddDate(1, 0, 0)), devices: []admission.Device{active("sensor-1", key)}}.run()
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := "sha256:" + registrartest.KeyID(&key.PublicKey).String()
	if spec := decision.Document().Spec; spec.Rekeyed != want || len(spec.Superseded) != 1 || spec.Superseded[0] != want || spec.Recoveries != 0 {
		t.Errorf("it is to stand as %+v", spec)
	}
}

// isNeverRead reports whether a document that holds the rune is refused when it is read.
func isNeverRead(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Noncharacter_Code_Point, r)
}

// FuzzDocument: whatever an id that may be registered holds, its document says it, lies below
// devices/, and says the same when it is written again.
func FuzzDocument(f *testing.F) {
	whole := registrartest.PEM(registrartest.CSR(registrartest.Key(), "sensor-1", []string{name}))
	for _, id := range []string{"sensor-1", "SN 4711", "urn:dev:mac:0024befffe804ff1", "null", "yes", "1e3", "0x10", "2001-01-01", "~", "=", "<<", "a/b", "日本", ".inf", "../x"} {
		f.Add(id, whole, uint8(1))
	}
	f.Add("sensor-1", "---\nkind: Authority\n", uint8(0))
	f.Add("sensor-1", "\t\n: \"\\u2028\"", uint8(255))
	f.Add("sensor-1", "\x7f", uint8(0))
	f.Fuzz(func(t *testing.T, id, request string, superseded uint8) {
		if v1alpha1.DeviceIDProblem(id) != "" || !utf8.ValidString(request) || strings.ContainsFunc(request, isNeverRead) {
			return // nothing of that is written: a request is PEM, encoded here or read from a document
		}
		decision := admission.Decision{Device: admission.Device{Group: "sensors", ID: id, State: v1alpha1.DeviceActive}, Request: request}
		for at := range superseded {
			decision.Device.Superseded = append(decision.Device.Superseded, pki.Fingerprint{at, 1})
		}
		text, err := decision.YAML()
		again, _ := decision.YAML()
		if err != nil || !bytes.Equal(text, again) {
			t.Fatalf("%q is written as %q, and as %q: %v", id, text, again, err)
		}
		at := v1alpha1.DevicePath("sensors", id)
		if !fs.ValidPath(at) || !strings.HasPrefix(at, "devices/sensors/") || strings.Count(at, "/") != 3 {
			t.Errorf("%q lies in %s", id, at)
		}
		var read v1alpha1.Device
		if err := yaml.UnmarshalStrict(text, &read); err != nil || !reflect.DeepEqual(read, decision.Document()) {
			t.Errorf("%q is read as %+v: %v", text, read, err)
		}
		if documents, err := v1alpha1.Decode(at, text); err == nil && (len(documents) != 1 || !reflect.DeepEqual(documents[0].Object, &read)) {
			t.Errorf("%q is decoded as %+v", text, documents)
		}
	})
}
