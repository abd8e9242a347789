package registrar

import (
	"net/http"

	"github.com/reanchor/reanchor/pki"
)

// Handler is an endpoint's without TLS.
func Handler(options Options) http.Handler { return newDesk(options).handler() }

// CertsOnly is what EST sends.
func CertsOnly(certificates []pki.Certificate) []byte { return certsOnly(certificates) }
