package enrolment_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/reanchor/reanchor/enrolment"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// liar is a server with a certificate that the device trusts, and other answers than it
// should give. What it does not lie about it answers as the endpoint does.
type liar struct {
	bundle      func(w http.ResponseWriter)
	certificate []byte
	all         http.HandlerFunc
}

func (l liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case l.all != nil:
		l.all(w, r)
	case strings.HasPrefix(r.URL.Path, "/v1/trust-bundle") && l.bundle != nil:
		l.bundle(w)
	case strings.HasPrefix(r.URL.Path, "/v1/trust-bundle"):
		w.WriteHeader(http.StatusNotModified)
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(r.URL.Path, "enroll"), strings.HasSuffix(r.URL.Path, "/cacerts"):
		_, _ = w.Write(certsOnly(l.certificate))
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]string{"certificate": string(l.certificate)})
	case strings.HasSuffix(r.URL.Path, "/certificate"):
		_, _ = w.Write(l.certificate)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"certificate": map[string]string{"sha256": strings.Repeat("ab", 32)}})
	}
}

// certsOnly is a certificate as EST has it; what is none is sent as it is.
func certsOnly(text []byte) []byte {
	certificates, err := pki.ParsePEM(text)
	if err != nil {
		return text
	}
	message, err := pkcs7.DegenerateCertificate(certificates[0].X509().Raw)
	if err != nil {
		panic(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(message))
}

// serve a liar in the place of the endpoint.
func (l liar) serve(t *testing.T) string {
	server := httptest.NewUnstartedServer(l)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{oldCA.ServerCredential("registrar.test", begun)}, ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// bundleOf is an answer with a bundle, and the ETag that belongs to it unless another is given.
func bundleOf(body []byte, etag ...string) func(http.ResponseWriter) {
	sum := sha256.Sum256(body)
	tag := append(etag, `"`+hex.EncodeToString(sum[:])+`"`)[0]
	return func(w http.ResponseWriter) {
		w.Header().Set("ETag", tag)
		_, _ = w.Write(body)
	}
}

// Whatever a server says, what it may not change stays.
func TestLiars(t *testing.T) {
	leaf := func(ca *registrartest.Authority, name string, key any, from, to time.Time, change ...func(*x509.Certificate)) []byte {
		return ca.Sign(registrartest.Leaf(name, from, to, change...), key).PEM()
	}
	hour, year := begun.Add(-time.Hour), begun.AddDate(1, 0, 0)
	leaves := func(key any) map[string][]byte {
		return map[string][]byte{
			"another key":        leaf(oldCA, "sensor-1", registrartest.Key().Public(), begun, year),
			"another device's":   leaf(oldCA, "sensor-2", key, begun, year),
			"of another root":    leaf(newCA, "sensor-1", key, begun, year),
			"a stranger's":       leaf(strangeCA, "sensor-1", key, begun, year),
			"an ended one":       leaf(oldCA, "sensor-1", key, hour, hour.Add(time.Minute)),
			"one for later":      leaf(oldCA, "sensor-1", key, year, year.AddDate(1, 0, 0)),
			"an older one":       leaf(oldCA, "sensor-1", key, begun.AddDate(0, 0, -2), year),
			"a CA's":             leaf(oldCA, "sensor-1", key, begun, year, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
			"nothing":            {},
			"noise":              []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
			"more than is taken": bytes.Repeat([]byte{'A'}, 2<<20),
		}
	}
	client := oldCA.Sign(registrartest.Leaf("sensor-9", hour, year), registrartest.Key().Public())
	ended := registrartest.Root("Ended", begun.AddDate(-20, 0, 0))
	lies := map[string]liar{
		"an empty bundle":                      {bundle: bundleOf(nil)},
		"a bundle of noise":                    {bundle: bundleOf([]byte("-----BEGIN"))},
		"a bundle that drops everything":       {bundle: bundleOf(strangeCA.PEM())},
		"a bundle that drops the server's own": {bundle: bundleOf(newCA.PEM())},
		"a bundle with a leaf":                 {bundle: bundleOf(pki.NewAnchors(oldCA.Certificate, client).PEM())},
		"a bundle that has ended":              {bundle: bundleOf(ended.PEM())},
		"a bundle that is cut off":             {bundle: bundleOf(oldAnchor.PEM(), `"`+both.SHA256().String()+`"`)},
		"a bundle without a hash":              {bundle: bundleOf(both.PEM(), "")},
		"a bundle that is too long":            {bundle: bundleOf(bytes.Repeat(oldCA.PEM(), 4000))},
		"a redirect": {all: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		}},
		"another kind of server": {all: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }},
		"nothing at all":         {all: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
	}
	protocols(t, func(t *testing.T, by func(*enrolment.Options)) {
		for name, lie := range lies {
			believesNothing(t, name, func(any) liar { return lie }, by)
		}
		for name := range leaves(registrartest.Key().Public()) {
			believesNothing(t, name, func(key any) liar { return liar{certificate: leaves(key)[name]} }, by)
		}
	})
}

// believesNothing fails if a lie changes what is on disk, is not told, or is taken for
// something that is over soon.
func believesNothing(t *testing.T, name string, lie func(key any) liar, by func(*enrolment.Options)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		s := openSite(t)
		options := s.options(by)
		w := s.reopen(options)
		s.must(w.Enrol(t.Context()))
		before := files(t, w.folder)
		options.Server = lie(w.Chain()[0].X509().PublicKey).serve(t)
		deceived := s.reopen(options)
		if err := deceived.Visit(t.Context()); err == nil || !strings.Contains(err.Error(), ": ") || len(err.Error()) > 1500 {
			t.Errorf("it says %v", err)
		}
		if after := files(t, w.folder); !maps.Equal(before, after) {
			t.Errorf("the folder has become\n%v\nand was\n%v", after, before)
		}
		if !deceived.Chain()[0].Equal(w.Chain()[0]) || !deceived.Anchors().Equal(oldAnchor) {
			t.Errorf("it holds %v, %v", deceived.Chain(), deceived.Anchors())
		}
		deceived = s.open(by, func(o *enrolment.Options) { o.Server = options.Server })
		if err := deceived.Enrol(t.Context()); name != "an older one" && (err == nil || len(deceived.Chain()) > 0) {
			t.Errorf("a new device holds %v, %v", deceived.Chain(), err)
		}
	})
}

// What a server says stands in one line, and steers no terminal.
func TestWordsOfOthers(t *testing.T) {
	s := openSite(t)
	w := s.open(func(o *enrolment.Options) {
		o.Server = liar{all: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]string{"type": "tag:x:bl\x1b[31mocked", "detail": "go\n\x1b[2Jaway " + strings.Repeat("!", 5000)})
		}}.serve(t)
	})
	err := w.Enrol(t.Context())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 800 || !strings.Contains(err.Error(), "go [2Jaway") {
		t.Errorf("it says %q", err)
	}
}
