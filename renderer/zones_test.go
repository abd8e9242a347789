package renderer

import (
	"strings"
	"testing"
	"time"
)

// TestZonesAreLookedUp: what windows name is handed on as values; what is no zone is an error
// with its file and line.
func TestZonesAreLookedUp(t *testing.T) {
	with := func(zone string) string {
		return strings.Replace(fleet, "-- pki.yaml --\n", "-- pki.yaml --\napiVersion: reanchor.dev/v1alpha1\nkind: Authority\nmetadata: {name: line, namespace: cert-manager}\nspec:\n"+
			"  subject: {commonName: Line}\n  keys: [{name: a, state: Signing}]\n  rollover: {windows: [{cron: 0 2 * * *, duration: 1h, timeZone: "+zone+"}]}\n---\n", 1)
	}
	zones := mustLoad(t, repository(with("Europe/Berlin")), "").Desired.Zones
	if berlin := zones["Europe/Berlin"]; berlin == nil || time.Date(2026, 7, 1, 12, 0, 0, 0, berlin).UTC().Hour() != 10 {
		t.Errorf("the zones are %v", zones)
	}
	for _, zone := range []string{"Europe/Berlln", "Local", "../../etc/passwd"} {
		_, err := Load(repository(with(zone)), "", Options{})
		if err == nil || !strings.Contains(err.Error(), `pki.yaml:7: spec.rollover.windows[0].timeZone: "`+zone+`" is no time zone`) {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// TestProbesMergeByName: an overlay changes the address of one probe, and the others stay.
func TestProbesMergeByName(t *testing.T) {
	tree := repository(`
-- kustomization.yaml --
resources: [base]
patches: [{path: site.yaml}]
-- site.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec: {probes: [{name: broker, address: "broker.site-7:8883"}]}
-- base/kustomization.yaml --
resources: [pki.yaml]
-- base/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec:
  useDefaultCAs: true
  target: {configMap: {key: ca.crt}}
  probes:
  - {name: broker, address: "broker.plant:8883", serverName: broker.plant}
  - {name: gateway, address: "gateway.plant:443"}
`)
	probes := map[string]string{}
	for _, probe := range mustLoad(t, tree, "").Desired.Bundles[0].Spec.Probes {
		probes[probe.Name] = probe.Address + " " + probe.ServerName
	}
	if len(probes) != 2 || probes["broker"] != "broker.site-7:8883 broker.plant" || probes["gateway"] != "gateway.plant:443 gateway.plant" {
		t.Errorf("the probes are %v", probes)
	}
}
