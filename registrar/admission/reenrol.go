package admission

import (
	"bytes"
	"crypto/x509/pkix"

	"github.com/reanchor/reanchor/pki"
)

// keepsNamesOf refuses a request for other names than those of a certificate: subject and
// subject alternative names are equal byte for byte (RFC 7030, section 4.2.2).
func (r Request) keepsNamesOf(certificate pki.Certificate) *Refusal {
	if r.IsZero() {
		return nil
	}
	shown := certificate.X509()
	if !bytes.Equal(r.parsed.RawSubject, shown.RawSubject) || !bytes.Equal(alternatives(r.parsed.Extensions), alternatives(shown.Extensions)) {
		return forbid(ProblemNames, "the CSR's subject and subject alternative names are not those of the certificate that is shown: copy them, or enrol by simpleenroll")
	}
	return nil
}

// alternatives is the value of the subject alternative name extension; nil: there is none.
func alternatives(extensions []pkix.Extension) []byte {
	for _, extension := range extensions {
		if extension.Id.Equal(oidSubjectAltName) {
			return extension.Value
		}
	}
	return nil
}
