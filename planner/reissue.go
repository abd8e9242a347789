package planner

import (
	"fmt"
	"slices"
	"time"
)

// reissue: every leaf chains to the key, and whoever presents one has loaded it, wave by
// wave.
func (c *course) reissue(k *key) step {
	issued := c.issued()
	c.rememberStranger(k, issued)
	if c.hasOthers(k) {
		c.turn.memory.hold(c.gate("signs", k))
	}
	done := 0
	for _, w := range c.waves(issued) {
		if s := c.reissueWave(k, w, issued); !s.done() {
			c.devicesLater = allLeaves - w.percent
			if c.devicesWait {
				c.devicesLater = allLeaves - done
			}
			return s
		}
		done = w.percent
	}
	return step{phase: Reissue, key: k.name}
}

// reissueWave asks for the leaves of a wave, and then for those who present them.
func (c *course) reissueWave(k *key, w wave, issued []Leaf) step {
	s := step{phase: Reissue, key: k.name, progress: c.progress(w, k, issued)}
	var window *Hold
	for _, leaf := range w.leaves {
		if c.hasMoved(k, leaf) || leaf.Unknown != "" && !c.hasOthers(k) {
			continue
		}
		hold, action := c.reissueLeaf(k, leaf)
		if action != nil {
			if window = c.closed(); window != nil {
				action = nil
			} else if k.staysOutside() {
				hold, action = c.askOutside(k, w, leaf, hold, action)
			}
		}
		s.holds = append(s.holds, hold)
		if action != nil {
			s.actions = append(s.actions, *action)
		}
	}
	devices := c.elsewhereHolds(k, w)
	if window == nil && len(devices) > 0 {
		window = c.closed()
	}
	c.devicesWait = window != nil
	s.holds = behind(window, append(s.holds, devices...))
	switch {
	case !s.done():
		c.rememberPresented(k, w)
	case c.hasOthers(k):
		return c.presentStep(k, w, s)
	}
	return s
}

// rememberPresented keeps in memory that a wave is presented while nothing of it is known to
// chain elsewhere: of a leaf that is being renewed it may not be known what it chains to.
func (c *course) rememberPresented(k *key, w wave) {
	presented := c.gate(w.gate("presented"), k)
	if c.turn.memory.remembers(presented) && !slices.ContainsFunc(w.leaves, func(leaf Leaf) bool { return len(leaf.Chain) > 0 && !c.turn.signed(k, leaf) }) {
		c.turn.memory.hold(presented)
	}
}

// presentStep asks whether every leaf of a wave is loaded by whoever presents it. Once that
// was so, it stays so while every leaf chains to the key: a renewal restarts nobody.
func (c *course) presentStep(k *key, w wave, s step) step {
	presented := c.gate(w.gate("presented"), k)
	if c.turn.memory.remembers(presented) {
		c.turn.memory.hold(presented)
		return c.beforeNext(k, w, s)
	}
	if s.holds = c.turn.unknownHolds(); len(s.holds) > 0 {
		return s
	}
	if reloads := c.presentGate(k, w); len(reloads.holds) > 0 {
		s.progress += "; " + reloads.progress("presenters have")
		s.holds, s.actions = reloads.all(), reloads.actions
		return s
	}
	c.turn.memory.hold(presented)
	return c.beforeNext(k, w, s)
}

// beforeNext asks whether a wave that is done is well, if another waits for it.
func (c *course) beforeNext(k *key, w wave, s step) step {
	if !w.isLast() {
		s.holds = c.troubles(w, k)
	}
	return s
}

// foreignIn counts the leaves that Git does not declare; empty if there are none.
func foreignIn(leaves []Leaf) string {
	foreign := 0
	for _, leaf := range leaves {
		if leaf.Foreign {
			foreign++
		}
	}
	if foreign == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of the %d foreign)", foreign, len(leaves))
}

// issued are the leaves that there are, or may be: one of which nothing was ever
// issued, and nothing is being, will be signed by whatever its issuer names.
func (c *course) issued() []Leaf {
	return slices.DeleteFunc(slices.Clone(c.leaves), Leaf.unissued)
}

// unissued reports that nothing was ever issued for the leaf, and nothing is being.
func (l Leaf) unissued() bool { return len(l.Chain) == 0 && l.Unknown == "" && !l.Issuing }

// reissueRetry is how long a leaf whose issuance failed is left to cert-manager
// before it is asked for again.
const reissueRetry = 10 * time.Minute

// reissueLeaf asks for a leaf to be issued anew, unless that is under way or it
// cannot be told whether it is needed.
func (c *course) reissueLeaf(k *key, leaf Leaf) (Hold, *Action) {
	hold := Hold{Gate: "leaf", Subject: "Certificate " + leaf.Ref.String()}
	switch {
	case leaf.Issuing:
		hold.Why = "being reissued" + because(leaf.Problem)
	case leaf.Unknown != "":
		hold.Why = "its chain is not known: " + leaf.Unknown
	case c.asksElsewhere(k, leaf) != "":
		hold.Why = fmt.Sprintf("chains to %s, and would again: %s; point it at a binding's issuer", c.signerOfLeaf(leaf), c.asksElsewhere(k, leaf))
	case leaf.SecretName == "":
		hold.Why = fmt.Sprintf("chains to %s, and no Certificate renews it: whoever asked for it must ask again", c.signerOfLeaf(leaf))
	case c.turn.now.Before(leaf.FailedAt.Add(reissueRetry)):
		c.turn.lookAt(leaf.FailedAt.Add(reissueRetry))
		hold.Why = fmt.Sprintf("failed at %s%s; asked for again at %s", instant(leaf.FailedAt), because(leaf.Problem), instant(leaf.FailedAt.Add(reissueRetry)))
	default:
		hold.Why = fmt.Sprintf("chains to %s, not to %s", c.signerOfLeaf(leaf), k.name)
		if again, lately := c.answeredLately(leaf); lately {
			c.turn.lookAt(again)
			hold.Why += fmt.Sprintf("; it came so from %s a short while ago, which is none of ours: point it at a binding's issuer; asked for again at %s", leaf.Issuer, instant(again))
			return hold, nil
		}
		return hold, &Action{Kind: ActionReissue, Subject: leaf.Ref, Why: hold.Why}
	}
	return hold, nil
}

// askOutside lets one leaf alone ask an external issuer until one has come back as it
// should, and a leaf that came back signed by a stranger ask rarely: every answer may cost
// somebody's trust, and his quota.
func (c *course) askOutside(k *key, w wave, leaf Leaf, hold Hold, action *Action) (Hold, *Action) {
	if !c.isStrange(leaf) {
		if first := c.firstOutside(k, w); first != leaf.Ref && first != (Ref{}) {
			hold.Why += fmt.Sprintf("; waits for the Certificate %s, which is the first to ask the new issuer", first)
			return hold, nil
		}
		return hold, action
	}
	gate := c.strangeGate(k)
	again := c.turn.memory.was[gate].Add(strangeLeafRetry)
	switch {
	case c.strangerAsked:
		hold.Why += "; waits for another that came back signed by a stranger"
		return hold, nil
	case !c.turn.memory.remembers(gate) || !c.turn.now.Before(again):
		c.turn.memory.begin(gate)
		c.strangerAsked = true
		return hold, action
	}
	c.turn.lookAt(again)
	hold.Alarm = true
	hold.Why = fmt.Sprintf("came back signed by %s, not by %s: everyone who does not trust that refuses it; put the certificate of %s or its issuer in Git right; asked for again at %s",
		c.signerOfLeaf(leaf), k.seen.Certificate, k.name, instant(again))
	return hold, nil
}

// strangeGate remembers when a leaf that a stranger had signed was asked for again.
func (c *course) strangeGate(k *key) string { return fmt.Sprintf("strange %s %s", c.ref, k.name) }

// rememberStranger keeps that in memory while such a leaf is there, or on its way.
func (c *course) rememberStranger(k *key, issued []Leaf) {
	gate := c.strangeGate(k)
	if c.turn.memory.remembers(gate) && slices.ContainsFunc(issued, func(leaf Leaf) bool { return leaf.Issuing || c.isStrange(leaf) }) {
		c.turn.memory.hold(gate)
	}
}

// strangeLeafRetry is how long a leaf that an external issuer had signed by a stranger is
// left alone.
const strangeLeafRetry = time.Hour

// isStrange reports whether no key of ours signed the leaf.
func (c *course) isStrange(leaf Leaf) bool { return len(leaf.Chain) > 0 && !c.turn.isOurs(leaf) }

// firstOutside is the leaf of a wave that asks an external issuer first; none once one, of
// whichever wave, chains to the key.
func (c *course) firstOutside(k *key, w wave) Ref {
	if c.moved(k, c.issued()) > 0 {
		return Ref{}
	}
	var first Ref
	for _, leaf := range w.leaves {
		switch {
		case leaf.SecretName == "" || leaf.Unknown != "" || c.asksElsewhere(k, leaf) != "":
		case c.turn.now.Before(leaf.FailedAt.Add(reissueRetry)):
		case first == Ref{} || leaf.Issuing:
			first = leaf.Ref
		}
	}
	return first
}

// asksElsewhere says why a reissue would not bring the leaf under the key: what it asks
// signs with another. Empty: it would, or that is not ours to know.
func (c *course) asksElsewhere(k *key, leaf Leaf) string {
	for _, other := range c.keys {
		if other != k && c.issuesAs(other, leaf.Issuer) {
			return "it refers to the internal issuer of " + other.name
		}
	}
	for _, issuer := range c.turn.observed.Issuers {
		if issuer.Ref == leaf.Issuer && c.keyOf(issuer) != k {
			return issuerName(issuer) + " does not sign with " + k.name
		}
	}
	return ""
}

// answeredLately tells of a leaf of an issuer that is none of ours when it may be asked for
// again: what came back a moment ago, and is no better, would come back so again and again.
func (c *course) answeredLately(leaf Leaf) (again time.Time, lately bool) {
	ours := slices.ContainsFunc(slices.Concat(c.issuers, c.turn.observed.Issuers), func(i Issuer) bool { return i.Ref == leaf.Issuer }) ||
		slices.ContainsFunc(c.keys, func(k *key) bool { return c.issuesAs(k, leaf.Issuer) })
	if ours || len(leaf.Chain) == 0 {
		return time.Time{}, false
	}
	again = leaf.Chain[0].NotBefore().Add(reissueRetry)
	return again, c.turn.now.Before(again)
}

func (c *course) signerOfLeaf(leaf Leaf) string {
	for _, k := range c.keys {
		if c.turn.signed(k, leaf) {
			return k.name
		}
	}
	return fmt.Sprintf("a strange key (%s)", leaf.Chain[0].X509().Issuer.CommonName)
}

// hasOthers reports whether there is another key that a presenter might still
// present a leaf of: one of which anything is there, or a compromised one, of which nothing
// may be there already.
func (c *course) hasOthers(k *key) bool {
	return slices.ContainsFunc(c.keys, func(other *key) bool {
		stolen := other.compromised() && (!other.recorded.IsZero() || c.mustBeCleared(other))
		return other != k && (stolen || other.present() || c.anchored(other))
	})
}

// presentGate asks whether every workload that presents one of a wave's leaves has
// loaded it.
func (c *course) presentGate(k *key, w wave) reload {
	r := reload{closed: c.closed}
	since := c.turn.memory.hold(c.gate(w.gate("reissued"), k))
	for _, workload := range c.turn.observed.Workloads {
		if c.presents(workload, w) {
			c.turn.askPresenter(&r, workload, since, k.name)
		}
	}
	return r
}

// presents reports whether the workload mounts a leaf of the wave.
func (c *course) presents(workload Workload, w wave) bool {
	return slices.ContainsFunc(c.turn.leavesOf(workload), w.has)
}
