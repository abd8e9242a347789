package admission

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// idOf is the id of the device that a factory certificate is for.
func idOf(leaf pki.Certificate, rule v1alpha1.Identity) (string, *Refusal) {
	named := identities(leaf, rule)
	if len(named) != 1 || named[0] == "" {
		return "", forbid(ProblemIdentity, "the client certificate has %d of %s, and the group takes its one as the device's id: show the factory certificate that has it", len(named), rule)
	}
	if problem := unsafe(named[0]); problem != "" {
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

// maxID is how many bytes an id has at most.
const maxID = 253

// unsafe says what keeps an id from being written down; empty: nothing does. Ids are chosen
// by factories, or by whoever holds a factory's CA.
func unsafe(id string) string {
	switch {
	case len(id) > maxID:
		return fmt.Sprintf("has %d bytes, and %d are the most", len(id), maxID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has a character that does not print: a line break, a tab, or one that turns the direction of the text"
	case strings.TrimSpace(id) != id:
		return "begins or ends with a space"
	case slices.ContainsFunc(strings.FieldsFunc(id, isSeparator), func(part string) bool { return part == "." || part == ".." }):
		return "leads elsewhere when it is taken for a path"
	case strings.ContainsAny(id, "{}[]|>\"`\\") || strings.ContainsAny(id[:1], "-?:,#&*!%@'") || strings.Contains(id, ": ") || strings.Contains(id, " #") || strings.HasSuffix(id, ":"):
		return "is written as YAML"
	}
	return ""
}

func isSeparator(r rune) bool { return r == '/' || r == '\\' }
