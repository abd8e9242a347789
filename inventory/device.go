package inventory

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Device is one device as Git lists it: valid, and no more of it than its certificate needs.
type Device struct {
	// Group and ID name it; in text it is "sensors/sensor-0042".
	Group, ID string
	// State is Active, Blocked or Retired.
	State v1alpha1.DeviceState
	// Request is its certificate signing request in PEM, and Key the SHA-256 of the public
	// key in it (SubjectPublicKeyInfo); zero where cert-manager makes the key.
	Request string
	Key     pki.Fingerprint
	// File is where it stands in the repository.
	File string
}

// String is "sensors/sensor-0042", as a waiver names it.
func (d Device) String() string { return d.Group + "/" + d.ID }

// deviceOf is what a valid document says.
func deviceOf(document v1alpha1.Document) Device {
	device := document.Object.(*v1alpha1.Device)
	return Device{
		Group: device.Spec.Group, ID: device.Metadata.Name, State: device.Spec.State,
		Request: device.Spec.Request, Key: keyOf(device.Spec.Request), File: document.File,
	}
}

// keyOf is the SHA-256 of the public key that a request is for; zero without one.
func keyOf(request string) pki.Fingerprint {
	block, _ := pem.Decode([]byte(request))
	if block == nil {
		return pki.Fingerprint{}
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return pki.Fingerprint{}
	}
	return sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
}
