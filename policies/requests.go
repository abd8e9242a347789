package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// CheckRequest holds a device's request, a CSR in PEM (RFC 2986), against the rules about
// DeviceRequests, and against the built-in ones about keys and wildcards. Exemptions count
// as they do in [Check]; the subject is "Device <id>".
func (r Rules) CheckRequest(id, request string, group v1alpha1.DeviceGroup, now time.Time) []Violation {
	subject := v1alpha1.KindDevice + " " + id
	read, err := readRequest(request)
	if err != nil {
		return []Violation{{
			Rule: RulePolicy, Severity: Deny, Subject: subject, Message: fmt.Sprintf("its request cannot be read: %s", err),
			Mend: "send a CSR in PEM, signed with the key that it is about",
		}}
	}
	read.ID = id
	violations := weakKey(subject, "", key{read.KeyAlgorithm, int(read.KeySize)}, false, true)
	violations = append(violations, wildcardsAsked(subject, read.DNSNames)...)
	things := map[schema.GroupKind][]thing{requestKind: {{subject, read}}}
	variables := map[string]any{variableNow: instant(now), variableGroup: contentOf(group)}
	for _, rule := range r.rules {
		violations = append(violations, rule.check(things, variables, maxRuleCost)...)
	}
	violations = exempted(violations, r.policies, now)
	slices.SortFunc(violations, compare)
	return slices.Compact(violations)
}

func wildcardsAsked(subject string, names []string) []Violation {
	var violations []Violation
	for _, name := range names {
		if strings.Contains(name, "*") {
			violations = append(violations, wildcard(Deny, subject, name, "ask for the device's own name"))
		}
	}
	return violations
}
