package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// namedInLedger is how many devices of each kind a ledger names.
const namedInLedger = 20

// tallied is how far a device is with the keys of an epoch.
type tallied struct {
	epoch int
	// trusts are the keys that it was seen to trust; newest those that its newest certificate
	// leads through, live those that any certificate leads through that it may still show.
	trusts, newest, live keySet
	// until is when the first of its certificates ends that count.
	until time.Time
	// seen is when it was last heard of, and counts whether it has a certificate at all.
	seen   time.Time
	counts bool
}

// Ledger counts how far the devices of each group are with each key.
//
//	Distrusting  active, with a certificate that has not ended, and not seen to trust the key
//	Elsewhere    whose newest certificate does not lead through the key
//	Chaining     who may still show a certificate that leads through it: every one of its
//	             certificates counts until it has ended, or the device was seen with a later
//
// Who stands in a file that cannot be used counts as Active: that file may be mended.
//
// Silence is never consent: a device of which nothing is known has confirmed nothing.
func (l *Lane) Ledger(desired planner.Desired, keys []Key, now time.Time) []planner.Ledger {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.know(keys)
	waived := waiversIn(desired)
	groups := map[string]*planner.Ledger{}
	ledgers := make([]planner.Ledger, len(desired.Groups))
	for i, group := range desired.Groups {
		ledgers[i] = planner.Ledger{Group: group.Metadata.Name}
		for _, key := range keys {
			ledgers[i].Keys = append(ledgers[i].Keys, planner.Tally{Key: key.Certificate.Fingerprint()})
		}
		groups[group.Metadata.Name] = &ledgers[i]
	}
	for of, m := range l.members {
		ledger := groups[of.group]
		if ledger == nil || !m.isActive(now) {
			continue
		}
		ledger.Active++
		if t := l.tally(m, now); t.counts {
			l.count(ledger, of, t, waived)
		}
	}
	return ledgers
}

// isActive reports whether a device counts: Git lists it as Active, or does not say what it
// wants of one that the cluster holds objects of.
func (m *member) isActive(now time.Time) bool {
	device, usable := m.listed(now)
	if device == nil {
		return !usable && len(m.all()) > 0
	}
	return device.State == v1alpha1.DeviceActive
}

// know takes in the keys; others than before are another epoch.
func (l *Lane) know(keys []Key) {
	same := slices.EqualFunc(l.keys, keys, func(a, b Key) bool {
		return a.Authority == b.Authority && a.Name == b.Name && a.Certificate.Equal(b.Certificate)
	})
	if !same || l.epoch == 0 {
		l.keys, l.above = slices.Clone(keys), above(keys)
		l.epoch++
	}
}

// tally looks at a device, unless nothing of it has changed.
func (l *Lane) tally(m *member, now time.Time) tallied {
	if !m.changed && m.tallied.epoch == l.epoch && (m.tallied.until.IsZero() || !now.After(m.tallied.until)) {
		return m.tallied
	}
	known := m.confirmed(now)
	t := tallied{epoch: l.epoch, seen: known.Last(), until: m.counts(now)}
	for i, key := range l.keys {
		if slices.Contains(known.Anchors, key.Certificate.Fingerprint()) {
			t.trusts |= 1 << i
		}
	}
	shown := m.mayShow(known.Presented, now)
	for _, r := range shown {
		t.counts = true
		t.newest = l.leadsThrough(r)
		t.live |= t.newest
		if ends := r.chain[0].NotAfter(); t.until.IsZero() || ends.Before(t.until) {
			t.until = ends
		}
	}
	m.tallied = t
	return t
}

// mayShow are the requests whose certificates a device may still show, the oldest first.
func (s standing) mayShow(presented pki.Fingerprint, now time.Time) []*request {
	var may []*request
	all := slices.Concat(s.requests, s.issued)
	if len(s.requests) > 0 && len(s.issued) > 0 { // who makes the keys was changed, to and fro perhaps
		slices.SortStableFunc(all, func(a, b *request) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	}
	for _, r := range all {
		if !r.live(now) {
			continue
		}
		if r.chain[0].Fingerprint() == presented {
			may = nil // it has moved on: it was seen with this one
		}
		may = append(may, r)
	}
	return may
}

// leadsThrough are the known keys that a chain leads through.
func (l *Lane) leadsThrough(r *request) keySet {
	if r.epoch == l.epoch {
		return r.mask
	}
	r.mask, r.epoch = 0, l.epoch
	for _, certificate := range r.chain {
		for i, key := range l.keys {
			if certificate.SignedBy(key.Certificate) {
				r.mask |= l.above[i]
			}
		}
	}
	return r.mask
}

// count a device with each key.
func (l *Lane) count(ledger *planner.Ledger, of name, t tallied, waived waivers) {
	device := planner.Device{Name: of.id, Seen: t.seen}
	for i, key := range l.keys {
		tally := &ledger.Keys[i]
		if over := waived.of(of.group+"/"+of.id, key.Authority.Name); len(over) > 0 {
			name, _ := v1alpha1.SplitKey(key.Name)
			if slices.Contains(over, name) && (t.live.has(i) || !l.trustsSigner(t, key.Authority, waived)) {
				note(&tally.Waived, device)
			}
			continue
		}
		if t.trusts.has(i) {
			note(&tally.Trusting, device)
		} else {
			note(&tally.Distrusting, device)
		}
		if !t.newest.has(i) {
			note(&tally.Elsewhere, device)
		}
		if t.live.has(i) {
			note(&tally.Chaining, device)
		}
	}
}

// trustsSigner reports whether a device was seen to trust what signs.
func (l *Lane) trustsSigner(t tallied, authority planner.Ref, declared waivers) bool {
	for i, key := range l.keys {
		signs := slices.ContainsFunc(declared.authorities[authority.Name].Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
			return k.State == v1alpha1.KeySigning && k.Name == key.Name
		})
		if key.Authority == authority && signs && t.trusts.has(i) {
			return true
		}
	}
	return false
}

// note counts a device, and names it if it was silent longer than those that are named.
func note(devices *planner.Devices, device planner.Device) {
	devices.Count++
	at, _ := slices.BinarySearchFunc(devices.First, device, func(a, b planner.Device) int {
		return cmp.Or(a.Seen.Compare(b.Seen), cmp.Compare(a.Name, b.Name))
	})
	if at < namedInLedger {
		devices.First = slices.Insert(devices.First, at, device)
		devices.First = devices.First[:min(len(devices.First), namedInLedger)]
	}
}

// sameJSON reports whether two values are written alike.
func sameJSON(a, b any) bool {
	left, err := json.Marshal(a)
	right, other := json.Marshal(b)
	return err == nil && other == nil && bytes.Equal(left, right)
}
