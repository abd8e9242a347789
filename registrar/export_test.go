package registrar

import (
	"bytes"
	"net/http"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// Handler is an endpoint's without TLS.
func Handler(options Options) http.Handler { return newDesk(options).handler() }

// CertsOnly is what EST sends.
func CertsOnly(certificates []pki.Certificate) []byte { return certsOnly(certificates) }

// ReadBase64 is a body of EST in DER; nil: it is none.
func ReadBase64(body []byte) []byte {
	der, _ := readBase64(bytes.NewReader(body))
	return der
}

// EncodeBase64 is how EST sends DER.
func EncodeBase64(der []byte, wrapped bool) []byte { return encodeBase64(der, wrapped) }

// ForwardedChain reads a proxy's header.
func ForwardedChain(header string) ([]pki.Certificate, *admission.Refusal) {
	return forwardedChain(header)
}

// RefuseREST and RefuseEST answer with a refusal.
func RefuseREST(w http.ResponseWriter, refusal *admission.Refusal) { refuseREST(w, refusal) }
func RefuseEST(w http.ResponseWriter, refusal *admission.Refusal)  { refuseEST(w, refusal) }
