package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Probe asks for a TLS handshake with a server, by a client that trusts nothing but the
// Anchors: what a bundle is about to hold.
type Probe struct {
	// Bundle that it is a probe of, and its name there.
	Bundle string `json:"bundle"`
	Name   string `json:"name"`
	// Address as host:port, and the name that the server must have.
	Address    string `json:"address"`
	ServerName string `json:"serverName"`
	// Anchors to verify the server's chain with.
	Anchors pki.Anchors `json:"anchors"`
}

// ProbeResult is what came of a probe. It is seen from outside the cluster's objects, and
// counts for exactly what was asked.
type ProbeResult struct {
	Bundle     string `json:"bundle"`
	Name       string `json:"name"`
	Address    string `json:"address"`
	ServerName string `json:"serverName"`
	// Anchors is the SHA-256 of the set that it was verified with: [pki.Anchors.SHA256].
	Anchors pki.Fingerprint `json:"anchors"`
	// At is when it was begun.
	At time.Time `json:"at"`
	// OK reports that the server showed a chain that verifies with the anchors, for its
	// name, and proved to have its key.
	OK bool `json:"ok,omitempty"`
	// Problem says why not, in a few words that stay the same while it does.
	Problem string `json:"problem,omitempty"`
	// Presented is the leaf that the server showed; zero if it showed none.
	Presented pki.Fingerprint `json:"presented,omitzero"`
}

// Compare orders by bundle, then by name, then by what was trusted.
func (r ProbeResult) Compare(other ProbeResult) int {
	return cmp.Or(cmp.Compare(r.Bundle, other.Bundle), cmp.Compare(r.Name, other.Name), r.Anchors.Compare(other.Anchors))
}

// answers reports whether the result is one of that probe.
func (r ProbeResult) answers(p Probe) bool {
	return r.Bundle == p.Bundle && r.Name == p.Name && r.Address == p.Address && r.ServerName == p.ServerName && r.Anchors == p.Anchors.SHA256()
}

// probeRetry is how long a probe that failed is left before it is asked for again.
const probeRetry = 30 * time.Second

// probesOf are the probes that a bundle must pass with other anchors.
func (t *turn) probesOf(name string, anchors pki.Anchors) []Probe {
	declared, _ := t.declared(name)
	var probes []Probe
	for _, probe := range declared.Spec.Probes {
		probe.Default()
		probes = append(probes, Probe{Bundle: name, Name: probe.Name, Address: probe.Address, ServerName: probe.ServerName, Anchors: anchors})
	}
	return probes
}

// resultOf is the newest result of a probe.
func (t *turn) resultOf(p Probe) (newest ProbeResult, found bool) {
	for _, result := range t.observed.Probes {
		if result.answers(p) && !result.At.After(t.now) && (!found || result.At.After(newest.At)) {
			newest, found = result, true
		}
	}
	return newest, found
}

// passed reports whether a probe has shaken hands no longer ago than that.
func (t *turn) passed(p Probe, within time.Duration) bool {
	result, found := t.resultOf(p)
	return found && result.OK && t.now.Sub(result.At) <= within
}

// probeStep asks every probe of the bundles that the key's anchor is about to leave, and
// says how many have shaken hands without it.
func (c *course) probeStep(k *key, s step) step {
	probes := c.probesWithout(k)
	if s.holds, s.probes = c.turn.probeHolds(probes, k.name, c.canaryInterval()); len(s.holds) > 0 {
		s.progress = fmt.Sprintf("%s is drained; %d of %s shaken hands without it", k.name, len(probes)-len(s.holds), counted(len(probes), "probe has", "probes have"))
	}
	return s
}

// probeHolds names the probes that have not passed lately without something, and those of
// them that are to be asked now.
func (t *turn) probeHolds(probes []Probe, without string, within time.Duration) (holds []Hold, due []Probe) {
	for _, p := range probes {
		if t.passed(p, within) {
			continue
		}
		hold, isDue := t.probeHold(p, without, within)
		holds = append(holds, hold)
		if isDue {
			due = append(due, p)
		}
	}
	return holds, due
}

// probesWithout are the probes of the bundles that hold the key's anchor, with what those
// hold when it is gone. An emergency asks nobody.
func (c *course) probesWithout(k *key) []Probe {
	var probes []Probe
	if c.emergency || !c.anchored(k) {
		return nil
	}
	gone := c.anchorsOf(k)
	for _, bundle := range c.bundles {
		name := bundle.Metadata.Name
		if c.turn.heldBy(name).HasAny(gone.Minus(c.turn.further(name))) {
			probes = append(probes, c.turn.probesOf(name, c.without(k, name))...)
		}
	}
	return probes
}

// heldBy is what a bundle holds and shall hold, or, if somebody else writes it, any copy of
// it holds.
func (t *turn) heldBy(name string) pki.Anchors {
	if t.isWrittenHere(name) {
		return t.anchors[name]
	}
	standing, _ := t.standing(name)
	return standing.Anchors
}

// without is what a bundle holds when the key's anchors are out of it. Of one that somebody
// else writes it is what is in each of its copies.
func (c *course) without(k *key, bundle string) pki.Anchors {
	held := c.turn.anchors[bundle]
	if !c.turn.isWrittenHere(bundle) {
		held = c.turn.commonAnchors(bundle)
	}
	return held.Minus(c.anchorsOf(k).Minus(c.turn.further(bundle)))
}

// commonAnchors are those that every copy of a bundle holds which is there.
func (t *turn) commonAnchors(bundle string) pki.Anchors {
	common := t.heldBy(bundle)
	for _, bundleCopy := range t.observed.Copies {
		if bundleCopy.Bundle == bundle && !bundleCopy.Missing && !t.abandoned(bundleCopy) {
			common = common.Common(bundleCopy.Anchors)
		}
	}
	return common
}

// probeHold says what a probe came to that has not passed, and whether it is to be asked now.
func (t *turn) probeHold(p Probe, without string, within time.Duration) (hold Hold, due bool) {
	hold = Hold{Gate: "probe", Subject: fmt.Sprintf("%s of TrustBundle %s", p.Name, p.Bundle)}
	result, found := t.resultOf(p)
	switch {
	case !found:
		hold.Why = fmt.Sprintf("nobody has shaken hands with %s without %s yet", p.where(), without)
	case result.OK:
		hold.Why = fmt.Sprintf("the handshake with %s without %s is more than %s old", p.where(), without, within)
	default:
		hold.Why = fmt.Sprintf("the handshake with %s without %s fails: %s; mend that, or take the probe out", p.where(), without, result.Problem)
		if again := result.At.Add(probeRetry); t.now.Before(again) {
			t.lookAt(again)
			return hold, false
		}
	}
	return hold, true
}

// where names the server of a probe, by its address and the name that it must have if that
// is another.
func (p Probe) where() string {
	alone := v1alpha1.Probe{Address: p.Address}
	if alone.Default(); alone.ServerName == p.ServerName {
		return p.Address
	}
	return p.Address + " as " + p.ServerName
}

// mayRelease reports whether every probe of a bundle has passed with exactly these anchors:
// another authority may have changed what the bundle is to hold in this same turn.
func (c *course) mayRelease(bundle string, after pki.Anchors) bool {
	return c.emergency || !slices.ContainsFunc(c.turn.probesOf(bundle, after), func(p Probe) bool {
		return !c.turn.passed(p, c.canaryInterval())
	})
}

// probedWithout reports whether the probes of a bundle have passed without certificates that
// Git lists no more; it asks them if not.
func (t *turn) probedWithout(bundle string, leaving, after pki.Anchors) bool {
	holds, due := t.probeHolds(t.probesOf(bundle, after), leaving[0].String(), v1alpha1.DefaultCanaryInterval)
	t.plan.Holds, t.plan.Probes = append(t.plan.Holds, holds...), append(t.plan.Probes, due...)
	return len(holds) == 0
}
