package forecast

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/planner"
)

// inUse is the rule by which no authority leaves Git while somebody needs it.
const inUse = "authority-in-use"

// tellInUse blocks the authorities that the head takes away though leaves still need them.
func (r *run) tellInUse() {
	observed := r.world.Observe()
	for _, authority := range r.request.Base.Desired.Authorities {
		ref := planner.AuthorityRef(authority)
		if _, stays := authorityOf(r.request.Head.Desired, ref.Name); stays {
			continue
		}
		users := r.usersOf(ref, observed)
		if len(users) == 0 {
			continue
		}
		r.inUse[ref] = true
		r.block(Finding{
			Rule: inUse, Subject: "Authority " + ref.String(),
			Message: fmt.Sprintf("Git takes it away, and %s it: %s", needs(len(users)), firstFew(users)),
			Mend:    "move what needs it to another issuer first, by a change of its own, and take the authority away when that is done",
		})
	}
}

func needs(n int) string {
	if n == 1 {
		return "1 Certificate still needs"
	}
	return fmt.Sprintf("%d Certificates still need", n)
}

// usersOf an authority are the leaves that chain to one of its keys, or that one of its
// issuers is to sign.
func (r *run) usersOf(authority planner.Ref, observed planner.Observed) []string {
	holders := r.holders(observed)
	var users []string
	for _, leaf := range observed.Leaves {
		refers := slices.ContainsFunc(r.request.Base.Desired.Bindings, func(b binding) bool {
			return planner.BindingRef(b) == leaf.Issuer && b.Spec.Authority == authority.Name
		})
		for _, certificate := range r.world.Authorities() {
			refers = refers || len(leaf.Chain) > 0 && leaf.Chain[0].SignedBy(certificate) && authorityName(holders[certificate.Fingerprint()]) == authority.Name
		}
		if refers {
			users = append(users, r.nameOf("Certificate "+leaf.Ref.String()))
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// nameOf somebody, or of whom he stands for.
func (r *run) nameOf(who string) string {
	if instead, assumed := r.assumed[who]; assumed {
		return instead
	}
	return who
}

// remains are the objects of an authority that still stand, and the issuers that Git took
// away with it.
func (r *run) remains(authority planner.Ref) []string {
	observed := r.world.Observe()
	var left []string
	for _, key := range observed.Keys {
		if key.Authority == authority && key.HasCertificate {
			name := planner.Ref{Namespace: authority.Namespace, Name: planner.KeyObjectName(authority.Name, key.Name)}.String()
			left = append(left, "Certificate "+name, "Secret "+name, "Issuer "+name)
		}
	}
	for _, gone := range r.request.Base.Desired.Bindings {
		stays := slices.ContainsFunc(r.request.Head.Desired.Bindings, func(b binding) bool { return planner.BindingRef(b) == planner.BindingRef(gone) })
		stands := slices.ContainsFunc(observed.Issuers, func(i planner.Issuer) bool { return i.Ref == planner.BindingRef(gone) && i.Exists })
		if gone.Spec.Authority == authority.Name && !stays && stands {
			left = append(left, issuerText(planner.BindingRef(gone)))
		}
	}
	return left
}
