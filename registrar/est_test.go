package registrar_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

const (
	est    = "/.well-known/est/"
	pkcs10 = "Content-Type: application/pkcs10"
)

// certificates of an answer of EST.
func certificates(t *testing.T, got reply) []*x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(got.body), "\n", ""))
	if err != nil {
		t.Fatalf("%d %s: %v", got.StatusCode, got.body, err)
	}
	message, err := pkcs7.Parse(der)
	if err != nil {
		t.Fatalf("%d %s: %v", got.StatusCode, got.body, err)
	}
	return message.Certificates
}

func TestEnrolByEST(t *testing.T) {
	e := open(t)
	key := registrartest.Key()
	got := e.ask(e.client(factory(factoryCA, "sensor-1")), "POST", est+"sensors/simpleenroll", base64.StdEncoding.EncodeToString(csr(key, "sensor-1")), pkcs10)
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "application/pkcs7-mime; smime-type=certs-only" || got.Header.Get("Content-Transfer-Encoding") != "base64" {
		t.Fatalf("answered %d %v %s", got.StatusCode, got.Header, got.body)
	}
	issued := certificates(t, got)
	if len(issued) != 1 || !issued[0].PublicKey.(*ecdsa.PublicKey).Equal(&key.PublicKey) || issued[0].Subject.CommonName != "sensor-1" {
		t.Fatalf("issued %v", issued)
	}
	own := registrartest.With(key, pki.Of(issued[0]))
	client, next := e.client(&own), registrartest.Key()
	if got := e.ask(client, "POST", est+"simplereenroll", base64.StdEncoding.EncodeToString(csr(next, "sensor-1")), pkcs10); got.StatusCode != 200 {
		t.Errorf("rekeyed: %d %s", got.StatusCode, got.body)
	}
	if commits := e.Commits(); len(commits) != 2 || commits[1].Verdict != admission.Rekey {
		t.Errorf("commits: %+v", commits)
	}
}

// Clients write base64 in many ways.
func TestBodiesOfEST(t *testing.T) {
	e := open(t)
	key, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	der := csr(key, "sensor-1")
	text := base64.StdEncoding.EncodeToString(der)
	client := e.client(credential)
	for name, test := range map[string]struct {
		body, header string
		status       int
	}{
		"one line":           {text, pkcs10, 200},
		"CRLF":               {text[:50] + "\r\n" + text[50:] + "\r\n", pkcs10, 200},
		"blanks":             {" " + text[:9] + "\t " + text[9:] + "\n\n", pkcs10, 200},
		"PEM":                {registrartest.PEM(der), pkcs10, 200},
		"PEM of OpenSSL":     {strings.ReplaceAll(registrartest.PEM(der), "CERTIFICATE", "NEW CERTIFICATE"), pkcs10, 200},
		"a type's parameter": {text, "Content-Type: Application/PKCS10; x=y", 200},
		"DER":                {string(der), pkcs10, 400},
		"nothing":            {"", pkcs10, 400},
		"half":               {text[:100], pkcs10, 400},
		"PEM and more":       {registrartest.PEM(der) + "x", pkcs10, 400},
		"another type":       {text, "Content-Type: text/plain", 415},
		"no type":            {text, "X: y", 415},
	} {
		if got := e.ask(client, "POST", est+"simpleenroll", test.body, test.header, "Content-Transfer-Encoding: binary"); got.StatusCode != test.status {
			t.Errorf("%s: answered %d %s", name, got.StatusCode, got.body)
		}
	}
}

// The headers of EST's answers, letter by letter, and what is pending.
func TestAnswersOfEST(t *testing.T) {
	e := open(t)
	raw := rawAnswer(t, e, nil, "POST "+est+"simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if !strings.Contains(raw, "\r\nWWW-Authenticate: ClientCertificate realm=\"reanchor\"\r\n") || !strings.HasPrefix(raw, "HTTP/1.1 401 ") {
		t.Errorf("answered %q", raw)
	}
	e.HoldIssuance(true)
	got := e.ask(e.client(factory(factoryCA, "sensor-1")), "POST", est+"simpleenroll", base64.StdEncoding.EncodeToString(csr(registrartest.Key(), "sensor-1")), pkcs10)
	if got.StatusCode != 202 || got.Header.Get("Retry-After") != "10" || strings.Count(string(got.body), "\n") != 1 {
		t.Errorf("answered %d %v %s", got.StatusCode, got.Header, got.body)
	}
}

// rawAnswer of a request that is written as it stands.
func rawAnswer(t *testing.T, e *endpoint, credential *tls.Certificate, request string) string {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	config.RootCAs.AddCert(fleetCA.X509())
	if credential != nil {
		config.Certificates = []tls.Certificate{*credential}
	}
	connection, err := tls.Dial("tcp", e.address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// During a rollover the CAs are both roots, what lies below and the links.
func TestCACertificates(t *testing.T) {
	e := open(t)
	below := nextCA.Under("Issuing", time.Now())
	link := fleetCA.Link(nextCA, time.Now())
	e.Trust("sensors", admission.Trust{Anchors: pki.NewAnchors(fleetCA.Certificate, nextCA.Certificate), Intermediates: []pki.Certificate{below.Certificate}, Links: []pki.Certificate{link}})
	for path, want := range map[string]int{"cacerts": 4, "sensors/cacerts": 4, "meters/cacerts": 1} {
		if got := certificates(t, e.ask(e.client(nil), "GET", est+path, "")); len(got) != want || (want == 4 && !slices.ContainsFunc(got, link.X509().Equal)) {
			t.Errorf("%s: %d certificates", path, len(got))
		}
	}
}

// The bytes that clients read: wrapped for those that say who they are, in one line for those
// that do not.
func TestGoldenBase64(t *testing.T) {
	anchor, err := os.ReadFile("testdata/anchor.pem")
	if err != nil {
		t.Fatal(err)
	}
	read, err := pki.ParsePEM(anchor)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t)
	e.Trust("meters", admission.Trust{Anchors: pki.NewAnchors(read...)})
	e.Group("single", strangeCA, func(s *v1alpha1.DeviceGroupSpec) {
		s.Certificate.KeyAlgorithms = []v1alpha1.KeyAlgorithm{v1alpha1.ECDSA}
	})
	e.Group("single-ed", strangeCA, func(s *v1alpha1.DeviceGroupSpec) {
		s.Certificate.KeyAlgorithms = []v1alpha1.KeyAlgorithm{v1alpha1.Ed25519}
	})
	e.Group("single-rsa", strangeCA, func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.KeyAlgorithms = []v1alpha1.KeyAlgorithm{v1alpha1.RSA} })
	for file, test := range map[string]struct{ path, agent string }{
		"cacerts-wrapped.txt":   {"meters/cacerts", "libest 3.2"},
		"cacerts-unwrapped.txt": {"meters/cacerts", ""},
		"csrattrs-ecdsa.txt":    {"single/csrattrs", "x"},
		"csrattrs-ed25519.txt":  {"single-ed/csrattrs", "x"},
		"csrattrs-rsa.txt":      {"single-rsa/csrattrs", "x"},
	} {
		got := e.ask(e.client(nil), "GET", est+test.path, "", "User-Agent: "+test.agent)
		golden.File(t, filepath.Join("testdata", file), got.body)
	}
}

func TestServerKeyGeneration(t *testing.T) {
	e := open(t)
	request := registrartest.CSR(registrartest.Key(), "box-1", []string{"box-1.boxes.example"})
	got := e.ask(e.client(factory(boxesCA, "box-1")), "POST", est+"serverkeygen", base64.StdEncoding.EncodeToString(request), pkcs10)
	kind, parameters, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if err != nil || got.StatusCode != 200 || kind != "multipart/mixed" {
		t.Fatalf("answered %d %v %s", got.StatusCode, got.Header, got.body)
	}
	parts := multipart.NewReader(bytes.NewReader(got.body), parameters["boundary"])
	var ders [][]byte
	for _, want := range []string{"application/pkcs8", "application/pkcs7-mime; smime-type=certs-only"} {
		part, err := parts.NextRawPart()
		if err != nil || part.Header.Get("Content-Type") != want || part.Header.Get("Content-Transfer-Encoding") != "base64" {
			t.Fatalf("part %v: %v", part, err)
		}
		der, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			t.Fatal(err)
		}
		ders = append(ders, der)
	}
	key, err := x509.ParsePKCS8PrivateKey(ders[0])
	if err != nil {
		t.Fatal(err)
	}
	message, err := pkcs7.Parse(ders[1])
	if err != nil || len(message.Certificates) != 1 || !key.(*ecdsa.PrivateKey).PublicKey.Equal(message.Certificates[0].PublicKey) {
		t.Errorf("the certificate is not the key's: %v", err)
	}
}

// challenged is a CSR with a challenge password.
func challenged(key *ecdsa.PrivateKey, password string) []byte {
	value, err := asn1.MarshalWithParams(password, "utf8")
	if err != nil {
		panic(err)
	}
	return registrartest.CSRWith(key, csr(key, "sensor-1"), asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, value)
}

// A challenge password is the binding of the connection that it comes by, or refused.
func TestChannelBinding(t *testing.T) {
	e := open(t)
	key, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			client := e.client(credential, func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
			state := e.ask(client, "GET", est+"cacerts", "").TLS
			binding := state.TLSUnique
			if version == tls.VersionTLS13 {
				var err error
				if binding, err = state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err != nil {
					t.Fatal(err)
				}
			}
			enrol := func(password string) int {
				return e.ask(client, "POST", est+"simpleenroll", base64.StdEncoding.EncodeToString(challenged(key, password)), pkcs10).StatusCode
			}
			bound := base64.StdEncoding.EncodeToString(binding)
			if status := enrol(bound); status != 200 {
				t.Errorf("the binding: %d", status)
			}
			for _, password := range []string{"secret", "", bound[1:], base64.StdEncoding.EncodeToString(nil)} {
				if status := enrol(password); status != 400 {
					t.Errorf("%q: %d", password, status)
				}
			}
			client.CloseIdleConnections()
			if status := enrol(bound); status != 400 {
				t.Errorf("the binding of another connection: %d", status)
			}
		})
	}
	body := registration("", challenged(key, "a secret of the device's"))
	if got := e.ask(e.client(credential), "POST", "/v1/devices", body, jsonType); got.StatusCode != 400 || got.problem() != "channel-binding" {
		t.Errorf("a password by REST: %d %s", got.StatusCode, got.body)
	}
}
