package registrar

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// lineLength of base64 that is wrapped (RFC 7468, section 2).
const lineLength = 64

// encodeBase64 writes base64 (RFC 4648, section 4): in lines that each end in LF, or in one
// line that does not.
func encodeBase64(der []byte, wrapped bool) []byte {
	text := base64.StdEncoding.EncodeToString(der)
	if !wrapped {
		return []byte(text)
	}
	var out bytes.Buffer
	for len(text) > 0 {
		line := text[:min(lineLength, len(text))]
		text = text[len(line):]
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// blanks are what may stand anywhere in base64.
var blanks = strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "")

// readBase64 reads DER in base64, with white space anywhere and PEM armour around it or not.
// Content-Transfer-Encoding is not looked at (RFC 8951, section 3.1).
func readBase64(body io.Reader) ([]byte, *admission.Refusal) {
	malformed := &admission.Refusal{Status: http.StatusBadRequest, Problem: admission.ProblemRequest, Detail: "the body is not a CSR in base64: send its DER so, without headers"}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, malformed
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		block, rest := pem.Decode(bytes.TrimSpace(text))
		if block == nil || len(bytes.TrimSpace(rest)) > 0 {
			return nil, malformed
		}
		return block.Bytes, nil
	}
	der, err := base64.StdEncoding.DecodeString(blanks.Replace(string(text)))
	if err != nil || len(der) == 0 {
		return nil, malformed
	}
	return der, nil
}

// What a CSR may be asked to hold (RFC 7030, section 4.5.2).
var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256        = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidRSA         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEd25519     = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// attrsRSA is the size in bits of the RSA key that a device is told to make.
const attrsRSA = 3072

// keyAttributes tell which key to make where there is no choice: a CsrAttrs in DER, a sequence
// of OIDs and attributes. Nil where there is a choice.
func keyAttributes(algorithms []v1alpha1.KeyAlgorithm) []byte {
	if len(algorithms) != 1 {
		return nil
	}
	var hint any
	switch algorithms[0] {
	case v1alpha1.ECDSA:
		hint = struct {
			ID     asn1.ObjectIdentifier
			Values []asn1.ObjectIdentifier `asn1:"set"`
		}{oidECPublicKey, []asn1.ObjectIdentifier{oidP256}}
	case v1alpha1.RSA:
		hint = struct {
			ID     asn1.ObjectIdentifier
			Values []int `asn1:"set"`
		}{oidRSA, []int{attrsRSA}}
	default:
		hint = oidEd25519
	}
	inner, err := asn1.Marshal(hint)
	if err == nil {
		inner, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: inner})
	}
	if err != nil {
		panic(err) // it is made of constants
	}
	return inner
}

// partsBoundary stands between the parts of serverkeygen's answer. It has a character that
// base64 does not.
const partsBoundary = "reanchor-serverkeygen"

// serverkeygen hands a device the key that cert-manager made for it, and its certificate
// (RFC 7030, section 4.4.2).
func (e *estHandler) serverkeygen(w http.ResponseWriter, r *http.Request, v *visit, label string) *admission.Refusal {
	done, refusal := e.enrol(w, r, v, label, admission.Generate)
	if refusal != nil || done.pending != "" {
		return refusal
	}
	der, refusal := e.desk.pkcs8(r.Context(), v, done.holder, done.issued)
	if refusal != nil {
		return refusal
	}
	body := keyAndCertificate(der, certsOnly([]pki.Certificate{done.issued.Certificate}), wraps(r))
	send(w, http.StatusOK, "multipart/mixed; boundary="+partsBoundary, nil, body)
	return nil
}

// keyAndCertificate are the two parts of serverkeygen's answer: PKCS#8, then PKCS#7.
func keyAndCertificate(key, certificate []byte, wrapped bool) []byte {
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	err := parts.SetBoundary(partsBoundary)
	for _, part := range []struct {
		contentType string
		der         []byte
	}{{typePKCS8, key}, {typeCertsOnly, certificate}} {
		opened, created := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {part.contentType}, "Content-Transfer-Encoding": {"base64"}})
		if created == nil {
			_, created = opened.Write(encodeBase64(part.der, wrapped))
		}
		err = errors.Join(err, created)
	}
	if err := errors.Join(err, parts.Close()); err != nil {
		panic(err) // a buffer takes what is written to it
	}
	return body.Bytes()
}
