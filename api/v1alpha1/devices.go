package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeviceGroup is an enrolment group: which devices may register, and what their
// certificates are like. Its name is the EST label (RFC 7030, section 3.2.2).
type DeviceGroup struct {
	metav1.TypeMeta `json:",inline"`

	// Metadata names the group.
	Metadata Metadata `json:"metadata"`
	// Spec says who may register and what they get.
	Spec DeviceGroupSpec `json:"spec"`
}

// DeviceGroupSpec says who may register and what they get.
type DeviceGroupSpec struct {
	// Issuer that signs the devices' certificates.
	Issuer IssuerReference `json:"issuer"`
	// Namespace of the devices' CertificateRequests or Certificates.
	Namespace string `json:"namespace"`
	// Bootstrap says by which certificate a device that is new shows who it is.
	Bootstrap Bootstrap `json:"bootstrap"`
	// Approval says who admits a device; Automatic when absent.
	Approval Approval `json:"approval,omitempty"`
	// Allow are the ids that are admitted, or patterns of them, with approval AllowList.
	Allow []string `json:"allow,omitempty"`
	// Certificate of each device.
	Certificate DeviceCertificate `json:"certificate,omitzero"`
	// Keys says who makes the devices' keys; Device when absent.
	Keys DeviceKeys `json:"keys,omitempty"`
	// Recovery says how a device that lost its key comes back.
	Recovery Recovery `json:"recovery,omitzero"`
}

// IssuerReference names a cert-manager issuer.
type IssuerReference struct {
	// Name of the issuer.
	Name string `json:"name"`
	// Kind is Issuer or ClusterIssuer.
	Kind IssuerKind `json:"kind"`
}

// IssuerKind is the kind of a cert-manager issuer.
type IssuerKind string

// The kinds of issuer.
const (
	KindIssuer        IssuerKind = "Issuer"
	KindClusterIssuer IssuerKind = "ClusterIssuer"
)

// Values are the kinds that a document may name.
func (IssuerKind) Values() []string { return []string{string(KindIssuer), string(KindClusterIssuer)} }

// Bootstrap says by which certificate a device that is new shows who it is.
type Bootstrap struct {
	// Certificates of the CAs that sign factory certificates, in PEM.
	Certificates string `json:"certificates"`
	// Identity is the part of the factory certificate that is the device's id.
	Identity Identity `json:"identity"`
	// Reenroll lets factory certificates in at EST's simplereenroll as well, which some
	// clients use whenever they have a certificate, strongSwan's among them; they are
	// treated as at simpleenroll.
	Reenroll bool `json:"reenroll,omitempty"`
}

// Identity is the part of a certificate that names a device.
type Identity string

// What may name a device.
const (
	IdentitySubjectCommonName   Identity = "SubjectCommonName"
	IdentitySubjectSerialNumber Identity = "SubjectSerialNumber"
	IdentityDNSName             Identity = "DNSName"
	IdentityURI                 Identity = "URI"
	IdentityFingerprint         Identity = "Fingerprint"
)

// Values are the identities that a document may name.
func (Identity) Values() []string {
	return []string{
		string(IdentitySubjectCommonName), string(IdentitySubjectSerialNumber), string(IdentityDNSName),
		string(IdentityURI), string(IdentityFingerprint),
	}
}

// Approval says who admits a device.
type Approval string

// The ways to admit a device.
const (
	ApprovalAutomatic   Approval = "Automatic"
	ApprovalPullRequest Approval = "PullRequest"
	ApprovalAllowList   Approval = "AllowList"
)

// Values are the approvals that a document may name.
func (Approval) Values() []string {
	return []string{string(ApprovalAutomatic), string(ApprovalPullRequest), string(ApprovalAllowList)}
}

// DeviceCertificate is what a device's certificate is like.
type DeviceCertificate struct {
	// Duration of the certificate, 1h at least where cert-manager makes the key and 1m where
	// the device does; 2160h when absent.
	Duration *metav1.Duration `json:"duration,omitempty"`
	// RenewBefore is how long before its end the certificate is renewed, 5m at least where
	// cert-manager makes the key and 20s where the device does; a third of the duration when
	// absent.
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`
	// DNSNames of the certificate, in which {{ .ID }} stands for the device's id.
	DNSNames []string `json:"dnsNames,omitempty"`
	// KeyAlgorithms that a device's key may be of; ECDSA and Ed25519 when absent.
	KeyAlgorithms []KeyAlgorithm `json:"keyAlgorithms,omitempty"`
	// Usages of the certificate as cert-manager names them; client auth when absent.
	Usages []string `json:"usages,omitempty"`
}

// DeviceKeys says who makes the devices' keys.
type DeviceKeys string

// Who makes a key.
const (
	// KeysDevice: the device sends a CSR, and its key never leaves it.
	KeysDevice DeviceKeys = "Device"
	// KeysCluster: cert-manager makes the key.
	KeysCluster DeviceKeys = "Cluster"
)

// Values are those that a document may name.
func (DeviceKeys) Values() []string { return []string{string(KeysDevice), string(KeysCluster)} }

// Recovery says how a device that lost its key comes back.
type Recovery struct {
	// Quota is how often a device may come back with a new key; 0 when absent: never.
	Quota int `json:"quota,omitempty"`
	// AcceptExpired is how long after its end a device's own certificate is still accepted
	// by the registration endpoint, so that one that was off may renew; not at all when
	// absent. A factory certificate that has ended never is.
	AcceptExpired *metav1.Duration `json:"acceptExpired,omitempty"`
}

// Device is one device of a group.
type Device struct {
	metav1.TypeMeta `json:",inline"`

	// Metadata names the device.
	Metadata Metadata `json:"metadata"`
	// Spec says what becomes of it.
	Spec DeviceSpec `json:"spec"`
}

// DeviceSpec says which group a device is in and what becomes of it.
type DeviceSpec struct {
	// Group that it is in.
	Group string `json:"group"`
	// State of the device; Active when absent.
	State DeviceState `json:"state,omitempty"`
	// Request is its certificate signing request, in PEM (RFC 2986).
	Request string `json:"request,omitempty"`
	// Superseded are the keys that it had before: the SHA-256 of each SubjectPublicKeyInfo,
	// as "sha256:" and 64 lower-case hex digits. A certificate of one of them is not
	// accepted any more, and no device may register one again. The registration endpoint
	// writes them.
	Superseded []string `json:"superseded,omitempty"`
	// Rekeyed is the last of superseded, if the device has shown that key when it asked for
	// its present one; absent if it came back without. By it a device that got no answer
	// may ask again for what it was granted, and fetch it: it shows the old key until it is
	// seen with the new one. The registration endpoint writes it; take it out to end that.
	Rekeyed string `json:"rekeyed,omitempty"`
	// Recoveries is how often the device came back with a new key without having shown the
	// one before: what the group's recovery quota is held against. The registration
	// endpoint counts; write a lower number to let a device come back once more.
	Recoveries int `json:"recoveries,omitempty"`
}

// MaxDeviceDocument is how large the file of a device may be, in bytes.
const MaxDeviceDocument = 64 << 10

// SupersededPrefix begins each entry of [DeviceSpec.Superseded].
const SupersededPrefix = "sha256:"

// DeviceState is what becomes of a device.
type DeviceState string

// The states of a device.
const (
	DeviceActive  DeviceState = "Active"
	DeviceBlocked DeviceState = "Blocked"
	DeviceRetired DeviceState = "Retired"
)

// Values are the states that a document may name.
func (DeviceState) Values() []string {
	return []string{string(DeviceActive), string(DeviceBlocked), string(DeviceRetired)}
}
