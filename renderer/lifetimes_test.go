package renderer

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// twoLevels is a root with an old and a new key, an intermediate below it, a second
// root in one bundle with the first, a third on its own, and two leaves.
const twoLevels = `
-- site/kustomization.yaml --
resources: [pki.yaml, leaves.yaml]
-- site/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: root, namespace: cert-manager}
spec:
  subject: {commonName: Root}
  rollover: {soak: 24h, skew: 5m}
  keys: [{name: "2024", state: Retired}, {name: "2025", state: Trusted}, {name: "2026", state: Signing}]
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: issuing, namespace: plant}
spec:
  subject: {commonName: Issuing}
  issuedBy: {name: root}
  duration: 17520h
  keys: [{name: a, state: Signing}]
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: second, namespace: cert-manager}
spec: {subject: {commonName: Second}, keys: [{name: "1", state: Signing}]}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: third, namespace: cert-manager}
spec: {subject: {commonName: Third}, keys: [{name: "1", state: Signing}]}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: local}
spec: {scope: Namespace, authority: issuing}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: second}
spec: {scope: Cluster, authority: second}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec: {authorities: [root, second], target: {configMap: {key: ca.crt}}}
-- site/leaves.yaml --
# The leaves.
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: yearly, namespace: plant}
spec: {secretName: yearly, duration: 8760h, dnsNames: [a], issuerRef: {name: local}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: plain, namespace: plant}
spec: {secretName: plain, dnsNames: [a], issuerRef: {name: second, kind: ClusterIssuer}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: odd, namespace: plant}
spec: {secretName: odd, duration: a year, dnsNames: [a], issuerRef: {name: local}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: pinned, namespace: cert-manager}
spec: {secretName: pinned, duration: 100h, dnsNames: [a], issuerRef: {name: third-1, kind: Issuer, group: cert-manager.io}}
`

func key(authority, name string, certificate ...func(*x509.Certificate)) func(testing.TB) planner.RecordedKey {
	return func(t testing.TB) planner.RecordedKey {
		return planner.RecordedKey{Authority: authority, Name: name, Certificate: ca(t, authority+" "+name, certificate...)}
	}
}

func retired(made func(testing.TB) planner.RecordedKey) func(testing.TB) planner.RecordedKey {
	return func(t testing.TB) planner.RecordedKey {
		key := made(t)
		key.Retired = true
		return key
	}
}

// called gives a certificate another subject than its key's.
func called(name string) func(*x509.Certificate) {
	return func(template *x509.Certificate) { template.Subject = pkix.Name{CommonName: name} }
}

func TestCheckRecord(t *testing.T) {
	const soak = 24*time.Hour + 5*time.Minute
	day := 24 * time.Hour
	keys := func(made ...func(testing.TB) planner.RecordedKey) []func(testing.TB) planner.RecordedKey { return made }
	for name, c := range map[string]struct {
		keys             []func(testing.TB) planner.RecordedKey
		errors, warnings []string
	}{
		"nothing recorded": {},
		"all is well":      {keys: keys(key("issuing", "a.2025"), key("issuing", "a.2026"), retired(key("root", "2024")), key("root", "2025"), key("root", "2026"), key("second", "1"))},

		"a root that ends in time for its leaves": {keys: keys(key("root", "2026", ends(now.Add(year+soak))))},
		"a root that ends too soon": {
			keys: keys(key("root", "2026", ends(now.Add(year+soak-time.Second)))),
			warnings: []string{"site/anchors/root/2026.pem:1: root 2026 (", ") ends at 2027-06-02T00:04:59Z: with leaves that live up to 8760h under it, and 24h5m of soak and skew, " +
				"a rollover must start by 2026-05-31T23:59:59Z; add a key to Authority root"},
		},
		"a trusted root that ends too soon": {
			keys:     keys(key("root", "2025", ends(now.Add(year)))),
			warnings: []string{"site/anchors/root/2025.pem:1: ", "make it Retired, or add a key to Authority root"},
		},
		"an intermediate that ends too soon": {
			keys:     keys(key("issuing", "a.2026", ends(now.Add(year)))),
			warnings: []string{"site/anchors/issuing/a.2026.pem:1: ", "up to 8760h under it, and 15m of soak", "; add a key to Authority issuing"},
		},
		"an intermediate under a trusted root": {
			keys:     keys(key("issuing", "a.2025", ends(now.Add(year)))),
			warnings: []string{"make it Retired, or add a key to Authority issuing"},
		},
		"leaves of cert-manager's own life": {
			keys:     keys(key("second", "1", ends(now.Add(90*day)))),
			warnings: []string{"with leaves that live up to 2160h under it, and 15m of soak and skew, a rollover must start by 2026-05-31T23:45:00Z"},
		},
		"a leaf of the internal issuer": {keys: keys(key("third", "1", ends(now.Add(101*time.Hour))))},
		"a root that has ended": {
			keys:   keys(key("root", "2026", ends(now.Add(-time.Second)))),
			errors: []string{"site/anchors/root/2026.pem:1: root 2026 (", ") ended at 2026-05-31T23:59:59Z, and verifiers accept nothing that it signed: add a key to Authority root"},
		},
		"keys that are not in use": {keys: keys(
			key("issuing", "a.2024", ends(now.Add(-day))), key("issuing", "b.2026", ends(now.Add(-day))), key("issuing", "a", ends(now.Add(-day))),
			key("gone", "1", ends(now.Add(-day))), key("root", "2024", ends(now.Add(-day))), key("root", "a.2026", ends(now.Add(-day))),
			retired(key("second", "1", ends(now.Add(-day)))),
		)},

		"one subject, two identifiers": {keys: keys(key("root", "2025", called("R")), key("root", "2026", called("R")))},
		"one subject and identifier": {
			keys:   keys(key("root", "2025", called("R"), identified("k")), key("root", "2026", called("R"), identified("k"))),
			errors: []string{"site/anchors/root/2026.pem:1: R (", ") has the subject and the subject key identifier of anchors/root/2025.pem"},
		},
		"two subjects, one identifier": {keys: keys(key("root", "2025", identified("k")), key("root", "2026", identified("k")))},
		"no identifier": {
			keys:   keys(key("root", "2026", unidentified)),
			errors: []string{"site/anchors/root/2026.pem:1: root 2026 (", ") has no subject key identifier: verifiers could not tell it from its neighbours"},
		},
		"one subject, an identifier missing": {
			keys: keys(key("root", "2025", called("R"), unidentified), key("root", "2026", called("R"))),
			errors: []string{
				"site/anchors/root/2025.pem:1: R (", "has no subject key identifier",
				"\nsite/anchors/root/2026.pem:1: R (", "has the subject of anchors/root/2025.pem, and not both have a subject key identifier",
			},
		},
		"neighbours in a bundle": {
			keys:   keys(key("root", "2026", called("R"), identified("k")), key("second", "1", called("R"), identified("k"))),
			errors: []string{"site/anchors/second/1.pem:1: R (", "of anchors/root/2026.pem"},
		},
		"an authority that Git does not declare": {keys: keys(key("gone", "1", unidentified, ends(now.Add(-day))))},

		"strangers":       {keys: keys(key("root", "2026", called("R"), identified("k")), key("third", "1", called("R"), identified("k")))},
		"a retired one's": {keys: keys(retired(key("root", "2024", called("R"), identified("k"))), key("root", "2026", called("R"), identified("k")))},

		"an intermediate that outlives its root": {
			keys: keys(key("issuing", "a.2026", ends(now.Add(6*year))), key("root", "2026", ends(now.Add(5*year)))),
			warnings: []string{
				"site/anchors/issuing/a.2026.pem:1: issuing a.2026 (", ") ends at 2032-05-30T00:00:00Z, and root 2026 (",
				") that signed it at 2031-05-31T00:00:00Z already: verifiers accept it no longer than that; shorten spec.duration of Authority issuing",
			},
		},
		"an intermediate that ends with its root": {keys: keys(key("issuing", "a.2026"), key("root", "2026"))},
	} {
		t.Run(name, func(t *testing.T) {
			var record planner.Record
			for _, made := range c.keys {
				record.Keys = append(record.Keys, made(t))
			}
			refused, warned := mustLoad(t, repository(twoLevels), "site").CheckRecord(record, now)
			wantProblems(t, refused, c.errors)
			wantProblems(t, warned, c.warnings)
		})
	}
}

// wantProblems compares problems with parts of their text, in order; a part that
// begins a line begins with a line feed, but for the first.
func wantProblems(t *testing.T, got v1alpha1.ErrorList, want []string) {
	t.Helper()
	lines := 0
	if len(want) > 0 {
		lines = 1 + strings.Count(strings.Join(want, ""), "\n")
	}
	text := got.Error()
	for _, part := range want {
		_, rest, found := strings.Cut(text, part)
		if !found {
			lines = -1
		}
		text = rest
	}
	if len(got) != lines {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "…"))
	}
}
