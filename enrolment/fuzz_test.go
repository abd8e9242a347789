package enrolment

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/smallstep/pkcs7"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// Whatever is answered, it is read or refused: anchors are CAs and some, a chain begins with
// what was issued and ends, and what a server says stands in one line.
func FuzzAnswers(f *testing.F) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	root := registrartest.Root("Fleet", at)
	anchors := pki.NewAnchors(root.Certificate)
	f.Add(anchors.PEM(), `"`+anchors.SHA256().String()+`"`, "10")
	f.Add([]byte(`{"certificate":"x","chain":"y"}`), "", "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add([]byte(`{"certificate":{"sha256":"00"}}`), "application/json", "-1")
	f.Add([]byte(`{"type":"tag:reanchor.dev,2026:blocked","detail":"no"}`), "application/problem+json", "99999999999999999999")
	certsOnly, err := pkcs7.DegenerateCertificate(root.X509().Raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(base64.StdEncoding.EncodeToString(certsOnly)), "application/pkcs7-mime; smime-type=certs-only", "0")
	f.Add([]byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x30, 0x80}, 40_000))), "application/pkcs7-mime", "")
	f.Add([]byte(base64.StdEncoding.EncodeToString([]byte{0x30, 0x80, 6, 9, 42, 134, 72, 134, 247, 13, 1, 7, 2, 0xa0, 0x80, 0, 0, 0, 0})), "text/plain", "")
	f.Fuzz(func(t *testing.T, body []byte, header, after string) {
		if bundle, err := parseBundle(body, header); err == nil && (len(bundle) == 0 || !bundle[0].IsCA()) {
			t.Errorf("a bundle of %v", bundle)
		}
		for _, parse := range []func([]byte) ([]pki.Certificate, error){parseRegistered, parseCertsOnly} {
			certificates, err := parse(body)
			if err != nil {
				continue
			}
			if chain := chainOf(certificates[0], certificates); !chain[0].Equal(certificates[0]) || len(chain) > len(certificates)+1 {
				t.Errorf("a chain of %v", chain)
			}
		}
		_, _ = parseNewest(body)
		if group := parseGroup(body); strings.ContainsAny(group, "\n\x1b") || len([]rune(group)) > maxGroup {
			t.Errorf("group %q", group)
		}
		a := answer{status: 403, header: http.Header{"Content-Type": {header}, "Retry-After": {after}}, body: body}
		r := refusalOf("ask", a, at)
		if r.Detail == "" || strings.ContainsFunc(r.Error(), func(c rune) bool { return !unicode.IsPrint(c) }) || r.RetryAfter < 0 || r.RetryAfter > maxRetryAfter {
			t.Errorf("%q, again after %s", r.Error(), r.RetryAfter)
		}
	})
}

// Retry-After is read as RFC 9110 has it, and bounded.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 10, 21, 7, 28, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"10": 10 * time.Second, "0": 0, "-5": 0, "": 0, "soon": 0, "99999999999": maxRetryAfter,
		"Wed, 21 Oct 2026 07:30:00 GMT": 2 * time.Minute, "Wed, 21 Oct 2020 07:30:00 GMT": 0, "Wed, 21 Oct 2099 07:30:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %s, not %s", value, got, want)
		}
	}
}

// Which refusals are over by themselves, and after which another certificate is tried.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		status               int
		problem              string
		temporary, unwelcome bool
	}{
		{202, "", true, false},
		{400, "bad-request", false, false},
		{401, "no-certificate", false, false},
		{403, "expired-certificate", false, true},
		{403, "unknown-ca", false, true},
		{403, "blocked", false, false},
		{403, "", false, true}, // EST
		{404, "unknown-group", false, false},
		{408, "", true, false},
		{409, "wrong-bundle", true, false},
		{409, "key-in-use", false, false},
		{429, "too-many-requests", true, false},
		{500, "", true, false},
		{501, "", false, false},
		{503, "unavailable", true, false},
	} {
		r := &Refusal{Status: test.status, Problem: test.problem}
		if r.Temporary() != test.temporary || r.unwelcome() != test.unwelcome {
			t.Errorf("%d %s: temporary %t, unwelcome %t", test.status, test.problem, r.Temporary(), r.unwelcome())
		}
	}
}

// A visit comes when a certificate is due, and the more often the less time it has left.
func TestPause(t *testing.T) {
	at := time.Now()
	root := registrartest.Root("Fleet", at)
	leaf := root.Sign(registrartest.Leaf("sensor-1", at, at.Add(90*time.Minute)), registrartest.Key().Public())
	var now time.Time
	d := &Device{options: Options{RenewAt: 2.0 / 3, Interval: 20 * time.Minute, Clock: func() time.Time { return now }, Jitter: func() float64 { return 0 }}}
	for _, test := range []struct {
		passed, want time.Duration
		chain        []pki.Certificate
	}{
		{0, 20 * time.Minute, nil},
		{0, 20 * time.Minute, []pki.Certificate{leaf}},
		{50 * time.Minute, 10 * time.Minute, []pki.Certificate{leaf}},
		{60 * time.Minute, 5 * time.Minute, []pki.Certificate{leaf}},
		{84 * time.Minute, time.Minute, []pki.Certificate{leaf}},
		{2 * time.Hour, 10 * time.Second, []pki.Certificate{leaf}},
	} {
		d.state.Store(&held{chain: test.chain})
		if now = leaf.NotBefore().Add(test.passed); d.pause() != test.want {
			t.Errorf("after %s: %s, not %s", test.passed, d.pause(), test.want)
		}
	}
	now = leaf.NotBefore()
	d.options.Jitter = func() float64 { return 0.5 }
	if got := d.pause(); got != 21*time.Minute {
		t.Errorf("with chance: %s", got)
	}
}
