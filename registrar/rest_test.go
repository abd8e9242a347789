package registrar_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// answered is the body of a registration.
type answered struct{ ID, Group, State, Detail, Certificate, Chain, Anchors string }

func read(t *testing.T, got reply) answered {
	t.Helper()
	var a answered
	if err := json.Unmarshal(got.body, &a); err != nil {
		t.Fatalf("%d %s: %v", got.StatusCode, got.body, err)
	}
	return a
}

// A device registers once, however often it asks.
func TestRegister(t *testing.T) {
	e := open(t)
	key, client := registrartest.Key(), e.client(factory(factoryCA, "sensor-1"))
	first := e.ask(client, "POST", "/v1/devices", registration("sensors", csr(key, "sensor-1")), jsonType)
	got := read(t, first)
	if first.StatusCode != http.StatusCreated || first.Header.Get("Location") != "/v1/devices/sensor-1" || got.ID != "sensor-1" || got.State != "Issued" {
		t.Fatalf("answered %d %v %s", first.StatusCode, first.Header, first.body)
	}
	certificates, err := pki.ParsePEM([]byte(got.Certificate))
	if err != nil || certificates[0].SPKI() != registrartest.KeyID(&key.PublicKey) || got.Anchors != string(fleetCA.PEM()) {
		t.Errorf("got %v, %v", certificates, err)
	}
	// another CSR of the same key is the same registration
	again := e.ask(client, "POST", "/v1/devices", registration("", csr(key, "sensor-1")), jsonType)
	if again.StatusCode != http.StatusCreated || read(t, again).Certificate != got.Certificate {
		t.Errorf("again: %d %s", again.StatusCode, again.body)
	}
	if commits := e.Commits(); len(commits) != 1 || commits[0].Verdict != admission.Register || commits[0].Was != nil || commits[0].Request == "" {
		t.Errorf("commits: %+v", commits)
	}
	audit, _ := e.entries()
	if len(audit) != 2 || audit[0].Result != "register" || audit[0].Commit == "" || audit[0].Device != "sensor-1" || audit[0].Status != 201 || audit[1].Result != "existing" || audit[1].Commit != "" {
		t.Errorf("audit: %+v", audit)
	}
}

// Many at once, with one key and with two: one registration, and the other key is refused.
func TestRegisterAtOnce(t *testing.T) {
	e := open(t)
	keys := []*ecdsa.PrivateKey{registrartest.Key(), registrartest.Key()}
	client := e.client(factory(factoryCA, "sensor-1"))
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]map[int]int{0: {}, 1: {}}
	for i := range 20 {
		all.Go(func() {
			got := e.ask(client, "POST", "/v1/devices", registration("sensors", csr(keys[i%2], "sensor-1")), jsonType)
			mu.Lock()
			defer mu.Unlock()
			statuses[i%2][got.StatusCode]++
		})
	}
	all.Wait()
	// the quota of one lets the second key recover, and makes the first superseded
	if commits := e.Commits(); len(commits) != 2 || commits[1].Verdict != admission.Recover || len(commits[1].Device.Superseded) != 1 {
		t.Errorf("%d commits: %+v", len(commits), commits)
	}
	for _, by := range statuses {
		if by[201]+by[403] != 10 || by[201] == 0 {
			t.Errorf("statuses: %v", statuses)
		}
	}
}

// Devices whose keys cert-manager makes are registered at once: they have no key to wait for.
func TestDevicesWithoutKeysDoNotWaitForEachOther(t *testing.T) {
	e := open(t, func(o *registrar.Options) { o.Limits.Hold = 10 * time.Second })
	const fleet = 8
	var inside sync.WaitGroup
	inside.Add(fleet)
	e.OnCommit(func() {
		inside.Done()
		inside.Wait() // for all of them: were there turns, nobody would come to this
	})
	var all sync.WaitGroup
	for i := range fleet {
		path, body, header := "/v1/devices", `{"keys":"Cluster"}`, jsonType
		id := fmt.Sprintf("box-%d", i)
		if i%2 == 0 { // the key of its CSR does not count
			request := registrartest.CSR(boxKey, id, []string{id + ".boxes.example"})
			path, body, header = "/.well-known/est/serverkeygen", base64.StdEncoding.EncodeToString(request), "Content-Type: application/pkcs10"
		}
		all.Go(func() {
			if got := e.ask(e.client(factory(boxesCA, id)), "POST", path, body, header); got.StatusCode/100 != 2 {
				t.Errorf("%s: answered %d %s", id, got.StatusCode, got.body)
			}
		})
	}
	all.Wait()
}

var boxKey = registrartest.Key()

// Who waits for another request of the same device is told to come again, if that takes long.
func TestTurnsEnd(t *testing.T) {
	e := open(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e.OnCommit(func() {
		once.Do(func() { close(entered) })
		<-leave
	})
	client, body := e.client(factory(factoryCA, "sensor-1")), registration("sensors", csr(registrartest.Key(), "sensor-1"))
	first := make(chan reply, 1)
	go func() { first <- e.ask(client, "POST", "/v1/devices", body, jsonType) }()
	<-entered
	if got := e.ask(client, "POST", "/v1/devices", body, jsonType); got.StatusCode != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("while another is written: %d %s", got.StatusCode, got.body)
	}
	close(leave)
	if got := <-first; got.StatusCode != 201 {
		t.Errorf("the first: %d %s", got.StatusCode, got.body)
	}
}

// What Git and the cluster answer, and what a device is told.
func TestRegisterWhenThingsFail(t *testing.T) {
	for name, test := range map[string]struct {
		before          func(*endpoint)
		status          int
		result, problem string
		retry           bool
	}{
		"Git is away":          {func(e *endpoint) { e.FailCommits(fmt.Errorf("push: %w", registrar.ErrUnreachable)) }, 503, "unavailable", "unavailable", true},
		"anything else of Git": {func(e *endpoint) { e.FailCommits(errors.New("disk full")) }, 503, "unavailable", "unavailable", true},
		"the queue is full":    {func(e *endpoint) { e.FailCommits(registrar.ErrQueueFull) }, 503, "unavailable", "unavailable", true},
		"it changes for ever":  {func(e *endpoint) { e.FailCommits(registrar.ErrChanged) }, 503, "unavailable", "unavailable", true},
		"a pull request":       {func(e *endpoint) { e.FailCommits(registrar.ErrProposed) }, 202, "proposed", "", true},
		"issuance takes long":  {func(e *endpoint) { e.HoldIssuance(true) }, 202, "pending", "", true},
		"the issuer refuses":   {func(e *endpoint) { e.RefuseIssuance(registrar.ErrIssuanceFailed) }, 503, "issuance-failed", "issuance-failed", true},
		"blocked meanwhile": {func(e *endpoint) {
			e.OnCommit(func() {
				e.OnCommit(nil)
				e.Put(admission.Device{Group: "sensors", ID: "sensor-1", State: v1alpha1.DeviceBlocked})
			})
		}, 403, "blocked", "blocked", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			test.before(e)
			got := e.ask(e.client(factory(factoryCA, "sensor-1")), "POST", "/v1/devices", registration("sensors", csr(registrartest.Key(), "sensor-1")), jsonType)
			_, err := strconv.ParseUint(got.Header.Get("Retry-After"), 10, 16)
			audit, _ := e.entries()
			if got.StatusCode != test.status || got.problem() != test.problem || (err == nil) != test.retry || audit[0].Result != test.result {
				t.Errorf("answered %d %q, Retry-After %q, result %q: %s", got.StatusCode, got.problem(), got.Header.Get("Retry-After"), audit[0].Result, got.body)
			}
			if test.status == 202 && (got.Header.Get("Location") != "/v1/devices/sensor-1" || read(t, got).State != "Pending") {
				t.Errorf("answered %v %s", got.Header, got.body)
			}
		})
	}
}

// Renewals go on while Git is away; within the time of renewal the renewed one is waited for.
func TestRenew(t *testing.T) {
	e := open(t, func(o *registrar.Options) { o.Limits.Hold = 10 * time.Second })
	key, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	e.FailCommits(registrar.ErrUnreachable)
	e.ahead.Store(int64(80 * 24 * time.Hour)) // of some 90 days; renewed 30 days before the end
	renewed := own("sensor-1", key, time.Now().AddDate(0, 9, 0))
	client := e.client(credential)
	waits := make(chan reply)
	go func() {
		waits <- e.ask(client, "POST", "/v1/devices", registration("", csr(key, "sensor-1")), jsonType)
	}()
	leaf, err := pki.Parse(renewed.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-waits:
		t.Fatalf("did not wait: %d %s", got.StatusCode, got.body)
	case <-time.After(100 * time.Millisecond):
	}
	e.Issue(registrar.Holder{Group: "sensors", ID: "sensor-1", Key: leaf.SPKI()}, leaf)
	if got := <-waits; got.StatusCode != 201 || read(t, got).Certificate != string(leaf.PEM()) {
		t.Errorf("answered %d %s", got.StatusCode, got.body)
	}
}

// An issuer may make certificates shorter than they were asked for: they are handed out all the
// same, before and within the time in which they are renewed.
func TestShortCertificates(t *testing.T) {
	e := open(t)
	e.Group("short", strangeCA, func(s *v1alpha1.DeviceGroupSpec) {
		s.Certificate.Duration = &metav1.Duration{Duration: 365 * 24 * time.Hour}
		s.Certificate.RenewBefore = &metav1.Duration{Duration: 100 * 24 * time.Hour} // of 90 days
	})
	client := e.client(factory(strangeCA, "s-1"))
	body := registration("short", registrartest.CSR(registrartest.Key(), "s-1", nil))
	var first string
	for _, on := range []struct{ day, status int }{{0, 201}, {59, 201}, {61, 201}, {89, 201}, {91, 202}} {
		day, status := on.day, on.status
		e.ahead.Store(int64(day) * int64(24*time.Hour))
		began := time.Now()
		got := e.ask(client, "POST", "/v1/devices", body, jsonType)
		if got.StatusCode != status {
			t.Errorf("on day %d: answered %d %s", day, got.StatusCode, got.body)
		}
		if waited := time.Since(began) >= 200*time.Millisecond; waited != (day > 60) {
			t.Errorf("on day %d: waited %t for a fresher one", day, waited)
		}
		if certificate := read(t, got).Certificate; status == 201 && first != "" && certificate != first {
			t.Errorf("on day %d: another certificate", day)
		} else if status == 201 {
			first = certificate
		}
	}
}

// A new key by the device's own certificate: the old one is good for seeing what there is until
// the device is seen with the new one, and then it is refused, and a person hears of it.
func TestRekey(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	e.HoldIssuance(true)
	old, next := e.client(credential), registrartest.Key()
	for _, ask := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/v1/devices", 202},
		{"GET", "/v1/devices/sensor-1", 200},
		{"GET", "/v1/devices/sensor-1/certificate", 404}, // not issued yet
		{"GET", "/.well-known/est/sensors/cacerts", 200},
		{"POST", "/v1/devices", 202},
	} {
		body, header := "", []string(nil)
		if ask.method == "POST" {
			body, header = registration("", csr(next, "sensor-1")), []string{jsonType}
		}
		if got := e.ask(old, ask.method, ask.path, body, header...); got.StatusCode != ask.status {
			t.Errorf("%s %s: answered %d %s, want %d", ask.method, ask.path, got.StatusCode, got.body, ask.status)
		}
	}
	e.Release(e.Commits()[0])
	if got := e.ask(old, "GET", "/v1/devices/sensor-1/certificate", ""); got.StatusCode != 200 || !next.PublicKey.Equal(firstOf(t, got.body)) {
		t.Errorf("the old certificate fetches %d %s", got.StatusCode, got.body)
	}
	if _, alarms := e.entries(); len(alarms) != 0 || len(e.Commits()) != 1 {
		t.Errorf("%d alarms, %d commits", len(alarms), len(e.Commits()))
	}
	if got := e.ask(e.client(own("sensor-1", next, time.Now().AddDate(0, 1, 0))), "GET", "/v1/devices/sensor-1", ""); got.StatusCode != 200 || !strings.Contains(string(got.body), registrartest.KeyID(&next.PublicKey).String()) {
		t.Errorf("the new certificate is answered %d %s", got.StatusCode, got.body)
	}
	device := e.Commits()[0].Device
	device.Shown = true
	e.Put(device)
	for _, path := range []string{"/v1/devices/sensor-1", "/v1/devices/sensor-1/certificate"} {
		if got := e.ask(old, "GET", path, ""); got.StatusCode != 403 || got.problem() != "superseded" {
			t.Errorf("once the new key is in use, the old certificate is answered %d %s", got.StatusCode, got.body)
		}
	}
	if _, alarms := e.entries(); len(alarms) != 2 {
		t.Errorf("%d alarms", len(alarms))
	}
}

// firstOf the certificates in PEM, its public key.
func firstOf(t *testing.T, text []byte) crypto.PublicKey {
	t.Helper()
	parsed, err := pki.ParsePEM(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed[0].X509().PublicKey
}

// A device that has lost its key comes back with another by its factory certificate, and
// fetches with that what it was told to come again for. The old certificate is a stranger's
// from the commit on.
func TestARecoveryIsFetchedByTheFactoryCertificate(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	e.HoldIssuance(true)
	bootstrap, next := e.client(factory(factoryCA, "sensor-1")), registrartest.Key()
	comeBack := func() reply {
		return e.ask(bootstrap, "POST", "/v1/devices", registration("", csr(next, "sensor-1")), jsonType)
	}
	if got := comeBack(); got.StatusCode != 202 || len(e.Commits()) != 1 || e.Commits()[0].Verdict != admission.Recover {
		t.Fatalf("answered %d %s after %+v", got.StatusCode, got.body, e.Commits())
	}
	if got := e.ask(e.client(credential), "GET", "/v1/devices/sensor-1", ""); got.StatusCode != 403 || got.problem() != "superseded" {
		t.Errorf("the old certificate is answered %d %s", got.StatusCode, got.body)
	}
	e.Release(e.Commits()[0])
	if got := e.ask(bootstrap, "GET", "/v1/devices/sensor-1/certificate", ""); got.StatusCode != 200 || !next.PublicKey.Equal(firstOf(t, got.body)) {
		t.Errorf("the factory certificate fetches %d %s", got.StatusCode, got.body)
	}
	if got := comeBack(); got.StatusCode != 201 || len(e.Commits()) != 1 {
		t.Errorf("asked again: %d %s, %d commits", got.StatusCode, got.body, len(e.Commits()))
	}
}

// A rekey whose answer was lost, or told to come again: the old certificate fetches it with the
// same request, and nobody is alarmed. What else it asks for is refused.
func TestRekeyIsAnsweredAgain(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	e.HoldIssuance(true)
	client, next := e.client(credential), registrartest.Key()
	request := csr(next, "sensor-1")
	rekey := func() reply {
		return e.ask(client, "POST", "/.well-known/est/simplereenroll", base64.StdEncoding.EncodeToString(request), "Content-Type: application/pkcs10")
	}
	for range 2 {
		if got := rekey(); got.StatusCode != 202 {
			t.Fatalf("while it is not issued: %d %s", got.StatusCode, got.body)
		}
	}
	e.Release(e.Commits()[0])
	if got := rekey(); got.StatusCode != 200 || !next.PublicKey.Equal(certificates(t, got)[0].PublicKey) {
		t.Errorf("once it is issued: %d %s", got.StatusCode, got.body)
	}
	if got := e.ask(client, "POST", "/v1/devices", registration("", request), jsonType); got.StatusCode != 201 {
		t.Errorf("by REST: %d %s", got.StatusCode, got.body)
	}
	if _, alarms := e.entries(); len(alarms) != 0 || len(e.Commits()) != 1 {
		t.Errorf("%d alarms, %d commits", len(alarms), len(e.Commits()))
	}
	got := e.ask(client, "POST", "/v1/devices", registration("", csr(registrartest.Key(), "sensor-1")), jsonType)
	if _, alarms := e.entries(); got.StatusCode != 403 || len(alarms) != 1 {
		t.Errorf("for another key: %d %s, %d alarms", got.StatusCode, got.body, len(alarms))
	}
}

// A device may have a few new keys an hour: each is a commit. What came to nothing does not
// count, and neither does the same key again.
func TestRekeysAreLimited(t *testing.T) {
	e := open(t, func(o *registrar.Options) { o.Limits.RekeysPerHour = 2 })
	key, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	rekey := func(next *ecdsa.PrivateKey) reply {
		got := e.ask(e.client(credential), "POST", "/v1/devices", registration("", csr(next, "sensor-1")), jsonType)
		if got.StatusCode == 201 {
			key, credential = next, own("sensor-1", next, time.Now().AddDate(0, 3, 0))
		}
		return got
	}
	e.FailCommits(registrar.ErrUnreachable)
	for range 3 {
		if got := rekey(registrartest.Key()); got.StatusCode != 503 {
			t.Fatalf("while Git is away: %d %s", got.StatusCode, got.body)
		}
	}
	e.FailCommits(nil)
	for range 2 {
		if got := rekey(registrartest.Key()); got.StatusCode != 201 {
			t.Fatalf("within the limit: %d %s", got.StatusCode, got.body)
		}
	}
	got := rekey(registrartest.Key())
	if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); got.StatusCode != 429 || err != nil || wait < 1790 || wait > 1800 {
		t.Errorf("beyond the limit: %d, Retry-After %q", got.StatusCode, got.Header.Get("Retry-After"))
	}
	if got := rekey(key); got.StatusCode != 201 {
		t.Errorf("the same key: %d %s", got.StatusCode, got.body)
	}
	if _, other := e.sensor("sensor-2", v1alpha1.DeviceActive); e.ask(e.client(other), "POST", "/v1/devices", registration("", csr(registrartest.Key(), "sensor-2")), jsonType).StatusCode != 201 {
		t.Error("another device pays for it")
	}
	e.ahead.Store(int64(31 * time.Minute))
	if got := rekey(registrartest.Key()); got.StatusCode != 201 || len(e.Commits()) != 4 {
		t.Errorf("half an hour later: %d %s, %d commits", got.StatusCode, got.body, len(e.Commits()))
	}
}

// An id is whatever a factory called a device; in a path it is escaped.
func TestIDsInPaths(t *testing.T) {
	e := open(t)
	for _, id := range []string{"urn:dev:mac:0024befffe804ff1", "a/b//c", "SN 4711", "50%", "ü"} {
		client := e.client(factory(metersCA, id))
		got := e.ask(client, "POST", "/v1/devices", registration("meters", registrartest.CSR(registrartest.Key(), id, nil)), jsonType)
		if got.StatusCode != 201 {
			t.Errorf("%q: answered %d %s", id, got.StatusCode, got.body)
			continue
		}
		shown := e.ask(client, "GET", got.Header.Get("Location"), "")
		if shown.StatusCode != 200 || !strings.Contains(string(shown.body), strconv.Quote(id)) || got.Header.Get("Location") != "/v1/devices/"+url.PathEscape(id) {
			t.Errorf("%q at %s: answered %d %s", id, got.Header.Get("Location"), shown.StatusCode, shown.body)
		}
	}
}

// The bundle, its ETag, and the confirmation of it are evidence.
func TestBundleAndConfirmation(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	both := pki.NewAnchors(fleetCA.Certificate, nextCA.Certificate)
	e.Trust("sensors", admission.Trust{Anchors: both, Links: []pki.Certificate{fleetCA.Link(nextCA, time.Now())}})
	client := e.client(credential)
	bundle := e.ask(client, "GET", "/v1/trust-bundle", "")
	tag := bundle.Header.Get("ETag")
	if !bytes.Equal(bundle.body, both.PEM()) || tag != `"`+both.SHA256().String()+`"` || bundle.Header.Get("Content-Type") != "application/x-pem-file" {
		t.Fatalf("got %v %s", bundle.Header, bundle.body)
	}
	if same := e.ask(client, "GET", "/v1/trust-bundle", "", `If-None-Match: "x", W/`+tag); same.StatusCode != 304 || len(same.body) > 0 || same.Header.Get("ETag") != tag {
		t.Errorf("again: %d %v %s", same.StatusCode, same.Header, same.body)
	}
	confirm := func(hash string) reply {
		return e.ask(client, "PUT", "/v1/devices/sensor-1/confirmation", fmt.Sprintf(`{"bundle":%q}`, hash), jsonType)
	}
	if got := confirm(strings.Trim(tag, `"`)); got.StatusCode != 204 {
		t.Errorf("confirmed: %d %s", got.StatusCode, got.body)
	}
	if got := confirm(strings.Repeat("0", 64)); got.StatusCode != 409 || got.problem() != "wrong-bundle" {
		t.Errorf("another bundle: %d %s", got.StatusCode, got.body)
	}
	if got := confirm("x"); got.StatusCode != 422 || got.problem() != "invalid" {
		t.Errorf("no hash: %d %s", got.StatusCode, got.body)
	}
	seen := e.Seen()
	if len(seen) != 3 || len(seen[0].Trusts) != 0 || len(seen[2].Trusts) != 2 || seen[2].ID != "sensor-1" || seen[2].Presented.IsZero() {
		t.Errorf("evidence: %+v", seen)
	}
}

func TestFormsOfACertificate(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	path := "/v1/devices/sensor-1/certificate"
	client := e.client(credential)
	if got := e.ask(client, "GET", path, ""); got.Header.Get("Content-Type") != "application/x-pem-file" || !bytes.HasPrefix(got.body, []byte("-----BEGIN CERTIFICATE-----")) {
		t.Errorf("PEM: %v %s", got.Header, got.body)
	}
	der := e.ask(client, "GET", path, "", "Accept: application/pkcs7-mime")
	message, err := pkcs7.Parse(der.body)
	if err != nil || len(message.Certificates) != 1 || !bytes.Equal(message.Certificates[0].Raw, credential.Certificate[0]) {
		t.Errorf("PKCS#7: %v", err)
	}
	for accept, status := range map[string]int{"application/x-pkcs12": 406, "text/html": 406, "text/html, */*;q=0.1": 200, "application/x-pem-file;q=0": 406} {
		if got := e.ask(client, "GET", path, "", "Accept: "+accept); got.StatusCode != status {
			t.Errorf("%s: answered %d %s", accept, got.StatusCode, got.body)
		}
	}
}

// Where cert-manager makes the key, a device gets it in a keystore, and no log has its
// password.
func TestKeystores(t *testing.T) {
	e := open(t)
	client := e.client(factory(boxesCA, "box-1"))
	if got := e.ask(client, "POST", "/v1/devices", `{"keys":"Cluster"}`, jsonType); got.StatusCode != 201 {
		t.Fatalf("answered %d %s", got.StatusCode, got.body)
	}
	if commits := e.Commits(); len(commits) != 1 || commits[0].Request != "" {
		t.Errorf("commits: %+v", commits)
	}
	const path, password = "/v1/devices/box-1/certificate", "a long secret"
	got := e.ask(client, "GET", path, "", "Accept: application/x-pkcs12", "Keystore-Password: "+password)
	key, leaf, _, err := pkcs12.DecodeChain(got.body, password)
	if err != nil || leaf.Subject.CommonName != "box-1" || !key.(*ecdsa.PrivateKey).PublicKey.Equal(leaf.PublicKey) {
		t.Errorf("answered %d: %v", got.StatusCode, err)
	}
	if got := e.ask(client, "GET", path, "", "Accept: application/x-pkcs12", "Keystore-Password: short"); got.StatusCode != 400 || got.problem() != "keystore-password" {
		t.Errorf("a short password: %d %s", got.StatusCode, got.body)
	}
	qiot := e.ask(client, "POST", "/v1/register", `{"serial":"1","name":"n","longitude":1.5,"latitude":2,"keyStorePassword":"`+password+`"}`, jsonType)
	checkStores(t, qiot, password, false)
	qiot = e.ask(client, "POST", "/v1/register", `{"id":"box-1","domain":"boxes.example","serial":"1","name":"n","keyStorePassword":"`+password+`"}`, jsonType)
	checkStores(t, qiot, password, true)
	for body, status := range map[string]int{
		`{"id":"box-2","domain":"boxes.example","serial":"1","name":"n","keyStorePassword":"` + password + `"}`: 403,
		`{"id":"box-1","domain":"elsewhere","serial":"1","name":"n","keyStorePassword":"` + password + `"}`:     403,
		`{"id":"box-1","serial":"1","name":"n","keyStorePassword":"` + password + `"}`:                          400,
		`{"serial":"1","name":"n","keyStorePassword":["` + password + `"]}`:                                     422,
		`{"serial":"1","name":"n","keyStorePassword":"` + password + `","x":1}`:                                 422,
	} {
		if got := e.ask(client, "POST", "/v1/register", body, jsonType); got.StatusCode != status || strings.Contains(string(got.body), password) {
			t.Errorf("%s: answered %d %s", body, got.StatusCode, got.body)
		}
	}
	if len(e.Commits()) != 1 {
		t.Error("a device that is registered was committed again")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if log := e.log.String(); strings.Contains(log, password) || !strings.Contains(log, `"operation":"rest/qiot-register"`) {
		t.Errorf("the audit log: %s", log)
	}
}

func checkStores(t *testing.T, got reply, password string, inPEM bool) {
	t.Helper()
	var stores struct {
		ID                   string
		Truststore, Keystore []byte
		TLSCert, TLSKey      []byte
	}
	if err := json.Unmarshal(got.body, &stores); err != nil || got.StatusCode != 200 || stores.ID != "box-1" {
		t.Fatalf("answered %d %s: %v", got.StatusCode, got.body, err)
	}
	trusted, err := pkcs12.DecodeTrustStore(stores.Truststore, password)
	if err != nil || len(trusted) != 1 || !bytes.Equal(trusted[0].Raw, fleetCA.X509().Raw) {
		t.Errorf("the truststore: %v", err)
	}
	if _, _, _, err := pkcs12.DecodeChain(stores.Keystore, password); err != nil {
		t.Errorf("the keystore: %v", err)
	}
	if _, err := tls.X509KeyPair(stores.TLSCert, stores.TLSKey); (err == nil) != inPEM {
		t.Errorf("the pair in PEM: %v", err)
	}
}

// A proxy that ends TLS speaks for devices if it is known, and nobody else does.
func TestForwardedCertificates(t *testing.T) {
	proxyKey := registrartest.Key()
	proxy := strangeCA.Credential(registrartest.Leaf("proxy", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)), proxyKey)
	e := open(t, func(o *registrar.Options) { o.Proxies = []pki.Fingerprint{registrartest.KeyID(&proxyKey.PublicKey)} })
	_, sensor := e.sensor("sensor-1", v1alpha1.DeviceActive)
	_, other := e.sensor("sensor-2", v1alpha1.DeviceActive)
	encoded := func(c *tls.Certificate) string {
		leaf, err := pki.Parse(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return url.PathEscape(string(leaf.PEM()))
	}
	hash := func(c *tls.Certificate) string { return fmt.Sprintf("%x", sha256.Sum256(c.Certificate[0])) }
	element := `By=spiffe://x;Hash=` + hash(sensor) + `;Cert="` + encoded(sensor) + `";Subject="CN=\"x\",O=y"`
	mine := `Cert="` + encoded(other) + `";`
	for name, test := range map[string]struct {
		client *tls.Certificate
		header string
		status int
	}{
		"the proxy's word":      {&proxy, element, 200},
		"the chain":             {&proxy, `Chain="` + encoded(sensor) + `"`, 200},
		"another device":        {&proxy, `Cert="` + encoded(other) + `"`, 403},
		"cert and chain":        {&proxy, `Cert="` + encoded(sensor) + `";Chain="` + encoded(sensor) + `";URI=urn:x`, 200},
		"names of all kinds":    {&proxy, element + `;URI=urn:a;URI=urn:b;DNS=a.example;DNS=b.example;By=spiffe://y`, 200},
		"another's chain":       {&proxy, mine + `Chain="` + encoded(sensor) + `"`, 400},
		"a chain in a URI":      {&proxy, mine + `Subject="CN=y";URI=x;Chain=` + encoded(sensor), 400},
		"a chain in a DNS name": {&proxy, mine + `DNS=x;Chain="` + encoded(sensor) + `"`, 400},
		"a cert in a URI":       {&proxy, `URI=x;Cert="` + encoded(sensor) + `"`, 400},
		"a second cert":         {&proxy, mine + `Cert="` + encoded(sensor) + `"`, 400},
		"a second chain":        {&proxy, `Chain="` + encoded(sensor) + `";CHAIN="` + encoded(sensor) + `"`, 400},
		"another's hash":        {&proxy, `Hash=` + hash(other) + `;Cert="` + encoded(sensor) + `"`, 400},
		"a second hash":         {&proxy, element + `;URI=x;Hash=` + hash(sensor), 400},
		"nobody":                {&proxy, `Hash=` + hash(sensor), 400},
		"no header":             {&proxy, ``, 401},
		"two hops":              {&proxy, element + "," + element, 400},
		"a certificate twice":   {&proxy, element + ";" + element, 400},
		"a quote that stays":    {&proxy, `Cert="x`, 400},
		"a stranger's word":     {other, element, 403},
		"without a certificate": {nil, element, 401},
		"a device for itself":   {sensor, `Cert="` + encoded(other) + `"`, 200},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{}
			if test.header != "" {
				headers = append(headers, "X-Forwarded-Client-Cert: "+test.header)
			}
			if got := e.ask(e.client(test.client), "GET", "/v1/devices/sensor-1", "", headers...); got.StatusCode != test.status {
				t.Errorf("answered %d %s", got.StatusCode, got.body)
			}
		})
	}
}

// The endpoint's certificate and the CAs change while a connection stands.
func TestReload(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	kept := e.client(credential)
	before := e.ask(kept, "GET", "/v1/devices/sensor-1", "")
	e.serving.Store(serving(nextCA, fleetCA.Link(nextCA, time.Now())))
	e.Group("late", strangeCA, nil)
	after := e.ask(kept, "GET", "/v1/devices/sensor-1", "")
	if before.StatusCode != 200 || after.StatusCode != 200 || !after.TLS.PeerCertificates[0].Equal(before.TLS.PeerCertificates[0]) {
		t.Error("the connection did not stand")
	}
	// who knows the old root alone gets in by the link, and its CA is new
	fresh := e.client(factory(strangeCA, "late-1"))
	got := e.ask(fresh, "POST", "/v1/devices", registration("late", registrartest.CSR(registrartest.Key(), "late-1", nil)), jsonType)
	if got.StatusCode != 201 || !bytes.Equal(got.TLS.PeerCertificates[0].RawIssuer, nextCA.X509().RawSubject) || len(got.TLS.PeerCertificates) != 2 {
		t.Errorf("answered %d %s by %d certificates", got.StatusCode, got.body, len(got.TLS.PeerCertificates))
	}
}

// Who completes a handshake with the proof name trusts the new anchor.
func TestProofName(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	link := fleetCA.Link(nextCA, time.Now())
	proves := func(proof tls.Certificate) {
		s := serving(fleetCA)
		s.ProofName, s.Proof, s.ProofAnchor = proofName, proof, nextCA.Certificate
		e.serving.Store(s)
	}
	proves(serverCredential(nextCA, proofName))
	knows := func(root *registrartest.Authority, name string) *http.Client {
		return e.client(credential, func(c *tls.Config) {
			c.RootCAs, c.ServerName = x509.NewCertPool(), name
			c.RootCAs.AddCert(root.X509())
		})
	}
	e.ask(knows(nextCA, proofName), "GET", "/v1/trust-bundle", "")
	e.ask(knows(fleetCA, serverName), "GET", "/v1/trust-bundle", "")
	seen := e.Seen()
	if len(seen) != 2 || len(seen[0].Trusts) != 1 || seen[0].Trusts[0] != nextCA.Fingerprint() || len(seen[1].Trusts) != 0 {
		t.Errorf("evidence: %+v", seen)
	}
	if _, err := knows(fleetCA, proofName).Get("https://" + e.address + "/v1/trust-bundle"); err == nil {
		t.Error("who knows the old root alone gets in by the proof name")
	}
	linked := serverCredential(nextCA, proofName)
	linked.Certificate = append(linked.Certificate, link.X509().Raw)
	for name, proof := range map[string]tls.Certificate{"a link in its chain": linked, "another anchor's": serverCredential(fleetCA, proofName), "nothing": {}} {
		proves(proof)
		if _, err := knows(nextCA, proofName).Get("https://" + e.address + "/v1/trust-bundle"); err == nil {
			t.Errorf("the proof name is served with %s", name)
		}
	}
}

func TestBodiesAndTypes(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	client := e.client(credential)
	for name, test := range map[string]struct {
		body, header string
		status       int
	}{
		"65 KiB":         {`{"request":"` + strings.Repeat("x", 65<<10) + `"}`, jsonType, 413},
		"no JSON":        {`{`, jsonType, 400},
		"another field":  {`{"id":"sensor-2"}`, jsonType, 422},
		"other keys":     {`{"keys":"Mine"}`, jsonType, 422},
		"no PEM":         {`{"request":"x"}`, jsonType, 400},
		"nothing at all": {``, jsonType, 400},
		"another type":   {`<a/>`, "Content-Type: application/xml", 415},
	} {
		if got := e.ask(client, "POST", "/v1/devices", test.body, test.header); got.StatusCode != test.status || got.problem() == "" {
			t.Errorf("%s: answered %d %s", name, got.StatusCode, got.body)
		}
	}
	if got := e.ask(client, "POST", "/.well-known/est/simpleenroll", strings.Repeat("x", 65<<10), "Content-Type: application/pkcs10"); got.StatusCode != 413 || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("EST: answered %d %s", got.StatusCode, got.body)
	}
}

// Rates: of a device, and of a group's registrations, from which renewals are exempt.
func TestRates(t *testing.T) {
	stopped := time.Now()
	e := open(t, func(o *registrar.Options) {
		o.Limits.PerGroup, o.Limits.PerDevice = 0.1, 0.5
		o.Clock = func() time.Time { return stopped }
	})
	key, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	enrol := func(id string) reply {
		return e.ask(e.client(factory(factoryCA, id)), "POST", "/v1/devices", registration("sensors", csr(registrartest.Key(), id)), jsonType)
	}
	if got := enrol("sensor-2"); got.StatusCode != 201 {
		t.Errorf("the first: %d %s", got.StatusCode, got.body)
	}
	got := enrol("sensor-3")
	if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); got.StatusCode != 429 || err != nil || wait != 10 || got.problem() != "too-many-requests" {
		t.Errorf("the second: %d, Retry-After %q: %s", got.StatusCode, got.Header.Get("Retry-After"), got.body)
	}
	client := e.client(credential)
	for i := range 5 { // 0.5 a second, ten seconds' worth at once
		if got := e.ask(client, "POST", "/v1/devices", registration("", csr(key, "sensor-1")), jsonType); got.StatusCode != 201 {
			t.Errorf("renewal %d: %d %s", i, got.StatusCode, got.body)
		}
	}
	if got := e.ask(client, "GET", "/v1/devices/sensor-1", ""); got.StatusCode != 429 {
		t.Errorf("after five: %d %s", got.StatusCode, got.body)
	}
}
