package v1alpha1

import (
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
	DefaultConfirm   = ConfirmWorkloads
	DefaultSkew      = 5 * time.Minute
	// DefaultCanaryInterval bounds how long a key that changed behind an issuer's back
	// goes unseen.
	DefaultCanaryInterval = time.Hour
	DefaultVia            = ViaBundle
)

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
	if r.Confirm == "" {
		r.Confirm = DefaultConfirm
	}
}

// Default fills in who writes the copies. [Decode] has done it already.
func (b *TrustBundle) Default() {
	if b.Spec.Via == "" {
		b.Spec.Via = DefaultVia
	}
}

func defaultDuration(duration **metav1.Duration, absent time.Duration) {
	if *duration == nil {
		*duration = &metav1.Duration{Duration: absent}
	}
}
