package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Anchors is a set of trust anchors: sorted by fingerprint, each once. The zero
// value is the empty set. Make one with [NewAnchors].
type Anchors []Certificate

// NewAnchors makes a set of the certificates given, in any order.
func NewAnchors(certificates ...Certificate) Anchors {
	sorted := slices.Clone(certificates)
	slices.SortFunc(sorted, func(a, b Certificate) int { return a.fingerprint.Compare(b.fingerprint) })
	return slices.CompactFunc(sorted, Certificate.Equal)
}

// Has reports whether the set holds that certificate.
func (a Anchors) Has(certificate Certificate) bool {
	_, found := slices.BinarySearchFunc(a, certificate.fingerprint, func(c Certificate, f Fingerprint) int {
		return c.fingerprint.Compare(f)
	})
	return found
}

// HasAny reports whether the sets have a certificate in common.
func (a Anchors) HasAny(other Anchors) bool { return slices.ContainsFunc(other, a.Has) }

// Common is the set of what is in both.
func (a Anchors) Common(other Anchors) Anchors { return a.Minus(a.Minus(other)) }

// Contains reports whether every certificate of the other set is in this one.
func (a Anchors) Contains(other Anchors) bool {
	return !slices.ContainsFunc(other, func(c Certificate) bool { return !a.Has(c) })
}

// Equal reports whether both sets hold the same certificates.
func (a Anchors) Equal(other Anchors) bool { return slices.EqualFunc(a, other, Certificate.Equal) }

// Union is the set of what is in either.
func (a Anchors) Union(other Anchors) Anchors { return NewAnchors(slices.Concat(a, other)...) }

// Minus is the set without the certificates of the other.
func (a Anchors) Minus(other Anchors) Anchors {
	return slices.DeleteFunc(slices.Clone(a), other.Has)
}

// PEM is the set as PEM, in the set's order: equal sets give equal bytes.
func (a Anchors) PEM() []byte {
	var out bytes.Buffer
	for _, certificate := range a {
		out.Write(certificate.PEM())
	}
	return out.Bytes()
}

// SHA256 is the SHA-256 of the set's PEM.
func (a Anchors) SHA256() Fingerprint { return sha256.Sum256(a.PEM()) }

// Verify reports whether a peer that holds these anchors accepts the chain: the
// leaf first, then what the peer sends with it. It is the path validation of RFC
// 5280, section 6, for any extended key usage and no particular name, at the time
// given.
func Verify(chain []Certificate, anchors Anchors, at time.Time) error {
	if len(chain) == 0 {
		return fmt.Errorf("verify: the chain is empty")
	}
	options := x509.VerifyOptions{
		Roots:         pool(anchors),
		Intermediates: pool(chain[1:]),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if _, err := chain[0].parsed.Verify(options); err != nil {
		return fmt.Errorf("verify %s: %w", chain[0], err)
	}
	return nil
}

func pool(certificates []Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate.parsed)
	}
	return pool
}
