package enrolment

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// The bounds of an exchange: time, which the server's own hold is well within, and bytes of an
// answer and its header.
const (
	exchangeTimeout  = 3 * time.Minute
	handshakeTimeout = 30 * time.Second
	maxAnswer        = 1 << 20
	maxAnswerHeader  = 64 << 10
)

// question is a request to the server.
type question struct {
	// operation in words, for errors.
	operation    string
	method, path string
	header       http.Header
	body         []byte
	// shows is the certificate that the device shows.
	shows tls.Certificate
	// serverName in the handshake; empty: the address says it.
	serverName string
}

// answer is what came back, whole.
type answer struct {
	status int
	header http.Header
	body   []byte
	// server is the chain that it has shown.
	server []pki.Certificate
}

// unreachable says that there was no answer.
type unreachable struct {
	operation string
	err       error
}

func (u *unreachable) Error() string {
	next := "see that the server can be reached"
	if _, is := errors.AsType[*tls.CertificateVerificationError](u.err); is {
		next = "see that the device's clock is right; otherwise it trusts no root of that server, and needs the anchors of its site anew"
	}
	return fmt.Sprintf("%s: %v: %s", u.operation, u.err, next)
}

func (u *unreachable) Unwrap() error { return u.err }

// unbelievable says that an answer was not taken.
type unbelievable struct {
	operation string
	err       error
}

func (u *unbelievable) Error() string {
	return fmt.Sprintf("%s: what the server answers is not taken: %v: nothing is changed here; ask whoever runs the endpoint", u.operation, u.err)
}

func (u *unbelievable) Unwrap() error { return u.err }

// ask a question by a connection of its own: each shows both sides' certificates anew, and
// begins with the anchors that are held then.
func (d *Device) ask(ctx context.Context, q question) (answer, error) {
	transport := d.transport(q)
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport, Timeout: exchangeTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, q.method, d.server.String()+q.path, bytes.NewReader(q.body))
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", q.operation, err)
	}
	for name, values := range q.header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", "reanchor-enrolment")
	response, err := client.Do(request)
	if err != nil {
		return answer{}, &unreachable{q.operation, err}
	}
	defer response.Body.Close()
	return read(q.operation, response)
}

// read an answer, unless it is too long.
func read(operation string, response *http.Response) (answer, error) {
	a := answer{status: response.StatusCode, header: response.Header}
	if response.TLS != nil {
		a.server = ofX509(response.TLS.PeerCertificates)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, &unreachable{operation, err}
	case len(body) > maxAnswer:
		return answer{}, &unbelievable{operation, fmt.Errorf("it is longer than %d bytes", maxAnswer)}
	}
	a.body = body
	return a, nil
}

// transport trusts exactly the anchors that are held.
func (d *Device) transport(q question) *http.Transport {
	roots := x509.NewCertPool()
	for _, anchor := range d.held().anchors {
		roots.AddCert(anchor.X509())
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: q.serverName, Time: d.options.Clock,
			// Whichever CAs the server names: it takes more than it says.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &q.shows, nil },
		},
		TLSHandshakeTimeout: handshakeTimeout, MaxResponseHeaderBytes: maxAnswerHeader,
		DisableKeepAlives: true, DisableCompression: true,
	}
}

// expect an answer with one of these statuses; any other is a [Refusal].
func (d *Device) expect(ctx context.Context, q question, statuses ...int) (answer, error) {
	a, err := d.ask(ctx, q)
	if err != nil {
		return answer{}, err
	}
	for _, status := range statuses {
		if a.status == status {
			return a, nil
		}
	}
	return answer{}, refusalOf(q.operation, a, d.options.Clock())
}
