package registrar

import (
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"net/http"

	"github.com/reanchor/reanchor/registrar/admission"
)

// The channel binding of TLS 1.3 (RFC 9266, section 2): an exporter without context.
const (
	exporterLabel  = "EXPORTER-Channel-Binding"
	exporterLength = 32
)

// bound refuses a CSR whose challenge password is not the channel binding of the connection
// that it comes by (RFC 7030, section 3.5): it was made for another connection, or it is a
// password, which would stand in Git for all to read.
func bound(request admission.Request, state *tls.ConnectionState) *admission.Refusal {
	if request.ChallengePassword == nil {
		return nil
	}
	binding := channelBinding(state)
	if binding != "" && subtle.ConstantTimeCompare([]byte(binding), []byte(*request.ChallengePassword)) == 1 {
		return nil
	}
	return &admission.Refusal{
		Status: http.StatusBadRequest, Problem: admission.ProblemChannelBinding,
		Detail: "the challenge password of the CSR is not the channel binding of this connection (base64 of tls-unique, or of the exporter of RFC 9266 with TLS 1.3): put that there, or none",
	}
}

// channelBinding of a connection in base64; empty: it has none.
func channelBinding(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	binding := state.TLSUnique
	if state.Version >= tls.VersionTLS13 {
		exported, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterLength)
		if err != nil {
			return ""
		}
		binding = exported
	}
	return base64.StdEncoding.EncodeToString(binding)
}
