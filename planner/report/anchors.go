package report

import (
	"cmp"
	"slices"

	"github.com/reanchor/reanchor/planner/forecast"
)

// held is an anchor of a bundle, and when.
type held struct {
	forecast.Anchor
	before, after bool
}

// change is the word for it.
func (h held) change() string {
	switch {
	case h.before && h.after:
		return "stays"
	case h.after:
		return "comes"
	}
	return "goes"
}

// validity is from when to when; empty if that is not known.
func (h held) validity() string {
	if h.NotAfter.IsZero() {
		return ""
	}
	return date(h.NotBefore) + " to " + date(h.NotAfter)
}

// mark is what it is told by: the fingerprint, or when that is known.
func (h held) mark() string {
	switch {
	case h.Subject == publicCAs:
		return "those of trust-manager"
	case !h.Fingerprint.IsZero():
		return h.Fingerprint.Short()
	case h.KnownAfter != "":
		return "known after " + string(h.KnownAfter)
	}
	return "not known without a cluster"
}

// identity of an anchor: its fingerprint, and where that is not known, its key and subject.
func identity(a forecast.Anchor) string {
	if a.Fingerprint.IsZero() {
		return a.Key + "\x00" + a.Subject
	}
	return a.Fingerprint.String()
}

// publicCAs stands in the place of a subject for all those that trust-manager brings along.
const publicCAs = "the public CAs"

// heldBy tells of every anchor of a bundle whether it stays: those that go and come first.
func heldBy(t forecast.TrustChange) []held {
	var all []held
	if t.PublicBefore || t.PublicAfter {
		all = append(all, held{Anchor: forecast.Anchor{Subject: publicCAs}, before: t.PublicBefore, after: t.PublicAfter})
	}
	at := map[string]int{}
	for _, anchor := range t.Before {
		if _, twice := at[identity(anchor)]; !twice {
			at[identity(anchor)] = len(all)
			all = append(all, held{Anchor: anchor, before: true})
		}
	}
	for _, anchor := range t.After {
		i, known := at[identity(anchor)]
		if !known {
			i = len(all)
			at[identity(anchor)] = i
			all = append(all, held{Anchor: anchor})
		}
		all[i].after = true
	}
	slices.SortStableFunc(all, func(a, b held) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

func rank(h held) int { return map[string]int{"goes": 0, "comes": 1, "stays": 2}[h.change()] }

// changed reports whether any anchor comes or goes.
func changed(anchors []held) bool { return len(anchors) > 0 && rank(anchors[0]) < 2 }
