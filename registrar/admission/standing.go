package admission

import (
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// standing is how a chain stands to some anchors at a time.
type standing string

const (
	// accepted: it verifies.
	accepted standing = "accepted"
	// expired: it did, until one of its certificates ended.
	expired standing = "expired"
	// early: it will, from its notBefore on.
	early standing = "early"
	// stranger: it never did.
	stranger standing = "stranger"
)

// judge tells how a chain stands. The first shown certificates of it are the peer's own; what
// follows was added here.
func judge(chain []pki.Certificate, shown int, anchors pki.Anchors, now time.Time) standing {
	switch {
	case pki.Verify(chain, anchors, now) == nil:
		return accepted
	case now.Before(chain[0].NotBefore()) && pki.Verify(chain, anchors, chain[0].NotBefore()) == nil:
		return early
	}
	for _, end := range ends(chain[:shown], anchors, now) {
		if pki.Verify(chain, anchors, end) == nil {
			return expired
		}
	}
	return stranger
}

// ends are the times in the past at which a certificate ended, the earliest first. At the end
// of the one that ended first, the others were valid still.
func ends(chain []pki.Certificate, anchors pki.Anchors, now time.Time) []time.Time {
	var ends []time.Time
	for _, certificate := range slices.Concat(chain, anchors) {
		if now.After(certificate.NotAfter()) {
			ends = append(ends, certificate.NotAfter())
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return slices.Compact(ends)
}
