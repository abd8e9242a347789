package service

import (
	"testing"
	"time"

	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
)

// Whichever of two words of a device is written down last, the later one stands.
func TestAnOlderWordDoesNotOutliveANewerOne(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old, next := pki.Fingerprint{1}, pki.Fingerprint{2}
	says := func(at time.Time, whole bool, anchors ...pki.Fingerprint) shown {
		return shown{Confirmation: inventory.Confirmation{Anchors: anchors, At: at}, whole: whole}
	}
	for name, test := range map[string]struct {
		waits, written shown
		anchors        int
		whole          bool
	}{
		"all that it trusts, and then less":        {says(at, true, old, next), says(at.Add(time.Hour), false, old), 1, false},
		"one that it proved, and then all":         {says(at, false, next), says(at.Add(time.Hour), true, old), 1, true},
		"less, and then all that it trusts":        {says(at.Add(time.Hour), true, old, next), says(at, false, old), 2, true},
		"one, and then another that it has proved": {says(at.Add(time.Hour), false, next), says(at, false, old), 2, false},
		"both at once": {says(at, true, next), says(at, false, old), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.waits.after(test.written)
			if len(got.Anchors) != test.anchors || got.whole != test.whole {
				t.Errorf("it says %d anchors, whole: %t", len(got.Anchors), got.whole)
			}
			if got.At.Before(test.waits.At) || got.At.Before(test.written.At) {
				t.Errorf("it is of %s", got.At)
			}
		})
	}
}
