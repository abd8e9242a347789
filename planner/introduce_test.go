package planner_test

import (
	"crypto/x509"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// nextKey is the plant at the moment when 2026 is committed, with the canary of a
// minute ago.
func nextKey() *site {
	s := settled()
	s.commit("2025 Retired", "2026 Signing")
	return s
}

// What stays while 2026 is looked at.
const (
	drop2025     = "drop 2025 of Certificate plant/broker: chains to 2025"
	inAnHour     = "look again after 1h0m0s"
	introducing  = "fleet-root 2025 → 2026: Introduce: 2026 is being made"
	certificate6 = "Certificate cert-manager/fleet-root-2026"
)

// Before anyone hears of a key, its certificate is looked at.
func TestIntroduce(t *testing.T) {
	held := func(hold string) []string { return []string{introducing, "- " + hold, drop2025, inAnHour} }
	unmoved := []string{"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"}
	with := func(certificate entity) func(*site) {
		return func(s *site) { s.has("2026", certificate) }
	}
	play(t, map[string]scene{
		"its Certificate does not exist": {
			site: nextKey(), want: held("issue: " + certificate6 + ": the Certificate does not exist yet"), targets: unmoved,
		},
		"it is not issued": {
			site: nextKey(),
			change: func(s *site) {
				s.observed.Keys = append(s.observed.Keys, planner.Key{Authority: fleetRoot, Name: "2026", HasCertificate: true})
			},
			want: held("issue: " + certificate6 + ": not issued yet"), targets: unmoved,
		},
		"it cannot be issued, in cert-manager's words": {
			site: nextKey(),
			change: func(s *site) {
				s.observed.Keys = append(s.observed.Keys, planner.Key{Authority: fleetRoot, Name: "2026", HasCertificate: true, Problem: "the webhook denied it"})
			},
			want: held("issue: " + certificate6 + ": the webhook denied it"), targets: unmoved,
		},
		"it was issued, and what is not known": {
			site: introduced(),
			change: func(s *site) {
				s.key("2026").Certificate, s.key("2026").Problem = pki.Certificate{}, "its CertificateRequest is gone"
			},
			want: held("issue: " + certificate6 + ": its CertificateRequest is gone"), targets: unmoved,
		},
		"it took over a Secret that was there before": {
			site: nextKey(),
			change: func(s *site) {
				s.observed.Keys = append(s.observed.Keys, planner.Key{Authority: fleetRoot, Name: "2026", HasCertificate: true, Adopted: true, Problem: "it has not been issued anything yet"})
			},
			want: []string{
				introducing, "- issue: " + certificate6 + ": it has not been issued anything yet",
				"do Reissue cert-manager/fleet-root-2026: it took over a Secret that was there before it; issued anew by the same key, it is known what that is",
				drop2025, inAnHour,
			},
			targets: unmoved,
		},
		"it is no CA": {
			site: nextKey(), change: with(newRoot("no-ca", "Fleet Root 2026", func(c *x509.Certificate) { c.IsCA = false })),
			// crypto/x509 gives a certificate that is no CA no subject key identifier either.
			want: []string{
				introducing,
				"- certificate: Fleet Root 2026 (#no-ca): it is not a self-signed CA certificate: name a new key",
				"- identity: Fleet Root 2026 (#no-ca): it has no subject key identifier: verifiers could not tell it from its neighbours; name a new key",
				drop2025, inAnHour,
			},
			targets: unmoved,
		},
		"it is not self-signed": {
			site: nextKey(), change: with(newLeaf("signed-by-2025", key2025, func(c *x509.Certificate) {
				c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
				c.NotAfter = noon.Add(87600 * time.Hour)
			})),
			want:    held("certificate: signed-by-2025 (#signed-by-2025): it is not a self-signed CA certificate: name a new key"),
			targets: unmoved,
		},
		"it has no subject key identifier": {
			site: nextKey(), change: with(newRoot("no-ski", "Fleet Root 2026", withoutSKI)),
			want:    held("identity: Fleet Root 2026 (#no-ski): it has no subject key identifier: verifiers could not tell it from its neighbours; name a new key"),
			targets: unmoved,
		},
		"its subject key identifier is another key's": {
			site: nextKey(), change: with(newRoot("same-ski", "Fleet Root 2026", func(c *x509.Certificate) { c.SubjectKeyId = key2025.SubjectKeyID() })),
			want:    held("identity: Fleet Root 2026 (#same-ski): its subject key identifier is also that of 2025: name a new key"),
			targets: unmoved,
		},
		"clocks that are behind do not know it yet": {
			site: nextKey(), change: with(newRoot("young", "Fleet Root 2026", lives(noon.Add(-time.Minute), noon.Add(87600*time.Hour)))),
			want: []string{
				introducing,
				"- skew: Fleet Root 2026 (#young): valid from 2026-03-01T11:59:00Z; used 5m0s later, at 2026-03-01T12:04:00Z",
				drop2025, "look again after 4m0s",
			},
			targets: unmoved,
		},
		"a leaf would outlive it": {
			site: nextKey(), change: with(newRoot("short", "Fleet Root 2026", lives(noon.Add(-time.Hour), noon.Add(2160*time.Hour+15*time.Minute-time.Second)))),
			want: []string{
				introducing,
				"- lifetime: Fleet Root 2026 (#short): it ends at 2026-05-30T12:14:59Z, before a leaf such as plant/broker (2160h0m0s) would that it signs in 15m0s at the earliest: name a new key or shorten the leaves",
				drop2025, inAnHour,
			},
			targets: unmoved,
		},
		"a leaf would end a second before it": {
			site: nextKey(), change: with(newRoot("just", "Fleet Root 2026", lives(noon.Add(-time.Hour), noon.Add(2160*time.Hour+15*time.Minute)))),
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#just) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#just) yet",
				drop2025, inAnHour,
			},
		},
		"the first key": {
			site: empty(), want: []string{
				"fleet-root none → 2025: Introduce: 2025 is being made",
				"- issue: Certificate cert-manager/fleet-root-2025: the Certificate does not exist yet",
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer"},
		},
	})
}

// What a CA's certificate is like is frozen once it was issued: a change in Git is for
// the next key.
func TestASpecIsFrozenOnceIssued(t *testing.T) {
	s := settled()
	spec := &s.desired.Authorities[0].Spec
	spec.Duration = &metav1.Duration{Duration: time.Hour}
	spec.PrivateKey = v1alpha1.PrivateKey{Algorithm: v1alpha1.RSA, Size: 4096}
	spec.Subject = v1alpha1.Subject{CommonName: "Renamed", Organizations: []string{"Example"}, OrganizationalUnits: []string{"Plant"}, Countries: []string{"DE"}}
	s.commit("2025 Retired", "2026 Signing")
	renamed := planner.CASpec{CommonName: "Renamed 2026", Organizations: []string{"Example"}, OrganizationalUnits: []string{"Plant"}, Countries: []string{"DE"}, Algorithm: v1alpha1.RSA, Size: 4096, Duration: time.Hour}

	specs := func() map[string]string {
		found := map[string]string{}
		for _, key := range s.next().Target.Keys {
			found[key.Name] = asJSON(t, key.Spec)
		}
		return found
	}
	expect := func(when string, want map[string]planner.CASpec) {
		t.Helper()
		got := specs()
		for name, spec := range want {
			if got[name] != asJSON(t, spec) {
				t.Errorf("%s, %s is rendered as %s, want %s", when, name, got[name], asJSON(t, spec))
			}
		}
	}
	expect("before 2026 is there", map[string]planner.CASpec{"2025": caSpec, "2026": renamed})

	waiting := planner.Key{Authority: fleetRoot, Name: "2026", HasCertificate: true, Spec: caSpec}
	s.observed.Keys = append(s.observed.Keys, waiting)
	expect("while 2026 is not issued", map[string]planner.CASpec{"2026": renamed})

	s.key("2026").Issued = true
	expect("once 2026 was issued, if not what", map[string]planner.CASpec{"2026": caSpec})

	s.commit("2025 Signing")
	spec.Rollover.Paused = true
	s.key("2026").Issued = false
	expect("when 2026 is taken back unissued, and may not go yet", map[string]planner.CASpec{"2025": caSpec, "2026": caSpec})
}
