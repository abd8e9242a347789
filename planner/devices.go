package planner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Ledger is what is known of a group's devices, counted: the planner never sees them one by
// one. The inventory in Git is the denominator.
type Ledger struct {
	Group string `json:"group"`
	// Active counts the devices that Git lists as Active.
	Active int `json:"active"`
	// Keys has an entry for each key that the devices need, or shall.
	Keys []Tally `json:"keys,omitempty"`
}

// Tally is how far a group's devices are with one key. Counted are those that Git lists as
// Active and whose certificate has not ended; but for Waived, none that is waived for a key
// of the authority, or of one above it, that goes.
type Tally struct {
	// Key is the fingerprint of the key's certificate.
	Key pki.Fingerprint `json:"key"`
	// Distrusting are the devices that have not shown that they trust it.
	Distrusting Devices `json:"distrusting,omitzero"`
	// Trusting are the devices that were last seen to hold it.
	Trusting Devices `json:"trusting,omitzero"`
	// Elsewhere are the devices whose certificate does not chain to it, and Chaining those
	// whose certificate does.
	Elsewhere Devices `json:"elsewhere,omitzero"`
	Chaining  Devices `json:"chaining,omitzero"`
	// Waves are those among Elsewhere that stand in each of [GroupWaves], or in one before it.
	Waves []WaveTally `json:"waves,omitempty"`
	// Waived are the devices that are waived for it, and whose certificate chains to it, or
	// that have not shown that they trust the key that signs.
	Waived Devices `json:"waived,omitzero"`
}

// WaveTally are the devices of a group up to the end of a wave, so many percent of all that
// are Active, whose certificate does not chain to a key.
type WaveTally struct {
	Percent   int     `json:"percent"`
	Elsewhere Devices `json:"elsewhere,omitzero"`
}

// Devices are some of a group's: how many, and the first of them, those that were silent
// longest before the others.
type Devices struct {
	Count int      `json:"count,omitempty"`
	First []Device `json:"first,omitempty"`
}

// Device is one device, when it was last heard of (zero: never), and since when it has had
// certificates: nobody is silent before he could have spoken.
type Device struct {
	Name  string    `json:"name"`
	Seen  time.Time `json:"seen,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

// Heard is from when on it is silent.
func (d Device) Heard() time.Time {
	if d.Seen.IsZero() {
		return d.Since
	}
	return d.Seen
}

// namedDevices is how many devices a hold names.
const namedDevices = 5

// groups are the device groups whose certificates the authority signs; with below, those
// that the authorities under it sign as well.
func (c *course) groups(below bool) []v1alpha1.DeviceGroup {
	members := []*course{c}
	if below {
		members = c.family()
	}
	return slices.DeleteFunc(slices.Clone(c.turn.desired.Groups), func(group v1alpha1.DeviceGroup) bool {
		return !slices.ContainsFunc(members, func(member *course) bool {
			return slices.ContainsFunc(member.issuers, func(i Issuer) bool { return i.Ref == GroupIssuer(group) })
		})
	})
}

// tally is how far a group's devices are with a key. Where nobody has counted, it is not
// known.
func (t *turn) tally(group string, k *key) (Tally, bool) {
	for _, ledger := range t.observed.Ledger {
		if ledger.Group != group || k.certificate().IsZero() {
			continue
		}
		for _, tally := range ledger.Keys {
			if tally.Key == k.certificate().Fingerprint() {
				return tally, true
			}
		}
		return Tally{}, ledger.Active == 0
	}
	return Tally{}, false
}

// deviceHolds name the devices of the groups that are waited for.
func (c *course) deviceHolds(k *key, groups []v1alpha1.DeviceGroup, waited func(Tally) Devices, words string) []Hold {
	var holds []Hold
	for _, group := range groups {
		subject := "DeviceGroup " + group.Metadata.Name
		tally, known := c.turn.tally(group.Metadata.Name, k)
		switch devices := waited(tally); {
		case !known:
			holds = append(holds, c.uncounted(subject, k))
		case devices.Count > 0:
			holds = append(holds, c.waitsFor(subject, words, devices))
		}
	}
	return holds
}

// uncounted says that nobody has counted.
func (c *course) uncounted(subject string, k *key) Hold {
	return Hold{Gate: "devices", Subject: subject, Why: "it is not known how far its devices are with " + k.name}
}

// waitsFor says for whom is waited, and from when on people must decide.
func (c *course) waitsFor(subject, words string, devices Devices) Hold {
	hold := Hold{Gate: "devices", Subject: subject, Why: fmt.Sprintf("%s: %s", fmt.Sprintf(words, counted(devices.Count, "device has", "devices have")), c.turn.nameDevices(devices))}
	silent := c.silentOnes(devices)
	if silent == 0 {
		return hold
	}
	hold.Alarm = true
	hold.Why += fmt.Sprintf("; %s silent for more than %s: bring back, block or retire who can be, and waive the others in spec.rollover.waivers",
		counted(silent, "is", "are"), c.waitForOffline())
	return hold
}

// silentOnes counts those of the first devices that were silent for too long.
func (c *course) silentOnes(devices Devices) int {
	silent := 0
	for _, device := range devices.First {
		until := device.Heard().Add(c.waitForOffline())
		if !c.turn.now.Before(until) {
			silent++
			continue
		}
		c.turn.lookAt(until)
	}
	return silent
}

// nameDevices is "sensor-1 (not seen since 2026-01-01T00:00:00Z), sensor-2 and 3 more".
func (t *turn) nameDevices(devices Devices) string {
	var names []string
	for _, device := range devices.First[:min(namedDevices, len(devices.First))] {
		seen := "never seen"
		if !device.Seen.IsZero() {
			seen = "seen at " + instant(device.Seen)
		}
		names = append(names, fmt.Sprintf("%s (%s)", device.Name, seen))
	}
	text := strings.Join(names, ", ")
	if more := devices.Count - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (c *course) waitForOffline() time.Duration {
	if c.spec.Rollover.WaitForOffline == nil {
		return v1alpha1.DefaultWaitForOffline
	}
	return c.spec.Rollover.WaitForOffline.Duration
}

// distrustHolds name the devices that have not shown that they trust a root's key.
func (c *course) distrustHolds(k *key) []Hold {
	if c.spec.Rollover.Confirm == v1alpha1.ConfirmWorkloads || c.inUse(k) {
		return nil
	}
	return c.deviceHolds(k, c.groups(true), func(t Tally) Devices { return t.Distrusting }, "%s not confirmed "+k.name+" yet")
}

// elsewhereHolds name the devices of a wave whose certificate does not chain to the key yet.
func (c *course) elsewhereHolds(k *key, w wave) []Hold {
	if c.emergency {
		return nil
	}
	words := "%s no certificate of " + k.name + " yet"
	if w.of > 1 {
		words += fmt.Sprintf(", of wave %d of %d (%d%%%% of the group)", w.number, w.of, w.percent)
	}
	var holds []Hold
	for _, group := range c.groups(false) {
		tally, known := c.turn.tally(group.Metadata.Name, k)
		devices, counted := tally.elsewhereIn(w)
		switch subject := "DeviceGroup " + group.Metadata.Name; {
		case !known || !counted && tally.Elsewhere.Count > 0:
			holds = append(holds, c.uncounted(subject, k))
		case devices.Count > 0:
			holds = append(holds, c.waitsFor(subject, words, devices))
		}
	}
	return holds
}

// elsewhereIn are the devices up to the end of a wave whose certificate does not chain to the
// key; false where nobody has counted by these waves.
func (t Tally) elsewhereIn(w wave) (Devices, bool) {
	if w.percent == allLeaves {
		return t.Elsewhere, true
	}
	for _, counted := range t.Waves {
		if counted.Percent == w.percent {
			return counted.Elsewhere, true
		}
	}
	return Devices{}, false
}

// GroupWaves are the waves in which the devices of a group move when the authority that signs
// for it does, as percents; but for the last, which is everyone.
func GroupWaves(desired Desired, group v1alpha1.DeviceGroup) []int {
	for _, binding := range desired.Bindings {
		if BindingRef(binding) != GroupIssuer(group) {
			continue
		}
		for _, authority := range desired.Authorities {
			if authority.Metadata.Name == binding.Spec.Authority {
				return slices.DeleteFunc(slices.Clone(authority.Spec.Rollover.Waves), func(percent int) bool { return percent >= allLeaves })
			}
		}
	}
	return nil
}

// needingHolds name the devices that cannot do without a key that goes: those whose
// certificate chains to it, and those that have not shown that they trust the one that stays.
func (c *course) needingHolds(k *key) []Hold {
	if k.certificate().IsZero() {
		return nil
	}
	holds := c.deviceHolds(k, c.groups(true), func(t Tally) Devices { return t.Chaining }, "%s a certificate of "+k.name+" still")
	holds = append(holds, c.formerHolds(k)...)
	if c.to != nil && !c.isIntermediate() {
		holds = append(holds, c.deviceHolds(c.to, c.groups(true), func(t Tally) Devices { return t.Distrusting }, "%s not confirmed "+c.to.name+" yet")...)
	}
	return holds
}

// formerHolds name the devices of other groups whose certificates chain to the key: the group
// was given another issuer since, or is declared no more while its devices are.
func (c *course) formerHolds(k *key) []Hold {
	var holds []Hold
	for _, ledger := range c.formerGroups() {
		tally, _ := c.turn.tally(ledger.Group, k)
		if tally.Chaining.Count == 0 {
			continue
		}
		words := "%s a certificate of " + k.name + " still, which the group's issuer has nothing to do with any more"
		if !c.turn.declaresGroup(ledger.Group) {
			words = "%s a certificate of " + k.name + " still, and Git does not declare the group any more (declare it again, or move or delete its devices)"
		}
		holds = append(holds, c.waitsFor("DeviceGroup "+ledger.Group, words, tally.Chaining))
	}
	return holds
}

// formerGroups are the ledgers of groups for which neither the authority signs, nor one below
// it.
func (c *course) formerGroups() []Ledger {
	groups := c.groups(true)
	return slices.DeleteFunc(slices.Clone(c.turn.observed.Ledger), func(ledger Ledger) bool {
		return slices.ContainsFunc(groups, func(group v1alpha1.DeviceGroup) bool { return group.Metadata.Name == ledger.Group })
	})
}

func (t *turn) declaresGroup(name string) bool {
	return slices.ContainsFunc(t.desired.Groups, func(group v1alpha1.DeviceGroup) bool { return group.Metadata.Name == name })
}

// devicesNeed reports whether the certificate of a device chains to the key, whichever group
// it is in.
func (c *course) devicesNeed(k *key) bool {
	return slices.ContainsFunc(c.turn.observed.Ledger, func(ledger Ledger) bool {
		tally, _ := c.turn.tally(ledger.Group, k)
		return tally.Chaining.Count > 0
	})
}

// deviceDrops name the devices that lose trust with the key: those that are waived, and of a
// compromised one all that need it.
func (c *course) deviceDrops(k *key) []Drop {
	var drops []Drop
	for _, group := range c.groups(true) {
		tally, _ := c.turn.tally(group.Metadata.Name, k)
		drops = append(drops, c.dropDevices(k, group.Metadata.Name, tally.Waived, "waived: it has not shown that it can do without "+k.name)...)
		drops = append(drops, c.dropDevices(k, group.Metadata.Name, tally.Chaining, "chains to "+k.name)...)
		if c.to != nil && !c.isIntermediate() {
			now, _ := c.turn.tally(group.Metadata.Name, c.to)
			drops = append(drops, c.dropDevices(k, group.Metadata.Name, now.Distrusting, "has not confirmed "+c.to.name+" yet")...)
		}
	}
	for _, ledger := range c.formerGroups() {
		tally, _ := c.turn.tally(ledger.Group, k)
		drops = append(drops, c.dropDevices(k, ledger.Group, tally.Chaining, "chains to "+k.name)...)
	}
	return drops
}

func (c *course) dropDevices(k *key, group string, devices Devices, why string) []Drop {
	var drops []Drop
	for _, device := range devices.First {
		drops = append(drops, Drop{Authority: c.ref, Key: k.name, Who: "Device " + group + "/" + device.Name, Why: why})
	}
	if more := devices.Count - len(devices.First); more > 0 {
		drops = append(drops, Drop{Authority: c.ref, Key: k.name, Who: fmt.Sprintf("%d more devices of %s", more, group), Why: why})
	}
	return drops
}

// planDevices says of every group which key signs.
func (t *turn) planDevices() {
	for _, group := range t.desired.Groups {
		rule := DeviceRule{Group: group.Metadata.Name}
		for _, issuer := range t.plan.Target.Issuers {
			if issuer.Ref == GroupIssuer(group) {
				rule.Authority, rule.Key = issuer.Authority, issuer.Key
			}
		}
		switch c := t.courseOfGroup(group); {
		case c == nil:
		case !c.reached(Reissue):
			rule.Authority, rule.Key = c.signsNow(GroupIssuer(group))
			if !c.emergency || rule.Key != c.toName() {
				// The issuer may have moved, and be paused or not proved; or it signs by a
				// stolen key still, and nobody is to change to that.
				rule.Later = allLeaves
			}
			rule.Stolen = c.isStolen(rule.Key)
		default:
			rule.Later = c.devicesLater
		}
		t.plan.Target.DeviceRules = append(t.plan.Target.DeviceRules, rule)
	}
	slices.SortFunc(t.plan.Target.DeviceRules, func(a, b DeviceRule) int { return strings.Compare(a.Group, b.Group) })
}

// isStolen reports whether somebody else may sign with a key, or with one above it.
func (c *course) isStolen(name string) bool {
	if c.isCompromised(name) {
		return true
	}
	above := c.parentPair(name)
	return above != nil && c.parent.isStolen(above.name)
}

// courseOfGroup is the authority that signs for the group; nil if none of ours does.
func (t *turn) courseOfGroup(group v1alpha1.DeviceGroup) *course {
	found := slices.IndexFunc(t.courses, func(c *course) bool {
		return slices.ContainsFunc(c.issuers, func(i Issuer) bool { return i.Ref == GroupIssuer(group) })
	})
	if found < 0 {
		return nil
	}
	return t.courses[found]
}

// signsNow is the key that the issuer signs with as it stands: it is on its way to another,
// and until that is proved nothing is issued anew.
func (c *course) signsNow(ref Ref) (Ref, string) {
	for _, issuer := range c.issuers {
		if k := c.keyOf(issuer); issuer.Ref == ref && k != nil {
			return c.ref, k.name
		}
	}
	return Ref{}, ""
}
