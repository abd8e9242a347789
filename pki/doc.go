// Package pki holds certificates as values: what they are, how they compare, and
// what verifies against what. It performs no I/O and reads no clock.
//
// # Identity
//
// A [Certificate] is known by the SHA-256 of its DER ([Certificate.Fingerprint])
// and its key by the SHA-256 of its SubjectPublicKeyInfo ([Certificate.SPKI]);
// never by a name, since two keys of one authority may share a subject.
//
// # Anchors
//
// [Anchors] is a set of certificates in the one order in which it is ever
// written: sorted by fingerprint, each once. Two sets are equal exactly if their
// PEM is ([Anchors.PEM]), so a bundle is byte-stable.
//
//	old, _ := pki.ParsePEM(oldPEM)
//	both := pki.NewAnchors(old...).Union(pki.NewAnchors(next))
//	err := pki.Verify(chain, both, now)
//
// # Verification
//
// [Verify] is crypto/x509's path validation (RFC 5280, section 6) with the time
// given by the caller and nothing taken from the system.
package pki
