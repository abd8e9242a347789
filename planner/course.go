package planner

import (
	"cmp"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// course is one authority on its way.
type course struct {
	turn *turn
	ref  Ref
	spec v1alpha1.AuthoritySpec
	// declared reports that Git declares the authority, be it to retire it.
	declared bool
	// parent issues the authority's certificates; nil for a root.
	parent *course
	// children are the authorities that this one issues, as Git declares them.
	children []*course
	// keys declared, seen or recorded, in the order of their names.
	keys []*key
	// to is the key that shall sign; nil when the authority is going.
	to *key
	// issuers that bindings of this authority name.
	issuers []Issuer
	// leaves that were signed through them or through an internal issuer.
	leaves []Leaf
	// familyLeaves are those and the leaves of all authorities below, and familySecrets
	// are where they are written to.
	familyLeaves  []Leaf
	familySecrets map[Ref]bool
	familySeen    map[leafID]bool
	// bundles that distribute the authority; none of an intermediate.
	bundles []v1alpha1.TrustBundle
	// devicesLater is the percent of each group's devices that are not in turn yet, and
	// devicesWait that those of the wave wait for a window.
	devicesLater int
	devicesWait  bool
	// strangerAsked reports that a leaf that a stranger signed is asked for in this turn.
	strangerAsked bool
	// times are those of its windows, and ahead is the way of a rollover that begins now; nil:
	// not asked for yet.
	times *timetable
	ahead *itinerary
	// emergency reports that a key of the authority, or of one above it, is compromised
	// and not gone yet.
	emergency bool
	// advanced reports that nothing is left to do but to retire keys.
	advanced bool
	current  step
}

// key is one key pair: what Git says, what the cluster shows and what is on record.
type key struct {
	name  string
	state v1alpha1.KeyState
	// given is what Git says of a key from elsewhere; nil of one that is made here.
	given *given
	// madeHere reports that Git gives a key that was made here.
	madeHere bool
	// wasBehind reports that an issuer of ours was given the key's spec.
	wasBehind bool
	seen      Key
	// under are the key pairs of other authorities that stand under this one.
	under []Key
	// recorded is what Git remembers of it; zero if it does not.
	recorded pki.Certificate
	// strays are those of [course.strayBundles]; nil: not looked for yet.
	strays []string
	// spent reports that Git remembers that it was retired: its name is used up.
	spent bool
}

// known reports whether the key's certificate is known.
func (k *key) known() bool { return !k.seen.Certificate.IsZero() }

// certificate of the key: the one that is seen, or else the one that is on record.
func (k *key) certificate() pki.Certificate {
	if k.known() {
		return k.seen.Certificate
	}
	return k.recorded
}

// present reports whether any object of the key is there.
func (k *key) present() bool {
	return k.seen.HasCertificate || k.seen.HasIssuer || k.seen.HasClusterIssuer
}

// going reports whether the key is on its way out.
func (k *key) going() bool { return k.state.Goes() }

// compromised reports whether somebody else may sign with the key.
func (k *key) compromised() bool { return k.state == v1alpha1.KeyCompromised }

// gatherCourses joins what Git declares and what the cluster holds, parents first: what
// becomes of an intermediate's keys follows from its parent's.
func (t *turn) gatherCourses() {
	for _, ref := range t.authorities() {
		t.courses = append(t.courses, t.newCourse(ref))
	}
	for _, c := range t.courses {
		c.parent = t.parentOf(c)
	}
	for _, c := range t.courses {
		if c.parent != nil && !c.inCircle() {
			c.parent.children = append(c.parent.children, c)
		}
	}
	slices.SortStableFunc(t.courses, func(a, b *course) int { return cmp.Compare(a.depth(), b.depth()) })
	for _, c := range t.courses {
		c.gatherKeys()
		c.gatherIssuers()
		c.recogniseKeys()
	}
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
	for _, bundle := range t.desired.Bundles {
		if c.declared && !c.isIntermediate() && slices.Contains(bundle.Spec.Authorities, ref.Name) {
			c.bundles = append(c.bundles, bundle)
		}
	}
	return c
}

// isIntermediate reports whether Git says that another authority issues this one.
func (c *course) isIntermediate() bool { return c.spec.IssuedBy != nil }

func (t *turn) parentOf(c *course) *course {
	if !c.isIntermediate() {
		return nil
	}
	found := slices.IndexFunc(t.courses, func(p *course) bool { return p.declared && p != c && p.ref.Name == c.spec.IssuedBy.Name })
	if found < 0 {
		return nil
	}
	return t.courses[found]
}

// inCircle reports whether the authority stands under itself, which validation refuses.
func (c *course) inCircle() bool { return c.depth() == len(c.turn.courses) }

// depth is how many authorities stand above this one.
func (c *course) depth() int {
	depth := 0
	for above := c.parent; above != nil && depth < len(c.turn.courses); above = above.parent {
		depth++
	}
	return depth
}

// family are the authority itself and all below it.
func (c *course) family() []*course {
	members := []*course{c}
	for _, child := range c.children {
		members = append(members, child.family()...)
	}
	return members
}

// gatherFamilies gives every leaf to the authorities that it refers to or chains to, and
// to all above those, whether or not Git still says that they stand there.
func (t *turn) gatherFamilies() {
	for _, c := range t.courses {
		c.familySecrets, c.familySeen = map[Ref]bool{}, map[leafID]bool{}
	}
	for _, leaf := range t.observed.Leaves {
		for _, c := range t.courses {
			if c.issues(leaf) {
				c.leaves = append(c.leaves, leaf)
				c.takeIn(leaf)
			}
		}
		for _, certificate := range t.path(leaf) {
			t.holders[certificate].course.takeIn(leaf)
		}
	}
}

// takeIn makes a leaf one of the authority's family, and of the families above it.
func (c *course) takeIn(leaf Leaf) {
	id := leaf.id()
	if c.familySeen[id] {
		return
	}
	c.familySeen[id] = true
	c.familyLeaves = append(c.familyLeaves, leaf)
	c.familySecrets[Ref{Namespace: leaf.Ref.Namespace, Name: leaf.SecretName}] = true
	if c.parent != nil && !c.inCircle() {
		c.parent.takeIn(leaf)
	}
}

// leafID tells leaves apart: a CertificateRequest may bear a Certificate's name.
type leafID struct {
	ref    Ref
	secret string
}

func (l Leaf) id() leafID { return leafID{l.Ref, l.SecretName} }

func (id leafID) String() string { return id.ref.String() + " " + id.secret }

// gatherKeys joins what Git lists, what the cluster holds and what is on record: a key
// that is gone from the list counts as Retired.
func (c *course) gatherKeys() {
	byName := map[string]*key{}
	for _, declared := range c.spec.Keys {
		if name, is := c.pairOf(declared); is {
			byName[name] = &key{name: name, state: declared.State, given: givenOf(declared)}
		}
	}
	pair := func(name string) *key {
		if byName[name] == nil {
			byName[name] = &key{name: name, state: c.stateOf(name)}
		}
		return byName[name]
	}
	for _, seen := range c.turn.observed.Keys {
		if seen.Authority == c.ref {
			pair(seen.Name).seen = seen
		}
	}
	for _, recorded := range c.turn.observed.Record.Keys {
		switch {
		case !c.declared || recorded.Authority != c.ref.Name:
		case !recorded.Retired:
			pair(recorded.Name).recorded = recorded.Certificate
		case byName[recorded.Name] != nil:
			byName[recorded.Name].spent = true
		}
	}
	for _, name := range c.keysBehind() {
		pair(name).wasBehind = true
	}
	for _, k := range byName {
		c.joinGiven(k)
		c.keys = append(c.keys, k)
		if k.state == v1alpha1.KeySigning {
			c.to = k
		}
	}
	slices.SortFunc(c.keys, func(a, b *key) int { return cmp.Compare(a.name, b.name) })
}

// pairOf names the key pair that a key in Git stands for: of an intermediate, the one
// under the key that its parent shall sign with, or that has signed what Git gives.
func (c *course) pairOf(declared v1alpha1.AuthorityKey) (pair string, is bool) {
	switch from := givenOf(declared); {
	case !c.isIntermediate():
		return declared.Name, true
	case from != nil:
		return c.givenPair(declared.Name, from.certificate)
	case c.parent == nil || c.parent.to == nil:
		return "", false
	}
	return v1alpha1.KeyUnder(declared.Name, c.parent.to.name), true
}

// stateOf is what shall become of a key pair that is there and that no key in Git
// stands for now. One whose parent's pair stays is kept beside it, so that one can go
// back to both.
func (c *course) stateOf(pair string) v1alpha1.KeyState {
	if c.isCompromised(pair) {
		return v1alpha1.KeyCompromised
	}
	if parent := c.parentPair(pair); c.lists(pair) && parent != nil && !parent.going() {
		return v1alpha1.KeyTrusted
	}
	return v1alpha1.KeyRetired
}

// lists reports whether Git lists the key of a pair of an intermediate, and does not
// retire it.
func (c *course) lists(pair string) bool {
	name, parent := v1alpha1.SplitKey(pair)
	return parent != "" && slices.ContainsFunc(c.spec.Keys, func(k v1alpha1.AuthorityKey) bool {
		return k.Name == name && !k.State.Goes()
	})
}

// isCompromised reports whether Git says so of the key that a pair is of: with the key of an
// intermediate, all its pairs are.
func (c *course) isCompromised(pair string) bool {
	name, _ := v1alpha1.SplitKey(pair)
	return slices.ContainsFunc(c.spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == name && k.State == v1alpha1.KeyCompromised })
}

// parentPair is the key of the parent that a pair stands under; nil if it is not known.
func (c *course) parentPair(pair string) *key {
	_, above := v1alpha1.SplitKey(pair)
	if c.parent == nil {
		return nil
	}
	return c.parent.keyNamed(above)
}

func (c *course) keyNamed(name string) *key {
	found := slices.IndexFunc(c.keys, func(k *key) bool { return k.name == name })
	if found < 0 {
		return nil
	}
	return c.keys[found]
}

// gatherPairs finds for every key the key pairs of other authorities that stand under it:
// by their names, by the issuer that their Certificates ask, or because it signed them.
func (t *turn) gatherPairs() {
	objects := map[Ref]holder{}
	for _, c := range t.courses {
		for _, k := range c.keys {
			objects[c.keyObject(k)] = holder{c, k}
			if k.seen.HasClusterIssuer {
				objects[Ref{Name: c.keyObject(k).Name}] = holder{c, k}
			}
		}
	}
	for _, pair := range t.pairs() {
		above := []holder{objects[pair.Spec.SignedBy]}
		if c := t.courseNamed(pair.Authority); c.parent != nil {
			above = append(above, holder{c.parent, c.parentPair(pair.Name)})
		}
		if !pair.Certificate.IsZero() {
			above = append(above, t.holders[t.signers[pair.Certificate.Fingerprint()]])
		}
		for _, h := range above {
			if h.key != nil && h.course.ref != pair.Authority && !slices.ContainsFunc(h.key.under, pair.is) {
				h.key.under = append(h.key.under, pair)
			}
		}
	}
}

// pairs are the key pairs of which there is an object, and those from elsewhere that sign.
func (t *turn) pairs() []Key {
	var pairs []Key
	for _, c := range t.courses {
		for _, k := range c.keys {
			if k.given == nil && k.present() || k.given != nil && (c.hasSigned(k) || k.going() && k.present()) {
				pairs = append(pairs, k.seen)
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b Key) int { return cmp.Or(a.Authority.Compare(b.Authority), cmp.Compare(a.Name, b.Name)) })
	return pairs
}

// hasSigned reports whether an issuer signs with the key, or a live leaf is signed by it.
func (c *course) hasSigned(k *key) bool {
	return c.signsAlready(k) || slices.ContainsFunc(c.turn.observed.Leaves, func(leaf Leaf) bool {
		return c.turn.signed(k, leaf) && c.turn.live(leaf)
	})
}

// is reports whether both are the same key pair.
func (k Key) is(other Key) bool { return k.Authority == other.Authority && k.Name == other.Name }

func (t *turn) courseNamed(ref Ref) *course {
	return t.courses[slices.IndexFunc(t.courses, func(c *course) bool { return c.ref == ref })]
}

// carries reports whether an intermediate that may sign stands under the key.
func (c *course) carries(k *key) bool {
	return slices.ContainsFunc(k.under, func(pair Key) bool {
		child := c.turn.courseNamed(pair.Authority)
		own := child.keyNamed(pair.Name)
		return !own.going() || child.signsAlready(own)
	})
}

// issuesAs reports whether a reference leads to an internal issuer of the key.
func (c *course) issuesAs(k *key, issuer Ref) bool {
	return issuer == c.keyObject(k) || issuer == Ref{Name: c.keyObject(k).Name} && k.seen.HasClusterIssuer
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

// proved are the issuers by which it is proved which key the authority signs with:
// those of its bindings, or of one without bindings the internal issuer of the key that
// shall sign.
func (c *course) proved() []Issuer {
	if len(c.issuers) > 0 || c.to == nil || c.secretName(c.to) == "" {
		return c.issuers
	}
	return []Issuer{c.internalIssuer(c.to)}
}

func (c *course) internalIssuer(k *key) Issuer {
	return Issuer{
		Ref: c.keyObject(k), Exists: k.seen.HasIssuer, Ours: true, SecretName: c.secretName(k),
		Generation: k.seen.Generation, Canary: k.seen.Canary, Proof: k.seen.Proof,
	}
}

// issues reports whether a leaf is the authority's: it refers to one of its
// issuers, to a key's internal issuer, or was signed by one of its keys.
func (c *course) issues(leaf Leaf) bool {
	if slices.ContainsFunc(c.issuers, func(i Issuer) bool { return i.Ref == leaf.Issuer }) {
		return true
	}
	return slices.ContainsFunc(c.keys, func(k *key) bool {
		return c.issuesAs(k, leaf.Issuer) || c.turn.signed(k, leaf)
	})
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
		if k != c.to && k.going() && (k.present() || c.anchored(k)) {
			return k.name
		}
	}
	return ""
}

// keyOf is the key whose Secret the issuer names, or whose spec it was given; nil if it is
// none of ours.
func (c *course) keyOf(issuer Issuer) *key {
	switch {
	case !issuer.Exists:
		return nil
	case issuer.SecretName == "":
		return c.keyBehind(issuer)
	}
	var named *key
	for _, k := range c.keys {
		names := issuer.SecretName == c.secretName(k) && (issuer.Ref.Namespace == "" || issuer.Ref.Namespace == c.ref.Namespace)
		if names && (named == nil || k.given != nil) {
			named = k // what Git says of a Secret counts before what was made here once
		}
	}
	return named
}

func (c *course) keyObject(k *key) Ref {
	return Ref{Namespace: c.ref.Namespace, Name: KeyObjectName(c.ref.Name, k.name)}
}
