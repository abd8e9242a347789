package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
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
	slices.SortFunc(sorted, func(a, b Certificate) int { return a.Fingerprint().Compare(b.Fingerprint()) })
	return slices.CompactFunc(sorted, Certificate.Equal)
}

// Has reports whether the set holds that certificate.
func (a Anchors) Has(certificate Certificate) bool {
	_, found := slices.BinarySearchFunc(a, certificate.Fingerprint(), func(c Certificate, f Fingerprint) int {
		return c.Fingerprint().Compare(f)
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
		return errors.New("verify: the chain is empty")
	}
	if !allValid(chain, at) || !allValid(anchors, at) {
		return verify(chain, anchors, at)
	}
	// Time has no part in the verdict but by who is valid.
	return chains.of(digest(chain, anchors), func() error { return verify(chain, anchors, at) })
}

// verify gives its error as text alone, which keeps no certificate alive.
func verify(chain []Certificate, anchors Anchors, at time.Time) error {
	options := x509.VerifyOptions{
		Roots:         pool(anchors),
		Intermediates: pool(chain[1:]),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if _, err := chain[0].parsed.Verify(options); err != nil {
		return fmt.Errorf("verify %s: %v", chain[0], err) //nolint:errorlint // see above
	}
	return nil
}

func allValid(certificates []Certificate, at time.Time) bool {
	return !slices.ContainsFunc(certificates, func(c Certificate) bool { return at.Before(c.NotBefore()) || at.After(c.NotAfter()) })
}

// digest tells questions apart: a chain, in its order, and the anchors that it is verified
// against.
func digest(chain []Certificate, anchors Anchors) Fingerprint {
	text := make([]byte, 0, (len(chain)+1+len(anchors))*sha256.Size)
	for _, certificates := range [][]Certificate{chain, {{}}, anchors} {
		for _, certificate := range certificates {
			fingerprint := certificate.Fingerprint()
			text = append(text, fingerprint[:]...)
		}
	}
	return sha256.Sum256(text)
}

func pool(certificates []Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate.parsed)
	}
	return pool
}
