package registrar_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// TestAuthorization holds every route against everyone who may come to it. A route that a
// device may see itself at is asked by its id, sensor-1.
func TestAuthorization(t *testing.T) {
	e := open(t)
	first := registrartest.Key()
	key, good := e.sensor("sensor-1", v1alpha1.DeviceActive, registrartest.KeyID(&first.PublicKey))
	_, other := e.sensor("sensor-2", v1alpha1.DeviceActive)
	_, blocked := e.sensor("sensor-3", v1alpha1.DeviceBlocked)
	ended := own("sensor-1", key, time.Now().Add(-time.Minute))
	late := factory(factoryCA, "sensor-1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	stranger := factory(strangeCA, "sensor-1")
	meter := factory(metersCA, "meter-1")
	request := csr(key, "sensor-1")
	rest, est := registration("sensors", request), base64.StdEncoding.EncodeToString(request)
	fleet, _ := e.Fleet()
	confirmation := fmt.Sprintf(`{"bundle":%q}`, fleet.Trust("sensors").Anchors.SHA256())
	const pkcs10 = "Content-Type: application/pkcs10"
	const register = `{"serial":"1","name":"n","keyStorePassword":"secret"}`

	who := []struct {
		name       string
		credential *tls.Certificate
	}{
		{"nobody", nil},
		{"ended", ended},
		{"late", late},
		{"stranger", stranger},
		{"blocked", blocked},
		{"superseded", own("sensor-1", first, time.Now().AddDate(0, 1, 0))},
		{"other", other},
		{"meter", meter},
		{"good", good},
	}
	for _, route := range []struct {
		method, path, body, header string
		// want are the statuses, in the order of who.
		want []int
	}{
		//                                                               nobody ended late strange blocked supers. other meter good
		{"POST", "/v1/devices", rest, jsonType, []int{401, 403, 403, 403, 403, 403, 403, 404, 201}},
		{"GET", "/v1/devices/sensor-1", "", "", []int{401, 403, 403, 403, 403, 403, 403, 403, 200}},
		{"GET", "/v1/devices/sensor-1/certificate", "", "", []int{401, 403, 403, 403, 403, 403, 403, 403, 200}},
		{"PUT", "/v1/devices/sensor-1/confirmation", confirmation, jsonType, []int{401, 403, 403, 403, 403, 403, 403, 403, 204}},
		{"GET", "/v1/trust-bundle", "", "", []int{200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v1/trust-bundle?group=sensors", "", "", []int{200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v1/trust-bundle?group=none", "", "", []int{404, 404, 404, 404, 404, 404, 404, 404, 404}},
		{"POST", "/v1/register", register, jsonType, []int{401, 403, 403, 403, 403, 403, 403, 403, 403}}, // their keys are their own
		{"GET", "/openapi.yaml", "", "", []int{200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v1/nothing", "", "", []int{404, 404, 404, 404, 404, 404, 404, 404, 404}},
		{"DELETE", "/v1/devices/sensor-1", "", "", []int{405, 405, 405, 405, 405, 405, 405, 405, 405}},
		{"GET", "/.well-known/est/cacerts", "", "", []int{200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/.well-known/est/sensors/cacerts", "", "", []int{200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/.well-known/est/none/cacerts", "", "", []int{404, 404, 404, 404, 404, 404, 404, 404, 404}},
		{"GET", "/.well-known/est/sensors/csrattrs", "", "", []int{204, 204, 204, 204, 204, 204, 204, 204, 204}},
		{"POST", "/.well-known/est/simpleenroll", est, pkcs10, []int{401, 403, 403, 403, 403, 403, 403, 403, 200}},
		{"POST", "/.well-known/est/sensors/simpleenroll", est, pkcs10, []int{401, 403, 403, 403, 403, 403, 403, 404, 200}},
		{"POST", "/.well-known/est/meters/simpleenroll", est, pkcs10, []int{401, 404, 403, 403, 404, 403, 404, 403, 404}},
		{"POST", "/.well-known/est/none/simpleenroll", est, pkcs10, []int{404, 404, 404, 404, 404, 404, 404, 404, 404}},
		{"POST", "/.well-known/est/simplereenroll", est, pkcs10, []int{401, 403, 403, 403, 403, 403, 403, 403, 200}},
		{"POST", "/.well-known/est/sensors/simplereenroll", est, pkcs10, []int{401, 403, 403, 403, 403, 403, 403, 404, 200}},
		{"POST", "/.well-known/est/serverkeygen", est, pkcs10, []int{401, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"POST", "/.well-known/est/fullcmc", est, pkcs10, []int{501, 501, 501, 501, 501, 501, 501, 501, 501}},
		{"POST", "/.well-known/est/cacerts", "", "", []int{405, 405, 405, 405, 405, 405, 405, 405, 405}},
		{"GET", "/.well-known/est/simpleenroll", "", "", []int{405, 405, 405, 405, 405, 405, 405, 405, 405}},
		{"GET", "/.well-known/est/nothing", "", "", []int{404, 404, 404, 404, 404, 404, 404, 404, 404}},
	} {
		for i, caller := range who {
			t.Run(route.method+" "+route.path+" by "+caller.name, func(t *testing.T) {
				headers := []string{}
				if route.header != "" {
					headers = append(headers, route.header)
				}
				got := e.ask(e.client(caller.credential), route.method, route.path, route.body, headers...)
				if got.StatusCode != route.want[i] {
					t.Errorf("answered %d, want %d: %s", got.StatusCode, route.want[i], got.body)
				}
				wellFormed(t, route.path, got)
			})
		}
	}
	if commits := e.Commits(); len(commits) > 0 {
		t.Errorf("%d commits were made by whom nothing is to be written for: %+v", len(commits), commits)
	}
}

// wellFormed holds a refusal against the form that its protocol has.
func wellFormed(t *testing.T, path string, got reply) {
	t.Helper()
	kind := got.Header.Get("Content-Type")
	est := strings.HasPrefix(path, "/.well-known/est/")
	switch {
	case got.StatusCode < 400:
	case est && (kind != "text/plain; charset=utf-8" || strings.Count(string(got.body), "\n") != 1):
		t.Errorf("EST was answered %s %q", kind, got.body)
	case !est && (kind != "application/problem+json" || got.problem() == ""):
		t.Errorf("answered %s %s", kind, got.body)
	}
	if got.StatusCode == http.StatusUnauthorized && got.Header.Get("WWW-Authenticate") == "" {
		t.Error("a 401 has no WWW-Authenticate")
	}
	if est && got.StatusCode != http.StatusNoContent && (got.ContentLength < 0 || slices.Contains(got.TransferEncoding, "chunked")) {
		t.Errorf("EST was answered without a length: %v", got.TransferEncoding)
	}
}

// A superseded certificate that comes back and a key that another device has: a person hears
// of both.
func TestAlarms(t *testing.T) {
	e := open(t)
	first := registrartest.Key()
	key, _ := e.sensor("sensor-1", v1alpha1.DeviceActive, registrartest.KeyID(&first.PublicKey))
	e.ask(e.client(own("sensor-1", first, time.Now().AddDate(0, 1, 0))), "GET", "/v1/devices/sensor-1", "")
	e.ask(e.client(factory(factoryCA, "sensor-9")), "POST", "/v1/devices", registration("", registrartest.CSR(key, "sensor-9", []string{"sensor-9.sensors.example"})), jsonType)
	e.ask(e.client(nil), "GET", "/v1/devices/sensor-1", "")
	_, alarms := e.entries()
	if len(alarms) != 2 || alarms[0].Result != "superseded" || alarms[0].Device != "sensor-1" || alarms[1].Result != "key-in-use" || alarms[1].Device != "sensor-9" || alarms[1].Key != pki.Fingerprint(registrartest.KeyID(&key.PublicKey)).String() {
		t.Errorf("alarms: %+v", alarms)
	}
}
