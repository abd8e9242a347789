package forecast

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// loseKeys tells who would lose trust if the keys went now, all at once: whose chains
// nobody accepts any more, and who accepts them no more.
func (r *run) loseKeys(names []string) {
	gone := r.certificatesOf(names)
	if gone == nil {
		return
	}
	observed := r.world.Observe()
	refused, refuses := map[string][]string{}, map[string][]string{}
	for _, loss := range r.world.LossesWithout(gone) {
		refused[loss.Presenter] = append(refused[loss.Presenter], loss.Verifier)
		refuses[loss.Verifier] = append(refuses[loss.Verifier], loss.Presenter)
	}
	losses := map[string]string{}
	for who, by := range refused {
		losses[who] = fmt.Sprintf("it chains to %s: %s", list(names), r.firstOf(by, "refuses it", "refuse it"))
	}
	for who, them := range refuses {
		text := fmt.Sprintf("without %s it refuses %s", list(names), r.firstOf(them, "", ""))
		if losses[who] != "" {
			text = losses[who] + "; " + text
		}
		losses[who] = text
	}
	for _, leaf := range observed.Leaves {
		if who := "Certificate " + leaf.Ref.String(); losses[who] == "" && r.isUnder(leaf, gone) {
			losses[who] = fmt.Sprintf("it chains to %s, and nobody who is known verifies it", list(names))
		}
	}
	for _, issuer := range observed.Issuers {
		for _, key := range observed.Keys {
			if key.Certificate.IsZero() || !gone.Has(key.Certificate) || issuer.SecretName != planner.KeyObjectName(key.Authority.Name, key.Name) {
				continue
			}
			losses[issuerText(issuer.Ref)] = fmt.Sprintf("it signs with %s/%s: nothing more would be issued by it", key.Authority.Name, key.Name)
		}
	}
	r.Drops = sortedLosses(losses)
}

// tellLosses tells who is cut off because a key is compromised.
func (r *run) tellLosses() {
	refusers := map[string][]string{}
	for _, refusal := range r.world.Refusals() {
		refusers[refusal.Presenter] = append(refusers[refusal.Presenter], refusal.Verifier)
	}
	losses := map[string]string{}
	for who, by := range refusers {
		losses[who] = r.firstOf(by, "refuses it", "refuse it") + " for a while, until both have loaded what is new"
	}
	r.Drops = sortedLosses(losses)
}

// firstOf names the first of them, and counts the others.
func (r *run) firstOf(names []string, one, many string) string {
	slices.Sort(names)
	names = slices.Compact(names)
	for i, name := range names {
		names[i] = r.nameOf(name)
	}
	verb := one
	if len(names) > 1 {
		verb = many
	}
	return strings.TrimSpace(firstFew(names) + " " + verb)
}

// firstFew names the first of several, and counts the others.
func firstFew(names []string) string {
	if len(names) > namesShown {
		names = append(slices.Clone(names[:namesShown-1]), fmt.Sprintf("%d more", len(names)-namesShown+1))
	}
	return list(names)
}

// isUnder reports whether a leaf's chain leads through one of the certificates.
func (r *run) isUnder(leaf planner.Leaf, gone pki.Anchors) bool {
	return slices.ContainsFunc(leaf.Chain, func(c pki.Certificate) bool {
		return gone.Has(c) || slices.ContainsFunc(gone, func(ca pki.Certificate) bool { return !c.Equal(ca) && c.SignedBy(ca) })
	})
}

// certificatesOf are those of the keys in the world; nil if one is not there, which is told.
func (r *run) certificatesOf(names []string) pki.Anchors {
	holders := r.holders(r.world.Observe())
	var known []string
	for _, name := range holders {
		known = append(known, name)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	var found []pki.Certificate
	for _, name := range names {
		if !slices.Contains(known, name) {
			r.block(Finding{Rule: "what-if", Subject: name, Message: "there is no such key, or its certificate is not known", Mend: "name one of " + strings.Join(known, ", ")})
			continue
		}
		for _, certificate := range r.world.Authorities() {
			if holders[certificate.Fingerprint()] == name {
				found = append(found, certificate)
			}
		}
	}
	if len(r.Blocks) > 0 {
		return nil
	}
	return pki.NewAnchors(found...)
}

func (f *Forecast) summaryOfLoss(request Request) string {
	names := list(request.WhatIf)
	switch {
	case len(f.Blocks) > 0:
		return "It cannot be told: " + f.Blocks[0].Subject + ": " + f.Blocks[0].Message + "."
	case len(f.Drops) == 0:
		return "If " + names + " went now, nobody would lose trust."
	}
	return fmt.Sprintf("If %s went now, %s trust.", names, strings.Replace(strings.Replace(loses(len(f.Drops)), "loses", "would lose", 1), " lose", " would lose", 1))
}
