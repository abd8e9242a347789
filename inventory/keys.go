package inventory

import (
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Key is a key pair whose certificate is known.
type Key struct {
	Authority   planner.Ref
	Name        string
	Certificate pki.Certificate
}

// maxKeys is how many keys a ledger has at most.
const maxKeys = 64

// keySet is some of the known keys, by their place.
type keySet uint64

func (s keySet) has(at int) bool { return s&(1<<at) != 0 }

// KnownKeys are the keys of which the certificate is known: those that are seen, those that
// Git gives, and those that the record remembers; in the order of their authorities and
// names.
func KnownKeys(desired planner.Desired, observed planner.Observed) []Key {
	var known []Key
	add := func(authority planner.Ref, name string, certificate pki.Certificate) {
		if !certificate.IsZero() && !slices.ContainsFunc(known, func(k Key) bool { return k.Certificate.Equal(certificate) }) {
			known = append(known, Key{authority, name, certificate})
		}
	}
	for _, key := range observed.Keys {
		add(key.Authority, key.Name, key.Certificate)
	}
	refs := map[string]planner.Ref{}
	for _, authority := range desired.Authorities {
		refs[authority.Metadata.Name] = planner.AuthorityRef(authority)
		for _, given := range authority.Spec.Keys {
			if parsed, err := pki.ParsePEM([]byte(given.Certificate)); err == nil && len(parsed) == 1 {
				add(planner.AuthorityRef(authority), given.Name, parsed[0])
			}
		}
	}
	for _, recorded := range observed.Record.Keys {
		if ref, declared := refs[recorded.Authority]; declared {
			add(ref, recorded.Name, recorded.Certificate)
		}
	}
	return known[:min(len(known), maxKeys)]
}

// above says for each key which keys its certificate leads up to, itself included.
func above(keys []Key) []keySet {
	sets := make([]keySet, len(keys))
	for i := range keys {
		sets[i] = 1 << i
	}
	for range keys { // as deep as chains can be
		for i, key := range keys {
			for j, signer := range keys {
				if i != j && sets[i]&sets[j] != sets[j] && key.Certificate.SignedBy(signer.Certificate) {
					sets[i] |= sets[j]
				}
			}
		}
	}
	return sets
}

// waivers say over which keys of an authority, and of those above it, Git lets a device's
// trust go.
type waivers struct{ authorities map[string]v1alpha1.Authority }

func waiversIn(desired planner.Desired) waivers {
	w := waivers{map[string]v1alpha1.Authority{}}
	for _, authority := range desired.Authorities {
		w.authorities[authority.Metadata.Name] = authority
	}
	return w
}

// of a device, "sensors/sensor-0042", for an authority.
func (w waivers) of(device, authority string) []string {
	var keys []string
	for range len(w.authorities) { // a chain is no longer
		declared, found := w.authorities[authority]
		if !found {
			break
		}
		for _, waiver := range declared.Spec.Rollover.Waivers {
			goes := slices.ContainsFunc(declared.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == waiver.Key && k.State.Goes() })
			if goes && slices.Contains(waiver.Devices, device) {
				keys = append(keys, waiver.Key)
			}
		}
		if declared.Spec.IssuedBy == nil {
			break
		}
		authority = declared.Spec.IssuedBy.Name
	}
	return keys
}
