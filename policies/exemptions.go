package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// exempted lets off what the policies exempt: the violation is told as a warning, with the
// reason. An exemption that has ended no longer counts.
func exempted(violations []Violation, policies []*v1alpha1.Policy, now time.Time) []Violation {
	judged := slices.Clone(violations)
	for i, violation := range judged {
		for _, policy := range policies {
			for _, exemption := range policy.Spec.Exemptions {
				if exempts(exemption, violation, now) {
					judged[i] = excused(violation, policy, exemption)
				}
			}
		}
	}
	return judged
}

// exempts reports whether an exemption holds for a violation at a time.
func exempts(exemption v1alpha1.Exemption, violation Violation, now time.Time) bool {
	end, err := exemption.End()
	if err != nil || !now.Before(end) || exemption.Rule != violation.Rule || problemOf(exemption, nil) != "" {
		return false
	}
	_, name, _ := strings.Cut(violation.Subject, " ")
	return glob(exemption.Subject, violation.Subject) || glob(exemption.Subject, name)
}

func excused(violation Violation, policy *v1alpha1.Policy, exemption v1alpha1.Exemption) Violation {
	violation.Severity = Warn
	violation.Mend = fmt.Sprintf("exempt until %s by Policy %s: %s", untilOf(exemption), policy.Metadata.Name, exemption.Reason)
	return violation
}

// untilOf is the day on which an exemption ends, as people write it: YAML may have made an
// instant of it.
func untilOf(exemption v1alpha1.Exemption) string {
	end, err := exemption.End()
	if err != nil || !end.Equal(end.UTC().Truncate(24*time.Hour)) {
		return exemption.Until
	}
	return end.UTC().Format(time.DateOnly)
}

// glob reports whether a text is like a pattern, in which * stands for any characters.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, begins := strings.CutPrefix(text, parts[0])
	if !begins {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

// ended are the exemptions that no longer count.
func ended(s *scene) []Violation {
	var violations []Violation
	for _, policy := range s.policies {
		for _, exemption := range policy.Spec.Exemptions {
			if end, err := exemption.End(); err == nil && !s.Now.Before(end) {
				violations = append(violations, Violation{
					Rule: RulePolicy, Severity: Warn, Subject: named(policy),
					Message: fmt.Sprintf("the exemption of %s from %s ended on %s", exemption.Subject, exemption.Rule, untilOf(exemption)),
					Mend:    "take it out, or give it another end if its reason still holds",
				})
			}
		}
	}
	return violations
}

// problemOf says why nobody can be exempted from a rule so; empty if somebody can. The team's
// own rules are not looked for if they are nil.
func problemOf(exemption v1alpha1.Exemption, own []string) string {
	rule, found := ruleNamed(exemption.Rule)
	switch {
	case found && !rule.Exemptable:
		return fmt.Sprintf("nobody can be exempted from %s: take the exemption out, and mend what breaks the rule", rule.Name)
	case !found && own != nil && !slices.Contains(own, exemption.Rule):
		return fmt.Sprintf("there is no rule %q: name a built-in one (%s) or a Policy", exemption.Rule, strings.Join(exemptable(), ", "))
	}
	return ""
}

// exemptable are the names of the built-in rules from which there are exemptions.
func exemptable() []string {
	var found []string
	for _, rule := range builtInRules {
		if rule.Exemptable {
			found = append(found, rule.Name)
		}
	}
	return found
}

// brokenPolicies are those that cannot be held against anything, which validation has
// refused if it was asked, and their exemptions that have ended.
func brokenPolicies(s *scene) []Violation {
	violations := ended(s)
	for _, problem := range s.problems {
		violations = append(violations, Violation{
			Rule: RulePolicy, Severity: Deny, Subject: v1alpha1.KindPolicy + " " + problem.Policy,
			Message: problem.Field + ": " + problem.Message, Mend: "mend the policy",
		})
	}
	return violations
}
