package simulation

import (
	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// asked are the leaves that were asked to chain to a key, each with its number from 1.
type asked struct {
	signer  pki.Fingerprint
	numbers map[planner.Ref]int
}

// number of a leaf among those that were asked for.
func (w *World) number(authority, ref planner.Ref, signer pki.Fingerprint) int {
	a := w.asked[authority]
	if a.signer != signer {
		a = asked{signer, map[planner.Ref]int{}}
		w.asked[authority] = a
	}
	if a.numbers[ref] == 0 {
		a.numbers[ref] = len(a.numbers) + 1
	}
	return a.numbers[ref]
}

// checkWave is asked when a leaf is about to be reissued: so many as the waves before it
// have proved themselves, whichever they are. A leaf has when it chains to what its issuer
// signs with, and every pod that presents it shows that.
func (w *World) checkWave(ref planner.Ref) {
	l := w.leaves[ref]
	authority, declared := w.declaredAuthority(w.authorityOf(l))
	secret := w.signingSecret(l.issuer)
	if !declared || secret == nil || !w.hasOthers(authority) || w.isEmergencyOf(authority.Metadata.Name) {
		return
	}
	number := w.number(planner.AuthorityRef(authority), ref, secret.certificate.Fingerprint())
	all, proved := 0, 0
	for _, other := range sortedKeys(w.leaves) {
		if o := w.leaves[other]; w.authorityOf(o) == w.authorityOf(l) && len(o.chain) > 0 {
			all++
			if w.isProved(o) {
				proved++
			}
		}
	}
	if need := doneBefore(authority.Spec.Rollover.Waves, number, all); proved < need {
		w.violate(WavesAreProved, "Certificate %s is the leaf number %d of %d to be reissued, and %d have proved themselves, not %d", ref, number, all, proved, need)
	}
}

// checkDeviceWave is asked when a device is about to get a certificate of another key than
// before, and needs none yet: those of the waves before its own have one.
func (w *World) checkDeviceWave(d *device, secret *caSecret) {
	ref := w.authorityBehind(d.issuer)
	authority, declared := w.declaredAuthority(ref)
	if !declared || w.isEmergencyOf(authority.Metadata.Name) {
		return
	}
	rank, of := w.rank(d)
	before := doneBefore(authority.Spec.Rollover.Waves, rank+1, of)
	for _, other := range w.devices {
		place, _ := w.rank(other)
		waived := len(w.waivedFor(other, authority)) > 0
		if other.Group == d.Group && !waived && w.counts(other) && place < before && !other.chain[0].SignedBy(secret.certificate) {
			w.violate(WavesAreProved, "device %s, number %d of %d, gets its certificate before %s, number %d", d, rank+1, of, other, place+1)
		}
	}
}

// doneBefore is how many leaves are in the waves before that of the leaf with that number.
func doneBefore(waves []int, number, all int) int {
	before := 0
	for _, percent := range waves {
		if size := (percent*all + 99) / 100; size < number {
			before = size
		}
	}
	return before
}

// isProved reports whether a leaf chains to what its issuer signs with, in every pod too.
func (w *World) isProved(l *leaf) bool {
	secret := w.signingSecret(l.issuer)
	if secret == nil || !l.chain[0].SignedBy(secret.certificate) {
		return false
	}
	for _, workload := range w.workloads {
		for _, p := range workload.pods {
			if chain, presents := p.chains[l.secret]; presents && workload.Ref.Namespace == l.ref.Namespace && !chain[0].SignedBy(secret.certificate) {
				return false
			}
		}
	}
	return true
}

// hasOthers reports whether there is more than one key of an authority.
func (w *World) hasOthers(authority v1alpha1.Authority) bool {
	keys := 0
	for _, internal := range w.internal {
		if internal.target.Authority == planner.AuthorityRef(authority) {
			keys++
		}
	}
	return keys > 1
}

// declaredAuthority is an authority as Git declares it now.
func (w *World) declaredAuthority(ref planner.Ref) (v1alpha1.Authority, bool) {
	for _, authority := range w.Desired.Authorities {
		if planner.AuthorityRef(authority) == ref {
			return authority, true
		}
	}
	return v1alpha1.Authority{}, false
}
