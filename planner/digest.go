package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
)

// CopiesDigest is the value of the annotation reanchor.dev/bundle-sha256: the SHA-256
// over the lines "<bundle> <revision of the Bundle> <SHA-256 of the copy>", sorted, where a
// copy that is not trust-manager's has a revision of its own. A pod
// that bears it was started when its namespace's copies were those, or later. Content may
// come back that was there before, and a revision does not: a pod that was started in
// between bears nothing that could be taken for it.
func CopiesDigest(copies []Copy, bundles []Bundle) string {
	lines := make([]string, 0, len(copies))
	for _, c := range copies {
		revision := c.Revision
		if at := slices.IndexFunc(bundles, func(b Bundle) bool { return b.Name == c.Bundle }); at >= 0 && revision == "" {
			revision = bundles[at].Revision
		}
		lines = append(lines, c.Bundle+" "+revision+" "+c.Digest.String())
	}
	return digestOf(lines)
}

// LeavesDigest is the value of the annotation reanchor.dev/leaves-sha256: the SHA-256 over
// the lines "<secret> <fingerprint of the leaf>", sorted. A pod that bears it was started
// when its Secrets held those leaves, or later ones; a leaf does not come back. It is asked
// for in a rollover alone, so that ordinary renewals restart nobody.
func LeavesDigest(leaves map[string]pki.Fingerprint) string {
	lines := make([]string, 0, len(leaves))
	for secret, leaf := range leaves {
		lines = append(lines, secret+" "+leaf.String())
	}
	return digestOf(lines)
}

func digestOf(lines []string) string {
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}
