package pki_test

import (
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// A peer accepts a chain exactly if it leads to one of its anchors, at the time that
// the caller gives.
func TestVerify(t *testing.T) {
	old, next := root(t, "Root 2025", "2025"), root(t, "Root 2026", "2026")
	namesake := root(t, "Root 2025", "another")
	short := root(t, "Short", "short", lives(born, born.Add(30*24*time.Hour)))
	middle := intermediate(t, "Middle", old)
	chain := func(entities ...entity) []pki.Certificate {
		var all []pki.Certificate
		for _, e := range entities {
			all = append(all, e.Certificate)
		}
		return all
	}
	anchors := func(entities ...entity) pki.Anchors { return pki.NewAnchors(chain(entities...)...) }
	day := born.Add(24 * time.Hour)
	for name, test := range map[string]struct {
		chain   []pki.Certificate
		anchors pki.Anchors
		at      time.Time
		err     string // empty: accepted
	}{
		"its anchor":                          {chain(leaf(t, "x", old)), anchors(old), day, ""},
		"both anchors, as in a rollover":      {chain(leaf(t, "x", next)), anchors(old, next), day, ""},
		"another anchor":                      {chain(leaf(t, "x", old)), anchors(next), day, "signed by unknown authority"},
		"an anchor with the same name":        {chain(leaf(t, "x", old)), anchors(namesake), day, "signed by unknown authority"},
		"the same name beside the right one":  {chain(leaf(t, "x", old)), anchors(namesake, old), day, ""},
		"no anchors":                          {chain(leaf(t, "x", old)), nil, day, "signed by unknown authority"},
		"no chain":                            {nil, anchors(old), day, "verify: the chain is empty"},
		"an intermediate that is sent along":  {chain(leaf(t, "x", middle), middle), anchors(old), day, ""},
		"an intermediate that is not":         {chain(leaf(t, "x", middle)), anchors(old), day, "signed by unknown authority"},
		"an intermediate that has moved":      {chain(leaf(t, "x", middle), intermediate(t, "Middle", next)), anchors(next), day, ""},
		"the root in the chain is no anchor":  {chain(leaf(t, "x", old), old), anchors(next), day, "signed by unknown authority"},
		"an intermediate as anchor":           {chain(leaf(t, "x", middle)), anchors(middle), day, ""},
		"before its first second":             {chain(leaf(t, "x", old)), anchors(old), born.Add(-time.Second), "expired or is not yet valid"},
		"in its first second":                 {chain(leaf(t, "x", old)), anchors(old), born, ""},
		"in its last second":                  {chain(leaf(t, "x", old)), anchors(old), born.Add(90 * 24 * time.Hour), ""},
		"after its last second":               {chain(leaf(t, "x", old)), anchors(old), born.Add(90*24*time.Hour + time.Second), "expired or is not yet valid"},
		"a leaf that outlives its CA, within": {chain(leaf(t, "x", short)), anchors(short), born.Add(29 * 24 * time.Hour), ""},
		"a leaf that outlives its CA, beyond": {chain(leaf(t, "x", short)), anchors(short), born.Add(31 * 24 * time.Hour), "expired or is not yet valid"},
		"a leaf cannot have signed":           {chain(leaf(t, "x", leaf(t, "y", old)), leaf(t, "y", old)), anchors(old), day, "parent certificate cannot sign this kind of certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			err := pki.Verify(test.chain, test.anchors, test.at)
			switch {
			case test.err == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("gave the error %v, want one that says %q", err, test.err)
			case err != nil && len(test.chain) > 0 && !strings.HasPrefix(err.Error(), "verify "+test.chain[0].String()+": "):
				t.Errorf("the error %q does not name what it is about", err)
			}
		})
	}
}
