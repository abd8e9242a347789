package admission

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// idOf is the id of the device that a factory certificate is for.
func idOf(leaf pki.Certificate, rule v1alpha1.Identity) (string, *Refusal) {
	named := identities(leaf, rule)
	if len(named) != 1 || named[0] == "" {
		return "", forbid(ProblemIdentity, "the client certificate has %d of %s, and the group takes its one as the device's id: show the factory certificate that has it", len(named), rule)
	}
	if problem := v1alpha1.DeviceIDProblem(named[0]); problem != "" {
		return "", malformed(ProblemID, "the id in the client certificate %s: no document can be written for it", problem)
	}
	return named[0], nil
}

// identities are the values of what the rule names: of a safe certificate, one.
func identities(leaf pki.Certificate, rule v1alpha1.Identity) []string {
	parsed := leaf.X509()
	switch rule {
	case v1alpha1.IdentitySubjectCommonName:
		return attributes(leaf, oidCommonName)
	case v1alpha1.IdentitySubjectSerialNumber:
		return attributes(leaf, oidSerialNumber)
	case v1alpha1.IdentityDNSName:
		return parsed.DNSNames
	case v1alpha1.IdentityURI:
		var uris []string
		for _, uri := range parsed.URIs {
			uris = append(uris, uri.String())
		}
		return uris
	case v1alpha1.IdentityFingerprint:
		return []string{leaf.Fingerprint().String()}
	}
	return nil
}

// attributes are the values of one type in a subject: the parser keeps but the last.
func attributes(leaf pki.Certificate, kind []int) []string {
	var values []string
	for _, attribute := range leaf.X509().Subject.Names {
		if slices.Equal(attribute.Type, kind) {
			values = append(values, fmt.Sprint(attribute.Value))
		}
	}
	return values
}
