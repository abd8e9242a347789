package v1alpha1

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/pki"
)

// A key from elsewhere is what Git says it is, so Git must say it in full: its
// certificate, and at most one place where it signs. No clock is read: whether a
// certificate is valid now is the planner's to say.

// neverEmpty are the fields that must not be written and left empty: a key whose
// certificate got lost on the way would be made here, by mistake.
func (AuthorityKey) neverEmpty() []string { return []string{"certificate"} }

// isOffline reports whether nothing here signs with the key.
func (k AuthorityKey) isOffline() bool { return k.Given() && k.Secret == nil && k.Issuer == nil }

// signsKeys reports whether the key is in a Secret here, so that it can sign for the key
// pairs of the authorities below, by an internal issuer.
func (k AuthorityKey) signsKeys() bool { return !k.Given() || k.Secret != nil }

// makesKeys reports whether a key of the authority is made here.
func (a *Authority) makesKeys() bool {
	for _, key := range a.Spec.Keys {
		if !key.Given() {
			return true
		}
	}
	return false
}

// signingKey is the key that shall sign in the end, the first one if several are to; none
// in an authority that goes.
func (a *Authority) signingKey() (AuthorityKey, bool) {
	for _, key := range a.Spec.Keys {
		if key.State == KeySigning {
			return key, true
		}
	}
	return AuthorityKey{}, false
}

// given checks the keys from elsewhere, and keeps the certificates that can be read.
func (v *validator) given(document Document, authority *Authority) {
	certificates := make([]pki.Certificate, len(authority.Spec.Keys))
	issuers := map[string]string{}
	for i, key := range authority.Spec.Keys {
		if !key.Given() {
			continue
		}
		field := fmt.Sprintf("spec.keys[%d]", i)
		certificates[i] = v.givenCertificate(document, field+".certificate", authority, key)
		v.givenSecret(document, field+".secret.name", key)
		v.givenIssuer(document, field+".issuer", key, issuers)
	}
	v.certificates[authority] = certificates
}

func (v *validator) givenSecret(document Document, field string, key AuthorityKey) {
	if key.Secret != nil && !isSecretName(key.Secret.Name) {
		v.refuse(document, field, "%s is not the name of a Secret: use at most 253 lower-case letters, digits, '-' and '.', "+
			"with a letter or a digit at both ends", quote(key.Secret.Name))
	}
}

func isSecretName(name string) bool { return len(validation.IsDNS1123Subdomain(name)) == 0 }

// givenIssuer checks the issuer of a key against those of the authority's other keys, by
// their specs.
func (v *validator) givenIssuer(document Document, field string, key AuthorityKey, others map[string]string) {
	if key.Issuer == nil {
		return
	}
	if key.Secret != nil {
		v.refuse(document, field, "stands beside secret: a key lies in a Secret or stays behind an issuer, so take one of them out")
	}
	v.issuerSpec(document, field, key.Issuer.Raw)
	spec := string(key.Issuer.Raw)
	if other, taken := others[spec]; taken {
		v.refuse(document, field, "is that of key %s already, and an issuer signs with one key: give each key an issuer of its own", other)
	}
	others[spec] = key.Name
}

// givenCertificate reads the certificate of a key from elsewhere; none if it is not fit
// for one.
func (v *validator) givenCertificate(document Document, field string, authority *Authority, key AuthorityKey) pki.Certificate {
	certificate, problem := readGiven(key.Certificate, authority)
	if problem != "" {
		v.refuse(document, field, "%s", problem)
		return pki.Certificate{}
	}
	if !v.claimCertificate(document, field, certificate, "key "+key.Name+" of Authority "+authority.Metadata.Name) {
		return pki.Certificate{}
	}
	return certificate
}

// readGiven reads one certificate that is fit for a key of the authority, or says why it
// is not.
func readGiven(text string, authority *Authority) (certificate pki.Certificate, problem string) {
	if text == "" {
		return certificate, "is missing: a key from elsewhere is known by its certificate, so give its PEM"
	}
	certificates, err := pki.ParsePEM([]byte(text))
	switch {
	case err != nil:
		return certificate, pemProblem(text, err)
	case len(certificates) != 1:
		return certificate, fmt.Sprintf("holds %d certificates: give the one of the key alone, without those above or below it", len(certificates))
	}
	return certificates[0], cmp.Or(caProblem(certificates[0]), placeProblem(certificates[0], authority))
}

const privateKeyFound = "holds a private key: take it out of Git, and count that key as known to everyone who can read the repository"

func holdsPrivateKey(pem string) bool { return strings.Contains(pem, "PRIVATE KEY") }

// pemProblem says why PEM data is not certificates, and never what is in it.
func pemProblem(text string, err error) string {
	switch {
	case holdsPrivateKey(text):
		return privateKeyFound
	case errors.Is(err, pki.ErrNoCertificate):
		return "holds no certificate: give it in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
	}
	return fmt.Sprintf("cannot be read: %.200s: give certificates in PEM and nothing else", err)
}

// caProblem says why a certificate does not make a signer (RFC 5280, section 4.2.1);
// nothing if it does.
func caProblem(certificate pki.Certificate) string {
	usage := certificate.X509().KeyUsage
	switch {
	case !certificate.IsCA():
		return "is not the certificate of a CA (its basic constraints do not say CA:TRUE): give that of the CA"
	case usage != 0 && usage&x509.KeyUsageCertSign == 0:
		return "is of a CA that may not sign certificates (its key usage lacks keyCertSign): have it issued anew with that usage"
	case len(certificate.SubjectKeyID()) == 0:
		return "has no subject key identifier, by which verifiers tell keys of one name apart: have it issued anew with one"
	}
	return ""
}

// placeProblem says why a CA's certificate is not that of a root, or of an intermediate,
// as the authority is; nothing if it is.
func placeProblem(certificate pki.Certificate, authority *Authority) string {
	selfIssued := bytes.Equal(certificate.X509().RawIssuer, certificate.X509().RawSubject)
	switch above := authority.Spec.IssuedBy; {
	case above == nil && certificate.SelfSigned(), above != nil && !selfIssued:
		return ""
	case above != nil:
		return "is self-signed, and Authority " + authority.Metadata.Name + " is issued by " + above.Name + ": " +
			"give the certificate that " + above.Name + " has signed, or take issuedBy out for a root"
	case selfIssued:
		return fmt.Sprintf("names itself as its issuer, but its signature (%s) does not verify with its own key: give the root's certificate as it was issued",
			certificate.X509().SignatureAlgorithm)
	}
	return "is not self-signed, and an authority without issuedBy is a root: give the root's certificate, or name in issuedBy the authority that signed this one"
}

// claimCertificate takes a certificate for one key: it is the key's identity.
func (v *validator) claimCertificate(document Document, field string, certificate pki.Certificate, role string) bool {
	earlier, taken := v.fingerprints[certificate.Fingerprint()]
	if !taken {
		v.fingerprints[certificate.Fingerprint()] = claim{document, role}
		return true
	}
	v.refuse(document, field, "is the certificate of %s already (%s:%d): list a key once, and give each its own certificate",
		earlier.role, earlier.document.File, max(earlier.document.Line, 1))
	return false
}

// signed checks that a key of the parent has signed an intermediate's key from elsewhere,
// where every key of the parent is known.
func (v *validator) signed(l *link, key linkKey) {
	if l.parent == nil || key.certificate.IsZero() || key.signer != "" || !l.parent.allKnown() {
		return
	}
	v.refuse(l.document, key.field+".certificate", "is signed by none of the keys of Authority %s: give the certificate that one of them has signed, "+
		"or list the key that signed it there", l.parent.authority.Metadata.Name)
}

// allKnown reports whether Git gives the certificate of each of the authority's keys.
func (l *link) allKnown() bool {
	for _, key := range l.keys {
		if key.certificate.IsZero() {
			return false
		}
	}
	return len(l.keys) == len(l.authority.Spec.Keys)
}

// offlineParent refuses keys that nobody here could sign: those that are made here under a
// parent whose own key is not here.
func (v *validator) offlineParent(l *link, parent *Authority) {
	above, signs := parent.signingKey()
	if !signs || above.signsKeys() {
		return
	}
	where := "offline (it has a certificate alone)"
	if above.Issuer != nil {
		where = "behind an external issuer"
	}
	for _, key := range l.keys {
		if !key.Given() && !key.State.Goes() {
			v.refuse(l.document, key.field+".name", "key %s would be made here, and cannot be signed: key %s of Authority %s is %s; "+
				"bring a key that it has signed, by certificate and secret, or retire this one", key.Name, above.Name, parent.Metadata.Name, where)
		}
	}
}
