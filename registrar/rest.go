package registrar

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// rest is the handler of /v1 and of /openapi.yaml.
func (d *desk) rest() http.Handler {
	mux := http.NewServeMux()
	d.routes(newAPI(mux))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { noRoute(mux, w, r) })
	return mux
}

// OpenAPI describes the REST half of the endpoint, in YAML (OpenAPI 3.1).
func OpenAPI() ([]byte, error) {
	api := newAPI(http.NewServeMux())
	newDesk(Options{}).routes(api)
	return api.OpenAPI().YAML()
}

func newAPI(mux *http.ServeMux) huma.API {
	config := huma.DefaultConfig("reanchor registrar", "v1")
	config.Info.Description = "Devices register here, and get the certificates that cert-manager issues for them.\n\n" +
		"A device is who its client certificate says: its factory certificate, or the one that it got here. " +
		"Errors are problem documents (RFC 9457) whose type is `" + problemType + "<problem>`."
	config.CreateHooks, config.DocsPath, config.SchemasPath = nil, "", ""
	config.Transformers = []huma.Transformer{withoutValues}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"device": {Type: "mutualTLS", Description: "The device's factory certificate, or the one that it got here."},
	}
	return humago.New(mux, config)
}

// operation is a route, with what all routes have in common.
func operation(method, path, id, summary, description string, errors ...int) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Description: description,
		Errors:       append(errors, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusServiceUnavailable),
		MaxBodyBytes: maxBody,
		// The body was read before. Huma's own deadline would end requests that are held.
		BodyReadTimeout: -1,
		Security:        []map[string][]string{{"device": {}}},
		Middlewares:     huma.Middlewares{named("rest/" + id)},
	}
}

// named notes for the audit log which route was taken.
func named(operation string) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		visitOf(ctx.Context()).entry.Operation = operation
		next(ctx)
	}
}

func (d *desk) routes(api huma.API) {
	register := operation(http.MethodPost, "/v1/devices", "register", "Register a device, or fetch its newest certificate",
		"With a key that is registered already nothing is written; within the time in which certificates are renewed, the renewed one is waited for. "+
			"The answer is 201 once the registration is pushed to Git and the certificate is there, and 202 if that takes longer than the request is held: send it again after Retry-After.",
		400, 401, 403, 404, 409)
	register.DefaultStatus = http.StatusCreated
	huma.Register(api, register, d.postDevice)
	huma.Register(api, operation(http.MethodGet, "/v1/devices/{id}", "show", "Show the device to itself", "", 401, 403, 404), d.getDevice)
	huma.Register(api, operation(http.MethodGet, "/v1/devices/{id}/certificate", "certificate", "Fetch the device's newest certificate",
		"As Accept says: `application/x-pem-file` (the certificate and its chain; when absent), `application/pkcs7-mime` (the same, certs-only), "+
			"or, where cert-manager makes the key, `application/x-pkcs12` (with the key, under the password in Keystore-Password).", 400, 401, 403, 404, 406), d.getCertificate)
	huma.Register(api, operation(http.MethodPut, "/v1/devices/{id}/confirmation", "confirm", "Confirm the bundle that the device now trusts",
		"A rollover waits for it.", 401, 403, 404, 409), d.putConfirmation)
	bundle := operation(http.MethodGet, "/v1/trust-bundle", "trust-bundle", "Fetch the anchors to trust",
		"In PEM, sorted; in a rollover both roots. No certificate is needed: one whose own has ended needs them most. Its ETag is the hash to confirm.", 404)
	bundle.Security = []map[string][]string{{}, {"device": {}}}
	huma.Register(api, bundle, d.getBundle)
	d.qiot(api)
	describe(api.OpenAPI().Paths)
}

// describe what huma cannot tell from the types: answers that are pending, and bodies that are
// no JSON.
func describe(paths map[string]*huma.PathItem) {
	for _, path := range []string{"/v1/devices", "/v1/register"} {
		responses := paths[path].Post.Responses
		done := cmp.Or(responses["201"], responses["200"])
		pending := *done
		pending.Description = "Accepted: come again after Retry-After"
		responses["202"] = &pending
		done.Headers = maps.Clone(done.Headers)
		delete(done.Headers, "Retry-After")
	}
	file := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	paths["/v1/devices/{id}/certificate"].Get.Responses["200"].Content = map[string]*huma.MediaType{typePEM: file, typePKCS7: file, typePKCS12: file}
	bundle := paths["/v1/trust-bundle"].Get.Responses
	bundle["200"].Content = map[string]*huma.MediaType{typePEM: file}
	bundle["304"] = &huma.Response{Description: "Not Modified", Headers: bundle["200"].Headers}
}

// noRoute answers what no route takes.
func noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	refusal := &admission.Refusal{Status: http.StatusNotFound, Problem: admission.ProblemInvalid, Detail: "there is nothing here: see /openapi.yaml"}
	if len(allowed) > 0 {
		refusal.Status, refusal.Detail = http.StatusMethodNotAllowed, "use "+strings.Join(allowed, " or ")
		w.Header().Set("Allow", strings.Join(allowed, ", "))
	}
	visitOf(r.Context()).refused(refusal)
	refuseREST(w, refusal)
}

type registerInput struct {
	Body struct {
		Group   string `json:"group,omitempty" maxLength:"253" doc:"The device group; needed if several take the device's factory certificate." example:"sensors"`
		Request string `json:"request,omitempty" doc:"The certificate signing request in PEM (RFC 2986), where the device makes its own key. Its names are exactly those that the group derives from the device's id."`
		Keys    string `json:"keys,omitempty" enum:"Device,Cluster" doc:"Who makes the key, as the group says: Cluster asks for one that cert-manager makes."`
	}
}

type registerOutput struct {
	Status     int
	Location   string `header:"Location" doc:"Where the device is shown."`
	RetryAfter string `header:"Retry-After" doc:"With 202: how many seconds to wait."`
	Body       registered
}

// registered is what a device is told once it is registered.
type registered struct {
	ID          string `json:"id" doc:"The device's id, as its client certificate says."`
	Group       string `json:"group"`
	State       string `json:"state" enum:"Issued,Pending"`
	Detail      string `json:"detail,omitempty" doc:"What is waited for."`
	Certificate string `json:"certificate,omitempty" doc:"The device's certificate in PEM."`
	Chain       string `json:"chain,omitempty" doc:"The intermediates that follow it, in PEM."`
	Anchors     string `json:"anchors,omitempty" doc:"The anchors to trust, in PEM."`
}

func (d *desk) postDevice(ctx context.Context, in *registerInput) (*registerOutput, error) {
	v := visitOf(ctx)
	asked := enrolment{label: in.Body.Group, operation: admission.Enrol}
	cluster := in.Body.Keys == string(v1alpha1.KeysCluster)
	if in.Body.Request != "" || !cluster {
		request, refusal := d.csr(v, in.Body.Group, in.Body.Request)
		if refusal != nil {
			return nil, refused(v, refusal)
		}
		asked.request = request
	}
	done, refusal := d.enrol(ctx, v, asked)
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	d.saw(v)
	return done.output(), nil
}

// csr reads a device's CSR. Who may not come hears of that first, whatever was sent.
func (d *desk) csr(v *visit, label, text string) (admission.Request, *admission.Refusal) {
	request, malformed := admission.ParseRequestPEM([]byte(text))
	if _, _, refusal := d.identify(v, label, request.Key); refusal != nil {
		return admission.Request{}, refusal
	}
	return request, malformed
}

func (o outcome) output() *registerOutput {
	out := &registerOutput{Status: http.StatusCreated, Location: "/v1/devices/" + url.PathEscape(o.caller.ID)}
	out.Body = registered{ID: o.caller.ID, Group: o.caller.Group.Name, State: "Issued"}
	if o.pending != "" {
		out.Status, out.RetryAfter = http.StatusAccepted, seconds(o.retryAfter)
		out.Body.State, out.Body.Detail = "Pending", o.pending
		return out
	}
	out.Body.Certificate = string(o.issued.Certificate.PEM())
	out.Body.Chain = string(pemOf(o.issued.Chain))
	out.Body.Anchors = string(o.trust.Anchors.PEM())
	return out
}

// saw notes what the device has shown. Only a confirmation fails if that cannot be noted: the
// device comes for something else.
func (d *desk) saw(v *visit) {
	if err := d.observe(v, nil); err != nil {
		v.entry.Error = err.Error()
	}
}

type deviceInput struct {
	ID string `path:"id" maxLength:"759" doc:"The device's id, escaped as in URLs."`
}

type deviceOutput struct {
	Body device
}

// device is one as it sees itself.
type device struct {
	ID          string       `json:"id"`
	Group       string       `json:"group"`
	State       string       `json:"state" enum:"Active"`
	Key         string       `json:"key,omitempty" doc:"The SHA-256 of the SubjectPublicKeyInfo that it is registered with, in hex."`
	Certificate *certificate `json:"certificate,omitempty" doc:"Its newest certificate, if there is one yet."`
	Bundle      string       `json:"bundle" doc:"The hash of the trust bundle, as it is confirmed."`
}

type certificate struct {
	SHA256    string    `json:"sha256" doc:"Of its DER, in hex."`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

func (d *desk) getDevice(ctx context.Context, in *deviceInput) (*deviceOutput, error) {
	v := visitOf(ctx)
	caller, fleet, refusal := d.self(v, in.ID)
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	out := &deviceOutput{Body: device{
		ID: caller.ID, Group: caller.Group.Name, State: string(caller.Device.State),
		Bundle: bundleHash(fleet.Trust(caller.Group.Name).Anchors),
	}}
	if !caller.Device.Key.IsZero() {
		out.Body.Key = caller.Device.Key.String()
	}
	if issued, _, refusal := d.newest(v, caller); refusal == nil {
		c := issued.Certificate
		out.Body.Certificate = &certificate{SHA256: c.Fingerprint().String(), NotBefore: c.NotBefore().UTC(), NotAfter: c.NotAfter().UTC()}
	}
	d.saw(v)
	return out, nil
}

// bundleHash is the name of a bundle: the SHA-256 of its PEM, in hex.
func bundleHash(anchors pki.Anchors) string { return anchors.SHA256().String() }

type confirmationInput struct {
	ID   string `path:"id" maxLength:"759" doc:"The device's id, escaped as in URLs."`
	Body struct {
		Bundle string `json:"bundle" pattern:"^[0-9a-f]{64}$" doc:"The SHA-256 of the trust bundle that the device holds now, in hex: the ETag without its quotes."`
	}
}

func (d *desk) putConfirmation(ctx context.Context, in *confirmationInput) (*struct{}, error) {
	v := visitOf(ctx)
	caller, fleet, refusal := d.self(v, in.ID)
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	anchors := fleet.Trust(caller.Group.Name).Anchors
	if in.Body.Bundle != bundleHash(anchors) {
		return nil, refused(v, &admission.Refusal{
			Status: http.StatusConflict, Problem: admission.ProblemWrongBundle,
			Detail: "that is not the hash of the bundle which is served to this device: fetch /v1/trust-bundle with the device's certificate, and confirm its ETag",
		})
	}
	if err := d.observe(v, anchors); err != nil {
		v.entry.Error = err.Error()
		return nil, refused(v, unavailable(retryQueue, "too many confirmations wait to be written: come again later"))
	}
	return nil, nil
}

type bundleInput struct {
	Group       string `query:"group" maxLength:"253" doc:"The device group; when absent that of the client certificate, or without one all groups."`
	IfNoneMatch string `header:"If-None-Match"`
}

type bundleOutput struct {
	Status      int
	ContentType string `header:"Content-Type"`
	ETag        string `header:"ETag"`
	Body        []byte
}

func (d *desk) getBundle(ctx context.Context, in *bundleInput) (*bundleOutput, error) {
	v := visitOf(ctx)
	trust, refusal := d.trust(v, in.Group)
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	out := &bundleOutput{Status: http.StatusOK, ContentType: typePEM, ETag: `"` + bundleHash(trust.Anchors) + `"`}
	if slices.ContainsFunc(strings.Split(in.IfNoneMatch, ","), func(tag string) bool {
		return strings.TrimPrefix(strings.TrimSpace(tag), "W/") == out.ETag
	}) {
		out.Status = http.StatusNotModified
		d.saw(v)
		return out, nil
	}
	out.Body = trust.Anchors.PEM()
	d.saw(v)
	return out, nil
}

// trust of a group: of the one that is asked for, of the caller's, or of all together. It is
// public.
func (d *desk) trust(v *visit, label string) (admission.Trust, *admission.Refusal) {
	caller, fleet, refusal := d.identify(v, label, pki.Fingerprint{})
	switch {
	case fleet == nil:
		return admission.Trust{}, refusal
	case refusal == nil:
		return fleet.Trust(caller.Group.Name), nil
	case label == "":
		return trustOfAll(fleet), nil
	case !slices.ContainsFunc(fleet.Groups(), func(g admission.Group) bool { return g.Name == label }):
		return admission.Trust{}, refusal
	}
	return fleet.Trust(label), nil
}

func trustOfAll(fleet admission.Fleet) admission.Trust {
	var all admission.Trust
	for _, group := range fleet.Groups() {
		trust := fleet.Trust(group.Name)
		all.Anchors = all.Anchors.Union(trust.Anchors)
		all.Intermediates = pki.NewAnchors(append(all.Intermediates, trust.Intermediates...)...)
		all.Links = pki.NewAnchors(append(all.Links, trust.Links...)...)
	}
	return all
}
