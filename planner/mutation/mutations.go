package main

import (
	"bytes"
	"fmt"
)

// mutation is one deliberate fault: a text of a file, which stands there once, and what
// stands there instead.
type mutation struct {
	invariant, fault     string
	file, right, instead string
	// survives says why nothing can catch it; empty if something must.
	survives string
}

// apply puts the fault into the source.
func (m mutation) apply(source []byte) ([]byte, error) {
	if n := bytes.Count(source, []byte(m.right)); n != 1 {
		return nil, fmt.Errorf("%s has %q %d times, not once: put the list of faults right", m.file, m.right, n)
	}
	return bytes.Replace(source, []byte(m.right), []byte(m.instead), 1), nil
}

// The invariants, as the documentation numbers them.
const (
	trustBeforeUse   = "1 trust before use"
	drainFirst       = "2 drain before retire"
	pairwise         = "3 pairwise safety"
	failClosed       = "4 fail closed"
	onlyGrow         = "5 bundles only grow"
	identity         = "6 identity is the fingerprint"
	renewOrRekey     = "7 renew or rekey is known"
	lifetimes        = "8 lifetimes"
	skew             = "9 skew"
	crashes          = "10 a crash anywhere converges"
	changedKey       = "11 a key that changed without a plan"
	noOp             = "12 turns without change write nothing"
	anySubset        = "13 any subset of the writes"
	restarts         = "15 restarts are bounded"
	noIntermediates  = "16 intermediates never enter a bundle"
	devicesInBetween = "17 a device that enrols in the middle"
	adopted          = "18 what was adopted is never pruned"
	ownCA            = "19 a leaf's ca.crt is no bundle"
	emergency        = "an emergency waits for nobody"
	waves            = "waves are proved"
	windows          = "windows are kept"
	probes           = "probes come first"
	links            = "links come before retire"
)

var mutations = []mutation{
	{
		trustBeforeUse, "copies that lack the anchor are not waited for", "planner/distribute.go",
		`slices.Concat(c.bundleHolds(k), c.lackingHolds(k, lacking), c.leftBehind(k))`, `slices.Concat(c.bundleHolds(k), c.lackingHolds(k, lacking)[:0], c.leftBehind(k))`, "",
	},
	{
		trustBeforeUse, "workloads that have not reloaded are not waited for", "planner/distribute.go",
		`reloads := c.reloadGate(k); len(reloads.holds) > 0 {`, `reloads := c.reloadGate(k); len(reloads.holds) < 0 {`, "",
	},
	{
		trustBeforeUse, "an issuer moves before its step", "planner/switch.go",
		`if c.reached(Switch) && !(c.isToMove(c.to, issuer) && c.mayMove(issuer) != nil) {`, `if c.to != nil && c.to.known() {`, "",
	},
	{
		trustBeforeUse, "the soak is skipped", "planner/distribute.go",
		`if k != c.to || c.isFirst(k) || !c.turn.now.Before(until) {`, `if k != c.to || c.isFirst(k) || c.turn.now.Before(until) {`, "",
	},
	{
		drainFirst, "leaves that need the key are not asked", "planner/retire.go",
		`if why := c.needs(leaf, k, rests); why != "" {`, `if why := c.needs(leaf, k, rests); why == "?" {`, "",
	},
	{
		drainFirst, "an issuer that signs with the key is not asked", "planner/retire.go",
		`		if c.keyOf(issuer) == k {
			holds = append(holds, Hold{Gate: "issuer"`, `		if c.keyOf(issuer) == nil {
			holds = append(holds, Hold{Gate: "issuer"`, "",
	},
	{
		pairwise, "presenters that have not reloaded are not waited for", "planner/reissue.go",
		`reloads := c.presentGate(k, w); len(reloads.holds) > 0 {`, `reloads := c.presentGate(k, w); len(reloads.holds) < 0 {`, "",
	},
	{
		pairwise, "devices that have not confirmed are not waited for", "planner/distribute.go",
		`if s.holds = c.distrustHolds(k); len(s.holds) > 0 {`, `if s.holds = c.distrustHolds(k); len(s.holds) < 0 {`, "",
	},
	{
		pairwise, "devices that still need a key are not waited for", "planner/retire.go",
		`holds = append(holds, c.needingHolds(k)...)`, `holds = append(holds, c.needingHolds(k)[:0]...)`, "",
	},
	{
		failClosed, "a list that was refused counts as empty", "planner/next.go",
		`plan.Blind, plan.Actions, plan.Probes, plan.Record, plan.LinkRecord = true, nil, nil, nil, nil`, `plan.Blind = false`, "",
	},
	{
		failClosed, "a leaf whose chain is not known needs nothing", "planner/retire.go",
		`case mine && leaf.Unknown != "":`, `case mine && leaf.Unknown == "?":`, "",
	},
	{
		onlyGrow, "what stands in a bundle is not kept", "planner/bundles.go",
		`anchors = anchors.Union(standing.Anchors.Minus(leaving))`, `_ = leaving`, "",
	},
	{
		identity, "two keys with one key identifier are let through", "planner/introduce.go",
		`case bytes.Equal(other.seen.Certificate.SubjectKeyID(), ski):`, `case bytes.Equal(other.seen.Certificate.SubjectKeyID(), nil):`, "",
	},
	{
		renewOrRekey, "another key is taken for a renewal", "planner/past.go",
		`return before.SPKI() == now.SPKI() && bytes.Equal`, `return bytes.Equal`, "",
	},
	{
		lifetimes, "a key signs to its end", "planner/lifetime.go",
		`return k.known() && !c.turn.now.Before(c.closes(k))`, `return k.known() && c.turn.now.Before(c.closes(k).Add(-1<<62))`, "",
	},
	{
		lifetimes, "a key that ends before its leaves is let through", "planner/introduce.go",
		`life+c.need() > left`, `life+c.need() < 0`, "",
	},
	{
		skew, "a certificate is used at once", "planner/introduce.go",
		`if c.emergency || !c.turn.now.Before(usable) {`, `if c.emergency || c.turn.now.Before(usable) {`, "",
	},
	{
		crashes, "a Secret is deleted while its Certificate makes it anew", "planner/retire.go",
		`	case k.seen.HasCertificate:
		target.Certificate = false
		c.turn.plan.Decisive = true`, `	case k.seen.HasCertificate:
		c.turn.plan.Actions = append(c.turn.plan.Actions, Action{Kind: ActionDeleteSecret, Subject: c.keyObject(k), Why: "it goes"})`, "",
	},
	{
		crashes, "gates are held for ever", "planner/memory.go",
		`	gates := make([]Gate, 0, len(m.held))`, `	for name, since := range m.was {
		if _, held := m.held[name]; !held {
			m.held[name] = since
		}
	}
	gates := make([]Gate, 0, len(m.held))`, "",
	},
	{
		changedKey, "a key that changed is taken for what it was", "planner/past.go",
		`	if len(was) == 0 {
		return nil
	}
	before, now`, `	if len(was) >= 0 {
		return nil
	}
	before, now`, "",
	},
	{
		changedKey, "a canary that a stranger signed is believed", "planner/past.go",
		`(own == k || !c.staysAstray(issuer))`, `(own == k || !c.staysAstray(issuer)) || issuer.Exists`, "",
	},
	{
		noOp, "canaries are sent with every turn", "planner/switch.go",
		`	due := canary.At.Add(wait)`, `	due := canary.At.Add(0 * wait)`, "",
	},
	{
		anySubset, "leaves are reissued before it is proved who signs", "planner/next.go",
		`[]func(*key) step{c.introduce, c.distribute, c.switchOver, c.repoint, c.reissue}`, `[]func(*key) step{c.introduce, c.distribute, c.reissue, c.switchOver, c.repoint}`, "",
	},
	{
		restarts, "all are restarted at once", "planner/reload.go",
		`if other := t.before(w); other != "" {`, `if other := t.before(w); other == "?" {`, "",
	},
	{
		noIntermediates, "an intermediate is an anchor", "planner/distribute.go",
		`	if c.isIntermediate() {
		return nil
	}
	var certificates []pki.Certificate
	for _, k := range c.keys {
		wanted := !k.going()`, `	var certificates []pki.Certificate
	for _, k := range c.keys {
		wanted := !k.going()`, "what is not self-signed is left out as well, and its own bundles are none",
	},
	{
		devicesInBetween, "devices are signed for by a key that is not proved", "planner/devices.go",
		`c != nil && !c.reached(Reissue) {`, `c != nil && c.reached(Reissue) {`, "",
	},
	{
		ownCA, "workloads that verify with a leaf's ca.crt are not asked", "planner/distribute.go",
		`	s.holds = c.ownCAHolds(k)
	return s
}`, `	return s
}`, "",
	},
	{
		waves, "the next wave begins before the one before is well", "planner/reissue.go",
		`		s.holds = c.troubles(w, k)`, `		s.holds = nil`, "",
	},
	{
		windows, "a closed window counts as open", "planner/windows.go",
		`	if schedule.IsOpen(c.turn.now) {
		c.turn.lookAt(schedule.Closes(c.turn.now))
		return nil`, `	if !schedule.IsOpen(c.turn.now) {
		c.turn.lookAt(schedule.Closes(c.turn.now))
		return nil`, "",
	},
	{
		probes, "probes that have not passed are not waited for", "planner/probes.go",
		`		if t.passed(p, within) {`, `		if t.passed(p, within) || within > 0 {`, "",
	},
	{
		links, "a link that is not there is not waited for", "planner/links.go",
		`	if status.State != LinkPending && status.State != LinkFailed {`, `	if status.State != LinkFailed {`, "",
	},
	{
		emergency, "a verifier with a stolen key in memory is left alone", "planner/emergency.go",
		`return k.compromised() && k.known() && !k.spent &&`, `return k.compromised() && k.known() && k.spent &&`, "",
	},
	{
		emergency, "a stolen key goes before another is there", "planner/emergency.go",
		`return k.compromised() && (c.to == nil || c.isIntroduced(c.to))`, `return k.compromised()`, "",
	},
	{
		emergency, "a stolen key's anchor is kept while leaves chain to it", "planner/emergency.go",
		`			c.release(k)
			continue`, `			continue`, "",
	},
}
