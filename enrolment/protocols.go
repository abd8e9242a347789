package enrolment

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"

	"github.com/reanchor/reanchor/pki"
)

const register = "ask for a certificate"

// requestREST by POST /v1/devices.
func (d *Device) requestREST(ctx context.Context, shown tls.Certificate, csr []byte) ([]pki.Certificate, error) {
	body, err := json.Marshal(struct {
		Group   string `json:"group,omitempty"`
		Request string `json:"request"`
	}{d.options.Group, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))})
	if err != nil {
		return nil, err
	}
	a, err := d.expect(ctx, question{
		operation: register, method: http.MethodPost, path: "/v1/devices",
		header: http.Header{"Content-Type": {"application/json"}}, body: body, shows: shown,
	}, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	if err := d.joins(a.body); err != nil {
		return nil, err
	}
	return believed(register, a.body, parseRegistered)
}

// requestEST by simpleenroll, or by simplereenroll with the device's own certificate. Its answer
// is the certificate alone: what belongs behind it is among cacerts.
func (d *Device) requestEST(ctx context.Context, shown tls.Certificate, csr []byte) ([]pki.Certificate, error) {
	operation := "simpleenroll"
	if d.held().isOwn(shown) {
		operation = "simplereenroll"
	}
	a, err := d.expect(ctx, question{
		operation: register, method: http.MethodPost, path: d.pathEST(operation), shows: shown,
		header: http.Header{"Content-Type": {"application/pkcs10"}, "Content-Transfer-Encoding": {"base64"}},
		body:   []byte(base64.StdEncoding.EncodeToString(csr)),
	}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	issued, err := believed(register, a.body, parseCertsOnly)
	if err != nil {
		return nil, err
	}
	const fetch = "fetch the CA certificates"
	a, err = d.expect(ctx, question{operation: fetch, method: http.MethodGet, path: d.pathEST("cacerts"), shows: shown}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	cacerts, err := believed(fetch, a.body, parseCertsOnly)
	if err != nil {
		return nil, err
	}
	return chainOf(issued[0], cacerts), nil
}

// pathEST of an operation of the group, its label (RFC 7030, section 3.2.2).
func (d *Device) pathEST(operation string) string {
	return "/.well-known/est/" + d.options.Group + "/" + operation
}

// newest is the fingerprint of the newest certificate that the server has for the device.
func (d *Device) newest(ctx context.Context, shown tls.Certificate) (string, error) {
	const operation = "ask for the newest certificate"
	a, err := d.expect(ctx, question{operation: operation, method: http.MethodGet, path: d.path(""), shows: shown}, http.StatusOK)
	if err != nil {
		return "", err
	}
	if err := d.joins(a.body); err != nil {
		return "", err
	}
	return believed(operation, a.body, parseNewest)
}

// fetch the newest certificate and its chain.
func (d *Device) fetch(ctx context.Context, shown tls.Certificate) ([]pki.Certificate, error) {
	const operation = "fetch the newest certificate"
	a, err := d.expect(ctx, question{
		operation: operation, method: http.MethodGet, path: d.path("/certificate"),
		header: http.Header{"Accept": {"application/x-pem-file"}}, shows: shown,
	}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return believed(operation, a.body, pki.ParsePEM)
}

// believed is what an answer says, if it can be read.
func believed[T any](operation string, body []byte, parse func([]byte) (T, error)) (T, error) {
	told, err := parse(body)
	if err != nil {
		return told, &unbelievable{operation, err}
	}
	return told, nil
}
