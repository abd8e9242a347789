package planner

import (
	"cmp"

	"github.com/reanchor/reanchor/pki"
)

// Record is what Git remembers of the keys that came to be: the public certificate of
// each, by which a restored cluster, another site's bundle and a plan without a cluster
// know the real anchors.
type Record struct {
	// Enabled reports that there is a record: without one, nothing is compared with it
	// and nothing waits for it.
	Enabled bool `json:"enabled,omitempty"`
	// Problem says why it could not be written the last time; empty if it could.
	Problem string `json:"problem,omitempty"`
	// Keys that are recorded, in order of authority and name.
	Keys []RecordedKey `json:"keys,omitempty"`
	// Links that are recorded, in order of authority and keys.
	Links []RecordedLink `json:"links,omitempty"`
}

// RecordedKey is one key pair in the record.
type RecordedKey struct {
	// Authority by its name, which is unique in a repository.
	Authority string `json:"authority"`
	// Name as [v1alpha1.KeyUnder] has it.
	Name string `json:"name"`
	// Certificate that was issued for it.
	Certificate pki.Certificate `json:"certificate"`
	// Retired reports that the key was drained and removed: its name is used up.
	Retired bool `json:"retired,omitempty"`
}

// RecordFolder is the folder of the record, below the domain's.
const RecordFolder = "anchors"

// RetiredFolder is the folder of an authority's retired keys, below the authority's.
const RetiredFolder = "retired"

// Path of the key's PEM file below the domain's folder: "anchors/fleet-root/2025.pem",
// or "anchors/fleet-root/retired/2025.pem" once it is retired.
func (k RecordedKey) Path() string {
	if k.Retired {
		return RecordFolder + "/" + k.Authority + "/" + RetiredFolder + "/" + k.Name + ".pem"
	}
	return RecordFolder + "/" + k.Authority + "/" + k.Name + ".pem"
}

// Compare orders by authority, then by name; a key in use comes before a retired one.
func (k RecordedKey) Compare(other RecordedKey) int {
	return cmp.Or(cmp.Compare(k.Authority, other.Authority), cmp.Compare(k.Name, other.Name), cmp.Compare(k.Path(), other.Path()))
}

// recordOf is the key's entry in the record.
func (c *course) recordOf(k *key, retired bool) RecordedKey {
	certificate := k.recorded
	if certificate.IsZero() {
		certificate = k.seen.Certificate
	}
	return RecordedKey{Authority: c.ref.Name, Name: k.name, Certificate: certificate, Retired: retired}
}

// unrecorded says that the key's certificate is not in the record yet; nil if it is, or
// if there is no record.
func (c *course) unrecorded(k *key) *Hold {
	record := c.turn.observed.Record
	if !record.Enabled || !k.recorded.IsZero() || c.emergency {
		return nil
	}
	why := "being recorded in Git"
	if record.Problem != "" {
		why = "not recorded in Git yet: " + record.Problem
	}
	return &Hold{Gate: "record", Subject: c.recordOf(k, false).Path(), Why: why}
}

// planRecord says what the record lacks: every key that came to be.
func (c *course) planRecord() {
	if !c.turn.observed.Record.Enabled || !c.declared {
		return
	}
	for _, k := range c.keys {
		if c.isRecordable(k) {
			c.turn.plan.Record = append(c.turn.plan.Record, c.recordOf(k, false))
		}
		if c.current.phase == Retire && c.current.key == k.name && c.isGone(k) && !c.mustBeCleared(k) && !c.spec.Rollover.Paused {
			c.turn.plan.Record = append(c.turn.plan.Record, c.recordOf(k, true))
		}
	}
}

// isRecordable reports whether the key came to be as it should, and is not recorded yet.
func (c *course) isRecordable(k *key) bool {
	there := k.present() || k.given != nil && !k.going()
	return k.known() && there && k.recorded.IsZero() && !k.spent &&
		c.changed(k) == nil && c.rightIssuer(k) == nil && c.hasOwnIdentity(k) == nil && c.unproved(k) == nil
}

// isGone reports whether nothing is left of a key but its entry in the record.
func (c *course) isGone(k *key) bool {
	return !k.recorded.IsZero() && !k.present() && !c.anchored(k) && c.secretIsGone(k)
}
