package simulation

import (
	"cmp"
	"slices"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Referrer is an object of another operator that names an issuer in a field, and the
// Certificates that the operator makes for it.
type Referrer struct {
	Field planner.Field
	// Names is the issuer that the field names on the first day; Kind is of which kind, a
	// ClusterIssuer where nothing says so, and Group what stands beside it.
	Names, Kind, Group string
	// Leaves are the Certificates; their issuer is what the field names.
	Leaves []planner.Ref
	// Owner is who puts the field back when somebody else changes it, and Refused what the
	// API server says to whoever is not a person; empty if nobody does.
	Owner, Refused string
	// Problem says why the field cannot be read; empty if it can.
	Problem string
}

// issuer is what the field names.
func (r *Referrer) issuer() planner.Ref {
	if r.Kind == kindIssuer {
		return planner.Ref{Namespace: r.Field.Object.Namespace, Name: r.Names}
	}
	return planner.Ref{Name: r.Names}
}

// operate lets the operators make their Certificates follow what the fields name.
func (w *World) operate() {
	for _, r := range w.referrers {
		for _, ref := range r.Leaves {
			if l := w.leaves[ref]; l != nil && r.Names != "" && l.issuer != r.issuer() && !w.lazy() {
				l.issuer, l.issuing = r.issuer(), true
			}
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
				seen.Value, seen.IssuerKind, seen.IssuerGroup = r.Names, r.Kind, r.Group
				seen.Owner, seen.Refused, seen.Problem = r.Owner, r.Refused, r.Problem
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
	if r.Owner+r.Refused != "" {
		w.violate(ReferencesAreTheirs, "%s is set to %s, and somebody else writes it: %s%s", action.Field, action.To, r.Owner, r.Refused)
	}
	w.checkFollower(r, action.To)
	r.Names = action.To
}

// checkFollower is asked when a field is about to name another issuer: whoever verifies
// what the old one signed holds the anchor of what the new one signs with.
func (w *World) checkFollower(r *Referrer, to string) {
	next := *r
	next.Names = to
	secret := w.signingSecret(next.issuer())
	switch {
	case secret == nil:
		w.violate(TrustBeforeUse, "%s is to name %s, which cannot sign", r.Field, to)
		return
	case w.issuers[next.issuer()].spec == "" && w.issuers[next.issuer()].proof.Certificate.IsZero():
		w.violate(TrustBeforeUse, "%s is to name %s, and nothing shows which key that signs with", r.Field, to)
	}
	for _, name := range w.bundlesOf(w.authorityOf(&leaf{issuer: r.issuer()})) {
		for _, id := range w.placesOf(name) {
			if c := w.copies[id]; c == nil || !c.anchors.Has(secret.root) {
				w.violate(TrustBeforeUse, "%s is to name %s, whose root %s does not hold", r.Field, to, id)
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
		if ref == r.issuer() && w.isDeclared(r.Field) {
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

// newReferrers are the objects, on the first day.
func (w *World) newReferrers(declared []Referrer) {
	for _, r := range declared {
		w.referrers = append(w.referrers, &r)
	}
}

// repointByHand lets people set the fields that a plan asks them to.
func (w *World) repointByHand() []Deed {
	var deeds []Deed
	for _, binding := range w.Desired.Bindings {
		for _, declared := range binding.Spec.References {
			field, to := planner.FieldOf(declared), planner.BindingRef(binding)
			r := w.referrer(field)
			if !w.isWaitedFor(planner.GateReference, field.String()) {
				continue
			}
			if r == nil {
				r = &Referrer{Field: field}
				w.referrers = append(w.referrers, r)
			}
			r.Names, r.Kind, r.Group, r.Problem = to.Name, issuerKind(to), "", ""
			deeds = append(deeds, Deed{Subject: field.String(), Do: "set it to " + issuerKind(to) + " " + to.Name + ": reanchor does not write it"})
		}
	}
	return deeds
}
