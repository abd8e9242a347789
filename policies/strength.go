package policies

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// key is a public key's algorithm, as cert-manager names it, and its size in bits.
type key struct {
	algorithm string
	size      int
}

// String is "RSA 2048"; the name alone of an algorithm with but one size.
func (k key) String() string {
	if k.algorithm == string(v1alpha1.Ed25519) {
		return k.algorithm
	}
	return fmt.Sprintf("%s %d", k.algorithm, k.size)
}

// keyOf tells what a parsed public key is; one of no known algorithm has its Go type's name.
func keyOf(public any) key {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return key{string(v1alpha1.RSA), public.N.BitLen()}
	case *ecdsa.PublicKey:
		return key{string(v1alpha1.ECDSA), public.Curve.Params().BitSize}
	case ed25519.PublicKey:
		return key{string(v1alpha1.Ed25519), 8 * ed25519.PublicKeySize}
	}
	return key{fmt.Sprintf("%T", public), 0}
}

// cert-manager's sizes where a Certificate says none
// (https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.CertificatePrivateKey).
const (
	defaultRSASize   = 2048
	defaultECDSASize = 256
)

// askedKey is the key that a Certificate asks for.
func askedKey(manifest *unstructured.Unstructured) key {
	algorithm, size := text(manifest, "spec", "privateKey", "algorithm"), 0
	switch value, _, _ := unstructured.NestedFieldNoCopy(manifest.Object, "spec", "privateKey", "size"); value := value.(type) {
	case int64:
		size = int(value)
	case float64:
		size = int(value)
	}
	switch {
	case algorithm == "" || algorithm == string(v1alpha1.RSA):
		return key{string(v1alpha1.RSA), orElse(size, defaultRSASize)}
	case algorithm == string(v1alpha1.ECDSA):
		return key{algorithm, orElse(size, defaultECDSASize)}
	}
	return key{algorithm, size}
}

func orElse(size, absent int) int {
	if size == 0 {
		return absent
	}
	return size
}

// The sizes that matter, in bits (NIST SP 800-57 part 1, table 2, and SP 800-131A).
const (
	minRSA   = 2048
	minCARSA = 3072
	minECDSA = 256
)

// weakness says why a key is too weak for anything; empty if it is not.
func (k key) weakness() string {
	switch {
	case k.algorithm == string(v1alpha1.RSA) && k.size < minRSA:
		return fmt.Sprintf("has an RSA key of %d bits, and %d is the least that is safe", k.size, minRSA)
	case k.algorithm == string(v1alpha1.ECDSA) && k.size < minECDSA:
		return fmt.Sprintf("has an ECDSA key on the curve P-%d, and P-%d is the least that is safe", k.size, minECDSA)
	case k.strength() == 0:
		return fmt.Sprintf("has a key of an algorithm that is neither RSA, ECDSA nor Ed25519 (%s)", k.algorithm)
	}
	return ""
}

// strength in bits of security (NIST SP 800-57 part 1, table 2); 0 of an unknown algorithm.
func (k key) strength() int {
	switch {
	case k.algorithm == string(v1alpha1.Ed25519):
		return 128
	case k.algorithm == string(v1alpha1.ECDSA):
		return min(k.size, 512) / 2
	case k.algorithm != string(v1alpha1.RSA):
		return 0
	case k.size >= 7680:
		return 192
	case k.size >= minCARSA:
		return 128
	case k.size >= minRSA:
		return 112
	}
	return 80
}

func weakKeys(s *scene) []Violation {
	var violations []Violation
	for _, manifest := range s.Manifests {
		if object := idOf(manifest); object.group == certManager && object.kind == certificate {
			isCA, _, _ := unstructured.NestedBool(manifest.Object, "spec", "isCA")
			violations = append(violations, weakKey(object.String(), "", askedKey(manifest), isCA, true)...)
		}
	}
	eachCertificate(s, func(subject, what string, certificate pki.Certificate, given bool) {
		violations = append(violations, weakKey(subject, what, keyOf(certificate.X509().PublicKey), certificate.IsCA(), given)...)
	})
	for _, device := range s.devices {
		if block, _ := pem.Decode([]byte(device.Spec.Request)); block != nil {
			if request, err := x509.ParseCertificateRequest(block.Bytes); err == nil {
				violations = append(violations, weakKey(named(device), "", keyOf(request.PublicKey), false, true)...)
			}
		}
	}
	for _, authority := range s.authorities {
		violations = append(violations, weakerSuccessor(s, authority)...)
	}
	return violations
}

// weakKey judges one key. A key that Git did not bring is warned of at most: what stood
// before must not stop a whole domain.
func weakKey(subject, what string, k key, isCA, given bool) []Violation {
	violation := Violation{Rule: RuleWeakKey, Severity: Deny, Subject: subject, Mend: "take RSA of 3072 bits or more, ECDSA or Ed25519"}
	if weakness := k.weakness(); weakness != "" {
		violation.Message = what + weakness
	} else if isCA && k.algorithm == string(v1alpha1.RSA) && k.size < minCARSA {
		violation.Severity = Warn
		violation.Message = fmt.Sprintf("%sis a CA's, and has an RSA key of %d bits: %d is the least for a key that lives for years", what, k.size, minCARSA)
	} else {
		return nil
	}
	if !given {
		violation.Severity = Warn
	}
	return []Violation{violation}
}

// weakerSuccessor warns of a signing key that is weaker than one that it takes over from.
func weakerSuccessor(s *scene, authority *v1alpha1.Authority) []Violation {
	keys := s.keysOf(authority)
	signing := signingKey(authority)
	found := keys[signing]
	var violations []Violation
	for _, k := range authority.Spec.Keys {
		old := keys[k.Name]
		if k.Name == signing {
			break // the keys below are younger: it takes over from none of them
		}
		if found.strength() == 0 || old.strength() <= found.strength() {
			continue
		}
		violations = append(violations, Violation{
			Rule: RuleWeakKey, Severity: Warn, Subject: named(authority),
			Message: fmt.Sprintf("the key %s (%s) is weaker than %s (%s), from which it takes over", signing, found, k.Name, old),
			Mend:    "write another privateKey before the key is made",
		})
	}
	return violations
}

// keysOf are an authority's keys by the names that they have in Git: as known, as planned,
// or, of a key that is yet to be made, as asked for.
func (s *scene) keysOf(authority *v1alpha1.Authority) map[string]key {
	keys := map[string]key{}
	for _, k := range authority.Spec.Keys {
		if k.State == v1alpha1.KeySigning && !k.Given() {
			keys[k.Name] = key{string(authority.Spec.PrivateKey.Algorithm), authority.Spec.PrivateKey.Size}
		}
	}
	for _, k := range s.Plan.Target.Keys {
		if name, _ := v1alpha1.SplitKey(k.Name); k.Authority.Name == authority.Metadata.Name && k.Certificate {
			keys[name] = key{string(k.Spec.Algorithm), k.Spec.Size}
		}
	}
	for _, ca := range s.certificatesOf(authority.Metadata.Name) {
		name, _ := v1alpha1.SplitKey(ca.key)
		keys[name] = keyOf(ca.certificate.X509().PublicKey)
	}
	return keys
}

// eachCertificate visits the certificates that Git gives, and then the anchors of planned
// bundles that it does not; subject and what name each.
func eachCertificate(s *scene, visit func(subject, what string, certificate pki.Certificate, given bool)) {
	var seen pki.Anchors
	for _, authority := range s.authorities {
		for _, ca := range s.certificatesOf(authority.Metadata.Name) {
			if ca.given {
				visit(named(authority), fmt.Sprintf("the certificate of the key %s ", ca.key), ca.certificate, true)
			}
			seen = seen.Union(pki.NewAnchors(ca.certificate))
		}
	}
	for _, bundle := range s.bundles {
		for _, text := range bundle.Spec.Certificates {
			certificates, _ := pki.ParsePEM([]byte(text)) // validation has refused what cannot be read
			for _, certificate := range certificates {
				visit(named(bundle), fmt.Sprintf("the certificate %s ", certificate), certificate, true)
				seen = seen.Union(pki.NewAnchors(certificate))
			}
		}
	}
	for _, planned := range s.Plan.Target.Bundles {
		for _, anchor := range planned.Anchors.Minus(seen) {
			visit(subjectOf(planned), fmt.Sprintf("the anchor %s ", anchor), anchor, false)
		}
	}
}

// weakAlgorithms are signatures that can be forged.
var weakAlgorithms = map[x509.SignatureAlgorithm]bool{
	x509.MD2WithRSA: true, x509.MD5WithRSA: true, x509.SHA1WithRSA: true, x509.ECDSAWithSHA1: true,
	x509.DSAWithSHA1: true, x509.DSAWithSHA256: true, x509.UnknownSignatureAlgorithm: true,
}

func weakSignatures(s *scene) []Violation {
	var violations []Violation
	eachCertificate(s, func(subject, what string, certificate pki.Certificate, given bool) {
		parsed := certificate.X509()
		if !weakAlgorithms[parsed.SignatureAlgorithm] {
			return
		}
		violation := Violation{
			Rule: RuleWeakSignature, Severity: Deny, Subject: subject,
			Message: fmt.Sprintf("%sis signed with %s, which can be forged or is not known", what, parsed.SignatureAlgorithm),
			Mend:    "have it issued anew with SHA-256 or better",
		}
		if !given || parsed.Subject.String() == parsed.Issuer.String() {
			violation.Severity = Warn
		}
		violations = append(violations, violation)
	})
	return violations
}
