package registrar_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// answeredBy sends a body to a handler, and expects any answer but an error of the server's.
func answeredBy(t *testing.T, handler http.Handler, leaf *x509.Certificate, path, contentType string, body []byte) {
	parsed, err := url.ParseRequestURI(path)
	if err != nil {
		return
	}
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	request.URL = parsed
	request.Header.Set("Content-Type", contentType)
	request.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, Version: tls.VersionTLS12}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code >= http.StatusInternalServerError && recorder.Code != http.StatusNotImplemented {
		t.Errorf("%s %q is answered %d %s", path, body, recorder.Code, recorder.Body)
	}
}
