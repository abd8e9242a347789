package renderer

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

const kindCertificateRequest = "CertificateRequest"

// anyDevice ends the name of the template of a group's devices: it stands for each of them
// while the overlay is applied.
const anyDevice = "-reanchor-any-device"

// Templates are what the objects of each group's devices are stamped from, by the group's
// name: a CertificateRequest or a Certificate that lacks what is a device's own. The overlay
// was applied to each once, beside the manifests of the target, whatever the number of
// devices. The caller must not change them.
func (l *Loaded) Templates(target planner.Target, domain planner.Ref) (map[string]*unstructured.Unstructured, error) {
	if _, err := l.Render(target, domain); err != nil {
		return nil, err
	}
	l.last.mu.Lock()
	defer l.last.mu.Unlock()
	return l.last.templates, nil
}

// deviceTemplates are those of all groups, before the overlay.
func (l *Loaded) deviceTemplates() []*unstructured.Unstructured {
	var made []*unstructured.Unstructured
	for _, group := range l.Desired.Groups {
		labels := labelsOf(group.Metadata, v1alpha1.LabelDeviceGroup, group.Metadata.Name)
		kind, spec := kindCertificateRequest, deviceSpec(group)
		if group.Spec.Keys == v1alpha1.KeysCluster {
			kind = kindCertificate
			spec["secretName"], spec["commonName"] = group.Metadata.Name+anyDevice, group.Metadata.Name+anyDevice
			spec["renewBefore"] = group.Spec.Certificate.RenewBefore.Duration.String()
			spec["revisionHistoryLimit"] = keptOf(group.Spec.Certificate)
			spec["privateKey"] = map[string]any{"algorithm": string(group.Spec.Certificate.KeyAlgorithms[0]), "rotationPolicy": "Always"}
		} else {
			spec["request"] = ""
		}
		made = append(made, manifest(certManager, kind, group.Spec.Namespace, group.Metadata.Name+anyDevice, labels, spec))
	}
	return made
}

// keptOf is how many CertificateRequests of a device's Certificate stay: those whose
// certificates may live at the same time when it is renewed in its time, and as many as an
// authority's for those that rollovers add. What the device may still show is counted by them.
func keptOf(certificate v1alpha1.DeviceCertificate) int64 {
	life, before := certificate.Duration.Duration, certificate.RenewBefore.Duration
	every := max(life-before, life/maxLiving, 1)
	return int64((life+every-1)/every) + keptRequests
}

// maxLiving is how many certificates of one device are kept track of, however early a group
// renews them.
const maxLiving = 20

// deviceSpec is what a CertificateRequest and a Certificate have in common.
func deviceSpec(group v1alpha1.DeviceGroup) map[string]any {
	return map[string]any{
		"duration":  group.Spec.Certificate.Duration.Duration.String(),
		"usages":    listOf(group.Spec.Certificate.Usages),
		"issuerRef": map[string]any{"name": group.Spec.Issuer.Name, "kind": string(group.Spec.Issuer.Kind), "group": certManagerGroup},
	}
}

// withoutTemplates takes the templates of devices out of what was made.
func (l *Loaded) withoutTemplates(made []*unstructured.Unstructured) (rest []*unstructured.Unstructured, templates map[string]*unstructured.Unstructured) {
	templates = map[string]*unstructured.Unstructured{}
	for _, group := range l.Desired.Groups {
		named := func(o *unstructured.Unstructured) bool {
			return o.GetName() == group.Metadata.Name+anyDevice && o.GetLabels()[v1alpha1.LabelDeviceGroup] == group.Metadata.Name
		}
		if at := slices.IndexFunc(made, named); at >= 0 {
			templates[group.Metadata.Name] = made[at]
			made = slices.Delete(made, at, at+1)
		}
	}
	return made, templates
}
