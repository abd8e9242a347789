package registrar_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/smallstep/pkcs7"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// fuzzed is an endpoint without TLS, the device that comes to it, and what its log holds.
type fuzzed struct {
	handler http.Handler
	world   *registrartest.World
	leaf    *x509.Certificate
	audit   *bytes.Buffer
}

// fuzzedEndpoint has a group whose devices make their keys, sensors, and one whose keys are the
// cluster's, boxes. The device comes with a factory's certificate.
func fuzzedEndpoint(f *testing.F, factoryOf *registrartest.Authority, id string) fuzzed {
	f.Helper()
	world, audit := registrartest.NewWorld(fleetCA, time.Now), &bytes.Buffer{}
	world.Group("sensors", factoryCA, func(s *v1alpha1.DeviceGroupSpec) { s.Certificate.DNSNames = []string{"{{ .ID }}.sensors.example"} })
	world.Group("boxes", boxesCA, func(s *v1alpha1.DeviceGroupSpec) { s.Keys = v1alpha1.KeysCluster })
	handler := registrar.Handler(registrar.Options{
		Fleet: world.Fleet, Commits: world, Certificates: world, Keys: world, Evidence: world, Clock: time.Now,
		Limits: registrar.Limits{Hold: time.Millisecond, PerDevice: 1e9, PerAddress: 1e9, PerGroup: 1e9},
		Audit:  registrar.AuditLog(audit, func(err error) { f.Error(err) }),
	})
	leaf, err := x509.ParseCertificate(factory(factoryOf, id).Certificate[0])
	if err != nil {
		f.Fatal(err)
	}
	return fuzzed{handler, world, leaf, audit}
}

// post sends a body; nil: the path is none.
func (z fuzzed) post(path, contentType string, body []byte) *httptest.ResponseRecorder {
	parsed, err := url.ParseRequestURI(path)
	if err != nil {
		return nil
	}
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	request.URL = parsed
	request.Header.Set("Content-Type", contentType)
	request.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{z.leaf}, Version: tls.VersionTLS12}
	recorder := httptest.NewRecorder()
	z.handler.ServeHTTP(recorder, request)
	return recorder
}

// answers sends a body twice: it is answered, with no error of the server's, and what is
// refused is refused in the same words again. Each request is a line in the log, and whatever
// is committed lies below devices/.
func (z fuzzed) answers(t *testing.T, path, contentType string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	z.audit.Reset()
	got, again := z.post(path, contentType, body), z.post(path, contentType, body)
	if got == nil {
		return nil
	}
	if got.Code >= http.StatusInternalServerError && got.Code != http.StatusNotImplemented {
		t.Errorf("%s %q is answered %d %s", path, body, got.Code, got.Body)
	}
	if got.Code >= http.StatusBadRequest && (again.Code != got.Code || !bytes.Equal(again.Body.Bytes(), got.Body.Bytes())) {
		t.Errorf("%s %q is answered %d %s, and then %d %s", path, body, got.Code, got.Body, again.Code, again.Body)
	}
	if lines := bytes.Split(bytes.TrimSpace(z.audit.Bytes()), []byte("\n")); len(lines) != 2 || !json.Valid(lines[0]) || !json.Valid(lines[1]) {
		t.Errorf("%s %q is logged as %s", path, body, z.audit)
	}
	for _, commit := range z.world.Commits() {
		if at := v1alpha1.DevicePath(commit.Device.Group, commit.Device.ID); commit.Device.ID != z.leaf.Subject.CommonName || !strings.HasPrefix(at, "devices/"+commit.Device.Group+"/") {
			t.Errorf("%s %q commits %s", path, body, at)
		}
	}
	return got
}

// answersProblems is the same for what speaks JSON: what is refused is a problem document.
func (z fuzzed) answersProblems(t *testing.T, path string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	got := z.answers(t, path, "application/json", body)
	if got == nil || got.Code < http.StatusBadRequest {
		return got
	}
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(got.Body.Bytes(), &problem); err != nil || got.Header().Get("Content-Type") != "application/problem+json" ||
		problem.Status != got.Code || problem.Title == "" || problem.Detail == "" || !strings.HasPrefix(problem.Type, "tag:reanchor.dev,2026:") {
		t.Errorf("%s %q is refused with %d %v %s: %v", path, body, got.Code, got.Header(), got.Body, err)
	}
	return got
}

// FuzzEST sends bodies of all kinds: each is answered, and refused in one line of text.
func FuzzEST(f *testing.F) {
	z := fuzzedEndpoint(f, factoryCA, "sensor-1")
	der := csr(registrartest.Key(), "sensor-1")
	text := base64.StdEncoding.EncodeToString(der)
	f.Add("simpleenroll", []byte(text))
	f.Add("sensors/simpleenroll", []byte(strings.Join(strings.SplitAfter(text, "A"), "\r\n\t ")))
	f.Add("sensors/simpleenroll", []byte(registrartest.PEM(der)))
	f.Add("simplereenroll", []byte("-----BEGIN X-----"))
	f.Add("sensors/serverkeygen", []byte("AAAA"))
	f.Add("boxes/simpleenroll", []byte(text[1:]))
	f.Add("fullcmc", []byte{})
	f.Add("cacerts", []byte{})
	f.Add("../x", []byte{0})
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		got := z.answers(t, est+path, "application/pkcs10", body)
		if got == nil || got.Code < http.StatusBadRequest || !strings.HasPrefix(got.Header().Get("Content-Type"), "text/plain") {
			return
		}
		if line := got.Body.String(); strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || got.Header().Get("Content-Length") != strconv.Itoa(len(line)) {
			t.Errorf("%s %q is refused with %q", path, body, line)
		}
	})
}

// FuzzJSON sends to all routes of REST and QIoT what may or may not be JSON.
func FuzzJSON(f *testing.F) {
	z := fuzzedEndpoint(f, factoryCA, "sensor-1")
	f.Add("/v1/devices", []byte(registration("sensors", csr(registrartest.Key(), "sensor-1"))))
	f.Add("/v1/devices", []byte(`{"request":"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----"}`))
	f.Add("/v1/devices", []byte(`{"group":"sensors","group":"boxes","keys":"Cluster","more":[{}]}`))
	f.Add("/v1/register", []byte(`{"serial":"1","name":"n","keyStorePassword":"secret"}`))
	f.Add("/v1/devices/sensor-1/confirmation", []byte(`{"bundle":"`+strings.Repeat("0", 64)+`"}`))
	f.Add("/v1/devices/%2e%2e%2f/x", []byte(`[[[[`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if strings.HasPrefix(path, "/.well-known/") {
			return // EST speaks otherwise
		}
		z.answersProblems(t, path, body)
	})
}

// FuzzQIoT registers with well-formed JSON that says anything: a device is registered as the one
// of its certificate, and the password that it sends is neither answered nor logged.
func FuzzQIoT(f *testing.F) {
	z := fuzzedEndpoint(f, boxesCA, "box-1")
	f.Add("SN 4711", "Box", "", "", " and more", 4.35, 50.8)
	f.Add("1", "", "box-1", "boxes.example", "", 0.0, math.Copysign(0, -1))
	f.Add("../../x", "\u202e", "box-2", ".", "\x00\n\"", 1e300, 5e-324)
	f.Fuzz(func(t *testing.T, serial, name, id, domain, password string, longitude, latitude float64) {
		password = "kept-to-itself" + password
		sent := map[string]any{"serial": serial, "name": name, "keyStorePassword": password, "longitude": longitude, "latitude": latitude}
		if id != "" {
			sent["id"] = id
		}
		if domain != "" {
			sent["domain"] = domain
		}
		body, err := json.Marshal(sent)
		if err != nil {
			return // JSON has no NaN
		}
		got := z.answersProblems(t, "/v1/register", body)
		var answer struct{ ID string }
		if got.Code < http.StatusBadRequest && (json.Unmarshal(got.Body.Bytes(), &answer) != nil || answer.ID != "box-1") {
			t.Errorf("%s registers %q", body, answer.ID)
		}
		if bytes.Contains(got.Body.Bytes(), []byte("kept-to-itself")) || bytes.Contains(z.audit.Bytes(), []byte("kept-to-itself")) {
			t.Errorf("%s is answered with the password: %s, %s", body, got.Body, z.audit)
		}
	})
}

// FuzzBodyOfEST: DER is read from base64 in whatever lines and spaces, and from PEM; and what is
// read of any text, is read of what it is written as.
func FuzzBodyOfEST(f *testing.F) {
	der := csr(registrartest.Key(), "sensor-1")
	f.Add(der, "\r\n", 64)
	f.Add(der, " \t", 1)
	f.Add([]byte{0}, "", 0)
	f.Add([]byte(base64.StdEncoding.EncodeToString(der)), "=", 3)
	f.Add([]byte(registrartest.PEM(der)), "-----BEGIN", 0)
	f.Fuzz(func(t *testing.T, content []byte, between string, every int) {
		if len(content) == 0 {
			return
		}
		blank := strings.Trim(between, "\r\n\t ") == ""
		if read := registrar.ReadBase64([]byte(brokenBy(base64.StdEncoding.EncodeToString(content), between, every))); blank && !bytes.Equal(read, content) {
			t.Errorf("%x, with %q after every %d characters, is read as %x", content, between, every, read)
		}
		if read := registrar.ReadBase64(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: content})); !bytes.Equal(read, content) {
			t.Errorf("%x in PEM is read as %x", content, read)
		}
		read := registrar.ReadBase64(content)
		for _, wrapped := range []bool{true, false} {
			if again := registrar.ReadBase64(registrar.EncodeBase64(read, wrapped)); !bytes.Equal(again, read) {
				t.Errorf("%q is read as %x, and what that is written as, as %x", content, read, again)
			}
		}
	})
}

// brokenBy puts something between the characters of a text, after every so many.
func brokenBy(text, between string, every int) string {
	if every <= 0 {
		return between + text + between
	}
	var out strings.Builder
	for chunk := range slices.Chunk([]byte(text), every) {
		out.Write(chunk)
		out.WriteString(between)
	}
	return out.String()
}

// FuzzProblem: whatever is told, the problem document says it, and EST says it in one line.
func FuzzProblem(f *testing.F) {
	f.Add(403, "unknown-ca", "nobody here knows this CA", int64(0))
	f.Add(429, "rate", "come \"again\"\r\nlater: <b>\u2028", int64(time.Millisecond))
	f.Add(401, "", "\xff\x00", int64(time.Hour))
	f.Fuzz(func(t *testing.T, status int, problem, detail string, after int64) {
		if status < 400 || status > 599 {
			return
		}
		refusal := &admission.Refusal{Status: status, Problem: admission.Problem(problem), Detail: detail, RetryAfter: time.Duration(after)}
		document, line := httptest.NewRecorder(), httptest.NewRecorder()
		registrar.RefuseREST(document, refusal)
		registrar.RefuseEST(line, refusal)
		var read struct {
			Type, Detail string
			Status       int
		}
		if err := json.Unmarshal(document.Body.Bytes(), &read); err != nil || read.Status != status || utf8.ValidString(detail) && read.Detail != detail || utf8.ValidString(problem) && !strings.HasSuffix(read.Type, ":"+problem) {
			t.Errorf("%q is told as %s: %v", detail, document.Body, err)
		}
		if told := line.Body.String(); strings.Count(told, "\n") != 1 || strings.Contains(told, "\r") || !strings.HasSuffix(told, "\n") {
			t.Errorf("%q is told as %q", detail, told)
		}
		for _, header := range []http.Header{document.Header(), line.Header()} {
			seconds, err := strconv.Atoi(header.Get("Retry-After"))
			if after > 0 && (err != nil || seconds < 1) || after <= 0 && header.Get("Retry-After") != "" {
				t.Errorf("after %s: %q", time.Duration(after), header.Get("Retry-After"))
			}
			if challenge := map[string][]string(header)["WWW-Authenticate"]; (status == 401) != (len(challenge) == 1) { // written as in RFC 9110
				t.Errorf("%d has the challenge %q", status, challenge)
			}
		}
	})
}

// FuzzPKCS7: what is sent as certs-only holds the certificates in their order, whatever they
// are, and equal ones make equal bytes.
func FuzzPKCS7(f *testing.F) {
	f.Add(fleetCA.X509().Raw, nextCA.X509().Raw, fleetCA.Link(nextCA, time.Now()).X509().Raw)
	f.Add(fleetCA.X509().Raw, fleetCA.X509().Raw, []byte{})
	f.Add([]byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var given []pki.Certificate
		for _, der := range [][]byte{a, b, c} {
			if certificate, err := pki.Parse(der); err == nil {
				given = append(given, certificate)
			}
		}
		sent := registrar.CertsOnly(given)
		message, err := pkcs7.Parse(sent)
		if err != nil || len(message.Signers) > 0 || !slices.EqualFunc(message.Certificates, given, func(read *x509.Certificate, sent pki.Certificate) bool { return bytes.Equal(read.Raw, sent.X509().Raw) }) {
			t.Errorf("%d certificates are read as %+v: %v", len(given), message, err)
		}
		if !bytes.Equal(sent, registrar.CertsOnly(given)) {
			t.Error("equal certificates make other bytes")
		}
	})
}

// hashFirst is a header that begins with the hash of the client's certificate.
var hashFirst = regexp.MustCompile(`^(?i:hash)="?([0-9a-zA-Z]+)`)

// FuzzForwarded: of what a proxy says of a client's certificate either one chain is taken, which
// begins with the certificate whose hash it says, or nothing.
func FuzzForwarded(f *testing.F) {
	leaf, err := pki.Parse(factory(factoryCA, "sensor-1").Certificate[0])
	if err != nil {
		f.Fatal(err)
	}
	quoted, hash := `"`+url.QueryEscape(string(leaf.PEM()))+`"`, leaf.Fingerprint().String()
	chain := `"` + url.QueryEscape(string(leaf.PEM())+string(factoryCA.PEM())) + `"`
	f.Add("Hash=" + hash + ";Cert=" + strings.ReplaceAll(quoted, "+", "%20"))
	f.Add("Hash=" + hash + ";Chain=" + strings.ReplaceAll(chain, "+", "%20") + `;Subject="CN=a\",b"`)
	f.Add("By=spiffe://a;Hash=" + strings.Repeat("0", 64) + ";Cert=" + strings.ReplaceAll(quoted, "+", "%20"))
	f.Add(`URI=a;Cert="x"`)
	f.Add(`Cert="a",Cert="b"`)
	f.Fuzz(func(t *testing.T, header string) {
		read, refusal := registrar.ForwardedChain(header)
		again, _ := registrar.ForwardedChain(header)
		if !slices.EqualFunc(read, again, pki.Certificate.Equal) {
			t.Errorf("%q is read as %v, and as %v", header, read, again)
		}
		if refusal == nil && len(read) == 0 || refusal != nil && (len(read) > 0 || refusal.Status != http.StatusBadRequest || strings.Contains(refusal.Detail, "BEGIN")) {
			t.Fatalf("%q is read as %v, and refused with %v", header, read, refusal)
		}
		if told := hashFirst.FindStringSubmatch(header); told != nil && refusal == nil && !strings.EqualFold(told[1], read[0].Fingerprint().String()) {
			t.Errorf("%q is taken for %s", header, read[0])
		}
	})
}
