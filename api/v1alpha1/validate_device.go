package v1alpha1

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/pki"
)

// floor is below what a device's certificate is refused.
type floor struct {
	duration, renewBefore time.Duration
	// whose they are.
	whose string
}

// floors by who makes the key. What cert-manager makes is a Certificate, of which its
// webhook asks more than of the CertificateRequest that a device's own CSR becomes. That is
// renewed by the turns of a domain, at the interval of which a renewal may be late.
var floors = map[DeviceKeys]floor{
	KeysCluster: {minDuration, 5 * time.Minute, "cert-manager takes at least where it makes the key"},
	KeysDevice:  {time.Minute, 20 * time.Second, "a device needs at least to come by for the next"},
}

// estOperations are the names of EST's own paths, which no label may have (RFC 7030,
// section 3.2.2).
var estOperations = []string{"cacerts", "csrattrs", "fullcmc", "serverkeygen", "simpleenroll", "simplereenroll"}

func (v *validator) group(document Document, group *DeviceGroup) {
	name, spec := group.Metadata.Name, group.Spec
	if _, taken := v.groups[name]; !taken {
		v.groups[name] = group
	}
	if slices.Contains(estOperations, name) {
		v.refuse(document, "metadata.name", "%s is the name of an operation of EST, and the group's is a label beside those: choose another name", name)
	}
	if len(validation.IsDNS1123Subdomain(spec.Issuer.Name)) > 0 {
		v.refuse(document, "spec.issuer.name", "%s is not the name of an issuer: write that of the %s that signs", quote(spec.Issuer.Name), spec.Issuer.Kind)
	}
	if len(validation.IsDNS1123Label(spec.Namespace)) > 0 {
		v.refuse(document, "spec.namespace", "%s is not the name of a namespace: write the one that holds the devices' certificates", quote(spec.Namespace))
	}
	if spec.Recovery.Quota < 0 {
		v.refuse(document, "spec.recovery.quota", "%d is negative: write 0 if no device may come back with a new key", spec.Recovery.Quota)
	}
	if accept := spec.Recovery.AcceptExpired; accept != nil && accept.Duration < 0 {
		v.refuse(document, "spec.recovery.acceptExpired", "%s is negative: take it out if no certificate that has ended is to be accepted", accept.Duration)
	}
	v.bootstrap(document, spec.Bootstrap.Certificates)
	v.allow(document, spec)
	v.deviceDurations(document, spec)
	v.deviceNames(document, spec.Certificate.DNSNames)
	v.deviceUsages(document, spec.Certificate.Usages)
}

// bootstrap checks the CAs of factory certificates. They need no subject key identifier
// and no self-signature: they are trusted as they stand.
func (v *validator) bootstrap(document Document, text string) {
	const field = "spec.bootstrap.certificates"
	certificates, err := pki.ParsePEM([]byte(text))
	if err != nil {
		v.refuse(document, field, "%s", pemProblem(text, err))
		return
	}
	for i, certificate := range certificates {
		if !certificate.IsCA() {
			v.refuse(document, field, "%s%s is not the certificate of a CA (its basic constraints do not say CA:TRUE): give the CAs that sign factory certificates",
				ordinal(i, len(certificates)), quote(certificate.Subject()))
		}
	}
}

func (v *validator) allow(document Document, spec DeviceGroupSpec) {
	const field = "spec.allow"
	switch {
	case spec.Approval == ApprovalAllowList && len(spec.Allow) == 0:
		v.refuse(document, field, "is missing: approval AllowList admits the ids that it lists, so list them, or patterns such as sensor-*")
	case spec.Approval != ApprovalAllowList && len(spec.Allow) > 0:
		v.refuse(document, field, "is for approval AllowList, and approval is %s: write approval: AllowList, or take it out", spec.Approval)
	}
	for i, pattern := range spec.Allow {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			v.refuse(document, fmt.Sprintf("%s[%d]", field, i), "%s is neither an id nor a pattern of ids: use * for any characters, ? for one, [a-z] for one of some", quote(pattern))
		}
	}
}

func (v *validator) deviceDurations(document Document, spec DeviceGroupSpec) {
	duration, renewBefore := spec.Certificate.Duration.Duration, spec.Certificate.RenewBefore.Duration
	switch least := floors[spec.Keys]; {
	case duration < least.duration:
		v.refuse(document, "spec.certificate.duration", "%s is shorter than the %s that %s: lengthen it", duration, least.duration, least.whose)
	case renewBefore >= duration:
		v.refuse(document, "spec.certificate.renewBefore", "%s is not shorter than the duration of %s, so that a certificate would be renewed at once and for ever: shorten it", renewBefore, duration)
	case renewBefore < least.renewBefore:
		v.refuse(document, "spec.certificate.renewBefore", "%s is shorter than the %s that %s: lengthen it", renewBefore, least.renewBefore, least.whose)
	}
}

var deviceID = regexp.MustCompile(`\{\{-?\s*\.ID\s*-?\}\}`)

// deviceNames checks the names with an id put in, which is one letter long.
func (v *validator) deviceNames(document Document, names []string) {
	for i, template := range names {
		field := fmt.Sprintf("spec.certificate.dnsNames[%d]", i)
		name := deviceID.ReplaceAllString(template, "x")
		switch {
		case strings.ContainsAny(name, "{}"):
			v.refuse(document, field, "%s has something other than {{ .ID }} in braces: the device's id is all that a name is made of", quote(template))
		case len(validation.IsDNS1123Subdomain(strings.ToLower(name))) > 0 && len(validation.IsWildcardDNS1123Subdomain(strings.ToLower(name))) > 0:
			v.refuse(document, field, "%s is not a DNS name, whatever the device's id: write one such as {{ .ID }}.sensors.example", quote(template))
		}
	}
}

func (v *validator) deviceUsages(document Document, usages []string) {
	seen := map[string]bool{}
	for i, usage := range usages {
		field := fmt.Sprintf("spec.certificate.usages[%d]", i)
		switch {
		case !slices.Contains(keyUsages, usage):
			v.refuse(document, field, "%s is not a usage that cert-manager knows: write %s%s", quote(usage), oneOf(keyUsages), didYouMean(usage, keyUsages))
		case seen[usage]:
			v.refuse(document, field, "%s stands twice: take one out", usage)
		}
		seen[usage] = true
	}
}

// keyUsages are those of a device's certificate, in cert-manager's words: all that it knows
// but those of a CA, and "any".
var keyUsages = []string{
	string(certmanagerv1.UsageClientAuth), string(certmanagerv1.UsageServerAuth),
	string(certmanagerv1.UsageDigitalSignature), string(certmanagerv1.UsageKeyEncipherment),
	string(certmanagerv1.UsageKeyAgreement), string(certmanagerv1.UsageDataEncipherment),
	string(certmanagerv1.UsageContentCommitment), string(certmanagerv1.UsageEncipherOnly),
	string(certmanagerv1.UsageDecipherOnly), string(certmanagerv1.UsageCodeSigning),
	string(certmanagerv1.UsageEmailProtection), string(certmanagerv1.UsageSMIME),
	string(certmanagerv1.UsageIPsecEndSystem), string(certmanagerv1.UsageIPsecTunnel),
	string(certmanagerv1.UsageIPsecUser), string(certmanagerv1.UsageTimestamping),
	string(certmanagerv1.UsageOCSPSigning),
}

// ValidateDevice checks the document of a device for itself and against its group, one of
// those that the domain declares, by their names.
func ValidateDevice(document Document, groups map[string]*DeviceGroup) ErrorList {
	device, isDevice := document.Object.(*Device)
	if !isDevice {
		return ErrorList{document.problem("kind", "%s is declared where a Device is expected: list it in the kustomization", document.Object.kind())}
	}
	v := &validator{groups: groups} // a device claims nothing, so that the maps for that are not made for each of a fleet
	v.metadata(document)
	v.enforced(document)
	v.device(document, device)
	return v.errors.sorted()
}

// device checks a device against its group.
func (v *validator) device(document Document, device *Device) {
	spec := device.Spec
	group, found := v.groups[spec.Group]
	if !found {
		v.refuse(document, "spec.group", "there is no DeviceGroup %s: declare it, or name another%s", quote(spec.Group), hint(v, spec.Group, v.groups))
	}
	switch {
	case spec.Request != "":
		v.request(document, spec.Request)
	case found && group.Spec.Keys == KeysDevice && spec.State == DeviceActive:
		v.refuse(document, "spec.request", "is missing: in group %s a device makes its own key, so give its certificate signing request in PEM", spec.Group)
	}
	if spec.Request != "" && found && group.Spec.Keys == KeysCluster {
		v.refuse(document, "spec.request", "is for a device that makes its own key, and in group %s cert-manager does: take it out", spec.Group)
	}
	if spec.Recoveries < 0 {
		v.refuse(document, "spec.recoveries", "%d is negative: write 0 to let the device come back as often as its group's quota says", spec.Recoveries)
	}
	v.superseded(document, spec.Superseded)
	if last := len(spec.Superseded) - 1; spec.Rekeyed != "" && (last < 0 || spec.Superseded[last] != spec.Rekeyed) {
		v.refuse(document, "spec.rekeyed", "%s is not the last of spec.superseded: take it out", quote(spec.Rekeyed))
	}
	if found {
		v.deviceCase(document, device.Metadata.Name, group.Spec.Certificate.DNSNames)
	}
}

// deviceCase refuses an id that is not its own lower case where a DNS name is made of it:
// such names are alike whatever their case (RFC 4343), and so two devices would have one.
func (v *validator) deviceCase(document Document, id string, names []string) {
	if lower := strings.ToLower(id); lower != id && slices.ContainsFunc(names, deviceID.MatchString) {
		v.refuse(document, "metadata.name", "%s has upper-case letters, and its group makes a DNS name of it, which has no case (RFC 4343): write %s, or declare the device in a group whose dnsNames do without {{ .ID }}", quote(id), quote(lower))
	}
}

var supersededKey = regexp.MustCompile(`^` + SupersededPrefix + `[0-9a-f]{64}$`)

// superseded checks the keys that a device had before. That its present one is not among them,
// isSuperseded checks.
func (v *validator) superseded(document Document, keys []string) {
	seen := map[string]bool{}
	for i, key := range keys {
		field := fmt.Sprintf("spec.superseded[%d]", i)
		switch {
		case !supersededKey.MatchString(key):
			v.refuse(document, field, "%s is not the SHA-256 of a key: write %s and 64 lower-case hex digits", quote(key), SupersededPrefix)
		case seen[key]:
			v.refuse(document, field, "%s stands twice: take one out", key)
		}
		seen[key] = true
	}
}

const requestBlock = "CERTIFICATE REQUEST"

// request checks a certificate signing request (RFC 2986): one PEM block, signed by the key
// that it is for.
func (v *validator) request(document Document, text string) {
	const field = "spec.request"
	block, rest := pem.Decode([]byte(text))
	switch {
	case holdsPrivateKey(text):
		v.refuse(document, field, "%s", privateKeyFound)
		return
	case block == nil || block.Type != requestBlock || strings.Contains(string(rest), "-----BEGIN"):
		v.refuse(document, field, "is not one PEM block of type %s: give the device's certificate signing request alone", requestBlock)
		return
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	switch {
	case err != nil:
		v.refuse(document, field, "cannot be read (%s): have the device make another", err)
	case request.CheckSignature() != nil:
		v.refuse(document, field, "is not signed by the key that it is for (%s): have the device make another", request.CheckSignature())
	default:
		v.isSuperseded(document, request)
	}
}

// isSuperseded refuses a request for a key that the device had before.
func (v *validator) isSuperseded(document Document, request *x509.CertificateRequest) {
	device, isDevice := document.Object.(*Device)
	key := fmt.Sprintf("%s%x", SupersededPrefix, sha256.Sum256(request.RawSubjectPublicKeyInfo))
	if isDevice && slices.Contains(device.Spec.Superseded, key) {
		v.refuse(document, "spec.request", "is for a key that stands in spec.superseded (%s): have the device make a new one", key)
	}
}
