package policies

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// tooDeep are the intermediates that hang further below a CA than its certificate allows:
// verifiers refuse everything that they sign.
func tooDeep(s *scene) []Violation {
	var violations []Violation
	for _, authority := range s.authorities {
		for distance, above := range s.above(authority) {
			for _, ca := range s.certificatesOf(above.Metadata.Name) {
				allowed, limited := pathLength(ca.certificate.X509())
				if !limited || allowed > distance {
					continue
				}
				violations = append(violations, Violation{
					Rule: RulePathLength, Severity: Deny, Subject: named(authority),
					Message: fmt.Sprintf("is the CA number %d below the key %s of %s, whose certificate allows %d (path length): everyone refuses what it signs",
						distance+1, ca.key, above.Metadata.Name, allowed),
					Mend: "hang it higher, or give the authority above a key without that limit",
				})
			}
		}
	}
	return violations
}

// pathLength is how many CAs may stand below one.
func pathLength(ca *x509.Certificate) (allowed int, limited bool) {
	return ca.MaxPathLen, ca.MaxPathLen > 0 || ca.MaxPathLen == 0 && ca.MaxPathLenZero
}

// names are those that a leaf is for.
type names struct {
	dns, ips, emails, uris []string
}

// namesIn are the names that a Certificate asks for.
func namesIn(manifest *unstructured.Unstructured) names {
	return names{
		dns: stringsIn(manifest, "dnsNames"), ips: stringsIn(manifest, "ipAddresses"),
		emails: stringsIn(manifest, "emailAddresses"), uris: stringsIn(manifest, "uris"),
	}
}

// anyDevice stands for the id of a device.
const anyDevice = "device"

// deviceName is a device group's DNS name, for some device.
func deviceName(template string) string { return deviceID.ReplaceAllString(template, anyDevice) }

// unconstrained are the names that a CA above may not sign for.
func unconstrained(s *scene) []Violation {
	var violations []Violation
	for _, manifest := range s.leaves {
		violations = append(violations, s.outsideConstraints(idOf(manifest).String(), issuerOf(manifest), namesIn(manifest))...)
	}
	for _, group := range s.groups {
		var found names
		for _, template := range group.Spec.Certificate.DNSNames {
			found.dns = append(found.dns, deviceName(template))
		}
		violations = append(violations, s.outsideConstraints(named(group), groupIssuer(group), found)...)
	}
	return violations
}

func (s *scene) outsideConstraints(subject string, issuer id, found names) []Violation {
	authority := s.authority(s.behind[issuer].Name)
	if authority == nil {
		return nil
	}
	var violations []Violation
	for _, above := range append([]*v1alpha1.Authority{authority}, s.above(authority)...) {
		for _, ca := range s.certificatesOf(above.Metadata.Name) {
			if name := outside(ca.certificate.X509(), found); name != "" {
				violations = append(violations, Violation{
					Rule: RuleNameConstraint, Severity: Deny, Subject: subject,
					Message: fmt.Sprintf("is for %q, which the key %s of %s may not sign for (name constraints): everyone refuses it", name, ca.key, above.Metadata.Name),
					Mend:    "take the name out, or have another authority sign it",
				})
			}
		}
	}
	return violations
}

// outside is the first name that a CA's constraints do not let it sign for; empty if there
// is none. One that cannot be read is outside of any.
func outside(ca *x509.Certificate, found names) string {
	for _, check := range []struct {
		names     []string
		permitted []func(string) bool
		excluded  []func(string) bool
	}{
		{found.dns, below(ca.PermittedDNSDomains, inDomain), below(ca.ExcludedDNSDomains, inDomain)},
		{found.emails, below(ca.PermittedEmailAddresses, isAddressOf), below(ca.ExcludedEmailAddresses, isAddressOf)},
		{found.uris, below(ca.PermittedURIDomains, isURIOf), below(ca.ExcludedURIDomains, isURIOf)},
		{found.ips, below(texts(ca.PermittedIPRanges), inRange), below(texts(ca.ExcludedIPRanges), inRange)},
	} {
		for _, name := range check.names {
			if len(check.permitted) > 0 && !anyHolds(check.permitted, name) || anyHolds(check.excluded, name) {
				return name
			}
		}
	}
	return ""
}

// below are tests whether a name lies below each of some constraints.
func below(constraints []string, matches func(constraint, name string) bool) []func(string) bool {
	var found []func(string) bool
	for _, constraint := range constraints {
		found = append(found, func(name string) bool { return matches(constraint, name) })
	}
	return found
}

func anyHolds(tests []func(string) bool, name string) bool {
	for _, test := range tests {
		if test(name) {
			return true
		}
	}
	return false
}

// inDomain reports whether a DNS name, be it a wildcard, is a domain or lies below it; one
// that begins with a dot has only what lies below.
func inDomain(domain, name string) bool {
	domain, name = strings.ToLower(domain), strings.ToLower(strings.TrimSuffix(name, "."))
	return domain == "" || name == domain || strings.HasSuffix(name, "."+strings.TrimPrefix(domain, "."))
}

// isAddressOf reports whether an e-mail address is the one that a constraint names, of its
// host, or of a host below its domain.
func isAddressOf(constraint, address string) bool {
	if strings.Contains(constraint, "@") {
		return strings.EqualFold(constraint, address)
	}
	_, host, found := strings.Cut(address, "@")
	return found && onHost(constraint, host)
}

func isURIOf(constraint, address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && parsed.Hostname() != "" && onHost(constraint, parsed.Hostname())
}

// onHost is as inDomain, but a domain without a dot before it is one host alone (RFC 5280,
// section 4.2.1.10).
func onHost(constraint, host string) bool {
	if strings.HasPrefix(constraint, ".") {
		return inDomain(constraint, host)
	}
	return strings.EqualFold(constraint, host)
}

func inRange(constraint, address string) bool {
	prefix, err := netip.ParsePrefix(constraint)
	ip, err2 := netip.ParseAddr(address)
	return err == nil && err2 == nil && prefix.Contains(ip.Unmap())
}
