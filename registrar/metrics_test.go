package registrar_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/reanchor/reanchor/registrar/registrartest"
)

func TestMetrics(t *testing.T) {
	e := open(t)
	client := e.client(factory(factoryCA, "sensor-1"))
	key := registrartest.Key()
	for range 2 {
		e.ask(client, "POST", "/v1/devices", registration("sensors", csr(key, "sensor-1")), jsonType)
	}
	e.ask(client, "GET", "/.well-known/est/cacerts", "")
	e.ask(client, "GET", "/v1/devices/sensor-2", "")
	const want = `# HELP reanchor_registrar_commits_total Registrations that were handed to Git, by what became of them.
# TYPE reanchor_registrar_commits_total counter
reanchor_registrar_commits_total{result="committed"} 1
# HELP reanchor_registrar_connections Connections that are open.
# TYPE reanchor_registrar_connections gauge
reanchor_registrar_connections 1
# HELP reanchor_registrar_history_rewritten Whether a branch lost what was read of it, and is neither read nor written.
# TYPE reanchor_registrar_history_rewritten gauge
reanchor_registrar_history_rewritten 0
# HELP reanchor_registrar_requests_total Requests of devices, by what was asked for and what became of it.
# TYPE reanchor_registrar_requests_total counter
reanchor_registrar_requests_total{operation="est/cacerts",result="ok",status="200"} 1
reanchor_registrar_requests_total{operation="rest/register",result="existing",status="201"} 1
reanchor_registrar_requests_total{operation="rest/register",result="register",status="201"} 1
reanchor_registrar_requests_total{operation="rest/show",result="other-device",status="403"} 1
`
	if err := testutil.GatherAndCompare(e.registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
