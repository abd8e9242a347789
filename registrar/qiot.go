package registrar

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// qiot is the registration of QIoT's devices, which get their keys in keystores.
func (d *desk) qiot(api huma.API) {
	register := operation(http.MethodPost, "/v1/register", "qiot-register", "Register a device as QIoT does",
		"For groups whose keys cert-manager makes. The id is that of the client certificate, whatever the body says; with `id` and `domain` the "+
			"certificate and the key come in PEM as well. Where they lie and what they are called is not kept.", 400, 401, 403, 404)
	huma.Register(api, register, d.postQIoT)
}

type qiotInput struct {
	Body struct {
		Serial           string  `json:"serial" maxLength:"253"`
		Name             string  `json:"name" maxLength:"253"`
		ID               string  `json:"id,omitempty" maxLength:"253" doc:"The id in the client certificate; with domain."`
		Domain           string  `json:"domain,omitempty" maxLength:"253" doc:"The domain that the group's DNS names lie in; with id."`
		Longitude        float64 `json:"longitude,omitempty"`
		Latitude         float64 `json:"latitude,omitempty"`
		KeyStorePassword string  `json:"keyStorePassword" minLength:"6" maxLength:"256" writeOnly:"true"`
	}
}

type qiotOutput struct {
	Status     int
	RetryAfter string `header:"Retry-After" doc:"With 202: how many seconds to wait."`
	Body       keystores
}

// keystores are what QIoT's devices read.
type keystores struct {
	ID         string `json:"id" doc:"The device's id, as its client certificate says."`
	Detail     string `json:"detail,omitempty" doc:"With 202: what is waited for."`
	Truststore string `json:"truststore,omitempty" doc:"The anchors to trust: PKCS#12 in base64."`
	Keystore   string `json:"keystore,omitempty" doc:"The key, the certificate and its chain: PKCS#12 in base64."`
	TLSCert    string `json:"tlsCert,omitempty" doc:"The certificate and its chain: PEM in base64."`
	TLSKey     string `json:"tlsKey,omitempty" doc:"The key: PKCS#8 in PEM, in base64."`
}

func (d *desk) postQIoT(ctx context.Context, in *qiotInput) (*qiotOutput, error) {
	v := visitOf(ctx)
	if refusal := d.itself(v, in.Body.ID, in.Body.Domain); refusal != nil {
		return nil, refused(v, refusal)
	}
	done, refusal := d.enrol(ctx, v, enrolment{operation: admission.Enrol})
	if refusal != nil {
		return nil, refused(v, refusal)
	}
	out := &qiotOutput{Status: http.StatusOK, Body: keystores{ID: done.caller.ID}}
	if done.pending != "" {
		out.Status, out.RetryAfter, out.Body.Detail = http.StatusAccepted, seconds(done.retryAfter), done.pending
		d.saw(v)
		return out, nil
	}
	if refusal := d.fill(ctx, v, &out.Body, done, in.Body.KeyStorePassword); refusal != nil {
		return nil, refused(v, refusal)
	}
	if in.Body.Domain != "" {
		if refusal := d.fillPEM(ctx, v, &out.Body, done); refusal != nil {
			return nil, refused(v, refusal)
		}
	}
	d.saw(v)
	return out, nil
}

// itself refuses a body that speaks of another device than the certificate, or of a domain
// that the group's names do not lie in.
func (d *desk) itself(v *visit, id, domain string) *admission.Refusal {
	caller, _, refusal := d.identify(v, "", pki.Fingerprint{})
	switch {
	case refusal != nil:
		return refusal
	case (id == "") != (domain == ""):
		return &admission.Refusal{Status: http.StatusBadRequest, Problem: admission.ProblemInvalid, Detail: "id and domain come together: send both, or none"}
	case id == "":
		return nil
	case id != caller.ID:
		return &admission.Refusal{Status: http.StatusForbidden, Problem: admission.ProblemOtherDevice, Detail: "the id in the body is not that of the client certificate: a device registers itself"}
	}
	derived, refusal := admission.Derive(caller.Group.Spec.Certificate, caller.ID)
	if refusal != nil {
		return refusal
	}
	if !slices.ContainsFunc(derived.DNSNames, func(name string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }) {
		return &admission.Refusal{Status: http.StatusForbidden, Problem: admission.ProblemNames, Detail: "no DNS name that the group derives lies in this domain: ask for the group's"}
	}
	return nil
}

// fill the keystore and the truststore.
func (d *desk) fill(ctx context.Context, v *visit, out *keystores, done outcome, password string) *admission.Refusal {
	keystore, refusal := d.keystore(ctx, v, done.caller, done.holder, done.issued, password)
	if refusal != nil {
		return refusal
	}
	truststore, err := d.encoder().EncodeTrustStore(parsed(done.trust.Anchors), password)
	if err != nil {
		v.entry.Error = "the truststore cannot be made"
		return unavailable(retryCertificate, "the truststore cannot be made: ask whoever runs the fleet")
	}
	out.Keystore, out.Truststore = base64.StdEncoding.EncodeToString(keystore), base64.StdEncoding.EncodeToString(truststore)
	return nil
}

// fillPEM adds the certificate and the key as they are.
func (d *desk) fillPEM(ctx context.Context, v *visit, out *keystores, done outcome) *admission.Refusal {
	der, refusal := d.pkcs8(ctx, v, done.holder, done.issued)
	if refusal != nil {
		return refusal
	}
	out.TLSKey = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	out.TLSCert = base64.StdEncoding.EncodeToString(append(done.issued.Certificate.PEM(), pemOf(done.issued.Chain)...))
	return nil
}
