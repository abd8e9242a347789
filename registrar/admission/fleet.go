package admission

import (
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/policies"
)

// Fleet is what Git and the cluster held at one moment. It does not change while a decision
// is taken from it, and costs no I/O.
type Fleet interface {
	// Revision of Git that it was read at, "main@sha1:<commit>".
	Revision() string
	// Groups are those that the domain declares, sorted by name.
	Groups() []Group
	// Device finds one by its group and id.
	Device(group, id string) (Device, bool)
	// Holder tells whose a key is, or was: of the devices' CSRs in Git, of the keys that
	// cert-manager makes for devices, and of spec.superseded.
	Holder(key pki.Fingerprint) (Holder, bool)
	// Trust is what a group's devices shall trust, now: in a rollover both roots.
	Trust(group string) Trust
}

// Group is an enrolment group.
type Group struct {
	// Name is its EST label.
	Name string
	// Spec as Git has it, with defaults filled in.
	Spec v1alpha1.DeviceGroupSpec
	// Bootstrap are the CAs of factory certificates, as spec.bootstrap.certificates has them.
	Bootstrap pki.Anchors
}

// Device is what Git says of one.
type Device struct {
	// Group and ID name it.
	Group, ID string
	// State of it.
	State v1alpha1.DeviceState
	// Key is that of its CSR, or of what cert-manager made for it; zero: none yet.
	Key pki.Fingerprint
	// Superseded are the keys that it had before.
	Superseded []pki.Fingerprint
	// Rekeyed is the last of them, if the device has shown it when it asked for its present
	// key; zero: it has not.
	Rekeyed pki.Fingerprint
	// Shown: it was seen with a certificate for its present key.
	Shown bool
	// Issued is from when on the newest certificate for its present key is valid; zero: there
	// is none.
	Issued time.Time
	// Recoveries is how often it came back without having shown the key before.
	Recoveries int
	// Blob is the hash of its document in Git, by which whoever commits tells whether it still
	// stands; empty in what is to be written. Nothing is decided by it.
	Blob string
}

// Holder is whose a key is.
type Holder struct {
	// Group and ID name the device.
	Group, ID string
	// Superseded: it was the device's before, and is no more.
	Superseded bool
}

// Trust is what a group's devices shall trust.
type Trust struct {
	// Anchors of the bundle; never empty.
	Anchors pki.Anchors
	// Intermediates between the anchors and what the group's issuers sign.
	Intermediates []pki.Certificate
	// Links between the anchors, during a rollover: each the key of one signed by another.
	Links []pki.Certificate
}

// Rules are the team's own about devices' requests, and the built-in ones
// ([policies.Rules]). It returns what a CSR in PEM violates.
type Rules interface {
	CheckRequest(id, request string, group v1alpha1.DeviceGroup, now time.Time) []policies.Violation
}

// groupNamed finds a group.
func groupNamed(fleet Fleet, name string) (Group, bool) {
	for _, group := range fleet.Groups() {
		if group.Name == name {
			return group, true
		}
	}
	return Group{}, false
}
