package pki_test

import (
	"bytes"
	"testing"

	"github.com/reanchor/reanchor/pki"
)

// TestMalformedBlocksAreNotSkipped: encoding/pem passes over a block that it cannot
// decode; another reader of the same file may stop there.
func TestMalformedBlocksAreNotSkipped(t *testing.T) {
	a, b := root(t, "A", "a"), root(t, "B", "b")
	broken := bytes.Replace(a.PEM(), []byte("MII"), []byte("!!!"), 1)
	if bytes.Equal(broken, a.PEM()) {
		broken = bytes.Replace(a.PEM(), []byte("\nMI"), []byte("\n!!"), 1)
	}
	brokenKey := bytes.Replace(keyPEM(t, a.private), []byte("\nM"), []byte("\n!"), 1)
	for name, data := range map[string][]byte{
		"base64 broken, then a good one":   append(bytes.Clone(broken), b.PEM()...),
		"END missing, then a good one":     append(bytes.Clone(a.PEM()[:100]), append([]byte("\n"), b.PEM()...)...),
		"a mangled key, then a good one":   append(bytes.Clone(brokenKey), b.PEM()...),
		"BEGIN and END of different types": append(bytes.Replace(a.PEM(), []byte("BEGIN CERTIFICATE"), []byte("BEGIN PRIVATE KEY"), 1), b.PEM()...),
		"indented":                         append(bytes.ReplaceAll(append([]byte("\n"), a.PEM()...), []byte("\n"), []byte("\n  ")), append([]byte("\n"), b.PEM()...)...),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := pki.ParsePEM(data); err == nil {
				t.Errorf("taken as %v", got)
			}
		})
	}
}
