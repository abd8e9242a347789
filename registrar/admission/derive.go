package admission

import (
	"encoding/asn1"
	"regexp"
	"slices"
	"strings"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Derived is what the certificate of a device says, as its group derives it from its id.
type Derived struct {
	// CommonName is the whole subject.
	CommonName string
	// DNSNames are all the SANs, sorted.
	DNSNames []string
	// keyUsage are the bits of RFC 5280, section 4.2.1.3, and extended the OIDs of section
	// 4.2.1.12, sorted.
	keyUsage int
	extended []string
}

var deviceID = regexp.MustCompile(`\{\{-?\s*\.ID\s*-?\}\}`)

// Derive is what the certificate of a group's device says. DNS names do not tell capitals from
// small letters (RFC 4343), so that an id which they are made of is in small ones: two devices
// would have one name otherwise.
func Derive(certificate v1alpha1.DeviceCertificate, id string) (Derived, *Refusal) {
	derived := Derived{CommonName: id}
	if len(certificate.DNSNames) > 0 && id != strings.ToLower(id) {
		return Derived{}, malformed(ProblemID, "the id in the client certificate has capitals, and the group makes DNS names of ids, which do not tell them from small letters: give the device a certificate with a small id, or register it in a group without dnsNames")
	}
	for _, template := range certificate.DNSNames {
		name := deviceID.ReplaceAllLiteralString(template, id)
		lower := strings.ToLower(name) // the template's own part
		if len(validation.IsDNS1123Subdomain(lower)) > 0 && len(validation.IsWildcardDNS1123Subdomain(lower)) > 0 {
			return Derived{}, malformed(ProblemID, "the id in the client certificate makes no DNS name of the group's %q: register it in a group whose names it fits", template)
		}
		derived.DNSNames = append(derived.DNSNames, name)
	}
	slices.Sort(derived.DNSNames)
	derived.DNSNames = slices.Compact(derived.DNSNames)
	derived.keyUsage, derived.extended = usagesOf(certificate.Usages)
	return derived, nil
}

// namesOf a certificate that a device got here, with the usages that its group has now.
func namesOf(certificate pki.Certificate, group v1alpha1.DeviceCertificate) Derived {
	derived := Derived{CommonName: certificate.X509().Subject.CommonName, DNSNames: slices.Sorted(slices.Values(certificate.X509().DNSNames))}
	derived.keyUsage, derived.extended = usagesOf(group.Usages)
	return derived
}

// keyUsageBits are the usages that cert-manager puts into the key usage extension, by the
// number of their bit.
var keyUsageBits = map[certmanagerv1.KeyUsage]int{
	certmanagerv1.UsageSigning: 0, certmanagerv1.UsageDigitalSignature: 0,
	certmanagerv1.UsageContentCommitment: 1, certmanagerv1.UsageKeyEncipherment: 2,
	certmanagerv1.UsageDataEncipherment: 3, certmanagerv1.UsageKeyAgreement: 4,
	certmanagerv1.UsageEncipherOnly: 7, certmanagerv1.UsageDecipherOnly: 8,
}

// extendedUsages are those that it puts into the extended key usage extension.
var extendedUsages = map[certmanagerv1.KeyUsage]asn1.ObjectIdentifier{
	certmanagerv1.UsageServerAuth:      {1, 3, 6, 1, 5, 5, 7, 3, 1},
	certmanagerv1.UsageClientAuth:      {1, 3, 6, 1, 5, 5, 7, 3, 2},
	certmanagerv1.UsageCodeSigning:     {1, 3, 6, 1, 5, 5, 7, 3, 3},
	certmanagerv1.UsageEmailProtection: {1, 3, 6, 1, 5, 5, 7, 3, 4},
	certmanagerv1.UsageSMIME:           {1, 3, 6, 1, 5, 5, 7, 3, 4},
	certmanagerv1.UsageIPsecEndSystem:  {1, 3, 6, 1, 5, 5, 7, 3, 5},
	certmanagerv1.UsageIPsecTunnel:     {1, 3, 6, 1, 5, 5, 7, 3, 6},
	certmanagerv1.UsageIPsecUser:       {1, 3, 6, 1, 5, 5, 7, 3, 7},
	certmanagerv1.UsageTimestamping:    {1, 3, 6, 1, 5, 5, 7, 3, 8},
	certmanagerv1.UsageOCSPSigning:     {1, 3, 6, 1, 5, 5, 7, 3, 9},
}

// usagesOf are the group's usages as they stand in a certificate.
func usagesOf(names []string) (keyUsage int, extended []string) {
	for _, name := range names {
		if bit, is := keyUsageBits[certmanagerv1.KeyUsage(name)]; is {
			keyUsage |= 1 << bit
		}
		if oid, is := extendedUsages[certmanagerv1.KeyUsage(name)]; is {
			extended = append(extended, oid.String())
		}
	}
	slices.Sort(extended)
	return keyUsage, slices.Compact(extended)
}
