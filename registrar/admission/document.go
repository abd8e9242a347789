package admission

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

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
