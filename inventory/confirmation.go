package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Confirmation is what is known of a device from itself: the value of the annotation
// [v1alpha1.AnnotationConfirmed], as JSON:
//
//	{"anchors":["<SHA-256 of a certificate>"],"at":"2026-01-01T00:00:00Z",
//	 "presented":"<SHA-256 of a certificate>","presentedUntil":"2026-04-01T00:00:00Z",
//	 "seen":"2026-01-02T00:00:00Z","older":"2026-02-01T00:00:00Z"}
type Confirmation struct {
	// Anchors that it was seen to trust, at that time: it told the hash of a bundle that
	// holds them, say, or completed a handshake with a chain that ends in one alone.
	Anchors []pki.Fingerprint `json:"anchors,omitempty"`
	At      time.Time         `json:"at,omitzero"`
	// Presented is the certificate that it showed last, when it was Seen. PresentedUntil is
	// when that certificate ends; zero: whoever wrote that did not say.
	Presented      pki.Fingerprint `json:"presented,omitzero"`
	PresentedUntil time.Time       `json:"presentedUntil,omitzero"`
	Seen           time.Time       `json:"seen,omitzero"`
	// Older is not the device's word: until then it may show a certificate from before its
	// Certificate was made, of which no request tells what key signed it.
	Older time.Time `json:"older,omitzero"`
}

// ConfirmationIn reads the annotation. One that cannot be read confirms nothing.
func ConfirmationIn(annotations map[string]string) Confirmation {
	var c Confirmation
	if err := json.Unmarshal([]byte(annotations[v1alpha1.AnnotationConfirmed]), &c); err != nil {
		return Confirmation{}
	}
	return c
}

// String is the annotation's value; empty if nothing is known.
func (c Confirmation) String() string {
	if c.IsZero() {
		return ""
	}
	c.Anchors = slices.Clone(c.Anchors)
	slices.SortFunc(c.Anchors, pki.Fingerprint.Compare)
	c.Anchors, c.At, c.Seen = slices.Compact(c.Anchors), c.At.UTC(), c.Seen.UTC()
	c.PresentedUntil, c.Older = c.PresentedUntil.UTC(), c.Older.UTC()
	text, err := json.Marshal(c)
	if err != nil { // of times and hexadecimal numbers
		panic(fmt.Sprintf("write a confirmation: %v", err))
	}
	return string(text)
}

// IsZero reports that nothing is known.
func (c Confirmation) IsZero() bool {
	return len(c.Anchors) == 0 && c.At.IsZero() && c.Presented.IsZero() && c.Seen.IsZero() && c.Older.IsZero()
}

// maxAhead is how far the clock of who writes a confirmation may be ahead of the reader's.
const maxAhead = time.Minute

// By is what of it counts at a time: a half that is from the future confirms nothing, or it
// would outlast whatever the device says from now on.
func (c Confirmation) By(now time.Time) Confirmation {
	if c.At.After(now.Add(maxAhead)) {
		c.Anchors, c.At = nil, time.Time{}
	}
	if c.Seen.After(now.Add(maxAhead)) {
		c.Presented, c.PresentedUntil, c.Seen = pki.Fingerprint{}, time.Time{}, time.Time{}
	}
	return c
}

// With is what two of them say together: of each half the later one. A device that trusts
// less than before has said so later.
func (c Confirmation) With(other Confirmation) Confirmation {
	if other.At.After(c.At) {
		c.Anchors, c.At = other.Anchors, other.At
	}
	if other.Seen.After(c.Seen) {
		c.Presented, c.PresentedUntil, c.Seen = other.Presented, other.PresentedUntil, other.Seen
	}
	if other.Older.After(c.Older) {
		c.Older = other.Older
	}
	return c
}

// Last is when the device was last heard of; zero: never.
func (c Confirmation) Last() time.Time {
	if c.Seen.After(c.At) {
		return c.Seen
	}
	return c.At
}
