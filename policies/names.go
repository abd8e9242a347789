package policies

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// deviceID stands for a device's id in the names of its group.
var deviceID = regexp.MustCompile(`\{\{-?\s*\.ID\s*-?\}\}`)

// wildcard tells of a name that begins with one.
func wildcard(severity Severity, subject, name, mend string) Violation {
	return Violation{
		Rule: RuleWildcardName, Severity: severity, Subject: subject,
		Message: fmt.Sprintf("is for the wildcard %q: whoever holds its key passes for every host below", name), Mend: mend,
	}
}

func wildcards(s *scene) []Violation {
	var violations []Violation
	for _, manifest := range s.leaves {
		for _, name := range namesIn(manifest).dns {
			if strings.Contains(name, "*") {
				violations = append(violations, wildcard(Warn, idOf(manifest).String(), name, "list the names that it is for"))
			}
		}
	}
	for _, group := range s.groups {
		for _, name := range group.Spec.Certificate.DNSNames {
			if strings.Contains(name, "*") {
				violations = append(violations, wildcard(Deny, named(group), name, "give each device a name of its own, such as {{ .ID }}.sensors.example"))
			}
		}
	}
	return violations
}

func sharedNames(s *scene) []Violation {
	var violations []Violation
	for _, group := range s.groups {
		for _, name := range group.Spec.Certificate.DNSNames {
			if !deviceID.MatchString(name) {
				violations = append(violations, Violation{
					Rule: RuleSharedName, Severity: Deny, Subject: named(group),
					Message: fmt.Sprintf("gives every device the name %q, so that each passes for all others", name),
					Mend:    "write {{ .ID }} into it",
				})
			}
		}
	}
	return violations
}

// foreignNames are the DNS names outside the domains that the team lists.
func foreignNames(s *scene) []Violation {
	domains := s.domains()
	if len(domains) == 0 {
		return nil
	}
	var violations []Violation
	tell := func(subject, name string) {
		bare := strings.TrimSuffix(strings.TrimPrefix(name, "*."), ".")
		if !strings.Contains(bare, ".") || slices.ContainsFunc(domains, func(domain string) bool { return inDomain(domain, bare) }) {
			return
		}
		violations = append(violations, Violation{
			Rule: RuleForeignName, Severity: Deny, Subject: subject,
			Message: fmt.Sprintf("is for %q, which lies in none of the domains that policies list (%s)", name, strings.Join(domains, ", ")),
			Mend:    "correct the name, or list its domain in spec.domains of a Policy",
		})
	}
	for _, manifest := range s.leaves {
		for _, name := range namesIn(manifest).dns {
			tell(idOf(manifest).String(), name)
		}
	}
	for _, group := range s.groups {
		for _, template := range group.Spec.Certificate.DNSNames {
			tell(named(group), deviceName(template))
		}
	}
	return violations
}

// domains that the policies list, sorted.
func (s *scene) domains() []string {
	var domains []string
	for _, policy := range s.policies {
		domains = append(domains, policy.Spec.Domains...)
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

// signingUsages are those of a CA, as cert-manager names them.
var signingUsages = []string{"cert sign", "crl sign"}

// leavesThatSign are Certificates of our issuers that could sign others, and so be CAs that
// no plan knows of. A Certificate that makes the Secret of a key from elsewhere is no
// such: Git knows that key.
func leavesThatSign(s *scene) []Violation {
	var violations []Violation
	deny := func(subject, what string) {
		violations = append(violations, Violation{
			Rule: RuleLeafIsCA, Severity: Deny, Subject: subject, Message: what + ", so that it could sign for anybody, and no plan would know",
			Mend: "take that out, or declare an Authority with issuedBy",
		})
	}
	given := plannedObjects(s.Plan.Target).given
	for _, manifest := range s.leaves {
		if _, ours := s.behind[issuerOf(manifest)]; !ours || slices.Contains(given, writtenBy(manifest)) {
			continue
		}
		if isCA, _, err := unstructured.NestedBool(manifest.Object, "spec", "isCA"); isCA || err != nil {
			deny(idOf(manifest).String(), "is a CA's Certificate (isCA) of one of our issuers")
		}
		for _, usage := range stringsIn(manifest, "usages") {
			if slices.Contains(signingUsages, usage) {
				deny(idOf(manifest).String(), fmt.Sprintf("has the usage %q under one of our issuers", usage))
			}
		}
	}
	for _, group := range s.groups {
		for _, usage := range group.Spec.Certificate.Usages {
			if slices.Contains(signingUsages, usage) {
				deny(named(group), fmt.Sprintf("gives its devices the usage %q", usage))
			}
		}
	}
	return violations
}

// reusedNames are keys under a name that stands for another.
func reusedNames(s *scene) []Violation {
	var violations []Violation
	for _, authority := range s.authorities {
		for _, key := range authority.Spec.Keys {
			if message := s.reused(authority, key); message != "" {
				violations = append(violations, Violation{
					Rule: RuleKeyNameReused, Severity: Deny, Subject: named(authority), Message: message,
					Mend: "give the key a name that was never used",
				})
			}
		}
	}
	return violations
}

// reused says for what a key's name stands already; empty if for nothing else. An
// intermediate's key may have been retired under one key of its parent, and live on under
// another.
func (s *scene) reused(authority *v1alpha1.Authority, key v1alpha1.AuthorityKey) string {
	if key.State != v1alpha1.KeySigning && key.State != v1alpha1.KeyTrusted {
		return ""
	}
	for _, recorded := range s.Observed.Record.Keys {
		if recorded.Authority != authority.Metadata.Name || recorded.Name != key.Name {
			continue
		}
		if recorded.Retired {
			return fmt.Sprintf("the key %s was retired (%s): its name is used up", key.Name, recorded.Certificate)
		}
		for _, ca := range s.certificatesOf(authority.Metadata.Name) {
			if ca.given && ca.key == key.Name && !ca.certificate.Equal(recorded.Certificate) {
				return fmt.Sprintf("the key %s is on record as %s, and Git gives another certificate for it", key.Name, recorded.Certificate)
			}
		}
	}
	return ""
}
