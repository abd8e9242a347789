package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// A reference is a field of another operator's object that names an issuer, and that shall
// name a binding's. It is the other way to a new authority: a new issuer beside the old one.
// What the operator makes of the field, a Certificate say, follows it, and so is presented to
// whoever verified what the old issuer signed:
//
//	the field names …            and then
//	the binding's issuer         nothing is left to do
//	another, which is not known  the field moves once the binding's issuer is proved to sign with
//	                             the key that shall, and every verifier has loaded that key
//	another of ours              … and every bundle of the old one's authority distributes the new
//
// A field that somebody else writes is his to change: he is asked, and waited for. An issuer
// that a reference names is not removed.

// GateReference is the gate of holds for fields that are to name another issuer. One that a
// person must change says so at the end.
const GateReference = "reference"

// Reference is a field that Git says shall name a binding's issuer, as it was seen.
type Reference struct {
	// Issuer that it shall name: without a namespace for a ClusterIssuer.
	Issuer Ref `json:"issuer"`
	// Field says where it is.
	Field Field `json:"field"`
	// Value of the field, the name of the issuer that it names now; empty if that is not
	// known, and Problem says why.
	Value string `json:"value,omitempty"`
	// IssuerKind and IssuerGroup stand beside the name; empty where nothing does.
	IssuerKind  string `json:"issuerKind,omitempty"`
	IssuerGroup string `json:"issuerGroup,omitempty"`
	// Owner is who else writes the field and would put it back: "field manager
	// \"flux\"", "its owner BrokerOperator broker"; empty if nobody does.
	Owner string `json:"owner,omitempty"`
	// Refused is what the API server said the last time when it was to be changed; empty
	// if it took it, or nobody has tried.
	Refused string `json:"refused,omitempty"`
	// Problem says why there is no Value, and what to do: there is no such object, or no
	// such field in it, or it may not be read.
	Problem string `json:"problem,omitempty"`
}

// Field is a field of an object.
type Field struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Object     Ref    `json:"object"`
	// Path as [v1alpha1.FieldPath] has it.
	Path string `json:"path"`
}

// String is "BrokerListener plant/default spec.ports[0].issuerRef.name".
func (f Field) String() string { return f.Kind + " " + f.Object.String() + " " + f.Path }

// Compare orders by kind, object and path.
func (f Field) Compare(other Field) int {
	return cmp.Or(cmp.Compare(f.Kind, other.Kind), cmp.Compare(f.APIVersion, other.APIVersion), f.Object.Compare(other.Object), cmp.Compare(f.Path, other.Path))
}

// FieldOf is the field that a reference of a binding leads to.
func FieldOf(reference v1alpha1.FieldReference) Field {
	return Field{
		APIVersion: reference.APIVersion, Kind: reference.Kind, Path: reference.FieldPath,
		Object: Ref{Namespace: reference.Namespace, Name: reference.Name},
	}
}

// moved reports whether the field names the issuer that it shall.
func (r Reference) moved() bool { return r.Problem == "" && r.mayName(r.Issuer) }

// mayName reports whether the field names an issuer, as far as can be seen: of one that
// cannot be read nobody knows.
func (r Reference) mayName(issuer Ref) bool {
	switch {
	case r.Value == "":
		return r.Problem != "" && issuer != r.Issuer
	case r.Value != issuer.Name:
		return false
	case r.IssuerKind != "" && (r.IssuerKind == certificateIssuer) != (issuer.Namespace != ""):
		return false
	}
	return issuer.Namespace == "" || issuer.Namespace == r.Field.Object.Namespace
}

// The kinds of cert-manager's issuers.
const (
	certificateIssuer = "Issuer"
	clusterIssuer     = "ClusterIssuer"
)

// kindOf is the kind of an issuer that a Ref names.
func kindOf(issuer Ref) string {
	if issuer.Namespace == "" {
		return clusterIssuer
	}
	return certificateIssuer
}

// unfit says why to change the name would not be enough; empty if it would.
func (r Reference) unfit() string {
	switch {
	case r.IssuerKind != "" && r.IssuerKind != kindOf(r.Issuer):
		return fmt.Sprintf("it names an issuer of kind %s, and %s is a %s", r.IssuerKind, r.Issuer.Name, kindOf(r.Issuer))
	case r.IssuerGroup != "" && r.IssuerGroup != "cert-manager.io":
		return "it names an issuer of the group " + r.IssuerGroup
	}
	return ""
}

// references are those of the authority's bindings, in the order of their fields. One that
// was not looked at is not known.
func (c *course) references() []Reference {
	var found []Reference
	for _, binding := range c.turn.desired.Bindings {
		if !c.declared || binding.Spec.Authority != c.ref.Name {
			continue
		}
		for _, declared := range binding.Spec.References {
			found = append(found, c.turn.reference(BindingRef(binding), FieldOf(declared)))
		}
	}
	slices.SortFunc(found, func(a, b Reference) int { return a.Field.Compare(b.Field) })
	return found
}

func (t *turn) reference(issuer Ref, field Field) Reference {
	for _, seen := range t.observed.References {
		if seen.Issuer == issuer && seen.Field == field {
			return seen
		}
	}
	return Reference{Issuer: issuer, Field: field, Problem: "nobody has looked at it yet"}
}

// referenceLook is how long a field that somebody else is to change is left before it is
// looked at again: nothing tells that he did.
const referenceLook = 30 * time.Second

// repoint: every reference names the issuer of its binding.
func (c *course) repoint(k *key) step {
	s := step{phase: Switch, key: k.name}
	references := c.references()
	if c.emergency {
		return s // nobody is waited for
	}
	var open []Reference
	for _, reference := range references {
		if !reference.moved() {
			open = append(open, reference)
		}
	}
	if len(open) == 0 {
		return s
	}
	s.progress = fmt.Sprintf("issuers sign with %s; %d of %s where it shall", k.name, len(references)-len(open), counted(len(references), "reference points", "references point"))
	c.turn.lookAt(c.turn.now.Add(referenceLook))
	seen := slices.DeleteFunc(slices.Clone(open), func(r Reference) bool { return r.Problem != "" })
	if reloads := c.trustedByOthers(k, seen); len(reloads.holds) > 0 && len(seen) > 0 {
		s.holds, s.actions = reloads.holds, reloads.actions
		return s
	}
	for _, reference := range open {
		hold, action := c.repointOne(reference)
		s.holds = append(s.holds, hold)
		if action != nil {
			s.actions = append(s.actions, *action)
		}
	}
	return s
}

// trustedByOthers asks whether whoever verifies what the old issuers signed knows the key:
// that they verify with a bundle that distributes it, and have loaded that. That the key is
// in use already tells nothing of them.
func (c *course) trustedByOthers(k *key, open []Reference) (r reload) {
	r.holds = c.turn.unknownHolds()
	top, anchor := c.anchorOf(k)
	for _, reference := range open {
		r.holds = append(r.holds, top.blindTo(reference)...)
	}
	if anchor == nil || !c.isTrusted(k) {
		r.holds = append(r.holds, Hold{Gate: GateReference, Subject: "Authority " + top.ref.String(), Why: "not every copy of its bundles holds yet what " + k.name + " chains to"})
	}
	if len(r.holds) > 0 {
		return r
	}
	if r = top.newVerifiers(anchor); len(r.holds) == 0 {
		r.holds = c.ownCAOf(open)
	}
	return r
}

// newVerifiers asks whether every verifier has loaded its copy as it is now.
func (c *course) newVerifiers(k *key) (r reload) {
	loaded := c.gate("known by those who are to follow", k)
	if c.turn.memory.remembers(loaded) {
		c.turn.memory.hold(loaded)
		return r
	}
	since := c.turn.memory.hold(c.gate("told to those who are to follow", k))
	for _, workload := range c.turn.observed.Workloads {
		if c.verifies(workload) {
			c.turn.askVerifier(&r, workload, since, "hold "+k.name)
		}
	}
	if len(r.holds) == 0 {
		c.turn.memory.hold(loaded)
	}
	return r
}

// followers asks whether whoever presents a leaf that followed a reference to another
// authority has loaded it: until then he may present what the key signed.
func (c *course) followers(k *key) (r reload) {
	followed := c.gate("followed", k)
	following := slices.DeleteFunc(slices.Clone(c.turn.observed.Workloads), func(w Workload) bool {
		return !slices.ContainsFunc(c.turn.leavesOf(w), c.turn.hasFollowed)
	})
	switch {
	case k.compromised() || !k.known() || len(following) == 0:
		return r
	case c.turn.memory.remembers(followed):
		c.turn.memory.hold(followed)
		return r
	}
	since := c.turn.memory.hold(c.gate("following", k))
	for _, workload := range following {
		c.turn.askPresenter(&r, workload, since, "another authority")
	}
	if len(r.holds) == 0 {
		c.turn.memory.hold(followed)
	}
	return r
}

// hasFollowed reports whether a reference of Git's leads to the leaf's issuer.
func (t *turn) hasFollowed(leaf Leaf) bool {
	return !leaf.unissued() && slices.ContainsFunc(t.observed.References, func(r Reference) bool { return r.Issuer == leaf.Issuer })
}

// blindTo names the bundles by which the leaves of the old issuer are verified, and that
// do not distribute the root.
func (c *course) blindTo(reference Reference) []Hold {
	var holds []Hold
	for _, old := range c.turn.coursesNamed(reference) {
		root := old
		for root.parent != nil && !root.inCircle() {
			root = root.parent
		}
		for _, bundle := range root.bundles {
			if !c.distributes(bundle.Metadata.Name) {
				holds = append(holds, Hold{Gate: GateReference, Subject: "TrustBundle " + bundle.Metadata.Name, Why: fmt.Sprintf(
					"whoever verifies what %s has signed verifies with it, and it does not distribute %s: let it name %s as well before %s moves", reference.Value, c.ref.Name, c.ref.Name, reference.Field)})
			}
		}
	}
	return holds
}

// coursesNamed are the authorities of the issuer that a reference names now.
func (t *turn) coursesNamed(reference Reference) []*course {
	return slices.DeleteFunc(slices.Clone(t.courses), func(c *course) bool {
		return !slices.ContainsFunc(c.issuers, func(i Issuer) bool { return reference.mayName(i.Ref) }) &&
			!slices.ContainsFunc(t.observed.Issuers, func(i Issuer) bool { return reference.mayName(i.Ref) && c.keyOf(i) != nil }) &&
			!slices.ContainsFunc(c.keys, func(k *key) bool { return reference.mayName(c.keyObject(k)) })
	})
}

// ownCAOf names the workloads that seem to verify with the ca.crt of a leaf of an old
// issuer: it may follow, and then that becomes the new root alone.
func (c *course) ownCAOf(open []Reference) []Hold {
	var holds []Hold
	for _, reference := range open {
		for _, old := range c.turn.coursesNamed(reference) {
			for _, workload := range c.turn.observed.Workloads {
				if why := old.trustsOwnCA(workload); why != "" && old != c {
					holds = append(holds, Hold{Gate: "own-ca", Subject: workload.String(), Why: why})
				}
			}
		}
	}
	return holds
}

// repointOne moves a field, or says who must.
func (c *course) repointOne(reference Reference) (Hold, *Action) {
	hold := Hold{Gate: GateReference, Subject: reference.Field.String()}
	by := fmt.Sprintf("set it to %s %s there", kindOf(reference.Issuer), reference.Issuer.Name)
	switch {
	case reference.Problem != "":
		hold.Why = reference.Problem
	case reference.unfit() != "":
		hold.Why = reference.unfit() + ": " + by
	case reference.Owner != "":
		hold.Why = fmt.Sprintf("it names %q, and %s writes it: %s", reference.Value, reference.Owner, by)
	case reference.Refused != "":
		hold.Why = fmt.Sprintf("it names %q, and the API server does not let it be changed (%s): %s, or let it be", reference.Value, reference.Refused, by)
	default:
		hold.Why = fmt.Sprintf("it names %q, and is set to %q now", reference.Value, reference.Issuer.Name)
		return hold, &Action{
			Kind: ActionRepoint, Subject: reference.Field.Object, Field: reference.Field, From: reference.Value, To: reference.Issuer.Name,
			Why: fmt.Sprintf("its issuer is proved, and everybody trusts it: %q becomes %q", reference.Value, reference.Issuer.Name),
		}
	}
	return hold, nil
}

// referring is a reference that names the issuer, or may.
func (t *turn) referring(issuer Ref) (Reference, bool) {
	at := slices.IndexFunc(t.observed.References, func(r Reference) bool { return r.mayName(issuer) })
	if at < 0 {
		return Reference{}, false
	}
	return t.observed.References[at], true
}

// referenceHolds name the references to the key's internal issuer.
func (c *course) referenceHolds(k *key) []Hold {
	var holds []Hold
	for _, issuer := range []Ref{c.keyObject(k), {Name: c.keyObject(k).Name}} {
		if reference, is := c.turn.referring(issuer); is && c.issuesAs(k, issuer) {
			holds = append(holds, Hold{Gate: GateReference, Subject: reference.Field.String(), Why: "names, or may name, the internal issuer of " + k.name + because(reference.Problem)})
		}
	}
	return holds
}
