package simulation

import (
	"cmp"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Device is a device as Git lists it: Active unless Blocked.
type Device struct {
	Group, Name string
	Blocked     bool
}

// String is "sensors/sensor-0042".
func (d Device) String() string { return d.Group + "/" + d.Name }

// device is a device itself: what it holds, and what is known of that.
type device struct {
	Device
	// issuer that signs for it, the root above that, and the bundle that it fetches.
	issuer, root planner.Ref
	bundle       string
	anchors      pki.Anchors
	chain        []pki.Certificate
	// fetched is when it last fetched the anchors; what it fetched in an earlier turn it
	// confirms.
	fetched   time.Time
	confirmed pki.Anchors
	seen      time.Time
}

// Enrol lists a device in Git from now on; it comes by as soon as it is not silent.
func (w *World) Enrol(listed Device) {
	for _, group := range w.Desired.Groups {
		if group.Metadata.Name != listed.Group {
			continue
		}
		d := &device{Device: listed, issuer: planner.GroupIssuer(group)}
		d.root = w.rootOf(w.authorityBehind(d.issuer))
		if bundles := w.bundlesOf(d.root); len(bundles) > 0 {
			d.bundle = bundles[0]
		}
		w.devices = append(w.devices, d)
	}
}

// Block has Git say that a device is let in no longer.
func (w *World) Block(group, name string) {
	for _, d := range w.devices {
		if d.Group == group && d.Name == name {
			d.Blocked = true
		}
	}
}

// visit lets every device that is not silent come by: it enrols, fetches the anchors,
// confirms those that it holds, and gets the certificate that its group's rule wants it to
// have. Under disorder it is slow at each.
func (w *World) visit() {
	for _, d := range w.devices {
		if d.Blocked || w.Silent[d.String()] || w.lazy() {
			continue
		}
		d.seen = w.Now
		if (w.Prompt || d.fetched.Before(w.Now)) && !w.lazy() {
			d.confirmed = d.anchors
		}
		if held := w.copies[copyID{bundle: d.bundle, namespace: w.namespaces[0]}]; held != nil && !w.lazy() {
			w.touched = w.touched || !d.anchors.Equal(held.anchors)
			d.anchors, d.fetched = held.anchors, w.Now
		}
		if !w.lazy() {
			w.certify(d)
		}
	}
}

// certify signs for a device whose certificate is not of the key that signs, or is due for
// renewal. One that holds no anchors yet waits: it gets both with one answer.
func (w *World) certify(d *device) {
	rules := w.told.Target.DeviceRules
	at := slices.IndexFunc(rules, func(r planner.DeviceRule) bool { return r.Group == d.Group })
	secret := w.signingSecret(d.issuer)
	if at < 0 || secret == nil || len(d.anchors) == 0 || !w.signsWith(secret, rules[at]) {
		return
	}
	if due := len(d.chain) == 0 || !w.Now.Before(d.chain[0].NotBefore().Add(w.leafLife*2/3)); !due {
		if d.chain[0].SignedBy(secret.certificate) || w.waits(d, rules[at]) {
			return
		}
		w.checkDeviceWave(d, secret)
	}
	w.deviceTold(d, rules[at].Key)
	d.chain, w.touched = append([]pki.Certificate{w.sign(d.String(), w.leafLife, secret)}, secret.above...), true
}

// waits reports whether a device is not in turn yet.
func (w *World) waits(d *device, rule planner.DeviceRule) bool {
	if rule.Later == 0 {
		return false
	}
	rank, of := w.rank(d)
	return !planner.InWave(rank, of, 100-rule.Later)
}

// rank of a device among the active ones of its group, in the order of waves.
func (w *World) rank(d *device) (rank, of int) {
	var names []string
	at := 0
	for _, other := range w.devices {
		if other.Group == d.Group && !other.Blocked {
			if other == d {
				at = len(names)
			}
			names = append(names, other.Name)
		}
	}
	return planner.WaveRanks(names)[at], len(names)
}

// deviceTold tells of a device that it gets a certificate, and by which key.
func (w *World) deviceTold(d *device, key string) {
	told := Written{Verb: Reissued, Kind: KindDevice, Ref: planner.Ref{Namespace: d.Group, Name: d.Name}, Authorities: authorities(w.authorityBehind(d.issuer)), Key: key}
	if len(d.chain) == 0 {
		told.Verb = Made
	}
	w.certified = append(w.certified, told)
}

// signsWith reports whether a Secret is that of the key that a rule names.
func (w *World) signsWith(secret *caSecret, rule planner.DeviceRule) bool {
	ref := planner.Ref{Namespace: rule.Authority.Namespace, Name: planner.KeyObjectName(rule.Authority.Name, rule.Key)}
	if made := w.cas[ref]; made != nil {
		return made.issued.Equal(secret.certificate)
	}
	name, _ := v1alpha1.SplitKey(rule.Key)
	return slices.ContainsFunc(w.declared(rule.Authority).Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
		return k.Name == name && (k.Certificate == string(secret.certificate.PEM()) || k.Certificate == string(secret.root.PEM()))
	})
}

// counts reports whether a device is among those that are waited for.
func (w *World) counts(d *device) bool {
	return !d.Blocked && len(d.chain) > 0 && !w.Now.After(d.chain[0].NotAfter())
}

// waivedFor are the keys over which Git lets a device's trust go: of the authority, and of
// those above it.
func (w *World) waivedFor(d *device, authority v1alpha1.Authority) []string {
	var keys []string
	if parent := authority.Spec.IssuedBy; parent != nil {
		keys = w.waivedFor(d, w.declared(w.authorityNamed(parent.Name)))
	}
	for _, waiver := range authority.Spec.Rollover.Waivers {
		goes := slices.ContainsFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == waiver.Key && k.State.Goes() })
		if goes && slices.Contains(waiver.Devices, d.String()) {
			keys = append(keys, waiver.Key)
		}
	}
	return keys
}

// isWaived reports whether Git has waived the device for any key of its root, now or before.
func (w *World) isWaived(d *device) bool {
	for _, authority := range w.Desired.Authorities {
		if planner.AuthorityRef(authority) == d.root && len(w.waivedFor(d, authority)) > 0 {
			w.given[d.String()] = true
		}
	}
	return w.given[d.String()]
}

// observeDevices counts the devices of each group.
func (w *World) observeDevices(observed *planner.Observed) {
	if w.ledger != nil {
		observed.Ledger = w.ledger
		return
	}
	for _, group := range w.Desired.Groups {
		ledger := planner.Ledger{Group: group.Metadata.Name}
		for _, d := range w.devices {
			if d.Group == ledger.Group && !d.Blocked {
				ledger.Active++
			}
		}
		keys := w.knownKeys(observed.Keys)
		for _, key := range keys {
			ledger.Keys = append(ledger.Keys, w.tally(ledger.Group, key, keys))
		}
		observed.Ledger = append(observed.Ledger, ledger)
	}
}

// knownKeys are the keys of which the certificate is known: those that are seen, and those
// that Git gives or remembers.
func (w *World) knownKeys(seen []planner.Key) []planner.Key {
	keys := slices.DeleteFunc(slices.Clone(seen), func(k planner.Key) bool { return k.Certificate.IsZero() })
	for _, authority := range w.Desired.Authorities {
		for _, given := range authority.Spec.Keys {
			if parsed, err := pki.ParsePEM([]byte(given.Certificate)); err == nil && len(parsed) == 1 {
				keys = append(keys, planner.Key{Authority: planner.AuthorityRef(authority), Name: given.Name, Certificate: parsed[0]})
			}
		}
	}
	for _, recorded := range w.Record().Keys {
		ref := w.authorityNamed(recorded.Authority)
		if !slices.ContainsFunc(keys, func(k planner.Key) bool { return k.Certificate.Equal(recorded.Certificate) }) {
			keys = append(keys, planner.Key{Authority: ref, Name: recorded.Name, Certificate: recorded.Certificate})
		}
	}
	return keys
}

// authorityNamed is the authority of that name.
func (w *World) authorityNamed(name string) planner.Ref {
	for _, authority := range w.Desired.Authorities {
		if authority.Metadata.Name == name {
			return planner.AuthorityRef(authority)
		}
	}
	return planner.Ref{Name: name}
}

func (w *World) tally(group string, key planner.Key, all []planner.Key) planner.Tally {
	authority := w.declared(key.Authority)
	name, _ := v1alpha1.SplitKey(key.Name)
	tally := planner.Tally{Key: key.Certificate.Fingerprint()}
	for _, percent := range w.wavesOf(group) {
		tally.Waves = append(tally.Waves, planner.WaveTally{Percent: percent})
	}
	for _, d := range w.devices {
		if d.Group != group || !w.counts(d) {
			continue
		}
		trusts, chains := d.confirmed.Has(key.Certificate), pathHas(d.chain, key.Certificate)
		if waived := w.waivedFor(d, authority); len(waived) > 0 {
			if slices.Contains(waived, name) && (chains || !w.trustsSigner(d, authority, all)) {
				note(&tally.Waived, d)
			}
			continue
		}
		note(choose(trusts, &tally.Trusting, &tally.Distrusting), d)
		note(choose(chains, &tally.Chaining, &tally.Elsewhere), d)
		if !chains && len(tally.Waves) > 0 {
			w.noteInWaves(tally.Waves, d)
		}
	}
	return tally
}

// noteInWaves counts a device in each wave that it stands in, or before it.
func (w *World) noteInWaves(waves []planner.WaveTally, d *device) {
	rank, of := w.rank(d)
	for at := range waves {
		if planner.InWave(rank, of, waves[at].Percent) {
			note(&waves[at].Elsewhere, d)
		}
	}
}

// wavesOf a group.
func (w *World) wavesOf(group string) []int {
	at := slices.IndexFunc(w.Desired.Groups, func(g v1alpha1.DeviceGroup) bool { return g.Metadata.Name == group })
	return planner.GroupWaves(w.Desired, w.Desired.Groups[at])
}

// trustsSigner reports whether a device has shown that it trusts what signs.
func (w *World) trustsSigner(d *device, authority v1alpha1.Authority, keys []planner.Key) bool {
	return slices.ContainsFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool {
		return k.State == v1alpha1.KeySigning && slices.ContainsFunc(keys, func(seen planner.Key) bool {
			return seen.Authority == planner.AuthorityRef(authority) && seen.Name == k.Name && d.confirmed.Has(seen.Certificate)
		})
	})
}

// pathHas reports whether a chain leads through a CA.
func pathHas(chain []pki.Certificate, ca pki.Certificate) bool {
	return slices.ContainsFunc(chain, func(c pki.Certificate) bool { return c.SignedBy(ca) })
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// note counts a device, and names it: those that were silent longest first.
func note(devices *planner.Devices, d *device) {
	devices.Count++
	devices.First = append(devices.First, planner.Device{Name: d.Name, Seen: d.seen})
	slices.SortStableFunc(devices.First, func(a, b planner.Device) int {
		return cmp.Or(a.Seen.Compare(b.Seen), cmp.Compare(a.Name, b.Name))
	})
}

// declared is an authority as Git declares it.
func (w *World) declared(ref planner.Ref) v1alpha1.Authority {
	at := slices.IndexFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool { return planner.AuthorityRef(a) == ref })
	if at < 0 {
		return v1alpha1.Authority{}
	}
	return w.Desired.Authorities[at]
}
