package admission

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// YAML is the document as its file shall hold it.
func (d Decision) YAML() ([]byte, error) {
	text, err := yaml.Marshal(d.Document())
	if err != nil {
		return nil, fmt.Errorf("write the document of device %s/%s: %w", d.Device.Group, d.Device.ID, err)
	}
	return text, nil
}

// fits refuses what would make a file that is too large to be read again.
func (d Decision) fits() *Refusal {
	text, err := d.YAML()
	if err != nil || len(text) > v1alpha1.MaxDeviceDocument {
		return forbid(ProblemTooLarge, "the device's document would be larger than %d KiB with this CSR and the %d keys that it has given up: send a smaller CSR, or ask whoever runs the fleet to take old keys out of spec.superseded", v1alpha1.MaxDeviceDocument>>10, len(d.Device.Superseded))
	}
	return nil
}

// Document is the device's document as it shall stand in Git. Equal decisions give equal
// documents.
func (d Decision) Document() v1alpha1.Device {
	document := v1alpha1.Device{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindDevice},
		Metadata: v1alpha1.Metadata{Name: d.Device.ID},
		Spec:     v1alpha1.DeviceSpec{Group: d.Device.Group, State: d.Device.State, Request: d.Request, Recoveries: d.Device.Recoveries},
	}
	for _, key := range d.Device.Superseded {
		document.Spec.Superseded = append(document.Spec.Superseded, v1alpha1.SupersededPrefix+key.String())
	}
	if !d.Device.Rekeyed.IsZero() {
		document.Spec.Rekeyed = v1alpha1.SupersededPrefix + d.Device.Rekeyed.String()
	}
	return document
}
