package inventory

import "time"

// endsSoon is how long before a certificate ends it is renewed even by a stolen key, or half
// of the time that there is for its renewal, if that is less.
const endsSoon = 24 * time.Hour

// unlessStolen is the rule for a device with these requests of its own, and when that changes;
// zero: never. Of a stolen key it is one without a key, but for who has a certificate of that
// key already, or one of another that ends before long: it would be left with none.
func (r Rule) unlessStolen(own []*request, now time.Time) (Rule, time.Time) {
	if !r.Stolen {
		return r, time.Time{}
	}
	without := r
	without.Key = ""
	var held *request
	for _, made := range own { // the oldest first
		if made.live(now) {
			held = made
		}
	}
	switch {
	case held == nil:
		return without, time.Time{}
	case held.chain[0].SignedBy(r.Signer.Certificate):
		return r, time.Time{}
	}
	leaf := held.chain[0]
	ends := leaf.NotAfter()
	soon := ends.Add(-min(endsSoon, ends.Sub(RenewalOf(r.Group.Spec.Certificate, leaf))/2))
	if now.Before(soon) {
		return without, soon
	}
	return r, time.Time{}
}
