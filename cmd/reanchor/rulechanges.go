package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner/forecast"
)

// policies of a side, by name.
func (r revision) policies() []v1alpha1.Policy {
	if r.Loaded == nil {
		return nil
	}
	var all []v1alpha1.Policy
	for _, document := range r.Documents {
		if policy, is := document.(*v1alpha1.Policy); is {
			all = append(all, *policy)
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.Policy) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return all
}

// withPolicies is the digest of all documents of a side by that of what it declares: a plan
// is stale too when the rules are others.
func (r revision) withPolicies(digest string) string {
	if len(r.policies()) == 0 {
		return digest
	}
	text := []byte(digest)
	for _, policy := range r.policies() {
		text = append(text, printed(policy)...)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ruleChanges tell of every policy that changes: nothing in the cluster shows it, and yet it
// decides what may be merged from then on.
func (c *comparison) ruleChanges() []forecast.Finding {
	if c.base.Loaded == nil {
		return nil // all is new
	}
	var found []forecast.Finding
	before := c.base.policies()
	tell := func(name, what string) {
		found = append(found, forecast.Finding{
			Rule: "policy-changed", Subject: v1alpha1.KindPolicy + " " + name, Message: what,
			Mend: "merge it only if whoever answers for the rules agrees: it decides what may be merged and applied from then on",
		})
	}
	for _, policy := range c.head.policies() {
		at := slices.IndexFunc(before, func(p v1alpha1.Policy) bool { return p.Metadata.Name == policy.Metadata.Name })
		if at < 0 {
			tell(policy.Metadata.Name, "a new rule: "+strings.Join(ruleWords(v1alpha1.PolicySpec{}, policy.Spec), "; "))
			continue
		}
		if words := ruleWords(before[at].Spec, policy.Spec); len(words) > 0 {
			tell(policy.Metadata.Name, strings.Join(words, "; "))
		}
		before = slices.Delete(before, at, at+1)
	}
	for _, gone := range before {
		tell(gone.Metadata.Name, "it is taken away, with all that it demands")
	}
	return found
}

// ruleWords say what of a policy changes.
func ruleWords(before, after v1alpha1.PolicySpec) []string {
	var words []string
	if before.Severity != after.Severity {
		words = append(words, fmt.Sprintf("what breaks it is answered by %s, not by %s", severityWord(after), severityWord(before)))
	}
	if !same(before.Match, after.Match) {
		words = append(words, "it is about other objects")
	}
	words = append(words, changed("validation", before.Validations, after.Validations, func(v v1alpha1.Validation) string { return v.Message })...)
	words = append(words, changed("domain", before.Domains, after.Domains, func(d string) string { return d })...)
	return append(words, changed("exemption", before.Exemptions, after.Exemptions, func(e v1alpha1.Exemption) string {
		return fmt.Sprintf("%s of %s until %s, since %s", e.Rule, e.Subject, e.Until, e.Reason)
	})...)
}

func severityWord(spec v1alpha1.PolicySpec) string {
	if spec.Severity == v1alpha1.PolicyWarn {
		return string(v1alpha1.PolicyWarn)
	}
	return string(v1alpha1.PolicyDeny)
}

// changed names what comes and goes of a list.
func changed[T any](what string, before, after []T, words func(T) string) []string {
	var told []string
	missing := func(from, in []T, verb string) {
		for _, one := range from {
			if !slices.ContainsFunc(in, func(other T) bool { return same(one, other) }) {
				told = append(told, fmt.Sprintf("%s %s: %s", verb, what, words(one)))
			}
		}
	}
	missing(before, after, "without the")
	missing(after, before, "with the")
	return told
}

func same(a, b any) bool { return bytes.Equal(printed(a), printed(b)) }
