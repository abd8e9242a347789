package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
)

// CopiesDigest is the value of the annotation reanchor.dev/bundle-sha256: the
// SHA-256 over the lines "<bundle> <SHA-256 of the copy>", sorted. A pod that bears
// it was started when its namespace's copies had that content, or later.
func CopiesDigest(copies []Copy) string {
	lines := make([]string, 0, len(copies))
	for _, c := range copies {
		lines = append(lines, c.Bundle+" "+c.Digest.String())
	}
	return digestOf(lines)
}

// LeavesDigest is the value of the annotation reanchor.dev/leaves-sha256: the
// SHA-256 over the lines "<secret> <fingerprint of the CA that signed it>",
// sorted. A renewal under the same key does not change it. A pod that bears it was
// started when its leaves were signed by those CAs, or later.
func LeavesDigest(signers map[string]pki.Fingerprint) string {
	lines := make([]string, 0, len(signers))
	for secret, signer := range signers {
		lines = append(lines, secret+" "+signer.String())
	}
	return digestOf(lines)
}

func digestOf(lines []string) string {
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}
