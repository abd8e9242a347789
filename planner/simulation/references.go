package simulation

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Referrer is an object of another operator that names an issuer in a field, and the
// Certificate that the operator makes for it.
type Referrer struct {
	Field planner.Field
	// Names is the issuer that the field names on the first day: a ClusterIssuer.
	Names string
	// Leaf is the Certificate; its issuer is what the field names.
	Leaf planner.Ref
	// Owner is who puts the field back when somebody else changes it; empty if nobody does.
	Owner string
}

// operate lets the operators make their Certificates follow what the fields name.
func (w *World) operate() {
	for _, r := range w.referrers {
		if l := w.leaves[r.Leaf]; l != nil && l.issuer.Name != r.Names && !w.Stuck["operator of "+r.Leaf.String()] && !w.lazy() {
			l.issuer, l.issuing = planner.Ref{Name: r.Names}, true
		}
	}
}

func (w *World) referrer(field planner.Field) *Referrer {
	at := slices.IndexFunc(w.referrers, func(r *Referrer) bool { return r.Field == field })
	if at < 0 {
		return nil
	}
	return w.referrers[at]
}

// Repoint lets a person set a field to name another issuer, as a plan asks him to.
func (w *World) Repoint(field planner.Field, to string) {
	w.referrer(field).Names = to
	w.Say("somebody sets %s to %s", field, to)
}

// observeReferences looks at what Git says shall name an issuer of a binding.
func (w *World) observeReferences(observed *planner.Observed) {
	for _, binding := range w.Desired.Bindings {
		for _, declared := range binding.Spec.References {
			seen := planner.Reference{Issuer: planner.BindingRef(binding), Field: planner.FieldOf(declared)}
			if r := w.referrer(seen.Field); r != nil {
				seen.Value, seen.IssuerKind, seen.Owner = r.Names, "ClusterIssuer", r.Owner
			} else {
				seen.Problem = "there is no such object: make it, or take the reference out"
			}
			observed.References = append(observed.References, seen)
		}
	}
	slices.SortFunc(observed.References, func(a, b planner.Reference) int { return cmp.Or(a.Field.Compare(b.Field), a.Issuer.Compare(b.Issuer)) })
}

// repoint changes a field, unless somebody else has changed it meanwhile.
func (w *World) repoint(action planner.Action) {
	r := w.referrer(action.Field)
	if r == nil || r.Names != action.From {
		return
	}
	if r.Owner != "" {
		w.violate(ReferencesAreTheirs, "%s is set to %s, and %s writes it", action.Field, action.To, r.Owner)
	}
	w.checkFollower(r, action.To)
	r.Names = action.To
}

// checkFollower is asked when a field is about to name another issuer: whoever verifies
// what the old one signed holds the anchor of what the new one signs with.
func (w *World) checkFollower(r *Referrer, to string) {
	secret := w.signingSecret(planner.Ref{Name: to})
	if secret == nil {
		w.violate(TrustBeforeUse, "%s is to name %s, which cannot sign", r.Field, to)
		return
	}
	if w.issuers[planner.Ref{Name: to}].proof.Certificate.IsZero() {
		w.violate(TrustBeforeUse, "%s is to name %s, and nothing shows which key that signs with", r.Field, to)
	}
	l := w.leaves[r.Leaf]
	for _, name := range w.bundlesOf(w.authorityOf(l)) {
		for _, namespace := range w.namespaces {
			if c := w.copies[copyID{bundle: name, namespace: namespace}]; c == nil || !c.anchors.Has(secret.root) {
				w.violate(TrustBeforeUse, "%s is to name %s, whose root the copy of %s in %s does not hold", r.Field, to, name, namespace)
			}
		}
		w.eachVerifier(name, func(who verifier, anchors pki.Anchors) {
			if !anchors.Has(secret.root) {
				w.violate(TrustBeforeUse, "%s is to name %s, whose root %s has not loaded", r.Field, to, who)
			}
		})
	}
}

// checkIssuerUnnamed is asked when an issuer is about to be deleted.
func (w *World) checkIssuerUnnamed(ref planner.Ref) {
	for _, r := range w.referrers {
		if ref == (planner.Ref{Name: r.Names}) && w.isDeclared(r.Field) {
			w.violate(DrainBeforeRetire, "issuer %s is deleted while %s names it", ref, r.Field)
		}
	}
}

// isDeclared reports whether Git speaks of the field.
func (w *World) isDeclared(field planner.Field) bool {
	for _, binding := range w.Desired.Bindings {
		for _, declared := range binding.Spec.References {
			if planner.FieldOf(declared) == field {
				return true
			}
		}
	}
	return false
}

// newReferrers are the objects, whose leaves ask what their fields name.
func (w *World) newReferrers(declared []Referrer) {
	for _, r := range declared {
		w.referrers = append(w.referrers, &r)
		if w.leaves[r.Leaf] == nil {
			panic(fmt.Sprintf("simulation: %s is to make %s, of which nobody says what it is", r.Field, r.Leaf))
		}
	}
}
