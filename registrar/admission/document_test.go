package admission_test

import (
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
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
