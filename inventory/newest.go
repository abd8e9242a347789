package inventory

import (
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// Answer is what the cluster answered a device, for one of its keys.
type Answer struct {
	// Chain of the newest certificate, the device's own first; empty: there is none.
	Chain []pki.Certificate
	// Refused says why the newest request was refused; empty: it was not.
	Refused string
}

// Newest is what the cluster answered a device for a key; for the zero key, for whichever.
// Where cert-manager makes the key, a certificate counts once it lies with its key in the
// Secret, which the Certificate's revision tells.
func (l *Lane) Newest(group, id string, key pki.Fingerprint) Answer {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var answer Answer
	m := l.members[name{group, id}]
	if m == nil {
		return answer
	}
	for _, requests := range [][]*request{m.requests, m.issued} {
		for _, r := range requests { // the oldest first
			if !key.IsZero() && r.key != key {
				continue
			}
			answer.Refused = ""
			switch {
			case r.isSigned() && m.isStored(r):
				answer.Chain = r.chain
			case r.failed:
				answer.Refused = r.why
			}
		}
	}
	return answer
}

// isStored reports whether a certificate is one for a key of the device's own, or lies in the
// device's Secret, or did.
func (s standing) isStored(r *request) bool {
	if !slices.Contains(s.issued, r) {
		return true
	}
	return s.certificate != nil && s.certificate.Status.Revision != nil && r.renewal <= *s.certificate.Status.Revision
}

// Known is what is known of a device from itself by now, and the object to write it on: its
// Certificate where cert-manager makes its key, else its newest CertificateRequest. False:
// there is none yet.
func (l *Lane) Known(group, id string, now time.Time) (Confirmation, Confirm, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	m := l.members[name{group, id}]
	switch {
	case m == nil:
	case m.certificate != nil:
		return m.confirmed(now), confirmOn(m.certificate), true
	case len(m.requests) > 0:
		return m.confirmed(now), confirmOn(m.requests[len(m.requests)-1].CertificateRequest), true
	}
	return Confirmation{}, Confirm{}, false
}

// Keys are those that the cluster's requests for a device are for: where cert-manager makes
// them, Git knows none.
func (l *Lane) Keys(group, id string) []pki.Fingerprint {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var keys []pki.Fingerprint
	if m := l.members[name{group, id}]; m != nil {
		for _, r := range m.issued {
			keys = append(keys, r.key)
		}
	}
	return keys
}

// HasShown reports whether a device was ever seen with a certificate for a key that is there
// still.
func (l *Lane) HasShown(group, id string, key pki.Fingerprint) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	m := l.members[name{group, id}]
	if m == nil {
		return false
	}
	said := m.confirmations()
	return slices.ContainsFunc(m.requests, func(r *request) bool {
		return r.key == key && r.isSigned() && slices.ContainsFunc(said, func(c Confirmation) bool { return c.Presented == r.chain[0].Fingerprint() })
	})
}
