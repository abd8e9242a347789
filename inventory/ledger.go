package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
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
	// seen is when it was last heard of, counts whether it has a certificate at all, and since
	// when it has had the first of those that count.
	seen, since time.Time
	counts      bool
}

// Ledger counts how far the devices of each group are with each key.
//
//	Distrusting  active, with a certificate that has not ended, and not seen to trust the key
//	Elsewhere    whose newest certificate does not lead through the key
//	Chaining     who may still show a certificate that leads through it: every one of its
//	             certificates counts until it has ended, or the device was seen with a later
//
// Who stands in a file that cannot be used counts as Active: that file may be mended. So do
// the devices of a group that Git declares no more while their files stand: there is a ledger
// of it too. What counts of certificates that lie elsewhere than where the group's are made is
// told in elsewhere.go.
//
// Silence is never consent: a device of which nothing is known has confirmed nothing.
func (l *Lane) Ledger(desired planner.Desired, keys []Key, now time.Time) []planner.Ledger {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.know(keys)
	l.bequeath()
	waived := waiversIn(desired)
	groups := map[string]*planner.Ledger{}
	waves := map[string][]int{}
	for _, group := range desired.Groups {
		waves[group.Metadata.Name] = planner.GroupWaves(desired, group)
		groups[group.Metadata.Name] = emptyLedger(group.Metadata.Name, keys, waves[group.Metadata.Name])
	}
	l.rank(func(group string) bool { return len(waves[group]) > 0 }, now)
	for of, m := range l.members {
		if !m.isActive(now) {
			continue
		}
		ledger := groups[of.group]
		if ledger == nil { // the group is gone, and its devices are not
			ledger = emptyLedger(of.group, keys, nil)
			groups[of.group] = ledger
		}
		ledger.Active++
		if t := l.tally(m, now); t.counts {
			l.count(ledger, of, m, t, waived)
		}
	}
	ledgers := make([]planner.Ledger, 0, len(groups))
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		ledgers = append(ledgers, *groups[group])
	}
	return ledgers
}

func emptyLedger(group string, keys []Key, waves []int) *planner.Ledger {
	ledger := planner.Ledger{Group: group}
	for _, key := range keys {
		tally := planner.Tally{Key: key.Certificate.Fingerprint()}
		for _, percent := range waves {
			tally.Waves = append(tally.Waves, planner.WaveTally{Percent: percent})
		}
		ledger.Keys = append(ledger.Keys, tally)
	}
	return &ledger
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
	for _, r := range slices.Concat(m.mayShowOfOld(now), m.mayShow(known.Presented, now)) {
		t.counts = true
		if t.since.IsZero() || r.since.Before(t.since) {
			t.since = r.since
		}
		mask, _ := l.look(r)
		t.live |= mask
		if ends := r.chain[0].NotAfter(); t.until.IsZero() || ends.Before(t.until) {
			t.until = ends
		}
	}
	for _, ends := range []time.Time{m.forgotten(now), m.shownUnknown(known, now)} {
		if ends.IsZero() {
			continue
		}
		t.counts, t.live = true, 1<<len(l.keys)-1
		if t.until.IsZero() || ends.Before(t.until) {
			t.until = ends
		}
	}
	if made := m.certificate; made != nil && t.counts && (t.since.IsZero() || made.CreationTimestamp.Time.Before(t.since)) {
		t.since = made.CreationTimestamp.Time
	}
	if newest := m.newest(now); newest != nil {
		_, t.newest = l.look(newest)
	}
	m.tallied = t
	return t
}

// mayShow are the requests whose certificates a device may still show of those that were made
// for it where its objects are made now, the oldest first.
func (m *member) mayShow(presented pki.Fingerprint, now time.Time) []*request {
	var may []*request
	for _, r := range m.inOrder() {
		if !r.live(now) {
			continue
		}
		if m.isOwn(r) && r.chain[0].Fingerprint() == presented {
			may = nil // it has moved on: it was seen with this one
		}
		may = append(may, r)
	}
	return may
}

// newest is the request for the device's own key whose certificate came last and has not
// ended, or, while there is none for that, for whichever key it had; nil: there is none.
func (m *member) newest(now time.Time) *request {
	var newest *request
	for _, r := range m.inOrder() {
		if r.live(now) && (newest == nil || m.isOwn(r) || !m.isOwn(newest)) {
			newest = r
		}
	}
	return newest
}

// forgotten is until when a certificate may live of which cert-manager's request is gone, and
// which the device may still show; zero: there is none. What key signed it, nobody can tell
// then.
func (m *member) forgotten(now time.Time) time.Time {
	var until time.Time
	for _, s := range append([]standing{m.standing}, standingsOf(m.elsewhere())...) {
		if ends := s.forgotten(); ends.After(now) && ends.After(until) {
			until = ends
		}
	}
	if until.IsZero() {
		return until
	}
	if shown, _ := m.shown(now); shown != nil {
		return time.Time{}
	}
	return until
}

// forgotten is when a certificate ends, or has at the latest, that came before those whose
// requests cert-manager keeps (revisionHistoryLimit), or before its Certificate was made anew
// over a Secret that stayed; zero: there is none.
func (s standing) forgotten() time.Time {
	until := s.older
	for _, said := range s.confirmations() {
		until = later(until, said.Older)
	}
	if !slices.ContainsFunc(s.issued, (*request).isSigned) {
		if isIssued(s.certificate) {
			until = later(until, s.certificate.Status.NotAfter.Time)
		}
		return until
	}
	first := s.issued[0]
	over := s.certificate != nil && !first.CreationTimestamp.Time.Before(s.certificate.CreationTimestamp.Add(askedWithin))
	if !first.isSigned() || first.renewal <= 1 && !over {
		return until
	}
	// the one before it lived as long, from before it was made
	return later(until, first.CreationTimestamp.Add(first.chain[0].NotAfter().Sub(first.chain[0].NotBefore())))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// shownUnknown is when the certificate ends that the device was seen with last, if its request
// is gone: the device went back to what it had before, say, and what key signed that, nobody
// can tell. Zero: it is known, or has ended. Of one whose end was not written down, that is
// taken for granted: it would hold every key for ever.
func (m *member) shownUnknown(known Confirmation, now time.Time) time.Time {
	if known.Presented.IsZero() || !known.PresentedUntil.After(now) {
		return time.Time{}
	}
	isShown := func(r *request) bool { return r.isSigned() && r.chain[0].Fingerprint() == known.Presented }
	for _, p := range slices.Concat(m.places, m.inherited) {
		if slices.ContainsFunc(p.requests, isShown) || slices.ContainsFunc(p.issued, isShown) {
			return time.Time{}
		}
	}
	return known.PresentedUntil
}

func standingsOf(places []place) []standing {
	var all []standing
	for _, p := range places {
		all = append(all, p.standing)
	}
	return all
}

// inOrder are all requests, the oldest first.
func (s standing) inOrder() []*request {
	all := slices.Concat(s.requests, s.issued)
	if len(s.requests) > 0 && len(s.issued) > 0 { // who makes the keys was changed, to and fro perhaps
		slices.SortStableFunc(all, func(a, b *request) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	}
	return all
}

// look which of the known keys a chain leads through. An anchor is held by any certificate that
// comes with the leaf; that a device has moved is shown by those alone that lead up from it.
func (l *Lane) look(r *request) (mask, proven keySet) {
	if r.epoch == l.epoch {
		return r.mask, r.proven
	}
	r.mask, r.proven, r.epoch = 0, 0, l.epoch
	linked := true
	for at, certificate := range r.chain {
		linked = linked && (at == 0 || r.chain[at-1].SignedBy(certificate))
		for i, key := range l.keys {
			if certificate.SignedBy(key.Certificate) {
				r.mask |= l.above[i]
				if linked {
					r.proven |= l.above[i]
				}
			}
		}
	}
	return r.mask, r.proven
}

// count a device with each key.
func (l *Lane) count(ledger *planner.Ledger, of name, m *member, t tallied, waived waivers) {
	device := planner.Device{Name: of.id, Seen: t.seen, Since: t.since}
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
			for at := range tally.Waves {
				if wave := &tally.Waves[at]; planner.InWave(m.rank, m.of, wave.Percent) {
					note(&wave.Elsewhere, device)
				}
			}
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
		return cmp.Or(a.Heard().Compare(b.Heard()), cmp.Compare(a.Name, b.Name))
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
