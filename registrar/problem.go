package registrar

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reanchor/reanchor/registrar/admission"
)

// problemType begins the types of problems (RFC 9457, section 3.1.1). They are names, and
// nothing is served there.
const problemType = "tag:reanchor.dev,2026:"

// challenge is what a device without a certificate is told: there is no password to ask for.
const challenge = `ClientCertificate realm="reanchor"`

// problemOf is a refusal as a problem document (RFC 9457).
func problemOf(refusal *admission.Refusal) *huma.ErrorModel {
	return &huma.ErrorModel{
		Type: problemType + string(refusal.Problem), Title: http.StatusText(refusal.Status),
		Status: refusal.Status, Detail: refusal.Detail,
	}
}

// headersOf a refusal. Names are written as the RFCs have them, since some clients compare
// letters: RFC 9110, section 11.6.1.
func headersOf(refusal *admission.Refusal) http.Header {
	header := http.Header{}
	if refusal.Status == http.StatusUnauthorized {
		header["WWW-Authenticate"] = []string{challenge}
	}
	if refusal.RetryAfter > 0 {
		header["Retry-After"] = []string{seconds(refusal.RetryAfter)}
	}
	return header
}

// refuseREST answers with a problem document.
func refuseREST(w http.ResponseWriter, refusal *admission.Refusal) {
	body, err := json.Marshal(problemOf(refusal))
	if err != nil {
		panic(err) // it is made of texts
	}
	send(w, refusal.Status, "application/problem+json", headersOf(refusal), append(body, '\n'))
}

// send an answer whole: with its length, and not to be kept by anybody.
func send(w http.ResponseWriter, status int, contentType string, header http.Header, body []byte) {
	for name, values := range header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away reads nothing
}

// problem is a refusal as huma sends it.
type problem struct {
	*huma.ErrorModel
	header http.Header
}

// GetHeaders are for huma.
func (p *problem) GetHeaders() http.Header { return p.header }

// refused notes a refusal and makes an error of it.
func refused(v *visit, refusal *admission.Refusal) error {
	v.refused(refusal)
	return &problem{problemOf(refusal), headersOf(refusal)}
}

// withoutValues takes from a problem of huma's own what the device sent, which may be a
// password, and gives it a type of ours.
func withoutValues(_ huma.Context, _ string, body any) (any, error) {
	model, is := body.(*huma.ErrorModel)
	if !is || model.Type != "" {
		return body, nil
	}
	model.Type = problemType + string(admission.ProblemInvalid)
	for _, detail := range model.Errors {
		detail.Value = nil
	}
	return model, nil
}
