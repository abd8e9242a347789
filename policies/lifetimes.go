package policies

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// defaultLeafDuration is what cert-manager gives a Certificate that asks for
// nothing.
const defaultLeafDuration = 2160 * time.Hour

// longLived are the Certificates, of leaves and of intermediates, that ask for more
// life than the CA that signs them has: cert-manager signs past the CA's own end and
// calls it Ready, and from that end on no verifier accepts what it signed.
func longLived(target planner.Target, manifests []*unstructured.Unstructured) []Violation {
	signers := signersOf(target)
	var violations []Violation
	planned := map[id]bool{}
	for _, key := range target.Keys {
		object := certificateID(keyRef(key))
		planned[object] = key.Certificate
		if ca, known := signers[signerOf(key)]; known && key.Certificate {
			violations = append(violations, outlives(object, key.Spec.Duration, ca)...)
		}
	}
	for _, manifest := range manifests {
		object := idOf(manifest)
		if object.group != certManager || object.kind != certificate || planned[object] {
			continue
		}
		if ca, known := signers[issuerOf(manifest)]; known {
			violations = append(violations, longLivedLeaf(object, manifest, ca)...)
		}
	}
	return violations
}

// signersOf are the CA keys by the planned issuers that sign with them, their own and
// those that are bound to them.
func signersOf(target planner.Target) map[id]planner.TargetKey {
	keys, signers := map[planner.Ref]planner.TargetKey{}, map[id]planner.TargetKey{}
	for _, key := range target.Keys {
		if key.Spec.Duration == 0 {
			continue
		}
		keys[keyRef(key)], signers[issuerID(keyRef(key))] = key, key
		for _, internal := range internalIssuers(key) {
			signers[internal] = key
		}
	}
	for _, issuer := range target.Issuers {
		bound := planner.TargetKey{Authority: issuer.Authority, Name: issuer.Key}
		if key, known := keys[keyRef(bound)]; known {
			signers[issuerID(issuer.Ref)] = key
		}
	}
	return signers
}

// issuerOf is the issuer that a Certificate refers to, with cert-manager's
// defaults.
func issuerOf(manifest *unstructured.Unstructured) id {
	reference := func(field, absent string) string {
		if value := text(manifest, "spec", "issuerRef", field); value != "" {
			return value
		}
		return absent
	}
	found := id{reference("group", certManager), reference("kind", issuer), planner.Ref{Name: reference("name", "")}}
	if found.kind == issuer {
		found.Namespace = manifest.GetNamespace()
	}
	return found
}

func longLivedLeaf(object id, manifest *unstructured.Unstructured, ca planner.TargetKey) []Violation {
	duration, err := leafDuration(manifest)
	if err != nil {
		return []Violation{{
			Rule: RuleCAOutlivesLeaves, Severity: Deny, Subject: object.String(), Message: err.Error(),
			Mend: "write it in hours, such as 2160h",
		}}
	}
	return outlives(object, duration, ca)
}

func outlives(object id, duration time.Duration, ca planner.TargetKey) []Violation {
	violation := Violation{Rule: RuleCAOutlivesLeaves, Severity: Deny, Subject: object.String()}
	signer := fmt.Sprintf("the CA key %s of %s", ca.Name, ca.Authority)
	switch {
	case duration > ca.Spec.Duration:
		violation.Message = fmt.Sprintf("asks for %s, and %s that signs it lives %s", hours(duration), signer, hours(ca.Spec.Duration))
		violation.Mend = fmt.Sprintf("shorten spec.duration, or give the next key of %s a longer one", ca.Authority)
	case duration == ca.Spec.Duration:
		violation.Severity = Warn
		violation.Message = fmt.Sprintf("asks for %s, as long as %s lives: what is signed later than the CA outlives it", hours(duration), signer)
		violation.Mend = "shorten spec.duration"
	default:
		return nil
	}
	return []Violation{violation}
}

func leafDuration(manifest *unstructured.Unstructured) (time.Duration, error) {
	value, found, err := unstructured.NestedFieldNoCopy(manifest.Object, "spec", "duration")
	if err != nil || !found || value == nil {
		return defaultLeafDuration, nil
	}
	duration, ok := durationOf(value)
	if !ok {
		return 0, fmt.Errorf("spec.duration is not a duration")
	}
	return duration, nil
}

// hours writes a duration as cert-manager's users do: 2160h, not 2160h0m0s.
func hours(duration time.Duration) string {
	if duration%time.Hour == 0 {
		return fmt.Sprintf("%dh", duration/time.Hour)
	}
	return duration.String()
}

// outliving are the Certificates and the device groups whose leaves would outlive their CA.
func outliving(s *scene) []Violation {
	violations := longLived(s.Plan.Target, s.Manifests)
	signers := signersOf(s.Plan.Target)
	for _, group := range s.groups {
		if ca, known := signers[groupIssuer(group)]; known {
			asked := id{v1alpha1.GroupVersion.Group, v1alpha1.KindDeviceGroup, planner.Ref{Name: group.Metadata.Name}}
			violations = append(violations, outlives(asked, group.Spec.Certificate.Duration.Duration, ca)...)
		}
	}
	return violations
}

// The longest that certificates should live.
const (
	// maxLeaf is what browsers took of a server at most, until 2026 (CA/Browser Forum
	// Baseline Requirements, section 6.3.2); longer is hardly ever replaced in time.
	maxLeaf = 398 * 24 * time.Hour
	// maxCA is 30 years.
	maxCA = 30 * 8766 * time.Hour
)

func longLivedLeaves(s *scene) []Violation {
	var violations []Violation
	warn := func(subject string, duration time.Duration) {
		if duration > maxLeaf {
			violations = append(violations, Violation{
				Rule: RuleLeafLifetime, Severity: Warn, Subject: subject,
				Message: fmt.Sprintf("asks for %s, and a leaf should live %s (398 days) at most", hours(duration), hours(maxLeaf)),
				Mend:    "shorten the duration: renewal costs nothing here",
			})
		}
	}
	for _, manifest := range s.leaves {
		duration, err := leafDuration(manifest)
		if isCA, _, _ := unstructured.NestedBool(manifest.Object, "spec", "isCA"); err == nil && !isCA {
			warn(idOf(manifest).String(), duration)
		}
	}
	for _, group := range s.groups {
		warn(named(group), group.Spec.Certificate.Duration.Duration)
	}
	return violations
}

func longLivedCAs(s *scene) []Violation {
	var violations []Violation
	warn := func(authority *v1alpha1.Authority, what string, life time.Duration) {
		if life > maxCA {
			violations = append(violations, Violation{
				Rule: RuleCALifetime, Severity: Warn, Subject: named(authority),
				Message: fmt.Sprintf("%s lives %s, and a CA should live %s (30 years) at most", what, hours(life), hours(maxCA)),
				Mend:    "shorten it: a new key is two lines in a commit",
			})
		}
	}
	for _, authority := range s.authorities {
		if duration := authority.Spec.Duration; duration != nil {
			warn(authority, "a key", duration.Duration)
		}
		for _, ca := range s.certificatesOf(authority.Metadata.Name) {
			if ca.given {
				warn(authority, "the key "+ca.key, ca.certificate.NotAfter().Sub(ca.certificate.NotBefore()))
			}
		}
	}
	return violations
}

// shortOverlaps are the keys that give way and end before the rollover can be over: until
// then their leaves, and the clients that know nothing else, hang on them.
func shortOverlaps(s *scene) []Violation {
	var violations []Violation
	for _, authority := range s.authorities {
		if usedKeys(authority) < 2 {
			continue
		}
		need := s.rolloverTime(authority.Spec.Rollover)
		for _, ca := range s.certificatesOf(authority.Metadata.Name) {
			left := ca.certificate.NotAfter().Sub(s.Now)
			if name, _ := v1alpha1.SplitKey(ca.key); name == signingKey(authority) || left >= need || left <= 0 {
				continue
			}
			violations = append(violations, Violation{
				Rule: RuleOverlapTooShort, Severity: Warn, Subject: named(authority),
				Message: fmt.Sprintf("the key %s ends at %s, in %s, and a rollover takes %s at least",
					ca.key, ca.certificate.NotAfter().UTC().Format(time.RFC3339), left.Round(time.Second), hours(need)),
				Mend: "shorten spec.rollover for this once, or expect that what it signed is refused before it is replaced",
			})
		}
	}
	return violations
}

// rolloverTime is how long a rollover takes at least, by what Git says of it: with devices to
// wait for, until the last of those that are offline is given up.
func (s *scene) rolloverTime(rollover v1alpha1.Rollover) time.Duration {
	need := durationIn(rollover.Skew) + durationIn(rollover.Soak)
	if rollover.Confirm == v1alpha1.ConfirmDevices && len(s.groups) > 0 {
		need += durationIn(rollover.WaitForOffline)
	}
	return need
}

// durationIn is a field that may be left out.
func durationIn(field *metav1.Duration) time.Duration {
	if field == nil {
		return 0
	}
	return field.Duration
}

// usedKeys counts the keys that Git does not give up.
func usedKeys(authority *v1alpha1.Authority) int {
	used := 0
	for _, key := range authority.Spec.Keys {
		if key.State == v1alpha1.KeySigning || key.State == v1alpha1.KeyTrusted {
			used++
		}
	}
	return used
}

// signingKey is the name of the key that shall sign; empty of an authority that goes.
func signingKey(authority *v1alpha1.Authority) string {
	for _, key := range authority.Spec.Keys {
		if key.State == v1alpha1.KeySigning {
			return key.Name
		}
	}
	return ""
}
