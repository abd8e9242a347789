package registrar

import (
	"bytes"
	"context"
	"crypto/x509"
	"mime"
	"net/http"
	"strings"

	"github.com/smallstep/pkcs7"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// The forms in which a certificate is fetched.
const (
	typePEM    = "application/x-pem-file"
	typePKCS7  = "application/pkcs7-mime"
	typePKCS12 = "application/x-pkcs12"
)

type certificateInput struct {
	ID       string `path:"id" maxLength:"759" doc:"The device's id, escaped as in URLs."`
	Accept   string `header:"Accept"`
	Password string `header:"Keystore-Password" doc:"Of the PKCS#12 file: 6 to 256 characters."`
}

type certificateOutput struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte
}

func (d *desk) getCertificate(ctx context.Context, in *certificateInput) (*certificateOutput, error) {
	v := visitOf(ctx)
	caller, _, refusal := d.self(v, in.ID)
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	issued, holder, refusal := d.newest(v, caller)
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	out := &certificateOutput{ContentType: accepted(in.Accept), CacheControl: "no-store"}
	switch out.ContentType {
	case typePEM:
		out.Body = append(issued.Certificate.PEM(), pemOf(issued.Chain)...)
	case typePKCS7:
		out.ContentType += "; smime-type=certs-only"
		out.Body = certsOnly(append([]pki.Certificate{issued.Certificate}, issued.Chain...))
	case typePKCS12:
		out.Body, refusal = d.keystore(ctx, v, caller, holder, issued, in.Password)
	default:
		refusal = &admission.Refusal{Status: http.StatusNotAcceptable, Problem: admission.ProblemNotAcceptable, Detail: "ask for " + typePEM + ", " + typePKCS7 + " or " + typePKCS12}
	}
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	d.saw(v)
	return out, nil
}

// accepted is the first form of an Accept header that there is; empty: none.
func accepted(header string) string {
	if header == "" {
		return typePEM
	}
	for part := range strings.SplitSeq(header, ",") {
		media, parameters, err := mime.ParseMediaType(part)
		switch {
		case err != nil || parameters["q"] == "0":
		case media == "*/*" || media == "application/*":
			return typePEM
		case media == typePEM || media == typePKCS7 || media == typePKCS12:
			return media
		}
	}
	return ""
}

// The bounds of a keystore's password, in bytes.
const (
	minPassword = 6
	maxPassword = 256
)

// keystore holds a device's key, which cert-manager made, its certificate and its chain
// (PKCS#12, RFC 7292).
func (d *desk) keystore(ctx context.Context, v *visit, caller admission.Caller, holder Holder, issued Issued, password string) ([]byte, *admission.Refusal) {
	if caller.Group.Spec.Keys != v1alpha1.KeysCluster {
		return nil, &admission.Refusal{Status: http.StatusNotAcceptable, Problem: admission.ProblemNotAcceptable, Detail: "the device has made its key itself, and there is no other copy of it: ask for " + typePEM + " or " + typePKCS7}
	}
	if len(password) < minPassword || len(password) > maxPassword {
		return nil, &admission.Refusal{Status: http.StatusBadRequest, Problem: admission.ProblemPassword, Detail: "the password of the keystore has 6 to 256 characters: send one"}
	}
	key, refusal := d.privateKey(ctx, v, holder, issued)
	if refusal != nil {
		return nil, refusal
	}
	file, err := d.encoder().Encode(key, issued.Certificate.X509(), parsed(issued.Chain), password)
	if err != nil {
		v.entry.Error = "the keystore cannot be made"
		return nil, unavailable(retryCertificate, "the keystore cannot be made: ask whoever runs the fleet")
	}
	return file, nil
}

// encoder of PKCS#12 files.
func (d *desk) encoder() *pkcs12.Encoder {
	if d.LegacyKeystores {
		return pkcs12.LegacyDES
	}
	return pkcs12.Modern2023
}

// parsed are certificates as the standard library has them.
func parsed(certificates []pki.Certificate) []*x509.Certificate {
	var all []*x509.Certificate
	for _, certificate := range certificates {
		all = append(all, certificate.X509())
	}
	return all
}

func pemOf(certificates []pki.Certificate) []byte {
	var out bytes.Buffer
	for _, certificate := range certificates {
		out.Write(certificate.PEM())
	}
	return out.Bytes()
}

// certsOnly is a PKCS#7 message that holds certificates and nothing else (RFC 8551, section
// 3.2.2), in DER.
func certsOnly(certificates []pki.Certificate) []byte {
	var der []byte
	for _, certificate := range certificates {
		der = append(der, certificate.X509().Raw...)
	}
	message, err := pkcs7.DegenerateCertificate(der)
	if err != nil {
		panic(err) // the certificates were parsed, so that they can be written
	}
	return message
}
