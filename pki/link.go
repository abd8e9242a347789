package pki

import (
	"bytes"
	"slices"
	"time"
)

// A link is the public key of a new root signed by an old one: an intermediate by which
// whoever knows the old root alone comes to trust what the new one signs.
//
//	leaf ── signed by ── 2026        leaf ── signed by ── link ── signed by ── 2025
//	                     (anchor)                 (2026's key)                 (anchor)
//
// Of several rollovers, links follow each other: 2026 under 2025, 2025 under 2024.

// Links reports whether the certificate is a link from an old root to a new one: a CA's,
// with the new root's subject, public key and subject key identifier, signed by the old
// one. Verifiers find it only by all three (RFC 5280, section 4.2.1).
func (c Certificate) Links(to, from Certificate) bool {
	return c.IsCA() && c.isOf(to) && len(c.parsed.AuthorityKeyId) > 0 && c.SignedBy(from) && !c.Equal(to)
}

// isOf reports whether both certificates are of one key under one name.
func (c Certificate) isOf(ca Certificate) bool {
	return c.spki == ca.spki && bytes.Equal(c.parsed.RawSubject, ca.parsed.RawSubject) && bytes.Equal(c.SubjectKeyID(), ca.SubjectKeyID())
}

// validAt reports whether the time is within the certificate's validity.
func (c Certificate) validAt(at time.Time) bool {
	return !at.Before(c.NotBefore()) && !at.After(c.NotAfter())
}

// Bridge is the shortest chain of links, all valid at the time, by which what the root
// signed verifies with the anchor alone. The first bears the root's key and the anchor
// signed the last: they follow the leaf, and the intermediates below the root, in what is
// presented. Nil if there is no such chain, or none is needed.
func Bridge(root Certificate, links []Certificate, anchor Certificate, at time.Time) []Certificate {
	usable := NewAnchors(slices.DeleteFunc(slices.Clone(links), func(link Certificate) bool { return !link.validAt(at) })...)
	var reached [][]Certificate
	for _, link := range usable {
		if link.isOf(root) && !root.Equal(anchor) {
			reached = append(reached, []Certificate{link})
		}
	}
	for len(reached) > 0 {
		var next [][]Certificate
		for _, chain := range reached {
			last := chain[len(chain)-1]
			if last.SignedBy(anchor) {
				return chain
			}
			for _, link := range usable {
				if last.SignedBy(link) && !slices.ContainsFunc(chain, link.isOf) {
					next = append(next, append(slices.Clone(chain), link))
				}
			}
		}
		reached = next
	}
	return nil
}
