package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// How long to wait before another canary is sent: when one came back signed by a key
// that the issuer no longer names, which cert-manager's cache did for a moment, when one
// was signed by a key that nobody knows, and when one failed.
const (
	canaryRetry        = 5 * time.Second
	strangeCanaryRetry = time.Minute
	failedCanaryRetry  = 5 * time.Minute
)

// switchOver: every issuer of the authority signs with the key, and a canary has
// shown it.
func (c *course) switchOver(k *key) step {
	s := step{phase: Switch, key: k.name}
	proved := 0
	var window *Hold
	for _, issuer := range c.proved() {
		hold := c.switchHold(k, issuer)
		if hold == nil {
			proved++
			continue
		}
		if c.isToMove(k, issuer) && window == nil {
			window = c.mayMove(issuer)
		}
		s.holds = append(s.holds, *hold)
	}
	s.holds = behind(window, s.holds)
	s.progress = fmt.Sprintf("%d of %s with %s", proved, counted(len(c.proved()), "issuer signs", "issuers sign"), k.name)
	if len(c.proved()) == 0 {
		s.progress = "nothing here signs with " + k.name
	}
	return s
}

func (c *course) switchHold(k *key, issuer Issuer) *Hold {
	at := c.keyOf(issuer)
	switch {
	case c.foreignHold(issuer) != nil:
		return c.foreignHold(issuer)
	case c.isEnding(k):
		return &Hold{Gate: "lifetime", Subject: issuerName(issuer), Why: fmt.Sprintf("taken away, for %s ends at %s and cert-manager would sign with it past that: add a key", k.name, instant(k.seen.Certificate.NotAfter()))}
	case !issuer.Exists:
		return &Hold{Gate: "issuer", Subject: issuerName(issuer), Why: "made with " + k.name + " now"}
	case at != k:
		return &Hold{Gate: "issuer", Subject: issuerName(issuer), Why: "moves to " + k.name + c.soon(issuer)}
	case k.staysOutside():
		return c.outsideHold(k, issuer)
	}
	return c.canaryHold(k, issuer)
}

// isToMove reports whether the issuer is there and signs with another key of the authority's,
// or with another spec, than it shall.
func (c *course) isToMove(k *key, issuer Issuer) bool {
	at := c.keyOf(issuer)
	return issuer.Exists && at != nil && (at != k || k.staysOutside() && c.outsideMoves(k, issuer))
}

// soon says when an issuer moves: now, unless that waits for a window.
func (c *course) soon(issuer Issuer) string {
	if c.mayMove(issuer) != nil {
		return " then"
	}
	return " now"
}

// foreignHold says that an issuer signs with none of the authority's keys; nil if it signs
// with one, or is not there.
func (c *course) foreignHold(issuer Issuer) *Hold {
	if !issuer.Exists || c.keyOf(issuer) != nil {
		return nil
	}
	hold := &Hold{Gate: "issuer", Subject: issuerName(issuer)}
	const remedy = "give the binding another name, or, if nobody needs the issuer, delete it"
	switch other := c.turn.courseOf(issuer); {
	case other != nil:
		hold.Why = fmt.Sprintf("it signs with a key of %s, whose verifiers may not know %s: give the binding another name", other.ref, c.ref)
	case issuer.SecretName == "":
		hold.Why = fmt.Sprintf("its spec is that of no key of %s: %s", c.ref, remedy)
	default:
		hold.Why = fmt.Sprintf("it signs with the Secret %q, which is no key of %s that Git lists: list it by secret and certificate, as Retired if it is to go; or %s", issuer.SecretName, c.ref, remedy)
	}
	return hold
}

// canaryHold says why it is not proved that the issuer signs with the key.
func (c *course) canaryHold(k *key, issuer Issuer) *Hold {
	canary := issuer.Canary
	if canary.State == CanaryPending && issuer.Proof.Generation == issuer.Generation && c.turn.now.Sub(issuer.Proof.At) < 2*c.canaryInterval() {
		canary = issuer.Proof // the next proof is on its way
	}
	hold := &Hold{Gate: "canary", Subject: issuerName(issuer)}
	switch {
	case canary.Name == "" || canary.Generation != issuer.Generation:
		hold.Why = "no canary has come back since it was last changed"
	case canary.State == CanaryPending, canary.State == CanarySigned && canary.Certificate.IsZero():
		hold.Why = "canary " + canary.Name + " has not come back" + because(canary.Problem)
	case canary.State != CanarySigned:
		hold.Why = "canary " + canary.Name + " failed" + because(canary.Problem)
	case canary.Certificate.SignedBy(k.seen.Certificate):
		return nil
	case c.strangeProof(issuer) != nil:
		return c.strangeProof(issuer)
	default:
		hold.Why = fmt.Sprintf("canary %s came back signed by %s, not by %s", canary.Name, c.signerName(canary), k.seen.Certificate)
	}
	return hold
}

// canaryInterval is how long a canary is proof of the key that an issuer signs with;
// after that, another is sent.
func (c *course) canaryInterval() time.Duration {
	if c.spec.Rollover.CanaryInterval == nil {
		return v1alpha1.DefaultCanaryInterval
	}
	return c.spec.Rollover.CanaryInterval.Duration
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}

// signerName names who signed a canary: one of our keys, or the strange CA that
// came back with it.
func (c *course) signerName(canary Canary) string {
	for _, k := range c.keys {
		if k.known() && canary.Certificate.SignedBy(k.seen.Certificate) {
			return k.seen.Certificate.String()
		}
	}
	if canary.CA.IsZero() {
		return "a strange key, of which nothing more is known"
	}
	return fmt.Sprintf("a strange key, %s with fingerprint %s", canary.CA.CommonName(), canary.CA.Fingerprint())
}

// proofs sends a canary through every issuer of which it is not proved, or no
// longer, which key it signs with. That moves nothing, so that a pause does not stop it.
func (c *course) proofs() []Action {
	var actions []Action
	for _, issuer := range c.toProve() {
		k := c.keyOf(issuer)
		if k == nil || issuer.SecretName == "" || !k.known() && (len(c.past(k)) == 0 || !k.seen.HasCertificate && !k.seen.SecretSeen) {
			continue
		}
		if why := c.proofDue(k, issuer); why != "" {
			actions = append(actions, Action{Kind: ActionProve, Subject: issuer.Ref, Generation: issuer.Generation, Why: why})
		}
	}
	return actions
}

// toProve are the issuers to send canaries through: those that sign, and the internal
// ones of keys that a canary alone can tell of any more.
func (c *course) toProve() []Issuer {
	issuers := slices.Clone(c.proved())
	for _, k := range c.keys {
		internal := c.internalIssuer(k)
		listed := slices.ContainsFunc(issuers, func(i Issuer) bool { return i.Ref == internal.Ref })
		unsure := !k.known() || k.hasForeignSecret()
		if unsure && k.seen.SecretSeen && !k.going() && len(c.namers(k)) == 0 && !listed {
			issuers = append(issuers, internal)
		}
	}
	return issuers
}

// proofDue says why a canary is due; empty when it is not. It remembers when one
// will be.
func (c *course) proofDue(k *key, issuer Issuer) string {
	canary := issuer.Canary
	switch {
	case canary.Name == "" || canary.Generation != issuer.Generation:
		return fmt.Sprintf("it is not proved that %s signs with %s", issuerName(issuer), k.name)
	case canary.State == CanaryPending:
		return ""
	case canary.State != CanarySigned || canary.Certificate.IsZero():
		return c.dueAfter(canary, failedCanaryRetry, "the last canary failed")
	case c.isShown(k):
		return c.dueAfter(canary, c.canaryInterval(), fmt.Sprintf("the last proof is %s old", c.canaryInterval()))
	case !k.known():
		return c.dueAfter(canary, min(c.canaryInterval(), strangeCanaryRetry), "it is not known whether "+k.name+" is still what it was")
	case c.strangeProof(issuer) != nil || c.unproved(k) != nil:
		return c.dueAfter(canary, min(c.canaryInterval(), strangeCanaryRetry), "the last canary came back signed by another key")
	case c.canaryHold(k, issuer) != nil:
		return c.dueAfter(canary, canaryRetry, "the last canary did not come back signed by "+k.name)
	}
	return c.dueAfter(canary, c.canaryInterval(), fmt.Sprintf("the last proof is %s old", c.canaryInterval()))
}

func (c *course) dueAfter(canary Canary, wait time.Duration, why string) string {
	due := canary.At.Add(wait)
	if !c.turn.now.Before(due) {
		return why
	}
	c.turn.lookAt(due)
	return ""
}

func issuerName(issuer Issuer) string {
	if issuer.Ref.Namespace == "" {
		return "ClusterIssuer " + issuer.Ref.Name
	}
	return "Issuer " + issuer.Ref.String()
}

// planIssuers says which key each issuer shall sign with.
func (t *turn) planIssuers() {
	for _, c := range t.courses {
		for _, issuer := range c.issuers {
			c.planIssuer(issuer)
		}
	}
	for _, issuer := range t.observed.Issuers {
		t.planUnbound(issuer)
	}
}

// planIssuer moves the issuer to the key that shall sign, if its course has come
// to Switch, and leaves it where it is otherwise.
func (c *course) planIssuer(issuer Issuer) {
	at := c.keyOf(issuer)
	shall := at
	if c.reached(Switch) && !(c.isToMove(c.to, issuer) && c.mayMove(issuer) != nil) {
		shall = c.to
	}
	if issuer.Exists && at == nil {
		c.turn.keepIssuer(issuer)
		return
	}
	if shall == nil {
		shall = c.standIn()
	}
	if shall == nil {
		return
	}
	if c.isEnding(shall) {
		c.turn.plan.Decisive = c.turn.plan.Decisive || issuer.Exists
		return
	}
	target := c.targetIssuer(issuer, shall)
	if shall != at || shall.staysOutside() && !SpecHolds(issuer.Spec, target.Spec) {
		c.turn.plan.Decisive = true
	}
	c.turn.plan.Target.Issuers = append(c.turn.plan.Target.Issuers, target)
}

// standIn is the key that an issuer which is not there signs with until the signing key
// may: one that every copy trusts, and that is in use by another issuer or a live leaf, so
// that whoever verifies has loaded it.
func (c *course) standIn() *key {
	var standIn *key
	for _, k := range c.keys {
		switch {
		case !k.present() || !k.known() || !c.isTrusted(k):
		case c.signsAlready(k):
			return k
		case standIn == nil && slices.ContainsFunc(c.familyLeaves, func(leaf Leaf) bool { return c.turn.passes(leaf, k) && c.turn.live(leaf) }):
			standIn = k
		}
	}
	return standIn
}

// planUnbound keeps an issuer that Git no longer declares for as long as a leaf, or a field of
// somebody else's object, refers to it.
func (t *turn) planUnbound(issuer Issuer) {
	for _, c := range t.courses {
		if slices.ContainsFunc(c.issuers, func(i Issuer) bool { return i.Ref == issuer.Ref }) {
			return
		}
	}
	why := t.userOf(issuer)
	if why == "" || !issuer.Exists {
		t.plan.Decisive = t.plan.Decisive || issuer.Exists
		return
	}
	if t.keepIssuer(issuer) {
		t.plan.Holds = append(t.plan.Holds, Hold{Gate: "prune", Subject: issuerName(issuer), Why: "Git no longer declares it, but " + why})
	}
}

// userOf says who refers to an issuer; empty if nobody does.
func (t *turn) userOf(issuer Issuer) string {
	if user := slices.IndexFunc(t.observed.Leaves, func(leaf Leaf) bool { return leaf.Issuer == issuer.Ref }); user >= 0 {
		return fmt.Sprintf("the Certificate %s refers to it: move the Certificate first", t.observed.Leaves[user].Ref)
	}
	if reference, is := t.referring(issuer.Ref); is {
		return fmt.Sprintf("%s names it, or may: it is kept until that names another", reference.Field)
	}
	return ""
}

// keepIssuer leaves an issuer with what it signs with now, and reports whether there is
// anything to leave: an issuer that is not ours is not touched at all.
func (t *turn) keepIssuer(issuer Issuer) bool {
	target := TargetIssuer{Ref: issuer.Ref}
	switch c := t.courseOf(issuer); {
	case c != nil:
		target = c.targetIssuer(issuer, c.keyOf(issuer))
	case issuer.Ours && issuer.SecretName != "":
		target.Foreign = issuer.SecretName
	case issuer.Ours && issuer.Spec != "":
		target.Spec = issuer.Spec
	default:
		return false
	}
	t.plan.Target.Issuers = append(t.plan.Target.Issuers, target)
	return true
}

// courseOf is the authority whose key the issuer signs with; nil if it is none of
// ours.
func (t *turn) courseOf(issuer Issuer) *course {
	found := slices.IndexFunc(t.courses, func(c *course) bool { return c.keyOf(issuer) != nil })
	if found < 0 {
		return nil
	}
	return t.courses[found]
}
