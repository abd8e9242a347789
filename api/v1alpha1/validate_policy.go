package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// PolicyProblem is what is wrong with a Policy by the rules that there are: an expression
// that does not compile, an exemption from a rule that does not exist.
//
// +kubebuilder:object:generate=false
type PolicyProblem struct {
	// Policy by its name.
	Policy string
	// Field of the document, and what is wrong with it.
	Field, Message string
}

// policy checks a rule by itself, but not its expressions.
func (v *validator) policy(document Document, policy *Policy) {
	spec := policy.Spec
	if len(spec.Validations)+len(spec.Domains)+len(spec.Exemptions) == 0 {
		v.refuse(document, "spec", "says nothing: give validations with a match, domains or exemptions")
	}
	v.ruled(document, spec)
	for i, validation := range spec.Validations {
		if strings.TrimSpace(validation.Expression) == "" {
			v.refuse(document, fmt.Sprintf("spec.validations[%d].expression", i), "is empty: write in CEL what must hold of the variable object")
		}
	}
	for i, domain := range spec.Domains {
		if len(validation.IsDNS1123Subdomain(domain)) > 0 {
			v.refuse(document, fmt.Sprintf("spec.domains[%d]", i), "%s is not a domain: write one such as plant.example, which stands for all names below it too", quote(domain))
		}
	}
	for i, exemption := range spec.Exemptions {
		v.exemption(document, fmt.Sprintf("spec.exemptions[%d]", i), exemption)
	}
}

// ruled checks what the validations are about.
func (v *validator) ruled(document Document, spec PolicySpec) {
	switch {
	case len(spec.Validations) > 0 && len(spec.Match.Kinds) == 0:
		v.refuse(document, "spec.match.kinds", "is empty, so that the rule is about nothing: list kinds such as Certificate")
	case len(spec.Validations) == 0 && len(spec.Match.Kinds) > 0:
		v.refuse(document, "spec.validations", "is empty: say in at least one expression what must hold of what is matched")
	}
	for i, kind := range spec.Match.Kinds {
		if _, known := RuledKind(kind); !known {
			v.refuse(document, fmt.Sprintf("spec.match.kinds[%d]", i), "%s is not known without its API group: write a kind such as Certificate, or one with its group, such as Kafka.kafka.strimzi.io%s",
				quote(kind), didYouMean(kind, ruledNames()))
		}
	}
}

// exemption checks that one says of what, why and how long.
func (v *validator) exemption(document Document, field string, exemption Exemption) {
	for _, part := range []struct{ name, text, hint string }{
		{"rule", exemption.Rule, "name the rule, built-in or a Policy"},
		{"subject", exemption.Subject, "name what is exempt, such as Certificate plant/broker"},
		{"reason", exemption.Reason, "say why, for those who read it when it ends"},
	} {
		if strings.TrimSpace(part.text) == "" {
			v.refuse(document, field+"."+part.name, "is empty: %s", part.hint)
		}
	}
	if _, err := exemption.End(); err != nil {
		v.refuse(document, field+".until", "%s is not a day: write one such as 2027-01-31, on which the exemption ends", quote(exemption.Until))
	}
}

// policies holds the policies against the rules that there are.
func (v *validator) policies(documents []Document) {
	byName := map[string]Document{}
	var policies []Policy
	for _, document := range documents {
		if policy, ok := document.Object.(*Policy); ok {
			if _, twice := byName[policy.Metadata.Name]; !twice {
				byName[policy.Metadata.Name] = document
				policies = append(policies, *policy)
			}
		}
	}
	if v.site.CheckPolicies == nil || len(policies) == 0 {
		return
	}
	for _, problem := range v.site.CheckPolicies(policies) {
		v.refuse(byName[problem.Policy], problem.Field, "%s", problem.Message)
	}
}
