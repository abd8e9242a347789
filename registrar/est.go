package registrar

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// estPrefix begins the paths of EST (RFC 7030, section 3.2.2).
const estPrefix = "/.well-known/est/"

// The content types of EST.
const (
	typePKCS10    = "application/pkcs10"
	typeCertsOnly = "application/pkcs7-mime; smime-type=certs-only"
	typePKCS8     = "application/pkcs8"
	typeAttrs     = "application/csrattrs"
)

// estOperation answers one operation of EST, for a group or for the caller's.
type estOperation struct {
	method string
	serve  func(e *estHandler, w http.ResponseWriter, r *http.Request, v *visit, label string) *admission.Refusal
}

// estOperations are those of RFC 7030, section 3.2.2.
var estOperations = map[string]estOperation{
	"cacerts":        {http.MethodGet, (*estHandler).cacerts},
	"csrattrs":       {http.MethodGet, (*estHandler).csrattrs},
	"simpleenroll":   {http.MethodPost, enrolBy(admission.Enrol)},
	"simplereenroll": {http.MethodPost, enrolBy(admission.Reenrol)},
	"serverkeygen":   {http.MethodPost, (*estHandler).serverkeygen},
	"fullcmc":        {http.MethodPost, (*estHandler).fullcmc},
}

// estHandler speaks EST: RFC 7030, as RFC 8951 has clarified it.
type estHandler struct {
	desk *desk
}

// ServeHTTP answers /.well-known/est/{operation} and /.well-known/est/{group}/{operation}.
func (e *estHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r.Context())
	if refusal := e.serve(w, r, v); refusal != nil {
		v.refused(refusal)
		refuseEST(w, refusal)
	}
}

func (e *estHandler) serve(w http.ResponseWriter, r *http.Request, v *visit) *admission.Refusal {
	label, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, estPrefix), "/")
	if name == "" {
		label, name = "", label
	}
	operation, known := estOperations[name]
	if !known {
		return &admission.Refusal{Status: http.StatusNotFound, Problem: admission.ProblemInvalid, Detail: "there is no such operation of EST here"}
	}
	v.entry.Operation = "est/" + name
	if r.Method != operation.method {
		w.Header().Set("Allow", operation.method)
		return &admission.Refusal{Status: http.StatusMethodNotAllowed, Problem: admission.ProblemInvalid, Detail: "use " + operation.method}
	}
	return operation.serve(e, w, r, v, label)
}

// refuseEST answers with one line for people.
func refuseEST(w http.ResponseWriter, refusal *admission.Refusal) {
	line := strings.Join(strings.FieldsFunc(refusal.Detail, func(c rune) bool { return c == '\r' || c == '\n' }), " ")
	send(w, refusal.Status, "text/plain; charset=utf-8", headersOf(refusal), []byte(line+"\n"))
}

// sendBase64 answers with DER in base64. It always says how long it is: libest, BouncyCastle
// and strongSwan read no chunks.
func sendBase64(w http.ResponseWriter, r *http.Request, contentType string, der []byte) {
	header := http.Header{"Content-Transfer-Encoding": {"base64"}} // BouncyCastle needs it
	send(w, http.StatusOK, contentType, header, encodeBase64(der, wraps(r)))
}

// wraps reports whether a client reads base64 with line breaks: strongSwan before 5.9.11 does
// not, and sends no User-Agent.
func wraps(r *http.Request) bool { return r.UserAgent() != "" }

// cacerts are the anchors, what lies between them and the devices' certificates, and during a
// rollover the links (RFC 7030, section 4.1.3). No certificate is needed: who has none, or one
// that has ended, learns here whom to trust.
func (e *estHandler) cacerts(w http.ResponseWriter, r *http.Request, v *visit, label string) *admission.Refusal {
	trust, refusal := e.desk.trust(v, label)
	if refusal != nil {
		return refusal
	}
	e.desk.saw(v)
	sendBase64(w, r, typeCertsOnly, certsOnly(slices.Concat(trust.Anchors, trust.Intermediates, trust.Links)))
	return nil
}

// csrattrs says what key to make where the group takes keys of one algorithm only; of the
// names, the device knows its id.
func (e *estHandler) csrattrs(w http.ResponseWriter, r *http.Request, v *visit, label string) *admission.Refusal {
	attributes, refusal := e.attributes(v, label)
	switch {
	case refusal != nil:
		return refusal
	case len(attributes) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		sendBase64(w, r, typeAttrs, attributes)
	}
	return nil
}

// attributes of the group that is asked for, of the caller's, or of the only one.
func (e *estHandler) attributes(v *visit, label string) ([]byte, *admission.Refusal) {
	caller, fleet, refusal := e.desk.identify(v, label, pki.Fingerprint{})
	if fleet == nil {
		return nil, refusal
	}
	groups := fleet.Groups()
	named := slices.IndexFunc(groups, func(g admission.Group) bool { return g.Name == label })
	switch {
	case refusal == nil:
		return keyAttributes(caller.Group.Spec.Certificate.KeyAlgorithms), nil
	case named >= 0:
		return keyAttributes(groups[named].Spec.Certificate.KeyAlgorithms), nil
	case label != "":
		return nil, refusal
	case len(groups) == 1:
		return keyAttributes(groups[0].Spec.Certificate.KeyAlgorithms), nil
	}
	return nil, nil
}

func enrolBy(operation admission.Operation) func(*estHandler, http.ResponseWriter, *http.Request, *visit, string) *admission.Refusal {
	return func(e *estHandler, w http.ResponseWriter, r *http.Request, v *visit, label string) *admission.Refusal {
		done, refusal := e.enrol(w, r, v, label, operation)
		if refusal != nil || done.pending != "" {
			return refusal
		}
		sendBase64(w, r, typeCertsOnly, certsOnly([]pki.Certificate{done.issued.Certificate}))
		return nil
	}
}

// readCSR reads a CSR in base64.
func readCSR(r *http.Request) (admission.Request, *admission.Refusal) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != typePKCS10 {
		return admission.Request{}, &admission.Refusal{Status: http.StatusUnsupportedMediaType, Problem: admission.ProblemInvalid, Detail: "send the CSR as " + typePKCS10}
	}
	der, refusal := readBase64(r.Body)
	if refusal != nil {
		return admission.Request{}, refusal
	}
	return admission.ParseRequest(der)
}

// enrol reads a CSR and gets its certificate; what is pending it has answered already. Who may
// not come hears of that first, whatever was sent.
func (e *estHandler) enrol(w http.ResponseWriter, r *http.Request, v *visit, label string, operation admission.Operation) (outcome, *admission.Refusal) {
	request, malformed := readCSR(r)
	if _, _, refusal := e.desk.identify(v, label, request.Key); refusal != nil {
		return outcome{}, refusal
	}
	if malformed != nil {
		return outcome{}, malformed
	}
	done, refusal := e.desk.enrol(r.Context(), v, enrolment{label: label, operation: operation, request: request})
	if refusal != nil {
		return outcome{}, refusal
	}
	e.desk.saw(v)
	if done.pending != "" {
		header := http.Header{"Retry-After": {seconds(done.retryAfter)}}
		send(w, http.StatusAccepted, "text/plain; charset=utf-8", header, []byte(done.pending+"\n"))
	}
	return done, nil
}

// fullcmc is optional (RFC 7030, section 4.3), and not done.
func (e *estHandler) fullcmc(http.ResponseWriter, *http.Request, *visit, string) *admission.Refusal {
	return &admission.Refusal{Status: http.StatusNotImplemented, Problem: admission.ProblemUnsupportedRequest, Detail: "Full CMC is not spoken here: use simpleenroll"}
}
