package inventory

import (
	"cmp"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Standing is how far one device is, for people to read.
type Standing struct {
	Device
	// Certificate is where its certificate stands; empty of a device that is not Active. Why
	// says it of one that failed.
	Certificate State
	Why         string
	// Signer is the known key that signed the newest certificate that the device may show,
	// "fleet-root/2025", and Ends when that ends; empty and zero: it has none. Older are the
	// other keys of whose certificates it may still show one: it was not seen with a later.
	Signer string
	Older  []string
	Ends   time.Time
	// Wanted is the key that shall sign, "fleet-root/2026"; empty: none yet.
	Wanted string
	// Trusts are the known keys that it was seen to trust, and Seen when it was last heard
	// of; zero: never.
	Trusts []string
	Seen   time.Time
	// Distrusts: it has not shown that it trusts the root that shall sign, while another root
	// of the same authority is there still.
	Distrusts bool
}

// Behind reports that an active device has not moved to the key that shall sign: it has no
// certificate of that, may still show one of another key, or has not shown that it trusts the
// new root. These are the devices that a rollover waits for.
func (s Standing) Behind() bool {
	return s.State == v1alpha1.DeviceActive && (s.Wanted == "" || s.Signer != s.Wanted || len(s.Older) > 0 || s.Distrusts)
}

// String names a key without its namespace: "fleet-root/2025".
func (k Key) String() string { return k.Authority.Name + "/" + k.Name }

// Standings are the devices that Git lists, in order of their groups and ids, as they stand
// beside the rules that [Lane.Obey] took in last.
func (l *Lane) Standings(keys []Key, now time.Time) []Standing {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.bequeath()
	var all []Standing
	for of, m := range l.members {
		if device, usable := m.listed(now); device != nil {
			all = append(all, l.standing(*device, usable, m, l.rules[of.group], keys, now))
		}
	}
	slices.SortFunc(all, func(a, b Standing) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (l *Lane) standing(device Device, usable bool, m *member, rule Rule, keys []Key, now time.Time) Standing {
	known := m.confirmed(now)
	s := Standing{Device: device, Seen: known.Last()}
	if s.State == v1alpha1.DeviceActive && usable {
		d := decide(s.Device, m.standing, rule, now)
		s.Certificate, s.Why = d.state, d.why
	}
	if !rule.Signer.Certificate.IsZero() {
		s.Wanted = rule.Signer.String()
	}
	for _, key := range keys {
		if slices.Contains(known.Anchors, key.Certificate.Fingerprint()) {
			s.Trusts = append(s.Trusts, key.String())
		}
	}
	s.Distrusts = slices.ContainsFunc(keys, func(key Key) bool {
		return key.Authority == rule.Signer.Authority && key.Name != rule.Signer.Name
	}) && rule.Signer.Certificate.SelfSigned() && !slices.Contains(s.Trusts, s.Wanted)
	s.shows(m.mayShow(known.Presented, now), keys)
	return s
}

// shows takes in the requests whose certificates the device may show, the oldest first.
func (s *Standing) shows(requests []*request, keys []Key) {
	for _, r := range requests {
		leaf := r.chain[0]
		if s.Signer != "" && !slices.Contains(s.Older, s.Signer) {
			s.Older = append(s.Older, s.Signer)
		}
		s.Ends, s.Signer = leaf.NotAfter(), ""
		for _, key := range keys {
			if leaf.SignedBy(key.Certificate) {
				s.Signer = key.String()
			}
		}
	}
	s.Older = slices.DeleteFunc(s.Older, func(key string) bool { return key == s.Signer })
}
