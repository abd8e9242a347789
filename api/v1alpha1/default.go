package v1alpha1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a document means where it says nothing.
const (
	DefaultDuration  = 87600 * time.Hour
	DefaultAlgorithm = ECDSA
	DefaultECDSASize = 384
	DefaultRSASize   = 4096
	DefaultSoak      = 10 * time.Minute
	// DefaultConfirm is the same as ConfirmWorkloads where there are no device groups.
	DefaultConfirm = ConfirmDevices
	// DefaultWaitForOffline is thirty days.
	DefaultWaitForOffline = 720 * time.Hour
	DefaultLinks          = LinksMade
	DefaultSkew           = 5 * time.Minute
	// DefaultCanaryInterval bounds how long a key that changed behind an issuer's back
	// goes unseen.
	DefaultCanaryInterval = time.Hour
	DefaultVia            = ViaBundle
	// DefaultJKSPassword is the one that Java programs expect.
	DefaultJKSPassword = "changeit"

	DefaultApproval       = ApprovalAutomatic
	DefaultKeys           = KeysDevice
	DefaultDeviceState    = DeviceActive
	DefaultDeviceDuration = 2160 * time.Hour
	DefaultDeviceUsage    = "client auth"

	DefaultSeverity = PolicyDeny
	// renewalPart of a device's certificate is left when it is renewed.
	renewalPart = 3
)

// DefaultKeyAlgorithms are those that a device's key may be of.
func DefaultKeyAlgorithms() []KeyAlgorithm { return []KeyAlgorithm{ECDSA, Ed25519} }

// Default fills in what the document leaves out. [Decode] has done it already.
func (a *Authority) Default() {
	a.Spec.PrivateKey.Default()
	a.Spec.Rollover.Default()
	defaultDuration(&a.Spec.Duration, DefaultDuration)
}

// Default fills in the algorithm and the size that goes with it.
func (k *PrivateKey) Default() {
	if k.Algorithm == "" {
		k.Algorithm = DefaultAlgorithm
	}
	if k.Size != 0 {
		return
	}
	switch k.Algorithm {
	case ECDSA:
		k.Size = DefaultECDSASize
	case RSA:
		k.Size = DefaultRSASize
	}
}

// Default fills in how carefully a key is brought in.
func (r *Rollover) Default() {
	defaultDuration(&r.Soak, DefaultSoak)
	defaultDuration(&r.Skew, DefaultSkew)
	defaultDuration(&r.CanaryInterval, DefaultCanaryInterval)
	defaultDuration(&r.WaitForOffline, DefaultWaitForOffline)
	r.Confirm = cmp.Or(r.Confirm, DefaultConfirm)
	r.Links = cmp.Or(r.Links, DefaultLinks)
	if len(r.Waves) == 0 {
		r.Waves = []int{lastWave}
	}
}

// Default fills in who writes the copies, the password of a Java keystore and what probes
// are named. [Decode] has done it already.
func (b *TrustBundle) Default() {
	b.Spec.Via = cmp.Or(b.Spec.Via, DefaultVia)
	if jks := b.Spec.Target.AdditionalFormats.JKS; jks != nil && jks.Password == nil {
		jks.Password = new(DefaultJKSPassword)
	}
	for i := range b.Spec.Probes {
		b.Spec.Probes[i].Default()
	}
}

// Default fills in who admits a device, who makes its key and what its certificate is
// like. [Decode] has done it already.
func (g *DeviceGroup) Default() {
	g.Spec.Approval = cmp.Or(g.Spec.Approval, DefaultApproval)
	g.Spec.Keys = cmp.Or(g.Spec.Keys, DefaultKeys)
	g.Spec.Certificate.Default()
}

// Default fills in what a device's certificate is like. It is renewed when a third of its
// duration is left.
func (c *DeviceCertificate) Default() {
	defaultDuration(&c.Duration, DefaultDeviceDuration)
	defaultDuration(&c.RenewBefore, c.Duration.Duration/renewalPart)
	if len(c.KeyAlgorithms) == 0 {
		c.KeyAlgorithms = DefaultKeyAlgorithms()
	}
	if len(c.Usages) == 0 {
		c.Usages = []string{DefaultDeviceUsage}
	}
}

// Default makes a device active. [Decode] has done it already.
func (d *Device) Default() { d.Spec.State = cmp.Or(d.Spec.State, DefaultDeviceState) }

// Default makes a rule deny. [Decode] has done it already.
func (p *Policy) Default() { p.Spec.Severity = cmp.Or(p.Spec.Severity, DefaultSeverity) }

func defaultDuration(duration **metav1.Duration, absent time.Duration) {
	if *duration == nil {
		*duration = &metav1.Duration{Duration: absent}
	}
}
