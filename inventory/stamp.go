package inventory

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Rule is what a group's devices get: the pure half of the lane is (device, what is there,
// rule, now) → what to do.
type Rule struct {
	Group v1alpha1.DeviceGroup
	// Authority and Key that sign, and the key's certificate. Without a key nothing is asked
	// for; with a key of which the certificate is not known, nothing is asked for anew.
	Authority planner.Ref
	Key       string
	Signer    Key
	// Later is the percent of the devices, the last in the order of waves, that keep what
	// another key signed for now.
	Later int
	// Stolen: nobody is to change to Key, not even in renewal, and who is new waits.
	Stolen bool
	// waits: the device that is looked at is one of those.
	waits bool
	// Template that each object is stamped from: the renderer's, overlay included.
	Template *unstructured.Unstructured
}

// signsWith names the rule's key as [v1alpha1.AnnotationSignsWith] has it.
func (r Rule) signsWith() string { return r.Authority.String() + "/" + r.Key }

// RenewalOf is when a group's certificate is to be renewed. One that came back so short that
// renewBefore is most of it is renewed when a third of it is left.
func RenewalOf(group v1alpha1.DeviceCertificate, leaf pki.Certificate) time.Time {
	var before time.Duration
	if group.RenewBefore != nil {
		before = group.RenewBefore.Duration
	}
	if life := leaf.NotAfter().Sub(leaf.NotBefore()); before > life/3*2 {
		before = life / 3
	}
	return leaf.NotAfter().Add(-before)
}

// stampRequest makes a device's next CertificateRequest. Its name follows from the key that it
// is for, the key that signs, and the request that it comes after: whoever makes it twice
// makes the same.
func stampRequest(rule Rule, device Device, after *request, confirmed Confirmation) *unstructured.Unstructured {
	predecessor, renewal := "", 1
	if after != nil {
		predecessor, renewal = after.Name, after.renewal+1
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", device.Key, rule.signsWith(), predecessor))
	made := stamp(rule, device, confirmed)
	made.SetName(v1alpha1.DeviceObjectName(device.Group, device.ID) + "-" + hex.EncodeToString(sum[:5]))
	annotations := made.GetAnnotations()
	annotations[v1alpha1.AnnotationRenewal] = strconv.Itoa(renewal)
	if after != nil {
		annotations[v1alpha1.AnnotationSince] = after.since.UTC().Format(time.RFC3339)
	}
	annotations[v1alpha1.AnnotationSignsWith] = rule.signsWith()
	annotations[v1alpha1.AnnotationAsked] = rule.asks().sum()
	made.SetAnnotations(annotations)
	set(made, base64.StdEncoding.EncodeToString([]byte(device.Request)), "spec", "request")
	return made
}

// stampCertificate makes the Certificate of a device whose key cert-manager makes. Its
// common name is the id, where that is not too long for one (RFC 5280, ub-common-name). It
// says which key shall sign, and cert-manager copies that to the requests that it makes; of a
// device that keeps what another key signed, it says nothing.
func stampCertificate(rule Rule, device Device) *unstructured.Unstructured {
	made := stamp(rule, device, Confirmation{})
	name := v1alpha1.DeviceObjectName(device.Group, device.ID)
	made.SetName(name)
	if !rule.waits {
		annotations := made.GetAnnotations()
		annotations[v1alpha1.AnnotationSignsWith] = rule.signsWith()
		made.SetAnnotations(annotations)
	}
	set(made, name, "spec", "secretName")
	if len(device.ID) <= maxCommonName {
		set(made, device.ID, "spec", "commonName")
	} else {
		unstructured.RemoveNestedField(made.Object, "spec", "commonName")
	}
	var names []any
	for _, template := range rule.Group.Spec.Certificate.DNSNames {
		names = append(names, strings.ToLower(inName.ReplaceAllLiteralString(template, device.ID)))
	}
	if len(names) > 0 {
		set(made, names, "spec", "dnsNames")
	}
	return made
}

// maxCommonName is how long a common name is at most, and inName stands for the device's id.
const maxCommonName = 64

var inName = regexp.MustCompile(`\{\{-?\s*\.ID\s*-?\}\}`)

// stamp is the group's template with the device's own marks.
func stamp(rule Rule, device Device, confirmed Confirmation) *unstructured.Unstructured {
	made := rule.Template.DeepCopy()
	made.SetNamespace(rule.Group.Spec.Namespace) // where the lane looks for it, whatever an overlay says
	annotations := made.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationDevice] = device.ID
	if text := confirmed.String(); text != "" {
		annotations[v1alpha1.AnnotationConfirmed] = text
	}
	made.SetAnnotations(annotations)
	return made
}

// set a field of an object that is known to have maps on the way to it.
func set(object *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		panic(fmt.Sprintf("stamp %s: %v", object.GetKind(), err)) // the renderer makes no such template
	}
}
