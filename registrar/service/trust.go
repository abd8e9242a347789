package service

import (
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/registrar/admission"
)

// trusts are what the devices of each group shall trust, and of all together.
type trusts struct {
	byGroup map[string]admission.Trust
	all     admission.Trust
	// former are the roots that were retired: nobody is told to trust them, and who was away
	// may know nothing else.
	former pki.Anchors
}

// trustOf reads from documents and record what devices shall trust.
func trustOf(desired planner.Desired, record planner.Record) *trusts {
	t := &trusts{byGroup: map[string]admission.Trust{}}
	for _, group := range desired.Groups {
		chain := authoritiesOf(desired, group)
		if len(chain) == 0 {
			continue
		}
		root, below := chain[len(chain)-1], chain[:len(chain)-1]
		trust := admission.Trust{Anchors: anchorsBeside(desired, record, root)}
		for _, authority := range below {
			trust.Intermediates = append(trust.Intermediates, keysOf(authority, record)...)
		}
		for _, link := range record.Links {
			if link.Authority == root.Metadata.Name && !link.Withdrawn {
				trust.Links = append(trust.Links, link.Certificate)
			}
		}
		t.byGroup[group.Metadata.Name] = trust
		t.all.Anchors = t.all.Anchors.Union(trust.Anchors)
		t.all.Links = pki.NewAnchors(slices.Concat(t.all.Links, trust.Links)...)
		t.former = t.former.Union(recordedOf(root, record, true))
	}
	return t
}

// authoritiesOf are the authority that signs for a group, the one above it, up to the root.
func authoritiesOf(desired planner.Desired, group v1alpha1.DeviceGroup) []v1alpha1.Authority {
	name := ""
	for _, binding := range desired.Bindings {
		if planner.BindingRef(binding) == planner.GroupIssuer(group) {
			name = binding.Spec.Authority
		}
	}
	var chain []v1alpha1.Authority
	for range desired.Authorities { // a chain is no longer
		at := slices.IndexFunc(desired.Authorities, func(a v1alpha1.Authority) bool { return a.Metadata.Name == name })
		if at < 0 {
			return nil
		}
		authority := desired.Authorities[at]
		if chain = append(chain, authority); authority.Spec.IssuedBy == nil {
			return chain
		}
		name = authority.Spec.IssuedBy.Name
	}
	return nil
}

// anchorsBeside are the keys of a root, and all else that the bundles hold in which it is.
func anchorsBeside(desired planner.Desired, record planner.Record, root v1alpha1.Authority) pki.Anchors {
	anchors := pki.NewAnchors(keysOf(root, record)...)
	for _, bundle := range desired.Bundles {
		if !slices.Contains(bundle.Spec.Authorities, root.Metadata.Name) {
			continue
		}
		for _, authority := range desired.Authorities {
			if slices.Contains(bundle.Spec.Authorities, authority.Metadata.Name) && authority.Spec.IssuedBy == nil {
				anchors = anchors.Union(keysOf(authority, record))
			}
		}
		for _, text := range bundle.Spec.Certificates {
			further, _ := pki.ParsePEM([]byte(text)) // was found valid
			anchors = anchors.Union(further)
		}
	}
	return anchors
}

// keysOf are the certificates of an authority's keys that came to be, or are given in Git,
// and are neither retired nor compromised.
func keysOf(authority v1alpha1.Authority, record planner.Record) []pki.Certificate {
	var keys []pki.Certificate
	for _, key := range authority.Spec.Keys {
		if given, err := pki.ParsePEM([]byte(key.Certificate)); err == nil && len(given) == 1 && !key.State.Goes() {
			keys = append(keys, given[0])
		}
	}
	return pki.NewAnchors(append(keys, recordedOf(authority, record, false)...)...)
}

// recordedOf are the certificates that the record keeps of an authority's keys, of those that
// were retired or of the others, but for those that Git calls compromised.
func recordedOf(authority v1alpha1.Authority, record planner.Record, retired bool) []pki.Certificate {
	stolen := map[string]bool{}
	for _, key := range authority.Spec.Keys {
		stolen[key.Name] = key.State == v1alpha1.KeyCompromised
	}
	var keys []pki.Certificate
	for _, key := range record.Keys {
		name, _ := v1alpha1.SplitKey(key.Name)
		if key.Authority == authority.Metadata.Name && key.Retired == retired && !stolen[name] {
			keys = append(keys, key.Certificate)
		}
	}
	return keys
}
