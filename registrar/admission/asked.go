package admission

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
)

var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}

	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// asks refuses a request that asks for anything but what the group derives.
func (r Request) asks(derived Derived) *Refusal {
	if names := r.parsed.Subject.Names; len(names) != 1 || !names[0].Type.Equal(oidCommonName) || names[0].Value != any(derived.CommonName) {
		return forbid(ProblemNames, "the CSR's subject is not exactly CN=%s: make one with that subject alone", derived.CommonName)
	}
	if !r.hasExtension(oidSubjectAltName) && len(derived.DNSNames) > 0 {
		return wrongNames(derived)
	}
	asksUsages := r.hasExtension(oidKeyUsage) || r.hasExtension(oidExtendedKeyUsage)
	var asked Derived
	for _, extension := range r.parsed.Extensions {
		if refusal := asked.read(extension, derived); refusal != nil {
			return refusal
		}
	}
	slices.Sort(asked.extended)
	if asksUsages && (asked.keyUsage != derived.keyUsage || !slices.Equal(asked.extended, derived.extended)) {
		return forbid(ProblemNames, "the CSR asks for other usages than the group's: leave key usage and extended key usage out, the group says what they are")
	}
	return nil
}

func (r Request) hasExtension(id asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(r.parsed.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
}

func wrongNames(derived Derived) *Refusal {
	if len(derived.DNSNames) == 0 {
		return forbid(ProblemNames, "the CSR asks for subject alternative names, and the group derives none: leave them out")
	}
	return forbid(ProblemNames, "the CSR's subject alternative names are not exactly %s: make one that asks for these DNS names and no others", strings.Join(derived.DNSNames, ", "))
}

// read one extension that is asked for, and refuse what the group does not derive.
func (asked *Derived) read(extension pkix.Extension, derived Derived) *Refusal {
	switch id := extension.Id; {
	case id.Equal(oidSubjectAltName):
		names, err := dnsNames(extension.Value)
		if err != nil || !slices.Equal(names, derived.DNSNames) {
			return wrongNames(derived)
		}
	case id.Equal(oidBasicConstraints):
		if !isNoCA(extension.Value) {
			return forbid(ProblemNames, "the CSR asks for the certificate of a CA: leave the basic constraints out")
		}
	case id.Equal(oidKeyUsage):
		var bits asn1.BitString
		if rest, err := asn1.Unmarshal(extension.Value, &bits); err != nil || len(rest) > 0 {
			return malformed(ProblemRequest, "the key usage of the CSR cannot be read: leave it out")
		}
		asked.keyUsage = usageBits(bits)
	case id.Equal(oidExtendedKeyUsage):
		var ids []asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(extension.Value, &ids); err != nil || len(rest) > 0 {
			return malformed(ProblemRequest, "the extended key usage of the CSR cannot be read: leave it out")
		}
		for _, id := range ids {
			asked.extended = append(asked.extended, id.String())
		}
	case id.Equal(oidSubjectKeyID): // the issuer's to say: it is not copied
	default:
		return forbid(ProblemNames, "the CSR asks for the extension %s, which the group does not derive: leave it out", id)
	}
	return nil
}

func usageBits(bits asn1.BitString) int {
	usage := 0
	for i := range min(bits.BitLength, 16) {
		usage |= bits.At(i) << i
	}
	return usage
}

// isNoCA reads basic constraints (RFC 5280, section 4.2.1.9) that say CA:FALSE.
func isNoCA(value []byte) bool {
	var constraints struct {
		IsCA    bool `asn1:"optional"`
		PathLen int  `asn1:"optional,default:-1"`
	}
	rest, err := asn1.Unmarshal(value, &constraints)
	return err == nil && len(rest) == 0 && !constraints.IsCA && constraints.PathLen == -1
}

// tagDNSName of a GeneralName (RFC 5280, section 4.2.1.6).
const tagDNSName = 2

// dnsNames reads subject alternative names that are DNS names, all of them, sorted.
func dnsNames(value []byte) ([]string, error) {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(value, &names); err != nil || len(rest) > 0 {
		return nil, errNotDNSNames
	}
	var read []string
	for _, name := range names {
		if name.Class != asn1.ClassContextSpecific || name.Tag != tagDNSName || name.IsCompound {
			return nil, errNotDNSNames
		}
		read = append(read, string(name.Bytes))
	}
	slices.Sort(read)
	return read, nil
}

var errNotDNSNames = asn1.StructuralError{Msg: "the subject alternative names are not DNS names alone"}
