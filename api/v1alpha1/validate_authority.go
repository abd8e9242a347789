package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The bounds of what an authority may ask for.
const (
	// minDuration is the shortest certificate that cert-manager's webhook takes.
	minDuration = time.Hour
	// maxAttribute is the upper bound of a common name, an organization and an
	// organizational unit (RFC 5280, appendix A.1), in bytes as cert-manager counts.
	maxAttribute = 64
	// minRSASize and maxRSASize are cert-manager's.
	minRSASize, maxRSASize = 2048, 8192
	// minCanaryInterval is the shortest: a canary takes a few seconds to come back.
	minCanaryInterval = 10 * time.Second
	// prudentSkew is what clocks are off by in practice; below it, validate warns.
	prudentSkew = 5 * time.Minute
)

// selfSigned is the end of the name of the issuer that signs a root's certificates
// with their own keys, "<authority>-self-signed".
const selfSigned = "self-signed"

func (v *validator) authority(document Document, authority *Authority) {
	v.authorityName(document, authority)
	v.keys(document, authority)
	v.given(document, authority)
	v.rollover(document, authority.Spec.Rollover)
	v.waivers(document, authority.Spec)
	if authority.makesKeys() {
		v.subject(document, authority.Spec.Subject)
		v.privateKey(document, authority.Spec.PrivateKey)
		v.duration(document, authority.Spec)
	}
}

func (v *validator) authorityName(document Document, authority *Authority) {
	meta := authority.Metadata
	if meta.Namespace == "" {
		v.refuse(document, "metadata.namespace", "is missing: it holds the Secrets of the authority's keys")
	}
	if earlier, taken := v.authorities[meta.Name]; taken {
		v.refuse(document, "metadata.name", "Authority %s is declared already (%s:%d): "+
			"other documents refer to it by its name alone, so that names must differ even between namespaces",
			meta.Name, earlier.File, max(earlier.Line, 1))
		return
	}
	v.authorities[meta.Name] = document
	if authority.Spec.IssuedBy == nil {
		v.claim(document, "metadata.name", issuerName(authority, selfSigned), "the self-signed issuer of Authority "+meta.Name)
	}
}

func issuerName(authority *Authority, pair string) string {
	return "Issuer " + authority.Metadata.Namespace + "/" + authority.Metadata.Name + "-" + pair
}

func (v *validator) subject(document Document, subject Subject) {
	if subject.CommonName == "" {
		v.refuse(document, "spec.subject.commonName", "is missing: name the authority, the name of each key that is made here is appended")
	}
	v.attributes(document, "spec.subject.organizations", subject.Organizations)
	v.attributes(document, "spec.subject.organizationalUnits", subject.OrganizationalUnits)
	for i, country := range subject.Countries {
		if !isCountry.MatchString(country) {
			v.refuse(document, fmt.Sprintf("spec.subject.countries[%d]", i), "%s is not a country: write the two letters of ISO 3166", quote(country))
		}
	}
}

var isCountry = regexp.MustCompile(`^[A-Z]{2}$`)

func (v *validator) attributes(document Document, field string, values []string) {
	for i, value := range values {
		if value == "" || len(value) > maxAttribute {
			v.refuse(document, fmt.Sprintf("%s[%d]", field, i), "has %d bytes: want 1 to %d", len(value), maxAttribute)
		}
	}
}

func (v *validator) privateKey(document Document, key PrivateKey) {
	const field = "spec.privateKey.size"
	switch key.Algorithm {
	case ECDSA:
		if !slices.Contains([]int{256, 384, 521}, key.Size) {
			v.refuse(document, field, "%d is no size of an ECDSA key: write 256, 384 or 521", key.Size)
		}
	case RSA:
		if key.Size < minRSASize || key.Size > maxRSASize {
			v.refuse(document, field, "%d is no size of an RSA key: write %d to %d", key.Size, minRSASize, maxRSASize)
		}
	case Ed25519:
		if key.Size != 0 {
			v.refuse(document, field, "an Ed25519 key has no size to choose: take it out")
		}
	}
}

func (v *validator) keys(document Document, authority *Authority) {
	var signing []string
	listed := map[string]bool{}
	for i, key := range authority.Spec.Keys {
		field := fmt.Sprintf("spec.keys[%d]", i)
		if listed[key.Name] {
			v.refuse(document, field+".name", "key %s stands twice: a key's name is used once and never again", key.Name)
			continue
		}
		listed[key.Name] = true
		if !isKeyName(key.Name) {
			v.refuse(document, field+".name", "%s is not the name of a key: use at most 63 lower-case letters, digits and '-', "+
				"with a letter or a digit at both ends", quote(key.Name))
		}
		if key.State == KeySigning {
			signing = append(signing, key.Name)
		}
	}
	switch {
	case len(signing) == 0 && !authority.Leaving():
		v.refuse(document, "spec.keys", "no key is Signing: exactly one must be, or every key Retired for an authority that goes")
	case len(signing) > 1:
		v.refuse(document, "spec.keys", "the keys %s are all Signing: exactly one must be, make the others Trusted or Retired", list(signing, "and"))
	}
	if compromised := authority.compromised(); len(compromised) > 0 && authority.Spec.Rollover.Paused {
		v.refuse(document, "spec.rollover.paused", "holds up the emergency of %s: take it out", list(compromised, "and"))
	}
}

// compromised are the names of the keys that somebody else may sign with.
func (a *Authority) compromised() []string {
	var names []string
	for _, key := range a.Spec.Keys {
		if key.State == KeyCompromised {
			names = append(names, key.Name)
		}
	}
	return names
}

func isKeyName(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// duration of keys that are made here.
func (v *validator) duration(document Document, spec AuthoritySpec) {
	duration, soak, skew := spec.Duration.Duration, spec.Rollover.Soak.Duration, spec.Rollover.Skew.Duration
	switch {
	case duration < minDuration:
		v.refuse(document, "spec.duration", "%s is shorter than the %s that cert-manager issues at least", duration, minDuration)
	case soak >= duration || skew >= duration || soak+skew >= duration:
		v.refuse(document, "spec.duration", "a key that lives %s expires before soak (%s) and skew (%s) let it sign", duration, soak, skew)
	}
}

// waivers name devices, and a key that goes.
func (v *validator) waivers(document Document, spec AuthoritySpec) {
	for i, waiver := range spec.Rollover.Waivers {
		field := fmt.Sprintf("spec.rollover.waivers[%d]", i)
		at := slices.IndexFunc(spec.Keys, func(k AuthorityKey) bool { return k.Name == waiver.Key })
		switch {
		case at < 0:
			v.refuse(document, field+".key", "%s is none of the keys: name one that goes", quote(waiver.Key))
		case !spec.Keys[at].State.Goes():
			v.warn(document, field+".key", "key %s is %s, so that nothing is waived: take it out, or let the key go", waiver.Key, spec.Keys[at].State)
		}
		if strings.TrimSpace(waiver.Reason) == "" {
			v.refuse(document, field+".reason", "is missing: say why nobody needs to wait for these devices")
		}
		if len(waiver.Devices) == 0 {
			v.refuse(document, field+".devices", "names no device: write group/name")
		}
		for j, device := range waiver.Devices {
			if group, name, both := strings.Cut(device, "/"); !both || group == "" || name == "" {
				v.refuse(document, fmt.Sprintf("%s.devices[%d]", field, j), "%s is not a device: write group/name", quote(device))
			}
		}
	}
}

func (v *validator) rollover(document Document, rollover Rollover) {
	if wait := rollover.WaitForOffline.Duration; wait < 0 {
		v.refuse(document, "spec.rollover.waitForOffline", "%s is negative", wait)
	}
	switch soak := rollover.Soak.Duration; {
	case soak < 0:
		v.refuse(document, "spec.rollover.soak", "%s is negative", soak)
	case soak == 0:
		v.warn(document, "spec.rollover.soak", "without a soak, signing moves the moment that distribution is seen complete")
	}
	switch skew := rollover.Skew.Duration; {
	case skew < 0:
		v.refuse(document, "spec.rollover.skew", "%s is negative", skew)
	case skew < prudentSkew:
		v.warn(document, "spec.rollover.skew", "%s is below %s: verifiers whose clocks are behind may refuse a new certificate", skew, prudentSkew)
	}
	v.waves(document, rollover.Waves)
	v.windows(document, rollover.Windows)
	if interval := rollover.CanaryInterval.Duration; interval < minCanaryInterval {
		v.refuse(document, "spec.rollover.canaryInterval", "%s is shorter than %s: every issuer of the authority is sent a canary that often", interval, minCanaryInterval)
	}
}
