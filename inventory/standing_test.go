package inventory

import (
	"slices"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// A certificate that was made for a device does not mean that the device has moved: behind is
// whom a rollover waits for.
func TestWhoIsBehind(t *testing.T) {
	old, next := root(t, "2025"), root(t, "2026")
	both := []pki.Fingerprint{old.Certificate.Fingerprint(), next.Certificate.Fingerprint()}
	for name, c := range map[string]struct {
		trusts []pki.Fingerprint
		seen   int // with which of its certificates
		later  time.Duration
		keys   []Key
		behind bool
		older  []string
	}{
		"it has moved":                    {both, 1, 0, []Key{old.Key, next.Key}, false, nil},
		"it may show the old certificate": {both, 0, 0, []Key{old.Key, next.Key}, true, []string{"root/2025"}},
		"it does not trust the new root":  {both[:1], 1, 0, []Key{old.Key, next.Key}, true, nil},
		"its old certificate has ended":   {both, 0, 2160 * time.Hour, []Key{old.Key, next.Key}, false, nil},
		"the old root is gone":            {nil, 1, 0, []Key{next.Key}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, old)
			p.list("sensors", "one", active(t, "sensors", "one"))
			p.turn()
			p.sign(nobody)
			p.signer, p.now = next, p.now.Add(time.Hour)
			p.turn()
			p.sign(nobody)
			held := p.held("one")
			known := Confirmation{Anchors: c.trusts, At: p.now, Presented: held[c.seen].chain[0].Fingerprint(), Seen: p.now}
			p.annotate(held[1].Name, v1alpha1.AnnotationConfirmed, known.String())
			standings := p.lane.Standings(c.keys, p.now.Add(c.later))
			if len(standings) != 1 {
				t.Fatalf("%d devices", len(standings))
			}
			if got := standings[0]; got.Behind() != c.behind || !slices.Equal(got.Older, c.older) || got.Signer != "root/2026" {
				t.Errorf("%+v, behind %t", got, got.Behind())
			}
		})
	}
}
