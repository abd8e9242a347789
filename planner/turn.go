package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// turn is one call of Next: its input, indexed, and the plan as it grows.
type turn struct {
	desired   Desired
	observed  Observed
	now       time.Time
	memory    *memory
	courses   []*course
	plan      Plan
	lookAgain time.Time
	// anchors that each bundle shall hold, by its name.
	anchors map[string]pki.Anchors
	// signers tells which CA certificate signed which leaf: a signature is checked
	// once in a turn.
	signers map[pki.Fingerprint]pki.Fingerprint
	// restarting holds by its lane who is being restarted, or is planned to be.
	restarting map[string][]string
}

// course is one authority on its way.
type course struct {
	turn *turn
	ref  Ref
	spec v1alpha1.AuthoritySpec
	// declared reports that Git declares the authority, be it to retire it.
	declared bool
	// keys declared or seen, in the order of their names.
	keys []*key
	// to is the key that shall sign; nil when the authority is going.
	to *key
	// issuers that bindings of this authority name.
	issuers []Issuer
	// leaves that were signed through them or through an internal issuer.
	leaves []Leaf
	// bundles that distribute the authority.
	bundles []v1alpha1.TrustBundle
	current step
}

// key is one key: what Git says and what the cluster shows.
type key struct {
	name  string
	state v1alpha1.KeyState
	seen  Key
}

// known reports whether the key's certificate is known.
func (k *key) known() bool { return !k.seen.Certificate.IsZero() }

// present reports whether any object of the key is there.
func (k *key) present() bool { return k.seen.HasCertificate || k.seen.HasIssuer }

// going reports whether the key is on its way out.
func (k *key) going() bool { return k.state == v1alpha1.KeyRetired }

func newTurn(desired Desired, observed Observed, now time.Time) *turn {
	t := &turn{
		desired:    desired,
		observed:   observed.sorted(),
		now:        now,
		memory:     newMemory(observed.Since, now),
		anchors:    map[string]pki.Anchors{},
		signers:    signersOf(observed),
		restarting: map[string][]string{},
	}
	for _, ref := range t.authorities() {
		t.courses = append(t.courses, t.newCourse(ref))
	}
	for _, bundle := range t.allBundles() {
		t.anchors[bundle] = t.bundleAnchors(bundle)
	}
	t.noteRestartsUnderWay()
	return t
}

// authorities are those that Git declares and those that left keys behind, sorted.
func (t *turn) authorities() []Ref {
	var refs []Ref
	for _, authority := range t.desired.Authorities {
		refs = append(refs, AuthorityRef(authority))
	}
	for _, k := range t.observed.Keys {
		refs = append(refs, k.Authority)
	}
	slices.SortFunc(refs, Ref.Compare)
	return slices.Compact(refs)
}

func (t *turn) newCourse(ref Ref) *course {
	c := &course{turn: t, ref: ref}
	for _, authority := range t.desired.Authorities {
		if AuthorityRef(authority) == ref {
			c.spec, c.declared = authority.Spec, true
		}
	}
	c.gatherKeys()
	c.gatherIssuers()
	c.gatherLeaves()
	for _, bundle := range t.desired.Bundles {
		if c.declared && slices.Contains(bundle.Spec.Authorities, ref.Name) {
			c.bundles = append(c.bundles, bundle)
		}
	}
	return c
}

// gatherKeys joins what Git lists and what the cluster holds: a key that is gone
// from the list counts as Retired.
func (c *course) gatherKeys() {
	byName := map[string]*key{}
	for _, declared := range c.spec.Keys {
		byName[declared.Name] = &key{name: declared.Name, state: declared.State}
	}
	for _, seen := range c.turn.observed.Keys {
		if seen.Authority != c.ref {
			continue
		}
		if byName[seen.Name] == nil {
			byName[seen.Name] = &key{name: seen.Name, state: v1alpha1.KeyRetired}
		}
		byName[seen.Name].seen = seen
	}
	for _, k := range byName {
		c.keys = append(c.keys, k)
		if k.state == v1alpha1.KeySigning {
			c.to = k
		}
	}
	slices.SortFunc(c.keys, func(a, b *key) int { return cmp.Compare(a.name, b.name) })
}

// gatherIssuers finds the issuers of the authority's bindings; one that is not
// there yet has Exists false.
func (c *course) gatherIssuers() {
	for _, binding := range c.turn.desired.Bindings {
		if !c.declared || binding.Spec.Authority != c.ref.Name {
			continue
		}
		issuer := Issuer{Ref: BindingRef(binding)}
		for _, seen := range c.turn.observed.Issuers {
			if seen.Ref == issuer.Ref {
				issuer = seen
			}
		}
		c.issuers = append(c.issuers, issuer)
	}
	slices.SortFunc(c.issuers, func(a, b Issuer) int { return a.Ref.Compare(b.Ref) })
}

func (c *course) gatherLeaves() {
	for _, leaf := range c.turn.observed.Leaves {
		if c.issues(leaf) {
			c.leaves = append(c.leaves, leaf)
		}
	}
	slices.SortFunc(c.leaves, func(a, b Leaf) int { return a.Ref.Compare(b.Ref) })
}

// signersOf finds for every leaf the key that signed it.
func signersOf(observed Observed) map[pki.Fingerprint]pki.Fingerprint {
	signers := map[pki.Fingerprint]pki.Fingerprint{}
	for _, leaf := range observed.Leaves {
		if len(leaf.Chain) == 0 {
			continue
		}
		for _, key := range observed.Keys {
			if !key.Certificate.IsZero() && leaf.Chain[0].SignedBy(key.Certificate) {
				signers[leaf.Chain[0].Fingerprint()] = key.Certificate.Fingerprint()
			}
		}
	}
	return signers
}

// issues reports whether a leaf is the authority's: it refers to one of its
// issuers, to a key's internal issuer, or was signed by one of its keys.
func (c *course) issues(leaf Leaf) bool {
	if slices.ContainsFunc(c.issuers, func(i Issuer) bool { return i.Ref == leaf.Issuer }) {
		return true
	}
	return slices.ContainsFunc(c.keys, func(k *key) bool {
		return leaf.Issuer == c.keyObject(k) || c.turn.signed(k, leaf)
	})
}

// signed reports whether the leaf that is presented was signed by the key.
func (t *turn) signed(k *key, leaf Leaf) bool {
	return k.known() && len(leaf.Chain) > 0 && t.signers[leaf.Chain[0].Fingerprint()] == k.seen.Certificate.Fingerprint()
}

func (c *course) inState(state v1alpha1.KeyState) []*key {
	return slices.DeleteFunc(slices.Clone(c.keys), func(k *key) bool { return k.state != state })
}

func (c *course) toName() string {
	if c.to == nil {
		return ""
	}
	return c.to.name
}

// fromName is the key that the rollover leaves: the one that issuers still sign
// with, or another that is still there.
func (c *course) fromName() string {
	for _, issuer := range c.issuers {
		if k := c.keyOf(issuer); k != nil && k != c.to {
			return k.name
		}
	}
	for _, k := range c.keys {
		if k != c.to && k.going() && k.present() {
			return k.name
		}
	}
	return ""
}

// keyOf is the key whose Secret the issuer names; nil if it is none of ours.
func (c *course) keyOf(issuer Issuer) *key {
	if !issuer.Exists {
		return nil
	}
	for _, k := range c.keys {
		if issuer.SecretName == KeyObjectName(c.ref.Name, k.name) && (issuer.Ref.Namespace == "" || issuer.Ref.Namespace == c.ref.Namespace) {
			return k
		}
	}
	return nil
}

// lookAt remembers that the plan may change at that time without anything else
// changing.
func (t *turn) lookAt(at time.Time) {
	if t.lookAgain.IsZero() || at.Before(t.lookAgain) {
		t.lookAgain = at
	}
}

// unknownHolds say what could not be read: while there is any, nothing moves that
// cannot be moved back.
func (t *turn) unknownHolds() []Hold {
	var holds []Hold
	for _, unknown := range t.observed.Unknown {
		holds = append(holds, Hold{Gate: GateUnknown, Subject: unknown.Subject, Why: unknown.Why})
	}
	return holds
}

// counted is "1 leaf" or "3 leaves".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func orElse(first int, a, b string) int { return cmp.Or(first, cmp.Compare(a, b)) }
